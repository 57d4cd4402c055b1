//! Fields that Dhal adds to answers and requests, and those it takes off.

use bytes::{BufMut, BytesMut};
use http::HeaderName;

use crate::{admit::state::LimitState, cache::head::put_field};

/// `X-Request-ID`
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `RateLimit` (draft-ietf-httpapi-ratelimit-headers)
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// `RateLimit-Policy`
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// `X-Forwarded-For`
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Proto`
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Host`
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `traceparent` (W3C Trace Context)
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Fields by which a visitor could pose as a proxy or point a shop at another URL, host or method. We
/// set the first three ourselves; the others never reach a shop.
pub const NEVER_FORWARDED: [&str; 24] = [
    // Whom a certificate names is ours to say (RFC 9440 §4).
    "client-cert",
    "client-cert-chain",
    "x-client-verify",
    "x-client-subject",
    "x-client-issuer",
    "x-client-serial",
    "x-client-fingerprint",
    "x-client-san",
    "forwarded",
    "x-forwarded",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-real-ip",
    "x-client-ip",
    "x-original-url",
    "x-original-host",
    "x-rewrite-url",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// `"browse";q=100;w=2`
pub fn ratelimit_policy(limit: &LimitState) -> String {
    let mut out = String::with_capacity(64);
    compose_policy(limit, &mut |part| out.push_str(part));
    out
}

/// `"browse";r=42;t=1`
pub fn ratelimit(limit: &LimitState) -> String {
    let mut out = String::with_capacity(64);
    compose_state(limit, &mut |part| out.push_str(part));
    out
}

fn compose_policy(limit: &LimitState, put: &mut impl FnMut(&str)) {
    put("\"");
    put(limit.rule);
    put("\";q=");
    put(itoa::Buffer::new().format(limit.quota));
    put(";w=");
    put(itoa::Buffer::new().format(limit.window));
}

fn compose_state(limit: &LimitState, put: &mut impl FnMut(&str)) {
    let left = u64::from(limit.quota - limit.remaining.min(limit.quota));
    let reset = match limit.retry_after {
        0 => (limit.window * left).div_ceil(u64::from(limit.quota.max(1))),
        // Both are to name the same point in time (draft-ietf-httpapi-ratelimit-headers, server behaviour).
        seconds => seconds,
    };
    put("\"");
    put(limit.rule);
    put("\";r=");
    put(itoa::Buffer::new().format(limit.remaining));
    put(";t=");
    put(itoa::Buffer::new().format(reset));
}

/// Appends the fields of one request's answer.
pub fn put_request_fields(out: &mut BytesMut, request_id: &[u8], limit: Option<&LimitState>) {
    put_field(out, X_REQUEST_ID.as_str(), request_id);
    if let Some(limit) = limit.filter(|limit| limit.is_told) {
        let put = &mut |part: &str| out.put_slice(part.as_bytes());
        put("ratelimit-policy: ");
        compose_policy(limit, put);
        put("\r\nratelimit: ");
        compose_state(limit, put);
        put("\r\n");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admit::state::LimitDecision;

    #[test]
    fn limits_are_told() {
        let limit = LimitState {
            rule: "browse",
            quota: 100,
            window: 2,
            remaining: 25,
            retry_after: 0,
            is_told: true,
            decision: LimitDecision::Admitted,
            decided_by: "browse",
            reason: None,
            delay: Duration::ZERO,
            charged: 0,
        };
        assert_eq!(ratelimit_policy(&limit), "\"browse\";q=100;w=2");
        assert_eq!(ratelimit(&limit), "\"browse\";r=25;t=2");
        let mut out = BytesMut::new();
        put_request_fields(&mut out, b"id", Some(&limit));
        let fields = "x-request-id: id\r\nratelimit-policy: \"browse\";q=100;w=2\r\n\
            ratelimit: \"browse\";r=25;t=2\r\n";
        assert_eq!(out, fields.as_bytes());
        let spent = LimitState {
            remaining: 0,
            retry_after: 60,
            ..limit.clone()
        };
        assert_eq!(ratelimit(&spent), "\"browse\";r=0;t=60");
        let soon = LimitState {
            retry_after: 1,
            ..spent
        };
        assert_eq!(
            ratelimit(&soon),
            "\"browse\";r=0;t=1",
            "as Retry-After says"
        );
        let looks_on = LimitState {
            is_told: false,
            ..limit
        };
        let mut out = BytesMut::new();
        put_request_fields(&mut out, b"id", Some(&looks_on));
        assert_eq!(out, b"x-request-id: id\r\n"[..]);
    }
}
