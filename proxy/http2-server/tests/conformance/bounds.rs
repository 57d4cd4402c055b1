//! What a client can make us do, and what it costs.

use http2_server::{Config, StreamId};

use crate::peer::*;
use crate::{CALM, get_with, headers, joined, request};

#[test]
fn heads_that_are_too_large() {
    let mut peer = Peer::with(&Config { max_head: 1000, ..Config::default() }, &[]);
    let long = "x".repeat(1000);
    assert_eq!(peer.events(&get_with(&[("a", &long)])), ["1 too large"]);
    peer.respond(1, 0);
    let many: Vec<_> = (0..100).map(|_| ("a", "b")).collect();
    let mut peer = Peer::new();
    assert_eq!(peer.events(&get_with(&many)), ["1 too large"]);
    assert_eq!(peer.head.method(), "GET");
    assert_eq!(peer.events(&get(3)), ["3 GET /"]);
    // References to a large entry: 127 octets mean 400 KB.
    let mut bomb = block(&GET);
    bomb.extend_from_slice(b"\x40\x01a\x7f\x81\x1f");
    bomb.extend_from_slice(&[b'x'; 4096]);
    bomb.extend_from_slice(&[0xbe; 127]);
    let mut peer = Peer::new();
    assert!(peer.send(&headers(5, 1, &bomb)).is_err(), "the entry is larger than the table");
    let mut bomb = block(&GET);
    bomb.extend_from_slice(b"\x40\x01a\x7f\xa1\x1e");
    bomb.extend_from_slice(&[b'x'; 4000]);
    bomb.extend_from_slice(&[0xbe; 90]);
    let mut peer = Peer::new();
    assert_eq!(peer.events(&headers(5, 1, &bomb)), ["1 too large"]);
}

/// Sends a frame again and again; how often, before it was too much.
fn flood(peer: &mut Peer, mut octets: impl FnMut(u32) -> Vec<u8>, is_read: bool) -> Option<u32> {
    for n in 0..20_000 {
        match peer.send(&octets(n)) {
            Ok(_) => {}
            Err(fault) => {
                assert_eq!(fault.code, CALM, "{fault}");
                return Some(n);
            }
        }
        if is_read {
            peer.frames();
        }
        assert!(peer.connection.memory() < 400_000, "{}", peer.connection.memory());
    }
    None
}

#[test]
fn floods_of_frames() {
    let rows: [(&str, Vec<u8>); 9] = [
        ("CVE-2019-9512", frame(PING, 0, 0, &[0; 8])),
        ("CVE-2019-9513", frame(PRIORITY, 0, 3, &[0; 5])),
        ("CVE-2019-9515", settings(&[])),
        ("settings with windows", settings(&[(4, 0), (4, 1 << 30)].repeat(1000))),
        ("CVE-2019-9518", frame(DATA, 0, 1, &[])),
        ("padding", frame(DATA, PADDED, 1, &[&[100][..], &[0; 100]].concat())),
        ("WINDOW_UPDATE", window_update(1, 1)),
        ("unknown", frame(77, 0, 0, &[])),
        ("GOAWAY", frame(GOAWAY, 0, 0, &[0; 8])),
    ];
    for (what, octets) in rows {
        for is_read in [true, false] {
            let mut peer = Peer::new();
            peer.events(&post(1));
            let count = flood(&mut peer, |_| octets.clone(), is_read);
            assert!(count.is_some_and(|n| (500..1100).contains(&n)), "{what}: {count:?}");
        }
    }
}

#[test]
fn rapid_resets() {
    let id = |n| n * 2 + 1;
    type Round<'a> = &'a dyn Fn(u32) -> Vec<u8>;
    let rows: [(&str, Round<'_>); 4] = [
        ("CVE-2023-44487", &|n| joined([&get(id(n)), &rst_stream(id(n))])),
        ("CVE-2025-8671: a window", &|n| joined([&get(id(n)), &window_update(id(n), 0)])),
        ("CVE-2025-8671: DATA", &|n| joined([&get(id(n)), &frame(DATA, 1, id(n), b"")])),
        ("malformed", &|n| request(id(n), &[("a", "b")])),
    ];
    for (what, octets) in rows {
        let count = flood(&mut Peer::new(), octets, true);
        assert!(count.is_some_and(|n| (200..300).contains(&n)), "{what}: {count:?}");
    }
    // Streams beyond the bound.
    let count = flood(&mut Peer::new(), |n| get(id(n)), true);
    assert!(count.is_some_and(|n| (350..400).contains(&n)), "{count:?}");
}

#[test]
fn a_browser_that_leaves_pages_is_not_cut_off() {
    let mut peer = Peer::new();
    let mut id = 1;
    for _ in 0..60 {
        let page: Vec<u32> = (0..100).map(|n| id + 2 * n).collect();
        id += 200;
        for id in &page {
            peer.events(&get(*id));
        }
        for id in page {
            peer.events(&rst_stream(id));
        }
        peer.frames();
        peer.now += std::time::Duration::from_secs(2);
    }
    assert_eq!(peer.events(&get(id)).len(), 1);
}

#[test]
fn a_download_with_many_window_updates_is_not_cut_off() {
    let mut peer = Peer::new();
    peer.events(&get(1));
    peer.respond(1, 64 << 20);
    let mut received = 0;
    while peer.connection.is_open(StreamId(1)) {
        for data in peer.frames().iter().filter(|frame| frame.kind == DATA) {
            received += data.payload.len();
            let len = data.payload.len() as u32;
            peer.events(&joined([&window_update(0, len), &window_update(1, len)]));
        }
    }
    received +=
        peer.frames().iter().filter(|f| f.kind == DATA).map(|f| f.payload.len()).sum::<usize>();
    assert_eq!(received, 64 << 20);
}

#[test]
fn content_that_comes_piece_by_piece_earns_its_window_updates() {
    let mut peer = Peer::new();
    peer.events(&get(1));
    peer.connection.send_head(StreamId(1), &block(&[(":status", "200")]), false);
    for _ in 0..5_000 {
        peer.connection.send_content(StreamId(1), vec![b'x'; 10_000].into(), false);
        let frames = peer.frames();
        let length: usize = frames.iter().filter(|f| f.kind == DATA).map(|f| f.payload.len()).sum();
        assert_eq!(length, 10_000);
        peer.events(&joined([&window_update(0, 10_000), &window_update(1, 10_000)]));
    }
}

#[test]
fn windows_in_crumbs() {
    // CVE-2019-9511.
    let mut peer = Peer::with(&Config::default(), &[(4, 0)]);
    peer.events(&get(1));
    peer.respond(1, 1 << 20);
    let count = flood(&mut peer, |_| window_update(1, 1), true);
    assert!(count.is_some_and(|n| (400..600).contains(&n)), "{count:?}");
}

#[test]
fn blocks_without_end() {
    // CVE-2024-27316.
    let mut peer = Peer::new();
    peer.events(&headers(END_STREAM, 1, &block(&GET)));
    let count = flood(&mut peer, |_| frame(CONTINUATION, 0, 1, &[0; 100]), true);
    assert!(count.is_some_and(|n| n < 20), "{count:?}");
    let mut peer = Peer::new();
    peer.events(&headers(END_STREAM, 1, &block(&GET)));
    let count = flood(&mut peer, |_| frame(CONTINUATION, 0, 1, &[0; 16_384]), true);
    assert!(count.is_some_and(|n| n < 6), "{count:?}");
}

#[test]
fn answers_that_nobody_reads() {
    // Time enough that the rate is no bound: the queue is.
    let mut peer = Peer::new();
    let mut sent = 0;
    loop {
        peer.now += std::time::Duration::from_millis(10);
        sent += 1;
        if let Err(fault) = peer.send(&frame(PING, 0, 0, &[0; 8])) {
            assert_eq!(fault.code, CALM);
            break;
        }
        assert!(sent < 10_000 && peer.connection.memory() < 200_000);
    }
    // The same with a peer that reads a little.
    let mut peer = Peer::new();
    for _ in 0..20_000 {
        peer.now += std::time::Duration::from_millis(10);
        peer.events(&frame(PING, 0, 0, &[0; 8]));
        peer.write(17);
    }
}

#[test]
fn a_hundred_streams_that_nobody_reads_are_cheap() {
    let mut peer = Peer::with(&Config::default(), &[(4, 0)]);
    for id in (1..200).step_by(2) {
        peer.events(&get(id));
        peer.connection.respond(StreamId(id), &[0x88; 200], Some(vec![0; 100_000].into()), true);
    }
    peer.frames();
    let memory = peer.connection.memory();
    println!("{memory} octets for 100 streams");
    assert!(memory < 100 * 512, "{memory}");
}

#[test]
fn a_quiet_connection_is_cheap() {
    let mut peer = Peer::new();
    for id in (1..200).step_by(2) {
        peer.events(&get(id));
        peer.respond(id, 30_000);
        peer.frames();
        peer.events(&window_update(0, 30_000));
    }
    peer.frames();
    let before = peer.connection.memory();
    peer.connection.shrink();
    let own = size_of_val(&peer.connection);
    println!("{own} octets, {before} on the heap, {} when quiet", peer.connection.memory());
    // Nothing of these requests went into the table; what is left are the ids of streams that have ended.
    assert!(peer.connection.memory() <= 128 * 4, "{}", peer.connection.memory());
    assert!(own < 1024, "{own}");
    peer.events(&get(201));
    peer.respond(201, 10);
    assert_eq!(peer.frames().len(), 2);
}
