//! A connection and its peer, frame by frame.

use std::{io::IoSlice, time::Duration};

use bytes::{Bytes, BytesMut};
use http2_server::{Config, Connection, ErrorCode, Event, Fault, Head, StreamId, hpack};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PRIORITIZED: u8 = 0x20;

/// The octets of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut octets = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    octets.extend([kind, flags]);
    octets.extend(stream.to_be_bytes());
    octets.extend(payload);
    octets
}

pub(crate) fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let entry = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &entries.iter().flat_map(entry).collect::<Vec<_>>())
}

pub(crate) fn window_update(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

pub(crate) fn rst_stream(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &ErrorCode::CANCEL.0.to_be_bytes())
}

/// A block of literals.
pub(crate) fn block(fields: &[(&str, &str)]) -> BytesMut {
    let mut block = BytesMut::new();
    for (name, value) in fields {
        hpack::put_field(&mut block, name.as_bytes(), value.as_bytes());
    }
    block
}

pub(crate) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "shop.example"), (":path", "/")];
pub(crate) const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "shop.example"), (":path", "/cart")];

pub(crate) fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&GET))
}

pub(crate) fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(&POST))
}

/// A frame that the connection has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn code(&self) -> ErrorCode {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        ErrorCode(u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap()))
    }

    pub(crate) fn number(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }
}

pub(crate) struct Peer {
    pub(crate) connection: Connection,
    pub(crate) head: Head,
    pub(crate) now: Duration,
    /// What the connection has not used yet.
    pub(crate) input: Vec<u8>,
    pub(crate) written: Vec<u8>,
}

impl Peer {
    /// Nothing was sent or read yet.
    pub(crate) fn silent(config: &Config) -> Self {
        Self {
            connection: Connection::new(config),
            head: Head::new(),
            now: Duration::from_secs(1000),
            input: Vec::new(),
            written: Vec::new(),
        }
    }

    /// Both prefaces are over.
    pub(crate) fn with(config: &Config, settings_sent: &[(u16, u32)]) -> Self {
        let mut peer = Self::silent(config);
        peer.input.extend(PREFACE);
        peer.input.extend(settings(settings_sent));
        peer.input.extend(frame(SETTINGS, ACK, 0, &[]));
        assert!(peer.events(&[]).is_empty());
        peer.frames();
        peer
    }

    pub(crate) fn new() -> Self {
        Self::with(&Config::default(), &[])
    }

    /// Sends octets, and tells what became of them, in words.
    pub(crate) fn send(&mut self, octets: &[u8]) -> Result<Vec<String>, Fault> {
        self.input.extend(octets);
        let mut input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        let mut events = Vec::new();
        let result = loop {
            match self.connection.next(&mut rest, &mut self.head, self.now) {
                Ok(Some(event)) => events.push(self.words(&event)),
                Ok(None) => break Ok(events),
                Err(fault) => break Err(fault),
            }
        };
        input.drain(..input.len() - rest.len());
        self.input = input;
        result
    }

    pub(crate) fn events(&mut self, octets: &[u8]) -> Vec<String> {
        self.send(octets).unwrap()
    }

    fn words(&self, event: &Event) -> String {
        match event {
            Event::Request { stream: StreamId(id), end } => {
                let dots = if *end { "" } else { " ..." };
                format!("{id} {} {}{dots}", self.head.method(), self.head.target())
            }
            Event::TooLarge { stream: StreamId(id), .. } => format!("{id} too large"),
            Event::Content { stream: StreamId(id), content, end } => {
                format!("{id} {}{}", content.len(), if *end { " end" } else { "" })
            }
            Event::Trailers { stream: StreamId(id), fields } => {
                format!("{id} trailers {}", fields.len())
            }
            Event::Reset { stream: StreamId(id), code, by_peer } => {
                format!("{id} reset {code} by {}", if *by_peer { "peer" } else { "us" })
            }
            Event::Malformed { stream: StreamId(id), reason } => {
                format!("{id} malformed: {reason}")
            }
        }
    }

    /// Writes all there is, and takes it apart.
    pub(crate) fn frames(&mut self) -> Vec<Frame> {
        while self.connection.wants_write() {
            self.write(usize::MAX);
        }
        let mut frames = Vec::new();
        let mut rest = &self.written[..];
        while let Some((head, after)) = rest.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (payload, behind) = after.split_at(length);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            frames.push(Frame { kind: head[3], flags: head[4], stream, payload: payload.to_vec() });
            rest = behind;
        }
        assert!(rest.is_empty(), "a frame is cut");
        self.written.clear();
        frames
    }

    /// Writes once, at most so many octets.
    pub(crate) fn write(&mut self, max: usize) -> usize {
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = self.connection.gather(&mut slices);
        let mut written = 0;
        for slice in &slices[..filled] {
            let now = slice.len().min(max - written);
            self.written.extend(&slice[..now]);
            written += now;
        }
        assert!(written > 0 || max == 0);
        self.connection.advance(written);
        written
    }

    /// The only frame of a kind.
    pub(crate) fn one(&mut self, kind: u8) -> Frame {
        let mut frames = self.frames();
        frames.retain(|frame| frame.kind == kind);
        assert_eq!(frames.len(), 1, "{frames:?}");
        frames.remove(0)
    }

    /// Sends octets that must end the connection with this code.
    #[track_caller]
    pub(crate) fn dies(mut self, octets: &[u8], code: ErrorCode) {
        let fault = self.send(octets).expect_err("no fault");
        assert_eq!(fault.code, code, "{fault}");
        assert!(!self.connection.is_finished());
        let frames = self.frames();
        let last = frames.last().expect("no frame");
        assert_eq!((last.kind, last.code()), (GOAWAY, code));
        assert!(self.connection.is_finished());
        assert_eq!(self.send(&frame(PING, 0, 0, &[0; 8])), Err(fault));
        assert!(!self.connection.wants_write());
    }

    /// Sends octets that must end just a stream with this code.
    #[track_caller]
    pub(crate) fn resets(&mut self, octets: &[u8], stream: u32, code: ErrorCode) {
        let events = self.events(octets);
        assert!(events.iter().any(|e| e.starts_with(&format!("{stream} malformed"))), "{events:?}");
        assert!(!self.connection.is_open(StreamId(stream)));
        let reset = self.one(RST_STREAM);
        assert_eq!((reset.stream, reset.code()), (stream, code));
    }

    /// Answers with so much content.
    pub(crate) fn respond(&mut self, stream: u32, content: usize) {
        let content = Bytes::from(vec![b'x'; content]);
        self.connection.respond(StreamId(stream), b"\x88", Some(content), true);
    }
}
