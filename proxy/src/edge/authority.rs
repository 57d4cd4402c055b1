//! The authority of a request: `Host` or `:authority` (RFC 9110 §7.2, RFC 3986 §3.2).

use std::borrow::Cow;

use super::request_view::Scheme;

/// A valid authority in lower case, without userinfo, without the dot of DNS's root behind the name, and without the
/// scheme's default port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority<'a> {
    /// `host[:port]`, part of the cache key.
    pub whole: Cow<'a, str>,
    /// Bytes of the host at the start of `whole`.
    host_len: usize,
}

impl Authority<'_> {
    /// The host without its port; IPv6 addresses keep their brackets.
    pub fn host(&self) -> &str {
        &self.whole[..self.host_len]
    }
}

/// Checks and normalises; `None` where it is malformed.
pub fn normalise(authority: &str, scheme: Scheme) -> Option<Authority<'_>> {
    let host_len = host_len(authority)?;
    let host = &authority[..host_len];
    // `shop.example.` is the same host: as another one it would pass its routes by.
    if let Some(name) = host.strip_suffix('.') {
        let plain = format!("{name}{}", &authority[host_len..]);
        let found = normalise(&plain, scheme)?;
        return Some(Authority {
            whole: Cow::Owned(found.whole.into_owned()),
            host_len: found.host_len,
        });
    }
    let port = match &authority[host_len..] {
        "" => None,
        rest => Some(rest.strip_prefix(':')?),
    };
    if let Some(port) = port {
        let digits =
            !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
        if !digits || port.parse::<u16>().is_err() {
            return None;
        }
    }
    // An empty port or the scheme's own says nothing (RFC 3986 §6.2.3).
    let shown = match port {
        Some(p) if p != scheme.default_port() => authority,
        _ => host,
    };
    let whole = if shown.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(shown.to_ascii_lowercase())
    } else {
        Cow::Borrowed(shown)
    };
    Some(Authority { whole, host_len })
}

/// Length of a well-formed host: a registered name or IPv4 address, or a bracketed IPv6 address.
fn host_len(authority: &str) -> Option<usize> {
    if let Some(rest) = authority.strip_prefix('[') {
        let end = rest.find(']')?;
        rest[..end].parse::<std::net::Ipv6Addr>().ok()?;
        return Some(end + 2);
    }
    let len = authority.find(':').unwrap_or(authority.len());
    let host = &authority[..len];
    let named = !host.is_empty()
        && host.len() <= 253
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
        && !host.starts_with('.')
        && !host.contains("..");
    named.then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_checked_and_normalised() {
        for (given, wanted) in [
            ("shop.example", Some(("shop.example", "shop.example"))),
            ("Shop.Example:80", Some(("shop.example", "shop.example"))),
            (
                "shop.example:8080",
                Some(("shop.example:8080", "shop.example")),
            ),
            ("127.0.0.1:80", Some(("127.0.0.1", "127.0.0.1"))),
            ("[::1]:8080", Some(("[::1]:8080", "[::1]"))),
            ("shop.example.", Some(("shop.example", "shop.example"))),
            (
                "Shop.example.:8080",
                Some(("shop.example:8080", "shop.example")),
            ),
            (".", None),
            ("a..", None),
            ("", None),
            ("a b", None),
            ("a,b", None),
            ("user@shop.example", None),
            ("shop.example:", None),
            ("shop.example:x", None),
            ("shop.example:99999", None),
            ("shop.example:80:80", None),
            ("[::1", None),
            ("[junk]", None),
            ("::1", None),
            ("a/b", None),
            (".example", None),
            ("a..b", None),
            ("sh\u{f6}p.example", None),
        ] {
            let found = normalise(given, Scheme::Http);
            let found = found.as_ref().map(|a| (a.whole.as_ref(), a.host()));
            assert_eq!(found, wanted, "{given:?}");
        }
    }
}
