//! Heads that are accepted, and the many that are not.

use http::header::{SET_COOKIE, VARY};
use http_caching::Fields;

use super::*;
use crate::HeadScanner;

fn parse(text: &str, to_head: bool) -> Result<Head, Refusal> {
    let bytes = text.as_bytes();
    let end = HeadScanner::default()
        .scan(bytes)?
        .ok_or(bad("incomplete"))?;
    let mut head = Head::default();
    head.parse(&bytes[..end], to_head)?;
    Ok(head)
}

fn with(fields: &str) -> Result<Head, Refusal> {
    parse(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), false)
}

#[test]
fn an_ordinary_response() {
    let text = "HTTP/1.1 200 Very well\r\nVary:  a \t\r\nSet-Cookie: x=1\r\nset-cookie:y=\"\u{e9}\"\r\nContent-Length: 7\r\n\r\nignored";
    let head = parse(text, false).expect("valid");
    let bytes = text.as_bytes();
    assert_eq!((head.status, head.reason(bytes)), (200, &b"Very well"[..]));
    assert_eq!((head.framing, head.close), (Framing::Length(7), false));
    let mut values = Vec::new();
    let fields = head.fields(bytes);
    fields.for_each(&VARY, &mut |v| values.push(v.to_vec()));
    fields.for_each(&SET_COOKIE, &mut |v| values.push(v.to_vec()));
    assert_eq!(
        values,
        [
            b"a".to_vec(),
            b"x=1".to_vec(),
            "y=\"\u{e9}\"".as_bytes().to_vec()
        ]
    );
}

/// RFC 9112 §6.3.
#[test]
fn where_content_ends() {
    use Framing::{Chunked, Length, UntilClose};
    let none = Framing::None;
    for (status, fields, to_get, to_head, close) in [
        (200, "", UntilClose, none, true),
        (200, "Content-Length: 0\r\n", Length(0), none, false),
        (200, "Content-Length: 12\r\n", Length(12), none, false),
        (200, "Transfer-Encoding: CHUNKED\r\n", Chunked, none, false),
        (
            200,
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            Chunked,
            none,
            true,
        ),
        (204, "", none, none, false),
        (204, "Content-Length: 0\r\n", none, none, false),
        (204, "Content-Length: 5\r\n", none, none, true),
        (204, "Transfer-Encoding: chunked\r\n", none, none, true),
        (304, "Content-Length: 5\r\n", none, none, false),
        (304, "Transfer-Encoding: chunked\r\n", none, none, false),
        (103, "Link: </a>\r\n", none, none, false),
        (
            101,
            "Upgrade: x\r\nConnection: upgrade\r\n",
            none,
            none,
            false,
        ),
        (205, "Content-Length: 0\r\n", Length(0), none, false),
        (
            200,
            "Connection: close\r\nContent-Length: 1\r\n",
            Length(1),
            none,
            true,
        ),
        (
            200,
            "Connection: x, Close\r\nContent-Length: 1\r\n",
            Length(1),
            none,
            true,
        ),
    ] {
        let text = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        let get = parse(&text, false).expect("valid");
        assert_eq!((get.framing, get.close), (to_get, close), "{text}");
        let head = parse(&text, true).expect("valid");
        assert_eq!(head.framing, to_head, "{text}");
    }
    let length = |text: &str| parse(text, true).expect("valid").length;
    assert_eq!(
        length("HTTP/1.1 200 X\r\nContent-Length: 7\r\n\r\n"),
        Some(7)
    );
    assert_eq!(
        length("HTTP/1.1 200 X\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n"),
        None
    );
}

#[test]
fn old_servers_close() {
    let close = |fields: &str| {
        let head = parse(
            &format!("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n{fields}\r\n"),
            false,
        );
        head.expect("valid").close
    };
    assert!(close(""));
    assert!(!close("Connection: keep-alive\r\n"));
    assert!(close("Connection: keep-alive, close\r\n"));
}

#[test]
fn what_connection_names() {
    let nominates = |fields: &str| with(fields).expect("valid").nominates;
    assert!(!nominates(""));
    assert!(!nominates("Connection: close, , Keep-Alive\r\n"));
    assert!(nominates("Connection: close, X-Secret\r\n"));
}

#[test]
fn status_lines() {
    for (line, status) in [
        ("HTTP/1.1 200 OK", 200),
        ("HTTP/1.1 200 ", 200),
        ("HTTP/1.1 200", 200),
        ("HTTP/1.0 599 \u{e9}\t", 599),
        ("HTTP/1.1 999 -", 999),
    ] {
        let text = format!("{line}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(parse(&text, false).map(|h| h.status), Ok(status), "{line}");
    }
    for line in [
        "",
        "I am not HTTP",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 20",
        "HTTP/1.1 2000",
        "HTTP/1.1 200OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 abc OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.2 200 OK",
        "HTTP/2.0 200 OK",
        "http/1.1 200 OK",
        " HTTP/1.1 200 OK",
        "GET / HTTP/1.1",
    ] {
        let text = format!("{line}\r\nContent-Length: 0\r\n\r\n");
        assert!(parse(&text, false).is_err(), "{line:?}");
    }
}

#[test]
fn what_could_be_read_in_two_ways() {
    for fields in [
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x3\r\n",
        "Content-Length: 3 4\r\n",
        "Content-Length:\r\n",
        "Content-Length: 9999999999999999999\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding:\r\n",
        "X: a\0b\r\n",
        "X: a\rb\r\n",
        "X: a\x7f\r\n",
        "X: a\nY: b\r\n",
        "X: a\r\n folded\r\n",
        " X: a\r\n",
        "X : a\r\n",
        "X Y: a\r\n",
        "X\r\n",
        ": a\r\n",
        "\u{e9}: a\r\n",
    ] {
        assert!(with(fields).is_err(), "{fields:?}");
    }
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(parse(old, false).is_err());
}

#[test]
fn field_lines_are_bounded() {
    let lines = |n: usize| "X: a\r\n".repeat(n);
    assert!(with(&lines(MAX_FIELDS)).is_ok());
    assert!(with(&lines(MAX_FIELDS + 1)).is_err());
}
