//! Requests that the store answers from memory: read, decided and written in one go.
//!
//! What that needs lies on a desk that all connections of a thread share, so that a connection that
//! waits holds no buffer, and a hit allocates nothing. Requests that came together are answered together.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    net::IpAddr,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use http1_wire::{HeadScanner, Refusal, request::Head};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{
    super::{Hall, RequestId, outgoing::Outgoing},
    Noted, Request, Session, local_address, protocol, write,
};
use crate::{
    admit::client,
    edge::{self, Answer, Decision, Hit, RequestView, decide::Now},
    fill::content::Content,
    listen::stream::Stream,
    observe::Record,
    snapshot::Snapshot,
};

/// What is read at once.
const INPUT: usize = 16 * 1024;
/// Requests that are answered in one write.
const MAX_TOGETHER: usize = 16;
/// Content after which answers go out before more requests are looked at.
const MAX_CONTENT: usize = 64 * 1024;

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

/// The shared place of a thread.
struct Desk {
    input: Box<[u8]>,
    answers: Vec<Ready>,
    /// What differs from answer to answer, one behind the other.
    out: BytesMut,
    /// For the next heads.
    spare: Vec<Head>,
}

thread_local! {
    static DESK: RefCell<Desk> = RefCell::new(Desk {
        input: vec![0; INPUT].into_boxed_slice(),
        answers: Vec::with_capacity(MAX_TOGETHER),
        out: BytesMut::with_capacity(4 * 1024),
        spare: Vec::new(),
    });
}

/// A request that is answered, for those who are told of it.
struct AskedFor {
    head: Head,
    /// Where its head lies in the input.
    at: Range<usize>,
    now: Now,
    client: IpAddr,
    request_id: RequestId,
}

/// An answer that is ready to be written.
struct Ready {
    asked: AskedFor,
    hit: Hit,
    status: u16,
    /// As it is stored; empty where the answer has another one.
    stored_head: Bytes,
    /// What follows it, on the desk.
    out: Range<usize>,
    content: Bytes,
}

/// Answers that are not written yet.
pub(super) struct Unsent {
    parts: VecDeque<Bytes>,
    answers: Vec<(Ready, BytesMut)>,
    /// What is to be done behind them.
    then: Turn,
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
        if self.buf.is_empty() && self.hall.shared.is_draining() {
            // A connection without a request at hand goes when the process does.
            return Poll::Ready(Turn::Over);
        }
        self.deadline
            .set(self.head_until.unwrap_or(self.idle_until));
        ready!(self.deadline.poll(cx));
        Poll::Ready(match self.buf.is_empty() {
            true => Turn::Over,
            false => Turn::Refuse(Refusal {
                status: 408,
                reason: "request head took too long",
            }),
        })
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
        }
    }

    /// From now on a visitor may take its time with the next request.
    pub(super) fn begin_to_wait(&mut self) {
        let limit = self.hall.current.load().bounds.keepalive_timeout;
        self.idle_until = Instant::now() + limit;
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
                    let close = head.close || self.hall.shared.is_draining();
                    let asked = AskedFor {
                        head,
                        at,
                        now,
                        client: judged.client,
                        request_id: judged.request_id,
                    };
                    let ready = Ready::new(asked, hit, close, &mut desk.out);
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
        let limit = self.hall.current.load().bounds.keepalive_timeout;
        self.idle_until = Instant::from_std(self.hall.started + now + limit);
        Sent::All
    }

    /// Tells of the answers, and returns the time.
    fn tell_all(&self, desk: &mut Desk, input: &[u8], reason: Option<&'static str>) -> Duration {
        let now = self.hall.started.elapsed();
        for ready in desk.answers.drain(..) {
            ready.tell(self.hall, &input[ready.asked.at.clone()], now, reason);
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
                write::bytes(&mut self.stream, &part).await?;
            }
            write::flush(&mut self.stream).await
        };
        let sent = sent.await;
        let now = self.hall.started.elapsed();
        let reason = sent.as_ref().err().map(|_| "client_gone");
        for (ready, bytes) in &unsent.answers {
            ready.tell(self.hall, bytes, now, reason);
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
    let peer = session.connection.peer.ip();
    let trusted = client::is_trusted(peer, trusted_proxies);
    let client = client::client_address(peer, &fields, trusted_proxies);
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

impl Ready {
    /// Composes the answer; its head goes onto the desk.
    fn new(asked: AskedFor, hit: Hit, close: bool, desk: &mut BytesMut) -> Self {
        let mut outgoing = Outgoing::of_hit(&hit);
        outgoing.narrow();
        let manner = write::Manner {
            head_only: asked.head.method == Method::HEAD,
            close,
            is_http10: asked.head.is_http10,
            request_id: asked.request_id.as_str().as_bytes(),
        };
        let begin = desk.len();
        write::put_head(desk, &outgoing, &manner, write::Framing::Known);
        let content = match std::mem::replace(&mut outgoing.content, Content::empty()) {
            Content::Memory(content) if !manner.head_only => content,
            _ => Bytes::new(),
        };
        let stored_head = match outgoing.answer {
            Answer::Whole => std::mem::take(&mut outgoing.head),
            _ => Bytes::new(),
        };
        Self {
            status: outgoing.status(),
            stored_head,
            out: begin..desk.len(),
            content,
            hit,
            asked,
        }
    }

    fn len(&self) -> usize {
        self.stored_head.len() + self.out.len() + self.content.len()
    }

    fn tell(&self, hall: &Hall, bytes: &[u8], now: Duration, reason: Option<&'static str>) {
        let asked = &self.asked;
        let fields = asked.head.fields(bytes);
        hall.shared.finish(&Record {
            began: asked.now,
            duration: now.saturating_sub(asked.now.tick),
            client: asked.client,
            protocol: protocol(&asked.head),
            method: &asked.head.method,
            host: asked.head.host(bytes),
            target: asked.head.target(bytes),
            status: self.status,
            bytes: self.content.len() as u64,
            route: Some(&self.hit.route),
            outcome: self.hit.outcome,
            upstream: None,
            upstream_time: None,
            attempts: 0,
            request_id: asked.request_id.as_str(),
            limit: self.hit.limit.as_ref(),
            reason,
            fields: Some(&fields),
        });
    }
}

impl Unsent {
    /// Takes the answers off the desk, less what is `written`.
    fn new(desk: &mut Desk, input: &[u8], written: usize, then: Turn) -> Self {
        let mut parts = VecDeque::with_capacity(3 * desk.answers.len());
        let mut skip = written;
        let out = Bytes::copy_from_slice(&desk.out);
        for ready in &desk.answers {
            let head = ready.stored_head.clone();
            for mut part in [head, out.slice(ready.out.clone()), ready.content.clone()] {
                let gone = skip.min(part.len());
                skip -= gone;
                part.advance(gone);
                if !part.is_empty() {
                    parts.push_back(part);
                }
            }
        }
        let answers = desk.answers.drain(..).map(|ready| {
            let bytes = BytesMut::from(&input[ready.asked.at.clone()]);
            (ready, bytes)
        });
        Self {
            parts,
            answers: answers.collect(),
            then,
        }
    }
}

/// Writes what can be written at once of the answers on the desk.
fn poll_write(stream: &mut Stream, desk: &Desk, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    if let [only] = desk.answers.as_slice() {
        let out = &desk.out[only.out.clone()];
        let slices = [&only.stored_head[..], out, &only.content[..]].map(IoSlice::new);
        return Pin::new(stream).poll_write_vectored(cx, &slices);
    }
    let mut slices = [IoSlice::new(&[]); 3 * MAX_TOGETHER];
    for (i, ready) in desk.answers.iter().enumerate() {
        slices[3 * i] = IoSlice::new(&ready.stored_head);
        slices[3 * i + 1] = IoSlice::new(&desk.out[ready.out.clone()]);
        slices[3 * i + 2] = IoSlice::new(&ready.content);
    }
    Pin::new(stream).poll_write_vectored(cx, &slices[..3 * desk.answers.len()])
}
