//! `Cache-Status` (RFC 9211): how the store took part in an answer.

use bytes::{BufMut, BytesMut};
use http::{HeaderName, HeaderValue};

use crate::edge::decision::ForwardReason;

/// `Cache-Status`
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How a request was answered; in the response, the log and the metrics alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// From the store, fresh.
    Hit,
    /// From the store, stale, while it is fetched anew.
    HitStale,
    /// From the store, stale, because the upstream failed.
    HitStaleError,
    /// From the store, though it may be stale, because no server of the upstream can answer.
    HitWindow,
    /// From the store, after the upstream confirmed it.
    Revalidated(ForwardReason),
    /// By the upstream.
    Forwarded {
        /// Why the store did not answer.
        reason: ForwardReason,
        /// The response is stored, or on its way into the store.
        stored: bool,
        /// The request shared the answer to another one's fetch.
        collapsed: bool,
    },
    /// Neither: refused, redirected or failed here.
    None,
}

impl Outcome {
    /// Appends the value of `Cache-Status`; nothing where the store had no part. `ttl` is the freshness
    /// left in seconds, where there is any to speak of; `key` is for operators only.
    pub fn put(self, ttl: Option<i64>, key: Option<&str>, out: &mut BytesMut) {
        match self {
            Self::None => return,
            Self::Hit | Self::HitStale | Self::HitStaleError | Self::HitWindow => {
                out.put_slice(b"dhal; hit")
            }
            Self::Revalidated(reason) => {
                out.put_slice(b"dhal; fwd=");
                out.put_slice(reason.as_str().as_bytes());
                out.put_slice(b"; fwd-status=304; stored");
            }
            Self::Forwarded {
                reason,
                stored,
                collapsed,
            } => {
                out.put_slice(b"dhal; fwd=");
                out.put_slice(reason.as_str().as_bytes());
                if stored {
                    out.put_slice(b"; stored");
                }
                if collapsed {
                    out.put_slice(b"; collapsed");
                }
            }
        }
        match self {
            Self::HitStale => out.put_slice(b"; detail=stale-while-revalidate"),
            Self::HitStaleError => out.put_slice(b"; detail=stale-if-error"),
            Self::HitWindow => out.put_slice(b"; detail=shop-window"),
            _ => {}
        }
        if let Some(ttl) = ttl {
            out.put_slice(b"; ttl=");
            out.put_slice(itoa::Buffer::new().format(ttl).as_bytes());
        }
        if let Some(key) = key {
            out.put_slice(b"; key=\"");
            for byte in key.bytes() {
                if matches!(byte, b'"' | b'\\') {
                    out.put_u8(b'\\');
                }
                out.put_u8(byte);
            }
            out.put_slice(b"\"");
        }
    }

    /// The value of `Cache-Status`; `None` where the store had no part.
    pub fn field_value(self, ttl: Option<i64>, key: Option<&str>) -> Option<HeaderValue> {
        let mut out = BytesMut::with_capacity(64);
        self.put(ttl, key, &mut out);
        if out.is_empty() {
            return None;
        }
        HeaderValue::from_maybe_shared(out.freeze()).ok()
    }

    /// The label in logs and metrics.
    pub fn label(self) -> &'static str {
        use ForwardReason as Why;
        match self {
            Self::Hit => "hit",
            Self::HitStale => "stale",
            Self::HitStaleError => "stale-error",
            Self::HitWindow => "shop-window",
            Self::Revalidated(_) => "revalidated",
            Self::None => "none",
            Self::Forwarded {
                collapsed: true, ..
            } => "collapsed",
            Self::Forwarded {
                reason: Why::Bypass | Why::Method,
                ..
            } => "bypass",
            Self::Forwarded {
                reason: Why::UriMiss | Why::VaryMiss,
                ..
            } => "miss",
            Self::Forwarded {
                reason: Why::Stale, ..
            } => "expired",
        }
    }

    /// All labels, for metrics that exist before they count.
    pub const LABELS: [&'static str; 10] = [
        "hit",
        "stale",
        "stale-error",
        "shop-window",
        "revalidated",
        "none",
        "collapsed",
        "bypass",
        "miss",
        "expired",
    ];
}

/// A cache key as operators read it: its parts, and the names and values of chosen fields, with what is
/// not printable escaped.
pub fn readable(key: &[u8], uri_length: usize) -> String {
    let Some(uri) = http_caching::key::split(key) else {
        return String::new();
    };
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut out = format!(
        "{}://{}{}",
        text(uri.scheme),
        text(uri.authority),
        text(uri.path)
    );
    if let Some(query) = uri.query {
        out.push('?');
        out.push_str(&text(query));
    }
    let chosen = key.get(uri_length..).unwrap_or_default();
    if !chosen.is_empty() {
        out.push(' ');
        let printable = chosen.iter().filter(|byte| byte.is_ascii_graphic());
        out.extend(printable.map(|byte| char::from(*byte)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_rfc_9211() {
        let forwarded = |reason, stored, collapsed| Outcome::Forwarded {
            reason,
            stored,
            collapsed,
        };
        let rows: [(Outcome, Option<i64>, Option<&str>); 7] = [
            (Outcome::Hit, Some(30), Some("dhal; hit; ttl=30")),
            (
                Outcome::HitStale,
                Some(-5),
                Some("dhal; hit; detail=stale-while-revalidate; ttl=-5"),
            ),
            (
                Outcome::Revalidated(ForwardReason::Stale),
                Some(60),
                Some("dhal; fwd=stale; fwd-status=304; stored; ttl=60"),
            ),
            (
                forwarded(ForwardReason::UriMiss, true, false),
                Some(60),
                Some("dhal; fwd=uri-miss; stored; ttl=60"),
            ),
            (
                forwarded(ForwardReason::VaryMiss, true, true),
                None,
                Some("dhal; fwd=vary-miss; stored; collapsed"),
            ),
            (
                forwarded(ForwardReason::Bypass, false, false),
                None,
                Some("dhal; fwd=bypass"),
            ),
            (Outcome::None, None, None),
        ];
        for (outcome, ttl, expected) in rows {
            let value = outcome.field_value(ttl, None);
            let value = value.as_ref().map(|v| v.to_str().expect("ASCII"));
            assert_eq!(value, expected);
        }
        let value = Outcome::Hit.field_value(None, Some("a\"b"));
        assert_eq!(
            value.expect("a value").to_str().expect("ASCII"),
            r#"dhal; hit; key="a\"b""#
        );
    }

    #[test]
    fn keys_can_be_read() {
        let mut key = Vec::new();
        http_caching::cache_key("https", "shop.example", "/a", Some("b=1"), &mut key);
        assert_eq!(readable(&key, key.len()), "https://shop.example/a?b=1");
    }
}
