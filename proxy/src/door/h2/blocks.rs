//! Heads of answers as HPACK writes them.

use std::cell::RefCell;

use bytes::BytesMut;
use http::{
    HeaderMap,
    header::{
        CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST,
        SET_COOKIE, TRAILER,
    },
};
use http2_server::hpack::{put_field, put_status};

use crate::{
    admit::{state::LimitState, waiting_room::Pass},
    cache::head::HeadFields,
    door::outgoing::Outgoing,
    forward::{Announced, AnswerHead},
    respond::{
        Reply,
        fields::{RATELIMIT, RATELIMIT_POLICY, X_REQUEST_ID, ratelimit, ratelimit_policy},
        hsts::STRICT_TRANSPORT_SECURITY,
        room::{CDN_CACHE_CONTROL, PRIVATE},
    },
};

thread_local! {
    /// For values that are put together before their length is known.
    static VALUE: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(256));
}

/// Of an answer of the store.
pub(super) fn put_outgoing(out: &mut BytesMut, outgoing: &Outgoing<'_>, request_id: &str) {
    let status = outgoing.status();
    put_status(out, status);
    for (name, value) in HeadFields(&outgoing.head).lines() {
        let is_told = status != 304 || name != b"content-length";
        if is_told && outgoing.keeps(name) {
            put_field(out, name, value);
        }
    }
    for (name, value) in outgoing.added() {
        put_field(out, name.as_bytes(), value.as_bytes());
    }
    if let Some(hsts) = outgoing.hsts() {
        let name = STRICT_TRANSPORT_SECURITY.as_str().as_bytes();
        put_field(out, name, hsts.value().as_bytes());
    }
    if let Some(age) = outgoing.age {
        put_field(out, b"age", itoa::Buffer::new().format(age).as_bytes());
    }
    VALUE.with_borrow_mut(|value| {
        value.clear();
        let key = outgoing.key.as_deref();
        outgoing.outcome.put(outgoing.ttl, key, value);
        if !value.is_empty() {
            put_field(out, b"cache-status", value);
        }
    });
    put_field(out, X_REQUEST_ID.as_str().as_bytes(), request_id.as_bytes());
    put_limit(out, outgoing.limit);
    for (name, value) in outgoing.lines.iter().flat_map(|lines| lines.added()) {
        put_field(out, name, value);
    }
    if let Some(cookie) = outgoing.room.and_then(Pass::cookie) {
        put_field(out, SET_COOKIE.as_str().as_bytes(), cookie.as_bytes());
        put_field(out, CACHE_CONTROL.as_str().as_bytes(), PRIVATE.as_bytes());
        put_field(out, CDN_CACHE_CONTROL.as_bytes(), PRIVATE.as_bytes());
    }
}

fn put_limit(out: &mut BytesMut, limit: Option<&LimitState>) {
    if let Some(limit) = limit.filter(|limit| limit.is_told) {
        let policy = ratelimit_policy(limit);
        put_field(out, RATELIMIT_POLICY.as_str().as_bytes(), policy.as_bytes());
        put_field(
            out,
            RATELIMIT.as_str().as_bytes(),
            ratelimit(limit).as_bytes(),
        );
    }
}

/// Of a response of our own.
pub(super) fn put_reply(out: &mut BytesMut, reply: &Reply) {
    put_status(out, reply.status);
    for (name, value) in &reply.fields {
        put_field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    if let Some(length) = reply.length() {
        put_length(out, length);
    }
}

/// Of a shop's answer.
pub(super) fn put_answer(out: &mut BytesMut, head: &AnswerHead<'_>, announced: Announced) {
    put_status(out, head.status());
    let mut lower = Vec::with_capacity(32);
    head.each(|name, value| {
        // Names have no upper case here (RFC 9113 §8.2.1).
        lower.clear();
        lower.extend(name.iter().map(u8::to_ascii_lowercase));
        put_field(out, &lower, value);
    });
    if let Announced::Nothing(Some(length)) | Announced::Length(length) = announced {
        put_length(out, length);
    }
}

/// Of what follows a shop's answer, but for what nobody may say there (RFC 9110 §6.5.1).
pub(super) fn put_trailers(out: &mut BytesMut, fields: &HeaderMap) {
    for (name, value) in fields {
        let of_the_head = [
            CONTENT_LENGTH,
            CONTENT_ENCODING,
            CONTENT_TYPE,
            CONTENT_RANGE,
            CACHE_CONTROL,
            HOST,
            SET_COOKIE,
            TRAILER,
        ];
        if !of_the_head.contains(name) {
            put_field(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
}

fn put_length(out: &mut BytesMut, length: u64) {
    let mut digits = itoa::Buffer::new();
    put_field(out, b"content-length", digits.format(length).as_bytes());
}
