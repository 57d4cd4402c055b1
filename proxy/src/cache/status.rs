//! `Cache-Status` (RFC 9211): how the store took part in an answer.

use http::HeaderName;

use crate::edge::decision::ForwardReason;

/// `Cache-Status`
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How a request was answered; in the response, the log and the metrics alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// From the store, fresh.
    Hit,
    /// From the store, stale, while another request validates it.
    HitStale,
    /// From the store, stale, because the upstream failed.
    HitStaleError,
    /// From the store, after the upstream confirmed it.
    Revalidated,
    /// By the upstream.
    Forwarded {
        /// Why the store did not answer.
        reason: ForwardReason,
        /// The response was stored.
        stored: bool,
        /// The request waited for another that fetched the response.
        collapsed: bool,
    },
    /// Neither: refused, redirected or failed here.
    None,
}

impl Outcome {
    /// The value of `Cache-Status`; `None` where the store had no part.
    pub fn field_value(self) -> Option<&'static str> {
        use ForwardReason as Why;
        Some(match self {
            Self::Hit => "dhal; hit",
            Self::HitStale => "dhal; hit; detail=stale-while-revalidate",
            Self::HitStaleError => "dhal; hit; detail=stale-if-error",
            Self::Revalidated => "dhal; fwd=stale; fwd-status=304; stored",
            Self::None => return None,
            Self::Forwarded {
                collapsed: true, ..
            } => "dhal; fwd=uri-miss; collapsed",
            Self::Forwarded { reason, stored, .. } => match (reason, stored) {
                (Why::Bypass, _) => "dhal; fwd=bypass",
                (Why::Method, _) => "dhal; fwd=method",
                (Why::UriMiss, true) => "dhal; fwd=uri-miss; stored",
                (Why::UriMiss, false) => "dhal; fwd=uri-miss",
                (Why::VaryMiss, true) => "dhal; fwd=vary-miss; stored",
                (Why::VaryMiss, false) => "dhal; fwd=vary-miss",
                (Why::Stale, true) => "dhal; fwd=stale; stored",
                (Why::Stale, false) => "dhal; fwd=stale",
            },
        })
    }

    /// The label in logs and metrics.
    pub fn label(self) -> &'static str {
        use ForwardReason as Why;
        match self {
            Self::Hit => "hit",
            Self::HitStale => "stale",
            Self::HitStaleError => "stale-error",
            Self::Revalidated => "revalidated",
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
    pub const LABELS: [&'static str; 9] = [
        "hit",
        "stale",
        "stale-error",
        "revalidated",
        "none",
        "collapsed",
        "bypass",
        "miss",
        "expired",
    ];
}
