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

use std::{future::poll_fn, net::IpAddr, time::Duration};

use http::{Method, StatusCode, header::RETRY_AFTER};
use http1_wire::Body;
use tokio::time::timeout;

pub use answer::AnswerHead;
pub(crate) use invalidate::invalidate;
pub use request::{FieldLines, asks_for_websocket};
pub(crate) use request::{forwarded_for, traceparent};
pub use visitor::{Announced, UploadError, Visitor};

use crate::{
    cache::status::Outcome,
    door::{Hall, STALLED},
    edge::{Forward, Scheme, decide::Now},
    observe::{Protocol, Record},
    respond::{
        Reply,
        failure::Side,
        fault::Fault,
        reply::{Asked, wants_json},
    },
    upstream::{Upstream, buffer::Buffers, connection::Connection},
};
use relay::Progress;
use upload::Content;

/// How long a connection that changed its protocol may be silent.
const TUNNEL_IDLE: Duration = Duration::from_secs(600);

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
    /// The protocol it came by.
    pub protocol: Protocol,
    /// `X-Request-ID`.
    pub request_id: &'a str,
    /// Authority as sent, for the log.
    pub host: &'a str,
    /// Target as sent, for the log.
    pub target: &'a str,
}

/// Whom was asked.
#[derive(Default)]
struct Tries {
    /// Servers that failed this request.
    failed: Vec<usize>,
    attempts: u32,
    /// The last one, and how long it took.
    last: Option<(usize, Duration)>,
}

/// Answers a request with what a server says. `false` where the visitor has not got a complete answer: its
/// connection or stream ends, so that what it got never looks whole.
pub async fn exchange(hall: &Hall, request: &Request<'_>, visitor: &mut impl Visitor) -> bool {
    let upstream = &*request.forward.route.upstream;
    upstream.budget.request();
    let mut tries = Tries::default();
    let mut progress = Progress::default();
    let mut content = Content::new(request.forward.route.max_body);
    let mut buffers = hall.pool.buffers();
    let fault = loop {
        // A server that failed may have left a part of an answer.
        buffers.clear();
        if let Err(why) = request::compose(&mut buffers.request, request) {
            break Some(Fault::refused(why));
        }
        let tick = hall.started.elapsed();
        let Some(index) = choose(request, upstream, &tries, tick) else {
            break Some(Fault::UNAVAILABLE);
        };
        let _busy = upstream.servers[index].busy();
        tries.attempts += 1;
        let mut at = At {
            hall,
            request,
            upstream,
            index,
            since: tick,
        };
        let (fault, reused) = match at.connect().await {
            Err(fault) => (fault, None),
            Ok((mut connection, reused)) => {
                content.rewind();
                let relayed = at.relay(
                    &mut connection,
                    &mut buffers,
                    &mut content,
                    visitor,
                    &mut progress,
                );
                match relayed.await {
                    Ok(reusable) => {
                        at.release(&mut tries, reusable.then_some(connection));
                        break None;
                    }
                    Err(fault) => (fault, Some(reused)),
                }
            }
        };
        let may_repeat = at.note_failure(&mut tries, &fault, reused, &progress);
        let free = reused.is_none_or(|reused| is_pool_race(&fault, reused, &progress));
        if !(may_repeat && content.is_kept() && at.may_retry(&tries, !free)) {
            break Some(fault);
        }
        progress.heard = false;
    };
    hall.pool.give_back(buffers);
    let told = match fault {
        Some(fault) => tell(request, visitor, &fault, &mut progress).await,
        None => true,
    };
    record(hall, request, &tries, &progress, fault.as_ref());
    told
}

/// Another server while there is one, else the same one again.
fn choose(
    request: &Request<'_>,
    upstream: &Upstream,
    tries: &Tries,
    tick: Duration,
) -> Option<usize> {
    let key = request.forward.target.as_bytes();
    upstream
        .choose(&tries.failed, key, tick)
        .or_else(|| upstream.choose(&[], key, tick))
}

/// A request at a server.
struct At<'a> {
    hall: &'a Hall,
    request: &'a Request<'a>,
    upstream: &'a Upstream,
    index: usize,
    since: Duration,
}

impl At<'_> {
    /// A connection that waits for a request, or a new one; `true` for the first.
    async fn connect(&self) -> Result<(Connection, bool), Fault> {
        let address = self.upstream.servers[self.index].address;
        if let Some(connection) = self.hall.pool.take(address, self.since) {
            return Ok((connection, true));
        }
        let opened = Connection::open(address, self.upstream.timeouts.connect).await;
        let connection = opened.map_err(|why| Fault::connecting(&why))?;
        Ok((connection, false))
    }

    async fn relay(
        &mut self,
        connection: &mut Connection,
        buffers: &mut Buffers,
        content: &mut Content,
        visitor: &mut impl Visitor,
        progress: &mut Progress,
    ) -> Result<bool, Fault> {
        let (hall, request, upstream, index) = (self.hall, self.request, self.upstream, self.index);
        let answered = |answer: &AnswerHead<'_>| {
            let status = answer.status();
            let code = StatusCode::from_u16(status).unwrap_or_default();
            if http_caching::invalidates(request.method, code) {
                // Before the client hears of it: its next request may be on its way at once.
                let fields = answer.fields();
                invalidate(&hall.shared, request.scheme, request.forward, &fields);
            }
            let tick = hall.started.elapsed();
            if matches!(status, 502..=504) {
                upstream.failed(index, tick);
            } else {
                upstream.servers[index].state.succeeded(tick);
            }
        };
        relay::relay(
            request, connection, buffers, content, visitor, progress, answered,
        )
        .await
    }

    /// The server is done; its connection waits for another request.
    fn release(&self, tries: &mut Tries, connection: Option<Connection>) {
        let now = self.hall.started.elapsed();
        tries.last = Some((self.index, now.saturating_sub(self.since)));
        if let Some(connection) = connection {
            let address = self.upstream.servers[self.index].address;
            let until = now + self.upstream.timeouts.idle;
            self.hall.pool.put(address, connection, until);
        }
    }

    /// Notes what a failure says of the server; says whether the request may be repeated by its nature.
    /// `reused` is `None` where no connection came about.
    fn note_failure(
        &self,
        tries: &mut Tries,
        fault: &Fault,
        reused: Option<bool>,
        progress: &Progress,
    ) -> bool {
        let tick = self.hall.started.elapsed();
        tries.last = Some((self.index, tick.saturating_sub(self.since)));
        if !fault.is_by_server() {
            return false;
        }
        // A server that has just died closes all its pooled connections, and each of them would cost an
        // attempt: whoever is to blame, another is asked.
        tries.failed.push(self.index);
        let Some(reused) = reused else {
            // Nothing was sent, so nothing can happen twice.
            self.upstream.servers[self.index].state.refused(tick);
            self.upstream.failed(self.index, tick);
            return true;
        };
        let switched = progress.status == 101;
        if !(is_pool_race(fault, reused, progress) || switched) {
            self.upstream.failed(self.index, tick);
        }
        !fault.timed_out && self.request.method.is_idempotent() && progress.status == 0
    }

    /// Attempts, and for requests that have already cost a server work, the budget.
    fn may_retry(&self, tries: &Tries, charged: bool) -> bool {
        let may = tries.attempts <= self.upstream.retry.attempts
            && (!charged || self.upstream.budget.take());
        if may {
            let retries = &self.hall.shared.metrics.retries;
            retries.with_label_values(&[&self.upstream.name]).inc();
        }
        may
    }
}

/// A pooled connection that the server closed at the moment of reuse is nobody's fault.
fn is_pool_race(fault: &Fault, reused: bool, progress: &Progress) -> bool {
    reused && !fault.timed_out && !progress.heard
}

/// Nothing else can be done: the visitor is told, unless it is gone or has a part of an answer.
async fn tell(
    request: &Request<'_>,
    visitor: &mut impl Visitor,
    fault: &Fault,
    progress: &mut Progress,
) -> bool {
    let failure = fault.failure;
    if failure.side != Side::Downstream {
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
    let asked = Asked {
        request_id: request.request_id,
        wants_json: wants_json(request.fields),
    };
    let mut reply = Reply::error(failure.status, &asked);
    if failure.status == 503 {
        reply.add(RETRY_AFTER, "5");
    }
    progress.status = failure.status;
    visitor.reply(&reply);
    let mut seen = visitor.progress();
    let told = loop {
        match timeout(STALLED, poll_fn(|cx| visitor.poll_finish(cx))).await {
            Ok(told) => break told.is_ok(),
            Err(_) if visitor.progress() == seen => break false,
            Err(_) => seen = visitor.progress(),
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
    tries: &Tries,
    progress: &Progress,
    fault: Option<&Fault>,
) {
    let route = &request.forward.route;
    let server = tries.last.as_ref();
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
        upstream: server.map(|(index, _)| route.upstream.servers[*index].name.as_str()),
        upstream_time: server.map(|(_, time)| *time),
        attempts: tries.attempts,
        request_id: request.request_id,
        limit: request.forward.limit.as_ref(),
        reason: fault.map(|fault| fault.failure.reason),
        fields: Some(request.fields),
    });
}
