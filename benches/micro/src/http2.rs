//! An HTTP/2 connection that asks for the same page again and again, as a browser's later requests do: every
//! field stands in the table of the first one.

use std::{
    io::IoSlice,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http2_server::{Config, Connection, Event, Head, hpack};

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM_AND_HEADERS: u8 = 0x5;
/// The largest window there is, less what a connection begins with (RFC 9113 §6.9.1).
const WINDOW: u32 = (1 << 31) - 1 - 65_535;
/// The highest stream that a client may open is this one (RFC 9113 §5.1.1).
const LAST_STREAM: u32 = (1 << 31) - 1;
/// Content that fits into [`WINDOW`] before the connection is made anew.
const EXCHANGES: u32 = WINDOW / CONTENT as u32 - 1;
const CONTENT: usize = 1024;

/// The connection, and its client.
pub struct Http2 {
    connection: Connection,
    head: Head,
    block: BytesMut,
    content: Bytes,
    request: Vec<u8>,
    stream: u32,
    started: Instant,
}

impl Default for Http2 {
    fn default() -> Self {
        let mut client = Self {
            connection: Connection::new(&Config::default()),
            head: Head::new(),
            block: BytesMut::with_capacity(512),
            content: Bytes::from_static(&[b'x'; CONTENT]),
            request: Vec::with_capacity(512),
            stream: 1,
            started: Instant::now(),
        };
        let mut first = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        put_frame(&mut first, SETTINGS, 0, 0, &[]);
        put_frame(&mut first, WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
        // `:method: GET`, `:scheme: https`, and fields that the table is to remember (RFC 7541 §6.2.1).
        let mut block = vec![0x82, 0x87];
        for (name, value) in [
            (4, "/products/phone-005000"),
            (1, "shop.example"),
            (
                58,
                "Mozilla/5.0 (X11; Linux x86_64) Chrome/142.0.0.0 Safari/537.36",
            ),
            (
                19,
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            ),
            (16, "gzip, deflate, br, zstd"),
        ] {
            block.push(0x40 | name);
            block.push(value.len() as u8);
            block.extend_from_slice(value.as_bytes());
        }
        put_frame(&mut first, HEADERS, END_STREAM_AND_HEADERS, 1, &block);
        assert_eq!(client.answer(&first), 1, "the first request is answered");
        client
    }
}

impl Http2 {
    /// One request in, its answer out.
    pub fn exchange(&mut self) {
        if self.stream > 2 * EXCHANGES.min(LAST_STREAM / 2) {
            *self = Self::default();
        }
        self.stream += 2;
        let mut request = std::mem::take(&mut self.request);
        request.clear();
        // All of the first request's fields by their places in the tables (RFC 7541 §6.1).
        let block = [0x82, 0x87, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe];
        put_frame(
            &mut request,
            HEADERS,
            END_STREAM_AND_HEADERS,
            self.stream,
            &block,
        );
        assert_eq!(self.answer(&request), 1, "each request is answered");
        self.request = request;
    }

    /// Answers all requests in the input, and says how many there were.
    fn answer(&mut self, mut input: &[u8]) -> usize {
        let now = self.started.elapsed().max(Duration::from_nanos(1));
        let mut answered = 0;
        while let Some(event) = self
            .connection
            .next(&mut input, &mut self.head, now)
            .expect("a client without fault")
        {
            if let Event::Request { stream, .. } = event {
                self.block.clear();
                hpack::put_status(&mut self.block, 200);
                for (name, value) in [
                    ("content-type", "text/html; charset=utf-8"),
                    ("content-length", "1024"),
                    ("cache-control", "public, max-age=3600"),
                    ("etag", "\"5f3a-1024\""),
                    ("age", "17"),
                    ("cache-status", "dhal; hit; ttl=3583"),
                ] {
                    hpack::put_field(&mut self.block, name.as_bytes(), value.as_bytes());
                }
                let content = self.content.clone();
                self.connection
                    .respond(stream, &self.block, Some(content), true);
                answered += 1;
            }
        }
        while self.connection.wants_write() {
            let mut slices = [IoSlice::new(&[]); 64];
            let filled = self.connection.gather(&mut slices);
            let written = slices[..filled].iter().map(|slice| slice.len()).sum();
            self.connection.advance(written);
        }
        answered
    }
}

fn put_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}
