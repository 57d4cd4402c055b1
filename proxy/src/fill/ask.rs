//! Asking servers for what is to be stored, and what they answer.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE,
        LAST_MODIFIED, RANGE, SET_COOKIE, VARY,
    },
};
use http_caching::CacheControl;
use http1_wire::response::Head;
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::time::timeout;

use super::{Filler, fetch::Task, flight::Asked, part, request};
use crate::{
    cache::head::put_field,
    respond::{failure::Failure, fault::Fault},
    upstream::{
        Asked as AtWork, Upstream,
        connection::Connection,
        http1::{Exchange, Interim},
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
        let upstream = self.upstream();
        upstream.budget.request();
        let mut tried = Vec::new();
        let mut asked = Asked::default();
        let mut interim = Interim::default();
        loop {
            let tick = self.filler.tick();
            // As visitors' own requests choose, so that a page stays with its server.
            let key = self.order.fetch.target.as_bytes();
            let chosen = upstream
                .choose(&tried, key, tick)
                .or_else(|| upstream.choose(&[], key, tick));
            let Some(index) = chosen else {
                return Err(Failure::unavailable());
            };
            asked.attempts += 1;
            let at_work = AtWork::new(index, &upstream.servers[index], tick);
            let result = self.ask_one(index, at_work, request, &mut interim).await;
            let now = self.filler.tick();
            let name = upstream.servers[index].name.clone();
            asked.server = Some((name, now.saturating_sub(tick)));
            self.flight.set_asked(asked.clone());
            let (fault, stage) = match result {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if !fault.is_by_server() {
                return Err(fault.failure);
            }
            // A pooled connection that the server closed at the moment of reuse is nobody's fault; one that it
            // has said something on is.
            let pool_race = stage == Step::Reused && !fault.timed_out;
            if stage == Step::Connect {
                upstream.servers[index].state.refused(now);
            }
            if !pool_race {
                upstream.failed(index, now);
            }
            // A server that has just died closes all its pooled connections: ask another.
            tried.push(index);
            let free = stage == Step::Connect || pool_race;
            let again = (stage == Step::Connect || !fault.timed_out)
                && asked.attempts <= upstream.retry.attempts
                && (free || upstream.budget.take());
            if !again {
                return Err(fault.failure);
            }
            let retries = &self.shared().metrics.retries;
            retries.with_label_values(&[&upstream.name]).inc();
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
        index: usize,
        at_work: AtWork,
        request: &RequestHeader,
        interim: &mut Interim,
    ) -> Result<Answer, (Fault, Step)> {
        let upstream = self.upstream();
        let timeouts = &upstream.timeouts;
        let address = upstream.servers[index].address;
        let pool = &self.filler.pool;
        let (connection, step) = match pool.take(address, at_work.since) {
            Some(connection) => (connection, Step::Reused),
            None => {
                let opened = Connection::open(address, timeouts.connect).await;
                let connection = opened.map_err(|why| (Fault::connecting(&why), Step::Connect))?;
                (connection, Step::Exchange)
            }
        };
        let mut buffers = pool.buffers();
        write_head(&mut buffers.request, request);
        let mut exchange = Exchange::new(connection, buffers, timeouts.response);
        let sent_at = SystemTime::now();
        match self.answer_to(&mut exchange, interim).await {
            Ok(header) => Ok(Answer {
                exchange,
                header,
                ahead: Bytes::new(),
                at_work,
                sent_at,
                upstream: Arc::clone(upstream),
            }),
            Err(fault) => {
                let step = if exchange.has_heard() {
                    Step::Exchange
                } else {
                    step
                };
                let (_, buffers) = exchange.end();
                pool.give_back(buffers);
                Err((fault, step))
            }
        }
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

/// How far an exchange had come when it failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Connect,
    /// On a connection that had been used before.
    Reused,
    Exchange,
}

impl Answer {
    /// Who was asked.
    pub(super) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Notes what its status says of the server; those of a gateway count against it.
    pub(super) fn note_server(&self, tick: Duration) {
        if matches!(self.header.status.as_u16(), 502..=504) {
            self.upstream.failed(self.at_work.index, tick);
        } else {
            let server = &self.upstream.servers[self.at_work.index];
            server.state.succeeded(tick);
        }
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
        let address = self.upstream.servers[self.at_work.index].address;
        let (connection, buffers) = self.exchange.end();
        filler.pool.give_back(buffers);
        if let Some(connection) = connection {
            let until = filler.tick() + self.upstream.timeouts.idle;
            filler.pool.put(address, connection, until);
        }
    }

    /// The exchange broke while content arrived.
    pub(super) fn broke(self, filler: &Filler, fault: &Fault) {
        self.upstream.failed(self.at_work.index, filler.tick());
        tracing::warn!(
            error = fault.detail,
            server = self.upstream.servers[self.at_work.index].name,
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
