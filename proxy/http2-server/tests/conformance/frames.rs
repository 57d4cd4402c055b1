//! §3.4, §4, §6: prefaces, and frames that are right or wrong by themselves.

use http2_server::{Config, ErrorCode};

use crate::peer::*;
use crate::{COMPRESSION, FLOW, PROTOCOL, SIZE, headers, joined, request};

#[test]
fn both_prefaces() {
    let mut peer = Peer::silent(&Config::default());
    let frames = peer.frames();
    assert_eq!(frames.len(), 2);
    assert_eq!((frames[0].kind, frames[0].flags, frames[0].stream), (SETTINGS, 0, 0));
    let entries: Vec<&[u8]> = frames[0].payload.chunks(6).collect();
    assert!(entries.contains(&&[0, 3, 0, 0, 0, 128][..]));
    assert!(entries.contains(&&[0, 4, 0, 4, 0, 0][..]));
    assert_eq!((frames[1].kind, frames[1].number()), (WINDOW_UPDATE, 1_048_576 - 65_535));
    assert_eq!(peer.events(PREFACE), [] as [&str; 0]);
    assert_eq!(peer.events(&settings(&[])), [] as [&str; 0]);
    assert_eq!(
        peer.one(SETTINGS),
        Frame { kind: SETTINGS, flags: ACK, stream: 0, payload: vec![] }
    );
}

#[test]
fn what_is_not_the_preface() {
    for octets in [&b"GET / HTTP/1.1\r\n"[..], b"PRX", b"\0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r"] {
        Peer::silent(&Config::default()).dies(octets, PROTOCOL);
    }
    let first: [Vec<u8>; 3] = [get(1), frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, ACK, 0, &[])];
    for first in first {
        Peer::silent(&Config::default()).dies(&joined([PREFACE, &first]), PROTOCOL);
    }
}

// §4: frames.

#[test]
fn frames_that_end_the_connection() {
    let padded = |pad, rest: &[u8]| [&[pad][..], rest].concat();
    let rows: Vec<(&str, Vec<u8>, ErrorCode)> = vec![
        ("§4.2 a large frame", frame(11, 0, 0, &[0; 16_385]), SIZE),
        ("§4.3 a block that is none", headers(5, 1, b"\xff\xff\xff\xff\xff\xff"), COMPRESSION),
        ("§5.1 DATA of an idle stream", frame(DATA, 0, 1, b"x"), PROTOCOL),
        ("§5.1 RST_STREAM of an idle stream", rst_stream(1), PROTOCOL),
        ("§5.1 WINDOW_UPDATE of an idle stream", window_update(1, 1), PROTOCOL),
        ("§5.1.1 an even stream", request(2, &GET), PROTOCOL),
        ("§5.1.1 an earlier stream", joined([&get(5), &get(3)]), PROTOCOL),
        ("§6.1 DATA of the connection", frame(DATA, 0, 0, b"x"), PROTOCOL),
        ("§6.1 padding", joined([&post(1), &frame(DATA, PADDED, 1, &padded(2, b"x"))]), PROTOCOL),
        ("§6.1 no padding", joined([&post(1), &frame(DATA, PADDED, 1, b"")]), SIZE),
        ("§6.2 HEADERS of the connection", request(0, &GET), PROTOCOL),
        ("§6.2 padding", headers(5 | PADDED, 1, &padded(9, b"12345678")), PROTOCOL),
        ("§6.2 no padding", headers(5 | PADDED, 1, b""), SIZE),
        ("§6.2 no priority", headers(5 | PRIORITIZED, 1, b"1234"), SIZE),
        ("§6.3 PRIORITY of the connection", frame(PRIORITY, 0, 0, &[0; 5]), PROTOCOL),
        ("§6.3 PRIORITY of four octets", frame(PRIORITY, 0, 1, &[0; 4]), SIZE),
        ("§6.3 a loop", frame(PRIORITY, 0, 3, &[0, 0, 0, 3, 0]), PROTOCOL),
        ("§6.4 RST_STREAM of the connection", rst_stream(0), PROTOCOL),
        ("§6.4 RST_STREAM of three octets", frame(RST_STREAM, 0, 1, &[0; 3]), SIZE),
        ("§6.5 SETTINGS of a stream", frame(SETTINGS, 0, 1, &[]), PROTOCOL),
        ("§6.5 SETTINGS of five octets", frame(SETTINGS, 0, 0, &[0; 5]), SIZE),
        ("§6.5 ACK with settings", frame(SETTINGS, ACK, 0, &[0; 6]), SIZE),
        ("§6.5.2 ENABLE_PUSH", settings(&[(2, 2)]), PROTOCOL),
        ("§6.5.2 INITIAL_WINDOW_SIZE", settings(&[(4, 1 << 31)]), FLOW),
        ("§6.5.2 MAX_FRAME_SIZE, small", settings(&[(5, 16_383)]), PROTOCOL),
        ("§6.5.2 MAX_FRAME_SIZE, large", settings(&[(5, 1 << 24)]), PROTOCOL),
        ("§6.6 PUSH_PROMISE", joined([&get(1), &frame(5, 4, 1, &[0, 0, 0, 2])]), PROTOCOL),
        ("§6.7 PING of a stream", frame(PING, 0, 1, &[0; 8]), PROTOCOL),
        ("§6.7 PING of seven octets", frame(PING, 0, 0, &[0; 7]), SIZE),
        ("§6.8 GOAWAY of a stream", frame(GOAWAY, 0, 1, &[0; 8]), PROTOCOL),
        ("§6.8 GOAWAY of seven octets", frame(GOAWAY, 0, 0, &[0; 7]), SIZE),
        ("§6.9 WINDOW_UPDATE of three octets", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), SIZE),
        ("§6.9 WINDOW_UPDATE by nothing", window_update(0, 0), PROTOCOL),
        ("§6.9.1 a window too large", window_update(0, 0x7fff_ffff), FLOW),
        ("§6.10 CONTINUATION of nothing", frame(CONTINUATION, 4, 1, b""), PROTOCOL),
        ("§6.10 behind the end", joined([&get(1), &frame(CONTINUATION, 4, 1, b"")]), PROTOCOL),
        ("§6.10 of another stream", joined([&headers(1, 1, b""), &frame(9, 4, 3, b"")]), PROTOCOL),
        (
            "§6.2 a block is cut",
            joined([&headers(1, 1, b""), &frame(PING, 0, 0, &[0; 8])]),
            PROTOCOL,
        ),
        (
            "§6.2 by an unknown frame",
            joined([&headers(1, 1, b""), &frame(99, 0, 1, b"")]),
            PROTOCOL,
        ),
        ("§6.2 by a second one", joined([&headers(1, 1, b""), &get(1)]), PROTOCOL),
        ("RFC 9218 §2.1", settings(&[(9, 2)]), PROTOCOL),
    ];
    for (what, octets, code) in rows {
        println!("{what}");
        Peer::new().dies(&octets, code);
    }
}

#[test]
fn what_is_unknown_is_ignored() {
    let mut peer = Peer::new();
    peer.events(&frame(99, 0xff, 7, b"whatever"));
    peer.events(&frame(PRIORITY, 0, 9, &[0; 5]));
    peer.events(&settings(&[(0xff, 7), (1, 0), (6, 10)]));
    assert_eq!(peer.frames().len(), 1, "just the acknowledgement");
    // The reserved bit is ignored, and so are flags that a type does not have.
    let mut octets = headers(END_STREAM | END_HEADERS | 0xc2 & !PRIORITIZED, 1, &block(&GET));
    octets[5] |= 0x80;
    assert_eq!(peer.events(&octets), ["1 GET /"]);
}

#[test]
fn pings_come_back() {
    let mut peer = Peer::new();
    peer.events(&frame(PING, 0, 0, b"12345678"));
    let ping = peer.one(PING);
    assert_eq!((ping.flags, &ping.payload[..]), (ACK, &b"12345678"[..]));
    peer.events(&frame(PING, ACK, 0, b"12345678"));
    assert_eq!(peer.frames(), []);
}

#[test]
fn a_block_in_parts() {
    let whole = block(&GET);
    for cut in 0..whole.len() {
        let (first, rest) = whole.split_at(cut);
        let (second, third) = rest.split_at(rest.len() / 2);
        let mut peer = Peer::new();
        let octets = [
            headers(END_STREAM, 1, first),
            frame(CONTINUATION, 0, 1, second),
            frame(CONTINUATION, END_HEADERS, 1, third),
        ];
        assert_eq!(peer.events(&octets.concat()), ["1 GET /"]);
    }
}

#[test]
fn octet_by_octet() {
    let octets =
        [get(1), post(3), frame(DATA, PADDED, 3, b"\x03hello\0\0\0"), frame(DATA, 1, 3, b"!")];
    let mut peer = Peer::new();
    let mut events = Vec::new();
    for octet in octets.concat() {
        events.extend(peer.events(&[octet]));
    }
    assert_eq!(events, ["1 GET /", "3 POST /cart ...", "3 5", "3 1 end"]);
}

#[test]
fn padding_and_priority_are_taken_off() {
    let payload = [&[3][..], &[0x80, 0, 0, 9, 200], &block(&GET), &[0; 3]].concat();
    let mut peer = Peer::new();
    let events = peer.events(&headers(5 | PADDED | PRIORITIZED, 1, &payload));
    assert_eq!(events, ["1 GET /"]);
    let payload = [&[0, 0, 0, 3, 200][..], &block(&GET)].concat();
    peer.resets(&headers(5 | PRIORITIZED, 3, &payload), 3, PROTOCOL);
}

#[test]
fn content_of_large_frames_arrives_in_parts() {
    let mut peer = Peer::new();
    peer.events(&post(1));
    let data = frame(DATA, END_STREAM | PADDED, 1, &[&[200][..], &[7; 10_000], &[0; 200]].concat());
    let mut events = Vec::new();
    for part in data.chunks(3000) {
        events.extend(peer.events(part));
    }
    assert_eq!(events, ["1 2990", "1 3000", "1 3000", "1 1010 end"]);
    assert_eq!(peer.events(&get(3)), ["3 GET /"]);
}
