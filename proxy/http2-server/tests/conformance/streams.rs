//! §5.1 and §6.8: the states of a stream, and leaving.

use http2_server::{Config, ErrorCode, StreamId};

use crate::peer::*;
use crate::{CLOSED, headers, joined, request};

#[test]
fn behind_the_end_of_a_request() {
    // Half closed (remote): the answer is still to come.
    for behind in [frame(DATA, 0, 1, b"x"), request(1, &[("a", "b")])] {
        let mut peer = Peer::new();
        assert_eq!(peer.events(&get(1)), ["1 GET /"]);
        peer.resets(&behind, 1, CLOSED);
        assert_eq!(peer.events(&get(3)), ["3 GET /"]);
    }
    let mut peer = Peer::new();
    let events = peer.events(&joined([&get(1), &frame(DATA, 0, 1, &[0; 100])]));
    assert_eq!(events[1..], ["1 malformed: DATA behind the end", "1 reset STREAM_CLOSED by us"]);
}

#[test]
fn behind_the_end_of_a_stream() {
    let complete = || {
        let mut peer = Peer::new();
        peer.events(&get(1));
        peer.respond(1, 10);
        assert_eq!((peer.frames().len(), peer.connection.open_streams()), (2, 0));
        peer
    };
    complete().dies(&request(1, &GET), CLOSED);
    let mut peer = complete();
    assert_eq!(peer.events(&frame(DATA, 0, 1, &[0; 100])), [] as [&str; 0]);
    assert_eq!(peer.one(RST_STREAM).code(), CLOSED);
    // These may have been on their way.
    peer.events(&window_update(1, 100));
    peer.events(&rst_stream(1));
    peer.events(&frame(PRIORITY, 0, 1, &[0; 5]));
    assert_eq!(peer.frames(), []);
}

#[test]
fn what_was_on_its_way_to_a_stream_that_we_reset() {
    let mut peer = Peer::new();
    peer.events(&post(1));
    peer.connection.reset(StreamId(1), ErrorCode::NO_ERROR);
    assert!(!peer.connection.is_open(StreamId(1)));
    assert_eq!(peer.one(RST_STREAM).code(), ErrorCode::NO_ERROR);
    let rest = [&frame(DATA, 0, 1, &[0; 9000])[..], &request(1, &[("a", "b")]), &rst_stream(1)];
    assert_eq!(peer.events(&rest.concat()), [] as [&str; 0]);
    assert_eq!(peer.frames(), []);
    // Commands for it are heard by nobody.
    peer.respond(1, 10);
    peer.connection.reset(StreamId(1), ErrorCode::CANCEL);
    peer.connection.release(StreamId(1), 10);
    peer.connection.send_trailers(StreamId(1), b"");
    assert_eq!((peer.frames(), peer.connection.unsent(StreamId(1))), (vec![], 0));
}

#[test]
fn a_reset_takes_what_was_queued_along() {
    let mut peer = Peer::with(&Config::default(), &[(4, 0)]);
    peer.events(&get(1));
    peer.respond(1, 50_000);
    assert_eq!(peer.connection.unsent(StreamId(1)), 50_000);
    assert_eq!(peer.events(&rst_stream(1)), ["1 reset CANCEL by peer"]);
    assert_eq!(peer.connection.unsent(StreamId(1)), 0);
    assert!(!peer.connection.is_open(StreamId(1)));
    assert!(peer.frames().iter().all(|frame| frame.kind == HEADERS));
    peer.events(&get(3));
    peer.respond(3, 7);
    peer.events(&window_update(3, 7));
    assert_eq!(peer.one(DATA).stream, 3);
}

#[test]
fn streams_beyond_the_setting_are_refused() {
    let config = Config { max_streams: 3, ..Config::default() };
    let mut peer = Peer::with(&config, &[]);
    for id in [1, 3, 5] {
        peer.events(&get(id));
    }
    assert_eq!(peer.events(&get(7)), [] as [&str; 0]);
    let reset = peer.one(RST_STREAM);
    assert_eq!((reset.stream, reset.code()), (7, ErrorCode::REFUSED_STREAM));
    peer.respond(1, 0);
    assert_eq!(peer.connection.open_streams(), 2);
    assert_eq!(peer.events(&get(9)), ["9 GET /"]);
}

#[test]
fn a_refused_block_still_counts_for_the_compression() {
    let mut peer = Peer::with(&Config { max_streams: 1, ..Config::default() }, &[]);
    peer.events(&get(1));
    // A literal with indexing, then the entry it made.
    let mut refused = block(&GET);
    refused.extend_from_slice(b"\x40\x01a\x01b");
    peer.events(&headers(5, 3, &refused));
    peer.respond(1, 0);
    let mut again = block(&GET);
    again.extend_from_slice(b"\xbe");
    assert_eq!(peer.events(&headers(5, 5, &again)), ["5 GET /"]);
    assert_eq!(peer.head.iter().collect::<Vec<_>>(), [(&b"a"[..], &b"b"[..])]);
}

#[test]
fn leaving_in_two_steps() {
    let mut peer = Peer::new();
    peer.events(&get(1));
    peer.connection.go_away(peer.now);
    let frames = peer.frames();
    assert_eq!((frames[0].number(), frames[0].code()), (0x7fff_ffff, ErrorCode::NO_ERROR));
    assert_eq!(frames[1].kind, PING);
    // It was on its way.
    assert_eq!(peer.events(&get(3)), ["3 GET /"]);
    peer.events(&frame(PING, ACK, 0, &frames[1].payload));
    let again = peer.one(PING);
    // It was in hand when the client heard of it, and is sent behind the first answer.
    assert_eq!(peer.events(&get(5)), ["5 GET /"]);
    peer.events(&frame(PING, ACK, 0, &again.payload));
    assert_eq!(peer.one(GOAWAY).number(), 5);
    // What comes now is ignored, but for what it does to the states of the connection.
    let late = [post(7), frame(DATA, 1, 7, &[0; 100]), rst_stream(7)];
    assert_eq!(peer.events(&late.concat()), [] as [&str; 0]);
    assert!(!peer.connection.is_finished());
    peer.respond(1, 10);
    peer.respond(3, 10);
    peer.respond(5, 10);
    assert!(!peer.connection.is_finished(), "something is to be written");
    assert_eq!(peer.frames().len(), 6);
    assert!(peer.connection.is_finished());
}

#[test]
fn leaving_without_an_answer() {
    let mut peer = Peer::new();
    peer.connection.go_away(peer.now);
    peer.now += std::time::Duration::from_secs(1);
    peer.frames();
    assert!(!peer.connection.is_finished());
    peer.events(&[]);
    assert_eq!(peer.one(GOAWAY).number(), 0);
    assert!(peer.connection.is_finished());
    // Or at once, with a second call.
    let mut peer = Peer::new();
    peer.connection.go_away(peer.now);
    peer.connection.go_away(peer.now);
    assert_eq!(peer.frames().len(), 3);
    assert!(peer.connection.is_finished());
}

#[test]
fn the_client_leaves() {
    let mut peer = Peer::new();
    peer.events(&joined([&get(1), &frame(GOAWAY, 0, 0, &[0; 8])]));
    assert!(!peer.connection.is_finished());
    peer.respond(1, 100_000);
    peer.frames();
    peer.events(&window_update(0, 100_000));
    peer.events(&window_update(1, 100_000));
    peer.frames();
    assert!(peer.connection.is_finished());
}
