//! One exchange over one connection: the request goes up, the answer comes down, both at once.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::header::{CONTENT_TYPE, EXPECT};
use http1_wire::{
    Body, HeadScanner,
    response::{Framing, Head},
};
use tokio::time::Instant;

use super::{
    Request,
    answer::AnswerHead,
    turn,
    upload::{Content, Manner, Upload, Waits},
    visitor::{Taken, Visitor},
};
use crate::{
    config::model::UpstreamProtocol,
    door::pace::Pace,
    observe::Protocol,
    respond::{failure::Failure, fault::Fault},
    upstream::{
        concurrency::Permit,
        connect::buffer::{Buffer, Buffers},
        connect::connection::Connection,
        connect::http1::{self, Interim, Left, Run},
    },
};

/// A server that has not said by then whether it wants the content gets it: many never say so, and a visitor that
/// waits for the word is not to be taken for a server that is slow.
const CONTINUE: Duration = Duration::from_secs(1);

/// What has come of an exchange so far; outlives the relay.
pub(super) struct Progress {
    /// When the process began.
    pub(super) started: std::time::Instant,
    /// When all of it is to be over, further attempts included.
    pub(super) until: Instant,
    /// A byte of an answer has arrived.
    pub(super) heard: bool,
    /// Status of the answer that the visitor gets; `0` while there is none.
    pub(super) status: u16,
    /// Content bytes that the visitor has taken.
    pub(super) delivered: u64,
    /// The visitor has been told to send its content (RFC 9110 §10.1.1).
    pub(super) continued: bool,
    /// The place among the requests at work, under which all attempts are made; given back when the head of an
    /// answer is here.
    pub(super) permit: Option<Permit>,
    /// What the visitor was told before its answer.
    pub(super) interim: Interim,
}

impl Progress {
    pub(super) fn new(started: std::time::Instant, until: Instant) -> Self {
        Self {
            started,
            until,
            heard: false,
            status: 0,
            delivered: 0,
            continued: false,
            permit: None,
            interim: Interim::default(),
        }
    }
}

/// Where an answer is on its way.
enum Stage {
    Head(HeadScanner),
    Content(Left),
    /// All is here; the visitor has yet to take the rest.
    Finish,
}

/// Relays an exchange to its end. `answered` is called with the head of the answer before the visitor gets
/// it. Says whether the connection can be used again.
pub(super) async fn relay(
    request: &Request<'_>,
    connection: &mut Connection,
    buffers: &mut Buffers,
    content: &mut Content,
    visitor: &mut impl Visitor,
    progress: &mut Progress,
    answered: impl FnMut(&AnswerHead<'_>),
) -> Result<bool, Fault> {
    let manner = match request.content {
        Body::Unknown if !connection.is_stream() => Manner::Chunked,
        Body::None | Body::Length(_) | Body::Unknown => Manner::Plain,
    };
    let length = match request.content {
        Body::Length(length) => Some(length),
        Body::None | Body::Unknown => None,
    };
    let began = Instant::now();
    let mut relay = Relay {
        request,
        connection,
        buffer: &mut buffers.answer,
        head: &mut buffers.head,
        upload: Upload::new(&mut buffers.request, manner, length),
        content,
        visitor,
        progress,
        turn: None,
        answered,
        stage: Stage::Head(HeadScanner::default()),
        run: Run::default(),
        tunnel: false,
        expects: request.content != Body::None && expects_continue(request),
        half_closed: false,
        seen: Taken::default(),
        came: 0,
        receiving: receiving(request),
        sending: Pace::sending(&request.visitors),
        times: Times {
            up: began,
            down: began,
        },
    };
    (relay.seen, relay.came) = (relay.visitor.progress(), relay.content.taken());
    poll_fn(|cx| relay.poll(cx)).await?;
    let (tunnel, complete) = (relay.tunnel, relay.upload.is_complete());
    drop(relay);
    let beyond = !buffers.answer.is_empty();
    Ok(complete && !tunnel && !beyond && !buffers.head.close && !connection.is_stream())
}

/// How slowly the visitor may send. A stream of messages may be silent, where there can be one: anybody can say
/// that content is gRPC.
pub(super) fn receiving(request: &Request<'_>) -> Pace {
    let pace = Pace::receiving(&request.visitors, request.scheme, request.body_timeout);
    let upstream = request.forward.upstream.transport.protocol;
    let is_http2 = request.protocol == Protocol::Http2 && upstream == UpstreamProtocol::Http2;
    let mut is_grpc = false;
    request.fields.for_each(&CONTENT_TYPE, &mut |value| {
        is_grpc |= value.starts_with(b"application/grpc");
    });
    match is_http2 && is_grpc {
        true => pace.without_rate(),
        false => pace,
    }
}

/// Whether the visitor keeps its content back until it is told to send it. HTTP/1.0 knows nothing of that
/// (RFC 9110 §10.1.1).
pub(super) fn expects_continue(request: &Request<'_>) -> bool {
    if request.protocol == Protocol::Http10 {
        return false;
    }
    let mut expects = false;
    request.fields.for_each(&EXPECT, &mut |value| {
        expects |= value.eq_ignore_ascii_case(b"100-continue")
    });
    expects
}

/// A wait for a place.
type Turn<'a> = Pin<Box<dyn Future<Output = Result<Permit, Failure>> + Send + 'a>>;

/// When each direction last moved.
struct Times {
    up: Instant,
    down: Instant,
}

/// What the way down waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DownWaits {
    Visitor,
    Server,
}

struct Relay<'a, V, F> {
    request: &'a Request<'a>,
    connection: &'a mut Connection,
    buffer: &'a mut Buffer,
    head: &'a mut Head,
    upload: Upload<'a>,
    content: &'a mut Content,
    visitor: &'a mut V,
    progress: &'a mut Progress,
    /// Its turn among the requests at work, where its content was still to come.
    turn: Option<Turn<'a>>,
    answered: F,
    stage: Stage,
    /// Content in the buffer that the visitor has not taken yet.
    run: Run,
    /// Bytes of another protocol go both ways.
    tunnel: bool,
    /// The visitor keeps its content back until it is told to send it.
    expects: bool,
    /// The server knows that the visitor has said all.
    half_closed: bool,
    /// The visitor's progress when it was last looked at.
    seen: Taken,
    /// Content of the request that had come by then.
    came: u64,
    receiving: Pace,
    sending: Pace,
    times: Times,
}

impl<V: Visitor, F: FnMut(&AnswerHead<'_>)> Relay<'_, V, F> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let (mut up, mut down) = (false, false);
        let was_tunnel = self.tunnel;
        let mut up_waits = self.poll_upload(cx, &mut up)?;
        let down_waits = match self.poll_answer(cx, &mut down)? {
            Step::Done => return Poll::Ready(Ok(())),
            Step::Waits(what) => what,
        };
        if self.tunnel && !was_tunnel {
            // What the visitor sends from now on goes up.
            up_waits = self.poll_upload(cx, &mut up)?;
        }
        // All that the visitor has to say is here.
        let is_said = matches!(up_waits, Waits::Done | Waits::Place);
        if is_said && !self.tunnel && self.visitor.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Fault::GONE));
        }
        self.poll_deadline(cx, up_waits, up, down_waits, down)
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>, moved: &mut bool) -> Result<Waits, Fault> {
        let waits = loop {
            let is_upload = |permit: &Permit| permit.is_upload();
            // For a server that has answered already the end of the content is no work.
            let is_work = self.progress.status == 0;
            let permit = self.progress.permit.as_ref();
            self.upload.hold(is_work && permit.is_some_and(is_upload));
            let waits = self
                .upload
                .poll(cx, self.connection, self.content, self.visitor, moved)?;
            if waits != Waits::Place {
                break waits;
            }
            // All of it is here. With its end the server's work begins, which takes a place.
            let turn = match &mut self.turn {
                Some(turn) => turn,
                none => none.insert(Box::pin(turn(self.request, self.progress.started))),
            };
            match turn.as_mut().poll(cx) {
                Poll::Ready(Ok(mut permit)) => {
                    // The server works on it also when the visitor leaves.
                    permit.set_sent(true);
                    self.progress.permit = Some(permit);
                    self.turn = None;
                }
                Poll::Ready(Err(failure)) => {
                    self.turn = None;
                    return Err(Fault::shed(failure));
                }
                Poll::Pending => break waits,
            }
        };
        if self.tunnel && waits == Waits::Done && !self.half_closed {
            // The visitor has said all; the server may not have. An error shows when it is read from.
            self.half_closed = self.connection.poll_end(cx).is_ready();
        }
        Ok(waits)
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>, moved: &mut bool) -> Result<Step, Fault> {
        loop {
            let step = match &mut self.stage {
                Stage::Head(_) => self.poll_head(cx, moved)?,
                Stage::Content(_) => self.poll_content(cx, moved)?,
                Stage::Finish => {
                    return Ok(match self.visitor.poll_finish(cx) {
                        Poll::Ready(Ok(())) => Step::Done,
                        Poll::Ready(Err(_)) => return Err(Fault::GONE),
                        Poll::Pending => Step::Waits(DownWaits::Visitor),
                    });
                }
            };
            match step {
                Poll::Ready(stage) => self.stage = stage,
                Poll::Pending => {
                    // What is here does not wait for what is to come.
                    return match self.visitor.poll_flush(cx) {
                        Poll::Ready(Ok(())) if self.run.content.is_empty() => {
                            Ok(Step::Waits(DownWaits::Server))
                        }
                        Poll::Ready(Ok(())) | Poll::Pending => Ok(Step::Waits(DownWaits::Visitor)),
                        Poll::Ready(Err(_)) => Err(Fault::GONE),
                    };
                }
            }
        }
    }

    /// Reads heads up to that of the answer.
    fn poll_head(&mut self, cx: &mut Context<'_>, moved: &mut bool) -> Polled<Stage> {
        let Stage::Head(scanner) = &mut self.stage else {
            return Ok(Poll::Ready(Stage::Finish));
        };
        let mut heard = false;
        let polled = http1::poll_head(cx, self.connection, self.buffer, scanner, &mut heard);
        self.progress.heard |= heard;
        let Poll::Ready(length) = polled else {
            // A part of a head is no progress: one that drips would never be late.
            return Ok(Poll::Pending);
        };
        *moved = true;
        let length = length?;
        let bytes = &self.buffer.filled()[..length];
        let to_head = self.request.method == http::Method::HEAD;
        self.head
            .parse(bytes, to_head)
            .map_err(|refusal| Fault::bad_answer(refusal.reason))?;
        let answer = AnswerHead::new(self.head, bytes, self.request);
        if self.head.is_interim() {
            self.progress.interim.add(length)?;
            let go_on = self.head.status == 100;
            // The visitor was told already, by us or by another server.
            if !(go_on && self.progress.continued) {
                self.visitor.interim(&answer);
            }
            if go_on {
                self.progress.continued = true;
                // From now on it is the visitor who is waited for.
                self.times.up = Instant::now();
            }
            self.buffer.consume(length);
            return Ok(Poll::Ready(Stage::Head(HeadScanner::default())));
        }
        if self.head.status == 101 {
            if !self.request.upgrade || self.connection.is_stream() {
                return Err(Fault::bad_answer("another protocol that nobody asked for"));
            }
            self.tunnel = true;
            self.sending = self.sending.clone().without_rate();
            self.upload.reopen();
            self.content.reopen();
        }
        self.content.forget();
        if let Some(permit) = &mut self.progress.permit {
            permit.answered(answer.status(), &answer.fields());
        }
        (self.answered)(&answer);
        self.progress.status = self.head.status;
        // Others may have the place that it waited for.
        self.turn = None;
        self.visitor.start(&answer, answer.announced());
        self.buffer.consume(length);
        let left = match self.head.framing {
            Framing::None if self.tunnel => Left::UntilClose,
            framing => Left::of(framing, self.connection),
        };
        Ok(Poll::Ready(Stage::Content(left)))
    }

    /// Passes content on. Nothing is read from the server while the visitor has not taken what is here.
    fn poll_content(&mut self, cx: &mut Context<'_>, moved: &mut bool) -> Polled<Stage> {
        let Stage::Content(left) = &mut self.stage else {
            return Ok(Poll::Ready(Stage::Finish));
        };
        loop {
            let last = left.is_done();
            while !self.run.content.is_empty() {
                let piece = &self.buffer.filled()[self.run.content.clone()];
                match self.visitor.poll_send(cx, piece, last) {
                    Poll::Ready(Ok(taken)) => {
                        self.run.content.start += taken;
                        self.progress.delivered += taken as u64;
                        *moved = true;
                    }
                    Poll::Ready(Err(_)) => return Err(Fault::GONE),
                    Poll::Pending => return Ok(Poll::Pending),
                }
            }
            self.buffer.consume(self.run.used);
            self.run = Run::default();
            if last {
                return Ok(Poll::Ready(Stage::Finish));
            }
            if self.buffer.is_empty() {
                match self.connection.poll_read(cx, self.buffer) {
                    // Linux tells of a reset once. Where writing has heard of it, reading finds what looks like
                    // an end; that of a stream is a word of its own.
                    Poll::Ready(Ok(0))
                        if matches!(left, Left::UntilClose)
                            && (self.tunnel
                                || self.connection.is_stream()
                                || !self.upload.is_refused()) =>
                    {
                        if let Some(trailers) = self.connection.take_trailers() {
                            self.visitor.trailers(&trailers);
                        }
                        return Ok(Poll::Ready(Stage::Finish));
                    }
                    Poll::Ready(Ok(0)) => return Err(Fault::CLOSED),
                    Poll::Ready(Err(why)) => return Err(Fault::broken(&why)),
                    Poll::Ready(Ok(_)) => *moved = true,
                    Poll::Pending => return Ok(Poll::Pending),
                }
            }
            self.run = left.take(self.buffer.filled_mut())?;
        }
    }

    /// Whether the visitor waits for the word to go on.
    fn keeps_back(&self) -> bool {
        let is_told = self.progress.continued || self.progress.status != 0;
        self.expects && !is_told && !self.content.has_begun()
    }

    /// What the visitor has taken since this was last asked.
    fn take_progress(&mut self) -> u64 {
        let seen = self.visitor.progress();
        let before = std::mem::replace(&mut self.seen, seen);
        seen.since(&before)
    }

    /// Ends an exchange in which whoever is waited for has been quiet for too long.
    fn poll_deadline(
        &mut self,
        cx: &mut Context<'_>,
        up_waits: Waits,
        up: bool,
        down_waits: DownWaits,
        down: bool,
    ) -> Poll<Result<(), Fault>> {
        let now = Instant::now();
        if up {
            self.times.up = now;
        }
        if down {
            self.times.down = now;
        }
        let timeouts = &self.request.forward.route.timeouts;
        let response = timeouts.response;
        let body = self.request.body_timeout;
        let last = self.times.up.max(self.times.down);
        let came = self.content.taken() - self.came;
        self.came += came;
        if came > 0 || up_waits != Waits::Visitor {
            self.receiving.moved(came);
        }
        if down_waits == DownWaits::Visitor {
            loop {
                let taken = self.take_progress();
                if taken > 0 {
                    self.sending.moved(taken);
                }
                let mut at = self.sending.wait(Instant::now());
                if !self.tunnel {
                    at = at.min(self.progress.until);
                }
                ready!(self.connection.deadline.poll(cx, at));
                if at == self.progress.until && !self.tunnel {
                    return Poll::Ready(Err(Fault::TOO_LONG));
                }
                // A stream that waits for its turn is not stuck while its connection moves.
                if self.visitor.progress().since(&self.seen) == 0 {
                    return Poll::Ready(Err(Fault::UNREAD));
                }
            }
        }
        if self.sending.is_waiting() {
            let taken = self.take_progress();
            self.sending.moved(taken);
        }
        let keeps_back = up_waits == Waits::Visitor && self.keeps_back();
        let (at, fault) = match up_waits {
            // Nobody is to blame for having nothing to say.
            _ if self.tunnel => {
                ready!(self.connection.deadline.poll(cx, last + timeouts.tunnel));
                return Poll::Ready(Ok(()));
            }
            // An answer in full flow does not need the rest of the content. One that has stopped may.
            Waits::Visitor if self.progress.status != 0 => {
                (last + timeouts.read, Fault::SLOW_UPLOAD)
            }
            _ if self.progress.status != 0 => (last + timeouts.read, Fault::SILENT),
            Waits::Visitor if keeps_back => (self.times.up + CONTINUE, Fault::SLOW_UPLOAD),
            // A server that waits for content is not slow.
            Waits::Visitor => {
                let slow_at = self.receiving.wait(now);
                (slow_at.min(self.times.up + body), Fault::SLOW_UPLOAD)
            }
            Waits::Server => (last + response, Fault::DEAF),
            // Its turn has a time of its own.
            Waits::Place => (self.progress.until, Fault::TOO_LONG),
            Waits::Done => (last + response, Fault::SILENT),
        };
        let (at, fault) = match at < self.progress.until {
            true => (at, fault),
            false => (self.progress.until, Fault::TOO_LONG),
        };
        ready!(self.connection.deadline.poll(cx, at));
        if keeps_back && fault == Fault::SLOW_UPLOAD {
            // From here on its time counts. What it is told goes out with the next look.
            self.progress.continued = true;
            self.times.up = Instant::now();
            self.visitor.go_on();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Err(fault))
    }
}

/// A step of the way down; its end, a fault, or what it waits for.
type Polled<T> = Result<Poll<T>, Fault>;

enum Step {
    Done,
    Waits(DownWaits),
}
