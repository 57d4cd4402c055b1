//! Requests that the store answers from memory: read, decided and written in one go.
//!
//! What that needs lies on a desk that all connections of a thread share, so that a connection that
//! waits holds no buffer, and a hit allocates nothing. Requests that came together are answered together.

use std::{
    borrow::Cow,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use http1_wire::{HeadScanner, Refusal, request::Head};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{
    super::RequestId,
    Noted, Request, Session,
    desk::{AskedFor, DESK, Desk, INPUT, MAX_TOGETHER, Ready, Unsent, poll_write},
    local_address, write,
};
use crate::{
    admit::client,
    door::pace::{Pace, Patience},
    edge::{self, Answer, Decision, Hit, RequestView, decide::Now},
    listen::{places::Standing, stream::Stream},
    snapshot::Snapshot,
};

/// Content after which answers go out before more requests are looked at.
const MAX_CONTENT: usize = 64 * 1024;

/// How long a connection that rests is still listened to when the process ends: visitors in the middle of a page ask again
/// within that time, and hear with the answer that the connection ends.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// What came of looking at a connection.
pub(super) enum Turn {
    /// Nothing else is to be done: more requests may come.
    Wait,
    /// A request that is no hit.
    Request(Box<Request>),
    /// The answers did not fit into the connection.
    Unsent(Box<Unsent>),
    /// What came is no request; the connection ends with an answer that says so.
    Refuse(Refusal),
    /// The last answer is out.
    Close,
    /// The visitor has left, or has nothing more to ask.
    Over,
    /// The process ends, and nothing was asked for a while.
    Leave,
}

/// Why no more requests are looked at for now.
enum Step {
    /// There are no more.
    Wait,
    /// There may be more; the answers so far go first.
    Again,
    /// Something else is to be done.
    Turn(Turn),
}

/// What became of answers.
enum Sent {
    All,
    /// Not all could be written at once.
    Some(usize),
    /// The visitor is gone.
    Gone,
}

impl Session<'_> {
    /// Reads and answers until something else is to be done. Hits are answered on the way.
    pub(super) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        self.place.take(cx);
        let turn = DESK.with_borrow_mut(|desk| self.poll_desk(desk, cx));
        if turn.is_ready() {
            return turn;
        }
        if self.place.is_shed() {
            // Others need the room.
            return Poll::Ready(Turn::Over);
        }
        let mut until = self.head_until.unwrap_or(self.idle_until);
        let leaves = self.leaves_idle();
        until = leaves.map_or(until, |leaves| leaves.min(until));
        ready!(self.deadline.poll(cx, until));
        if leaves == Some(until) {
            return Poll::Ready(Turn::Leave);
        }
        if self.place.standing() == Standing::Opening {
            self.hall.shared.metrics.visitors.shed("slow_head").inc();
        }
        Poll::Ready(match self.buf.is_empty() {
            true => Turn::Over,
            false => Turn::Refuse(Refusal {
                status: 408,
                reason: "request head took too long",
            }),
        })
    }

    /// Until when a connection without a request at hand may stay, where the process ends: a request may be on its way,
    /// or come as those before it did, and is the last one then.
    fn leaves_idle(&mut self) -> Option<Instant> {
        if !self.buf.is_empty() || !self.hall.shared.closes_idle() {
            return None;
        }
        let until = self.leaves_idle.get_or_insert_with(|| {
            let grace = self.hall.current.load().config.server.shutdown_grace;
            Instant::now() + LAST_REQUEST.min(grace / 2)
        });
        Some(*until)
    }

    fn poll_desk(&mut self, desk: &mut Desk, cx: &mut Context<'_>) -> Poll<Turn> {
        // What was left by the request before may hold more of them.
        let mut is_read = !self.buf.is_empty() && self.head_until.is_none();
        if desk.input.is_empty() {
            // A task that panicked has left with it, and its answers are nobody else's.
            desk.input = vec![0; INPUT].into_boxed_slice();
            desk.answers.clear();
        }
        loop {
            let mut arrived = 0;
            if !is_read {
                let mut buf = ReadBuf::new(&mut desk.input);
                match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)) {
                    Ok(()) if !buf.filled().is_empty() => arrived = buf.filled().len(),
                    Ok(()) | Err(_) => return Poll::Ready(Turn::Over),
                }
            }
            is_read = false;
            let input = std::mem::take(&mut desk.input);
            let mut held = std::mem::take(&mut self.buf);
            let is_held = !held.is_empty();
            if is_held {
                held.extend_from_slice(&input[..arrived]);
            }
            let given: &[u8] = if is_held { &held } else { &input[..arrived] };
            let (used, end) = self.answer_all(desk, given, cx);
            if is_held {
                held.advance(used);
                self.buf = if held.is_empty() {
                    BytesMut::new()
                } else {
                    held
                };
            } else if used < arrived {
                self.buf = BytesMut::from(&input[used..arrived]);
            }
            desk.input = input;
            if used > 0 {
                // What is left belongs to another head.
                self.head_until = None;
            }
            match end {
                None => self.note_head_time(),
                Some(turn) => {
                    self.head_until = None;
                    return Poll::Ready(turn);
                }
            }
        }
    }

    /// A head that has begun has its own time.
    fn note_head_time(&mut self) {
        if self.buf.is_empty() {
            self.head_until = None;
        } else if self.head_until.is_none() {
            let limit = self.hall.current.load().bounds.header_timeout;
            self.head_until = Some(Instant::now() + limit);
            self.place.stand(Standing::Opening);
        }
    }

    /// From now on a visitor may take its time with the next request.
    pub(super) fn begin_to_wait(&mut self) {
        let bounds = &self.hall.current.load().bounds;
        self.idle_until = Instant::now() + bounds.keepalive_timeout;
        self.patience = Patience::new(Pace::sending(&bounds.visitors));
        self.place.stand(Standing::Idle);
        self.head_until = None;
        self.scanner = HeadScanner::default();
        self.head = Head::default();
    }

    /// Answers the requests in `input` that are hits; says how much of it is done with, and what else is to
    /// be done, if anything.
    fn answer_all(
        &mut self,
        desk: &mut Desk,
        input: &[u8],
        cx: &mut Context<'_>,
    ) -> (usize, Option<Turn>) {
        let mut used = 0;
        loop {
            let step = self.look(desk, input, &mut used);
            let sent = match desk.answers.is_empty() {
                true => Sent::All,
                false => self.send_all(desk, input, cx),
            };
            match (sent, step) {
                (Sent::All, Step::Again) => {}
                (Sent::All, Step::Wait) => return (used, None),
                (Sent::All, Step::Turn(turn)) => return (used, Some(turn)),
                (Sent::Gone, _) => return (used, Some(Turn::Over)),
                (Sent::Some(written), step) => {
                    let then = match step {
                        Step::Turn(turn) => turn,
                        Step::Wait | Step::Again => Turn::Wait,
                    };
                    let unsent = Unsent::new(desk, input, written, then);
                    return (used, Some(Turn::Unsent(Box::new(unsent))));
                }
            }
        }
    }

    /// Decides requests until one is no hit, or there are enough to be written.
    fn look(&mut self, desk: &mut Desk, input: &[u8], used: &mut usize) -> Step {
        let snapshot = self.hall.current.load();
        let bounds = &snapshot.bounds;
        let (mut content, mut now) = (0, None);
        desk.out.clear();
        loop {
            let rest = &input[*used..];
            // A client may end the last body with one line too many (RFC 9112 §2.2).
            if rest.starts_with(b"\r\n") && !self.skipped_line {
                *used += 2;
                self.skipped_line = true;
                self.scanner = HeadScanner::default();
                continue;
            }
            let length = match self.scanner.scan(rest) {
                Ok(Some(length)) if length > bounds.max_header => return refuse(TOO_LARGE),
                Ok(Some(length)) => length,
                Ok(None) if rest.len() <= bounds.max_header => return Step::Wait,
                Ok(None) if memchr::memchr(b'\n', rest).is_none() => {
                    return refuse(Refusal {
                        status: 414,
                        reason: "request target too long",
                    });
                }
                Ok(None) => return refuse(TOO_LARGE),
                Err(refusal) => return refuse(refusal),
            };
            self.scanner = HeadScanner::default();
            self.skipped_line = false;
            let bytes = &rest[..length];
            let mut head = desk.spare.pop().unwrap_or_default();
            if let Err(refusal) = head.parse(bytes, bounds.max_target) {
                return refuse(refusal);
            }
            let now = *now.get_or_insert_with(|| self.hall.now());
            let authority = authority(&self.stream, &head, bytes);
            let judged = judge(self, &snapshot, &authority, bytes, &head, now);
            let at = *used..*used + length;
            *used += length;
            match judged.decision {
                Decision::Respond(hit) if is_plain(&hit) => {
                    let close = head.close || self.ends_soon();
                    let asked = AskedFor {
                        head,
                        at,
                        now,
                        client: judged.client,
                        request_id: judged.request_id,
                    };
                    let ready =
                        Ready::new(asked, hit, self.connection.scheme, close, &mut desk.out);
                    content += ready.content.len();
                    desk.answers.push(ready);
                    if close {
                        return Step::Turn(Turn::Close);
                    }
                    if desk.answers.len() == MAX_TOGETHER || content >= MAX_CONTENT {
                        return Step::Again;
                    }
                }
                decision => {
                    let host = authority.into_owned();
                    return Step::Turn(Turn::Request(Box::new(Request {
                        snapshot: Arc::clone(&snapshot),
                        decision,
                        bytes: BytesMut::from(bytes),
                        head,
                        host,
                        noted: Noted {
                            now,
                            client: judged.client,
                            trusted: judged.trusted,
                            request_id: judged.request_id.as_str().to_owned(),
                        },
                    })));
                }
            }
        }
    }

    /// Writes the answers on the desk, and tells of them if they are out.
    fn send_all(&mut self, desk: &mut Desk, input: &[u8], cx: &mut Context<'_>) -> Sent {
        let whole: usize = desk.answers.iter().map(Ready::len).sum();
        let written = match poll_write(&mut self.stream, desk, cx) {
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(_)) => {
                self.tell_all(desk, input, Some("client_gone"));
                return Sent::Gone;
            }
            Poll::Pending => return Sent::Some(0),
        };
        if written < whole || Pin::new(&mut self.stream).poll_flush(cx).is_pending() {
            return Sent::Some(written);
        }
        let now = self.tell_all(desk, input, None);
        self.place.answered(now);
        let limit = self.hall.current.load().bounds.keepalive_timeout;
        self.idle_until = Instant::from_std(self.hall.started + now + limit);
        Sent::All
    }

    /// Tells of the answers, and returns the time.
    fn tell_all(&self, desk: &mut Desk, input: &[u8], reason: Option<&'static str>) -> Duration {
        let now = self.hall.started.elapsed();
        for ready in desk.answers.drain(..) {
            let bytes = &input[ready.asked.at.clone()];
            ready.tell(self.hall, bytes, now, reason, self.connection.client_cert());
            if desk.spare.len() < MAX_TOGETHER {
                desk.spare.push(ready.asked.head);
            }
        }
        now
    }

    /// Writes what did not fit, however long the visitor takes for it; says what comes then. `None`: it has
    /// left.
    pub(super) async fn send_rest(&mut self, unsent: Unsent) -> Option<Turn> {
        let sent = async {
            for part in unsent.parts {
                write::bytes(&mut self.stream, &mut self.patience, &part).await?;
            }
            write::flush(&mut self.stream, &mut self.patience).await
        };
        let sent = sent.await;
        let now = self.hall.started.elapsed();
        let visitors = &self.hall.shared.metrics.visitors;
        let reason = sent.as_ref().err().map(|why| visitors.lost(why));
        for (ready, bytes) in &unsent.answers {
            ready.tell(self.hall, bytes, now, reason, self.connection.client_cert());
        }
        sent.ok()?;
        self.begin_to_wait();
        Some(unsent.then)
    }
}

const TOO_LARGE: Refusal = Refusal {
    status: 431,
    reason: "request head too large",
};

fn refuse(refusal: Refusal) -> Step {
    Step::Turn(Turn::Refuse(refusal))
}

/// Whether it can be written here: it lies in memory in one piece, and nothing else is to be done.
fn is_plain(hit: &Hit) -> bool {
    hit.refresh.is_none() && !matches!(hit.answer, Answer::Parts(_))
}

/// What `Host` says, or our address where HTTP/1.0 says nothing.
fn authority<'a>(stream: &Stream, head: &Head, bytes: &'a [u8]) -> Cow<'a, str> {
    match head.host(bytes) {
        "" => Cow::Owned(local_address(stream)),
        host => Cow::Borrowed(host),
    }
}

/// A decision, and what it rests on.
struct Judged {
    client: IpAddr,
    trusted: bool,
    request_id: RequestId,
    decision: Decision,
}

/// Puts a request before the decision.
fn judge(
    session: &Session<'_>,
    snapshot: &Snapshot,
    authority: &str,
    bytes: &[u8],
    head: &Head,
    now: Now,
) -> Judged {
    let fields = head.fields(bytes);
    let trusted_proxies = &snapshot.bounds.trusted_proxies;
    let named_in = snapshot.bounds.visitors.forwarded_field;
    let peer = session.connection.peer.ip();
    let trusted = client::is_trusted(peer, trusted_proxies);
    let client = client::client_address(peer, &fields, trusted_proxies, named_in);
    let view = RequestView {
        method: &head.method,
        authority,
        target: head.target(bytes),
        fields: &fields,
        body: head.body,
        client,
        connection: session.connection,
    };
    Judged {
        client,
        trusted,
        request_id: RequestId::of(&fields, trusted),
        decision: edge::decide(snapshot, &session.hall.shared, &view, now),
    }
}
