//! Content that is malformed, too large, or another request in disguise.

use std::{thread, time::Duration};

use crate::{
    bad_requests::{refused, shop},
    edge::Edge,
    origin::{Origin, page},
    serving::smallest,
};

#[test]
fn malformed_chunks() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    let head = "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    let rows = [
        ("junk size", "zz\r\n"),
        ("empty size", "\r\n"),
        ("hex prefix", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("sign", "+3\r\nabc\r\n0\r\n\r\n"),
        ("space", "3 \r\nabc\r\n0\r\n\r\n"),
        ("overflow", "ffffffffffffffff1\r\nabc"),
        ("almost overflow", "ffffffffffffffff\r\nabc"),
        ("bare LF", "3\nabc\n0\n\n"),
        ("no end", "3\r\nabcdef\r\n0\r\n\r\n"),
        ("bare LF as the end", "3\r\nabc\n0\r\n\r\n"),
        ("junk after a chunk", "3\r\nabc\r\nzz\r\n\r\n"),
        ("control byte in an extension", "3;\x01\r\nabc\r\n0\r\n\r\n"),
        ("bare CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
        ("junk trailer", "3\r\nabc\r\n0\r\nX: a\nb\r\n\r\n"),
    ];
    for (name, body) in rows {
        refused(&edge, name, format!("{head}{body}").as_bytes(), 400);
        // The same in two packets: the head first, then what is wrong.
        let mut conn = edge.connect();
        conn.send(head);
        thread::sleep(Duration::from_millis(20));
        conn.send(body);
        let answer = conn.response("POST");
        assert_eq!(answer.status, 400, "{name} in two packets");
        conn.ends();
    }
    assert_eq!(shop.bytes(), 0, "{:?}", shop.seen());
}

#[test]
fn junk_behind_a_large_chunked_body_never_becomes_a_request() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    let mut conn = edge.connect();
    conn.request("POST", "/large", &[("Transfer-Encoding", "chunked")]);
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    for _ in 0..10 {
        conn.send(&chunk);
    }
    conn.send("zz\r\nGET /smuggled HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    if let Ok(answer) = conn.try_response("POST") {
        assert_eq!(answer.status, 400);
    }
    let _ = conn.rest();
    assert_eq!(edge.get("/after").status, 200);
    assert_eq!((shop.count("/smuggled"), shop.count("/large")), (0, 0));
}

#[test]
fn bodies_are_bounded() {
    let shop = shop();
    let config = smallest(&shop).replace("[[routes]]", "[[routes]]\nmax_body = \"10KiB\"");
    let edge = Edge::start(&config);
    let mut conn = edge.connect();
    conn.request("POST", "/", &[("Content-Length", "10241")]);
    let answer = conn.response("POST");
    assert_eq!(
        (answer.status, answer.field("connection")),
        (413, Some("close"))
    );
    let mut conn = edge.connect();
    conn.request(
        "POST",
        "/",
        &[("Content-Length", "10241"), ("Expect", "100-continue")],
    );
    assert_eq!(
        conn.head().expect("a head").0,
        413,
        "without asking for the body"
    );
    let mut conn = edge.connect();
    conn.request("POST", "/", &[("Transfer-Encoding", "chunked")]);
    conn.send(format!("2801\r\n{}\r\n0\r\n\r\n", "x".repeat(0x2801)));
    assert_eq!(conn.response("POST").status, 413);
    assert_eq!(shop.bytes(), 0);
    let mut conn = edge.connect();
    conn.request("POST", "/", &[("Content-Length", "10240")]);
    conn.send("x".repeat(10_240));
    assert_eq!(conn.response("POST").status, 200);
}

#[test]
fn a_long_chunked_body_is_counted_on_its_way() {
    let shop = shop();
    let config = smallest(&shop).replace("[[routes]]", "[[routes]]\nmax_body = \"200KiB\"");
    let edge = Edge::start(&config);
    let mut conn = edge.connect();
    conn.request("POST", "/", &[("Transfer-Encoding", "chunked")]);
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    for _ in 0..20 {
        conn.send(&chunk);
    }
    conn.send("0\r\n\r\n");
    assert_eq!(conn.response("POST").status, 413);
    assert_eq!(shop.seen().len(), 0, "the shop never saw it complete");
}

#[test]
fn a_request_within_a_body_is_not_answered() {
    let shop = Origin::start(|r| page(format!("{} {}", r.target, r.body.len())));
    let edge = Edge::start(&smallest(&shop));
    let inner = "GET /smuggled HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let mut conn = edge.connect();
    conn.request(
        "POST",
        "/outer",
        &[("Content-Length", &inner.len().to_string())],
    );
    conn.send(inner);
    assert_eq!(
        conn.response("POST").text(),
        format!("/outer {}", inner.len())
    );
    conn.request("POST", "/outer", &[("Transfer-Encoding", "chunked")]);
    conn.send(format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()));
    assert!(conn.response("POST").text().starts_with("/outer "));
    // GET with content is not common, but its content is no request either.
    conn.request(
        "GET",
        "/outer",
        &[("Content-Length", &inner.len().to_string())],
    );
    conn.send(inner);
    assert_eq!(
        conn.response("GET").text(),
        format!("/outer {}", inner.len())
    );
    assert!(
        conn.is_quiet(Duration::from_millis(100)),
        "nothing else is answered"
    );
    assert_eq!((shop.count("/smuggled"), shop.count("/outer")), (0, 3));
}

#[test]
fn what_follows_a_body_is_the_next_request() {
    let shop = Origin::start(|r| {
        let body = String::from_utf8_lossy(&r.body).into_owned();
        page(format!("{} {body}", r.target)).after(Duration::from_millis(30))
    });
    let edge = Edge::start(&smallest(&shop));
    for split in [1, 60, 75, 76, 80, 100] {
        let text = "POST /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc\
                    GET /b HTTP/1.1\r\nHost: shop.example\r\n\r\n\
                    POST /c HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 2\r\n\r\nde";
        let mut conn = edge.connect();
        conn.send(&text[..split]);
        thread::sleep(Duration::from_millis(5));
        conn.send(&text[split..]);
        for wanted in ["/a abc", "/b ", "/c de"] {
            assert_eq!(conn.response("POST").text(), wanted, "split at {split}");
        }
        assert!(conn.is_quiet(Duration::from_millis(20)));
    }
}

#[test]
fn expect_100_continue() {
    let shop = Origin::start(|r| page(format!("got {}", r.body.len())));
    let edge = Edge::start(&smallest(&shop));
    let mut conn = edge.connect();
    for framing in [("Content-Length", "3"), ("Transfer-Encoding", "chunked")] {
        conn.request("POST", "/", &[framing, ("Expect", "100-continue")]);
        let body = if framing.1 == "3" {
            "abc"
        } else {
            "3\r\nabc\r\n0\r\n\r\n"
        };
        // A shop that never says 100 must not make the client wait for ever: the edge may say it,
        // or the client sends the body unasked after a while.
        if conn.is_quiet(Duration::from_millis(200)) {
            conn.send(body);
        } else {
            panic!("data without a head");
        }
        assert_eq!(conn.response("POST").text(), format!("got {}", body.len()));
    }
}
