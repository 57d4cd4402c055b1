//! What only a shop in person can answer: a request goes to a server, and its answer to the visitor.
//!
//! [`exchange`] tells the story: choose a server, connect, relay, release; and where that fails, try again
//! or tell the visitor. `relay.rs` is one exchange over one connection, `request.rs` and `answer.rs` say what
//! goes along in either direction, and a door's side of it is a [`Visitor`].

mod answer;
mod invalidate;
mod relay;
mod request;
mod upload;
mod visitor;

use std::{
    future::{Future, poll_fn},
    net::IpAddr,
    pin::pin,
    task::{Poll, ready},
    time::Duration,
};

use http::{Method, StatusCode};
use http1_wire::Body;
use tokio::time::{Instant, timeout_at};

pub use answer::AnswerHead;
pub(crate) use invalidate::invalidate;
pub use request::{FieldLines, asks_for_websocket};
pub(crate) use request::{forwarded_for, told, traceparent};
pub use visitor::{Announced, Taken, UploadError, Visitor};

use crate::{
    admit::class::class,
    cache::status::Outcome,
    config::model::{UpstreamProtocol, Visitors},
    deadline::Deadline,
    door::{Hall, pace::Pace},
    edge::{Forward, Scheme, decide::Now, room::note},
    listen::tls::Proof,
    observe::{Protocol, Record},
    respond::{
        Reply,
        failure::{Failure, Side},
        fault::Fault,
        reply::{Asked, wants_json},
    },
    upstream::{
        self, AtWork, Attempts, Care, Upstream, Wanted,
        attempts::Stage,
        concurrency::{Asked as Admission, Permit},
        connect::buffer::Buffers,
        connect::connection::Connection,
    },
};
use relay::Progress;
use upload::Content;

/// A request and what was decided about it.
pub struct Request<'a> {
    /// Where it goes.
    pub forward: &'a Forward,
    /// Its method.
    pub method: &'a Method,
    /// Its fields.
    pub fields: &'a dyn FieldLines,
    /// How its content is framed.
    pub content: Body,
    /// It asks for WebSocket.
    pub upgrade: bool,
    /// For each pause within its content.
    pub body_timeout: Duration,
    /// How slow the visitor may be, and which field of its peer names it.
    pub visitors: Visitors,
    /// When its head was complete.
    pub began: Now,
    /// The visitor.
    pub client: IpAddr,
    /// The peer of the connection.
    pub peer: IpAddr,
    /// Whether the peer's forwarding fields are believed.
    pub trusted: bool,
    /// The scheme it came by.
    pub scheme: Scheme,
    /// What the visitor was asked for, where it was asked for a certificate.
    pub proof: Option<&'a Proof>,
    /// The protocol it came by.
    pub protocol: Protocol,
    /// `X-Request-ID`.
    pub request_id: &'a str,
    /// Authority as sent, for the log.
    pub host: &'a str,
    /// Target as sent, for the log.
    pub target: &'a str,
}

impl Request<'_> {
    /// Whether its content is little enough to be kept, as far as its head tells.
    fn is_kept(&self) -> bool {
        let most = self.forward.upstream.config.retry.body as u64;
        match self.content {
            Body::None => true,
            Body::Length(length) => length <= most,
            Body::Unknown => false,
        }
    }
}

/// What came of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchanged {
    /// The visitor has a complete answer.
    Complete,
    /// It has not: its connection or stream ends, so that what it got never looks whole.
    Incomplete,
    /// It has got nothing, since no server can answer; what the store has may do
    /// ([`Forward::instead`](crate::edge::Forward::instead)).
    Unanswered,
}

/// Answers a request with what a server says.
pub async fn exchange(hall: &Hall, request: &Request<'_>, visitor: &mut impl Visitor) -> Exchanged {
    // Where there is no file, the route's upstream is asked.
    let passed = match request.forward.otherwise().await {
        Ok(passed) => passed,
        Err(fault) => return unread(hall, request, &fault, visitor).await,
    };
    let elsewhere = passed.as_ref().map(|forward| Request {
        forward,
        ..*request
    });
    let request = elsewhere.as_ref().unwrap_or(request);
    let route = &request.forward.route;
    let mut attempts = Attempts::new(&request.forward.upstream, hall.started);
    let target = request.forward.target.as_bytes();
    let key = (request.forward.upstream).hash_key(request.fields, target, request.client);
    let until = hall.started + request.began.tick + route.timeouts.total;
    let mut progress = Progress::new(hall.started, Instant::from_std(until));
    let mut content = Content::new(route.max_body, request.forward.upstream.config.retry.body);
    let mut buffers = hall.pool.buffers();
    let mut failed = None;
    // A server may have done what was asked, although nobody has heard of it.
    let mut may_be_done = false;
    let fault = loop {
        // A server that failed may have left a part of an answer.
        buffers.clear();
        let transport = &request.forward.upstream.transport;
        let composed = match transport.protocol {
            UpstreamProtocol::Http1 => {
                request::compose(&mut buffers.request, request).map(|()| None)
            }
            UpstreamProtocol::Http2 => {
                request::compose_http2(request, transport.is_tls()).map(Some)
            }
        };
        let head = match composed {
            Ok(head) => head,
            Err(why) => break Some(Fault::refused(why)),
        };
        if progress.permit.is_none() {
            let is_first = failed.is_none();
            if is_first
                && let Err(fault) = taken_in(request, &mut content, progress.until, visitor).await
            {
                break Some(fault);
            }
            match admitted(hall, request, progress.until, visitor).await {
                Ok(permit) => progress.permit = Some(permit),
                // A server may have seen it, which the words for those who are shed deny.
                Err(fault) if fault.failure.is_shed() => break Some(failed.unwrap_or(fault)),
                Err(fault) => break Some(fault),
            }
        }
        let at_work = match next(&mut attempts, &key, progress.until, visitor).await {
            Ok(Some(at_work)) => at_work,
            // What the last one said is more than that nobody is left.
            Ok(None) => break Some(failed.unwrap_or(Fault::UNAVAILABLE)),
            Err(fault) => break Some(fault),
        };
        let at = At {
            hall,
            request,
            at_work,
        };
        let fresh = attempts.wants_fresh();
        let connected = at.connect(fresh, progress.until, head.as_ref(), visitor);
        let (fault, stage) = match connected.await {
            Err(fault) => (fault, Stage::Connect),
            Ok((mut connection, reused)) => {
                content.rewind();
                if let Some(permit) = &mut progress.permit {
                    permit.set_sent(true);
                }
                if request.content == Body::None {
                    at.at_work.asks(hall.started.elapsed());
                }
                let relayed = at.relay(
                    &mut connection,
                    &mut buffers,
                    &mut content,
                    visitor,
                    &mut progress,
                );
                match relayed.await {
                    Ok(reusable) => {
                        attempts.note(&at.at_work);
                        at.release(&progress, reusable.then_some(connection));
                        break None;
                    }
                    // It has the beginning of the content, and never gets the end: nobody is to blame.
                    Err(fault) if fault.failure.is_shed() => break Some(fault),
                    Err(fault) if progress.heard => (fault, Stage::Heard),
                    Err(fault) => {
                        if fault == Fault::SILENT {
                            connection.give_up();
                        }
                        let stage = match reused {
                            _ if fault == Fault::UNSEEN => Stage::Unseen,
                            true => Stage::Reused,
                            false => Stage::Silent,
                        };
                        (fault, stage)
                    }
                }
            }
        };
        if progress.status == 101 {
            // Another protocol has its own ways to end.
            attempts.note(&at.at_work);
            break Some(fault);
        }
        // Before the first byte of an answer, and only what can be said once more.
        let unanswered = request.method.is_idempotent() && progress.status == 0;
        let repeatable = content.is_kept() && (stage.is_harmless() || unanswered);
        let metrics = &hall.shared.metrics;
        may_be_done |= !(stage.is_harmless() || request.method.is_safe());
        if !attempts.failed(&at.at_work, &fault, stage, repeatable, metrics) {
            break Some(fault);
        }
        if let Some(permit) = &mut progress.permit {
            permit.set_sent(false);
            if fault.timed_out {
                // The next attempt waits its turn: silence has held the place for long enough.
                permit.failed(&fault);
                progress.permit = None;
            }
        }
        failed = Some(fault);
        progress.heard = false;
    };
    hall.pool.give_back(buffers);
    if let (Some(permit), Some(fault)) = (&mut progress.permit, &fault) {
        permit.failed(fault);
    }
    let by_server = fault.is_some_and(|fault| fault.is_by_server());
    if by_server && request.forward.instead.is_some() && progress.status == 0 {
        let tick = hall.started.elapsed();
        if request.forward.upstream.window_is_open(tick) {
            return Exchanged::Unanswered;
        }
    }
    let told = match fault {
        Some(fault) => {
            let reply = failure(hall, request, &fault, may_be_done);
            tell(request, visitor, &fault, &reply, &mut progress).await
        }
        None => true,
    };
    record(hall, request, &attempts, &progress, fault.as_ref());
    match told {
        true => Exchanged::Complete,
        false => Exchanged::Incomplete,
    }
}

/// Nobody could be asked.
async fn unread(
    hall: &Hall,
    request: &Request<'_>,
    fault: &Fault,
    visitor: &mut impl Visitor,
) -> Exchanged {
    let attempts = Attempts::new(&request.forward.upstream, hall.started);
    let until = hall.started + request.began.tick + request.forward.route.timeouts.total;
    let mut progress = Progress::new(hall.started, Instant::from_std(until));
    let reply = failure(hall, request, fault, false);
    let told = tell(request, visitor, fault, &reply, &mut progress).await;
    record(hall, request, &attempts, &progress, Some(fault));
    match told {
        true => Exchanged::Complete,
        false => Exchanged::Incomplete,
    }
}

/// A request at a server.
struct At<'a> {
    hall: &'a Hall,
    request: &'a Request<'a>,
    at_work: AtWork,
}

impl At<'_> {
    fn upstream(&self) -> &Upstream {
        &self.request.forward.upstream
    }

    /// A connection that waits for a request, or a new one; `true` for the first. A visitor who leaves does not
    /// wait for it any longer. A head of HTTP/2 is sent with it, since its stream begins with that.
    async fn connect(
        &self,
        fresh: bool,
        until: Instant,
        head: Option<&http::Request<()>>,
        visitor: &mut impl Visitor,
    ) -> Result<(Connection, bool), Fault> {
        let wanted = Wanted {
            fresh,
            care: match self.request.method.is_idempotent() && self.request.is_kept() {
                true => Care::Repeatable,
                false => Care::Once,
            },
            now: self.at_work.since,
            limit: self.request.forward.route.timeouts.connect,
            until: Some(until),
            stream: head.map(|head| (head, self.request.content == Body::None)),
        };
        let server = &self.at_work.server;
        let upstream = &self.request.forward.upstream;
        let pool = &self.hall.pool;
        let mut connect = pin!(upstream::connect(pool, upstream, server, &wanted));
        poll_fn(|cx| match connect.as_mut().poll(cx) {
            Poll::Pending => visitor.poll_gone(cx).map(|()| Err(Fault::GONE)),
            connected => connected,
        })
        .await
    }

    async fn relay(
        &self,
        connection: &mut Connection,
        buffers: &mut Buffers,
        content: &mut Content,
        visitor: &mut impl Visitor,
        progress: &mut Progress,
    ) -> Result<bool, Fault> {
        let (hall, request) = (self.hall, self.request);
        // Counted until it ends.
        let mut tunnel = None;
        let answered = |answer: &AnswerHead<'_>| {
            let status = answer.status();
            if status == 101 {
                tunnel = Some(hall.shared.metrics.tunnel(self.upstream().name()));
            }
            let code = StatusCode::from_u16(status).unwrap_or_default();
            if http_caching::invalidates(request.method, code) {
                // Before the client hears of it: its next request may be on its way at once.
                let fields = answer.fields();
                invalidate(&hall.shared, request.scheme, request.forward, &fields);
            }
            let tick = hall.started.elapsed();
            self.upstream().answered(&self.at_work, status, tick);
        };
        relay::relay(
            request, connection, buffers, content, visitor, progress, answered,
        )
        .await
    }

    /// The server is done; its connection waits for another request.
    fn release(&self, progress: &Progress, connection: Option<Connection>) {
        let now = self.hall.started.elapsed();
        let server = &self.at_work.server;
        if !matches!(progress.status, 502..=504) {
            server.succeeded(self.at_work.since, now);
        }
        if let Some(connection) = connection {
            upstream::release(&self.hall.pool, self.upstream(), server, connection, now);
        }
    }
}

/// Content up to this length is taken in before its request takes a place: a form, an order. Of what is longer so much is
/// taken in, or the memory would fill with what drips.
const FORM: u64 = 16 * 1024;

/// How much of its content is taken in before the request asks for anything. Nothing of a stream of unknown length: who
/// sends it may wait for an answer to its beginning; nor where a word of the shop is waited for.
fn beforehand(request: &Request<'_>) -> u64 {
    let kept = request.forward.upstream.config.retry.body as u64;
    match request.content {
        Body::Length(length) if !relay::expects_continue(request) => length.min(FORM).min(kept),
        _ => 0,
    }
}

/// Whether its content is all there before it takes a place.
fn is_whole(request: &Request<'_>) -> bool {
    match request.content {
        Body::None => true,
        Body::Length(length) => length == beforehand(request),
        Body::Unknown => false,
    }
}

/// Takes in the content of a request that is to take a place among those at work, or its beginning: what drips shall
/// hold none.
async fn taken_in(
    request: &Request<'_>,
    content: &mut Content,
    until: Instant,
    visitor: &mut impl Visitor,
) -> Result<(), Fault> {
    let is_bounded = request.forward.upstream.config.concurrency.is_some();
    let enough = beforehand(request);
    if enough == 0 || !is_bounded {
        return Ok(());
    }
    // Its end is taken in as well: what is beyond it would be malformed.
    let to_the_end = is_whole(request);
    let mut pace = relay::receiving(request);
    let mut deadline = Deadline::default();
    let mut moved = Instant::now();
    poll_fn(|cx| {
        loop {
            let before = content.taken();
            let Poll::Ready(is_complete) = content.poll_take_in(cx, visitor)? else {
                let now = Instant::now();
                let late = pace.wait(now).min(moved + request.body_timeout);
                ready!(deadline.poll(cx, late.min(until)));
                return Poll::Ready(Err(match late < until {
                    true => Fault::SLOW_UPLOAD,
                    false => Fault::TOO_LONG,
                }));
            };
            if is_complete || (!to_the_end && content.taken() >= enough) {
                return Poll::Ready(Ok(()));
            }
            if content.taken() > enough {
                // More than its head has told.
                return Poll::Ready(Err(Fault::MALFORMED));
            }
            pace.moved(content.taken() - before);
            moved = Instant::now();
        }
    })
    .await
}

/// A place among the requests at work, or among the uploads where its content is still to come. A visitor who leaves
/// does not wait for it, nor one whose time is over.
async fn admitted(
    hall: &Hall,
    request: &Request<'_>,
    until: Instant,
    visitor: &mut impl Visitor,
) -> Result<Permit, Fault> {
    let route = &request.forward.route;
    let turn = async {
        if is_whole(request) {
            return turn(request, hall.started).await;
        }
        let class = class(route, &request.fields, request.client);
        request
            .forward
            .upstream
            .admit_upload(class, hall.started)
            .await
    };
    let mut turn = pin!(timeout_at(until, turn));
    poll_fn(|cx| match turn.as_mut().poll(cx) {
        Poll::Ready(Ok(turn)) => Poll::Ready(turn.map_err(Fault::shed)),
        Poll::Ready(Err(_)) => Poll::Ready(Err(Fault::TOO_LONG)),
        Poll::Pending => visitor.poll_gone(cx).map(|()| Err(Fault::GONE)),
    })
    .await
}

/// Its turn among the requests at work.
async fn turn(request: &Request<'_>, started: std::time::Instant) -> Result<Permit, Failure> {
    let route = &request.forward.route;
    let class = class(route, &request.fields, request.client);
    match request.forward.upstream.admit(class, started)? {
        Admission::Admitted(permit) => Ok(permit),
        Admission::Waits(mut waiting) => waiting.turn().await,
    }
}

/// The next server. A visitor who leaves does not wait for it, nor one whose time is over.
async fn next(
    attempts: &mut Attempts,
    key: &[u8],
    until: Instant,
    visitor: &mut impl Visitor,
) -> Result<Option<AtWork>, Fault> {
    let mut next = pin!(timeout_at(until, attempts.next(key)));
    poll_fn(|cx| match next.as_mut().poll(cx) {
        Poll::Ready(chosen) => Poll::Ready(chosen.map_err(|_| Fault::TOO_LONG)),
        Poll::Pending => visitor.poll_gone(cx).map(|()| Err(Fault::GONE)),
    })
    .await
}

/// What a visitor reads of a failure. Of what may have been done nobody says that it was not.
fn failure(hall: &Hall, request: &Request<'_>, fault: &Fault, may_be_done: bool) -> Reply {
    let asked = Asked {
        request_id: request.request_id,
        wants_json: wants_json(request.fields),
        scheme: request.scheme,
        hsts: None,
    };
    let asked = asked.on(Some(&request.forward.route));
    let upstream = &request.forward.upstream;
    // The page of the shop window says that nothing was done.
    let window_open = !may_be_done && upstream.window_is_open(hall.started.elapsed());
    let is_safe = request.method.is_safe();
    let dress = &request.forward.route.dress;
    let mut reply = Reply::failure(fault.failure, window_open, is_safe, dress, &asked);
    reply.pass(request.forward.room.as_deref());
    reply
}

/// Nothing else can be done: the visitor is told, unless it is gone or has a part of an answer.
async fn tell(
    request: &Request<'_>,
    visitor: &mut impl Visitor,
    fault: &Fault,
    reply: &Reply,
    progress: &mut Progress,
) -> bool {
    let failure = fault.failure;
    if failure.side != Side::Downstream && !failure.is_shed() {
        tracing::warn!(
            request_id = request.request_id,
            status = failure.status,
            reason = failure.reason,
            error = fault.detail,
            "request failed"
        );
    }
    if failure.status == 0 || progress.status != 0 {
        return false;
    }
    progress.status = reply.status;
    visitor.reply(reply);
    let mut pace = Pace::sending(&request.visitors);
    let mut seen = visitor.progress();
    let told = loop {
        let until = pace.wait(Instant::now());
        match timeout_at(until, poll_fn(|cx| visitor.poll_finish(cx))).await {
            Ok(told) => break told.is_ok(),
            Err(_) if visitor.progress().since(&seen) == 0 => break false,
            Err(_) => {
                let before = std::mem::replace(&mut seen, visitor.progress());
                pace.moved(seen.since(&before));
            }
        }
    };
    if told && request.method != Method::HEAD {
        progress.delivered = reply.body.len() as u64;
    }
    told
}

/// Last: counted and written down.
fn record(
    hall: &Hall,
    request: &Request<'_>,
    attempts: &Attempts,
    progress: &Progress,
    fault: Option<&Fault>,
) {
    let route = &request.forward.route;
    match fault {
        Some(&Fault::SLOW_UPLOAD) => hall.shared.metrics.visitors.shed("slow_body").inc(),
        Some(&Fault::UNREAD) => hall.shared.metrics.visitors.shed("slow_read").inc(),
        _ => {}
    }
    let last = attempts.last();
    hall.shared.finish(&Record {
        began: request.began,
        duration: hall.started.elapsed().saturating_sub(request.began.tick),
        client: request.client,
        protocol: request.protocol,
        method: request.method,
        host: request.host,
        target: request.target,
        // A client that left before its answer began (nginx's 499).
        status: if progress.status == 0 {
            499
        } else {
            progress.status
        },
        bytes: progress.delivered,
        route: Some(route),
        outcome: match fault {
            Some(_) => Outcome::None,
            None => request.outcome(),
        },
        upstream: last.map(|(server, _)| server.name.as_str()),
        upstream_time: last.map(|(_, time)| time),
        attempts: attempts.count(),
        retried: attempts.reason(),
        request_id: request.request_id,
        limit: request.forward.limit.as_ref(),
        room: note(request.forward.room.as_ref()),
        reason: fault.map(|fault| fault.failure.reason),
        fields: Some(request.fields),
        client_cert: request
            .proof
            .and_then(|proof| Some(&*proof.certificate.as_ref()?.subject)),
    });
}
