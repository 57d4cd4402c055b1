//! What is said of a file: the head of an answer, and which of its bytes follow.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime},
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED, LOCATION, VARY,
    },
};
use http_caching::{Coding, Fields, Precondition, RangeOutcome, targeted::DHAL_CACHE_CONTROL};

use super::pieces::Part;
use crate::{cache::head::put_field, random};

/// What an answer about a file is made of.
pub(super) struct Facts<'a> {
    pub(super) meta: &'a Metadata,
    pub(super) content_type: HeaderValue,
    pub(super) coding: Option<Coding>,
    /// Other visitors get another form.
    pub(super) varies: bool,
    /// How long browsers keep it.
    pub(super) expires: Option<Duration>,
    /// How long our store keeps it before it looks at the file again.
    pub(super) recheck: Duration,
    pub(super) now: SystemTime,
}

/// The tag of a file, as nginx makes it: the second of its last change and its length.
fn entity_tag(meta: &Metadata) -> String {
    format!("\"{:x}-{:x}\"", meta.mtime(), meta.size())
}

impl Facts<'_> {
    fn fields(&self) -> HeaderMap {
        let mut fields = dated(self.now);
        let text =
            |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        fields.insert(CONTENT_TYPE, self.content_type.clone());
        fields.insert(ETAG, text(entity_tag(self.meta)));
        // A date in the future would be none (RFC 9110 §8.8.2.1), and before 1970 there is no other.
        if let Ok(modified) = self.meta.modified()
            && modified >= SystemTime::UNIX_EPOCH
        {
            let modified = modified.min(self.now);
            fields.insert(LAST_MODIFIED, text(httpdate::fmt_http_date(modified)));
        }
        put_lifetimes(&mut fields, self.expires, self.recheck);
        if self.varies {
            fields.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        if let Some(coding) = self.coding {
            fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
        }
        fields
    }

    /// The answer to a request for the file (RFC 9110 §13.2.2, §14.2).
    pub(super) fn answer(&self, method: &Method, request: &dyn Fields) -> Vec<Part> {
        let mut fields = self.fields();
        let length = self.meta.len();
        match http_caching::precondition(method, request, &fields) {
            Precondition::NotModified => {
                fields.remove(CONTENT_TYPE);
                fields.remove(CONTENT_ENCODING);
                return vec![head(304, &fields)];
            }
            Precondition::Failed => return vec![empty(412, &fields)],
            Precondition::None => {}
        }
        fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let (status, content) = match http_caching::range(method, request, &fields, length) {
            RangeOutcome::Whole => (
                200,
                vec![Part::File {
                    at: 0,
                    left: length,
                }],
            ),
            RangeOutcome::Part { first, last } => {
                put(&mut fields, CONTENT_RANGE, &range(first, last, length));
                (206, vec![part(first, last)])
            }
            RangeOutcome::Several(parts) => {
                let boundary = format!("{:016x}{:016x}", random::next(), random::next());
                let kind = self.content_type.as_bytes();
                let content = multipart(&parts, kind, &boundary, length);
                let kind = format!("multipart/byteranges; boundary={boundary}");
                put(&mut fields, CONTENT_TYPE, &kind);
                (206, content)
            }
            RangeOutcome::Unsatisfiable => {
                let mut fields = dated(self.now);
                put(&mut fields, CONTENT_RANGE, &format!("bytes */{length}"));
                return vec![empty(416, &fields)];
            }
        };
        let sum: u64 = content.iter().map(Part::length).sum();
        put(&mut fields, CONTENT_LENGTH, &sum.to_string());
        let mut parts = vec![head(status, &fields)];
        if method != Method::HEAD {
            parts.extend(content);
        }
        parts
    }
}

impl Part {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { left, .. } => *left,
        }
    }
}

/// The way to a folder is the one with a slash at its end.
pub(super) fn to_folder(
    path: &str,
    query: Option<&str>,
    expires: Option<Duration>,
    recheck: Duration,
) -> Part {
    // `//name` would be another host.
    let mut location = format!("/{}/", path.trim_start_matches('/'));
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    let mut fields = dated(SystemTime::now());
    put(&mut fields, LOCATION, &location);
    put_lifetimes(&mut fields, expires, recheck);
    empty(301, &fields)
}

/// How long browsers keep an answer, and how long our store does; the latter goes no further.
fn put_lifetimes(fields: &mut HeaderMap, expires: Option<Duration>, recheck: Duration) {
    match expires.map(|expires| expires.as_secs()) {
        None => {}
        Some(0) => put(fields, CACHE_CONTROL, "no-cache"),
        Some(seconds) => put(fields, CACHE_CONTROL, &format!("max-age={seconds}")),
    }
    let own = format!("max-age={}", recheck.as_secs());
    put(fields, DHAL_CACHE_CONTROL, &own);
}

/// Files are read, and nothing else.
pub(super) fn read_only() -> Part {
    let mut fields = dated(SystemTime::now());
    put(&mut fields, ALLOW, super::METHODS);
    empty(405, &fields)
}

fn dated(now: SystemTime) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(12);
    put(&mut fields, DATE, &httpdate::fmt_http_date(now));
    fields
}

fn put(fields: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        fields.insert(name, value);
    }
}

/// An answer without content.
fn empty(status: u16, fields: &HeaderMap) -> Part {
    let mut fields = fields.clone();
    fields.remove(CONTENT_TYPE);
    fields.remove(CONTENT_ENCODING);
    fields.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    head(status, &fields)
}

fn head(status: u16, fields: &HeaderMap) -> Part {
    let mut out = BytesMut::with_capacity(512);
    // The relay reads it like that of a server, whose connection is for one answer.
    let reason = StatusCode::from_u16(status).ok();
    let reason = reason.and_then(|status| status.canonical_reason());
    let line = format!("HTTP/1.1 {status} {}\r\n", reason.unwrap_or_default());
    out.put_slice(line.as_bytes());
    put_field(&mut out, "connection", b"close");
    for (name, value) in fields {
        put_field(&mut out, name.as_str(), value.as_bytes());
    }
    out.put_slice(b"\r\n");
    Part::Bytes(out.freeze())
}

fn range(first: u64, last: u64, length: u64) -> String {
    format!("bytes {first}-{last}/{length}")
}

fn part(first: u64, last: u64) -> Part {
    Part::File {
        at: first,
        left: last - first + 1,
    }
}

/// `multipart/byteranges` (RFC 9110 §14.6).
fn multipart(parts: &[(u64, u64)], kind: &[u8], boundary: &str, length: u64) -> Vec<Part> {
    let mut out = Vec::with_capacity(2 * parts.len() + 1);
    let mut between = BytesMut::new();
    for (first, last) in parts {
        between.put_slice(format!("\r\n--{boundary}\r\n").as_bytes());
        put_field(&mut between, "content-type", kind);
        let range = range(*first, *last, length);
        put_field(&mut between, "content-range", range.as_bytes());
        between.put_slice(b"\r\n");
        out.push(Part::Bytes(between.split().freeze()));
        out.push(part(*first, *last));
    }
    let end = format!("\r\n--{boundary}--\r\n");
    out.push(Part::Bytes(Bytes::from(end)));
    out
}
