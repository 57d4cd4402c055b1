//! The head of a stored response: what is kept of it, how it is written, and how it is read where it lies.

use std::time::SystemTime;

use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{AGE, CONTENT_LENGTH, DATE, VIA},
};
use http_caching::Fields;
use pingora_http::ResponseHeader;

/// Our name in `Via`.
pub const VIA_SELF: &str = "1.1 dhal";

/// What a shop tells caches like us, and visitors need not know.
pub const FOR_CACHES: [&str; 5] = [
    "surrogate-key",
    "cache-tag",
    "surrogate-control",
    "x-accel-expires",
    "dhal-cache-control",
];

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

/// The header of a response as it is stored: without what belongs to its connection or must not be
/// kept (RFC 9111 §3.1), with its length and a date.
pub fn stored_header(
    header: &ResponseHeader,
    content_length: Option<u64>,
    excluded: &[HeaderName],
    response_time: SystemTime,
) -> ResponseHeader {
    let mut kept = header.clone();
    kept.set_version(http::Version::HTTP_11);
    for name in http_caching::hop_by_hop(&header.headers) {
        kept.remove_header(&name);
    }
    for name in NOT_STORED.into_iter().chain(FOR_CACHES) {
        kept.remove_header(name);
    }
    for name in excluded {
        kept.remove_header(name);
    }
    if let Some(length) = content_length
        && header.status != StatusCode::NO_CONTENT
    {
        // An integer is always a valid field value.
        let _ = kept.insert_header(CONTENT_LENGTH, length);
    }
    if !kept.headers.contains_key(DATE) {
        // A recipient with a clock adds what the origin left out (RFC 9110 §6.6.1).
        let _ = kept.insert_header(DATE, httpdate::fmt_http_date(response_time));
    }
    kept
}

/// Appends the status line and all fields but `Age`, `Cache-Status` and the request's own ones.
pub fn put_head(out: &mut BytesMut, header: &ResponseHeader) {
    put_status_line(out, header.status);
    for (name, value) in &header.headers {
        if *name != AGE {
            put_field(out, name.as_str(), value.as_bytes());
        }
    }
    put_field(out, VIA.as_str(), VIA_SELF.as_bytes());
}

/// Appends the status line.
pub fn put_status_line(out: &mut BytesMut, status: StatusCode) {
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
}

/// Appends a field line.
pub fn put_field(out: &mut impl BufMut, name: &str, value: &[u8]) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// The fields of a stored head, read where they lie. Names are in lower case.
#[derive(Clone, Copy)]
pub struct HeadFields<'a>(pub &'a [u8]);

impl<'a> HeadFields<'a> {
    /// Name and value of each line.
    pub fn lines(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.0;
        let mut first = true;
        std::iter::from_fn(move || {
            loop {
                let end = memchr::memchr(b'\n', rest)?;
                let line = &rest[..end.saturating_sub(1)];
                rest = &rest[end + 1..];
                if std::mem::take(&mut first) {
                    continue;
                }
                let colon = memchr::memchr(b':', line)?;
                return Some((&line[..colon], line.get(colon + 2..).unwrap_or_default()));
            }
        })
    }
}

impl Fields for HeadFields<'_> {
    fn for_each(&self, name: &HeaderName, f: &mut dyn FnMut(&[u8])) {
        for (line, value) in self.lines() {
            if line == name.as_str().as_bytes() {
                f(value);
            }
        }
    }
}

/// A stored head as Pingora's header, for doors that need one; values are shared, not copied.
pub fn parse_head(head: &Bytes, status: u16) -> Option<ResponseHeader> {
    let mut header = ResponseHeader::build_no_case(status, Some(16)).ok()?;
    for (name, line) in HeadFields(head).lines() {
        let value = HeaderValue::from_maybe_shared(head.slice_ref(line)).ok()?;
        let name = HeaderName::from_bytes(name).ok()?;
        header.append_header(name, value).ok()?;
    }
    Some(header)
}

/// A copy of a stored response's fields.
pub fn field_map(head: &Bytes) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(16);
    for (name, line) in HeadFields(head).lines() {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_maybe_shared(head.slice_ref(line)),
        ) {
            map.append(name, value);
        }
    }
    map
}

/// Fields that a `304` repeats (RFC 9110 §15.4.5), and those that say where the answer came from.
pub fn goes_with_not_modified(name: &[u8]) -> bool {
    [
        &b"cache-control"[..],
        b"content-location",
        b"date",
        b"etag",
        b"expires",
        b"vary",
        b"last-modified",
        b"age",
        b"via",
        b"cache-status",
        b"cdn-cache-control",
        b"x-request-id",
    ]
    .contains(&name)
}

/// A field value from text that we composed; an impossible one becomes empty.
pub fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
