//! Servers that speak HTTP/2: over TLS and without, whole answers and broken ones, and the life of connections.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use h2::{Reason, server::Builder};
use nix::sys::signal::Signal;
use tokio::sync::Semaphore;

use crate::{
    edge::{Edge, Site},
    h2::{End, Frames, H2, exchange, request},
    h2_shop::{Asked, H2Shop, answer, by_hand, room},
    origin::{Origin, page},
    secure::Authority,
    tools::{eventually, free_address},
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

async fn shop(mut asked: Asked) {
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

#[test]
fn servers_that_leave_in_peace_lose_nothing() {
    let shop = H2Shop::start(|mut asked| async move {
        let content = asked.content().await.unwrap_or_default();
        asked.page(content).await;
    });
    let edge = Edge::start(&config(&shop, ""));
    let running = Arc::new(AtomicUsize::new(1));
    let visitors: Vec<_> = (0..4)
        .map(|n| {
            let running = Arc::clone(&running);
            let mut conn = edge.connect();
            thread::spawn(move || {
                let mut served = 0;
                while running.load(Ordering::SeqCst) == 1 {
                    let method = if n % 2 == 0 { "GET" } else { "POST" };
                    let body = if n % 2 == 0 { "" } else { "content" };
                    conn.send(format!(
                        "{method} / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    ));
                    let answer = conn.response(method);
                    assert_eq!((answer.status, answer.text().as_str()), (200, body));
                    served += 1;
                }
                served
            })
        })
        .collect();
    for n in 1..=10 {
        let before = shop.count("/");
        eventually("the load goes on", || shop.count("/") > before + 20);
        let connections = shop.connections();
        shop.leave();
        eventually("another connection is made", || {
            shop.connections() > connections
        });
        assert!(n > 0);
    }
    running.store(0, Ordering::SeqCst);
    for visitor in visitors {
        assert!(visitor.join().expect("no failed request") > 10);
    }
}

/// Turns the first connections away in some manner, and answers on later ones.
fn turning_away(
    turn: impl Fn(&mut crate::h2_shop::Wire, u32) + Send + Sync + 'static,
) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let address = by_hand(move |mut wire, _| {
        while let Some(stream) = wire.request() {
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                turn(&mut wire, stream);
            } else {
                wire.head(stream, &[("content-length", "2")], false);
                wire.data(stream, b"ok", true);
            }
        }
    });
    (address, asked)
}

const POST: &str = "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 7\r\n\r\ncontent";

#[test]
fn what_a_server_has_not_looked_at_is_asked_again() {
    // A POST, which could not be repeated if anyone had seen it.
    let leaving = turning_away(|wire, _| {
        wire.goaway(0);
        wire.linger();
    });
    let refusing = turning_away(|wire, stream| wire.reset(stream, Reason::REFUSED_STREAM));
    for (address, asked) in [leaving, refusing] {
        let edge = Edge::start(&config(&address, ""));
        let mut conn = edge.connect();
        conn.send(POST);
        let answer = conn.response("POST");
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        eventually("it is in the log", || edge.log().len() == 1);
        assert_eq!(edge.log()[0]["attempts"], 2);
    }
}

#[test]
fn a_reset_before_the_answer() {
    for (method, statuses, asked) in [("GET", 200, 2), ("POST", 502, 1)] {
        let (address, count) =
            turning_away(|wire, stream| wire.reset(stream, Reason::INTERNAL_ERROR));
        let edge = Edge::start(&config(&address, ""));
        let mut conn = edge.connect();
        conn.send(POST.replace("POST", method));
        assert_eq!(conn.response(method).status, statuses, "{method}");
        assert_eq!(count.load(Ordering::SeqCst), asked, "{method}");
    }
}

#[test]
fn a_reset_on_a_connection_that_was_used_is_a_failure() {
    let shop = by_hand(|mut wire, _| {
        let mut n = 0;
        while let Some(stream) = wire.request() {
            n += 1;
            match n {
                2 => wire.reset(stream, Reason::INTERNAL_ERROR),
                _ => wire.head(stream, &[("content-length", "0")], true),
            }
        }
    });
    let edge = Edge::start(&config(&shop, "retry = { attempts = 0 }"));
    let statuses = [(); 3].map(|()| edge.get("/own").status);
    assert_eq!(statuses, [200, 502, 200]);
}

#[test]
fn answers_that_break_off_never_look_whole() {
    type Break = fn(&mut crate::h2_shop::Wire, u32);
    let breaks: [(&str, Break); 7] = [
        ("reset", |wire, stream| {
            wire.head(stream, &[("cache-control", "max-age=60")], false);
            wire.data(stream, b"the beginning", false);
            wire.reset(stream, Reason::INTERNAL_ERROR);
        }),
        ("reset without an error", |wire, stream| {
            wire.head(stream, &[("cache-control", "max-age=60")], false);
            wire.data(stream, b"the beginning", false);
            wire.reset(stream, Reason::NO_ERROR);
        }),
        ("reset of a known length", |wire, stream| {
            wire.head(stream, &[("content-length", "20")], false);
            wire.data(stream, b"the beginning", false);
            wire.reset(stream, Reason::CANCEL);
        }),
        ("too little", |wire, stream| {
            let fields = [("content-length", "20"), ("cache-control", "max-age=60")];
            wire.head(stream, &fields, false);
            wire.data(stream, b"the beginning", true);
        }),
        ("too much", |wire, stream| {
            let fields = [("content-length", "5"), ("cache-control", "max-age=60")];
            wire.head(stream, &fields, false);
            wire.data(stream, b"the beginning", true);
        }),
        ("goaway and the end", |wire, stream| {
            wire.head(stream, &[("cache-control", "max-age=60")], false);
            wire.data(stream, b"the beginning", false);
            wire.goaway(stream);
        }),
        ("no end", |wire, stream| {
            wire.head(stream, &[("cache-control", "max-age=60")], false);
            wire.data(stream, b"the beginning", false);
        }),
    ];
    for (what, broken) in breaks {
        let address = by_hand(move |mut wire, _| {
            while let Some(stream) = wire.request() {
                broken(&mut wire, stream);
                if what == "no end" || what == "goaway and the end" {
                    return;
                }
            }
        });
        let edge = Edge::start_tls(&config(&address, "eject = { max_percent = 0 }"));
        for path in ["/own", "/stored/page"] {
            let mut conn = edge.connect();
            conn.request("GET", path, &[]);
            let answer = conn.try_response("GET");
            let whole = answer.as_ref().is_ok_and(|answer| answer.status == 200);
            assert!(!whole, "{what}: {path}: {answer:?}");
            let mut frames = Frames::connect(edge.site.https);
            let fields = [
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "shop.example"),
                (":path", path),
            ];
            frames.headers(1, &fields, true);
            let answer = frames.answer(1);
            let whole = answer.end == End::Stream && answer.statuses == [200];
            assert!(!whole, "{what}: {path}: {answer:?}");
        }
    }
}

#[test]
fn servers_that_do_not_speak_it() {
    let authority = Authority::new("ours");
    let identity = authority.server(&["inner.example"]);
    let old = Origin::start(|_| page("page"));
    let settings = r#"tls = { ca = "@dir/ca.pem", name = "inner.example" }"#;
    for alpn in [&["http/1.1"][..], &[]] {
        let front = crate::secure::Front::start(identity.config(alpn, None), old.address);
        let site = Site::new(&config(&front, settings));
        authority.write(&site.path("ca.pem"));
        let edge = Edge::start_at(site);
        assert_eq!(edge.get("/own").status, 502, "{alpn:?}");
        let log = edge.stderr();
        assert!(log.contains("ALPN"), "{log}");
    }
    assert!(old.seen().is_empty());
    let listener = TcpListener::bind(free_address()).expect("free");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let edge = Edge::start(&config(&address, ""));
    assert_eq!(edge.get("/own").status, 502);
    let log = edge.stderr();
    assert!(log.contains("before the server spoke HTTP/2"), "{log}");
}

#[test]
fn connections_that_have_ended_are_not_used() {
    let shop = H2Shop::start(shop);
    let address = shop.address;
    let edge = Edge::start(&config(&shop, ""));
    assert_eq!(edge.get("/one").status, 200);
    assert_eq!(edge.get("/two").status, 200);
    assert_eq!(shop.connections(), 1);
    shop.leave();
    eventually("another connection is made", || {
        assert_eq!(edge.get("/more").status, 200);
        shop.connections() > 1
    });
    drop(shop);
    assert!(matches!(edge.get("/gone").status, 502..=504), "{address}");
}

#[test]
fn idle_connections_are_let_go_and_old_ones_replaced() {
    let shop = H2Shop::start(shop);
    let edge = Edge::start(&config(&shop, "timeouts = { idle = \"1s\" }"));
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
fn interim_answers_reach_visitors() {
    let shop = by_hand(|mut wire, _| {
        while let Some(stream) = wire.request() {
            // 103 with a literal field.
            let block = b"\x08\x03103\x00\x04link\x08</a.css>";
            wire.frame(1, 4, stream, block);
            wire.head(stream, &[("content-length", "2")], false);
            wire.data(stream, b"ok", true);
        }
    });
    let edge = Edge::start_tls(&config(&shop, ""));
    for path in ["/own", "/stored/page"] {
        let mut conn = edge.connect();
        conn.request("GET", path, &[]);
        let (status, fields) = conn.head().expect("an interim answer");
        assert_eq!(status, 103, "{path}");
        assert!(fields.contains(&("link".to_owned(), "</a.css>".to_owned())));
        assert_eq!(conn.response("GET").text(), "ok");
    }
    // Too many of them are no answer.
    let flood = by_hand(|mut wire, _| {
        while let Some(stream) = wire.request() {
            for _ in 0..100 {
                wire.frame(1, 4, stream, b"\x08\x03103");
            }
        }
    });
    let edge = Edge::start(&config(&flood, ""));
    let mut conn = edge.connect();
    conn.request("GET", "/own", &[]);
    let mut last = 103;
    while last == 103 {
        last = conn.head().expect("an answer").0;
    }
    assert_eq!(last, 502);
}

#[test]
fn answers_that_come_before_the_request_is_complete() {
    // The library resets a stream whose request is left unread, with NO_ERROR.
    let shop = H2Shop::start(|mut asked| async move { asked.page("enough").await });
    let edge = Edge::start_tls(&config(&shop, ""));
    let mut conn = edge.connect();
    conn.send(
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5000000\r\n\r\nthe beginning",
    );
    let answer = conn.response("POST");
    assert_eq!((answer.status, answer.text().as_str()), (200, "enough"));
    let mut frames = Frames::connect(edge.site.https);
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", "/"),
    ];
    frames.headers(1, &fields, false);
    let answer = frames.answer(1);
    assert_eq!(
        (answer.end, &answer.content[..]),
        (End::Stream, &b"enough"[..])
    );
    assert_eq!(edge.get("/").text(), "enough", "the connection lives on");
    assert_eq!(shop.connections(), 1);
}

#[test]
fn an_answer_that_is_complete_survives_a_reset_behind_it() {
    let shop = by_hand(|mut wire, _| {
        while let Some(stream) = wire.request() {
            let mut bytes = crate::h2::frame(1, 4, stream, b"\x88");
            bytes.extend(crate::h2::frame(0, 1, stream, b"enough"));
            bytes.extend(crate::h2::frame(3, 0, stream, &[0; 4]));
            wire.send(&bytes);
        }
    });
    let edge = Edge::start(&config(&shop, ""));
    for _ in 0..20 {
        let mut conn = edge.connect();
        conn.send(
            "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5000000\r\n\r\nthe beginning",
        );
        let answer = conn.response("POST");
        assert_eq!((answer.status, answer.text().as_str()), (200, "enough"));
    }
}

#[test]
fn visitors_who_leave_are_told_of() {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let ends = Arc::clone(&ended);
    let shop = H2Shop::start(move |mut asked| {
        let ends = Arc::clone(&ends);
        async move {
            if asked.path() == "/page" {
                return asked.page("page").await;
            }
            let head = answer(200, &[]);
            let mut send = asked.respond.send_response(head, false).expect("sent");
            let _ = send.send_data(Bytes::from_static(b"beginning"), false);
            let reset = std::future::poll_fn(|cx| send.poll_reset(cx)).await;
            ends.lock().expect("lock").push(reset.ok());
        }
    });
    let edge = Edge::start_tls(&config(&shop, ""));
    let mut conn = edge.connect();
    conn.request("GET", "/waits", &[]);
    assert_eq!(conn.head().expect("an answer").0, 200);
    drop(conn);
    let h2 = H2::connect(edge.site.https);
    let asked = exchange(h2.sender.clone(), request("GET", "/waits", &[]), None);
    let asked = h2.runtime.spawn(asked);
    eventually("both are under way", || shop.count("/waits") == 2);
    asked.abort();
    drop(h2);
    let cancelled = vec![Some(Reason::CANCEL); 2];
    eventually("both are reset", || {
        *ended.lock().expect("lock") == cancelled
    });
    assert_eq!(edge.get("/page").text(), "page", "the connection lives on");
    assert_eq!(shop.connections(), 1);
}

#[test]
fn visitors_who_do_not_read_hold_little_and_stop_nobody() {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let shop = H2Shop::start(move |mut asked| {
        let taken = Arc::clone(&count);
        async move {
            if asked.path() != "/endless" {
                return asked.page("page").await;
            }
            let head = answer(200, &[]);
            let mut send = asked.respond.send_response(head, false).expect("sent");
            while let Ok(some) = room(&mut send, 16_000).await {
                let piece = vec![b'x'; some.min(16_000)];
                taken.fetch_add(piece.len(), Ordering::SeqCst);
                let _ = send.send_data(piece.into(), false);
            }
        }
    });
    let edge = Edge::start_tls(&config(&shop, ""));
    let visitors: Vec<_> = (0..20)
        .map(|_| {
            let mut frames = Frames::connect(edge.site.https);
            frames.window(0);
            let fields = [
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "shop.example"),
                (":path", "/endless"),
            ];
            frames.headers(1, &fields, true);
            frames
        })
        .collect();
    eventually("all have begun", || shop.count("/endless") == 20);
    eventually("the windows are full", || {
        taken.load(Ordering::SeqCst) >= 20 * 64 * 1000
    });
    for _ in 0..50 {
        assert_eq!(edge.get("/page").text(), "page");
    }
    let held = taken.load(Ordering::SeqCst);
    // A window, a buffer and a frame each.
    assert!(
        held <= 20 * (64 + 16 + 16) * 1024,
        "{held} bytes for 20 visitors"
    );
    assert_eq!(shop.connections(), 1);
    drop(visitors);
}

#[test]
fn a_server_that_falls_silent_is_not_asked_on_the_same_connection() {
    let shop = by_hand(|mut wire, n| {
        while let Some(stream) = wire.request() {
            if n > 1 {
                wire.head(stream, &[("content-length", "2")], false);
                wire.data(stream, b"ok", true);
            }
        }
    });
    let more = "timeouts = { response = \"300ms\" }\nretry = { attempts = 0 }";
    let edge = Edge::start(&config(&shop, more));
    assert_eq!(edge.get("/one").status, 504);
    assert_eq!(edge.get("/two").text(), "ok");
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
