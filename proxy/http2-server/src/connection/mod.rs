//! One connection: its state, and what a caller may ask of it.

mod headers;
mod receive;
mod send;
mod windows;

use std::{collections::VecDeque, io::IoSlice, time::Duration};

use bytes::Bytes;
use http::HeaderMap;

use crate::{
    budget::Budget,
    config::{Config, INITIAL_WINDOW, MAX_WINDOW},
    frame::{ErrorCode, Fault, flag, kind, setting},
    hpack::Decoder,
    output::Output,
    streams::Streams,
};

/// A stream of a connection; ids grow, and are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// What a client did.
#[derive(Debug)]
pub enum Event {
    /// A request; what it says is in the caller's [`Head`](crate::Head).
    Request {
        /// Its stream.
        stream: StreamId,
        /// It has neither content nor trailers.
        end: bool,
    },
    /// A request whose list of fields is beyond the bounds: to be answered with 431. The
    /// [`Head`](crate::Head) has what came before the bound, unchecked as a whole.
    TooLarge {
        /// Its stream.
        stream: StreamId,
        /// It has neither content nor trailers.
        end: bool,
    },
    /// Content of a request. The windows it came through open again by [`Connection::release`].
    Content {
        /// Its stream.
        stream: StreamId,
        /// The octets; there may be none if it is the end.
        content: Bytes,
        /// The request is complete.
        end: bool,
    },
    /// Trailers; the request is complete.
    Trailers {
        /// Its stream.
        stream: StreamId,
        /// The fields.
        fields: HeaderMap,
    },
    /// A stream whose request was told is gone, and what was queued on it.
    Reset {
        /// The stream.
        stream: StreamId,
        /// Why.
        code: ErrorCode,
        /// The client reset it; else we did, as a `Malformed` before this says.
        by_peer: bool,
    },
    /// A stream error, of which the client has been told by RST_STREAM. For the log: a stream that was told
    /// is also `Reset`, after this.
    Malformed {
        /// The stream.
        stream: StreamId,
        /// What was wrong.
        reason: &'static str,
    },
}

/// What an input buffer must hold at least: the largest frame that is read as a whole.
pub const INPUT_BUFFER: usize = 9 + 16 * 1024;

/// How far frames are made ahead of what was written. Enough for a large write; what is made cannot be taken
/// back when its stream is reset, nor overtaken.
const AHEAD: usize = 64 * 1024;
/// Octets of control frames that wait to be written: a client that causes more does not read.
const MAX_CONTROL: usize = 64 * 1024;
/// After the first GOAWAY, how long requests on their way are still taken, if the client does not tell twice that
/// it has seen it (RFC 9113 §6.8: at least a round trip).
const ANNOUNCED_FOR: Duration = Duration::from_secs(1);
/// What a PING carries that measures that round trip.
const LEAVING: [u8; 8] = *b"leaving!";
/// Streams remembered after their end, each of those we reset and of the others: as many as may be open at
/// once by default, all of which may be answered early.
const REMEMBERED: usize = 128;

/// The last ids of streams that are gone.
#[derive(Debug, Default)]
struct Gone {
    ids: Vec<u32>,
    next: usize,
}

impl Gone {
    fn add(&mut self, id: u32) {
        match self.ids.get_mut(self.next) {
            Some(oldest) => *oldest = id,
            None => self.ids.push(id),
        }
        self.next = (self.next + 1) % REMEMBERED;
    }

    fn has(&self, id: u32) -> bool {
        self.ids.contains(&id)
    }
}

/// A header block that began with HEADERS and goes on with CONTINUATION.
#[derive(Debug)]
struct Fragments {
    stream: u32,
    end: bool,
    depends_on_itself: bool,
    frames: usize,
    block: Vec<u8>,
}

/// What is left of a DATA frame that arrives in parts.
#[derive(Clone, Copy, Debug)]
struct DataFrame {
    stream: u32,
    content: u32,
    padding: u32,
    end: bool,
}

/// How far leaving has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// GOAWAY was sent with the highest id there is, at this time.
    Announced(Duration),
    /// The client has answered to that, and is asked a second time.
    Heard(Duration),
    /// And with the last stream that is served.
    Final(u32),
}

/// The server side of an HTTP/2 connection. See the [crate] for how it is driven.
///
/// Commands for a stream that is gone do nothing: a caller may hear of a reset later than it happened.
#[derive(Debug)]
pub struct Connection {
    config: Config,
    /// The time of the last call that told it.
    now: Duration,
    fault: Option<Fault>,
    leaving: Leaving,
    peer_is_leaving: bool,
    has_preface: bool,
    has_settings: bool,
    is_acknowledged: bool,
    /// The peer made its table smaller: the next block says that we use none (RFC 7541 §4.2).
    owes_table_update: bool,
    has_told_table: bool,
    /// The highest id of a stream that the peer has opened.
    last_id: u32,
    decoder: Decoder,
    fragments: Option<Box<Fragments>>,
    data: Option<DataFrame>,
    streams: Streams,
    reset_by_us: Gone,
    ended: Gone,
    events: VecDeque<Event>,
    /// Slots of streams with a head, trailers or an end to write, which no window holds back.
    heads: VecDeque<u32>,
    /// Slots of streams with content and a window, in turns.
    contents: VecDeque<u32>,
    /// What the peer's SETTINGS give a new stream.
    initial_send_window: i32,
    send_window: i32,
    receive_window: i32,
    released: u32,
    resets: Budget,
    control: Budget,
    output: Output,
}

impl Connection {
    /// A connection of which nothing was read. Our settings are queued.
    pub fn new(config: &Config) -> Self {
        let config = Config {
            stream_window: config.stream_window.min(MAX_WINDOW),
            connection_window: config.connection_window.clamp(INITIAL_WINDOW, MAX_WINDOW),
            ..*config
        };
        let mut connection = Self {
            config,
            now: Duration::ZERO,
            fault: None,
            leaving: Leaving::No,
            peer_is_leaving: false,
            has_preface: false,
            has_settings: false,
            is_acknowledged: false,
            owes_table_update: false,
            has_told_table: false,
            last_id: 0,
            decoder: Decoder::new(),
            fragments: None,
            data: None,
            streams: Streams::new(),
            reset_by_us: Gone::default(),
            ended: Gone::default(),
            events: VecDeque::new(),
            heads: VecDeque::new(),
            contents: VecDeque::new(),
            initial_send_window: INITIAL_WINDOW as i32,
            send_window: INITIAL_WINDOW as i32,
            receive_window: config.connection_window as i32,
            released: 0,
            resets: Budget::new(config.resets),
            control: Budget::new(config.control),
            output: Output::default(),
        };
        connection.put_preface();
        connection
    }

    /// The server's preface (RFC 9113 §3.4): SETTINGS, and the connection's window.
    fn put_preface(&mut self) {
        let config = self.config;
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, config.max_streams),
            (setting::INITIAL_WINDOW_SIZE, config.stream_window),
            (setting::MAX_HEADER_LIST_SIZE, u32::try_from(config.max_head).unwrap_or(u32::MAX)),
            (setting::NO_RFC7540_PRIORITIES, 1),
        ];
        let mut payload = [0; 24];
        for (place, (id, value)) in payload.chunks_exact_mut(6).zip(settings) {
            place[..2].copy_from_slice(&id.to_be_bytes());
            place[2..].copy_from_slice(&value.to_be_bytes());
        }
        self.output.put_control(kind::SETTINGS, 0, 0, &payload);
        if config.connection_window > INITIAL_WINDOW {
            let more = config.connection_window - INITIAL_WINDOW;
            self.output.put_control(kind::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        }
    }

    /// Whether a stream is there: neither reset nor complete in both directions.
    pub fn is_open(&self, stream: StreamId) -> bool {
        self.streams.find(stream.0).is_some()
    }

    /// Whether a head has begun whose end has not arrived.
    pub fn is_in_head(&self) -> bool {
        self.fragments.is_some()
    }

    /// Streams that are not complete in both directions.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// Leaves in peace (RFC 9113 §6.8): announces it, takes what is on its way, then refuses new streams
    /// and finishes those that run. What is on its way ends when the client has answered twice, or with the first
    /// call of [`next`](Self::next), which needs no input, that is a second later; or with a second call of this.
    ///
    /// Twice, because a client may answer PING ahead of requests that it had in hand when it heard of our leaving:
    /// those are sent by the time it answers once more.
    pub fn go_away(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.fault.is_some() {
            return;
        }
        match self.leaving {
            Leaving::No => {
                self.leaving = Leaving::Announced(self.now);
                self.put_goaway(MAX_WINDOW, ErrorCode::NO_ERROR);
                self.output.put_control(kind::PING, 0, 0, &LEAVING);
            }
            Leaving::Announced(_) | Leaving::Heard(_) => self.leave(),
            Leaving::Final(_) => {}
        }
    }

    /// Leaves at once: nothing that is on its way is taken any more, and no answer is expected.
    pub fn go_away_now(&mut self) {
        if self.fault.is_none() && !matches!(self.leaving, Leaving::Final(_)) {
            self.leave();
        }
    }

    /// Whether the transport may be closed: nothing is left to do on either side, or there was a fault, and all
    /// is written.
    pub fn is_finished(&self) -> bool {
        let is_leaving = matches!(self.leaving, Leaving::Final(_)) || self.peer_is_leaving;
        (self.fault.is_some() || is_leaving && self.streams.len() == 0) && self.output.is_empty()
    }

    /// Whether [`gather`](Self::gather) has something.
    pub fn wants_write(&self) -> bool {
        !self.output.is_empty()
    }

    /// Fills slices with what is to be written, and returns how many. Flow control is already respected.
    pub fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.output.gather(slices)
    }

    /// The transport took so many of the octets that [`gather`](Self::gather) gave. There may be more of them
    /// then.
    pub fn advance(&mut self, written: usize) {
        self.output.advance(written);
        self.pump();
    }

    /// Gives back memory that a quiet connection does not need. Worth it before a long wait; a connection
    /// that is used at once allocates it again.
    pub fn shrink(&mut self) {
        self.output.shrink();
        self.streams.shrink();
        for queue in [&mut self.heads, &mut self.contents] {
            queue.shrink_to(0);
        }
        self.events.shrink_to(0);
        self.ended.ids.shrink_to_fit();
        self.reset_by_us.ids.shrink_to_fit();
    }

    /// Octets on the heap, without the content that callers gave.
    pub fn memory(&self) -> usize {
        self.decoder.memory()
            + self.streams.memory()
            + self.output.memory()
            + (self.heads.capacity() + self.contents.capacity()) * size_of::<u32>()
            + (self.ended.ids.capacity() + self.reset_by_us.ids.capacity()) * size_of::<u32>()
            + self.events.capacity() * size_of::<Event>()
            + self.fragments.as_ref().map_or(0, |f| f.block.capacity() + size_of::<Fragments>())
    }

    fn put_goaway(&mut self, last: u32, code: ErrorCode) {
        let mut payload = [0; 8];
        payload[..4].copy_from_slice(&last.to_be_bytes());
        payload[4..].copy_from_slice(&code.0.to_be_bytes());
        self.output.put_control(kind::GOAWAY, 0, 0, &payload);
    }

    /// The second GOAWAY, with the last stream that is served.
    fn leave(&mut self) {
        self.leaving = Leaving::Final(self.last_id);
        self.put_goaway(self.last_id, ErrorCode::NO_ERROR);
    }

    /// Ends the connection: only what is already made, and GOAWAY, are still written.
    fn fail(&mut self, fault: Fault) -> Fault {
        if self.fault.is_none() {
            self.fault = Some(fault);
            // What was said once is not taken back (RFC 9113 §6.8).
            let last = match self.leaving {
                Leaving::Final(last) => last,
                Leaving::No | Leaving::Announced(_) | Leaving::Heard(_) => self.last_id,
            };
            self.put_goaway(last, fault.code);
            self.streams = Streams::new();
            self.heads = VecDeque::new();
            self.contents = VecDeque::new();
            self.events = VecDeque::new();
            self.fragments = None;
            self.data = None;
        }
        fault
    }

    /// Counts what only causes work.
    fn charge(&mut self) -> Result<(), Fault> {
        if self.control.take(self.now) {
            Ok(())
        } else {
            Err(Fault::calm("too many frames that ask for nothing"))
        }
    }

    /// Counts a stream that ended other than by an answer.
    fn charge_reset(&mut self) -> Result<(), Fault> {
        if self.resets.take(self.now) { Ok(()) } else { Err(Fault::calm("too many streams reset")) }
    }

    /// Queues a frame that the peer made necessary.
    fn reply(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<(), Fault> {
        if self.output.control() > MAX_CONTROL {
            return Err(Fault::calm("the answers to frames are not read"));
        }
        self.output.put_control(kind, flags, stream, payload);
        Ok(())
    }

    fn acknowledge(&mut self, kind: u8, payload: &[u8]) -> Result<(), Fault> {
        self.reply(kind, flag::ACK, 0, payload)
    }
}
