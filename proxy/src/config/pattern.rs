//! Hosts and paths of routes.

use std::{collections::BTreeSet, net::Ipv6Addr};

use super::{
    diagnostic::{Complaint, shown},
    model::{HostPattern, PathPattern, Segment},
    read::Scalar,
};
use crate::edge::path;

/// Longest host name (RFC 1035, section 2.3.4).
const HOST_MAX: usize = 253;

/// A host, as patterns have it.
const HOST: &str = r"([0-9a-z_-]+(\.[0-9a-z_-]+)*|\[[0-9A-Fa-f:.]+\])";
/// A character of a path, `*` left out.
const PATH: &str = r"[!$-)+-;=@-\[\]_a-z~]";

impl Scalar for HostPattern {
    const WANTED: &'static str = "a host such as \"shop.example\" or \"*.shop.example\"";

    fn pattern() -> Option<String> {
        Some(format!(r"^(\*\.)?{HOST}$"))
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text == "*" {
            return Err(Complaint::new("`*` is no host").help("leave out `host` for any host"));
        }
        match text.strip_prefix("*.") {
            Some(below) => host(below).map(Self::Wildcard),
            None => host(text).map(Self::Exact),
        }
    }
}

/// The `Host` of a health check: a host, possibly with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeaderHost(pub(super) String);

impl Scalar for HeaderHost {
    const WANTED: &'static str = "a host such as \"shop.example\"";

    fn pattern() -> Option<String> {
        Some(format!("^{HOST}(:[0-9]+)?$"))
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let name = match text.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            _ => text,
        };
        host(name).map(|_| Self(text.to_owned()))
    }
}

/// A host without port in the form in which requests are compared: lower case, or `[::1]`.
fn host(text: &str) -> Result<String, Complaint> {
    let wrong = |why: &str| Complaint::new(format!("{} is no host: {why}", shown(text)));
    if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        let address: Ipv6Addr = inner
            .parse()
            .map_err(|_| wrong("the brackets hold no IPv6 address"))?;
        return Ok(format!("[{address}]"));
    }
    if !text.is_ascii() {
        return Err(wrong("it has characters beyond ASCII")
            .help("write the name in its punycode form, `xn--…`"));
    }
    if let Some((name, _)) = text.split_once(':') {
        return Err(
            wrong("it has a port or a scheme").help(match name.contains('.') {
                true => format!(
                    "write \"{}\": a route applies to every port",
                    name.to_ascii_lowercase()
                ),
                false => "write the name alone: a route applies to every port".to_owned(),
            }),
        );
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(wrong("it has upper-case letters")
            .help(format!("write \"{}\"", text.to_ascii_lowercase())));
    }
    if text.contains('*') {
        return Err(wrong("`*` stands only for the whole first label")
            .help("write it as in \"*.shop.example\""));
    }
    if text.len() > HOST_MAX {
        return Err(wrong("it is too long"));
    }
    if let Some(name) = text.strip_suffix('.') {
        return Err(wrong("it ends in a dot").help(format!("write \"{name}\"")));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    match text.split('.').all(label) {
        true => Ok(text.to_owned()),
        false => Err(wrong(
            "a label has 1 to 63 letters, digits or `-`, and no `-` at its ends",
        )),
    }
}

impl Scalar for PathPattern {
    const WANTED: &'static str = "a path such as \"/products/*\"";

    fn pattern() -> Option<String> {
        Some(format!("^/({PATH}*/)?\\*?$|^/{PATH}*$"))
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let wrong =
            |why: &str| Complaint::new(format!("{} is no path of a route: {why}", shown(text)));
        let Some(relative) = text.strip_prefix('/') else {
            return Err(
                wrong("it must begin with `/`").help("write it as in \"/cart\" or \"/products/*\"")
            );
        };
        if let Some((path, _)) = text.split_once(['?', '#']) {
            return Err(
                wrong("a query or fragment is no part of it").help(format!("write \"{path}\""))
            );
        }
        if let Some(bad) = text
            .chars()
            .find(|c| !c.is_ascii_graphic() || "\\\"<>^`{|}".contains(*c))
        {
            return Err(wrong(&format!(
                "{} never stands in a path",
                shown(&bad.to_string())
            ))
            .help("write a parameter as `:name`, and other characters percent-encoded"));
        }
        percent_encoding(text).map_err(wrong)?;

        let parts: Vec<_> = relative.split('/').collect();
        let (last, inner) = parts.split_last().unwrap_or((&"", &[]));
        if inner.iter().any(|part| part.is_empty()) {
            return Err(wrong("it has an empty segment").help("write one `/` between two segments"));
        }
        let Some(text) = path::literal(text) else {
            return Err(wrong("no request may have an encoded control character"));
        };
        if text.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(wrong("`.` and `..` are resolved before a route is chosen"));
        }
        if inner.iter().any(|part| part.contains('*')) || (last.contains('*') && *last != "*") {
            return Err(wrong("`*` stands only at the end, after a `/`")
                .help("write it as in \"/products/*\""));
        }
        if parts.iter().any(|part| part.starts_with(':')) {
            return segments(&parts)
                .map(Self::Segments)
                .map_err(|why| wrong(&why));
        }
        match text.strip_suffix('*').filter(|_| *last == "*") {
            Some(prefix) => Ok(Self::Prefix(prefix.to_owned())),
            None => Ok(Self::Exact(text)),
        }
    }
}

#[cfg(test)]
impl PathPattern {
    /// A pattern that is known to be right; an expression behind `~`.
    pub(crate) fn parse_for_tests(text: &str) -> Self {
        match text.strip_prefix('~') {
            Some(regex) => {
                Self::Regex(crate::route::path_regex::PathRegex::new(regex).expect("an expression"))
            }
            None => Self::parse(text).expect("a pattern"),
        }
    }
}

/// Requests are compared with upper-case digits, so a pattern must have them too.
fn percent_encoding(text: &str) -> Result<(), &'static str> {
    let digit = |b: &u8| b.is_ascii_digit() || (b'A'..=b'F').contains(b);
    for (at, _) in text.match_indices('%') {
        match text.as_bytes().get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(digit) => {}
            _ => return Err("`%` must be followed by two upper-case hexadecimal digits"),
        }
    }
    Ok(())
}

/// The segments of a path with parameters.
fn segments(parts: &[&str]) -> Result<Vec<Segment>, String> {
    let mut names = BTreeSet::new();
    let segment = |part: &&str| match part.strip_prefix(':') {
        Some(name) => {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            if name.is_empty() || !name.bytes().all(plain) || name.as_bytes()[0].is_ascii_digit() {
                return Err(format!(
                    "a parameter is `:` and a name of a-z, 0-9 and `_`, not {}",
                    shown(part)
                ));
            }
            match names.insert(name.to_owned()) {
                true => Ok(Segment::Param(name.to_owned())),
                false => Err(format!("it has two parameters {}", shown(part))),
            }
        }
        None if *part == "*" => Ok(Segment::Rest),
        None => Ok(Segment::Literal(
            path::literal(part).unwrap_or_else(|| (*part).to_owned()),
        )),
    };
    parts.iter().map(segment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (text, expected) in [
            ("shop.example", HostPattern::Exact("shop.example".into())),
            ("localhost", HostPattern::Exact("localhost".into())),
            ("127.0.0.1", HostPattern::Exact("127.0.0.1".into())),
            ("[::1]", HostPattern::Exact("[::1]".into())),
            ("[0:0::1]", HostPattern::Exact("[::1]".into())),
            (
                "xn--54b7fta0cc",
                HostPattern::Exact("xn--54b7fta0cc".into()),
            ),
            (
                "*.shop.example",
                HostPattern::Wildcard("shop.example".into()),
            ),
        ] {
            assert_eq!(HostPattern::parse(text), Ok(expected), "{text}");
        }
        let long = format!("{}.example", "a.".repeat(130));
        for text in [
            "",
            "*",
            "Shop.example",
            "shop.example:443",
            "https://shop.example",
            "shop.*",
            "a.*.b",
            "*shop.example",
            "*.*.example",
            "shop..example",
            ".shop",
            "shop.example.",
            "-a.example",
            "a-.example",
            "sh op",
            "দোকান.example",
            "a/b",
            "[::1",
            "[x]",
            "*.",
            &long,
        ] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths() {
        let literal = |text: &str| Segment::Literal(text.to_owned());
        let param = |text: &str| Segment::Param(text.to_owned());
        for (text, expected) in [
            ("/", PathPattern::Exact("/".into())),
            ("/cart", PathPattern::Exact("/cart".into())),
            ("/cart/", PathPattern::Exact("/cart/".into())),
            ("/a%2Fb:c", PathPattern::Exact("/a%2Fb:c".into())),
            // As requests are compared.
            ("/%7Ea%2B%20", PathPattern::Exact("/~a+%20".into())),
            ("/a/%2A", PathPattern::Exact("/a/*".into())),
            ("/%40a/*", PathPattern::Prefix("/@a/".into())),
            ("/*", PathPattern::Prefix("/".into())),
            ("/products/*", PathPattern::Prefix("/products/".into())),
            (
                "/products/:id",
                PathPattern::Segments(vec![literal("products"), param("id")]),
            ),
            (
                "/:a/x/:b_2/*",
                PathPattern::Segments(vec![param("a"), literal("x"), param("b_2"), Segment::Rest]),
            ),
            ("/:a/", PathPattern::Segments(vec![param("a"), literal("")])),
        ] {
            assert_eq!(PathPattern::parse(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "cart",
            "*",
            "/products*",
            "/*/reviews",
            "/a//b",
            "//",
            "/a/./b",
            "/..",
            "/a?b",
            "/a#b",
            "/a b",
            "/ঢ",
            "/{id}",
            "/a\\b",
            "/a%",
            "/a%2",
            "/a%2f",
            "/a/%2E%2E/b",
            "/a%0A",
            "/a%zz",
            "/:",
            "/:A",
            "/:1",
            "/:id/:id",
            "/:a-b",
            "/**",
            "/:id*",
        ] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
    }
}
