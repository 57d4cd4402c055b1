//! Which bytes and spellings are allowed where.

/// A table of the bytes in `good`.
const fn table(good: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut i = 0;
    while i < good.len() {
        table[good[i] as usize] = true;
        i += 1;
    }
    table
}

/// `tchar` of RFC 9110 §5.6.2.
const TCHAR: [bool; 256] =
    table(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

/// Bytes a request target may hold: those of a URI but for the fragment's `#` (RFC 3986 §2), and `|`, which
/// browsers send as it is. Of the others each parser makes something else, from cutting the target there on.
const TARGET: [bool; 256] =
    table(b"-._~:/?[]@!$&'()*+,;=%|0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

pub(crate) fn is_tchar(byte: u8) -> bool {
    TCHAR[usize::from(byte)]
}

/// What no field value, chunk extension or trailer may hold (RFC 9110 §5.5).
pub(crate) fn is_control(byte: u8) -> bool {
    (byte < 0x20) & (byte != b'\t') | (byte == 0x7f)
}

/// At least one `tchar`, and nothing else.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_tchar(*byte))
}

pub(crate) fn is_target(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| TARGET[usize::from(*byte)])
}

/// `host[:port]` as it is spelt in practice: a name or IPv4 address of letters, digits and `-._~`, or a
/// bracketed IPv6 address, and a port that is not empty. Userinfo, escapes and sub-delimiters, which RFC 3986
/// §3.2 would allow, are understood in as many ways as there are parsers.
pub(crate) fn is_authority(text: &[u8]) -> bool {
    let (host_len, host_is_good) = if text.first() == Some(&b'[') {
        let Some(close) = memchr::memchr(b']', text) else {
            return false;
        };
        let good = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
        (close + 1, close > 1 && text[1..close].iter().all(good))
    } else {
        let end = memchr::memchr(b':', text).unwrap_or(text.len());
        let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        (end, end > 0 && text[..end].iter().all(good))
    };
    let port_is_good = match &text[host_len..] {
        [] => true,
        [b':', port @ ..] => (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    host_is_good && port_is_good
}
