//! Visitors that send or read too slowly go, over each protocol, while others are served.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::{
    client::Conn,
    edge::Edge,
    h2::{End, Frames, H2, client_config, https, tls},
    origin::{Origin, page},
    relaying::{own_shop, read_head},
    serving::plain,
    tools::{Gate, PATIENCE, eventually},
};

const LARGE: usize = 4 * 1024 * 1024;

/// Time limits that would let them stay: what ends them is their rate.
const RATES: &str = "[server]\nmin_receive_rate = \"1MiB/s\"\nmin_send_rate = \"1MiB/s\"\n\
                     rate_grace = \"300ms\"\nbody_timeout = \"1h\"\n";

fn shop() -> Origin {
    Origin::start(|r| match r.target.as_str() {
        "/stored" => page(vec![b'y'; LARGE]).fresh(600),
        "/relayed" => page(vec![b'z'; LARGE]).field("Cache-Control", "no-store"),
        _ => page("ok").fresh(600),
    })
}

fn shed(edge: &Edge, why: &str) -> f64 {
    let series = format!("dhal_connections_shed_total{{why=\"{why}\"}}");
    edge.metric(&series).expect("it is there from the start")
}

fn with_reason(edge: &Edge, reason: &str) -> usize {
    let lines = edge.log();
    lines.iter().filter(|l| l["reason"] == reason).count()
}

fn asking<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [
        (":method", method),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", path),
    ]
}

/// Sends a little again and again until the connection is gone; says how often.
fn drip(conn: &mut Conn, piece: &str, gone: impl Fn() -> bool) -> usize {
    let until = Instant::now() + PATIENCE;
    let mut count = 0;
    while !gone() {
        assert!(Instant::now() < until, "it was let drip");
        conn.send(piece);
        count += 1;
        thread::sleep(Duration::from_millis(20));
    }
    count
}

#[test]
fn slow_heads_are_shed() {
    let shop = shop();
    let edge = Edge::start_tls(&(plain(&shop) + "[server]\nheader_timeout = \"3s\"\n"));
    let mut normal = H2::connect(edge.site.https);
    let mut plain = edge.connect();
    plain.send("GET / HTTP/1.1\r\n");
    let mut count = drip(&mut plain, "A: b\r\n", || shed(&edge, "slow_head") == 1.0);
    assert_eq!(plain.response("GET").status, 408);
    let mut tls = https(edge.site.https, "shop.example");
    tls.send("GET / HTTP/1.1\r\n");
    count += drip(&mut tls, "A: b\r\n", || shed(&edge, "slow_head") == 2.0);
    assert_eq!(tls.response("GET").status, 408);
    assert!(count > 2, "they did drip");
    // HEADERS without the end of the head, and CONTINUATION that does not come.
    let mut frames = Frames::connect(edge.site.https);
    frames.frame(1, 1, 1, b"\x82");
    assert_eq!(frames.error(), None);
    eventually("it is counted", || shed(&edge, "slow_head") == 3.0);
    assert_eq!(normal.get("/").status, 200);
}

#[test]
fn slow_handshakes_are_shed() {
    let shop = shop();
    let limit = "[server]\nhandshake_timeout = \"3s\"\n";
    let edge = Edge::start_tls(&(plain(&shop) + limit));
    let mut silent = Conn::open(edge.site.https);
    silent.send(b"\x16\x03\x01");
    silent.ends();
    eventually("it is counted", || shed(&edge, "slow_handshake") == 1.0);
    assert_eq!(H2::connect(edge.site.https).get("/").status, 200);
}

#[test]
fn slow_bodies_are_shed() {
    let shop = shop();
    let edge = Edge::start_tls(&(plain(&shop) + RATES));
    let mut normal = H2::connect(edge.site.https);
    let head = "POST /upload HTTP/1.1\r\nHost: shop.example\r\n";
    let mut wanted = 0.0;
    for (framing, piece) in [
        ("Content-Length: 100000\r\n\r\n", "x"),
        ("Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
    ] {
        for tls in [false, true] {
            let mut conn = match tls {
                false => edge.connect(),
                true => https(edge.site.https, "shop.example"),
            };
            conn.send(format!("{head}{framing}"));
            wanted += 1.0;
            drip(&mut conn, piece, || shed(&edge, "slow_body") == wanted);
            assert_eq!(conn.response("POST").status, 408, "{framing}");
        }
    }
    let mut frames = Frames::connect(edge.site.https);
    frames.headers(1, &asking("POST", "/upload"), false);
    let until = Instant::now() + PATIENCE;
    while shed(&edge, "slow_body") < 5.0 {
        assert!(Instant::now() < until, "it was let drip");
        frames.frame(0, 0, 1, b"x");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(frames.answer(1).statuses, [408]);
    // The other streams of its connection go on.
    frames.headers(3, &asking("GET", "/"), true);
    assert_eq!(frames.answer(3).statuses, [200]);
    assert_eq!(normal.get("/").status, 200);
    eventually("all are written down", || {
        with_reason(&edge, "client_timeout") + with_reason(&edge, "request body took too long") == 5
    });
}

#[test]
fn to_call_content_grpc_exempts_nobody_where_there_is_none() {
    let shop = shop();
    let edge = Edge::start_tls(&(plain(&shop) + RATES));
    let mut conn = edge.connect();
    let head = "POST /upload HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/grpc\r\n";
    conn.send(format!("{head}Content-Length: 100000\r\n\r\n"));
    drip(&mut conn, "x", || shed(&edge, "slow_body") == 1.0);
    assert_eq!(conn.response("POST").status, 408);
    // The shop speaks HTTP/1.1.
    let mut frames = Frames::connect(edge.site.https);
    let mut fields = asking("POST", "/upload").to_vec();
    fields.push(("content-type", "application/grpc"));
    frames.headers(1, &fields, false);
    assert_eq!(frames.answer(1).statuses, [408]);
}

#[test]
fn a_record_of_tls_shows_when_it_is_whole() {
    const RECORD: usize = 16 * 1024;
    let shop = Origin::start(|r| page(r.body.len().to_string()));
    let rates = RATES.replace("1MiB/s", "512B/s").replace("300ms", "100ms");
    let edge = Edge::start_tls(&(plain(&shop) + &rates));
    let config = client_config(rustls::ALL_VERSIONS, &["http/1.1"]);
    let mut stream = tls(edge.site.https, "shop.example", &config).expect("a handshake");
    let head = format!("POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {RECORD}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    stream.flush().expect("sent");
    let mut record = Vec::new();
    let content = [b'x'; RECORD];
    stream.conn.writer().write_all(&content).expect("room");
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut record).expect("memory");
    }
    // Far faster than it must be, and in more time than it has for nothing.
    for piece in record.chunks(RECORD / 10) {
        let _ = stream.sock.write_all(piece);
        thread::sleep(Duration::from_millis(100));
    }
    let socket = stream.sock.try_clone().expect("a second handle");
    let answer = Conn::over(stream, socket).response("POST");
    assert_eq!((answer.status, answer.text()), (200, RECORD.to_string()));
}

#[test]
fn who_is_fast_enough_may_take_long_and_the_shop_may_too() {
    let gate = Gate::default();
    let own = gate.clone();
    let shop = Origin::start(move |r| match r.target.as_str() {
        "/held" => page("held").when(&own),
        _ => page(r.body.len().to_string()),
    });
    let rates = RATES.replace("1MiB/s", "100B/s");
    let edge = Edge::start(&(plain(&shop) + &rates));
    let mut held = edge.connect();
    held.request("GET", "/held", &[]);
    let mut conn = edge.connect();
    let piece = "x".repeat(1000);
    // With some content, so that a pause between the two costs no grace.
    conn.send(format!(
        "POST /upload HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 20000\r\n\r\n{piece}"
    ));
    // A second and more, three times the grace.
    for _ in 1..20 {
        thread::sleep(Duration::from_millis(60));
        conn.send(&piece);
    }
    assert_eq!(conn.response("POST").text(), "20000");
    gate.open();
    assert_eq!(held.response("GET").status, 200);
    assert_eq!(shed(&edge, "slow_body") + shed(&edge, "slow_read"), 0.0);
}

/// A connection whose system holds as little as it can of what was not read.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("an option");
    socket.connect(&address.into()).expect("the edge accepts");
    socket.into()
}

#[test]
fn slow_readers_are_shed() {
    let shop = shop();
    let edge = Edge::start_tls(&(plain(&shop) + RATES + "[cache]\nmax_object = \"8MiB\"\n"));
    let mut normal = H2::connect(edge.site.https);
    assert_eq!(normal.get("/stored").body.len(), LARGE);
    let mut wanted = 0.0;
    for path in ["/stored", "/relayed"] {
        let mut slow = Conn::plain(narrow(edge.site.http));
        slow.request("GET", path, &[]);
        wanted += 1.0;
        eventually("a plain one goes", || shed(&edge, "slow_read") == wanted);
        let rest = slow.rest().unwrap_or_default();
        assert!(rest.len() < LARGE, "the answer is not whole");
        let mut slow = https(edge.site.https, "shop.example");
        slow.request("GET", path, &[]);
        wanted += 1.0;
        eventually("one over TLS goes", || shed(&edge, "slow_read") == wanted);
        assert_eq!(normal.get("/").status, 200);
    }
    eventually("they are written down", || {
        with_reason(&edge, "slow_read") == 4
    });
}

#[test]
fn a_stream_that_is_not_read_goes_and_the_others_of_its_connection_stay() {
    let shop = shop();
    let edge = Edge::start_tls(&(plain(&shop) + RATES + "[cache]\nmax_object = \"8MiB\"\n"));
    let mut normal = H2::connect(edge.site.https);
    assert_eq!(normal.get("/stored").body.len(), LARGE);
    for (nth, path) in ["/stored", "/relayed"].into_iter().enumerate() {
        let mut frames = Frames::connect(edge.site.https);
        frames.more(0, 0x7000_0000);
        frames.headers(1, &asking("GET", path), true);
        // Its window stays closed; others are opened and read all the time.
        let before = shed(&edge, "slow_read");
        let mut stream = 3;
        while shed(&edge, "slow_read") == before {
            assert!(stream < 2000, "it stayed");
            frames.headers(stream, &asking("GET", "/"), true);
            assert_eq!(frames.answer(stream).end, End::Stream);
            stream += 2;
            thread::sleep(Duration::from_millis(20));
        }
        frames.headers(stream, &asking("GET", "/"), true);
        assert_eq!(frames.answer(stream).statuses, [200]);
        eventually("it is written down", || {
            with_reason(&edge, "slow_read") == nth + 1
        });
    }
    assert_eq!(normal.get("/").status, 200);
}

#[test]
fn a_connection_that_is_not_read_goes_with_its_streams() {
    let shop = shop();
    let edge = Edge::start_tls(&(plain(&shop) + RATES + "[cache]\nmax_object = \"8MiB\"\n"));
    let mut normal = H2::connect(edge.site.https);
    assert_eq!(normal.get("/stored").body.len(), LARGE);
    let mut frames = Frames::connect(edge.site.https);
    frames.window(0x7fff_ffff);
    frames.more(0, 0x7000_0000);
    for nth in 0..4 {
        frames.headers(2 * nth + 1, &asking("GET", "/stored"), true);
    }
    eventually("it is gone", || {
        edge.metric("dhal_connections") == Some(1.0)
    });
    eventually("it is counted", || shed(&edge, "slow_read") >= 1.0);
    assert_eq!(normal.get("/").status, 200);
}

#[test]
fn tunnels_may_be_silent() {
    let shop = own_shop(|mut stream| {
        if read_head(&stream).is_some() {
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            let _ = stream.write_all(head.as_bytes());
            let _ = std::io::copy(&mut stream.try_clone().expect("a handle"), &mut stream);
        }
    });
    let edge = Edge::start(&(plain(&shop) + RATES));
    let mut conn = edge.connect();
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    conn.request("GET", "/", &fields);
    assert_eq!(conn.response("GET").status, 101);
    for _ in 0..3 {
        assert!(conn.is_quiet(Duration::from_millis(500)));
        conn.send("echo");
        assert_eq!(conn.take(4).expect("it is there"), b"echo");
    }
}
