//! Clients that mean harm, and what is left of it: memory, connections, and the other visitors.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{
    client::Conn,
    edge::Edge,
    h2::{Fate, Frames, H2, client_config, tls},
    origin::{Origin, page},
    serving::{plain, smallest},
    tools::eventually,
};

fn shop() -> Origin {
    Origin::start(|_| page("x".repeat(100_000)).fresh(600))
}

/// Resident memory of the edge in MiB.
fn memory(edge: &Edge) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", edge.id())).expect("Linux");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("a size") / 1024
}

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "shop.example"),
    (":path", "/large"),
];

#[test]
fn streams_that_nobody_reads_cost_little() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    let mut other = H2::connect(edge.site.https);
    assert_eq!(other.get("/large").status, 200);
    let before = memory(&edge);
    let mut hostile = Vec::new();
    for _ in 0..10 {
        let mut frames = Frames::connect(edge.site.https);
        // SETTINGS_INITIAL_WINDOW_SIZE = 0
        frames.frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
        for stream in 0..100 {
            frames.headers(2 * stream + 1, &GET, true);
        }
        hostile.push(frames);
    }
    for frames in &mut hostile {
        assert_eq!(frames.fate(199), Fate::Status(200));
    }
    let cost = memory(&edge).saturating_sub(before);
    // 1,000 streams of a stored page of 100 KB: the page is shared, not copied.
    assert!(cost < 60, "{cost} MiB for 1,000 stalled streams");
    assert_eq!(other.get("/large").body.len(), 100_000, "others are served");
    drop(hostile);
    eventually("the connections are gone", || {
        edge.metric("dhal_connections") == Some(1.0)
    });
}

#[test]
fn a_slow_reader_costs_little() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    edge.get("/large");
    let before = memory(&edge);
    let mut slow: Vec<Conn> = (0..100)
        .map(|_| {
            let mut conn = edge.connect();
            for _ in 0..50 {
                conn.request("GET", "/large", &[]);
            }
            conn
        })
        .collect();
    assert_eq!(edge.get("/large").body.len(), 100_000);
    let cost = memory(&edge).saturating_sub(before);
    assert!(cost < 40, "{cost} MiB for 100 readers that do not read");
    // And what was asked for is there when they do.
    for _ in 0..50 {
        assert_eq!(slow[0].response("GET").body.len(), 100_000);
    }
}

#[test]
fn continuation_frames_have_an_end() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    let mut frames = Frames::connect(edge.site.https);
    // HEADERS without END_HEADERS, then CONTINUATION for ever.
    frames.frame(1, 1, 1, &[0x82]);
    for _ in 0..2_000 {
        frames.frame(9, 0, 1, &[0; 100]);
    }
    assert_eq!(frames.fate(1), Fate::ConnectionEnded);
    assert_eq!(H2::connect(edge.site.https).get("/large").status, 200);
    assert!(!edge.stderr().contains("panicked"));
}

#[test]
fn floods_of_control_frames_end_or_are_borne() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    let floods: [(u8, u8, u32, &[u8]); 4] = [
        (6, 0, 0, &[0; 8]),          // PING
        (4, 0, 0, &[]),              // SETTINGS
        (8, 0, 0, &[0, 0, 0, 1]),    // WINDOW_UPDATE
        (2, 0, 1, &[0, 0, 0, 0, 1]), // PRIORITY
    ];
    for (kind, flags, stream, payload) in floods {
        let mut frames = Frames::connect(edge.site.https);
        for _ in 0..5_000 {
            frames.frame(kind, flags, stream, payload);
        }
        assert_eq!(
            H2::connect(edge.site.https).get("/large").status,
            200,
            "{kind}"
        );
    }
    assert!(memory(&edge) < 200, "{} MiB", memory(&edge));
    assert!(!edge.stderr().contains("panicked"));
}

#[test]
fn noise_is_no_danger() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = |n: usize| -> Vec<u8> {
        (0..n)
            .map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed.to_le_bytes()[0]
            })
            .collect()
    };
    for n in 1..40 {
        for address in [edge.site.http, edge.site.https] {
            let mut stream = TcpStream::connect(address).expect("accepted");
            let _ = stream.write_all(&noise(n * 37));
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = stream.read_to_end(&mut Vec::new());
        }
        let config = client_config(rustls::ALL_VERSIONS, &["h2"]);
        let mut frames = tls(edge.site.https, "shop.example", &config).expect("a handshake");
        let _ = frames.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
        let _ = frames.write_all(&noise(n * 37));
        let _ = frames.flush();
    }
    assert_eq!(shop.bytes(), 0);
    assert_eq!(edge.get("/").status, 200);
    assert!(!edge.stderr().contains("panicked"));
    eventually("nothing stays open", || {
        edge.metric("dhal_connections") == Some(0.0)
    });
}

#[test]
fn heads_cut_at_every_byte() {
    let shop = Origin::start(|r| page(format!("{} {}", r.target, r.body.len())));
    let edge = Edge::start(&smallest(&shop));
    let text = "POST /a?b HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    for at in 1..text.len() {
        let mut conn = edge.connect();
        conn.send(&text[..at]);
        std::thread::sleep(Duration::from_millis(1));
        conn.send(&text[at..]);
        assert_eq!(conn.response("POST").text(), "/a?b 12", "cut at {at}");
        assert_eq!(conn.get("/next").status, 200, "cut at {at}");
    }
    for at in 0..text.len() {
        let mut conn = edge.connect();
        conn.send(&text[..at]);
        conn.finish();
        let rest = conn.rest().expect("an end");
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "cut off at {at}");
    }
    assert_eq!(
        shop.count("/a"),
        text.len() - 1,
        "no cut request is complete"
    );
}

#[test]
fn empty_lines_do_not_keep_a_connection() {
    let shop = shop();
    let config = smallest(&shop) + "[server]\nheader_timeout = \"600ms\"\n";
    let edge = Edge::start(&config);
    let mut stream = TcpStream::connect(edge.site.http).expect("the edge accepts");
    // Waiting for the end paces the lines: one is due well before each time limit.
    let pause = Some(Duration::from_millis(100));
    stream.set_read_timeout(pause).expect("a time limit");
    eventually("the connection ends", || {
        let sent = stream.write_all(b"\r\n");
        sent.is_err() || matches!(stream.read(&mut [0; 64]), Ok(0))
    });
}
