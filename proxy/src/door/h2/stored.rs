//! Answers of the store over HTTP/2: what lies in memory, and what is fetched.

use std::{
    io::{Error, ErrorKind},
    sync::Arc,
    time::SystemTime,
};

use http::{
    HeaderName, HeaderValue, Method,
    header::{AGE, CONTENT_LENGTH},
};
use pingora::http::ResponseHeader;
use tokio::sync::mpsc;

use super::Request;
use crate::{
    cache::{
        head::{HeadFields, parse_head, value},
        status::{CACHE_STATUS, Outcome},
    },
    door::{
        fetched::{Fetched, fetch},
        outgoing::Outgoing,
    },
    edge::{Answer, Fetch, Hit, decide::DHAL_DEBUG},
    fill::{Order, flight::Asked},
    observe::Record,
    respond::{
        Reply,
        fields::{RATELIMIT, RATELIMIT_POLICY, X_REQUEST_ID, ratelimit, ratelimit_policy},
    },
    snapshot::Snapshot,
};

impl Request<'_> {
    /// Writes a stored response.
    pub(super) async fn respond(&mut self, snapshot: &Arc<Snapshot>, hit: &Hit) {
        if let Some(fetch) = &hit.refresh {
            let order = self.order(snapshot, Fetch::clone(fetch));
            let filler = &self.hall.filler;
            filler.refresh(&Arc::new(order), &hit.stored, SystemTime::now());
        }
        let mut outgoing = Outgoing::of_hit(hit);
        outgoing.narrow();
        let (sent, done) = self.send(&mut outgoing).await;
        self.tell(&Record {
            status: outgoing.status(),
            bytes: sent,
            route: Some(&hit.route),
            outcome: hit.outcome,
            limit: hit.limit.as_ref(),
            reason: done.err().map(|_| "client_gone"),
            ..self.blank()
        });
    }

    fn order(&self, snapshot: &Arc<Snapshot>, fetch: Fetch) -> Order {
        let head = self.session.req_header();
        Order {
            fetch,
            snapshot: Arc::clone(snapshot),
            method: head.method.clone(),
            shows_key: self.trusted && head.headers.contains_key(DHAL_DEBUG),
            fields: head.headers.clone(),
            client: self.client,
            peer: self.connection.peer.ip(),
            trusted: self.trusted,
            scheme: self.connection.scheme,
            request_id: self.request_id.clone(),
            began: self.now,
        }
    }

    /// Answers with what is fetched, or hands the request over if that is none to be shared.
    pub(super) async fn fetch(mut self, snapshot: Arc<Snapshot>, plan: Fetch) {
        let order = Arc::new(self.order(&snapshot, plan));
        // Pingora's HTTP/2 session has no way to send interim answers.
        let (interim, _) = mpsc::channel(1);
        let (fetched, asked) = tokio::select! {
            fetched = fetch(self.hall, &order, &interim) => fetched,
            // The client has reset the stream, or is gone.
            _ = self.session.idle() => {
                return self.tell(&Record {
                    // As of one that leaves before it is answered by a shop in person.
                    status: 499,
                    reason: Some("client_gone"),
                    ..self.fetched(&order, &Asked::default())
                });
            }
        };
        match fetched {
            Fetched::Own => {
                let own = order.fetch.own.clone();
                self.hand_over(snapshot, own).await;
            }
            Fetched::Failed(failure) => {
                let mut reply = Reply::error(failure.status, &self.asked());
                if failure.status == 503 {
                    reply.add(http::header::RETRY_AFTER, "5");
                }
                reply.limit(order.fetch.own.limit.as_ref());
                let (bytes, sent) = self.write_reply(&reply).await;
                self.tell(&Record {
                    status: reply.status,
                    bytes,
                    reason: sent
                        .err()
                        .map_or(Some(failure.reason), |_| Some("client_gone")),
                    ..self.fetched(&order, &asked)
                });
            }
            Fetched::Answer(mut outgoing) => {
                let (sent, done) = self.send(&mut outgoing).await;
                self.tell(&Record {
                    status: outgoing.status(),
                    bytes: sent,
                    outcome: outgoing.outcome,
                    reason: done.err().map(|why| match why.kind() {
                        ErrorKind::UnexpectedEof => "connection_terminated",
                        _ => "client_gone",
                    }),
                    ..self.fetched(&order, &asked)
                });
            }
        }
    }

    fn fetched<'n>(&'n self, order: &'n Order, asked: &'n Asked) -> Record<'n> {
        let server = asked.server.as_ref();
        Record {
            route: Some(&order.fetch.own.route),
            outcome: Outcome::None,
            limit: order.fetch.own.limit.as_ref(),
            upstream: server.map(|(name, _)| name.as_str()),
            upstream_time: server.map(|(_, time)| *time),
            attempts: asked.attempts,
            ..self.blank()
        }
    }

    /// Writes an answer; says how much content went out, and whether that was all. A stream whose content
    /// breaks off is reset, so that nobody takes it for complete.
    async fn send(&mut self, outgoing: &mut Outgoing<'_>) -> (u64, Result<(), Error>) {
        let mut sent = 0;
        let done = self.write(outgoing, &mut sent).await;
        if done.is_err() {
            self.session.shutdown();
        }
        (sent, done)
    }

    async fn write(&mut self, outgoing: &mut Outgoing<'_>, sent: &mut u64) -> Result<(), Error> {
        let gone = |_| Error::from(ErrorKind::BrokenPipe);
        let broken = || Error::from(ErrorKind::UnexpectedEof);
        let header = self
            .header(outgoing)
            .ok_or_else(|| Error::from(ErrorKind::InvalidData))?;
        let head_only = self.session.req_header().method == Method::HEAD;
        let mut left = outgoing.announced();
        let nothing = head_only || left == Some(0);
        self.session
            .write_response_header(header, nothing)
            .map_err(gone)?;
        if nothing {
            return Ok(());
        }
        loop {
            let piece = tokio::select! {
                biased;
                piece = outgoing.content.next() => piece.map_err(|_| broken())?,
                // Between two pieces that take long nothing is written that would tell.
                _ = self.session.idle() => return Err(Error::from(ErrorKind::BrokenPipe)),
            };
            let Some(piece) = piece else { break };
            let length = piece.len() as u64;
            if let Some(left) = &mut left {
                *left = left.checked_sub(length).ok_or_else(broken)?;
            }
            let is_last = left == Some(0);
            let written = self.session.write_body(piece, is_last).await;
            written.map_err(gone)?;
            *sent += length;
            if is_last {
                return Ok(());
            }
        }
        if left.is_some() {
            return Err(broken());
        }
        self.session.finish().map_err(gone)
    }

    fn header(&self, outgoing: &Outgoing<'_>) -> Option<Box<ResponseHeader>> {
        let mut header = match outgoing.answer {
            Answer::Whole => parse_head(&outgoing.head, outgoing.stored_status)?,
            _ => {
                let mut header = ResponseHeader::build_no_case(outgoing.status(), Some(16)).ok()?;
                for (name, line) in HeadFields(&outgoing.head).lines() {
                    if outgoing.keeps(name) {
                        let name = HeaderName::from_bytes(name).ok()?;
                        let value = outgoing.head.slice_ref(line);
                        let value = HeaderValue::from_maybe_shared(value).ok()?;
                        header.append_header(name, value).ok()?;
                    }
                }
                for (name, text) in outgoing.added() {
                    header.insert_header(name, text).ok()?;
                }
                header
            }
        };
        if outgoing.status() == 304 {
            header.remove_header(&CONTENT_LENGTH);
        }
        if let Some(age) = outgoing.age {
            header.insert_header(AGE, age).ok()?;
        }
        let status = outgoing.outcome;
        if let Some(status) = status.field_value(outgoing.ttl, outgoing.key.as_deref()) {
            header.append_header(CACHE_STATUS, status).ok()?;
        }
        header
            .insert_header(X_REQUEST_ID, value(&self.request_id))
            .ok()?;
        if let Some(limit) = &outgoing.limit {
            header
                .insert_header(RATELIMIT_POLICY, value(&ratelimit_policy(limit)))
                .ok()?;
            header
                .insert_header(RATELIMIT, value(&ratelimit(limit)))
                .ok()?;
        }
        Some(Box::new(header))
    }
}
