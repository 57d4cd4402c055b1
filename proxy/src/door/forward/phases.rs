//! Pingora's phases, in the order in which a request meets them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode, header::TRANSFER_ENCODING};
use pingora::{
    Error, ErrorSource, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
    proxy::{FailToProxy, ProxyHttp, Session},
    upstreams::peer::HttpPeer,
};

use super::{super::STALLED, HANDOVER, exchange::Exchange, request, response};
use crate::{
    cache::status::Outcome,
    forward::invalidate,
    observe::{Protocol, Record},
    respond::{
        Reply,
        failure::{Failure, Side, kind},
        reply::{Asked as AskedBy, wants_json},
    },
    shared::Shared,
    upstream::Asked,
};

/// How long a connection that changed its protocol may be silent.
const TUNNEL_IDLE: Duration = Duration::from_secs(600);

/// The phases and what they work with.
pub(super) struct Phases {
    shared: Arc<Shared>,
    started: Instant,
}

impl Phases {
    pub(super) fn new(shared: Arc<Shared>, started: Instant) -> Self {
        Self { shared, started }
    }

    fn tick(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether a failed request may go to a server once more: attempts, and for those that have
    /// already cost a server work, the budget.
    fn may_retry(&self, exchange: &Exchange, charged: bool) -> bool {
        let Some(upstream) = exchange.group() else {
            return false;
        };
        let may =
            exchange.attempts <= upstream.retry.attempts && (!charged || upstream.budget.take());
        if may {
            self.shared
                .metrics
                .retries
                .with_label_values(&[&upstream.name])
                .inc();
        }
        may
    }
}

fn missing() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "request without a handover")
}

#[async_trait]
impl ProxyHttp for Phases {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        let given = HANDOVER.try_with(|slot| slot.borrow_mut().take());
        Exchange {
            handover: given.ok().flatten(),
            ..Exchange::default()
        }
    }

    /// First: connections get their time limits.
    async fn early_request_filter(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let handover = exchange.handover.as_ref().ok_or_else(missing)?;
        let bounds = &handover.snapshot.bounds;
        let downstream = session.as_downstream_mut();
        downstream.set_read_timeout(Some(bounds.body_timeout));
        downstream.set_write_timeout(Some(STALLED));
        downstream.set_total_drain_timeout(Some(bounds.body_timeout));
        // A client may end its side and still wait for the answer (RFC 9112 §9.6).
        downstream.set_abort_on_close(false);
        // HTTP/1.0 knows no interim answers (RFC 9110 §15.2).
        downstream.set_ignore_info_resp(handover.protocol == Protocol::Http10);
        handover.forward.route.upstream.budget.request();
        Ok(())
    }

    /// Chooses a server; called again after each failure that may be retried.
    async fn upstream_peer(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<Box<HttpPeer>> {
        let handover = Arc::clone(exchange.handover.as_ref().ok_or_else(missing)?);
        let upstream = &handover.forward.route.upstream;
        let key = handover.forward.target.as_bytes();
        let tick = self.tick();
        exchange.release(tick);
        // A body that is sent again is counted again.
        exchange.request_bytes = 0;
        // Another server while there is one, else the same one again.
        let chosen = upstream
            .choose(&exchange.tried, key, tick)
            .or_else(|| upstream.choose(&[], key, tick));
        let Some(index) = chosen else {
            let mut error = Error::explain(
                ErrorType::Custom(kind::UNAVAILABLE),
                "no server is available",
            );
            error.as_up();
            return Err(error);
        };
        let server = &upstream.servers[index];
        exchange.attempts += 1;
        exchange.asked = Some(Asked::new(index, server, tick));
        let mut peer = HttpPeer::new(server.address, false, String::new());
        let timeouts = &upstream.timeouts;
        peer.options.connection_timeout = Some(timeouts.connect);
        peer.options.total_connection_timeout = Some(timeouts.connect);
        let patience = if session.is_upgrade_req() {
            TUNNEL_IDLE
        } else {
            timeouts.response
        };
        peer.options.read_timeout = Some(patience);
        peer.options.write_timeout = Some(timeouts.response);
        peer.options.idle_timeout = Some(timeouts.idle);
        Ok(Box::new(peer))
    }

    /// Nothing was sent, so nothing can happen twice: any request may try the next server.
    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Exchange,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let tick = self.tick();
        if let Some((index, upstream)) = exchange.release(tick).zip(exchange.group().cloned()) {
            upstream.servers[index].state.refused(tick);
            upstream.failed(index, tick);
            exchange.tried.push(index);
        }
        let again = !session.as_ref().retry_buffer_truncated() && self.may_retry(exchange, false);
        error.set_retry(again);
        error
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let handover = exchange.handover.as_ref().ok_or_else(missing)?;
        request::prepare(upstream_request, handover)
    }

    /// Bounds a body whose length was not known beforehand.
    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let handover = exchange.handover.as_ref().ok_or_else(missing)?;
        exchange.body_ended |= end_of_stream;
        handover.upload.progress(self.tick(), end_of_stream);
        exchange.request_bytes += body.as_ref().map_or(0, |b| b.len() as u64);
        if exchange.request_bytes > handover.forward.route.max_body {
            let mut error = Error::explain(
                ErrorType::Custom(kind::BODY_TOO_LARGE),
                "request body exceeds max_body",
            );
            error.as_down();
            return Err(error);
        }
        // Pingora would end a chunked body twice for an empty last frame of HTTP/2.
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        Ok(())
    }

    /// The head of the shop's answer has arrived.
    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        response::check(upstream_response, session.is_upgrade_req())?;
        if let Some(handover) = &exchange.handover
            && http_caching::invalidates(&session.req_header().method, upstream_response.status)
        {
            // Before the client hears of it: its next request may be on its way at once.
            let fields = &upstream_response.headers;
            invalidate(&self.shared, handover.scheme, &handover.forward, fields);
        }
        if upstream_response.status == StatusCode::SWITCHING_PROTOCOLS {
            session
                .as_downstream_mut()
                .set_read_timeout(Some(TUNNEL_IDLE));
        }
        if let Some((index, upstream)) = exchange
            .asked
            .as_ref()
            .map(|a| a.index)
            .zip(exchange.group())
        {
            if matches!(upstream_response.status.as_u16(), 502..=504) {
                upstream.failed(index, self.tick());
            } else {
                upstream.servers[index].state.succeeded(self.tick());
            }
        }
        Ok(())
    }

    /// What the client gets.
    async fn response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let http10 = exchange
            .handover
            .as_ref()
            .is_some_and(|h| h.protocol == Protocol::Http10);
        if http10
            && upstream_response
                .remove_header(&TRANSFER_ENCODING)
                .is_some()
        {
            // HTTP/1.0 knows no chunks: the end of the connection is the end of the answer.
            session.set_keepalive(None);
        }
        response::complete(upstream_response, exchange)
    }

    /// The exchange broke after a server was reached.
    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        exchange: &mut Exchange,
        client_reused: bool,
    ) -> Box<Error> {
        let tick = self.tick();
        let by_server = *error.esource() == ErrorSource::Upstream;
        let timed_out = matches!(
            error.etype(),
            ErrorType::ReadTimedout | ErrorType::WriteTimedout
        );
        // A pooled connection that the server closed at the moment of reuse is nobody's fault.
        let pool_race = client_reused && by_server && !timed_out;
        // A server that waits for a body is not slow, and one that is quiet in a tunnel is not ill.
        let waits_for_client =
            timed_out && !exchange.body_ended && !session.as_mut().is_body_done();
        exchange.client_stalled = by_server && waits_for_client;
        let blameless = pool_race || waits_for_client || session.was_upgraded();
        if let Some((index, upstream)) = exchange.release(tick).zip(exchange.group().cloned())
            && by_server
        {
            if !blameless {
                upstream.failed(index, tick);
            }
            // Blameless or not: a server that has just died closes all its pooled connections, and each
            // of them would cost an attempt.
            exchange.tried.push(index);
        }
        let repeatable = by_server
            && !timed_out
            && session.req_header().method.is_idempotent()
            && session.response_written().is_none()
            && !session.as_ref().retry_buffer_truncated();
        let again = repeatable && self.may_retry(exchange, !pool_race);
        error.set_retry(again);
        error
    }

    /// Nothing else can be done: the client is told.
    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        exchange: &mut Exchange,
    ) -> FailToProxy {
        let mut failure = Failure::of(error);
        if failure.side == Side::Downstream && is_malformed_body(error) {
            failure = Failure {
                status: 400,
                reason: kind::BAD_BODY,
                side: Side::Downstream,
            };
        }
        if exchange.client_stalled {
            failure = Failure {
                status: 408,
                reason: "client_timeout",
                side: Side::Downstream,
            };
        }
        exchange.reason = Some(failure.reason);
        if failure.side != Side::Downstream {
            let id = exchange.handover.as_ref().map(|h| h.request_id.as_str());
            tracing::warn!(request_id = id, status = failure.status, reason = failure.reason, %error, "request failed");
        }
        let result = FailToProxy {
            error_code: failure.status,
            can_reuse_downstream: false,
        };
        let Some(handover) = &exchange.handover else {
            return result;
        };
        if failure.status == 0 || session.response_written().is_some() {
            return result;
        }
        session.set_keepalive(None);
        let asked = AskedBy {
            request_id: &handover.request_id,
            wants_json: wants_json(&session.req_header().headers),
        };
        let mut reply = Reply::error(failure.status, &asked);
        if failure.status == 503 {
            reply.add(http::header::RETRY_AFTER, "5");
        }
        let head_only = session.req_header().method == Method::HEAD;
        if let Some(header) = reply.to_header() {
            let written = session.write_response_header(header, head_only).await;
            if written.is_ok() && !head_only {
                let _ = session.write_response_body(Some(reply.body), true).await;
            }
        }
        result
    }

    fn suppress_error_log(&self, _session: &Session, _exchange: &Exchange, _error: &Error) -> bool {
        true
    }

    /// Last: counted and written down.
    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        exchange.release(self.tick());
        let Some(handover) = exchange.handover.clone() else {
            return;
        };
        let status = session.response_written().map_or(0, |r| r.status.as_u16());
        let request = session.req_header();
        if error.is_some() && exchange.reason.is_none() {
            exchange.reason = error.map(|e| Failure::of(e).reason);
        }
        let outcome = match error {
            Some(_) => Outcome::None,
            None => response::outcome(&handover),
        };
        self.shared.finish(&Record {
            began: handover.began,
            duration: self.tick().saturating_sub(handover.began.tick),
            client: handover.client,
            protocol: handover.protocol,
            method: &request.method,
            host: &handover.host,
            target: &handover.target,
            // A client that left before its answer began (nginx's 499).
            status: if status == 0 { 499 } else { status },
            bytes: session.body_bytes_sent() as u64,
            route: Some(&handover.forward.route),
            outcome,
            upstream: exchange.upstream.as_ref().map(|(name, _)| name.as_str()),
            upstream_time: exchange.upstream.as_ref().map(|(_, time)| *time),
            attempts: exchange.attempts,
            request_id: &handover.request_id,
            limit: handover.forward.limit.as_ref(),
            reason: exchange.reason,
            fields: Some(&request.headers),
        });
    }
}

/// Whether reading the body failed because its framing is broken, rather than the connection.
fn is_malformed_body(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    cause.is_some_and(|io| io.kind() == std::io::ErrorKind::InvalidData)
}
