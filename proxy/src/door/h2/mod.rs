//! HTTP/2: a connection's streams, each decided for itself.
//!
//! The connection's task reads, decides, and answers whatever lies in memory; the answers to all that came
//! in one read leave in one write. Other requests get a task of their own (`stored.rs`), which talks to the
//! connection's through a `Line` (`line.rs`).

mod asked;
mod blocks;
mod delayed;
mod hits;
mod line;
mod stored;
mod visitor;

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use http2_server::{Config, Event, Head};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use self::{
    asked::Asked,
    hits::Unsent,
    line::{Exchange, Line, State},
};
use super::{Hall, linger::linger, pace::Pace};
use crate::{
    deadline::Deadline,
    edge::Connection,
    listen::{
        places::{Place, Standing},
        stream::Stream,
    },
};

/// What is read at once.
const INPUT: usize = 16 * 1024;
/// What is written at once: a record, or a few frames.
const SLICES: usize = 64;
/// After the first word of leaving, what is on its way is taken for so long.
const LEAVING: Duration = Duration::from_secs(1);
/// A connection that is quiet for so long gives back what it does not need.
const QUIET: Duration = Duration::from_secs(1);
/// A client that was told that the connection ends has so long to hear it.
const FAREWELL: Duration = Duration::from_secs(1);

/// An HTTP/2 connection.
struct Session<'a> {
    hall: &'a Arc<Hall>,
    connection: Arc<Connection>,
    stream: Stream,
    line: Arc<Line>,
    /// The beginning of a frame.
    buf: BytesMut,
    /// Answers that were not sent as a whole yet.
    unsent: Vec<Unsent>,
    /// The client has said what it speaks.
    has_preface: bool,
    /// The client has read too slowly, and is not waited for any more.
    is_unread: bool,
    /// No more is read: the client broke the protocol, and is told.
    is_faulty: bool,
    leaving: Leaving,
    /// A request has come.
    has_asked: bool,
    /// From then on it is told to leave although it has asked for nothing.
    leave_from: Option<Instant>,
    /// Since when a head is on its way that has more than one part.
    head_since: Option<Instant>,
    /// A request came since it was last without any.
    is_busy: bool,
    /// Without requests it ends then.
    idle_until: Instant,
    /// Without requests it is not worth its memory from then on.
    quiet_from: Option<Instant>,
    /// How slowly the transport may take what is written.
    pace: Pace,
    /// What the transport had taken when `unsent` was last looked at.
    written: u64,
    deadline: Deadline,
    place: &'a mut Place,
}

/// How far leaving has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// It was announced; what is on its way until then is still taken.
    Announced(Instant),
    /// Nothing more is taken.
    Final,
}

/// What a thread's connections share while one of them works.
struct Desk {
    input: Box<[u8]>,
    head: Head,
    block: BytesMut,
}

thread_local! {
    static DESK: RefCell<Desk> = RefCell::new(Desk {
        input: vec![0; INPUT].into_boxed_slice(),
        head: Head::new(),
        block: BytesMut::with_capacity(4 * 1024),
    });
}

/// A request with a task of its own.
struct Request {
    hall: Arc<Hall>,
    connection: Arc<Connection>,
    exchange: Exchange,
    asked: Asked,
}

/// Serves a connection until it ends.
pub async fn serve(hall: &Arc<Hall>, connection: &Connection, stream: Stream, place: &mut Place) {
    let bounds = hall.current.load().bounds.clone();
    let config = Config {
        max_head: bounds.max_header,
        ..Config::default()
    };
    let now = Instant::now();
    // The preface has the time of a handshake.
    let idle_until = now + bounds.handshake_timeout;
    let mut session = Session {
        hall,
        connection: Arc::new(connection.clone()),
        stream,
        line: Line::new(http2_server::Connection::new(&config)),
        buf: BytesMut::new(),
        unsent: Vec::new(),
        has_preface: false,
        is_unread: false,
        is_faulty: false,
        leaving: Leaving::No,
        has_asked: false,
        leave_from: None,
        head_since: None,
        is_busy: false,
        idle_until,
        quiet_from: None,
        pace: Pace::sending(&bounds.visitors),
        written: 0,
        deadline: Deadline::default(),
        place,
    };
    poll_fn(|cx| session.poll(cx)).await;
    session.line.close();
    session.tell_unsent();
    if session.place.is_shed() || session.is_unread {
        // Others need the room, or nobody would hear more.
        return poll_fn(|cx| session.stream.poll_goodbye(cx)).await;
    }
    Box::pin(linger(&mut session.stream, session.place)).await;
}

impl Session<'_> {
    /// Ready when the connection has come to its end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.place.take(cx);
        let line = Arc::clone(&self.line);
        let mut state = line.state();
        if state.task.is_none() {
            state.task = Some(cx.waker().clone());
        }
        // Something was read or written: streams that wait for either may go on.
        let mut has_moved = false;
        loop {
            self.leave_if_due(&mut state);
            let is_stuck = match self.poll_write(&mut state, &mut has_moved, cx) {
                Poll::Ready(Ok(())) => false,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => true,
            };
            has_moved |= state.is_stuck && !is_stuck;
            state.is_stuck = is_stuck;
            if std::mem::take(&mut has_moved) {
                state.wake_waiting();
                if !self.is_faulty {
                    self.note_sent(&mut state);
                }
            }
            if !is_stuck && state.wire.is_finished() {
                return Poll::Ready(());
            }
            // Who does not read is not read from.
            if !is_stuck && !self.is_faulty {
                match DESK.with_borrow_mut(|desk| self.poll_read(&mut state, desk, cx)) {
                    Poll::Ready(Ok(())) => {
                        has_moved = true;
                        continue;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            match self.poll_time(&mut state, is_stuck, cx) {
                Poll::Ready(true) => return Poll::Ready(()),
                Poll::Ready(false) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_write(
        &mut self,
        state: &mut State,
        has_moved: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while state.wire.wants_write() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = state.wire.gather(&mut slices);
            let stream = Pin::new(&mut self.stream);
            let Poll::Ready(written) = stream.poll_write_vectored(cx, &slices[..filled]) else {
                return Poll::Pending;
            };
            match written? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => {
                    state.wire.advance(written);
                    state.written += written as u64;
                    self.pace.moved(written as u64);
                }
            }
            *has_moved = true;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Reads once, and takes in what came.
    fn poll_read(
        &mut self,
        state: &mut State,
        desk: &mut Desk,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if desk.input.is_empty() {
            // A task that panicked has left with it.
            desk.input = vec![0; INPUT].into_boxed_slice();
        }
        let mut buf = ReadBuf::new(&mut desk.input);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        let arrived = buf.filled().len();
        if arrived == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let input = std::mem::take(&mut desk.input);
        let mut held = std::mem::take(&mut self.buf);
        if held.is_empty() {
            let used = self.take_in(state, desk, &input[..arrived]);
            if used < arrived {
                self.buf = BytesMut::from(&input[used..arrived]);
            }
        } else {
            held.extend_from_slice(&input[..arrived]);
            let used = self.take_in(state, desk, &held);
            held.advance(used);
            if !held.is_empty() {
                self.buf = held;
            }
        }
        desk.input = input;
        if !self.has_preface && self.buf.len() < arrived {
            self.has_preface = true;
            let limit = self.hall.current.load().bounds.keepalive_timeout;
            self.idle_until = Instant::now() + limit;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes in whole frames; says how many octets they were.
    fn take_in(&mut self, state: &mut State, desk: &mut Desk, input: &[u8]) -> usize {
        let now = self.hall.now();
        let mut rest = input;
        loop {
            let event = match state.wire.next(&mut rest, &mut desk.head, now.tick) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(fault) => {
                    tracing::debug!(peer = %self.connection.peer, ?fault, "HTTP/2 connection ended");
                    self.is_faulty = true;
                    state.end_streams();
                    break;
                }
            };
            match event {
                Event::Request { stream, end } => {
                    (self.is_busy, self.has_asked) = (true, true);
                    self.request(state, desk, stream, end, now);
                }
                Event::TooLarge { stream, .. } => {
                    (self.is_busy, self.has_asked) = (true, true);
                    self.refuse_large(state, desk, stream, now);
                }
                Event::Content {
                    stream,
                    content,
                    end,
                } => state.put_content(stream, content, end),
                // What comes behind the content of a request ends here.
                Event::Trailers { stream, .. } => {
                    state.put_content(stream, bytes::Bytes::new(), true);
                }
                Event::Reset { stream, .. } => {
                    state.put_reset(stream);
                    self.note_reset(stream);
                }
                Event::Malformed { reason, .. } => {
                    tracing::debug!(peer = %self.connection.peer, reason, "malformed HTTP/2 stream");
                }
            }
        }
        input.len() - rest.len()
    }

    /// Whether what is held is the beginning of HEADERS or CONTINUATION.
    fn has_part_of_head(&self) -> bool {
        matches!(self.buf.get(3), Some(1 | 9))
    }

    /// Whether the process or the listener wants it to end with what it does now.
    fn is_to_leave(&self) -> bool {
        self.leaving == Leaving::No && (self.hall.shared.is_draining() || self.place.is_leaving())
    }

    /// Says that no more requests are taken, where that is due. Who has made a handshake and is told so before its
    /// first request has made it in vain, and many clients count that request as lost: it has a moment for it.
    fn leave_if_due(&mut self, state: &mut State) {
        if !self.is_to_leave() {
            return;
        }
        if !self.has_asked {
            let now = Instant::now();
            if now < *self.leave_from.get_or_insert(now + LEAVING) {
                return;
            }
        }
        self.leave(state);
    }

    /// Says that no more requests are taken.
    fn leave(&mut self, state: &mut State) {
        state.wire.go_away(self.hall.started.elapsed());
        self.leaving = Leaving::Announced(Instant::now() + LEAVING);
    }

    /// Looks at the time. `true`: it is over; `false`: there is something to be written.
    fn poll_time(&mut self, state: &mut State, is_stuck: bool, cx: &mut Context<'_>) -> Poll<bool> {
        let is_idle = !state.is_at_work();
        if is_idle && self.is_busy {
            self.is_busy = false;
            let limit = self.hall.current.load().bounds.keepalive_timeout;
            let now = Instant::now();
            self.idle_until = now + limit;
            self.quiet_from = Some(now + QUIET);
            let since = now.into_std().saturating_duration_since(self.hall.started);
            self.place.answered(since);
        }
        if is_idle && self.place.is_shed() {
            state.wire.go_away_now();
            // It goes at once, whether it hears of it or not.
            let _ = self.poll_write(state, &mut false, cx);
            return Poll::Ready(true);
        }
        // Streams with tasks have limits of their own.
        if !is_stuck {
            self.pace.moved(0);
        }
        let stuck_at = is_stuck.then(|| self.pace.wait(Instant::now()));
        let unread_at = self.unread_at();
        // Who was told to leave is heard to the end of that, however long it has rested.
        let is_announced = matches!(self.leaving, Leaving::Announced(_));
        let idle_at = (is_idle && !is_announced).then_some(self.idle_until);
        let leave_at = match self.leaving {
            Leaving::Announced(until) => Some(until),
            Leaving::No if self.is_to_leave() => self.leave_from,
            Leaving::No | Leaving::Final => None,
        };
        // While nothing is read it is not the client who is late.
        let is_partial = !is_stuck && (state.wire.is_in_head() || self.has_part_of_head());
        self.head_since = is_partial.then(|| self.head_since.unwrap_or_else(Instant::now));
        self.place.stand(match is_idle {
            false => Standing::Working,
            true if is_partial || !self.has_preface => Standing::Opening,
            true => Standing::Idle,
        });
        let limit = || self.hall.current.load().bounds.header_timeout;
        let head_at = self.head_since.map(|since| since + limit());
        let quiet_at = self.quiet_from.filter(|_| is_idle);
        let next = [stuck_at, head_at, unread_at, idle_at, leave_at, quiet_at];
        let Some(at) = next.into_iter().flatten().min() else {
            return Poll::Pending;
        };
        ready!(self.deadline.poll(cx, at));
        let is_at = |limit: Option<Instant>| limit == Some(at);
        if is_at(stuck_at) || is_at(head_at) {
            self.is_unread = is_at(stuck_at);
            let why = if self.is_unread {
                "slow_read"
            } else {
                "slow_head"
            };
            self.hall.shared.metrics.visitors.shed(why).inc();
            return Poll::Ready(true);
        }
        if is_at(unread_at) {
            self.give_up_unread(state, at);
        } else if is_at(quiet_at) {
            self.quiet_from = None;
            state.wire.shrink();
        } else if is_at(leave_at) && self.leaving == Leaving::No {
            // It has not asked for anything; the next round says so.
        } else if is_at(leave_at) {
            // Whatever comes from now on came too late.
            state.wire.go_away(self.hall.started.elapsed());
            self.leaving = Leaving::Final;
            self.idle_until = Instant::now() + FAREWELL;
        } else if self.leaving == Leaving::No {
            // A request may be on its way at this very moment.
            self.leave(state);
        } else {
            return Poll::Ready(true);
        }
        Poll::Ready(false)
    }
}
