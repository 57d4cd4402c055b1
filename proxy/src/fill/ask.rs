//! Asking servers for what is to be stored, and what they answer.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, IF_RANGE,
        LAST_MODIFIED, RANGE, SET_COOKIE, VARY,
    },
};
use http_caching::CacheControl;
use http1_wire::response::Head;
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Filler, fetch::Task, flight::Asked, part, request};
use crate::{
    cache::head::put_field,
    config::model::UpstreamProtocol,
    respond::{failure::Failure, fault::Fault},
    upstream::{
        self, AtWork, Attempts, Care, Upstream, Wanted,
        attempts::Stage,
        concurrency::{Asked as Admission, Permit},
        connect::connection::Connection,
        connect::http1::{Exchange, Interim, Limits},
        connect::http2,
    },
};

/// What is read of an answer that nobody wants, so that the connection can be used again.
const DRAINED: u64 = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A server that answers.
pub(super) struct Answer {
    exchange: Exchange,
    pub(super) header: ResponseHeader,
    /// Content that was read already.
    ahead: Bytes,
    at_work: AtWork,
    /// When it was asked.
    pub(super) sent_at: SystemTime,
    upstream: Arc<Upstream>,
}

impl Task {
    /// Asks one server after the other until one answers.
    pub(super) async fn ask(&self, request: &RequestHeader) -> Result<Answer, Failure> {
        let mut permit = self.admitted().await?;
        let mut attempts = Attempts::new(self.upstream(), self.filler.started);
        if self.something_stale_may_answer() {
            attempts = attempts.without_waiting();
        }
        let mut interim = Interim::default();
        let until = Instant::now() + self.order.fetch.own.route.timeouts.total;
        // What is stored is for everyone, so that keys by client or cookie do not apply to it.
        let key = self.order.fetch.target.as_bytes();
        let mut failed = None;
        loop {
            let at_work = match timeout_at(until, attempts.next(key)).await {
                Ok(Some(at_work)) => at_work,
                // What the last one said is more than that nobody is left.
                Ok(None) => return Err(failed.unwrap_or_else(Failure::unavailable)),
                Err(_) => return Err(Fault::TOO_LONG.failure),
            };
            let fresh = attempts.wants_fresh();
            let mut silent = false;
            permit.set_sent(true);
            let result = self
                .ask_one(at_work, fresh, until, request, &mut interim)
                .await;
            let metrics = &self.shared().metrics;
            let (again, result) = match result {
                Ok(answer) => {
                    let header = &answer.header;
                    permit.answered(header.status.as_u16(), &header.headers);
                    answer.note_server(self.filler.tick());
                    attempts.note(&answer.at_work);
                    (false, Ok(answer))
                }
                Err((at_work, fault, stage)) => {
                    // A shop that says nothing is not asked again for nobody.
                    let repeatable =
                        stage == Stage::Connect || !fault.timed_out || self.flight.is_wanted();
                    let again = attempts.failed(&at_work, &fault, stage, repeatable, metrics);
                    permit.set_sent(false);
                    silent = fault.timed_out;
                    if !again || silent {
                        permit.failed(&fault);
                    }
                    (again, Err(fault.failure))
                }
            };
            self.flight.set_asked(Asked {
                attempts: attempts.count(),
                retried: attempts.reason(),
                server: attempts
                    .last()
                    .map(|(server, time)| (server.name.clone(), time)),
            });
            if !again {
                return result;
            }
            failed = result.err();
            if silent {
                // The next attempt waits its turn: silence has held the place for long enough.
                let Ok(next) = self.admitted().await else {
                    return Err(failed.unwrap_or_else(Failure::unavailable));
                };
                permit = next;
            }
        }
    }

    /// A place among the requests at work. Who joins the flight while it waits may matter more than who began it.
    async fn admitted(&self) -> Result<Permit, Failure> {
        let mut class = self.flight.class();
        let asked = self.upstream().admit(class, self.filler.started)?;
        let mut waiting = match asked {
            Admission::Admitted(permit) => return Ok(permit),
            Admission::Waits(waiting) => waiting,
        };
        loop {
            tokio::select! {
                turn = waiting.turn() => return turn,
                raised = self.flight.raised(class) => class = raised,
            }
            waiting.raise(class);
        }
    }

    /// Asks for the content from a place on, of an answer that broke off there. `None` where what comes
    /// is none of it.
    pub(super) async fn ask_again(&self, broken: &ResponseHeader, from: u64) -> Option<Answer> {
        let composed = request::compose(&self.order, self.variation.as_deref(), None, &[]);
        let mut header = composed.ok()?.header;
        let tag = broken.headers.get(ETAG);
        if let Some(tag) = tag.filter(|tag| !tag.as_bytes().starts_with(b"W/")) {
            header.insert_header(RANGE, format!("bytes={from}-")).ok()?;
            header.insert_header(IF_RANGE, tag.clone()).ok()?;
        }
        let answer = self.ask(&header).await.ok()?;
        let (old, new) = (&broken.headers, &answer.header.headers);
        let control = CacheControl::parse(new);
        let may_go_on = !(control.private || control.no_store || new.contains_key(SET_COOKIE))
            && old.get(VARY) == new.get(VARY);
        let same = if !may_go_on {
            // What began as everyone's is not any more.
            false
        } else if answer.header.status == StatusCode::PARTIAL_CONTENT {
            let range = new.get(CONTENT_RANGE).map(|value| value.as_bytes());
            let range = range.and_then(http_caching::ContentRange::parse);
            let complete = content_length(broken);
            http_caching::combines(old, new)
                && range.is_some_and(|range| {
                    range.first == from
                        && part::has_length(&answer.header, &range)
                        && complete.is_none_or(|c| range.complete == Some(c) && range.last + 1 == c)
                        && range.complete == Some(range.last + 1)
                })
        } else {
            let told = [
                CONTENT_LENGTH,
                CONTENT_TYPE,
                CONTENT_ENCODING,
                ETAG,
                LAST_MODIFIED,
            ];
            answer.header.status == broken.status
                && told.iter().all(|name| old.get(name) == new.get(name))
        };
        if !same {
            answer.discard(&self.filler).await;
            return None;
        }
        Some(answer)
    }

    async fn ask_one(
        &self,
        at_work: AtWork,
        fresh: bool,
        until: Instant,
        request: &RequestHeader,
        interim: &mut Interim,
    ) -> Result<Answer, (AtWork, Fault, Stage)> {
        let timeouts = &self.order.fetch.own.route.timeouts;
        let limits = Limits {
            response: timeouts.response,
            read: timeouts.read,
            until,
        };
        let pool = &self.filler.pool;
        let mut buffers = pool.buffers();
        let connected = self.connect(&at_work, fresh, until, request, &mut buffers.request);
        let (connection, stage) = match connected.await {
            Ok((connection, true)) => (connection, Stage::Reused),
            Ok((connection, false)) => (connection, Stage::Silent),
            Err(fault) => {
                pool.give_back(buffers);
                return Err((at_work, fault, Stage::Connect));
            }
        };
        let mut exchange = Exchange::new(connection, buffers, limits);
        at_work.asks(self.filler.tick());
        let sent_at = SystemTime::now();
        match self.answer_to(&mut exchange, interim).await {
            Ok(header) => Ok(Answer {
                exchange,
                header,
                ahead: Bytes::new(),
                at_work,
                sent_at,
                upstream: Arc::clone(self.upstream()),
            }),
            Err(fault) => {
                let stage = match exchange.has_heard() {
                    true => Stage::Heard,
                    false if fault == Fault::UNSEEN => Stage::Unseen,
                    false => stage,
                };
                if fault == Fault::SILENT && !exchange.has_heard() {
                    exchange.give_up();
                }
                let (_, buffers) = exchange.end();
                pool.give_back(buffers);
                Err((at_work, fault, stage))
            }
        }
    }

    /// A connection that waits for a request, or a new one; `true` for the first. The head of the request is
    /// sent with it, or is in `out`.
    async fn connect(
        &self,
        at_work: &AtWork,
        fresh: bool,
        until: Instant,
        request: &RequestHeader,
        out: &mut Vec<u8>,
    ) -> Result<(Connection, bool), Fault> {
        let upstream = self.upstream();
        let head = match upstream.transport.protocol {
            UpstreamProtocol::Http1 => {
                write_head(out, request);
                None
            }
            UpstreamProtocol::Http2 => {
                let head = http2_head(request, upstream.transport.is_tls());
                Some(head.ok_or(Fault::refused("the target cannot be told in HTTP/2"))?)
            }
        };
        let wanted = Wanted {
            fresh,
            // A fetch is a GET.
            care: Care::Repeatable,
            now: at_work.since,
            limit: self.order.fetch.own.route.timeouts.connect,
            until: Some(until),
            stream: head.as_ref().map(|head| (head, true)),
        };
        upstream::connect(&self.filler.pool, upstream, &at_work.server, &wanted).await
    }

    /// Sends a request, and reads heads up to that of the answer.
    async fn answer_to(
        &self,
        exchange: &mut Exchange,
        told: &mut Interim,
    ) -> Result<ResponseHeader, Fault> {
        const UNASKED: Fault = Fault::bad_answer("another protocol that nobody asked for");
        exchange.send().await?;
        loop {
            let (interim, header) = exchange
                .head(|head, bytes| {
                    let interim = head.is_interim().then_some(bytes.len());
                    (interim, read_head(head, bytes))
                })
                .await?;
            let header = header.ok_or(Fault::bad_answer("a head that cannot be kept"))?;
            if header.status == StatusCode::SWITCHING_PROTOCOLS {
                return Err(UNASKED);
            }
            let Some(length) = interim else {
                return Ok(header);
            };
            told.add(length)?;
            self.flight.add_interim(header);
        }
    }
}

/// Appends a request's head as it goes over the wire.
fn write_head(out: &mut Vec<u8>, request: &RequestHeader) {
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.raw_path());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in &request.headers {
        put_field(out, name.as_str(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// A request's head as HTTP/2 has it.
fn http2_head(request: &RequestHeader, over_tls: bool) -> Option<http::Request<()>> {
    let authority = request
        .headers
        .get(HOST)
        .map_or(Ok(""), HeaderValue::to_str);
    let target = std::str::from_utf8(request.raw_path()).ok()?;
    let head = http2::request_head(&request.method, over_tls, authority.ok()?, target);
    let mut head = head?;
    *head.headers_mut() = request.headers.clone();
    head.headers_mut().remove(HOST);
    Some(head)
}

/// A head that outlasts its bytes. A length that does not say where the content ends is left out.
fn read_head(head: &Head, bytes: &[u8]) -> Option<ResponseHeader> {
    let mut header = ResponseHeader::build_no_case(head.status, Some(24)).ok()?;
    for (name, value) in head.fields(bytes).lines() {
        let name = HeaderName::from_bytes(name).ok()?;
        if name != CONTENT_LENGTH || head.length.is_some() {
            let value = HeaderValue::from_bytes(value).ok()?;
            header.append_header(name, value).ok()?;
        }
    }
    Some(header)
}

impl Answer {
    /// Who was asked.
    pub(super) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Notes what its status says of the server; those of a gateway count against it.
    pub(super) fn note_server(&self, tick: Duration) {
        let status = self.header.status.as_u16();
        self.upstream.answered(&self.at_work, status, tick);
    }

    /// The next piece of content.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Fault> {
        match std::mem::take(&mut self.ahead) {
            ahead if ahead.is_empty() => self.exchange.piece().await,
            ahead => Ok(Some(ahead)),
        }
    }

    /// What was read beyond what was wanted.
    pub(super) fn put_back(&mut self, ahead: Bytes) {
        self.ahead = ahead;
    }

    /// The exchange is complete: the connection is for the next one.
    pub(super) fn release(self, filler: &Filler) {
        let status = self.header.status.as_u16();
        if self.exchange.is_done() && !matches!(status, 502..=504) {
            self.at_work
                .server
                .succeeded(self.at_work.since, filler.tick());
        }
        let (connection, buffers) = self.exchange.end();
        filler.pool.give_back(buffers);
        if let Some(connection) = connection {
            let server = &self.at_work.server;
            upstream::release(
                &filler.pool,
                &self.upstream,
                server,
                connection,
                filler.tick(),
            );
        }
    }

    /// The exchange broke while content arrived.
    pub(super) fn broke(self, filler: &Filler, fault: &Fault) {
        // A status of a gateway has counted already.
        let counted = matches!(self.header.status.as_u16(), 502..=504);
        if fault.is_by_server() && *fault != Fault::TOO_LONG && !counted {
            self.upstream.failed(&self.at_work.server, filler.tick());
        }
        tracing::warn!(
            error = fault.detail,
            server = self.at_work.server.name,
            "answer broke off"
        );
        let (_, buffers) = self.exchange.end();
        filler.pool.give_back(buffers);
    }

    /// Nobody wants the content. What is little is read, so that the connection can be used again.
    pub(super) async fn discard(mut self, filler: &Filler) {
        let little = content_length(&self.header).is_some_and(|length| length <= DRAINED);
        if little && !self.exchange.is_done() {
            let drain = async { while let Ok(Some(_)) = self.exchange.piece().await {} };
            let _ = timeout(DRAIN_TIME, drain).await;
        }
        self.release(filler);
    }
}

/// `Content-Length`; contradictory ones were refused.
pub(super) fn content_length(header: &ResponseHeader) -> Option<u64> {
    if header.status == StatusCode::NO_CONTENT {
        return Some(0);
    }
    let length = header.headers.get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}
