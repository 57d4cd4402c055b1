//! What a connection and the tasks of its streams share.
//!
//! The connection's task reads and writes; a stream that needs more than the store's memory has a task of
//! its own, which says here what is to be sent and takes what has arrived. All of them run on one thread,
//! so nobody waits for the lock.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http2_server::{Connection, ErrorCode, StreamId};
use tokio::time::timeout;

use crate::{
    door::linger::{LONGEST, MAX_BYTES, QUIET},
    forward::Taken,
};

/// The visitor has reset the stream, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// The wire, and what has arrived for the tasks of streams.
pub(super) struct State {
    pub(super) wire: Connection,
    inboxes: HashMap<StreamId, Inbox, ahash::RandomState>,
    /// The connection's task.
    pub(super) task: Option<Waker>,
    /// The transport takes nothing for now.
    pub(super) is_stuck: bool,
    /// Octets that the transport has taken.
    pub(super) written: u64,
    /// Pieces of content that tasks have sent.
    sent: u64,
}

/// What has arrived for a stream with a task.
#[derive(Default)]
struct Inbox {
    content: VecDeque<Bytes>,
    is_complete: bool,
    is_gone: bool,
    /// It is answered, and its task drops what still comes.
    is_answered: bool,
    /// Its task waits until something has been written.
    waits_for_room: bool,
    /// When it last sent content, as a count of all pieces.
    sent_at: u64,
    task: Option<Waker>,
}

impl Inbox {
    fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    fn wait(&mut self, cx: &Context<'_>) {
        match &self.task {
            Some(task) if task.will_wake(cx.waker()) => {}
            _ => self.task = Some(cx.waker().clone()),
        }
    }
}

impl State {
    /// Content for a stream's task. Without a task nobody wants it, and the windows open again.
    pub(super) fn put_content(&mut self, stream: StreamId, content: Bytes, end: bool) {
        let Some(inbox) = self.inboxes.get_mut(&stream) else {
            return self.wire.release(stream, content.len());
        };
        if !content.is_empty() {
            inbox.content.push_back(content);
        }
        inbox.is_complete |= end;
        inbox.wake();
    }

    /// The stream is gone.
    pub(super) fn put_reset(&mut self, stream: StreamId) {
        if let Some(inbox) = self.inboxes.get_mut(&stream) {
            inbox.is_gone = true;
            inbox.content.clear();
            inbox.wake();
        }
    }

    /// Something has been written, or the client has opened a window. There is room for one or two, so those go
    /// first who have not sent anything for longest.
    pub(super) fn wake_waiting(&mut self) {
        let waiting = self.inboxes.values_mut();
        let mut waiting: Vec<_> = waiting.filter(|inbox| inbox.waits_for_room).collect();
        waiting.sort_unstable_by_key(|inbox| inbox.sent_at);
        for inbox in waiting {
            inbox.waits_for_room = false;
            inbox.wake();
        }
    }

    /// No stream goes on: the transport has ended, or the client has broken the protocol.
    pub(super) fn end_streams(&mut self) {
        for inbox in self.inboxes.values_mut() {
            inbox.is_gone = true;
            inbox.content.clear();
            inbox.wake();
        }
    }

    fn wake_connection(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }

    /// Whether a request is at work. Of one that is answered only the end of its content is awaited, if that.
    pub(super) fn is_at_work(&self) -> bool {
        if self.inboxes.values().any(|inbox| !inbox.is_answered) {
            return true;
        }
        let answered = self.inboxes.keys();
        let open = answered.filter(|stream| self.wire.is_open(**stream));
        open.count() < self.wire.open_streams()
    }
}

/// The lock around it.
pub(super) struct Line(Mutex<State>);

impl Line {
    pub(super) fn new(wire: Connection) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            wire,
            inboxes: HashMap::default(),
            task: None,
            is_stuck: false,
            written: 0,
            sent: 0,
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transport has ended: all tasks learn of it.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.task = None;
        state.end_streams();
    }
}

/// A stream, as its task sees it. Dropped before the answer is complete, it is reset, so that nobody takes
/// a part for the whole.
pub(super) struct Exchange {
    line: Arc<Line>,
    stream: StreamId,
    is_ended: bool,
    /// Octets of content so far.
    handed: u64,
}

impl Exchange {
    /// For a request that has just come; `complete`: without content.
    pub(super) fn new(
        line: &Arc<Line>,
        state: &mut State,
        stream: StreamId,
        complete: bool,
    ) -> Self {
        let inbox = Inbox {
            is_complete: complete,
            ..Inbox::default()
        };
        state.inboxes.insert(stream, inbox);
        Self {
            line: Arc::clone(line),
            stream,
            is_ended: false,
            handed: 0,
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State, StreamId) -> T) -> T {
        let mut state = self.line.state();
        let before = state.wire.unwritten();
        let result = f(&mut state, self.stream);
        // Only for something new: a connection that waits for its client would wake its streams, and
        // they it, without end.
        if state.wire.unwritten() > before || state.wire.is_finished() {
            state.wake_connection();
        }
        result
    }

    /// Sends a head; with `end` there is no content.
    pub(super) fn send_head(&mut self, block: &[u8], end: bool) {
        self.is_ended |= end;
        self.with(|state, stream| state.wire.send_head(stream, block, end));
    }

    /// Sends content.
    pub(super) fn send(&mut self, content: Bytes, end: bool) {
        self.is_ended |= end;
        self.handed += content.len() as u64;
        self.with(|state, stream| {
            state.sent += 1;
            if let Some(inbox) = state.inboxes.get_mut(&stream) {
                inbox.sent_at = state.sent;
            }
            state.wire.send_content(stream, content, end);
        });
    }

    /// Sends trailers, which end the answer.
    pub(super) fn send_trailers(&mut self, block: &[u8]) {
        self.is_ended = true;
        self.with(|state, stream| state.wire.send_trailers(stream, block));
    }

    /// Whether the answer is complete.
    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// The next piece of the request's content, `None` at its end.
    pub(super) fn poll_content(&self, cx: &Context<'_>) -> Poll<Result<Option<Bytes>, Gone>> {
        self.with(|state, stream| {
            let Some(inbox) = state.inboxes.get_mut(&stream) else {
                return Poll::Ready(Err(Gone));
            };
            if let Some(content) = inbox.content.pop_front() {
                state.wire.release(stream, content.len());
                return Poll::Ready(Ok(Some(content)));
            }
            if inbox.is_gone {
                return Poll::Ready(Err(Gone));
            }
            if inbox.is_complete {
                return Poll::Ready(Ok(None));
            }
            inbox.wait(cx);
            Poll::Pending
        })
    }

    /// Drops what the client still sends of its request when the answer is out, within bounds. Dropped at once
    /// the stream would be reset, which some clients take for the loss of the answer (RFC 9113 §8.1 forbids it).
    pub(super) async fn linger(&self) {
        {
            let mut state = self.line.state();
            if let Some(inbox) = state.inboxes.get_mut(&self.stream) {
                inbox.is_answered = true;
            }
            // It may be idle now.
            state.wake_connection();
        }
        let end = async {
            let mut left = MAX_BYTES;
            let next = || timeout(QUIET, poll_fn(|cx| self.poll_content(cx)));
            while let Ok(Ok(Some(content))) = next().await {
                left = left.checked_sub(content.len())?;
            }
            Some(())
        };
        let _ = timeout(LONGEST, end).await;
    }

    /// Ready when nobody is left to answer to.
    pub(super) fn poll_gone(&self, cx: &Context<'_>) -> Poll<Gone> {
        let mut state = self.line.state();
        match state.inboxes.get_mut(&self.stream) {
            Some(inbox) if !inbox.is_gone => {
                inbox.wait(cx);
                Poll::Pending
            }
            _ => Poll::Ready(Gone),
        }
    }

    /// Ready when more content may be sent: what was before it, on any stream, is with the transport, and the
    /// client takes more. Where streams wait for their turn anyway, one piece of each may wait with them.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<(), Gone>> {
        self.poll_until(cx, |state, stream| {
            let wire = &state.wire;
            let may_write = wire.has_queued() || (!state.is_stuck && wire.unwritten() == 0);
            may_write && wire.unsent(stream) == 0 && wire.window(stream) > 0
        })
    }

    /// Ready when all of the answer has left.
    pub(super) fn poll_sent(&self, cx: &Context<'_>) -> Poll<Result<(), Gone>> {
        self.poll_until(cx, |state, stream| state.wire.is_sent(stream))
    }

    /// What shows that the client reads: octets of content that have left, and, where its windows are open,
    /// octets that went out on any stream.
    pub(super) fn progress(&self) -> Taken {
        let state = self.line.state();
        let is_open = state.wire.is_window_open(self.stream);
        let unsent = state.wire.unsent(self.stream) as u64;
        Taken {
            own: self.handed.saturating_sub(unsent),
            shared: is_open.then_some(state.written),
        }
    }

    fn poll_until(
        &self,
        cx: &Context<'_>,
        is_reached: impl FnOnce(&State, StreamId) -> bool,
    ) -> Poll<Result<(), Gone>> {
        let mut state = self.line.state();
        let reached = is_reached(&state, self.stream);
        match state.inboxes.get_mut(&self.stream) {
            Some(inbox) if !inbox.is_gone => {
                if reached {
                    return Poll::Ready(Ok(()));
                }
                inbox.waits_for_room = true;
                inbox.wait(cx);
                Poll::Pending
            }
            _ => Poll::Ready(Err(Gone)),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.line.state();
        let inbox = state.inboxes.remove(&self.stream);
        if !state.wire.is_sent(self.stream) {
            state.wire.reset(self.stream, ErrorCode::INTERNAL_ERROR);
        } else if state.wire.is_open(self.stream) && inbox.is_some_and(|inbox| !inbox.is_complete) {
            // The answer is out; the rest of the request is of no use (RFC 9113 §8.1).
            state.wire.reset(self.stream, ErrorCode::NO_ERROR);
        }
        // Without a task it may be idle now.
        state.wake_connection();
    }
}
