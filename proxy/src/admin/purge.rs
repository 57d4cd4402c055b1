//! `POST /purge`: what is to leave the store, or to be refreshed before it answers again.

use std::{fmt, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};

use super::routes::Refusal;
use crate::{
    cache::purge::MANY_PREFIXES,
    edge::{
        Scheme, authority,
        path::{self, EncodedSlashes},
    },
    server::Control,
};

/// Entries of one order, over all kinds. Who has more of them means a prefix, a tag, or everything.
const ENTRIES_MAX: usize = 10_000;

/// Length of a tag: far longer than an identifier, far shorter than a page.
const TAG_MAX: usize = 1_024;

/// Characters of a wrong entry that an answer repeats.
const SHOWN_MAX: usize = 100;

/// What is to be purged; at least one thing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PurgeOrder {
    /// These pages, each with all its variants.
    pub urls: Vec<PurgeUrl>,
    /// All pages whose URLs begin with one of these, letter by letter.
    pub prefixes: Vec<PurgeUrl>,
    /// All pages that the shop gave one of these tags.
    pub tags: Vec<String>,
    /// Everything.
    pub all: bool,
    /// Keep it as stale instead: the next request is answered with it while one refreshes it.
    pub soft: bool,
}

/// An absolute URL, spelt as the store's keys spell it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PurgeUrl {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// `host[:port]`, see [`authority::normalise`].
    pub authority: String,
    /// `path[?query]`, see [`path::normalise`].
    pub target: String,
}

impl fmt::Display for PurgeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scheme,
            authority,
            target,
        } = self;
        write!(f, "{}://{authority}{target}", scheme.as_str())
    }
}

impl PurgeUrl {
    /// Reads and normalises it as a request for it would be; an error is a clause about it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const NO_URL: &str = "is no absolute http or https URL";
        let (scheme, rest) = text.split_once("://").ok_or(NO_URL)?;
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
            _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
            _ => return Err(NO_URL),
        };
        // A fragment stays with the browser.
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, target) = rest.split_at(end);
        let authority = authority::normalise(host, scheme).ok_or("has a malformed host or port")?;
        let absolute;
        let target = match target.starts_with('/') {
            true => target,
            // RFC 9112 §3.2.1: an empty path is sent as `/`.
            false => {
                absolute = format!("/{target}");
                &absolute
            }
        };
        let target = path::normalise(target, EncodedSlashes::Keep).map_err(|why| match why {
            path::BadTarget::AboveRoot => "leads above the root",
            path::BadTarget::BadEscape => "has a malformed percent-encoding",
            path::BadTarget::EncodedSlash => "has an encoded slash",
            path::BadTarget::ForbiddenByte | path::BadTarget::NotOriginForm => {
                "holds a character that a URL needs percent-encoded"
            }
        })?;
        Ok(Self {
            scheme,
            authority: authority.whole.into_owned(),
            target: target.whole.into_owned(),
        })
    }
}

/// The order as it is sent.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Sent {
    urls: Vec<String>,
    prefixes: Vec<String>,
    tags: Vec<String>,
    all: bool,
    soft: bool,
}

impl PurgeOrder {
    /// Reads it from JSON; an error is a sentence.
    fn read(json: &[u8]) -> Result<Self, String> {
        let sent: Sent =
            serde_json::from_slice(json).map_err(|why| format!("this is no purge: {why}"))?;
        let entries = sent.urls.len() + sent.prefixes.len() + sent.tags.len();
        if entries == 0 && !sent.all {
            return Err(
                "nothing to purge: give `urls`, `prefixes`, `tags`, or `all` as true".to_owned(),
            );
        }
        if entries > ENTRIES_MAX {
            return Err(format!(
                "{entries} entries are more than the {ENTRIES_MAX} of one order; purge by prefix or tag, or in parts"
            ));
        }
        if sent.prefixes.len() > MANY_PREFIXES {
            return Err(format!(
                "{} prefixes are more than the {MANY_PREFIXES} of one order; purge by tag, or everything",
                sent.prefixes.len()
            ));
        }
        if let Some((i, tag)) = sent.tags.iter().enumerate().find(|(_, tag)| !is_tag(tag)) {
            return Err(format!(
                "tags[{i}] {} is no tag: it has 1 to {TAG_MAX} visible ASCII characters without spaces",
                shown(tag)
            ));
        }
        Ok(Self {
            urls: urls("urls", &sent.urls)?,
            prefixes: urls("prefixes", &sent.prefixes)?,
            tags: sent.tags,
            all: sent.all,
            soft: sent.soft,
        })
    }
}

fn urls(key: &str, sent: &[String]) -> Result<Vec<PurgeUrl>, String> {
    let read = |(i, text): (usize, &String)| {
        PurgeUrl::parse(text).map_err(|why| format!("{key}[{i}] {} {why}", shown(text)))
    };
    sent.iter().enumerate().map(read).collect()
}

fn is_tag(tag: &str) -> bool {
    (1..=TAG_MAX).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_graphic())
}

/// A value as answers repeat it: bounded, on one line.
pub(super) fn shown(text: &str) -> String {
    let start: String = text.chars().take(SHOWN_MAX).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("{start:?}{more}")
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Purged {
    /// Counts up with each purge.
    pub generation: u64,
    /// Whether the pages stay as stale.
    pub soft: bool,
}

pub(super) async fn purge(
    State(control): State<Arc<Control>>,
    sent: Result<Bytes, BytesRejection>,
) -> Result<Json<Purged>, Refusal> {
    let order = PurgeOrder::read(&sent?).map_err(Refusal::unprocessable)?;
    let soft = order.soft;
    match control.purge(order).await {
        Ok(generation) => Ok(Json(Purged { generation, soft })),
        Err(why) => {
            tracing::error!(%why, "a purge failed");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Err(Refusal { status, why })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_spelt_as_in_requests() {
        for (text, wanted) in [
            ("http://shop.example/", Ok("http://shop.example/")),
            ("HTTPS://Shop.Example:443", Ok("https://shop.example/")),
            ("https://shop.example:80/a", Ok("https://shop.example:80/a")),
            (
                "http://shop.example?a=1#top",
                Ok("http://shop.example/?a=1"),
            ),
            ("http://shop.example/a#b", Ok("http://shop.example/a")),
            (
                "http://shop.example/%7ea/./b/../c%2fd?x=%2f",
                Ok("http://shop.example/~a/c%2Fd?x=%2f"),
            ),
            ("http://[::1]:8080/a", Ok("http://[::1]:8080/a")),
            ("", Err("no absolute")),
            ("/a", Err("no absolute")),
            ("shop.example/a", Err("no absolute")),
            ("ftp://shop.example/a", Err("no absolute")),
            ("http:///a", Err("host or port")),
            ("http://user@shop.example/", Err("host or port")),
            ("http://shop.example:99999/", Err("host or port")),
            ("http://shop.example/a b", Err("percent-encoded")),
            ("http://shop.example/পাখা", Err("percent-encoded")),
            ("http://shop.example/%zz", Err("malformed percent")),
            ("http://shop.example/../a", Err("above the root")),
        ] {
            let read = PurgeUrl::parse(text).map(|url| url.to_string());
            match (&read, wanted) {
                (Ok(read), Ok(wanted)) => assert_eq!(read, wanted),
                (Err(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
                _ => panic!("{text}: {read:?}"),
            }
        }
    }

    #[test]
    fn orders_are_read() {
        let order = PurgeOrder::read(
            br#"{"urls": ["http://A.example"], "prefixes": ["https://a.example/b"],
                "tags": ["product-1"], "soft": true}"#,
        );
        let url = |text| PurgeUrl::parse(text).expect("valid");
        let wanted = PurgeOrder {
            urls: vec![url("http://a.example/")],
            prefixes: vec![url("https://a.example/b")],
            tags: vec!["product-1".to_owned()],
            all: false,
            soft: true,
        };
        assert_eq!(order, Ok(wanted));
        assert!(PurgeOrder::read(br#"{"all": true}"#).is_ok_and(|order| order.all && !order.soft));
    }

    #[test]
    fn wrong_orders_are_explained() {
        let many = format!("{{\"tags\": [{}\"a\"]}}", "\"a\",".repeat(ENTRIES_MAX));
        let prefixes = vec!["http://a.example/"; MANY_PREFIXES + 1];
        let prefixes = serde_json::json!({ "prefixes": prefixes }).to_string();
        let long = format!("{{\"tags\": [\"{}\"]}}", "a".repeat(TAG_MAX + 1));
        for (json, part) in [
            ("", "no purge"),
            ("[]", "nothing to purge"),
            ("nothing", "no purge"),
            (r#"{"url": ["http://a.example/"]}"#, "unknown field `url`"),
            (r#"{"urls": "http://a.example/"}"#, "no purge"),
            (r#"{"all": "yes"}"#, "no purge"),
            ("{}", "nothing to purge"),
            (
                r#"{"urls": [], "all": false, "soft": true}"#,
                "nothing to purge",
            ),
            (
                r#"{"urls": ["http://a.example/", "a"]}"#,
                "urls[1] \"a\" is no",
            ),
            (r#"{"prefixes": ["/a"]}"#, "prefixes[0] \"/a\" is no"),
            (r#"{"tags": ["a", "b c"]}"#, "tags[1] \"b c\" is no tag"),
            (r#"{"tags": [""]}"#, "tags[0] \"\" is no tag"),
            (&long, "tags[0]"),
            (&many, "10001 entries"),
            (&prefixes, "257 prefixes"),
        ] {
            let why = PurgeOrder::read(json.as_bytes()).expect_err(json);
            assert!(why.contains(part) && why.len() < 400, "{json}: {why}");
        }
    }
}
