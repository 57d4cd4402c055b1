//! §5.2 and §6.9: flow control of what the client sends.

use http2_server::{Config, ErrorCode, StreamId};

use crate::peer::*;
use crate::{FLOW, joined};

#[test]
fn windows_open_when_content_is_released() {
    let config = Config { stream_window: 100_000, connection_window: 150_000, ..Config::default() };
    let mut peer = Peer::with(&config, &[]);
    peer.events(&post(1));
    for _ in 0..6 {
        peer.events(&frame(DATA, 0, 1, &[0; 16_000]));
    }
    assert_eq!(peer.frames(), []);
    peer.connection.release(StreamId(1), 49_999);
    assert_eq!(peer.frames(), []);
    peer.connection.release(StreamId(1), 1);
    assert_eq!((peer.one(WINDOW_UPDATE).stream, peer.frames()), (1, vec![]));
    peer.connection.release(StreamId(1), 25_000);
    let update = peer.one(WINDOW_UPDATE);
    assert_eq!((update.stream, update.number()), (0, 75_000));
    // No more than there was.
    peer.connection.release(StreamId(1), usize::MAX);
    assert_eq!(peer.frames(), []);
}

#[test]
fn more_than_a_window_allows() {
    let config = Config { stream_window: 20_000, ..Config::default() };
    let mut peer = Peer::with(&config, &[]);
    peer.events(&joined([&post(1), &frame(DATA, 0, 1, &[0; 16_384])]));
    peer.dies(&frame(DATA, 0, 1, &[0; 3617]), FLOW);
    let config = Config { connection_window: 65_535, ..Config::default() };
    let mut peer = Peer::with(&config, &[]);
    peer.events(&post(1));
    for _ in 0..3 {
        peer.events(&frame(DATA, 0, 1, &[0; 16_384]));
    }
    peer.dies(&frame(DATA, 0, 1, &[0; 16_384]), FLOW);
}

#[test]
fn a_window_of_ours_counts_from_its_acknowledgement() {
    let mut peer = Peer::silent(&Config { stream_window: 10, ..Config::default() });
    peer.events(&joined([PREFACE, &settings(&[]), &post(1)]));
    peer.events(&frame(DATA, 0, 1, &[0; 10_000]));
    peer.events(&frame(SETTINGS, ACK, 0, &[]));
    // The stream is at -9,990 now, and opens no more by itself.
    peer.dies(&frame(DATA, 0, 1, &[0; 64]), FLOW);
}

#[test]
fn padding_and_content_of_nobody_give_the_window_back_at_once() {
    let config = Config { connection_window: 65_535, ..Config::default() };
    let mut peer = Peer::with(&config, &[]);
    peer.events(&post(1));
    peer.connection.reset(StreamId(1), ErrorCode::NO_ERROR);
    peer.frames();
    let mut opened = 0;
    for _ in 0..50 {
        assert_eq!(peer.events(&frame(DATA, 0, 1, &[0; 10_000])), [] as [&str; 0]);
        opened += peer.frames().iter().map(|frame| frame.number()).sum::<u32>();
    }
    assert!(opened >= 450_000, "{opened}");
    peer.events(&post(3));
    for _ in 0..500 {
        // Padding alone needs no one who releases it; the stream's window is opened with its content.
        peer.events(&frame(DATA, PADDED, 3, &[&[255][..], &[0; 255 + 64]].concat()));
        peer.connection.release(StreamId(3), 64);
        peer.frames();
    }
}

#[test]
fn content_of_a_stream_that_goes_is_given_back() {
    let config = Config { connection_window: 65_535, ..Config::default() };
    let mut peer = Peer::with(&config, &[]);
    for id in (1..100).step_by(2) {
        peer.events(&joined([&post(id), &frame(DATA, 0, id, &[0; 16_384])]));
        if id % 4 == 1 {
            peer.events(&rst_stream(id));
        } else {
            peer.connection.reset(StreamId(id), ErrorCode::CANCEL);
        }
        peer.frames();
    }
}
