//! Servers that speak HTTP/2: over TLS and without, whole answers and broken ones, and the life of connections.

use std::sync::Arc;

use h2::server::Builder;
use nix::sys::signal::Signal;
use tokio::sync::Semaphore;

use crate::{
    edge::{Edge, Site},
    h2::H2,
    h2_shop::{Asked, H2Shop, answer},
    secure::Authority,
    tools::eventually,
};

/// One thread, so that connections can be counted; a route with a cache and one without.
pub(crate) fn config(server: &impl std::fmt::Display, more: &str) -> String {
    format!(
        r#"
        [server]
        threads = 1

        [upstreams.shop]
        servers = ["{server}"]
        protocol = "h2"
        {more}

        [[routes]]
        path = "/stored/*"
        upstream = "shop"
        cache = "default"

        [[routes]]
        upstream = "shop"
        max_body = "16MiB"
        "#
    )
}

/// Content that shows where a part is missing.
fn large(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 7) as u8).collect()
}

pub(crate) async fn shop(mut asked: Asked) {
    let path = asked.path().to_owned();
    match path.as_str() {
        "/stored/page" => {
            let fields = [
                ("cache-control", "max-age=60"),
                ("content-type", "text/html"),
            ];
            let _ = asked.send(answer(200, &fields), "stored", None).await;
        }
        "/empty" => {
            let _ = asked.send(answer(204, &[]), "", None).await;
        }
        "/nothing" => {
            let _ = asked.send(answer(200, &[]), "", None).await;
        }
        "/unknown-length" => {
            let _ = asked.send(answer(200, &[]), large(300_000), None).await;
        }
        "/large" => asked.page(large(3_000_000)).await,
        "/echo" => {
            let content = asked.content().await.unwrap_or_default();
            asked.page(content).await;
        }
        _ => asked.page(format!("{} {path}", asked.head.method)).await,
    }
}

#[test]
fn answers_come_over_tls_and_without() {
    let authority = Authority::new("ours");
    let identity = authority.server(&["inner.example"]);
    let tls = identity.config(&["h2"], None);
    let plain = H2Shop::start(shop);
    let secure = H2Shop::start_with(Some(tls), Builder::new(), shop);
    let settings = r#"tls = { ca = "@dir/ca.pem", name = "inner.example" }"#;
    for (server, settings, scheme) in [(&plain, "", "http"), (&secure, settings, "https")] {
        let site = Site::new_tls(&config(server, settings));
        authority.write(&site.path("ca.pem"));
        let edge = Edge::start_at(site);
        let mut h2 = H2::connect(edge.site.https);
        let mut conn = edge.connect();

        assert_eq!(conn.get("/page").text(), "GET /page");
        let seen = server.last();
        assert_eq!(seen.uri.scheme_str(), Some(scheme));
        assert_eq!(
            seen.uri.authority().map(|a| a.as_str()),
            Some("shop.example")
        );
        assert_eq!(seen.headers["x-forwarded-proto"], "http");
        assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
        assert_eq!(seen.headers["via"], "1.1 dhal");
        for gone in ["host", "connection", "te", "transfer-encoding"] {
            assert!(!seen.headers.contains_key(gone), "{gone}");
        }
        assert_eq!(h2.get("/page").text(), "GET /page");
        conn.request("HEAD", "/page", &[]);
        let head = conn.response("HEAD");
        assert_eq!(
            (head.status, head.field("content-length")),
            (200, Some("10"))
        );
        for empty in [conn.get("/empty"), h2.get("/empty")] {
            assert_eq!((empty.status, empty.body.len()), (204, 0));
        }
        for nothing in [conn.get("/nothing"), h2.get("/nothing")] {
            assert_eq!((nothing.status, nothing.body.len()), (200, 0));
        }
        for answer in [conn.get("/unknown-length"), h2.get("/unknown-length")] {
            assert!(answer.body == large(300_000));
        }
        for answer in [conn.get("/large"), h2.get("/large")] {
            assert!(answer.body == large(3_000_000));
            assert_eq!(answer.field("content-length"), Some("3000000"));
        }
        for _ in 0..2 {
            for answer in [conn.get("/stored/page"), h2.get("/stored/page")] {
                assert_eq!(answer.text(), "stored");
            }
        }
        let hit = conn.get("/stored/page");
        assert!(hit.is_hit());
        assert_eq!(hit.field("content-length"), Some("6"));
        assert_eq!(hit.field("transfer-encoding"), None);
        assert_eq!(server.count("/stored/page"), 2, "one for each scheme");
        assert_eq!(server.connections(), 1, "one is enough");
    }
}

#[test]
fn uploads_larger_than_the_windows() {
    let shop = H2Shop::start(shop);
    let edge = Edge::start_tls(&config(&shop, ""));
    let content = large(900_000);
    let mut conn = edge.connect();
    let head = "POST /echo HTTP/1.1\r\nHost: shop.example\r\n";
    conn.send(format!("{head}Content-Length: {}\r\n\r\n", content.len()));
    conn.send(&content);
    assert!(conn.response("POST").body == content);
    assert_eq!(shop.last().headers["content-length"], "900000");

    conn.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
    for part in content.chunks(50_000) {
        conn.send(format!("{:x}\r\n", part.len()));
        conn.send(part);
        conn.send("\r\n");
    }
    conn.send("0\r\n\r\n");
    assert!(conn.response("POST").body == content);
    assert!(!shop.last().headers.contains_key("content-length"));

    let mut h2 = H2::connect(edge.site.https);
    let part: &'static str = "0123456789abcdef".repeat(4096).leak();
    let parts = vec![part; 30];
    let answer = h2
        .ask("POST", "/echo", &[], Some(&parts))
        .expect("an answer");
    assert!(answer.body == parts.concat().into_bytes());
    let empty = h2.ask("POST", "/echo", &[], Some(&[])).expect("an answer");
    assert_eq!((empty.status, empty.body.len()), (200, 0));
}

#[test]
fn a_hundred_visitors_on_one_connection() {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let shop = H2Shop::start(move |mut asked| {
        let gate = Arc::clone(&closed);
        async move {
            let _ = gate.acquire().await;
            let path = asked.path().to_owned();
            asked.page(path).await;
        }
    });
    let edge = Edge::start(&config(&shop, ""));
    let mut conns: Vec<_> = (0..100).map(|_| edge.connect()).collect();
    for (n, conn) in conns.iter_mut().enumerate() {
        conn.request("GET", &format!("/{n}"), &[]);
    }
    eventually("all are under way", || shop.open() == 100);
    gate.add_permits(1000);
    for (n, conn) in conns.iter_mut().enumerate() {
        assert_eq!(conn.response("GET").text(), format!("/{n}"));
    }
    assert_eq!(shop.connections(), 1);
}

#[test]
fn connections_are_counted_and_not_their_streams() {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let shop = H2Shop::start(move |mut asked| {
        let gate = Arc::clone(&closed);
        async move {
            let permit = gate.acquire().await;
            asked.page("page").await;
            drop(permit);
        }
    });
    let edge = Edge::start(&config(&shop, ""));
    let series = format!("dhal_upstream_connections_open{{server=\"{shop}\",upstream=\"shop\"}}");
    let open = || {
        let (_, text) = edge.admin("GET", "/status");
        let status: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let metric = edge.metric(&series).expect("a number");
        let told = status["upstreams"][0]["connections"]["open"].as_f64();
        (told.expect("a number"), metric)
    };
    assert_eq!(open(), (0.0, 0.0));
    let mut conns: Vec<_> = (0..5).map(|_| edge.connect()).collect();
    for conn in &mut conns {
        conn.request("GET", "/", &[]);
    }
    eventually("all are under way", || shop.open() == 5);
    assert_eq!(open(), (1.0, 1.0));
    // The requests at once are bounded then, and neither the connection nor what runs takes their place.
    let bounded = "connections = { max = 1, queue_timeout = \"20s\" }";
    assert!(edge.reload(&config(&shop, bounded)).status.success());
    gate.add_permits(1);
    for conn in &mut conns {
        assert_eq!(conn.response("GET").text(), "page");
    }
    for _ in 0..3 {
        assert_eq!(edge.get("/").text(), "page");
    }
    assert_eq!((open(), shop.connections()), ((1.0, 1.0), 1));
    shop.leave();
    eventually("it is closed", || open() == (0.0, 0.0));
    // What was opened under a bound counts when there is none.
    assert_eq!(edge.get("/").text(), "page");
    assert!(edge.reload(&config(&shop, "")).status.success());
    assert_eq!(edge.get("/").text(), "page");
    assert_eq!(open(), (1.0, 1.0));
}

#[test]
fn more_connections_where_streams_are_few() {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let mut settings = Builder::new();
    settings.max_concurrent_streams(10);
    let shop = H2Shop::start_with(None, settings, move |mut asked| {
        let gate = Arc::clone(&closed);
        async move {
            let _ = gate.acquire().await;
            asked.page("page").await;
        }
    });
    let edge = Edge::start(&config(&shop, ""));
    let mut conns: Vec<_> = (0..30).map(|_| edge.connect()).collect();
    for conn in &mut conns {
        conn.request("GET", "/", &[]);
    }
    eventually("all are under way", || shop.open() == 30);
    assert_eq!(shop.connections(), 3);
    // Beyond the connections there may be, requests wait for a stream.
    let mut more: Vec<_> = (0..70).map(|_| edge.connect()).collect();
    for conn in &mut more {
        conn.request("GET", "/", &[]);
    }
    eventually("all streams are in use", || shop.open() == 80);
    gate.add_permits(1000);
    for conn in conns.iter_mut().chain(&mut more) {
        assert_eq!(conn.response("GET").text(), "page");
    }
    assert_eq!((shop.connections(), shop.most()), (8, 80));
}

pub(crate) const POST: &str =
    "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 7\r\n\r\ncontent";

#[test]
fn idle_connections_are_let_go_and_old_ones_replaced() {
    let shop = H2Shop::start(shop);
    let edge = Edge::start(&config(&shop, "timeouts = { idle = \"3s\" }"));
    let one = edge.get("/one").status;
    assert_eq!((one, shop.ended()), (200, 0));
    eventually("it has ended", || shop.ended() == 1);
    assert_eq!(edge.get("/more").status, 200);
    assert_eq!(shop.connections(), 2);
    drop(edge);
    let edge = Edge::start(&config(&shop, "connections = { lifetime = \"1s\" }"));
    let before = shop.connections();
    eventually("several connections one after the other", || {
        assert_eq!(edge.get("/more").status, 200);
        shop.connections() > before + 2
    });
}

#[test]
fn the_end_of_the_process_waits_for_streams() {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let shop = H2Shop::start(move |mut asked| {
        let gate = Arc::clone(&closed);
        async move {
            let _ = gate.acquire().await;
            asked.page("complete").await;
        }
    });
    let mut edge = Edge::start(&config(&shop, ""));
    let mut conn = edge.connect();
    conn.request("GET", "/slow", &[]);
    eventually("it is under way", || shop.open() == 1);
    edge.signal(Signal::SIGTERM);
    eventually("it is not ready", || edge.admin("GET", "/readyz").0 == 503);
    gate.add_permits(1);
    assert_eq!(conn.response("GET").text(), "complete");
    assert!(edge.wait().success());
}
