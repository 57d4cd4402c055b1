//! Answers of the store over HTTP/1.1: what lies in memory, and what is fetched.

use std::{sync::Arc, time::SystemTime};

use bytes::{BufMut, BytesMut};
use pingora_http::ResponseHeader;
use tokio::sync::mpsc;

use super::{Next, Noted, Session, write};
use crate::{
    cache::{
        head::{VIA_SELF, put_field},
        status::Outcome,
    },
    door::{fetched::Fetched, outgoing::Outgoing},
    edge::{Fetch, Hit, decide::DHAL_DEBUG, room::note},
    fill::{
        Order,
        content::Content,
        flight::{Asked, Broken},
    },
    observe::Record,
    respond::{
        Reply,
        failure::{Failure, Side},
    },
    snapshot::Snapshot,
};

/// Interim answers that wait for a slow visitor.
const INTERIM: usize = 4;

/// Content of unknown length up to this size is counted before an HTTP/1.0 client gets any of it.
const COUNTED: u64 = 1024 * 1024;
/// Why it gets none.
const BROKEN_OFF: Failure = Failure {
    status: 502,
    reason: "connection_terminated",
    side: Side::Upstream,
    retry_after: None,
};

impl Session<'_> {
    /// Writes a stored response.
    pub(super) async fn respond(
        &mut self,
        snapshot: &Arc<Snapshot>,
        bytes: &[u8],
        hit: &Hit,
        noted: &Noted,
    ) -> std::io::Result<Next> {
        if let Some(fetch) = &hit.refresh {
            let order = self.order(snapshot, bytes, Fetch::clone(fetch), noted);
            let filler = &self.hall.filler;
            filler.refresh(&Arc::new(order), &hit.stored, SystemTime::now());
        }
        let mut outgoing = Outgoing::of_hit(hit);
        outgoing.over(self.connection.scheme, &hit.route);
        outgoing.narrow(&hit.route.dress);
        let (sent, done, next) = self.send(&mut outgoing, noted).await;
        let visitors = &self.hall.shared.metrics.visitors;
        self.tell(
            bytes,
            noted,
            &Record {
                status: outgoing.status(),
                bytes: sent,
                route: Some(&hit.route),
                outcome: hit.outcome,
                limit: hit.limit.as_ref(),
                room: note(hit.room.as_ref()),
                reason: done.as_ref().err().map(|why| visitors.lost(why)),
                ..self.blank(noted)
            },
        );
        done.map(|()| next)
    }

    fn order(&self, snapshot: &Arc<Snapshot>, bytes: &[u8], fetch: Fetch, noted: &Noted) -> Order {
        let fields = self.head.fields(bytes).to_map();
        Order {
            fetch,
            snapshot: Arc::clone(snapshot),
            method: self.head.method.clone(),
            shows_key: noted.trusted && fields.contains_key(DHAL_DEBUG),
            fields,
            client: noted.client,
            peer: self.connection.peer.ip(),
            trusted: noted.trusted,
            scheme: self.connection.scheme,
            request_id: noted.request_id.clone(),
            began: noted.now,
        }
    }

    /// Answers with what is fetched, or hands the request over if that is none to be shared.
    pub(super) async fn fetch(
        &mut self,
        snapshot: Arc<Snapshot>,
        bytes: BytesMut,
        host: String,
        fetch: Fetch,
        noted: Noted,
    ) -> Option<Next> {
        let order = Arc::new(self.order(&snapshot, &bytes, fetch, &noted));
        let hall = self.hall;
        let (interim, mut arriving) = mpsc::channel(INTERIM);
        let mut fetching = std::pin::pin!(crate::door::fetched::fetch(hall, &order, &interim));
        let (fetched, asked) = loop {
            tokio::select! {
                biased;
                Some(header) = arriving.recv() => {
                    if self.write_interim(&header).await.is_err() {
                        self.tell_gone(&bytes, &noted, &order);
                        return None;
                    }
                }
                fetched = &mut fetching => break fetched,
            }
        };
        while let Ok(header) = arriving.try_recv() {
            if self.write_interim(&header).await.is_err() {
                self.tell_gone(&bytes, &noted, &order);
                return None;
            }
        }
        let fetched = match fetched {
            // An old client learns the end of content without a length from the end of the connection, which
            // says nothing of whether that was all.
            Fetched::Answer(mut outgoing)
                if self.head.is_http10 && self.head.method != http::Method::HEAD =>
            {
                match outgoing.count(COUNTED).await {
                    Ok(()) => Fetched::Answer(outgoing),
                    Err(Broken) => Fetched::Failed(BROKEN_OFF),
                }
            }
            fetched => fetched,
        };
        match fetched {
            Fetched::Own => {
                let own = order.fetch.own.clone();
                Box::pin(self.hand_over(snapshot, bytes, host, own, noted)).await
            }
            Fetched::Failed(failure) => {
                let route = &order.fetch.own.route;
                let asked_of = &self.asked(&snapshot, &bytes, &noted).on(Some(route));
                let shop = order.fetch.own.shop();
                let tick = self.hall.started.elapsed();
                let window_open = shop.window_is_open(tick);
                let dress = &order.fetch.own.route.dress;
                let mut reply = Reply::failure(failure, window_open, true, dress, asked_of);
                reply.limit(order.fetch.own.limit.as_ref());
                reply.pass(order.fetch.own.room.as_deref());
                let close = self.closes();
                let head_only = self.head.method == http::Method::HEAD;
                let mut sent = write::bytes(
                    &mut self.stream,
                    &mut self.patience,
                    &reply.to_http1(head_only, close),
                )
                .await;
                if sent.is_ok() {
                    sent = write::flush(&mut self.stream, &mut self.patience).await;
                }
                let record = Record {
                    status: reply.status,
                    bytes: if head_only {
                        0
                    } else {
                        reply.body.len() as u64
                    },
                    reason: Some(failure.reason),
                    ..self.fetched(&noted, &order, &asked)
                };
                self.tell(&bytes, &noted, &record);
                let next = if close { Next::Close } else { Next::Another };
                sent.ok().map(|()| next)
            }
            Fetched::Answer(mut outgoing) => {
                let (sent, done, next) = self.send(&mut outgoing, &noted).await;
                let visitors = &self.hall.shared.metrics.visitors;
                let record = Record {
                    status: outgoing.status(),
                    bytes: sent,
                    outcome: outgoing.outcome,
                    reason: done.as_ref().err().map(|why| match why.kind() {
                        std::io::ErrorKind::UnexpectedEof => "connection_terminated",
                        _ => visitors.lost(why),
                    }),
                    ..self.fetched(&noted, &order, &asked)
                };
                self.tell(&bytes, &noted, &record);
                if done.is_err() && self.head.is_http10 && !outgoing.has_known_end() {
                    // The end of the connection would say that this was all.
                    self.abort();
                }
                done.ok().map(|()| next)
            }
        }
    }

    /// Tells of a visitor who leaves before it is answered (nginx's 499).
    fn tell_gone(&self, bytes: &[u8], noted: &Noted, order: &Order) {
        let nobody = Asked::default();
        let record = Record {
            status: 499,
            reason: Some("client_gone"),
            ..self.fetched(noted, order, &nobody)
        };
        self.tell(bytes, noted, &record);
    }

    fn fetched<'n>(&'n self, noted: &'n Noted, order: &'n Order, asked: &'n Asked) -> Record<'n> {
        let server = asked.server.as_ref();
        Record {
            route: Some(&order.fetch.own.route),
            outcome: Outcome::None,
            limit: order.fetch.own.limit.as_ref(),
            room: note(order.fetch.own.room.as_ref()),
            upstream: server.map(|(name, _)| name.as_str()),
            upstream_time: server.map(|(_, time)| *time),
            attempts: asked.attempts,
            retried: asked.retried,
            ..self.blank(noted)
        }
    }

    /// Writes an answer; says how much content went out, whether that was all, and what becomes of the
    /// connection.
    async fn send(
        &mut self,
        outgoing: &mut Outgoing<'_>,
        noted: &Noted,
    ) -> (u64, std::io::Result<()>, Next) {
        let close = self.closes() || (self.head.is_http10 && !outgoing.has_known_end());
        let manner = write::Manner {
            head_only: self.head.method == http::Method::HEAD,
            close,
            is_http10: self.head.is_http10,
            request_id: noted.request_id.as_bytes(),
        };
        let mut sent = 0;
        let (stream, patience) = (&mut self.stream, &mut self.patience);
        let mut out = BytesMut::with_capacity(512);
        let mut done = if let Content::Memory(_) = &outgoing.content {
            write::hit(stream, patience, &mut out, outgoing, &manner, &mut sent).await
        } else {
            write::stream(stream, patience, &mut out, outgoing, &manner, &mut sent).await
        };
        if done.is_ok() {
            done = write::flush(stream, patience).await;
        }
        let next = if close { Next::Close } else { Next::Another };
        (sent, done, next)
    }

    /// Passes an interim answer on (RFC 9110 §15.2), to those who know such.
    async fn write_interim(&mut self, header: &ResponseHeader) -> std::io::Result<()> {
        if self.head.is_http10 {
            return Ok(());
        }
        let mut out = BytesMut::with_capacity(256);
        out.put_slice(b"HTTP/1.1 ");
        out.put_slice(header.status.as_str().as_bytes());
        out.put_u8(b' ');
        let reason = header.status.canonical_reason().unwrap_or_default();
        out.put_slice(reason.as_bytes());
        out.put_slice(b"\r\n");
        let hop_by_hop = http_caching::hop_by_hop(&header.headers);
        for (name, value) in &header.headers {
            if !hop_by_hop.contains(name) {
                put_field(&mut out, name.as_str(), value.as_bytes());
            }
        }
        put_field(&mut out, "via", VIA_SELF.as_bytes());
        out.put_slice(b"\r\n");
        write::bytes(&mut self.stream, &mut self.patience, &out).await?;
        write::flush(&mut self.stream, &mut self.patience).await
    }
}
