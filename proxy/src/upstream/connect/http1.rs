//! HTTP/1.1 towards a server: what every exchange has in common, and one that waits for each step.

use std::{
    future::poll_fn,
    io::IoSlice,
    ops::Range,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http1_wire::{
    HeadScanner,
    chunked::ChunkScanner,
    response::{Framing, Head, MAX_HEAD},
};
use tokio::time::Instant;

use crate::respond::fault::Fault;
use crate::upstream::{
    connect::buffer::{Buffer, Buffers},
    connect::connection::Connection,
};

/// Interim answers to one request.
const MAX_INTERIM: usize = 16;

/// Interim answers to one request, whichever servers they come from. A visitor who reads slowly has them all in
/// memory, so that they are bounded like the head of one answer.
#[derive(Default)]
pub struct Interim {
    count: usize,
    bytes: usize,
}

impl Interim {
    /// Counts one with a head of so many bytes.
    pub fn add(&mut self, length: usize) -> Result<(), Fault> {
        self.count += 1;
        self.bytes += length;
        if self.count > MAX_INTERIM || self.bytes > MAX_HEAD {
            return Err(Fault::bad_answer("no final answer"));
        }
        Ok(())
    }
}

/// Reads until a head is complete; says how long it is. `moved` is set where something arrived.
pub fn poll_head(
    cx: &mut Context<'_>,
    connection: &mut Connection,
    buffer: &mut Buffer,
    scanner: &mut HeadScanner,
    moved: &mut bool,
) -> Poll<Result<usize, Fault>> {
    const TOO_LARGE: Fault = Fault::bad_answer("head too large");
    loop {
        let complete = scanner
            .scan(buffer.filled())
            .map_err(|refusal| Fault::bad_answer(refusal.reason))?;
        match complete {
            Some(length) if length > MAX_HEAD => return Poll::Ready(Err(TOO_LARGE)),
            Some(length) => return Poll::Ready(Ok(length)),
            None if buffer.filled().len() > MAX_HEAD => return Poll::Ready(Err(TOO_LARGE)),
            None => {}
        }
        match ready!(connection.poll_read(cx, buffer)) {
            Ok(0) => return Poll::Ready(Err(Fault::CLOSED)),
            Err(why) => return Poll::Ready(Err(Fault::broken(&why))),
            Ok(_) => *moved = true,
        }
    }
}

/// What is still to come of an answer's content.
pub enum Left {
    /// So many bytes.
    Length(u64),
    /// Up to the last chunk.
    Chunked(ChunkScanner),
    /// All that comes.
    UntilClose,
}

/// Content in a buffer, from the buffer's beginning.
#[derive(Default)]
pub struct Run {
    /// Where it is.
    pub content: Range<usize>,
    /// What it takes with its framing.
    pub used: usize,
}

impl Left {
    /// All of it.
    pub fn of(framing: Framing, connection: &Connection) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            // The end shows, and that it comes where the head said is seen to.
            _ if connection.is_stream() => Self::UntilClose,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(ChunkScanner::default()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Whether nothing is.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(scanner) => scanner.is_done(),
            Self::UntilClose => false,
        }
    }

    /// Takes in what is here, and finds the content in it.
    pub fn take(&mut self, bytes: &mut [u8]) -> Result<Run, Fault> {
        match self {
            Self::Length(left) => {
                let own = bytes
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= own as u64;
                Ok(Run {
                    content: 0..own,
                    used: own,
                })
            }
            Self::Chunked(scanner) => {
                let decoded = scanner
                    .decode(bytes)
                    .map_err(|why| Fault::bad_answer(why.0))?;
                Ok(Run {
                    content: decoded.content,
                    used: decoded.used,
                })
            }
            Self::UntilClose => Ok(Run {
                content: 0..bytes.len(),
                used: bytes.len(),
            }),
        }
    }
}

/// A request without content and its answer, step by step; each pause has a time limit.
pub struct Exchange {
    connection: Connection,
    buffers: Buffers,
    left: Left,
    limits: Limits,
    heard: bool,
    /// Writing has failed.
    refused: bool,
}

/// How long an exchange may take.
#[derive(Clone, Copy)]
pub struct Limits {
    /// To the head of the answer.
    pub response: Duration,
    /// Each pause within its content.
    pub read: Duration,
    /// All of it.
    pub until: Instant,
}

impl Limits {
    /// The limit of a step that begins now, and what it means to pass it.
    fn step(&self, limit: Duration, fault: Fault) -> (Instant, Fault) {
        match Instant::now() + limit {
            at if at < self.until => (at, fault),
            _ => (self.until, Fault::TOO_LONG),
        }
    }
}

impl Exchange {
    /// Begins one; the head of the request is in `buffers`.
    pub fn new(connection: Connection, buffers: Buffers, limits: Limits) -> Self {
        Self {
            connection,
            buffers,
            left: Left::Length(0),
            limits,
            heard: false,
            refused: false,
        }
    }

    /// Sends the request.
    pub async fn send(&mut self) -> Result<(), Fault> {
        let mut sent = 0;
        let limits = self.limits;
        let (mut until, mut fault) = limits.step(limits.response, Fault::DEAF);
        poll_fn(|cx| {
            loop {
                let rest = IoSlice::new(&self.buffers.request[sent..]);
                let polled = match rest.is_empty() {
                    false => self.connection.poll_write(cx, &[rest]),
                    true => match self.connection.poll_flush(cx, true) {
                        Poll::Ready(_) => return Poll::Ready(Ok(())),
                        Poll::Pending => Poll::Pending,
                    },
                };
                match polled {
                    Poll::Ready(Ok(n)) => sent += n,
                    // It may have answered all the same.
                    Poll::Ready(Err(_)) => {
                        self.refused = true;
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Pending => {
                        ready!(self.connection.deadline.poll(cx, until));
                        return Poll::Ready(Err(fault));
                    }
                }
                (until, fault) = limits.step(limits.response, Fault::DEAF);
            }
        })
        .await
    }

    /// Reads the next head and hands it to `look` with the bytes it lies in.
    pub async fn head<T>(&mut self, look: impl FnOnce(&Head, &[u8]) -> T) -> Result<T, Fault> {
        let Self {
            connection,
            buffers,
            heard,
            limits,
            ..
        } = self;
        let mut scanner = HeadScanner::default();
        // Each byte of the head is none of its own: one that drips would never be late.
        let (until, fault) = limits.step(limits.response, Fault::SILENT);
        let length = poll_fn(|cx| {
            let mut moved = false;
            let polled = poll_head(
                cx,
                connection,
                &mut buffers.answer,
                &mut scanner,
                &mut moved,
            );
            *heard |= moved;
            if polled.is_ready() {
                return polled;
            }
            ready!(connection.deadline.poll(cx, until));
            Poll::Ready(Err(fault))
        })
        .await?;
        let bytes = &buffers.answer.filled()[..length];
        buffers
            .head
            .parse(bytes, false)
            .map_err(|refusal| Fault::bad_answer(refusal.reason))?;
        let seen = look(&buffers.head, bytes);
        self.left = Left::of(buffers.head.framing, connection);
        buffers.answer.consume(length);
        Ok(seen)
    }

    /// The next piece of content, `None` at its end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Fault> {
        let (until, fault) = self.limits.step(self.limits.read, Fault::SILENT);
        poll_fn(|cx| self.poll_piece(cx, until, fault)).await
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        until: Instant,
        fault: Fault,
    ) -> Poll<Result<Option<Bytes>, Fault>> {
        let buffer = &mut self.buffers.answer;
        while !self.left.is_done() {
            if buffer.is_empty() {
                match self.connection.poll_read(cx, buffer) {
                    // A reset is told once: where writing has heard of it, this is no end.
                    Poll::Ready(Ok(0))
                        if matches!(self.left, Left::UntilClose)
                            && (self.connection.is_stream() || !self.refused) =>
                    {
                        (self.left, self.buffers.head.close) = (Left::Length(0), true);
                        break;
                    }
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(Fault::CLOSED)),
                    Poll::Ready(Err(why)) => return Poll::Ready(Err(Fault::broken(&why))),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => {
                        ready!(self.connection.deadline.poll(cx, until));
                        return Poll::Ready(Err(fault));
                    }
                }
            }
            let run = self.left.take(buffer.filled_mut())?;
            let piece = Bytes::copy_from_slice(&buffer.filled()[run.content]);
            buffer.consume(run.used);
            if !piece.is_empty() {
                return Poll::Ready(Ok(Some(piece)));
            }
        }
        Poll::Ready(Ok(None))
    }

    /// The server was silent for too long, see [`Connection::give_up`].
    pub fn give_up(&self) {
        self.connection.give_up();
    }

    /// Whether a byte of an answer has arrived.
    pub fn has_heard(&self) -> bool {
        self.heard
    }

    /// Whether all of the content was read.
    pub fn is_done(&self) -> bool {
        self.left.is_done()
    }

    /// Ends it; the connection comes back where it can be used again.
    pub fn end(self) -> (Option<Connection>, Buffers) {
        let reusable = self.left.is_done()
            && self.buffers.answer.is_empty()
            && !self.buffers.head.close
            && !self.connection.is_stream();
        (reusable.then_some(self.connection), self.buffers)
    }
}
