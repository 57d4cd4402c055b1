//! Which request fields may stand in a cache key, and why others may not.

use http::HeaderName;

use super::{
    diagnostic::{Complaint, shown},
    read::Scalar,
    scalar::TOKEN,
};
use crate::respond::fields::NEVER_FORWARDED;

/// A request field that tells variants of a page apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyHeader(pub(super) HeaderName);

/// About the connection to us, not about the page (RFC 9110 §7.6.1); the shop sees our own.
const HOP_BY_HOP: [&str; 12] = [
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Written by us or by proxies before us.
const FORWARDING: [&str; 2] = ["via", "x-request-id"];

/// Nearly everyone has a value of their own, so that hardly anything would be shared.
const DIFFERS_BY_VISITOR: [&str; 3] = ["origin", "referer", "user-agent"];

impl KeyHeader {
    /// Whether it is legal, but leaves hardly anything to share.
    pub(super) fn differs_by_visitor(&self) -> bool {
        DIFFERS_BY_VISITOR.contains(&self.0.as_str())
    }
}

impl Scalar for KeyHeader {
    const WANTED: &'static str = "the name of a request field";

    fn pattern() -> Option<String> {
        Some(format!("^{TOKEN}+$"))
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            return Err(
                Complaint::new(format!("{} is no name of a field", shown(text)))
                    .help("write a name such as \"accept-language\""),
            );
        };
        match objection(name.as_str()) {
            None => Ok(Self(name)),
            Some((why, help)) => {
                let complaint =
                    Complaint::new(format!("{} cannot stand in the key: {why}", shown(text)));
                Err(match help {
                    Some(help) => complaint.help(help),
                    None => complaint,
                })
            }
        }
    }
}

/// Why a field cannot be keyed, and what to do instead.
fn objection(name: &str) -> Option<(&'static str, Option<&'static str>)> {
    if HOP_BY_HOP.contains(&name) {
        return Some(("it is about the connection, not about the page", None));
    }
    if name.starts_with("x-forwarded") || FORWARDING.contains(&name) {
        return Some(("proxies write it, not visitors", None));
    }
    if NEVER_FORWARDED.contains(&name) {
        return Some(("it never reaches the shop", None));
    }
    if name.starts_with("if-") {
        return Some((
            "it is a condition on a page, not a variant of it",
            Some("remove it; conditional requests are answered from the store"),
        ));
    }
    Some(match name {
        "host" => ("every key begins with it", Some("remove it")),
        "cookie" => (
            "it holds all cookies of a visitor",
            Some("name the cookies that matter in `key_cookies`"),
        ),
        "authorization" => (
            "it is a secret, and its answers belong to one visitor",
            Some("remove it; such answers are stored only where the shop says `public`"),
        ),
        "accept-encoding" => (
            "browsers write it in a hundred ways",
            Some("remove it; `compress` stores an encoding for every browser"),
        ),
        "range" => (
            "it asks for a part of a page, not for a variant of it",
            Some("remove it; ranges are cut from what is stored"),
        ),
        "content-length" => (
            "it is about a request's body, and such a request is never answered from the store",
            None,
        ),
        "traceparent" | "tracestate" => ("it differs from request to request", None),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_in_lower_case_and_some_are_refused() {
        for (text, wanted) in [
            ("accept-language", Ok("accept-language")),
            ("Accept-Language", Ok("accept-language")),
            ("X-Currency", Ok("x-currency")),
            ("User-Agent", Ok("user-agent")),
            ("", Err("no name of a field")),
            ("a b", Err("no name of a field")),
            ("দেশ", Err("no name of a field")),
            ("Host", Err("every key begins")),
            ("Cookie", Err("all cookies")),
            ("Authorization", Err("a secret")),
            ("connection", Err("about the connection")),
            ("Transfer-Encoding", Err("about the connection")),
            ("Range", Err("a part of a page")),
            ("If-Range", Err("a condition")),
            ("if-none-match", Err("a condition")),
            ("content-length", Err("a request's body")),
            ("Accept-Encoding", Err("a hundred ways")),
            ("Forwarded", Err("never reaches")),
            ("X-Real-IP", Err("never reaches")),
            ("X-Original-URL", Err("never reaches")),
            ("x-forwarded-for", Err("proxies write it")),
            ("X-Forwarded-Country", Err("proxies write it")),
            ("Via", Err("proxies write it")),
            ("traceparent", Err("differs from request")),
        ] {
            let read = KeyHeader::parse(text).map(|name| name.0.as_str().to_owned());
            match (&read, wanted) {
                (Ok(read), Ok(wanted)) => assert_eq!(read, wanted),
                (Err(why), Err(part)) => assert!(format!("{why:?}").contains(part), "{why:?}"),
                _ => panic!("{text:?}: {read:?}"),
            }
        }
        assert!(KeyHeader(http::header::USER_AGENT).differs_by_visitor());
        assert!(!KeyHeader(http::header::ACCEPT_LANGUAGE).differs_by_visitor());
    }
}
