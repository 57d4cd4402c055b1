//! What the edge accepts of a shop's answer, Pingora and httparse accept with the same meaning.
//!
//! Read in two ways, an answer is split: its content becomes the next visitor's. So the same bytes have the
//! same status, reason, fields and framing, and the content ends at the same byte.
//!
//! Whether the connection stays is compared where Pingora reads `Connection` completely, as with requests, and
//! where it closes and the edge would not: the edge closes more often, for instance after a 204 that
//! announces content.

#![no_main]

use std::ops::Range;

use http::header::CONNECTION;
use http::{Method, Version};
use http_caching::Fields;
use http1_wire::HeadScanner;
use http1_wire::chunked::ChunkScanner;
use http1_wire::response::{Framing, Head, MAX_FIELDS};
use libfuzzer_sys::fuzz_target;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_http::RequestHeader;

mod connection;
mod pieces;
use connection::{Connection, at_once};
use pieces::Pieces;

const BEFORE: &[u8] =
    b"HTTP/1.0 304 No\r\nConnection: close, X\r\nX: a\r\nContent-Length: 7\r\n\r\n";

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(head_len)) = HeadScanner::default().scan(bytes) else {
        return;
    };
    let (head_bytes, rest) = bytes.split_at(head_len);
    let to_head = Pieces::new(bytes).next() == Some(1);
    // Used before, as on a connection that stays: nothing of the last answer is left.
    let mut head = Head::default();
    head.parse(BEFORE, !to_head).expect("an ordinary answer");
    if head.parse(head_bytes, to_head).is_err() {
        return;
    }
    httparse_agrees(&head, bytes, head_len);

    let mut session = HttpSession::new(Box::new(Connection::new(bytes)));
    let method = if to_head { Method::HEAD } else { Method::GET };
    let request = RequestHeader::build(method, b"/", None).expect("a request");
    at_once(session.write_request_header(Box::new(request))).expect("written");
    let read = at_once(session.read_response()).expect("Pingora accepts what the edge accepts");
    assert_eq!(read, head_len);
    same_head(&head, head_bytes, &session);
    // An interim answer has no end of its own; with 101 the next protocol begins.
    if head.status >= 200 {
        same_body(&head, head_bytes, rest, session);
    }
});

fn httparse_agrees(head: &Head, bytes: &[u8], head_len: usize) {
    let mut lines = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut lines);
    assert_eq!(response.parse(bytes), Ok(httparse::Status::Complete(head_len)));
    assert_eq!(response.code, Some(head.status));
    assert_eq!(response.version, Some(u8::from(!head.is_http10)));
    // It has no words for a reason with bytes beyond ASCII.
    let reason = head.reason(bytes);
    assert_eq!(
        response.reason.map(str::as_bytes),
        Some(reason).filter(|r| r.is_ascii()).or(Some(b""))
    );
    let lines = response.headers.iter().map(|line| (line.name.as_bytes(), line.value));
    assert!(head.fields(bytes).lines().eq(lines), "other field lines");
}

fn same_head(head: &Head, bytes: &[u8], session: &HttpSession) {
    let theirs = session.resp_header().expect("a head that was read");
    assert_eq!(theirs.status.as_u16(), head.status);
    assert_eq!(theirs.version == Version::HTTP_10, head.is_http10);
    let fields = head.fields(bytes);
    for name in theirs.headers.keys() {
        let mut ours = Vec::new();
        fields.for_each(name, &mut |value| ours.push(value.to_vec()));
        let values = theirs.headers.get_all(name).iter().map(|value| value.as_bytes());
        assert!(ours.iter().eq(values), "other values of {name}");
    }
    // Where there are chunks, Pingora takes the length away.
    let lines = fields.lines().filter(|(name, _)| {
        !name.eq_ignore_ascii_case(b"content-length")
            || theirs.headers.contains_key(http::header::CONTENT_LENGTH)
    });
    assert_eq!(theirs.headers.len(), lines.count());
}

fn same_body(head: &Head, head_bytes: &[u8], rest: &[u8], mut session: HttpSession) {
    let mut content = Vec::new();
    let mut rounds = 0;
    let is_complete = loop {
        match at_once(session.read_body_bytes()) {
            Ok(Some(bytes)) => content.extend_from_slice(&bytes),
            Ok(None) => break true,
            Err(_) => break false,
        }
        rounds += 1;
        assert!(rounds <= 2 * rest.len() + 8, "Pingora reads without end");
    };
    let mut body = rest.to_vec();
    let end: Option<(Range<usize>, usize)> = match head.framing {
        Framing::None => Some((0..0, 0)),
        Framing::UntilClose => Some((0..rest.len(), rest.len())),
        Framing::Length(length) => match usize::try_from(length) {
            Ok(length) if length <= rest.len() => Some((0..length, length)),
            _ => None,
        },
        Framing::Chunked => {
            let mut scanner = ChunkScanner::default();
            let Ok(decoded) = scanner.decode(&mut body) else {
                return;
            };
            scanner.is_done().then_some((decoded.content, decoded.used))
        }
    };
    assert_eq!(is_complete, end.is_some());
    let Some((range, used)) = end else {
        return;
    };
    assert_eq!(content, body[range]);
    if used == rest.len() && !head.close && reads_connection_completely(head, head_bytes) {
        session.respect_keepalive();
        assert!(session.will_keepalive(), "Pingora closes, the edge does not");
    }
}

/// One line at most, and not `keep-alive` in company.
fn reads_connection_completely(head: &Head, bytes: &[u8]) -> bool {
    let mut lines = Vec::new();
    head.fields(bytes).for_each(&CONNECTION, &mut |line| lines.push(line.to_ascii_lowercase()));
    let in_company =
        |line: &Vec<u8>| line.contains(&b',') && line.windows(10).any(|part| part == b"keep-alive");
    lines.len() < 2 && !lines.iter().any(in_company)
}
