//! What only a shop in person can answer: a request goes to a server, and its answer to the visitor.
//!
//! [`exchange`] tells the story: choose a server, connect, relay, release; and where that fails, try again
//! or tell the visitor. `relay.rs` is one exchange over one connection, `request.rs` and `answer.rs` say what
//! goes along in either direction, and a door's side of it is a [`Visitor`].

mod admission;
mod answer;
mod ending;
mod invalidate;
mod relay;
mod request;
mod upload;
mod visitor;

use std::{future::poll_fn, net::IpAddr, pin::pin, task::Poll, time::Duration};

use http::{Method, StatusCode};
use http1_wire::Body;
use tokio::time::Instant;

use self::{
    admission::{admitted, next, taken_in, turn},
    ending::{failure, record, tell},
    relay::Progress,
    upload::Content,
};
use crate::{
    config::model::{UpstreamProtocol, Visitors},
    door::Hall,
    edge::{Forward, Scheme, decide::Now},
    listen::tls::Proof,
    observe::Protocol,
    respond::fault::Fault,
    upstream::{
        self, AtWork, Attempts, Care, Upstream, Wanted,
        attempts::Stage,
        connect::{buffer::Buffers, connection::Connection},
    },
};

pub use answer::AnswerHead;
pub(crate) use invalidate::invalidate;
pub use request::{FieldLines, asks_for_websocket};
pub(crate) use request::{forwarded_for, told, traceparent};
pub use visitor::{Announced, Taken, UploadError, Visitor};

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
