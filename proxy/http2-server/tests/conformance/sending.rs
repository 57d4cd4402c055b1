//! §5.2 and §6.9: flow control of what we send, and the order in which it goes.

use bytes::Bytes;
use http2_server::{Config, StreamId};

use crate::peer::*;
use crate::{FLOW, PROTOCOL, joined};

#[test]
fn content_waits_for_windows() {
    let mut peer = Peer::with(&Config::default(), &[(4, 10)]);
    peer.events(&get(1));
    peer.respond(1, 100);
    let frames = peer.frames();
    assert_eq!(frames.len(), 2, "head and content");
    assert_eq!((frames[1].payload.len(), frames[1].flags), (10, 0));
    assert_eq!(peer.connection.unsent(StreamId(1)), 90);
    peer.events(&window_update(1, 1));
    assert_eq!(peer.one(DATA).payload.len(), 1);
    // §6.9.2: a smaller initial window takes back what was given.
    peer.events(&settings(&[(4, 0)]));
    peer.events(&window_update(1, 15));
    assert_eq!(peer.one(SETTINGS).flags, ACK, "-10 + 15 leaves 5");
}

#[test]
fn windows_below_zero() {
    let mut peer = Peer::with(&Config::default(), &[(4, 50)]);
    peer.events(&get(1));
    peer.respond(1, 100);
    assert_eq!(peer.frames()[1].payload.len(), 50);
    // 50 of 50 are used; with 20 the window is -30.
    peer.events(&settings(&[(4, 20)]));
    peer.events(&window_update(1, 30));
    assert!(peer.frames().iter().all(|frame| frame.kind == SETTINGS));
    peer.events(&window_update(1, 2));
    assert_eq!(peer.one(DATA).payload.len(), 2);
    // And with 40 of more it is 20.
    peer.events(&settings(&[(4, 40)]));
    assert_eq!(peer.one(DATA).payload.len(), 20);
    peer.events(&window_update(1, 1000));
    let last = peer.one(DATA);
    assert_eq!((last.payload.len(), last.flags), (28, END_STREAM));
    assert_eq!(peer.connection.open_streams(), 0);
}

#[test]
fn windows_that_overflow() {
    let mut peer = Peer::new();
    peer.events(&get(1));
    peer.resets(&window_update(1, 0x7fff_ffff), 1, FLOW);
    peer.events(&get(3));
    peer.resets(&window_update(3, 0), 3, PROTOCOL);
    peer.events(&get(5));
    peer.events(&window_update(5, 0x7fff_ffff - 65_535));
    peer.dies(&settings(&[(4, 65_536)]), FLOW);
}

#[test]
fn the_connections_window_is_shared_in_turns() {
    let mut peer = Peer::with(&Config::default(), &[(4, 1 << 20)]);
    for id in [1, 3, 5] {
        peer.events(&get(id));
    }
    for id in [1, 3, 5] {
        peer.respond(id, 100_000);
    }
    let frames = peer.frames();
    let data: Vec<_> = frames.iter().filter(|frame| frame.kind == DATA).collect();
    assert_eq!(data.iter().map(|frame| frame.payload.len()).sum::<usize>(), 65_535);
    assert!(data.iter().all(|frame| frame.payload.len() <= 16_384));
    peer.events(&window_update(0, 1 << 20));
    let order: Vec<u32> = peer.frames().iter().map(|frame| frame.stream).collect();
    // While all have content left, none has two frames in a row.
    assert!(order[..9].windows(2).all(|pair| pair[0] != pair[1]), "{order:?}");
    assert_eq!(peer.connection.open_streams(), 0);
}

#[test]
fn heads_and_small_answers_pass_content_that_waits() {
    let mut peer = Peer::new();
    peer.events(&joined([&get(1), &get(3), &get(5)]));
    peer.respond(1, 1_000_000);
    peer.respond(3, 0);
    peer.connection.send_head(StreamId(5), b"\x88", false);
    peer.connection.send_content(StreamId(5), Bytes::new(), true);
    peer.frames();
    assert_eq!((peer.connection.open_streams(), peer.connection.is_open(StreamId(1))), (1, true));
}

#[test]
fn frames_are_made_no_further_ahead_than_needed() {
    let mut peer = Peer::with(&Config::default(), &[(4, 1 << 30)]);
    peer.events(&window_update(0, 1 << 30));
    peer.events(&get(1));
    peer.respond(1, 1_000_000);
    let unsent = peer.connection.unsent(StreamId(1));
    assert!((900_000..950_000).contains(&unsent), "{unsent}");
    // Heads wait as well, and go with their stream.
    for id in (3..200).step_by(2) {
        peer.events(&get(id));
        peer.connection.respond(StreamId(id), &[b'h'; 1000], None, true);
        assert!(peer.connection.is_open(StreamId(id)));
    }
    let before = peer.connection.memory();
    for id in (3..200).step_by(2) {
        peer.events(&rst_stream(id));
    }
    assert!(before < 200_000, "{before}");
    assert!(peer.frames().iter().all(|frame| frame.stream == 1));
}

#[test]
fn a_caller_sees_how_much_is_unsent() {
    let mut peer = Peer::with(&Config::default(), &[(4, 10_000)]);
    peer.events(&get(1));
    peer.connection.respond(StreamId(1), b"\x88", None, false);
    peer.connection.send_content(StreamId(1), vec![0; 40_000].into(), false);
    peer.frames();
    assert_eq!(peer.connection.unsent(StreamId(1)), 30_000);
    for left in [20_000, 10_000] {
        assert_eq!(peer.events(&window_update(1, 10_000)), [] as [&str; 0]);
        assert_eq!(peer.connection.unsent(StreamId(1)), left);
    }
    peer.connection.send_content(StreamId(1), vec![0; 10].into(), true);
    peer.events(&window_update(1, 100_000));
    peer.frames();
    assert!(!peer.connection.is_open(StreamId(1)));
}

#[test]
fn interim_heads_content_and_trailers() {
    let mut peer = Peer::new();
    peer.events(&get(1));
    let stream = StreamId(1);
    peer.connection.send_head(stream, &block(&[(":status", "103")]), false);
    peer.connection.send_head(stream, b"\x88", false);
    peer.connection.send_content(stream, Bytes::from_static(b"one"), false);
    peer.connection.send_trailers(stream, &block(&[("a", "b")]));
    peer.connection.send_content(stream, Bytes::from_static(b"behind the end"), true);
    let frames = peer.frames();
    let kinds: Vec<_> = frames.iter().map(|frame| (frame.kind, frame.flags)).collect();
    assert_eq!(kinds, [(HEADERS, 4), (HEADERS, 4), (DATA, 0), (HEADERS, 5)]);
    assert_eq!(peer.connection.open_streams(), 0);
}

#[test]
fn order_survives_a_full_output() {
    let mut peer = Peer::with(&Config::default(), &[(4, 1 << 20)]);
    peer.events(&window_update(0, 1 << 20));
    peer.events(&joined([&get(1), &get(3)]));
    peer.respond(1, 200_000);
    let stream = StreamId(3);
    peer.connection.send_head(stream, &block(&[(":status", "103")]), false);
    peer.connection.respond(stream, b"\x88", Some(vec![1; 20_000].into()), false);
    peer.connection.send_content(stream, vec![2; 10].into(), false);
    peer.connection.send_trailers(stream, &block(&[("a", "b")]));
    let frames: Vec<_> = peer.frames().into_iter().filter(|frame| frame.stream == 3).collect();
    let kinds: Vec<_> = frames.iter().map(|frame| (frame.kind, frame.payload.len())).collect();
    let lengths = [16_384, 20_000 - 16_384, 10];
    assert_eq!(kinds[1..5], [(HEADERS, 1), (DATA, lengths[0]), (DATA, lengths[1]), (DATA, 10)]);
    assert_eq!((frames[5].kind, frames[5].flags, frames.len()), (HEADERS, 5, 6));
}

#[test]
fn a_smaller_table_of_the_peer_is_acknowledged_in_the_next_block() {
    let mut peer = Peer::with(&Config::default(), &[(1, 100)]);
    peer.events(&joined([&get(1), &get(3)]));
    peer.respond(1, 0);
    peer.respond(3, 0);
    let frames = peer.frames();
    assert_eq!((&frames[0].payload[..], &frames[1].payload[..]), (&b"\x20\x88"[..], &b"\x88"[..]));
}

#[test]
fn an_end_is_sent_once() {
    let mut peer = Peer::new();
    peer.events(&post(1));
    peer.connection.send_head(StreamId(1), b"\x88", false);
    peer.connection.send_content(StreamId(1), Bytes::new(), true);
    assert_eq!(peer.frames().len(), 2);
    // The client has not ended its side, and what it does to the windows wakes nothing.
    peer.events(&settings(&[(4, 100)]));
    peer.events(&window_update(1, 100));
    assert_eq!(peer.frames().len(), 1);
}
