//! Answers to what is fetched for the store, and requests that go on to a shop: each stream in a task.

use std::{
    future::poll_fn,
    io::{Error, ErrorKind},
    sync::Arc,
};

use bytes::BytesMut;
use http::Method;
use http2_server::hpack;
use pingora_http::ResponseHeader;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};

use super::{Request, blocks, line::Gone, visitor::Client};
use crate::{
    cache::{head::VIA_SELF, status::Outcome},
    door::{
        STALLED,
        fetched::{Fetched, fetch},
        outgoing::Outgoing,
        pace::Pace,
    },
    edge::{Fetch, Forward, room::note},
    fill::flight::Asked,
    forward::{self, Exchanged, exchange},
    observe::{Protocol, Record},
    respond::Reply,
    snapshot::Snapshot,
};

/// Interim answers that wait for a slow visitor.
const INTERIM: usize = 4;

impl Request {
    /// Answers with what is fetched, or hands the request over if that is none to be shared.
    pub(super) async fn fetch(mut self, snapshot: Arc<Snapshot>, plan: Fetch) {
        let order = Arc::new(self.asked.order(&self.connection, &snapshot, plan));
        let (interim, mut arriving) = mpsc::channel::<Arc<ResponseHeader>>(INTERIM);
        let hall = Arc::clone(&self.hall);
        let mut fetching = std::pin::pin!(fetch(&hall, &order, &interim));
        let (fetched, asked) = loop {
            let exchange = &self.exchange;
            tokio::select! {
                biased;
                Some(header) = arriving.recv() => self.send_interim(&header),
                fetched = &mut fetching => break fetched,
                // The client has reset the stream, or is gone.
                Gone = poll_fn(|cx| exchange.poll_gone(cx)) => {
                    return self.tell(&Record {
                        // As of one that leaves before it is answered by a shop in person.
                        status: 499,
                        reason: Some("client_gone"),
                        ..self.fetched(&order.fetch.own, &Asked::default())
                    });
                }
            }
        };
        while let Ok(header) = arriving.try_recv() {
            self.send_interim(&header);
        }
        match fetched {
            Fetched::Own => {
                let own = order.fetch.own.clone();
                self.forward(snapshot, own).await;
            }
            Fetched::Failed(failure) => {
                let asked_of = &self.asked.asked().on(Some(&order.fetch.own.route));
                let shop = order.fetch.own.shop();
                let tick = self.hall.started.elapsed();
                let window_open = shop.window_is_open(tick);
                let dress = &order.fetch.own.route.dress;
                let mut reply = Reply::failure(failure, window_open, true, dress, asked_of);
                reply.limit(order.fetch.own.limit.as_ref());
                reply.pass(order.fetch.own.room.as_deref());
                let sent = self.send_reply(&reply).await;
                self.tell(&Record {
                    status: reply.status,
                    bytes: if self.head_only() {
                        0
                    } else {
                        reply.body.len() as u64
                    },
                    reason: Some(match sent {
                        Ok(()) => failure.reason,
                        Err(why) => self.lost(&why),
                    }),
                    ..self.fetched(&order.fetch.own, &asked)
                });
            }
            Fetched::Answer(mut outgoing) => {
                let mut sent = 0;
                let done = self.send(&mut outgoing, &mut sent).await;
                self.tell(&Record {
                    status: outgoing.status(),
                    bytes: sent,
                    outcome: outgoing.outcome,
                    reason: done.err().map(|why| self.lost(&why)),
                    ..self.fetched(&order.fetch.own, &asked)
                });
            }
        }
    }

    /// Sends the request to a shop, and its answer back.
    pub(super) async fn forward(mut self, snapshot: Arc<Snapshot>, forward: Forward) {
        let asked = &self.asked;
        let request = forward::Request {
            forward: &forward,
            method: asked.head.method(),
            fields: &asked.head,
            content: asked.body,
            upgrade: false,
            body_timeout: snapshot.bounds.body_timeout,
            visitors: snapshot.bounds.visitors,
            began: asked.now,
            client: asked.client,
            peer: self.connection.peer.ip(),
            trusted: asked.trusted,
            scheme: self.connection.scheme,
            proof: snapshot.proof(&self.connection),
            protocol: Protocol::Http2,
            request_id: asked.request_id.as_str(),
            host: asked.head.authority(),
            target: asked.head.target(),
        };
        let mut client = Client {
            exchange: &mut self.exchange,
            head_only: asked.head.method() == Method::HEAD,
        };
        // An answer that is not complete resets the stream when it is dropped.
        let exchanged = exchange(&self.hall, &request, &mut client).await;
        match (exchanged, forward.instead) {
            (Exchanged::Unanswered, Some(instead)) => {
                Box::pin(self.fetch(snapshot, *instead)).await;
            }
            (Exchanged::Complete, _) => self.exchange.linger().await,
            _ => {}
        }
    }

    /// What the log says of an answer that is not complete; a visitor that is too slow is counted.
    pub(super) fn lost(&self, why: &Error) -> &'static str {
        match why.kind() {
            ErrorKind::UnexpectedEof => "connection_terminated",
            _ => self.hall.shared.metrics.visitors.lost(why),
        }
    }

    pub(super) fn head_only(&self) -> bool {
        self.asked.head.method() == Method::HEAD
    }

    pub(super) fn tell(&self, record: &Record<'_>) {
        let now = self.hall.started.elapsed();
        self.asked.tell(&self.hall, &self.connection, now, record);
    }

    fn fetched<'n>(&'n self, own: &'n Forward, asked: &'n Asked) -> Record<'n> {
        let server = asked.server.as_ref();
        Record {
            route: Some(&own.route),
            outcome: Outcome::None,
            limit: own.limit.as_ref(),
            room: note(own.room.as_ref()),
            upstream: server.map(|(name, _)| name.as_str()),
            upstream_time: server.map(|(_, time)| *time),
            attempts: asked.attempts,
            retried: asked.retried,
            ..self.asked.blank()
        }
    }

    /// Passes an interim answer on (RFC 9110 §15.2).
    fn send_interim(&mut self, header: &ResponseHeader) {
        let mut block = BytesMut::with_capacity(256);
        hpack::put_status(&mut block, header.status.as_u16());
        let hop_by_hop = http_caching::hop_by_hop(&header.headers);
        for (name, value) in &header.headers {
            if !hop_by_hop.contains(name) {
                hpack::put_field(&mut block, name.as_str().as_bytes(), value.as_bytes());
            }
        }
        hpack::put_field(&mut block, b"via", VIA_SELF.as_bytes());
        self.exchange.send_head(&block, false);
    }

    pub(super) async fn send_reply(&mut self, reply: &Reply) -> Result<(), Error> {
        use forward::Visitor;
        let head_only = self.head_only();
        let mut client = Client {
            exchange: &mut self.exchange,
            head_only,
        };
        client.reply(reply);
        let finished = timeout(STALLED, poll_fn(|cx| client.poll_finish(cx))).await;
        finished.map_err(|_| Error::from(ErrorKind::TimedOut))?
    }

    /// Sends an answer; says how much content went out, and whether that was all.
    pub(super) async fn send(
        &mut self,
        outgoing: &mut Outgoing<'_>,
        sent: &mut u64,
    ) -> Result<(), Error> {
        let mut block = BytesMut::with_capacity(512);
        blocks::put_outgoing(&mut block, outgoing, self.asked.request_id.as_str());
        let mut left = outgoing.announced();
        let nothing = self.head_only() || left == Some(0);
        let pace = &mut Pace::sending(&self.hall.current.load().bounds.visitors);
        self.exchange.send_head(&block, nothing);
        if nothing {
            return self.room(pace, true).await;
        }
        let broken = || Error::from(ErrorKind::UnexpectedEof);
        loop {
            let exchange = &self.exchange;
            let piece = tokio::select! {
                biased;
                piece = outgoing.content.next() => piece.map_err(|_| broken())?,
                // Between two pieces that take long nothing is written that would tell.
                Gone = poll_fn(|cx| exchange.poll_gone(cx)) => {
                    return Err(ErrorKind::BrokenPipe.into());
                }
            };
            let Some(piece) = piece else { break };
            let length = piece.len() as u64;
            if let Some(left) = &mut left {
                *left = left.checked_sub(length).ok_or_else(broken)?;
            }
            let is_last = left == Some(0);
            self.room(pace, false).await?;
            self.exchange.send(piece, is_last);
            *sent += length;
            if is_last {
                return self.room(pace, true).await;
            }
        }
        if left.is_some() {
            return Err(broken());
        }
        self.exchange.send(bytes::Bytes::new(), true);
        self.room(pace, true).await
    }

    /// Waits until the client has taken what was sent before; `all`: to the last octet.
    async fn room(&self, pace: &mut Pace, all: bool) -> Result<(), Error> {
        let exchange = &self.exchange;
        let mut seen = exchange.progress();
        loop {
            let room = poll_fn(|cx| match all {
                true => exchange.poll_sent(cx),
                false => exchange.poll_room(cx),
            });
            let reached = timeout_at(pace.wait(Instant::now()), room).await;
            let before = std::mem::replace(&mut seen, exchange.progress());
            let taken = seen.since(&before);
            match reached {
                Ok(Ok(())) => {
                    pace.moved(taken);
                    return Ok(());
                }
                Ok(Err(Gone)) => return Err(ErrorKind::BrokenPipe.into()),
                // Slow is not stalled, and neither is who reads other streams first.
                Err(_) if taken > 0 => pace.moved(taken),
                Err(_) => return Err(ErrorKind::TimedOut.into()),
            }
        }
    }
}
