//! What must not get through HTTP/1.1: table rows of bytes, the status, and a shop that saw nothing.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::Conn,
    edge::Edge,
    origin::{Origin, page},
    serving::smallest,
};

/// Sends the bytes and asserts the status and the end of the connection.
pub(crate) fn refused(edge: &Edge, name: &str, bytes: &[u8], status: u16) {
    let mut conn = edge.connect();
    conn.send(bytes);
    let answer = conn
        .try_response("GET")
        .unwrap_or_else(|why| panic!("{name}: {why}"));
    assert_eq!(answer.status, status, "{name}");
    assert_eq!(answer.field("connection"), Some("close"), "{name}");
    assert!(answer.field("x-request-id").is_some(), "{name}");
    assert_eq!(answer.field("cache-control"), Some("no-store"), "{name}");
    conn.ends();
}

pub(crate) fn shop() -> Origin {
    Origin::start(|r| page(format!("{} {}", r.method, r.target)))
}

#[test]
fn malformed_heads() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    let long = "x".repeat(9_000);
    let host = "Host: shop.example\r\n";
    let post = |fields: &str| format!("POST / HTTP/1.1\r\n{host}{fields}\r\n");
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\n{host}\r\n");
    let head = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n");
    let rows: Vec<(&str, String, u16)> = vec![
        (
            "CL and TE",
            post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
            400,
        ),
        (
            "TE and CL",
            post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n") + "0\r\n\r\n",
            400,
        ),
        (
            "two CL",
            post("Content-Length: 3\r\nContent-Length: 3\r\n") + "abc",
            400,
        ),
        (
            "two CL that differ",
            post("Content-Length: 3\r\nContent-Length: 4\r\n") + "abc",
            400,
        ),
        ("listed CL", post("Content-Length: 3, 3\r\n") + "abc", 400),
        ("signed CL", post("Content-Length: +3\r\n") + "abc", 400),
        ("negative CL", post("Content-Length: -3\r\n") + "abc", 400),
        ("hex CL", post("Content-Length: 0x3\r\n") + "abc", 400),
        ("spaced CL", post("Content-Length: 1 1\r\n") + "abc", 400),
        ("empty CL", post("Content-Length:\r\n") + "abc", 400),
        (
            "huge CL",
            post("Content-Length: 99999999999999999999\r\n") + "abc",
            400,
        ),
        ("TE gzip", post("Transfer-Encoding: gzip\r\n"), 400),
        (
            "TE gzip, chunked",
            post("Transfer-Encoding: gzip, chunked\r\n") + "0\r\n\r\n",
            400,
        ),
        (
            "TE chunked twice",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            400,
        ),
        ("TE identity", post("Transfer-Encoding: identity\r\n"), 400),
        ("TE quoted", post("Transfer-Encoding: \"chunked\"\r\n"), 400),
        (
            "TE with a tail",
            post("Transfer-Encoding: chunked;x\r\n"),
            400,
        ),
        (
            "TE vertical tab",
            post("Transfer-Encoding: \x0bchunked\r\n"),
            400,
        ),
        (
            "TE in 1.0",
            format!("POST / HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            "space before colon",
            post("Content-Length : 3\r\n") + "abc",
            400,
        ),
        (
            "tab before colon",
            post("Transfer-Encoding\t: chunked\r\n"),
            400,
        ),
        (
            "bare LF after the line",
            format!("GET / HTTP/1.1\n{host}\r\n"),
            400,
        ),
        (
            "bare LF after a field",
            "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n".to_owned(),
            400,
        ),
        (
            "bare LF at the end",
            "GET / HTTP/1.1\r\nHost: a\r\n\n".to_owned(),
            400,
        ),
        ("bare CR in a value", head("Host: a\r\nX: a\rb\r\n"), 400),
        ("CR CR LF", head("Host: a\r\nX: a\r\r\n"), 400),
        ("folded", head("Host: a\r\nX: a\r\n b\r\n"), 400),
        ("folded by tab", head("Host: a\r\nX: a\r\n\tb\r\n"), 400),
        ("space before the first field", head(" Host: a\r\n"), 400),
        ("NUL in a value", head("Host: a\r\nX: a\0b\r\n"), 400),
        (
            "control byte in a value",
            head("Host: a\r\nX: \x01\r\n"),
            400,
        ),
        ("DEL in a value", head("Host: a\r\nX: \x7f\r\n"), 400),
        ("NUL in a name", head("Host: a\r\nX\0: a\r\n"), 400),
        ("empty name", head("Host: a\r\n: a\r\n"), 400),
        ("no colon", head("Host: a\r\nX\r\n"), 400),
        ("name with a slash", head("Host: a\r\nX/Y: a\r\n"), 400),
        ("Host missing", head("X: y\r\n"), 400),
        ("Host twice", head("Host: a\r\nHost: a\r\n"), 400),
        ("Host empty", head("Host:\r\n"), 400),
        ("Host listed", head("Host: a, b\r\n"), 400),
        ("Host with a path", head("Host: a/b\r\n"), 400),
        ("Host with userinfo", head("Host: u@a\r\n"), 400),
        ("Host with an odd port", head("Host: a:8x\r\n"), 400),
        ("Host with a space", head("Host: a b\r\n"), 400),
        (
            "absolute-form contradicts Host",
            format!("GET http://other.example/ HTTP/1.1\r\n{host}\r\n"),
            400,
        ),
        (
            "absolute-form with userinfo",
            format!("GET http://a@shop.example/ HTTP/1.1\r\n{host}\r\n"),
            400,
        ),
        (
            "absolute-form of ftp",
            format!("GET ftp://shop.example/ HTTP/1.1\r\n{host}\r\n"),
            400,
        ),
        ("relative target", get("index.html"), 400),
        ("asterisk", get("*"), 400),
        ("backslash", get("/a\\b"), 400),
        ("fragment", get("/a#b"), 400),
        ("quote", get("/a\"b"), 400),
        ("angle bracket", get("/<script>"), 400),
        ("space in the target", get("/a b"), 400),
        ("tab in the target", get("/a\tb"), 400),
        ("escape without digits", get("/%zz"), 400),
        ("cut escape", get("/%4"), 400),
        ("escape in the query", get("/?%g0"), 400),
        ("encoded NUL", get("/a%00b"), 400),
        ("above the root", get("/../etc/passwd"), 400),
        ("encoded above the root", get("/%2e%2e/etc/passwd"), 400),
        ("deep above the root", get("/a/../../b"), 400),
        ("no version", format!("GET /\r\n{host}\r\n"), 400),
        ("odd version", format!("GET / HTTP/1.1x\r\n{host}\r\n"), 400),
        (
            "lower-case version",
            format!("GET / http/1.1\r\n{host}\r\n"),
            400,
        ),
        ("two spaces", format!("GET  / HTTP/1.1\r\n{host}\r\n"), 400),
        (
            "space before the method",
            format!(" GET / HTTP/1.1\r\n{host}\r\n"),
            400,
        ),
        ("odd method", format!("GE(T / HTTP/1.1\r\n{host}\r\n"), 400),
        ("empty line only", "\r\n\r\n\r\n".to_owned(), 400),
        ("HTTP/2.0", format!("GET / HTTP/2.0\r\n{host}\r\n"), 505),
        ("HTTP/1.2", format!("GET / HTTP/1.2\r\n{host}\r\n"), 505),
        (
            "HTTP/2 preface",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            505,
        ),
        ("TRACE", format!("TRACE / HTTP/1.1\r\n{host}\r\n"), 405),
        (
            "CONNECT",
            "CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n\r\n".to_owned(),
            400,
        ),
        ("long target", get(&format!("/{long}")), 414),
        (
            "endless target",
            format!("GET /{}", "x".repeat(40_000)),
            414,
        ),
        (
            "long field",
            head(&format!("{host}X: {}\r\n", "x".repeat(33_000))),
            431,
        ),
        (
            "endless field",
            format!("GET / HTTP/1.1\r\n{host}X: {}", "x".repeat(40_000)),
            431,
        ),
        (
            "many fields",
            head(&format!("{host}{}", "X: y\r\n".repeat(101))),
            431,
        ),
        (
            "unknown expectation",
            post("Expect: more\r\nContent-Length: 3\r\n"),
            417,
        ),
        ("TLS hello", "\x16\x03\x01\x02\0\x01\n\r\n".to_owned(), 400),
    ];
    for (name, bytes, status) in &rows {
        refused(&edge, name, bytes.as_bytes(), *status);
    }
    refused(
        &edge,
        "8-bit target",
        b"GET /\xe0\xa6\xa2 HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
    );
    refused(
        &edge,
        "8-bit name",
        b"GET / HTTP/1.1\r\nHost: a\r\n\xe0: a\r\n\r\n",
        400,
    );
    refused(
        &edge,
        "8-bit Host",
        b"GET / HTTP/1.1\r\nHost: \xe0\r\n\r\n",
        400,
    );
    assert_eq!(shop.bytes(), 0, "{:?}", shop.seen());
    // Every one of them is in the log with its reason.
    crate::tools::eventually("all are logged", || edge.log().len() == rows.len() + 3);
    for line in edge.log() {
        assert!(
            line["reason"].is_string() && line["status"].as_u64() >= Some(400),
            "{line}"
        );
    }
}

#[test]
fn slow_clients_are_told_and_dropped() {
    let shop = shop();
    let config = smallest(&shop)
        + "[server]\nheader_timeout = \"3s\"\nbody_timeout = \"2500ms\"\nkeepalive_timeout = \"2s\"\n";
    let edge = Edge::start(&config);

    let began = Instant::now();
    let mut silent = edge.connect();
    let mut idle = edge.connect();
    assert_eq!(idle.get("/").status, 200);
    let mut stalled = edge.connect();
    stalled.send("POST /stalled HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 10\r\n\r\nabc");
    let mut chunked = edge.connect();
    chunked.send(
        "POST /stalled HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    );
    let (mut dripped, dripping) = (edge.connect(), Instant::now());
    for byte in b"GET / HTTP/1.1\r\nHost: shop.example\r\nX: aaaaaaaaaaaa" {
        dripped.send([*byte]);
        thread::sleep(Duration::from_millis(40));
    }
    let answer = dripped.response("GET");
    assert_eq!(
        (answer.status, answer.field("connection")),
        (408, Some("close"))
    );
    dripped.ends();
    assert!(dripping.elapsed() >= Duration::from_secs(3));
    silent.ends();
    idle.ends();
    assert_eq!(chunked.response("POST").status, 408);
    chunked.ends();
    assert_eq!(stalled.response("POST").status, 408);
    stalled.ends();
    // By what is told to it: it would have ten seconds for a head, and thirty for content.
    assert!(began.elapsed() < Duration::from_secs(9));
    assert_eq!(shop.count("/stalled"), 0, "it never got a complete one");
}

#[test]
fn slowloris_does_not_keep_others_out() {
    let shop = shop();
    let edge = Edge::start(&(smallest(&shop) + "[server]\nheader_timeout = \"6s\"\n"));
    let mut dripping: Vec<Conn> = (0..200).map(|_| edge.connect()).collect();
    for letter in b"GET / HTTP" {
        for conn in &mut dripping {
            conn.send([*letter]);
        }
        assert_eq!(edge.get("/").status, 200);
    }
    for conn in &mut dripping {
        assert_eq!(conn.response("GET").status, 408);
    }
}

#[test]
fn methods_that_are_never_forwarded() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    let answer = edge.ask("TRACE", "/", &[]);
    assert_eq!(answer.status, 405);
    assert!(
        answer
            .field("allow")
            .is_some_and(|allow| allow.contains("GET"))
    );
    assert_eq!(shop.bytes(), 0);
    for method in ["PATCH", "OPTIONS", "PROPFIND"] {
        assert_eq!(edge.ask(method, "/", &[]).text(), format!("{method} /"));
    }
}

#[test]
fn the_shop_gets_one_spelling() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    for (target, wanted) in [
        ("/a/./b/../c", "/a/c"),
        ("/%7Euser/%41", "/~user/A"),
        ("/a%2fb", "/a%2Fb"),
        ("/a/%2e%2E/b", "/b"),
        ("/a//b", "/a//b"),
        ("/a/..", "/"),
        ("/x?a=%7e&b=../c", "/x?a=%7e&b=../c"),
        ("/x?", "/x?"),
        ("http://shop.example/abs?q", "/abs?q"),
        ("HTTP://SHOP.example/abs", "/abs"),
    ] {
        let answer = edge.get(target);
        assert_eq!(
            (answer.status, answer.text()),
            (200, format!("GET {wanted}"))
        );
        assert_eq!(shop.last().fields("host"), ["shop.example"]);
    }
    let mut conn = edge.connect();
    conn.send("GET /host HTTP/1.1\r\nHost: SHOP.example:80\r\n\r\n");
    assert_eq!(conn.response("GET").status, 200);
    assert_eq!(shop.last().fields("host"), ["shop.example"]);
}

#[test]
fn nobody_poses_as_someone_else() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    let forged = [
        ("X-Forwarded-For", "6.6.6.6"),
        ("x-forwarded-for", "7.7.7.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
        ("X_Forwarded_For", "6.6.6.6"),
        ("Content_Length", "7"),
        ("Forwarded", "for=6.6.6.6"),
        ("X-Real-IP", "6.6.6.6"),
        ("X-Original-URL", "/admin"),
        ("X-Rewrite-URL", "/admin"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Request-ID", "mine"),
        ("Connection", "X-Secret"),
        ("X-Secret", "hop by hop"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
        ("Proxy-Authorization", "Basic YTpi"),
        ("Via", "1.1 other"),
        ("X-Kept", "yes"),
    ];
    edge.ask("GET", "/", &forged);
    let seen = shop.last();
    assert_eq!(seen.fields("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.fields("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.fields("x-forwarded-host"), ["shop.example"]);
    assert_eq!(seen.field("x-kept"), Some("yes"));
    assert!(seen.field("x-request-id") != Some("mine") && seen.field("traceparent").is_some());
    assert!(seen.fields("via").concat().ends_with("1.1 dhal"));
    for gone in [
        "X_Forwarded_For",
        "Content_Length",
        "Forwarded",
        "X-Real-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-Secret",
        "Keep-Alive",
        "Proxy-Authorization",
    ] {
        assert_eq!(seen.field(gone), None, "{gone} in {}", seen.head);
    }
}

#[test]
fn a_trusted_proxy_is_believed() {
    let shop = shop();
    let edge = Edge::start(&(smallest(&shop) + "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n"));
    let given = [
        ("X-Forwarded-For", "198.51.100.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Request-ID", "given-by-the-proxy"),
    ];
    let answer = edge.ask("GET", "/", &given);
    assert_eq!(answer.field("x-request-id"), Some("given-by-the-proxy"));
    let seen = shop.last();
    assert_eq!(seen.fields("x-forwarded-for"), ["198.51.100.7, 127.0.0.1"]);
    assert_eq!(seen.fields("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.fields("x-request-id"), ["given-by-the-proxy"]);
    crate::tools::eventually("it is logged", || {
        edge.log()
            .first()
            .is_some_and(|l| l["client"] == "198.51.100.7")
    });
}

#[test]
fn a_client_that_ends_its_side_still_gets_its_answer() {
    let shop = Origin::start(|_| page("late").after(Duration::from_millis(100)));
    let edge = Edge::start(&smallest(&shop));
    let mut conn = edge.connect();
    conn.request("GET", "/", &[]);
    conn.finish();
    assert_eq!(conn.response("GET").text(), "late");
    conn.ends();
}

#[test]
fn no_route() {
    let shop = shop();
    let config = smallest(&shop).replace(
        "[[routes]]",
        "[[routes]]\nhost = \"shop.example\"\npath = \"/products/*\"",
    );
    let edge = Edge::start(&config);
    assert_eq!(edge.get("/products/7").status, 200);
    assert_eq!(edge.get("/products/../secret").status, 404);
    assert_eq!(edge.get("/%70roducts/7").status, 200);
    let mut conn = edge.connect();
    conn.send("GET /products/7 HTTP/1.1\r\nHost: other.example\r\n\r\n");
    assert_eq!(conn.response("GET").status, 404);
    assert_eq!(conn.get("/products/8").status, 200, "the connection stays");
    let json = edge.ask("GET", "/none", &[("Accept", "application/json")]);
    let error: serde_json::Value = serde_json::from_slice(&json.body).expect("JSON");
    assert_eq!(error["error"]["status"], 404);
    assert_eq!(
        error["error"]["request_id"].as_str(),
        json.field("x-request-id")
    );
}
