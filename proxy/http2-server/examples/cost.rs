//! What a hit costs: requests as a browser repeats them, an answer of 1 KiB, no transport.
//!
//! `cargo run --release -p http2-server --example cost`

#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::{
    hint::black_box,
    io::IoSlice,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http2_server::{Config, Connection, Event, Head, hpack};

const PREFACE: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
const ROUNDS: u32 = 200_000;

fn main() {
    // Everything indexed, as h2load and browsers send it from the second time on.
    let mut first = b"\x82\x87\x84".to_vec();
    let fields: [(&str, &str); 9] = [
        (":authority", "shop.example"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "bn-BD,bn;q=0.9,en;q=0.8"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
        ("referer", "https://shop.example/products?page=7"),
        ("cookie", "session=0123456789abcdef0123456789abcdef"),
    ];
    for (name, value) in fields {
        first.push(0x40);
        for text in [name, value] {
            first.push(text.len() as u8);
            first.extend_from_slice(text.as_bytes());
        }
    }
    let again: Vec<u8> =
        b"\x82\x87\x84".iter().copied().chain((0..9).map(|n| 0xbe + 8 - n)).collect();
    let few = b"\x82\x87\x84\xc6\xc5".to_vec();
    for (what, blocks) in [("2 fields", [&first, &few]), ("9 fields", [&first, &again])] {
        for (content, batch) in [(1024, 1), (1024, 32), (12 * 1024, 32), (0, 32)] {
            let per = run(blocks, content, batch);
            println!("{what}, {content:>5} octets, {batch:>2} at once: {per:>4} ns");
        }
    }
}

fn run(blocks: [&Vec<u8>; 2], content: usize, batch: u32) -> u128 {
    let content = Bytes::from(vec![b'x'; content]);
    let mut connection = Connection::new(&Config::default());
    let mut head = Head::new();
    let mut input = PREFACE;
    let event = connection.next(&mut input, &mut head, Duration::ZERO);
    assert!(matches!(event, Ok(None)));
    let mut block = BytesMut::new();
    hpack::put_status(&mut block, 200);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "1024"),
        ("cache-control", "max-age=60"),
        ("etag", "\"0123456789abcdef\""),
        ("age", "17"),
        ("x-request-id", "0123456789abcdef0123456789abcdef"),
    ] {
        hpack::put_field(&mut block, name.as_bytes(), value.as_bytes());
    }
    let mut octets = Vec::new();
    let mut id = 1_u32;
    let (mut answered, mut spent) = (0, Duration::ZERO);
    while answered < ROUNDS {
        octets.clear();
        for _ in 0..batch {
            frame(&mut octets, 1, 5, id, if id == 1 { blocks[0] } else { blocks[1] });
            id += 2;
        }
        let more = content.len() as u32 * batch;
        if more > 0 {
            frame(&mut octets, 8, 0, 0, &more.to_be_bytes());
        }
        let began = Instant::now();
        let mut input = &octets[..];
        while let Ok(Some(event)) = connection.next(&mut input, &mut head, Duration::ZERO) {
            if let Event::Request { stream, .. } = event {
                black_box(head.target());
                connection.respond(stream, &block, Some(content.clone()), true);
                answered += 1;
            }
        }
        while connection.wants_write() {
            let mut slices = [IoSlice::new(&[]); 64];
            let filled = connection.gather(&mut slices);
            let written = black_box(&slices[..filled]).iter().map(|slice| slice.len()).sum();
            connection.advance(written);
        }
        spent += began.elapsed();
    }
    spent.as_nanos() / u128::from(answered)
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}
