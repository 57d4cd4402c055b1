//! A client and a caller that do anything: memory stays bounded, frames written are whole and in order.

#![no_main]

use std::{collections::HashMap, io::IoSlice, time::Duration};

use bytes::Bytes;
use http2_server::{Config, Connection, ErrorCode, Event, Head, StreamId};
use libfuzzer_sys::fuzz_target;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
/// GET of `/` at `a`, over https.
const GET: &[u8] = b"\x82\x87\x84\x01\x01a";

struct Run {
    connection: Connection,
    head: Head,
    now: Duration,
    written: Vec<u8>,
    /// Content told and not released, by stream.
    held: HashMap<StreamId, usize>,
    is_over: bool,
}

fuzz_target!(|octets: &[u8]| {
    let mut run = Run {
        connection: Connection::new(&Config::default()),
        head: Head::new(),
        now: Duration::ZERO,
        written: Vec::new(),
        held: HashMap::new(),
        is_over: false,
    };
    run.read(PREFACE);
    let mut rest = octets;
    while let [command, id, size, behind @ ..] = rest {
        rest = behind;
        let (id, size) = (u32::from(*id % 32), usize::from(*size));
        run.step(command % 16, id, size, &mut rest);
        let memory = run.connection.memory();
        assert!(memory < 1 << 20, "{memory}");
        let held: usize = run.held.values().sum();
        assert!(held <= 1 << 20, "{held}");
        if run.is_over {
            break;
        }
    }
    while run.connection.wants_write() {
        run.write(usize::MAX);
    }
    run.check();
});

impl Run {
    fn step(&mut self, command: u8, id: u32, size: usize, rest: &mut &[u8]) {
        let stream = StreamId(id);
        let connection = &mut self.connection;
        match command {
            // The client.
            0 => self.frame(1, 5, id, GET),
            1 => self.frame(1, 4, id, GET),
            2 => self.frame(0, size as u8 & 1, id, &vec![0; size * 64]),
            3 => self.frame(8, 0, id, &(size as u32 * size as u32).to_be_bytes()),
            4 => self.frame(4, 0, 0, &[0, 4, 0, 0, size as u8, id as u8]),
            5 => self.frame(3, 0, id, &[0; 4]),
            6 | 7 => {
                let (payload, behind) = rest.split_at(size.min(rest.len()));
                *rest = behind;
                self.frame(id as u8 % 12, size as u8, id, payload);
            }
            // The caller.
            8 => connection.respond(stream, b"\x88", Some(vec![0; size * 1000].into()), true),
            9 => connection.send_head(stream, b"\x88", size == 0),
            10 => connection.send_content(stream, Bytes::from(vec![0; size * 64]), size.is_multiple_of(3)),
            11 => connection.send_trailers(stream, b"\x00\x01a\x01b"),
            12 => {
                connection.release(stream, size * 100);
                if let Some(held) = self.held.get_mut(&stream) {
                    *held = held.saturating_sub(size * 100);
                }
            }
            13 if size > 250 => connection.go_away(self.now),
            13 => connection.reset(stream, ErrorCode::CANCEL),
            14 => self.write(size * size + 1),
            _ => {
                connection.shrink();
                self.now += Duration::from_millis(size as u64);
            }
        }
        let connection = &self.connection;
        self.held.retain(|stream, _| connection.is_open(*stream));
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.read(&frame);
    }

    fn read(&mut self, mut input: &[u8]) {
        loop {
            match self.connection.next(&mut input, &mut self.head, self.now) {
                Ok(Some(Event::Content { stream, content, .. })) => {
                    *self.held.entry(stream).or_default() += content.len();
                }
                Ok(Some(Event::Request { .. })) => assert!(!self.head.method().as_str().is_empty()),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => {
                    self.is_over = true;
                    return;
                }
            }
        }
        // Frames come whole here, so nothing is left.
        assert!(input.is_empty(), "{input:?}");
    }

    fn write(&mut self, max: usize) {
        let mut slices = [IoSlice::new(&[]); 5];
        let filled = self.connection.gather(&mut slices);
        let mut written = 0;
        for slice in &slices[..filled] {
            let len = slice.len().min(max - written);
            self.written.extend_from_slice(&slice[..len]);
            written += len;
        }
        assert!(written > 0 || !self.connection.wants_write());
        self.connection.advance(written);
    }

    /// Frames are whole, and none of a stream follows its end.
    fn check(&self) {
        let mut ended = HashMap::new();
        let mut rest = &self.written[..];
        while let Some((head, after)) = rest.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            assert!(length <= 16_384);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            if matches!(head[3], 0 | 1) {
                assert!(!ended.contains_key(&stream), "{stream}");
                if head[4] & 1 != 0 {
                    ended.insert(stream, ());
                }
            }
            rest = &after[length..];
        }
        assert!(rest.is_empty());
    }
}
