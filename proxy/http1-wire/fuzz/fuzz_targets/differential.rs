//! Whatever the edge accepts, Pingora and httparse accept with the same meaning.
//!
//! A request that two readers take, each in its own way, is a smuggled one. The edge sends on what it has
//! read, and what reads it next is written by others: here Pingora stands for them, a strict one. The same
//! bytes have the same method, target, version, fields and framing, and end at the same byte. What only the
//! edge refuses is its strictness.
//!
//! Three differences are meant:
//!
//! - An absolute-form target whose authority differs from `Host` in case alone. Pingora compares bytes; a
//!   host has no case (RFC 9110 §4.2.3). No shop sees one: the edge sends targets in origin-form.
//! - Whether the connection stays. Pingora looks at the first `Connection` line alone, and knows
//!   `keep-alive` only where nothing stands beside it; the edge reads all options of all lines (RFC 9110
//!   §7.6.1). It alone decides about its connections.
//! - Whether another protocol is asked for. To Pingora `Upgrade` is enough; without `Connection: upgrade` it
//!   was meant for an earlier hop (RFC 9110 §7.8).

#![no_main]

use http::{HeaderName, Method, Version};
use http_caching::Fields;
use http1_wire::chunked::ChunkScanner;
use http1_wire::request::Head;
use http1_wire::{Body, HeadScanner};
use libfuzzer_sys::fuzz_target;
use pingora_core::protocols::http::v1::common::{is_expect_continue_req, is_upgrade_req};

mod connection;
mod pieces;
mod pingora;
use pieces::Pieces;
use pingora::Reading;

/// As long as the longest input.
const MAX_TARGET: usize = 64 * 1024;

const BEFORE: &[u8] =
    b"PUT /a HTTP/1.1\r\nHost: b\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\
    Connection: close, upgrade\r\nUpgrade: c\r\nX: d\r\n\r\n";

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(head_len)) = HeadScanner::default().scan(bytes) else {
        return;
    };
    let (head_bytes, rest) = bytes.split_at(head_len);
    // Used before, as on a connection that stays: nothing of the last request is left.
    let mut head = Head::default();
    head.parse(BEFORE, MAX_TARGET).expect("an ordinary request");
    if head.parse(head_bytes, MAX_TARGET).is_err() {
        return;
    }
    httparse_agrees(&head, bytes, head_len);

    // From the connection alone, or begun by someone who hands over what he has read, in origin-form.
    let is_origin_form = target_of(head_bytes).starts_with(b"/");
    let handed_over = Pieces::new(head_bytes).next() == Some(1);
    let reading = if handed_over || (!is_origin_form && !authority_is_host(&head, head_bytes)) {
        let rewritten = in_origin_form(&head, bytes);
        let here = rewritten.len() - rest.len() + rest.len() / 2;
        let mut reading =
            pingora::read(&rewritten, here).expect("Pingora accepts what the edge accepts");
        reading.head_len += bytes.len() - rewritten.len();
        reading
    } else {
        pingora::read(bytes, 0).expect("Pingora accepts what the edge accepts")
    };
    assert_eq!(reading.head_len, head_len);
    same_head(&head, head_bytes, &reading);
    same_body(&head, rest, &reading);
});

fn httparse_agrees(head: &Head, bytes: &[u8], head_len: usize) {
    let mut lines = [httparse::EMPTY_HEADER; http1_wire::request::MAX_FIELDS];
    let mut request = httparse::Request::new(&mut lines);
    assert_eq!(request.parse(bytes), Ok(httparse::Status::Complete(head_len)));
    assert_eq!(request.method, Some(head.method.as_str()));
    assert_eq!(request.version, Some(u8::from(!head.is_http10)));
    assert_eq!(request.path.map(str::as_bytes), Some(target_of(bytes)));
    let lines = request.headers.iter().map(|line| (line.name.as_bytes(), line.value));
    assert!(head.fields(&bytes[..head_len]).lines().eq(lines), "other field lines");
}

fn same_head(head: &Head, bytes: &[u8], reading: &Reading) {
    let theirs = &reading.header;
    assert_eq!(theirs.method, head.method);
    assert_eq!(theirs.version == Version::HTTP_10, head.is_http10);
    if theirs.raw_path().starts_with(b"/") || head.method == Method::CONNECT {
        assert_eq!(theirs.raw_path(), head.target(bytes).as_bytes());
    } else {
        assert_eq!(theirs.uri.path_and_query().map(|path| path.as_str()), Some(head.target(bytes)));
    }

    let fields = head.fields(bytes);
    assert_eq!(theirs.headers.len(), fields.lines().count());
    for name in theirs.headers.keys() {
        let values = theirs.headers.get_all(name).iter().map(|value| value.as_bytes());
        assert!(values_of(head, bytes, name).iter().eq(values), "other values of {name}");
    }
    let host = theirs.headers.get(http::header::HOST).map_or(&b""[..], |value| value.as_bytes());
    assert_eq!(head.host(bytes).as_bytes(), host);

    assert_eq!(head.expects_continue, is_expect_continue_req(theirs));
    assert!(!head.upgrade || is_upgrade_req(theirs));
    if reading.keeps_alive == head.close {
        assert!(!is_one_plain_option(head, bytes), "closed by one, kept by the other");
    }
}

/// Pingora reads `Connection` completely: one line at most, and not `keep-alive` in company.
fn is_one_plain_option(head: &Head, bytes: &[u8]) -> bool {
    let lines = values_of(head, bytes, &http::header::CONNECTION);
    let in_company = lines.iter().any(|line| {
        let line = line.to_ascii_lowercase();
        line.contains(&b',') && line.windows(10).any(|part| part == b"keep-alive")
    });
    lines.len() < 2 && !in_company
}

fn values_of(head: &Head, bytes: &[u8], name: &HeaderName) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    head.fields(bytes).for_each(name, &mut |value| values.push(value.to_vec()));
    values
}

fn same_body(head: &Head, rest: &[u8], reading: &Reading) {
    assert_eq!(reading.is_empty, head.body == Body::None);
    let (content, end) = match head.body {
        Body::None => (Vec::new(), Some(0)),
        Body::Length(length) => match usize::try_from(length) {
            Ok(length) if length <= rest.len() => (rest[..length].to_vec(), Some(length)),
            _ => (rest.to_vec(), None),
        },
        Body::Unknown => {
            let mut scanner = ChunkScanner::default();
            let mut body = rest.to_vec();
            // Refused at some byte: Pingora sees nothing from there on, and never the end.
            let Ok(decoded) = scanner.decode(&mut body) else {
                return;
            };
            (body[decoded.content].to_vec(), scanner.is_done().then_some(decoded.used))
        }
    };
    assert_eq!(reading.behind.as_deref(), end.map(|end| &rest[end..]));
    assert_eq!(reading.content, content);
}

/// The target as it stands in the request line.
fn target_of(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == b' ').nth(1).unwrap_or_default()
}

/// The authority of an absolute-form target is `Host`, byte by byte.
fn authority_is_host(head: &Head, bytes: &[u8]) -> bool {
    let before = target_of(bytes).strip_suffix(head.target(bytes).as_bytes()).unwrap_or_default();
    before.ends_with(format!("//{}", head.host(bytes)).as_bytes())
}

/// The message with its target reduced to the path.
fn in_origin_form(head: &Head, bytes: &[u8]) -> Vec<u8> {
    let target = target_of(bytes);
    let start = head.method.as_str().len() + 1;
    let mut out = bytes[..start].to_vec();
    out.extend_from_slice(head.target(bytes).as_bytes());
    out.extend_from_slice(&bytes[start + target.len()..]);
    out
}
