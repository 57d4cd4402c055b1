//! Heads that are accepted, and the many that are not.

use http::header::{ACCEPT, COOKIE};
use http_caching::Fields;

use super::*;
use crate::HeadScanner;

fn parse(text: &str) -> Result<Head, Refusal> {
    parse_bytes(text.as_bytes())
}

fn parse_bytes(bytes: &[u8]) -> Result<Head, Refusal> {
    let end = HeadScanner::default()
        .scan(bytes)?
        .ok_or(bad("incomplete"))?;
    let mut head = Head::default();
    head.parse(&bytes[..end], 100)?;
    Ok(head)
}

#[test]
fn an_ordinary_request() {
    let text = "GET /a?b HTTP/1.1\r\nHost: shop.example\r\nAccept:  a \t\r\nCookie: x=1\r\ncookie:y=2\r\n\r\n";
    let head = parse(text).expect("valid");
    let bytes = text.as_bytes();
    assert_eq!(
        (head.target(bytes), head.host(bytes)),
        ("/a?b", "shop.example")
    );
    assert_eq!(
        (head.body, head.close, head.upgrade),
        (Body::None, false, false)
    );
    let mut values = Vec::new();
    head.fields(bytes)
        .for_each(&ACCEPT, &mut |v| values.push(v.to_vec()));
    head.fields(bytes)
        .for_each(&COOKIE, &mut |v| values.push(v.to_vec()));
    assert_eq!(values, [b"a".to_vec(), b"x=1".to_vec(), b"y=2".to_vec()]);
}

#[test]
fn framing_and_connection() {
    let body = |fields: &str| {
        parse(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
            .map(|h| (h.body, h.close, h.upgrade))
    };
    assert_eq!(
        body("Content-Length: 7\r\n"),
        Ok((Body::Length(7), false, false))
    );
    assert_eq!(
        body("Content-Length: 0\r\n"),
        Ok((Body::None, false, false))
    );
    assert_eq!(
        body("Transfer-Encoding: Chunked\r\n"),
        Ok((Body::Unknown, false, false))
    );
    assert_eq!(
        body("Connection: keep-alive, Close\r\n"),
        Ok((Body::None, true, false))
    );
    assert_eq!(
        body("Connection: upgrade\r\nUpgrade: websocket\r\n"),
        Ok((Body::None, false, true))
    );
    assert_eq!(
        body("Upgrade: websocket\r\n"),
        Ok((Body::None, false, false))
    );
    let old = parse("GET / HTTP/1.0\r\n\r\n").expect("valid");
    assert!(old.close && old.is_http10);
    assert!(
        !parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            .expect("valid")
            .close
    );
}

#[test]
fn absolute_form_gives_its_path() {
    let text = "GET HTTP://Shop.Example/x?y HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    assert_eq!(parse(text).expect("valid").target(text.as_bytes()), "/x?y");
}

#[test]
fn what_is_ambiguous_is_refused() {
    let host = "Host: a\r\n";
    for (text, status) in [
        ("GET / HTTP/1.1\n\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\n{host}X: a\nb\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}X: a\rb\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}X : a\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host} X: a\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}X: a\r\n b\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}X: a\0b\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}X: a\x7fb\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}: a\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}X\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}X(: a\r\n\r\n"), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400),
        (
            format!("GET / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 1\r\n\r\n"),
            400,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}Content-Length: 5, 5\r\n\r\n"),
            400,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}Content-Length: +5\r\n\r\n"),
            400,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}Content-Length: -5\r\n\r\n"),
            400,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}Content-Length: 0x5\r\n\r\n"),
            400,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}Content-Length:\r\n\r\n"),
            400,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}Content-Length: 99999999999999999999\r\n\r\n"),
            400,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
            400,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n"),
            400,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
            400,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n"),
            400,
        ),
        (
            format!("GET / HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n"),
            400,
        ),
        (format!("GET  / HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET / HTTP/1.1 \r\n{host}\r\n"), 400),
        (format!("GET /\r\n{host}\r\n"), 400),
        (format!("G@T / HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /a b HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET a HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET http://b/ HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET http://a HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET ftp://a/ HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET / http/1.1\r\n{host}\r\n"), 400),
        (format!("GET / HTTP/2.0\r\n{host}\r\n"), 505),
        (
            format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(200)),
            414,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}Expect: 200-ok\r\n\r\n"),
            417,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: a\r\n".repeat(101)),
            431,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}{}: a\r\n\r\n", "X".repeat(256)),
            431,
        ),
    ] {
        let found = parse(&text).map(|_| ()).map_err(|r| r.status);
        assert_eq!(found, Err(status), "{text:?}");
    }
    assert!(parse_bytes(b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n").is_err());
}

/// What Pingora or HAProxy refuses, or reads in another way than it was accepted here at first.
#[test]
fn others_would_not_read_it_so() {
    let target = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let host = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let connect = |target: &str, host: &str| format!("CONNECT {target} HTTP/1.1\r\n{host}\r\n");
    let line = |line: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
    let old = |method: &str, length: u8| {
        format!("{method} / HTTP/1.0\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
    };
    for (text, is_accepted) in [
        // Pingora cuts the target at a fragment, and refuses others of these (RFC 9112 §3.2, RFC 3986 §2).
        (target("/a#b"), false),
        (target("http://a/b#c"), false),
        (target("/a<b"), false),
        (target("/a>b"), false),
        (target("/a`b"), false),
        (target("/a\"b"), false),
        (target("/a\\b"), false),
        (target("/a^b"), false),
        (target("/a{b"), false),
        (target("/a}b"), false),
        (target("/a\x7fb"), false),
        (target("/-._~:/?[]@!$&'()*+,;=%|"), true),
        // Userinfo, and what is not one host with one port (RFC 9110 §4.2.4, §7.2).
        (host("u@a"), false),
        (host("u:p@a"), false),
        (host("a/b"), false),
        (host("a?b"), false),
        (host("a,b"), false),
        (host("a b"), false),
        (host("a%41"), false),
        (host("a\\b"), false),
        (host(""), false),
        (host(":80"), false),
        (host("a:"), false),
        (host("a:x"), false),
        (host("a:1:2"), false),
        (host("a:123456"), false),
        (host("[::1"), false),
        (host("[]"), false),
        (host("[a]b"), false),
        (host("[::1]:8080"), true),
        (host("A-b.c_d~1:80"), true),
        // No authority, and no Host either (RFC 9110 §4.2.1).
        ("GET https:///a HTTP/1.0\r\n\r\n".to_owned(), false),
        ("GET http://a/ HTTP/1.0\r\n\r\n".to_owned(), false),
        // CONNECT names host and port, Host the same, and nothing follows (RFC 9112 §3.2.3).
        (connect("a:443", "Host: a:443\r\n"), true),
        (connect("[::1]:443", "Host: [::1]:443\r\n"), true),
        (connect("a:443", "Host: b:443\r\n"), false),
        (
            connect("a:443", "Host: a:443\r\nContent-Length: 1\r\n"),
            false,
        ),
        (connect("a:443", "Host: a\r\n"), false),
        (connect("a", "Host: a\r\n"), false),
        (connect("[::1]", "Host: [::1]\r\n"), false),
        (connect("/a", "Host: a\r\n"), false),
        (connect("http://a/", "Host: a\r\n"), false),
        // Pingora trims white space of Unicode, HAProxy does not (RFC 9110 §5.6.1, §7.6.1).
        (line("Connection: \u{a0}close"), false),
        (line("Connection: clo se"), false),
        (line("Connection: close;x"), false),
        (line("Connection: , close,"), true),
        (line("Connection:"), true),
        // HAProxy: 413.
        (old("GET", 1), false),
        (old("HEAD", 1), false),
        (old("DELETE", 1), false),
        (old("GET", 0), true),
        (old("POST", 1), true),
    ] {
        assert_eq!(parse(&text).is_ok(), is_accepted, "{text:?}");
    }
}

#[test]
fn a_head_is_found_however_it_drips() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    let mut scanner = HeadScanner::default();
    for n in 1..=text.len() {
        let wanted = (n >= 27).then_some(27);
        if let Some(found) = scanner.scan(&text[..n]).expect("clean") {
            assert_eq!(Some(found), wanted);
            break;
        }
        assert_eq!(wanted, None);
    }
    assert_eq!(HeadScanner::default().scan(text), Ok(Some(27)));
}
