//! What proxies write of those they speak for: `X-Forwarded-For`, and `Forwarded` (RFC 7239).

use std::{
    borrow::Cow,
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Proxies that are walked over at most; nobody has that many in a row.
pub(super) const MAX_HOPS: usize = 64;

/// The hops of a line of `X-Forwarded-For`, the last [`MAX_HOPS`] of them; `None` stands for what is no address.
pub(super) fn x_forwarded_for(line: &[u8], hops: &mut Vec<Option<IpAddr>>) {
    let began = hops.len();
    let last = line.rsplit(|b| *b == b',').take(MAX_HOPS);
    hops.extend(last.map(|part| address(part.trim_ascii())));
    hops[began..].reverse();
}

/// The hops of a line of `Forwarded`. Read from its beginning, because a comma may be quoted; a line with a quote
/// that does not end says nothing at all.
pub(super) fn forwarded(line: &[u8], hops: &mut Vec<Option<IpAddr>>) {
    let mut rest = line;
    let mut recent = VecDeque::with_capacity(MAX_HOPS.min(line.len() / 4 + 1));
    loop {
        let broken = || Some((None, skip(rest)?));
        let Some((hop, end)) = element(rest).or_else(broken) else {
            // Nobody knows where the next one begins.
            return hops.push(None);
        };
        if recent.len() == MAX_HOPS {
            recent.pop_front();
        }
        recent.push_back(hop);
        match rest.get(end + 1..) {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    hops.extend(recent);
}

/// One element up to its comma or the end of the line: whom it names, and how long it is. `None` where the syntax
/// is broken (RFC 7239 §4).
fn element(line: &[u8]) -> Option<(Option<IpAddr>, usize)> {
    let (mut at, mut named, mut count) = (0, None, 0);
    loop {
        at += blanks(&line[at..]);
        let name = token(&line[at..]);
        at += name;
        if name > 0 {
            let name = &line[at - name..at];
            if line.get(at) != Some(&b'=') {
                return None;
            }
            at += 1;
            let (value, length) = value(&line[at..])?;
            at += length;
            if name.eq_ignore_ascii_case(b"for") {
                count += 1;
                named = address(&value);
            }
        }
        at += blanks(&line[at..]);
        match line.get(at) {
            Some(b';') => at += 1,
            // Nobody has two addresses (RFC 7239 §4: each parameter at most once).
            None | Some(b',') => return Some((named.filter(|_| count == 1), at)),
            Some(_) => return None,
        }
    }
}

/// Length of an element that is broken; `None` where a quote in it does not end.
fn skip(line: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match line.get(at) {
            None | Some(b',') => return Some(at),
            Some(b'"') => at += quoted(&line[at..])?.1,
            Some(_) => at += 1,
        }
    }
}

fn blanks(line: &[u8]) -> usize {
    let all = line.iter();
    all.take_while(|b| matches!(b, b' ' | b'\t')).count()
}

/// Length of a token (RFC 9110 §5.6.2).
fn token(line: &[u8]) -> usize {
    let is_part = |b: &&u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    line.iter().take_while(is_part).count()
}

/// A token or a quoted string: what it says, and its length.
fn value(line: &[u8]) -> Option<(Cow<'_, [u8]>, usize)> {
    if line.first() == Some(&b'"') {
        let (text, length) = quoted(line)?;
        return Some((text.into(), length));
    }
    match token(line) {
        0 => None,
        length => Some((line[..length].into(), length)),
    }
}

/// A quoted string: what it says, and its length with its quotes.
fn quoted(line: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut text = Vec::new();
    let mut at = 1;
    loop {
        match line.get(at)? {
            b'"' => return Some((text, at + 1)),
            b'\\' => {
                at += 1;
                text.push(*line.get(at)?);
            }
            byte => text.push(*byte),
        }
        at += 1;
    }
}

/// An address as proxies write it: alone, or with a port, an IPv6 one in brackets then. No zone, no octal or
/// shortened notation.
pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (inner, behind) = rest.split_once(']')?;
        if !behind.is_empty() {
            port(behind.strip_prefix(':')?)?;
        }
        IpAddr::V6(inner.parse::<Ipv6Addr>().ok()?)
    } else if let Some((v4, behind)) = text.split_once(':')
        && v4.contains('.')
    {
        port(behind)?;
        IpAddr::V4(v4.parse::<Ipv4Addr>().ok()?)
    } else {
        text.parse().ok()?
    };
    Some(address.to_canonical())
}

/// A port, which may be obfuscated (RFC 7239 §6.2).
fn port(text: &str) -> Option<()> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let hidden = |name: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        !name.is_empty() && name.bytes().all(plain)
    };
    (digits && text.parse::<u16>().is_ok() || text.strip_prefix('_').is_some_and(hidden))
        .then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_address() {
        for (text, wanted) in [
            ("1.2.3.4", "1.2.3.4"),
            ("1.2.3.4:5678", "1.2.3.4"),
            ("1.2.3.4:_gone", "1.2.3.4"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[::1]:80", "::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("[::ffff:1.2.3.4]:80", "1.2.3.4"),
            ("::FFFF:102:304", "1.2.3.4"),
        ] {
            let wanted: IpAddr = wanted.parse().expect("address");
            assert_eq!(address(text.as_bytes()), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "unknown",
            "_hidden",
            "localhost",
            "0177.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "0x7f000001",
            "127.0.0.01",
            "127.0.0.256",
            "127.0.0.1.",
            "127.0.0.1:",
            "127.0.0.1:65536",
            "127.0.0.1:+80",
            "127.0.0.1:000080",
            "127.0.0.1:80:80",
            "127.0.0.1 ",
            "127.0.0.1/8",
            "127.1:80",
            "fe80::1%eth0",
            "[fe80::1%eth0]",
            "[fe80::1%25eth0]:80",
            "[127.0.0.1]",
            "[::1",
            "[::1]80",
            "[::1]:",
            "::1]",
            "[[::1]]",
            "::1::",
            "\u{661}.2.3.4",
            "1.2.3.4\0",
        ] {
            assert_eq!(address(text.as_bytes()), None, "{text}");
        }
        assert_eq!(address(&[0xff, 0xfe]), None);
    }
}
