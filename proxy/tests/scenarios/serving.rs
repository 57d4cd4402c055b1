//! The smallest configuration: a miss, a hit, and the forms a hit can take.

use std::time::Duration;

use crate::{
    client::Conn,
    edge::Edge,
    origin::{Origin, page},
    tools::eventually,
};

/// One shop, one route, the built-in policy.
pub(crate) fn smallest(shop: &Origin) -> String {
    format!("[[listeners]]\naddress = \"@http\"\n{}", plain(shop))
}

/// The same without a listener.
pub(crate) fn plain(shop: &impl std::fmt::Display) -> String {
    format!(
        r#"
        [upstreams.shop]
        servers = ["{shop}"]

        [[routes]]
        upstream = "shop"
        cache = "default"
        "#
    )
}

#[test]
fn miss_then_hit() {
    let shop = Origin::start(|_| page("hello").fresh(60));
    let edge = Edge::start(&smallest(&shop));

    let miss = edge.get("/");
    assert_eq!((miss.status, miss.text().as_str()), (200, "hello"));
    assert_eq!(miss.cache(), "dhal; fwd=uri-miss; stored");
    assert_eq!(miss.field("via"), Some("1.1 dhal"));

    let hit = edge.get("/");
    assert_eq!((hit.status, hit.text().as_str()), (200, "hello"));
    assert_eq!(hit.cache(), "dhal; hit");
    assert_eq!(hit.field("via"), Some("1.1 dhal"));
    assert_eq!(hit.field("content-length"), Some("5"));
    assert_eq!(hit.field("content-type"), Some("text/html"));
    let age: u64 = hit.field("age").and_then(|a| a.parse().ok()).expect("age");
    assert!(age < 20);
    for name in ["date", "age", "via", "cache-status", "x-request-id"] {
        assert_eq!(hit.count(name), 1, "{name}");
    }
    let id = hit.field("x-request-id").expect("an id");
    assert!(id.len() >= 16 && miss.field("x-request-id") != Some(id));
    assert_eq!(shop.count("/"), 1);
}

#[test]
fn forms_of_a_hit() {
    let shop = Origin::start(|_| {
        page("0123456789")
            .fresh(60)
            .field("ETag", "\"v1\"")
            .field("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
    });
    let edge = Edge::start(&smallest(&shop));
    edge.get("/");

    let head = edge.ask("HEAD", "/", &[]);
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("10"))
    );
    assert!(head.is_hit());

    for condition in [
        ("If-None-Match", "\"v1\""),
        ("If-None-Match", "W/\"v1\", \"other\""),
        ("If-None-Match", "*"),
        ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ] {
        let same = edge.ask("GET", "/", &[condition]);
        assert_eq!(same.status, 304, "{condition:?}");
        assert_eq!(same.field("etag"), Some("\"v1\""));
        assert!(same.field("date").is_some() && same.is_hit());
        assert_eq!(same.field("content-type"), None);
    }
    let changed = edge.ask("GET", "/", &[("If-None-Match", "\"v0\"")]);
    assert_eq!((changed.status, changed.body.len()), (200, 10));

    for (range, wanted, content) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-2", "bytes 8-9/10", "89"),
        ("bytes=8-100", "bytes 8-9/10", "89"),
    ] {
        let part = edge.ask("GET", "/", &[("Range", range)]);
        assert_eq!(
            (part.status, part.text().as_str()),
            (206, content),
            "{range}"
        );
        assert_eq!(part.field("content-range"), Some(wanted));
        assert_eq!(part.count("content-length"), 1);
        assert!(part.is_hit());
    }
    let none = edge.ask("GET", "/", &[("Range", "bytes=10-")]);
    assert_eq!(none.status, 416);
    assert_eq!(none.field("content-range"), Some("bytes */10"));
    let other = edge.ask(
        "GET",
        "/",
        &[("Range", "bytes=0-1"), ("If-Range", "\"v0\"")],
    );
    assert_eq!((other.status, other.body.len()), (200, 10));
    assert_eq!(shop.seen().len(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let shop = Origin::start(|r| {
        let answer = page(format!("{} {}", r.method, r.target));
        if r.target == "/kept" {
            answer.fresh(60)
        } else {
            answer
        }
    });
    let edge = Edge::start(&smallest(&shop));
    edge.get("/kept");

    let mut conn = edge.connect();
    conn.send(
        "GET /kept HTTP/1.1\r\nHost: shop.example\r\n\r\n\
         GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n\
         POST /b HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc\
         GET /kept HTTP/1.1\r\nHost: shop.example\r\n\r\n\
         POST /c HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
         HEAD /kept HTTP/1.1\r\nHost: shop.example\r\n\r\n\
         GET /kept HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n",
    );
    for wanted in ["GET /kept", "GET /a", "POST /b", "GET /kept", "POST /c"] {
        assert_eq!(conn.response("GET").text(), wanted);
    }
    assert_eq!(conn.response("HEAD").field("content-length"), Some("9"));
    let last = conn.response("GET");
    assert!(last.is_hit() && last.field("connection") == Some("close"));
    conn.ends();
    let bodies: Vec<_> = shop.seen().into_iter().map(|r| r.body).collect();
    let chunked: &[u8] = b"3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(bodies, [b"", b"", &b"abc"[..], chunked]);
}

#[test]
fn one_connection_serves_hits_and_forwards_in_turn() {
    let shop = Origin::start(|r| {
        let answer = page(format!("{} {}", r.target, r.body.len()));
        if r.target == "/kept" {
            answer.fresh(60)
        } else {
            answer
        }
    });
    let edge = Edge::start(&smallest(&shop));
    let mut conn = edge.connect();
    for round in 0..20 {
        assert_eq!(conn.get("/kept").is_hit(), round > 0);
        assert_eq!(conn.get("/other").text(), "/other 0");
        let body = "x".repeat(round * 5_000);
        conn.request(
            "POST",
            "/form",
            &[("Content-Length", &body.len().to_string())],
        );
        conn.send(&body);
        assert_eq!(
            conn.response("POST").text(),
            format!("/form {}", body.len())
        );
        conn.request("POST", "/form", &[("Transfer-Encoding", "chunked")]);
        conn.send("4\r\nab");
        conn.send("cd\r\n0\r\n\r\n");
        assert_eq!(conn.response("POST").status, 200);
        assert!(conn.get("/kept").is_hit());
    }
    assert_eq!((shop.count("/kept"), shop.count("/other")), (1, 20));
}

#[test]
fn http_1_0_clients_are_served() {
    let shop = Origin::start(|_| page("hello").fresh(60).chunked());
    let edge = Edge::start(&smallest(&shop));
    for _ in 0..2 {
        let mut conn = edge.connect();
        conn.send("GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n");
        let answer = conn.response("GET");
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        assert_eq!(
            answer.field("transfer-encoding"),
            None,
            "unknown to HTTP/1.0"
        );
        conn.ends();
    }
    let mut conn = Conn::open(edge.site.http);
    for _ in 0..2 {
        conn.send("GET / HTTP/1.0\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n");
        let answer = conn.response("GET");
        assert!(answer.is_hit() && answer.field("connection") == Some("keep-alive"));
    }
    assert_eq!(shop.seen().len(), 1);
    let mut conn = edge.connect();
    conn.send("GET /without-host HTTP/1.0\r\n\r\n");
    assert_eq!(conn.response("GET").status, 200);
    assert_eq!(shop.last().fields("host"), [edge.site.http.to_string()]);
}

#[test]
fn at_the_bound_an_idle_connection_of_any_thread_makes_room() {
    let shop = Origin::start(|_| page("hello"));
    let config = smallest(&shop) + "[server]\nmax_connections = 2\nthreads = 3\n";
    let edge = Edge::start(&config);
    for _ in 0..10 {
        let (mut one, mut two) = (edge.connect(), edge.connect());
        assert_eq!((one.get("/").status, two.get("/").status), (200, 200));
        let mut three = edge.connect();
        assert_eq!(three.get("/").status, 200);
        // Which is the older one is seen only where one thread has both.
        let moment = Duration::from_millis(1);
        eventually("one of them goes", || {
            !(one.is_quiet(moment) && two.is_quiet(moment))
        });
        assert!(one.is_quiet(moment) || two.is_quiet(moment), "and only one");
        drop((one, two, three));
        eventually("the house is empty", || {
            edge.metric("dhal_connections") == Some(0.0)
        });
    }
}
