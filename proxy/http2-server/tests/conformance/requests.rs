//! §8: requests, their content and trailers.

use http2_server::StreamId;

use crate::peer::*;
use crate::{PROTOCOL, get_with, headers, joined, request};

#[test]
fn requests_that_are_malformed() {
    let without = |name| {
        let rest: Vec<_> = GET.into_iter().filter(|(known, _)| *known != name).collect();
        request(1, &rest)
    };
    let with = |name, value| {
        let rest =
            GET.into_iter().map(|(known, old)| (known, if known == name { value } else { old }));
        request(1, &rest.collect::<Vec<_>>())
    };
    let late = |name, value| request(1, &[&GET[..], &[("a", "b"), (name, value)]].concat());
    let rows = vec![
        ("§8.2.1 upper case", get_with(&[("Accept", "x")])),
        ("§8.2.1 a blank in a name", get_with(&[("a b", "x")])),
        ("§8.2.1 a colon in a name", get_with(&[("a:", "x")])),
        ("§8.2.1 8 bits in a name", get_with(&[("\u{e4}", "x")])),
        ("§8.2.1 no name", get_with(&[("", "x")])),
        ("§8.2.1 LF", get_with(&[("a", "x\ny")])),
        ("§8.2.1 CR", get_with(&[("a", "x\r")])),
        ("§8.2.1 NUL", get_with(&[("a", "\0")])),
        ("§8.2.1 a control character", get_with(&[("a", "x\x1b")])),
        ("§8.2.1 DEL", get_with(&[("a", "x\x7f")])),
        ("§8.2.1 a blank before", get_with(&[("a", " x")])),
        ("§8.2.1 a tab behind", get_with(&[("a", "x\t")])),
        ("§8.2.2 Connection", get_with(&[("connection", "close")])),
        ("§8.2.2 Keep-Alive", get_with(&[("keep-alive", "5")])),
        ("§8.2.2 Proxy-Connection", get_with(&[("proxy-connection", "close")])),
        ("§8.2.2 Transfer-Encoding", get_with(&[("transfer-encoding", "chunked")])),
        ("§8.2.2 Upgrade", get_with(&[("upgrade", "websocket")])),
        ("§8.2.2 TE", get_with(&[("te", "gzip")])),
        ("§8.3 an unknown one", request(1, &[&GET[..], &[(":a", "b")]].concat())),
        ("§8.3 of a response", request(1, &[&GET[..], &[(":status", "200")]].concat())),
        ("§8.3 behind a field", late(":authority", "x")),
        ("§8.3 twice", request(1, &[&GET[..], &[(":path", "/")]].concat())),
        ("§8.3.1 no method", without(":method")),
        ("§8.3.1 no scheme", without(":scheme")),
        ("§8.3.1 no path", without(":path")),
        ("§8.3.1 no pseudo-header fields", request(1, &[("a", "b")])),
        ("§8.3.1 nothing", request(1, &[])),
        ("§8.3.1 an empty path", with(":path", "")),
        ("§8.3.1 no slash", with(":path", "cart")),
        ("§8.3.1 * with GET", with(":path", "*")),
        ("§8.3.1 absolute form", with(":path", "https://shop.example/")),
        ("§8.3.1 a blank in the path", with(":path", "/a b")),
        ("§8.3.1 8 bits in the path", with(":path", "/\u{e4}")),
        ("§8.3.1 another scheme", with(":scheme", "ftp")),
        ("§8.3.1 user information", with(":authority", "me@shop.example")),
        ("§8.3.1 a path in the authority", with(":authority", "shop.example/x")),
        ("§8.3.1 a method that is no token", with(":method", "GE T")),
        ("§8.3.1 Host differs", get_with(&[("host", "other.example")])),
        ("§8.3.1 Host twice", get_with(&[("host", "shop.example"), ("host", "shop.example")])),
        ("§8.5 CONNECT with a path", with(":method", "CONNECT")),
        ("§8.1.1 a length without content", get_with(&[("content-length", "1")])),
        ("two lengths", get_with(&[("content-length", "0"), ("content-length", "0")])),
        ("a list of lengths", get_with(&[("content-length", "0, 0")])),
        ("a negative length", get_with(&[("content-length", "-0")])),
        ("a length that is too long", get_with(&[("content-length", "99999999999999999999")])),
    ];
    for (what, octets) in rows {
        println!("{what}");
        let mut peer = Peer::new();
        peer.resets(&octets, 1, PROTOCOL);
        assert_eq!(peer.events(&get(3)), ["3 GET /"]);
    }
}

#[test]
fn requests_that_are_not() {
    let rows: [(&[(&str, &str)], &str); 6] = [
        (&[(":path", "*"), (":scheme", "HTTP"), (":method", "OPTIONS")], "1 OPTIONS *"),
        (&[(":method", "CONNECT"), (":authority", "shop.example:443")], "1 CONNECT "),
        (&[(":method", "M-SEARCH"), (":scheme", "http"), (":path", "/?q")], "1 M-SEARCH /?q"),
        (&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("te", "trailers")], "1 GET /"),
        (&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("a", "")], "1 GET /"),
        (
            &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("a", "\u{e4} \t!")],
            "1 GET /",
        ),
    ];
    for (fields, words) in rows {
        let mut peer = Peer::new();
        assert_eq!(peer.events(&request(1, fields)), [words]);
        assert_eq!(peer.head.field_count(), peer.head.to_map().len());
    }
    let mut peer = Peer::new();
    assert_eq!(peer.events(&get_with(&[("host", "SHOP.example")])), ["1 GET /"]);
    assert_eq!((peer.head.authority(), peer.head.scheme()), ("shop.example", "https"));
    let host = [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a.example")];
    peer.events(&request(3, &host));
    assert_eq!((peer.head.authority(), peer.head.scheme()), ("a.example", "http"));
}

#[test]
fn cookies_become_one() {
    let mut peer = Peer::new();
    peer.events(&get_with(&[
        ("cookie", "a=1"),
        ("accept", "*/*"),
        ("cookie", "b=2"),
        ("cookie", ""),
    ]));
    let fields: Vec<_> = peer.head.iter().collect();
    assert_eq!(fields, [(&b"cookie"[..], &b"a=1; b=2"[..]), (b"accept", b"*/*")]);
}

#[test]
fn content_and_its_length() {
    let with_length = |value| {
        let fields = [&POST[..], &[("content-length", value)]].concat();
        headers(END_HEADERS, 1, &block(&fields))
    };
    let trailers = headers(5, 1, &block(&[("a", "b")]));
    let data = |flags, octets: &[u8]| frame(DATA, flags, 1, octets);
    // §8.1.1: stream errors.
    let wrong: [&[Vec<u8>]; 5] = [
        &[data(END_STREAM, b"1234")],
        &[data(0, b"123456")],
        &[data(0, b"123"), data(END_STREAM, b"")],
        &[data(0, b"12345"), data(END_STREAM, b"6")],
        &[data(0, b"1234"), trailers.clone()],
    ];
    for frames in wrong {
        let mut peer = Peer::new();
        assert_eq!(peer.events(&with_length("5")), ["1 POST /cart ..."]);
        peer.resets(&frames.concat(), 1, PROTOCOL);
    }
    let right: [&[Vec<u8>]; 3] = [
        &[data(END_STREAM, b"12345")],
        &[data(0, b"123"), data(0, b"45"), data(END_STREAM, b"")],
        &[data(0, b"12345"), trailers],
    ];
    for frames in right {
        let mut peer = Peer::new();
        peer.events(&with_length("5"));
        assert_eq!(peer.head.content_length(), Some(5));
        peer.events(&frames.concat());
        assert!(peer.connection.is_open(StreamId(1)));
        peer.respond(1, 0);
        assert!(!peer.connection.is_open(StreamId(1)));
    }
}

#[test]
fn trailers() {
    let fields = [("a", "b"), ("c", "d"), ("a", "e")];
    let mut peer = Peer::new();
    peer.events(&joined([&post(1), &frame(DATA, 0, 1, &[1; 100])]));
    assert_eq!(peer.events(&request(1, &fields)), ["1 trailers 3"]);
    for wrong in [
        request(1, &[("a", "b"), (":path", "/")]),
        request(1, &[("A", "b")]),
        request(1, &[("connection", "close")]),
        request(1, &[("content-length", "0")]),
        headers(END_HEADERS, 1, &block(&fields)),
    ] {
        let mut peer = Peer::new();
        peer.events(&post(1));
        peer.resets(&wrong, 1, PROTOCOL);
    }
}
