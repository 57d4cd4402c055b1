//! Bounds on the connections to a server, who waits for one, and connections that end.

use std::{
    io::Read,
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::{
    client::Conn,
    edge::Edge,
    h2::Frames,
    measure::has_read,
    origin::{Origin, page},
    tools::{Gate, eventually},
};

fn config(shop: &Origin, more: &str) -> String {
    format!(
        r#"
        [upstreams.shop]
        servers = ["{shop}"]
        {more}

        [[routes]]
        upstream = "shop"

        [server]
        threads = 2
        "#
    )
}

fn of(name: &str) -> String {
    format!("dhal_upstream_{name}{{upstream=\"shop\"}}")
}

/// A shop whose answers wait for a gate, if their path is `/held`.
fn held(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |r| match r.target.as_str() {
        "/held" => page("held").when(&gate),
        _ => page("ok"),
    })
}

fn ask(edge: &Edge, path: &'static str) -> thread::JoinHandle<u16> {
    let http = edge.site.http;
    thread::spawn(move || Conn::open(http).get(path).status)
}

#[test]
fn a_shop_never_sees_more_connections_than_it_may_have() {
    let shop = Origin::start(|_| page("ok").after(Duration::from_millis(10)));
    let bounds = "connections = { max = 4, queue_timeout = \"20s\" }";
    let edge = Edge::start(&config(&shop, bounds));
    let visitors: Vec<_> = (0..50).map(|_| ask(&edge, "/")).collect();
    for visitor in visitors {
        assert_eq!(visitor.join().expect("an answer"), 200);
    }
    // They are handed on, also from thread to thread, and not opened anew.
    assert!(shop.connections() <= 4, "{}", shop.connections());
    assert_eq!(shop.count("/"), 50);
    let open = format!("dhal_upstream_connections_open{{server=\"{shop}\",upstream=\"shop\"}}");
    let (opened, reused) = (
        of("connections_opened_total"),
        of("connections_reused_total"),
    );
    let opened = edge.metric(&opened).expect("opened");
    assert!((1.0..=4.0).contains(&opened));
    edge.counts(&open, opened);
    edge.counts(&reused, 50.0 - opened);
    let status = edge.site.dhal(&["status"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    let line = format!(
        "{opened} connections, 0 requests wait for one; {} of 50",
        50.0 - opened
    );
    assert!(text.contains(&line), "{line} in\n{text}");
}

#[test]
fn what_finds_no_place_in_the_queue_is_told_so() {
    let gate = Gate::default();
    let shop = held(&gate);
    let bounds = "connections = { max = 1, queue = 1, queue_timeout = \"20s\" }\n\
                  eject = { consecutive_failures = 1, max_percent = 100 }";
    let edge = Edge::start(&config(&shop, bounds));
    let first = ask(&edge, "/held");
    eventually("the shop has it", || shop.count("/held") == 1);
    let second = ask(&edge, "/second");
    eventually("it waits", || edge.metric(&of("queue")) == Some(1.0));
    let third = edge.get("/third");
    assert_eq!(third.status, 503);
    assert!(third.field("retry-after").is_some());
    edge.counts(&of("queue_rejected_total"), 1.0);
    eventually("it is written down", || {
        edge.log()
            .iter()
            .any(|l| l["reason"] == "connection_limit_reached")
    });
    gate.open();
    assert_eq!(first.join().expect("an answer"), 200);
    assert_eq!(second.join().expect("an answer"), 200);
    assert_eq!(edge.get("/").status, 200, "the server has not failed");
    assert_eq!((shop.count("/third"), shop.connections()), (0, 1));
    assert!(!edge.stderr().contains("ejected"));
    assert_eq!(
        edge.metric("dhal_upstream_retries_total{upstream=\"shop\"}"),
        None
    );
}

#[test]
fn nobody_waits_longer_than_the_queue_lets_them() {
    let gate = Gate::default();
    let shop = held(&gate);
    let bounds = "connections = { max = 1, queue_timeout = \"2s\" }";
    let edge = Edge::start(&config(&shop, bounds));
    let first = ask(&edge, "/held");
    eventually("the shop has it", || shop.count("/held") == 1);
    let since = Instant::now();
    assert_eq!(edge.get("/").status, 503);
    assert!(since.elapsed() >= Duration::from_secs(2));
    gate.open();
    assert_eq!(first.join().expect("an answer"), 200);
    assert_eq!(edge.get("/").status, 200);
    assert_eq!(shop.count("/"), 1);
    edge.counts(&of("queue"), 0.0);
}

#[test]
fn who_leaves_makes_room_in_the_queue() {
    let gate = Gate::default();
    let shop = held(&gate);
    let bounds = "connections = { max = 1, queue = 1, queue_timeout = \"20s\" }";
    let edge = Edge::start(&config(&shop, bounds));
    let first = ask(&edge, "/held");
    eventually("the shop has it", || shop.count("/held") == 1);
    let stream = TcpStream::connect(edge.site.http).expect("the edge accepts");
    // So that its end is a reset: who ends only its own side may still be reading.
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("an option");
    let mut leaves = Conn::plain(stream);
    leaves.request("GET", "/left", &[]);
    eventually("it waits", || edge.metric(&of("queue")) == Some(1.0));
    drop(leaves);
    eventually("it does not", || edge.metric(&of("queue")) == Some(0.0));
    let third = ask(&edge, "/third");
    eventually("it waits", || edge.metric(&of("queue")) == Some(1.0));
    gate.open();
    assert_eq!(first.join().expect("an answer"), 200);
    assert_eq!(third.join().expect("an answer"), 200);
    assert_eq!((shop.count("/left"), shop.count("/third")), (0, 1));
}

#[test]
fn a_stream_that_is_reset_leaves_the_queue() {
    let gate = Gate::default();
    let shop = held(&gate);
    let bounds = "connections = { max = 1, queue = 1, queue_timeout = \"20s\" }";
    let edge = Edge::start_tls(&config(&shop, bounds));
    let first = ask(&edge, "/held");
    eventually("the shop has it", || shop.count("/held") == 1);
    let mut frames = Frames::connect(edge.site.https);
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", "/left"),
    ];
    frames.headers(1, &fields, true);
    eventually("it waits", || edge.metric(&of("queue")) == Some(1.0));
    frames.frame(3, 0, 1, &8u32.to_be_bytes());
    eventually("it does not", || edge.metric(&of("queue")) == Some(0.0));
    gate.open();
    assert_eq!(first.join().expect("an answer"), 200);
    assert_eq!((edge.get("/").status, shop.count("/left")), (200, 0));
}

#[test]
fn a_request_waits_no_longer_than_its_own_time() {
    let gate = Gate::default();
    let shop = held(&gate);
    let bounds = "connections = { max = 1, queue_timeout = \"20s\" }";
    let own =
        "[[routes]]\npath = \"/short\"\nupstream = \"shop\"\ntimeouts = { total = \"300ms\" }";
    let edge = Edge::start(&format!("{}\n{own}", config(&shop, bounds)));
    let first = ask(&edge, "/held");
    eventually("the shop has it", || shop.count("/held") == 1);
    let (since, answer) = (Instant::now(), edge.get("/short"));
    assert!((Duration::from_millis(300)..Duration::from_secs(15)).contains(&since.elapsed()));
    assert_eq!((answer.status, answer.count("retry-after")), (503, 1));
    gate.open();
    assert_eq!(first.join().expect("an answer"), 200);
}

#[test]
fn a_connection_that_breaks_makes_room_at_once() {
    let gate = Gate::default();
    let own = gate.clone();
    let shop = Origin::start(move |r| match r.target.as_str() {
        "/broken" => page("").when(&own).close(),
        _ => page("ok"),
    });
    let bounds = "connections = { max = 1, queue_timeout = \"20s\" }";
    let edge = Edge::start(&config(&shop, bounds));
    let first = ask(&edge, "/broken");
    eventually("the shop has it", || shop.count("/broken") == 1);
    let second = ask(&edge, "/");
    eventually("it waits", || edge.metric(&of("queue")) == Some(1.0));
    gate.open();
    assert_eq!(first.join().expect("an answer"), 200);
    assert_eq!(second.join().expect("an answer"), 200);
}

#[test]
fn a_bound_that_a_reload_brings_holds_at_once() {
    let gate = Gate::default();
    let shop = held(&gate);
    let edge = Edge::start(&config(&shop, ""));
    let visitors: Vec<_> = (0..10).map(|_| ask(&edge, "/held")).collect();
    eventually("all are asked at once", || shop.count("/held") == 10);
    gate.open();
    for visitor in visitors {
        assert_eq!(visitor.join().expect("an answer"), 200);
    }
    let open = format!("dhal_upstream_connections_open{{server=\"{shop}\",upstream=\"shop\"}}");
    assert!(edge.metric(&open) > Some(1.0));
    let bounds = config(&shop, "connections = { max = 1, queue_timeout = \"20s\" }");
    assert!(edge.reload(&bounds).status.success());
    let before = shop.connections();
    let visitors: Vec<_> = (0..6).map(|_| ask(&edge, "/")).collect();
    for visitor in visitors {
        assert_eq!(visitor.join().expect("an answer"), 200);
    }
    assert_eq!(shop.connections(), before + 1);
    edge.counts(&open, 1.0);
    assert!(edge.reload(&config(&shop, "")).status.success());
    for _ in 0..6 {
        assert_eq!(edge.get("/").status, 200);
    }
}

#[test]
fn a_connection_ends_after_its_lifetime() {
    let shop = Origin::start(|_| page("ok"));
    let bounds = "connections = { lifetime = \"3s\" }";
    let edge = Edge::start(&config(&shop, bounds).replace("threads = 2", "threads = 1"));
    let mut conn = edge.connect();
    assert_eq!(conn.get("/").status, 200);
    assert_eq!(conn.get("/").status, 200);
    assert_eq!(shop.connections(), 1);
    eventually("another is opened", || {
        assert_eq!(conn.get("/").status, 200);
        shop.connections() == 2
    });
    let open = format!("dhal_upstream_connections_open{{server=\"{shop}\",upstream=\"shop\"}}");
    eventually("the old one is closed", || edge.metric(&open) <= Some(1.0));
}

#[test]
fn a_post_does_not_go_to_a_connection_that_was_closed() {
    let streams = Arc::<Mutex<Vec<TcpStream>>>::default();
    let kept = Arc::clone(&streams);
    let rounds = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&rounds);
    // Answers, and keeps the connection open until it is told otherwise.
    let shop = Origin::start(move |r| {
        if r.method == "POST" {
            counted.fetch_add(1, Ordering::SeqCst);
            return page("posted").close();
        }
        let kept = Arc::clone(&kept);
        crate::origin::raw("HTTP/1.1 200 Ok\r\nContent-Length: 2\r\n\r\nok")
            .take(move |stream| kept.lock().expect("lock").push(stream))
    });
    for bounds in ["", "connections = { max = 1 }"] {
        let edge = Edge::start(&config(&shop, bounds).replace("threads = 2", "threads = 1"));
        let mut conn = edge.connect();
        let (mut posted, before) = (0, rounds.load(Ordering::SeqCst));
        for _ in 0..100 {
            assert_eq!(conn.get("/").status, 200);
            let mut stream = None;
            eventually("the shop has answered", || {
                stream = streams.lock().expect("lock").pop();
                stream.is_some()
            });
            let mut stream = stream.expect("a stream");
            // Closed, and at once the next request: on one processor the edge hears of both together.
            let _ = stream.shutdown(Shutdown::Both);
            conn.request("POST", "/", &[("Content-Length", "0")]);
            assert_eq!(conn.response("POST").status, 200, "after {posted} of them");
            posted += 1;
            assert_eq!(
                stream.read(&mut [0; 1]).unwrap_or(0),
                0,
                "nothing was sent there"
            );
        }
        assert_eq!(rounds.load(Ordering::SeqCst) - before, posted);
    }
}

#[test]
fn a_bound_that_a_reload_takes_away_stays_away() {
    let shop = Origin::start(|_| page("ok"));
    let bounded = config(&shop, "connections = { max = 8 }").replace("threads = 2", "threads = 1");
    let free = config(&shop, "").replace("threads = 2", "threads = 1");
    let edge = Edge::start(&bounded);
    let (mut conn, mut slow) = (edge.connect(), edge.connect());
    assert_eq!(conn.get("/").status, 200);
    // Its request began under the bound and is complete after it.
    slow.send("POST /slow HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    has_read(edge.site.http, slow.address());
    assert!(edge.reload(&free).status.success());
    slow.send("2\r\nab\r\n0\r\n\r\n");
    assert_eq!(slow.response("POST").status, 200);
    assert_eq!(conn.get("/").status, 200);
    let before = shop.connections();
    for _ in 0..20 {
        assert_eq!(conn.get("/").status, 200);
    }
    assert!(
        shop.connections() <= before + 1,
        "connections are used again"
    );
}
