//! A small response of our own, for every door.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{
        ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER,
        VIA,
    },
};
use http_caching::Fields;

use super::{
    dress::Dress,
    failure::{Failure, Side},
    fields::{self, X_REQUEST_ID},
    hsts::{Hsts, STRICT_TRANSPORT_SECURITY},
    notice::{BUSY, CLOSED},
};
use crate::{
    admit::state::LimitState,
    cache::head::{VIA_SELF, put_field, value},
    edge::{Own, OwnAnswer, Rejection, Scheme},
    route::action::Fixed,
    snapshot::{Route, Snapshot},
};

/// Seconds until visitors of a shop that is away may come again: recovery is noticed within a second or two, and everyone
/// comes at once.
const AGAIN: u64 = 10;

/// A response that is composed here.
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Fields besides those of the framing.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// Content; left out for HEAD.
    pub body: Bytes,
}

/// What every reply needs to know of its request.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// `X-Request-ID`.
    pub request_id: &'a str,
    /// JSON instead of HTML.
    pub wants_json: bool,
    /// The scheme it came by.
    pub scheme: Scheme,
    /// What browsers are told of TLS, where it came over TLS.
    pub hsts: Option<Hsts>,
}

/// What an answer that belongs to no route tells browsers of TLS.
pub fn hsts(snapshot: &Snapshot, scheme: Scheme) -> Option<Hsts> {
    snapshot.hsts.filter(|_| scheme == Scheme::Https)
}

impl Asked<'_> {
    /// The same where its route is known, which may say something else of TLS.
    pub fn on(mut self, route: Option<&Arc<Route>>) -> Self {
        if let (Some(route), Scheme::Https) = (route, self.scheme) {
            self.hsts = route.hsts;
        }
        self
    }
}

/// Whether a client would rather read JSON than HTML.
pub fn wants_json(request: &dyn Fields) -> bool {
    let (mut json, mut html) = (false, false);
    request.for_each(&ACCEPT, &mut |value| {
        let value = value.to_ascii_lowercase();
        json |= memchr::memmem::find(&value, b"application/json").is_some()
            || memchr::memmem::find(&value, b"+json").is_some();
        html |= memchr::memmem::find(&value, b"text/html").is_some();
    });
    json && !html
}

impl Reply {
    /// A page for a status code that refuses or fails.
    pub fn error(status: u16, asked: &Asked<'_>) -> Self {
        let (content_type, body) = page(status, asked);
        let mut reply = Self {
            status,
            fields: Vec::with_capacity(8),
            body: body.into(),
        };
        reply.add(CONTENT_TYPE, content_type);
        reply.add(CACHE_CONTROL, "no-store");
        if status == 405 {
            reply.add(ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        }
        reply.common(asked);
        reply
    }

    /// The page of a failure of an upstream. While its shop window is open (`window_open`) it is a friendly one, which tries
    /// again by itself where the request was a safe one.
    pub fn failure(
        failure: Failure,
        window_open: bool,
        is_safe: bool,
        dress: &Dress,
        asked: &Asked<'_>,
    ) -> Self {
        let mut reply = Self::plain_failure(failure, window_open, is_safe, asked);
        reply.dress_failure(dress, asked.wants_json);
        reply
    }

    fn plain_failure(
        failure: Failure,
        window_open: bool,
        is_safe: bool,
        asked: &Asked<'_>,
    ) -> Self {
        if failure.side == Side::Upstream && window_open {
            let mut reply = CLOSED.reply(AGAIN, is_safe, asked);
            reply.common(asked);
            return reply;
        }
        if failure.is_shed() {
            let mut reply = BUSY.reply(failure.retry_after.unwrap_or(1), is_safe, asked);
            reply.common(asked);
            return reply;
        }
        let mut reply = Self::error(failure.status, asked);
        if failure.status == 503 {
            reply.add(RETRY_AFTER, "5");
        }
        reply
    }

    /// The page of a refusal, with when to come again.
    pub fn rejection(rejection: &Rejection, dress: &Dress, asked: &Asked<'_>) -> Self {
        let asked = &asked.on(rejection.route.as_ref());
        let mut reply = Self::error(rejection.status, asked);
        if let Some(allow) = &rejection.allow {
            reply.fields.retain(|(name, _)| *name != ALLOW);
            reply.add(ALLOW, allow);
        }
        if let Some(seconds) = rejection.retry_after {
            reply.add(RETRY_AFTER, &seconds.to_string());
        }
        reply.limit(rejection.limit.as_ref());
        reply.dress_failure(dress, asked.wants_json);
        reply
    }

    /// What a route says by itself, with the changes of fields. A failure without content has the page of its status.
    pub fn own(own: &Own, asked: &Asked<'_>) -> Self {
        let asked = &asked.on(Some(&own.route));
        let dress = &own.route.dress;
        let mut reply = match &own.answer {
            OwnAnswer::Redirect { status, location } => Self::redirect(*status, location, asked),
            OwnAnswer::Fixed(Fixed {
                status, body: None, ..
            }) if *status >= 400 => {
                let mut reply = Self::error(*status, asked);
                reply.limit(own.limit.as_ref());
                reply.dress_failure(dress, asked.wants_json);
                return reply;
            }
            OwnAnswer::Fixed(fixed) => {
                let mut reply = Self {
                    status: fixed.status,
                    fields: Vec::with_capacity(8),
                    body: fixed.body.clone().unwrap_or_default(),
                };
                if fixed.body.is_some() {
                    let content_type = fixed.content_type.clone();
                    reply.fields.push((CONTENT_TYPE, content_type));
                }
                reply.common(asked);
                reply
            }
        };
        reply.limit(own.limit.as_ref());
        reply.dress(dress);
        reply
    }

    /// A redirect to a URL.
    pub fn redirect(status: u16, location: &str, asked: &Asked<'_>) -> Self {
        let mut reply = Self {
            status,
            fields: Vec::with_capacity(6),
            body: Bytes::new(),
        };
        reply.add(LOCATION, location);
        reply.common(asked);
        reply
    }

    /// What an authority wants to read (RFC 8555 §8.3).
    pub fn challenge(text: &str, asked: &Asked<'_>) -> Self {
        let mut reply = Self {
            status: 200,
            fields: Vec::with_capacity(6),
            body: Bytes::copy_from_slice(text.as_bytes()),
        };
        reply.add(CONTENT_TYPE, "application/octet-stream");
        reply.add(CACHE_CONTROL, "no-store");
        reply.common(asked);
        reply
    }

    pub(super) fn common(&mut self, asked: &Asked<'_>) {
        self.add(DATE, &httpdate::fmt_http_date(std::time::SystemTime::now()));
        self.add(VIA, VIA_SELF);
        self.add(X_REQUEST_ID, asked.request_id);
        if let Some(hsts) = asked.hsts {
            self.add(STRICT_TRANSPORT_SECURITY, hsts.value());
        }
    }

    /// Adds `RateLimit` and its policy.
    pub fn limit(&mut self, limit: Option<&LimitState>) {
        if let Some(limit) = limit.filter(|limit| limit.is_told) {
            self.add(fields::RATELIMIT_POLICY, &fields::ratelimit_policy(limit));
            self.add(fields::RATELIMIT, &fields::ratelimit(limit));
        }
    }

    /// Adds a field.
    pub fn add(&mut self, name: HeaderName, text: &str) {
        self.fields.push((name, value(text)));
    }

    /// What `Content-Length` says, unless there must be none (RFC 9110 §8.6).
    pub fn length(&self) -> Option<u64> {
        (self.status != 204).then_some(self.body.len() as u64)
    }

    /// As bytes of HTTP/1.1.
    pub fn to_http1(&self, head_only: bool, close: bool) -> Bytes {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut out = BytesMut::with_capacity(512 + self.body.len());
        out.put_slice(b"HTTP/1.1 ");
        out.put_slice(status.as_str().as_bytes());
        out.put_u8(b' ');
        out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.put_slice(b"\r\n");
        for (name, value) in &self.fields {
            put_field(&mut out, name.as_str(), value.as_bytes());
        }
        if let Some(length) = self.length() {
            put_field(
                &mut out,
                CONTENT_LENGTH.as_str(),
                length.to_string().as_bytes(),
            );
        }
        if close {
            put_field(&mut out, "connection", b"close");
        }
        out.put_slice(b"\r\n");
        if !head_only {
            out.put_slice(&self.body);
        }
        out.freeze()
    }
}

/// A sentence that a visitor understands, the same for every cause of a status.
fn sentence(status: u16) -> &'static str {
    match status {
        400 => "The request could not be understood.",
        403 => "You may not come in here.",
        404 => "There is nothing at this address.",
        405 => "This method is not allowed here.",
        408 => "The request took too long to arrive.",
        412 => "What you know of this page is out of date.",
        413 => "The request is too large.",
        414 => "The address is too long.",
        416 => "There is nothing in this range.",
        417 => "This expectation cannot be met.",
        421 => "This address is not served on this connection.",
        429 => "Too many requests. Please wait a moment and try again.",
        431 => "The request carries too many or too large fields.",
        501 => "This is not supported.",
        502 => "The shop gave an answer that could not be used. Please try again.",
        503 => "The shop is busy or being worked on. Please try again in a moment.",
        504 => "The shop took too long to answer. Please try again.",
        505 => "This version of HTTP is not supported.",
        _ => "Something went wrong. Please try again.",
    }
}

fn page(status: u16, asked: &Asked<'_>) -> (&'static str, String) {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or("Error");
    let (sentence, id) = (sentence(status), asked.request_id);
    if asked.wants_json {
        let body = serde_json::json!({
            "error": { "status": status, "title": reason, "message": sentence, "request_id": id }
        });
        return ("application/json", format!("{body}\n"));
    }
    let body = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{status} {reason}</title><style>\
         body{{font:1rem/1.5 system-ui,sans-serif;margin:12vh auto;max-width:34rem;padding:0 1.5rem;color:#1d2733}}\
         h1{{font-size:1.4rem;margin:0 0 .5rem}}p{{margin:.5rem 0}}small{{color:#6b7785}}\
         </style></head><body><h1>{reason}</h1><p>{sentence}</p>\
         <p><small>{status} &middot; request {id}</small></p></body></html>\n"
    );
    ("text/html; charset=utf-8", body)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn json_for_those_who_ask_for_it() {
        for (accept, wanted) in [
            ("", false),
            ("*/*", false),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("application/json", true),
            ("Application/Problem+JSON", true),
            ("text/html, application/json", false),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(ACCEPT, value(accept));
            assert_eq!(wants_json(&fields), wanted, "{accept}");
        }
    }

    #[test]
    fn a_reply_in_both_forms() {
        let asked = Asked {
            request_id: "abc",
            wants_json: true,
            scheme: Scheme::Http,
            hsts: None,
        };
        let reply = Reply::error(429, &asked);
        let text = String::from_utf8(reply.to_http1(false, true).to_vec()).expect("text");
        assert!(text.starts_with("HTTP/1.1 429 Too Many Requests\r\n"));
        assert!(text.contains("\r\nconnection: close\r\n"));
        assert!(text.contains(&format!("\r\ncontent-length: {}\r\n", reply.body.len())));
        assert!(
            text.ends_with("\"title\":\"Too Many Requests\"}}\n"),
            "{text}"
        );
        assert!(reply.to_http1(true, false).ends_with(b"\r\n\r\n"));
    }
}
