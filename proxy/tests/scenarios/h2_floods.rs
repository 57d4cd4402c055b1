//! Clients of HTTP/2 that cause work or waits, and ask for nothing.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use crate::{
    edge::Edge,
    h2::{Frames, H2, frame, headers},
    measure::settles,
    origin::{Origin, page},
    relaying::{own_shop, read_head},
    serving::plain,
    tools::{Gate, eventually},
};

/// RFC 9113 §7.
const CALM: u32 = 0xb;

const LARGE: usize = 200_000;

fn get(path: &str) -> [(&str, &str); 4] {
    asking("GET", path)
}

fn asking<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [
        (":method", method),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", path),
    ]
}

/// Requests of a server that are under way.
fn in_flight(edge: &Edge) -> u64 {
    let (_, status) = edge.admin("GET", "/status");
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let in_flight = &status["upstreams"][0]["servers"][0]["in_flight"];
    in_flight.as_u64().expect("a number")
}

#[test]
fn each_flood_is_told_to_calm_down() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.target.as_str() {
        "/slow" => page("late").when(&closed),
        "/large" => page("x".repeat(LARGE)).fresh(600),
        _ => page("page").fresh(600),
    });
    let edge = Edge::start_tls(&plain(&shop));
    let mut other = H2::connect(edge.site.https);
    assert_eq!(other.get("/large").status, 200);
    // More than may come at once, and than tokens come back while they are read.
    const MANY: u32 = 8_000;
    let same = |one: Vec<u8>| one.repeat(MANY as usize);
    let each = |f: &dyn Fn(u32) -> Vec<Vec<u8>>, streams: u32| -> Vec<u8> {
        let frames = (0..streams).flat_map(|n| f(2 * n + 1));
        frames.collect::<Vec<_>>().concat()
    };
    let reset = |stream| frame(3, 0, stream, &8u32.to_be_bytes());
    let begun = |first: Vec<u8>, more: Vec<u8>| [first, same(more)].concat();
    let post = asking("POST", "/slow");
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("PING", same(frame(6, 0, 0, &[1; 8]))),
        ("SETTINGS", same(frame(4, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]))),
        ("PRIORITY", same(frame(2, 0, 1, &[0, 0, 0, 0, 1]))),
        ("an unknown type", same(frame(77, 0, 0, b"?"))),
        ("WINDOW_UPDATE", same(frame(8, 0, 0, &[0, 0, 0, 1]))),
        (
            "empty DATA",
            begun(headers(1, &post, false), frame(0, 0, 1, &[])),
        ),
        (
            "DATA of padding",
            begun(headers(1, &post, false), frame(0, 8, 1, &[3, 0, 0, 0])),
        ),
        (
            "a window in crumbs",
            begun(
                [
                    frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]),
                    headers(1, &get("/large"), true),
                ]
                .concat(),
                frame(8, 0, 1, &[0, 0, 0, 1]),
            ),
        ),
        (
            "CONTINUATION",
            begun(frame(1, 1, 1, &[]), frame(9, 0, 1, &[])),
        ),
        (
            "reset by the client",
            each(&|n| vec![headers(n, &get("/slow"), true), reset(n)], 1_500),
        ),
        (
            "uploads reset by the client",
            each(&|n| vec![headers(n, &get("/"), false), reset(n)], 1_500),
        ),
        (
            "reset by the edge",
            each(
                &|n| vec![headers(n, &post, false), frame(8, 0, n, &[0; 4])],
                1_500,
            ),
        ),
        (
            "malformed",
            each(&|n| vec![headers(n, &get("not a path")[..3], true)], 1_500),
        ),
    ];
    for (what, bytes) in rows {
        let mut frames = Frames::connect(edge.site.https);
        frames.send(&bytes);
        assert_eq!(frames.error(), Some(CALM), "{what}");
        assert_eq!(other.get("/large").body.len(), LARGE, "{what}");
    }
    // Although the shop has not said a word.
    eventually("nothing is under way", || in_flight(&edge) == 0);
    gate.open();
    eventually("one connection is left", || {
        edge.metric("dhal_connections") == Some(1.0)
    });
    assert!(!edge.stderr().contains("panicked"));
}

/// An upload that goes on beside an answer that is not read: neither shall wake the other without end.
#[test]
fn a_stuck_connection_costs_no_time() {
    let shop = own_shop(|stream| {
        if read_head(&stream).is_some() {
            let mut piece = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n".to_vec();
            while (&stream).write_all(&piece).is_ok() {
                piece = vec![b'x'; 100_000];
            }
        }
    });
    let edge = Edge::start_tls(&plain(&shop));
    let mut stuck: Vec<Frames> = (0..4)
        .map(|_| {
            let mut frames = Frames::connect(edge.site.https);
            frames.window(0x7fff_ffff);
            frames.more(0, 0x7fff_0000);
            for stream in [1, 3, 5, 7] {
                frames.headers(stream, &asking("POST", "/"), false);
            }
            frames
        })
        .collect();
    eventually("all are under way", || in_flight(&edge) == 16);
    // The kernel takes no more, and nobody asks it again and again.
    settles(&edge);
    // And goes on where the client does.
    let mut read = 0;
    while read < 1_000_000 {
        let (kind, _, _, payload) = stuck[0].next().expect("more content");
        read += if kind == 0 { payload.len() } else { 0 };
    }
}

/// A client that opens no window is not waited for, whatever else it says.
#[test]
fn answers_that_nobody_takes_end_the_connection() {
    let shop = Origin::start(|_| page("page").fresh(600));
    let config = plain(&shop).replace("[[routes]]", "[[routes]]\nhost = \"shop.example\"");
    let edge = Edge::start_tls(&(config + "[server]\nkeepalive_timeout = \"5s\"\n"));
    H2::connect(edge.site.https).get("/");
    let mut nowhere = get("/");
    nowhere[2].1 = "nowhere.example";
    let asked = [(get("/"), true), (nowhere, true), (nowhere, false)];
    let mut clients: Vec<Frames> = asked
        .iter()
        .map(|(fields, end)| {
            let mut frames = Frames::connect(edge.site.https);
            frames.window(0);
            frames.headers(1, fields, *end);
            frames
        })
        .collect();
    let deadline = Instant::now() + Duration::from_secs(90);
    eventually("they are served", || {
        edge.metric("dhal_connections") == Some(3.0)
    });
    while edge.metric("dhal_connections") != Some(0.0) {
        assert!(Instant::now() < deadline, "waited in vain for the end");
        for frames in &mut clients {
            frames.frame(6, 0, 0, &[1; 8]);
            frames.patience(Duration::from_millis(500));
            while frames.next().is_some() {}
        }
    }
}
