//! Asking servers for what is to be stored, and what they answer.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    StatusCode,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE,
        LAST_MODIFIED, RANGE, SET_COOKIE, VARY,
    },
};
use pingora::{
    Error, ErrorSource, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
    protocols::http::client::HttpSession,
    upstreams::peer::HttpPeer,
};
use tokio::time::timeout;

use http_caching::CacheControl;

use super::{Filler, fetch::Task, flight::Asked, part, request};
use crate::{
    door::forward::response,
    respond::failure::Failure,
    upstream::{Asked as AtWork, Upstream},
};

/// What is read of an answer that nobody wants, so that the connection can be used again.
const DRAINED: u64 = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// Interim answers to one request.
const MAX_INTERIM: usize = 16;

/// A server that answers.
pub(super) struct Answer {
    session: HttpSession,
    peer: HttpPeer,
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
            let result = self.ask_one(index, at_work, request).await;
            let now = self.filler.tick();
            let name = upstream.servers[index].name.clone();
            asked.server = Some((name, now.saturating_sub(tick)));
            self.flight.set_asked(asked.clone());
            let (error, stage) = match result {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let timed_out = matches!(
                error.etype(),
                ErrorType::ReadTimedout | ErrorType::WriteTimedout
            );
            // A pooled connection that the server closed at the moment of reuse is nobody's fault.
            let pool_race = stage == Step::Reused && !timed_out;
            if stage == Step::Connect {
                upstream.servers[index].state.refused(now);
            }
            if !pool_race {
                upstream.failed(index, now);
            }
            // A server that has just died closes all its pooled connections: ask another.
            tried.push(index);
            let free = stage == Step::Connect || pool_race;
            let again = (stage == Step::Connect || !timed_out)
                && asked.attempts <= upstream.retry.attempts
                && (free || upstream.budget.take());
            if !again {
                return Err(Failure::of(&error));
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
    ) -> std::result::Result<Answer, (Box<Error>, Step)> {
        let upstream = self.upstream();
        let timeouts = &upstream.timeouts;
        let mut peer = HttpPeer::new(upstream.servers[index].address, false, String::new());
        peer.options.connection_timeout = Some(timeouts.connect);
        peer.options.total_connection_timeout = Some(timeouts.connect);
        peer.options.idle_timeout = Some(timeouts.idle);
        let by_server = |mut error: Box<Error>| {
            error.esource = ErrorSource::Upstream;
            error
        };
        let (mut session, reused) = self
            .filler
            .connector
            .get_http_session(&peer)
            .await
            .map_err(|error| (by_server(error), Step::Connect))?;
        let step = if reused { Step::Reused } else { Step::Exchange };
        session.set_read_timeout(Some(timeouts.response));
        session.set_write_timeout(Some(timeouts.response));
        let sent_at = SystemTime::now();
        let exchange = async {
            session
                .write_request_header(Box::new(request.clone()))
                .await?;
            session.finish_request_body().await?;
            for _ in 0..MAX_INTERIM {
                session.read_response_header().await?;
                let Some(header) = session.response_header() else {
                    break;
                };
                if !header.status.is_informational() {
                    let header = header.clone();
                    response::check(&header, false)?;
                    return Ok(header);
                }
                if header.status == StatusCode::SWITCHING_PROTOCOLS {
                    response::check(header, false)?;
                }
                self.flight.add_interim(header.clone());
            }
            Error::e_explain(ErrorType::InvalidHTTPHeader, "no final answer")
        };
        match exchange.await {
            Ok(header) => Ok(Answer {
                session,
                peer,
                header,
                ahead: Bytes::new(),
                at_work,
                sent_at,
                upstream: Arc::clone(upstream),
            }),
            Err(error) => {
                session.shutdown().await;
                Err((by_server(error), step))
            }
        }
    }
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
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>> {
        match std::mem::take(&mut self.ahead) {
            ahead if ahead.is_empty() => self.session.read_response_body().await,
            ahead => Ok(Some(ahead)),
        }
    }

    /// What was read beyond what was wanted.
    pub(super) fn put_back(&mut self, ahead: Bytes) {
        self.ahead = ahead;
    }

    /// The exchange is complete: the connection is for the next one.
    pub(super) async fn release(self, filler: &Filler) {
        let idle = self.upstream.timeouts.idle;
        filler
            .connector
            .release_http_session(self.session, &self.peer, Some(idle))
            .await;
    }

    /// The exchange broke while content arrived.
    pub(super) async fn broke(mut self, filler: &Filler, error: &Error) {
        self.upstream.failed(self.at_work.index, filler.tick());
        tracing::warn!(%error, server = self.upstream.servers[self.at_work.index].name, "answer broke off");
        self.session.shutdown().await;
    }

    /// Nobody wants the content. What is little is read, so that the connection can be used again.
    pub(super) async fn discard(mut self, filler: &Filler) {
        let little = content_length(&self.header).is_some_and(|length| length <= DRAINED);
        let mut left = if little { DRAINED } else { 0 };
        let drained = timeout(DRAIN_TIME, async {
            while left > 0 {
                match self.session.read_response_body().await {
                    Ok(Some(piece)) => left = left.saturating_sub(piece.len() as u64),
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
            self.session.response_done()
        });
        if let Ok(true) = drained.await {
            self.release(filler).await;
        } else {
            self.session.shutdown().await;
        }
    }
}

/// `Content-Length`; Pingora has refused contradictory ones.
pub(super) fn content_length(header: &ResponseHeader) -> Option<u64> {
    if header.status == StatusCode::NO_CONTENT {
        return Some(0);
    }
    let length = header.headers.get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}
