//! A stored response, complete and ready to be sent.

use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{AGE, CACHE_CONTROL, CONTENT_LENGTH, DATE, VIA},
};
use http_caching::{CacheControl, Storable};
use pingora::http::ResponseHeader;

use super::status::CACHE_STATUS;

/// Our name in `Via`.
pub const VIA_SELF: &str = "1.1 dhal";

/// A response as it was stored, with the arithmetic of its freshness.
pub struct Stored {
    /// Status and fields, without those of the connection it came on.
    pub header: ResponseHeader,
    /// The same in HTTP/1.1's form, up to where the fields that differ from answer to answer begin.
    pub head: Bytes,
    /// The whole content.
    pub body: Bytes,
    /// When it arrived or was last validated.
    pub response_time: SystemTime,
    /// Its age at that moment.
    pub initial_age: Duration,
    /// Fresh until it is as old as this.
    pub lifetime: Duration,
    /// May be served this much longer while it is validated.
    pub stale_while_revalidate: Duration,
    /// May be served this much longer while the origin fails.
    pub stale_if_error: Duration,
    /// `no-cache`: never reused without validation.
    pub always_validate: bool,
    /// The origin allows it to answer requests with credentials (RFC 9111 §3.5).
    pub shared_with_credentials: bool,
    /// Fields it varies on, sorted; empty where it does not.
    pub vary: Vec<HeaderName>,
}

/// Fields that belong to one connection, or that each answer gets anew.
const NOT_STORED: [&str; 14] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "age",
    "content-length",
    "x-request-id",
    "ratelimit",
    "ratelimit-policy",
];

impl Stored {
    /// Composes what is stored from a response and the judgement of the rules.
    pub fn new(
        header: &ResponseHeader,
        body: Bytes,
        rules: &Storable,
        response_time: SystemTime,
    ) -> Self {
        let mut header = stored_header(header, body.len());
        if !header.headers.contains_key(DATE) {
            // A recipient with a clock adds what the origin left out (RFC 9110 §6.6.1).
            let _ = header.insert_header(DATE, httpdate::fmt_http_date(response_time));
        }
        let control = CacheControl::parse(&header.headers);
        Self {
            head: http1_head(&header),
            shared_with_credentials: control.public
                || control.s_maxage.is_some()
                || control.must_revalidate,
            header,
            body,
            response_time,
            initial_age: rules.age,
            lifetime: rules.lifetime,
            stale_while_revalidate: rules.stale_while_revalidate,
            stale_if_error: rules.stale_if_error,
            always_validate: rules.always_validate,
            vary: rules.vary.clone(),
        }
    }

    /// The same content under fields that a `304` has brought up to date.
    pub fn revalidated(
        &self,
        header: &ResponseHeader,
        rules: &Storable,
        response_time: SystemTime,
    ) -> Self {
        let mut stored = Self::new(header, self.body.clone(), rules, response_time);
        // A 304 may leave `Vary` out; the key that it was found under stays true.
        stored.vary.clone_from(&self.vary);
        stored
    }

    /// Status code.
    pub fn status(&self) -> u16 {
        self.header.status.as_u16()
    }

    /// Fields, for the rules.
    pub fn fields(&self) -> &HeaderMap {
        &self.header.headers
    }

    /// Current age (RFC 9111 §4.2.3). A clock that went back counts as no time passed.
    pub fn age(&self, now: SystemTime) -> Duration {
        let resident = now.duration_since(self.response_time).unwrap_or_default();
        http_caching::current_age(self.initial_age, resident)
    }

    /// Whether it may be reused without asking (RFC 9111 §4.2).
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.age(now) < self.lifetime
    }

    /// Whether it may be served while it is validated, for another second at least (RFC 5861 §3).
    pub fn is_refreshable(&self, now: SystemTime) -> bool {
        self.age(now) + Duration::from_secs(1) < self.lifetime + self.stale_while_revalidate
    }

    /// Bytes it takes in memory, roughly.
    pub fn weight(&self) -> usize {
        // Names and values stand in the header map and once more in the prebuilt head.
        self.body.len() + 3 * self.head.len() + 512
    }
}

fn stored_header(header: &ResponseHeader, body_len: usize) -> ResponseHeader {
    let mut kept = header.clone();
    for name in http_caching::hop_by_hop(&header.headers) {
        kept.remove_header(&name);
    }
    for name in NOT_STORED {
        kept.remove_header(name);
    }
    if header.status != StatusCode::NO_CONTENT {
        // An integer is always a valid field value.
        let _ = kept.insert_header(CONTENT_LENGTH, body_len);
    }
    kept
}

/// The status line and all fields but `Age`, `Cache-Status` and the request's own ones.
fn http1_head(header: &ResponseHeader) -> Bytes {
    let mut out = BytesMut::with_capacity(512);
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(header.status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(
        header
            .status
            .canonical_reason()
            .unwrap_or_default()
            .as_bytes(),
    );
    out.put_slice(b"\r\n");
    for (name, value) in &header.headers {
        if *name != AGE {
            put_field(&mut out, name.as_str(), value.as_bytes());
        }
    }
    put_field(&mut out, VIA.as_str(), VIA_SELF.as_bytes());
    out.freeze()
}

/// Appends a field line.
pub fn put_field(out: &mut impl BufMut, name: &str, value: &[u8]) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// Fields that a `304` repeats (RFC 9110 §15.4.5), and those that say where the answer came from.
pub fn goes_with_not_modified(name: &HeaderName) -> bool {
    use http::header::{CONTENT_LOCATION, ETAG, EXPIRES, LAST_MODIFIED, VARY};
    [
        CACHE_CONTROL,
        CONTENT_LOCATION,
        DATE,
        ETAG,
        EXPIRES,
        VARY,
        LAST_MODIFIED,
        AGE,
        VIA,
    ]
    .contains(name)
        || *name == CACHE_STATUS
        || *name == HeaderName::from_static("x-request-id")
}

/// A field value from text that we composed; an impossible one becomes empty.
pub fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
