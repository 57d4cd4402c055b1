//! What goes through to a shop and back, byte for byte.

use std::time::Duration;

use crate::{
    client::Conn,
    edge::Edge,
    h2::{H2, https},
    origin::{Origin, page, raw},
    serving::{plain, smallest},
    tools::eventually,
};

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 251) as u8).collect()
}

#[test]
fn every_kind_of_answer_leaves_the_connection_usable() {
    let shop = Origin::start(|r| match r.target.as_str() {
        "/204" => page("").status(204),
        "/304" => page("").status(304).field("ETag", "\"a\""),
        "/304-length" => {
            raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nETag: \"a\"\r\n\r\n")
        }
        "/empty" => page(""),
        "/chunked" => page(pattern(30_000)).chunked(),
        "/chunked-empty" => page("").chunked(),
        "/close" => raw("HTTP/1.1 200 OK\r\n\r\nuntil the end"),
        "/http-1.0" => raw("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold"),
        "/lower" => raw("HTTP/1.1 200 ok\r\ncontent-length:3\r\n\r\nabc"),
        "/no-reason" => raw("HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\nabc"),
        "/error" => page("broken").status(500),
        "/teapot" => page("short and stout").status(418),
        _ => page(pattern(10_000)),
    });
    let edge = Edge::start_tls(&plain(&shop));
    let mut h1 = edge.connect();
    let mut tls = https(edge.site.https, "shop.example");
    let mut h2 = H2::connect(edge.site.https);
    for (path, status, length) in [
        ("/204", 204, 0),
        ("/304", 304, 0),
        ("/304-length", 304, 0),
        ("/empty", 200, 0),
        ("/chunked", 200, 30_000),
        ("/chunked-empty", 200, 0),
        ("/close", 200, 13),
        ("/http-1.0", 200, 3),
        ("/lower", 200, 3),
        ("/no-reason", 200, 3),
        ("/error", 500, 6),
        ("/teapot", 418, 15),
        ("/ordinary", 200, 10_000),
    ] {
        for answer in [h1.get(path), tls.get(path), h2.get(path)] {
            assert_eq!(
                (answer.status, answer.body.len()),
                (status, length),
                "{path}"
            );
        }
        for conn in [&mut h1, &mut tls] {
            conn.request("HEAD", path, &[]);
            let head = conn.response("HEAD");
            assert_eq!(head.status, status, "HEAD {path}");
            assert_eq!(conn.get("/after").body, pattern(10_000), "after {path}");
        }
        let head = h2.ask("HEAD", path, &[], None).expect("an answer");
        assert_eq!((head.status, head.body.len()), (status, 0), "HEAD {path}");
    }
}

#[test]
fn large_bodies_arrive_as_they_were() {
    let shop = Origin::start(|r| page(r.body.clone()));
    let config = smallest(&shop).replace("[[routes]]", "[[routes]]\nmax_body = \"10MiB\"");
    let edge = Edge::start(&config);
    let mut conn = edge.connect();
    for n in [0, 1, 65_535, 65_536, 3_000_000] {
        let body = pattern(n);
        conn.request("POST", "/", &[("Content-Length", &n.to_string())]);
        conn.send(&body);
        assert!(conn.response("POST").body == body, "{n} bytes");
    }
    let body = pattern(1_000_000);
    conn.request("PUT", "/", &[("Transfer-Encoding", "chunked")]);
    for part in body.chunks(77_777) {
        conn.send(format!("{:X}\r\n", part.len()));
        conn.send(part);
        conn.send("\r\n");
    }
    conn.send("0\r\n\r\n");
    assert_eq!(conn.response("PUT").status, 200);
    // What the shop got is chunked again, but says the same.
    let mut framed = shop.last().body;
    let mut got = Vec::new();
    loop {
        let end = framed
            .windows(2)
            .position(|w| w == b"\r\n")
            .expect("a size");
        let line = String::from_utf8_lossy(&framed[..end]).into_owned();
        let size = usize::from_str_radix(&line, 16).expect("a size");
        if size == 0 {
            break;
        }
        got.extend_from_slice(&framed[end + 2..end + 2 + size]);
        framed.drain(..end + 4 + size);
    }
    assert!(got == body);
    assert_eq!(conn.get("/next").status, 200);
}

#[test]
fn a_body_goes_to_another_server_whole() {
    let (mut dead, well) = (
        Origin::start(|_| page("never")),
        Origin::start(|r| page(r.body.clone())),
    );
    dead.stop();
    let config = format!(
        "[upstreams.shop]\nservers = [\"{dead}\", \"{well}\"]\nbalance = \"round-robin\"\n[[routes]]\nupstream = \"shop\"\nmax_body = \"1MiB\"\n"
    );
    let edge = Edge::start(&config);
    for n in [10, 60_000, 500_000] {
        for _ in 0..4 {
            let body = pattern(n);
            let mut conn = edge.connect();
            conn.request("POST", "/", &[("Content-Length", &n.to_string())]);
            conn.send(&body);
            let answer = conn.response("POST");
            assert!(
                answer.status == 200 && answer.body == body,
                "{n} bytes: {}",
                answer.status
            );
        }
        // Past the pause that a server which refused gets.
        std::thread::sleep(Duration::from_millis(1_100));
    }
}

#[test]
fn connections_to_the_shop_are_kept() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start(&(smallest(&shop) + "[server]\nthreads = 2\n"));
    for _ in 0..30 {
        assert_eq!(edge.get("/").status, 200);
    }
    // Each thread keeps one for fetches and one for visitors' own requests.
    assert!(shop.connections() <= 4, "{}", shop.connections());
}

#[test]
fn limits_go_by_the_visitor_whom_a_trusted_proxy_names() {
    let shop = Origin::start(|_| page("ok").fresh(60));
    let config = smallest(&shop)
        + "limits = [\"few\"]\n[limits.few]\nrate = \"1/h\"\nburst = 2\n[server]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let edge = Edge::start(&config);
    let mut conn = edge.connect();
    let mut ask = |who: &str| {
        conn.request("GET", "/", &[("X-Forwarded-For", who)]);
        conn.response("GET").status
    };
    assert_eq!(
        [
            ask("198.51.100.1"),
            ask("198.51.100.1"),
            ask("198.51.100.1")
        ],
        [200, 200, 429]
    );
    assert_eq!(ask("198.51.100.2"), 200);
    assert_eq!(
        ask("6.6.6.6, 198.51.100.1"),
        429,
        "the rightmost that is not trusted"
    );
    assert_eq!(
        [ask("2001:db8::1"), ask("2001:db8::2"), ask("2001:db8::3")],
        [200, 200, 429]
    );
    assert_eq!(ask("2001:db8:0:1::1"), 200, "another /64");
}

#[test]
fn refusals_over_http2_say_as_much() {
    let shop = Origin::start(|_| page("ok").fresh(60));
    let config = plain(&shop) + "limits = [\"few\"]\n[limits.few]\nrate = \"1/h\"\nburst = 2\n";
    let edge = Edge::start_tls(&config);
    let mut h2 = H2::connect(edge.site.https);
    assert_eq!([h2.get("/").status, h2.get("/").status], [200, 200]);
    let refused = h2.get("/");
    assert_eq!(refused.status, 429);
    for name in [
        "retry-after",
        "ratelimit",
        "ratelimit-policy",
        "x-request-id",
    ] {
        assert_eq!(refused.count(name), 1, "{name}");
    }
    eventually("it is logged", || edge.log().len() == 3);
    assert_eq!(edge.log()[2]["protocol"], "HTTP/2.0");
}

#[test]
fn routes_by_host_and_path() {
    let (one, two) = (
        Origin::start(|_| page("one")),
        Origin::start(|_| page("two")),
    );
    let edge = Edge::start(&format!(
        r#"
        [upstreams.one]
        servers = ["{one}"]
        [upstreams.two]
        servers = ["{two}"]
        [[routes]]
        upstream = "one"
        [[routes]]
        host = "*.shop.example"
        upstream = "two"
        [[routes]]
        host = "shop.example"
        path = "/api/*"
        upstream = "two"
        "#
    ));
    let mut conn = Conn::open(edge.site.http);
    for (host, path, wanted) in [
        ("shop.example", "/", "one"),
        ("shop.example", "/api/orders", "two"),
        ("shop.example", "/api", "one"),
        ("shop.example", "/x/../api/orders", "two"),
        ("SHOP.example:8080", "/api/orders", "two"),
        ("www.shop.example", "/", "two"),
        ("other.example", "/api/orders", "one"),
    ] {
        conn.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(conn.response("GET").text(), wanted, "{host}{path}");
    }
}
