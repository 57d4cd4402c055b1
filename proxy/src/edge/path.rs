//! Normalising the request target, once, before routing, key and upstream see it (RFC 3986 §6.2.2).

use std::borrow::Cow;

/// Why a target is refused; every one is a `400`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadTarget {
    /// Not `/…`: asterisk-form, authority-form, or nothing.
    NotOriginForm,
    /// A byte that no URI may hold: control, space, `"<>\^`{|}`, 8-bit, or a fragment.
    ForbiddenByte,
    /// `%` without two hexadecimal digits, or an encoded control byte.
    BadEscape,
    /// `..` leads above the root.
    AboveRoot,
}

impl BadTarget {
    /// A sentence for the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotOriginForm => "request target does not begin with /",
            Self::ForbiddenByte => "request target holds a byte that is not allowed in a URI",
            Self::BadEscape => "request target holds a malformed percent-encoding",
            Self::AboveRoot => "request target leads above the root",
        }
    }
}

/// A normalised target, borrowed from the request where nothing had to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// `path[?query]` as the upstream gets it.
    pub whole: Cow<'a, str>,
    /// Bytes of the path at the start of `whole`.
    path_len: usize,
}

impl Target<'_> {
    /// The path without the query.
    pub fn path(&self) -> &str {
        &self.whole[..self.path_len]
    }

    /// The query without its `?`; an empty one differs from none.
    pub fn query(&self) -> Option<&str> {
        self.whole.get(self.path_len + 1..)
    }
}

/// Normalises an origin-form target.
///
/// Unreserved characters are decoded, the hexadecimal digits of the others become upper case, and
/// dot segments go, also encoded ones. Doubled slashes stay: they mean something to some shops. The
/// query keeps its bytes.
pub fn normalise(target: &str) -> Result<Target<'_>, BadTarget> {
    let bytes = target.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(BadTarget::NotOriginForm);
    }
    let mut path_len = bytes.len();
    let mut plain = true;
    for (i, &b) in bytes.iter().enumerate() {
        if !ALLOWED[usize::from(b)] {
            return Err(BadTarget::ForbiddenByte);
        }
        if path_len == bytes.len() {
            match b {
                b'?' => path_len = i,
                b'%' => plain = false,
                b'.' if bytes[i - 1] == b'/' => plain = false,
                _ => {}
            }
        }
    }
    check_escapes(&bytes[path_len..])?;
    if plain {
        return Ok(Target {
            whole: Cow::Borrowed(target),
            path_len,
        });
    }
    let mut path = decode_unreserved(&bytes[..path_len])?;
    if path.contains("/.") {
        path = remove_dot_segments(&path)?;
    }
    let new_len = path.len();
    path.push_str(&target[path_len..]);
    Ok(Target {
        whole: Cow::Owned(path),
        path_len: new_len,
    })
}

/// Bytes a target may hold: unreserved, reserved except `#[]`, and `%` (RFC 3986 §2). `[`, `]` and
/// `|` are let through in practice by every browser's query, so they are allowed as well.
const ALLOWED: [bool; 256] = {
    let mut table = [false; 256];
    let good =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?@!$&'()*+,;=%[]|";
    let mut i = 0;
    while i < good.len() {
        table[good[i] as usize] = true;
        i += 1;
    }
    table
};

fn check_escapes(bytes: &[u8]) -> Result<(), BadTarget> {
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == b'%' {
            decoded(&bytes[i..])?;
            i += 2;
        }
        i += 1;
    }
    Ok(())
}

/// The byte that the escape at the start of `bytes` stands for.
fn decoded(bytes: &[u8]) -> Result<u8, BadTarget> {
    let digit = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
    let (Some(high), Some(low)) = (digit(1), digit(2)) else {
        return Err(BadTarget::BadEscape);
    };
    let byte = u8::try_from(high * 16 + low).map_err(|_| BadTarget::BadEscape)?;
    if byte == 0 {
        return Err(BadTarget::BadEscape);
    }
    Ok(byte)
}

fn decode_unreserved(path: &[u8]) -> Result<String, BadTarget> {
    let mut out = String::with_capacity(path.len());
    let mut i = 0;
    while i < path.len() {
        if path[i] != b'%' {
            out.push(char::from(path[i]));
            i += 1;
            continue;
        }
        let byte = decoded(&path[i..])?;
        if byte < 0x20 || byte == 0x7f {
            return Err(BadTarget::BadEscape);
        }
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for b in &path[i + 1..i + 3] {
                out.push(char::from(b.to_ascii_uppercase()));
            }
        }
        i += 3;
    }
    Ok(out)
}

/// RFC 3986 §5.2.4, but `..` at the root is an error rather than ignored.
fn remove_dot_segments(path: &str) -> Result<String, BadTarget> {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                if kept.pop().is_none() {
                    return Err(BadTarget::AboveRoot);
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in kept {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_normalised() {
        for (given, wanted) in [
            ("/", "/"),
            ("/a/b?c=d", "/a/b?c=d"),
            ("/%7Euser", "/~user"),
            ("/a%2fb", "/a%2Fb"),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e%2e/c", "/c"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a//b", "/a//b"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/...", "/a/..."),
            ("/a?x=/../y", "/a?x=/../y"),
            ("/a?", "/a?"),
            ("/%e0%a6%a2", "/%E0%A6%A2"),
        ] {
            let target = normalise(given).map(|t| t.whole.into_owned());
            assert_eq!(target.as_deref(), Ok(wanted), "{given}");
            assert_eq!(
                normalise(wanted).map(|t| t.whole.into_owned()).as_deref(),
                Ok(wanted),
                "stable: {given}"
            );
        }
    }

    #[test]
    fn targets_that_no_uri_may_be_are_refused() {
        for (given, wanted) in [
            ("", BadTarget::NotOriginForm),
            ("*", BadTarget::NotOriginForm),
            ("a", BadTarget::NotOriginForm),
            ("/a b", BadTarget::ForbiddenByte),
            ("/a\\b", BadTarget::ForbiddenByte),
            ("/a#b", BadTarget::ForbiddenByte),
            ("/a\u{e4}", BadTarget::ForbiddenByte),
            ("/a\0", BadTarget::ForbiddenByte),
            ("/%", BadTarget::BadEscape),
            ("/%4", BadTarget::BadEscape),
            ("/%zz", BadTarget::BadEscape),
            ("/%00", BadTarget::BadEscape),
            ("/%0d%0a", BadTarget::BadEscape),
            ("/?a=%", BadTarget::BadEscape),
            ("/..", BadTarget::AboveRoot),
            ("/a/../../b", BadTarget::AboveRoot),
            ("/%2e%2e/b", BadTarget::AboveRoot),
        ] {
            assert_eq!(normalise(given), Err(wanted), "{given:?}");
        }
    }

    #[test]
    fn path_and_query_are_told_apart() {
        let target = normalise("/a/%62?q=1?2").expect("valid");
        assert_eq!((target.path(), target.query()), ("/a/b", Some("q=1?2")));
        assert_eq!(normalise("/a").expect("valid").query(), None);
        assert_eq!(normalise("/a?").expect("valid").query(), Some(""));
    }
}
