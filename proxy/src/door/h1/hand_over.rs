//! Requests that a shop answers in person: handed to the relay with what belongs to them.

use std::sync::Arc;

use bytes::BytesMut;
use http1_wire::{Refusal, chunked::ChunkScanner};
use tokio::time::{Instant, timeout_at};

use super::{
    Next, Noted, Session,
    visitor::{Client, Share},
};
use crate::{
    door::pace::Pace,
    edge::{Body, Forward, Rejection, room::note},
    forward::{Exchanged, Request, asks_for_websocket, exchange},
    respond::Reply,
    snapshot::Snapshot,
};

/// A chunked body up to this size is read and checked before anyone else sees a byte of it.
const CHECKED_AHEAD: u64 = 64 * 1024;
/// Room for the head of an answer; most need no more.
const HEAD: usize = 1024;

impl Session<'_> {
    /// Sends a request to a shop, and its answer back.
    pub(super) async fn hand_over(
        &mut self,
        snapshot: Arc<Snapshot>,
        bytes: BytesMut,
        host: String,
        forward: Forward,
        noted: Noted,
    ) -> Option<Next> {
        let share = match self.check_ahead(&snapshot, &forward).await {
            Ok(share) => share,
            Err(refusal) => {
                let rejection = Rejection {
                    route: Some(Arc::clone(&forward.route)),
                    limit: forward.limit,
                    room: note(forward.room.as_ref()),
                    ..Rejection::closing(refusal.status, refusal.reason)
                };
                let dress = &forward.route.dress;
                let asked = self.asked(&snapshot, &bytes, &noted);
                let mut reply = Reply::rejection(&rejection, dress, &asked);
                reply.pass(forward.room.as_deref());
                let told = (&rejection).into();
                let next = self.reply(&bytes, &reply, &noted, told).await;
                return next.ok();
            }
        };
        let protocol = self.protocol();
        let fields = self.head.fields(&bytes);
        let request = Request {
            forward: &forward,
            method: &self.head.method,
            fields: &fields,
            content: self.head.body,
            upgrade: self.head.upgrade && asks_for_websocket(&fields),
            body_timeout: snapshot.bounds.body_timeout,
            visitors: snapshot.bounds.visitors,
            began: noted.now,
            client: noted.client,
            peer: self.connection.peer.ip(),
            trusted: noted.trusted,
            scheme: self.connection.scheme,
            proof: snapshot.proof(self.connection),
            protocol,
            request_id: &noted.request_id,
            host: &host,
            target: self.head.target(&bytes),
        };
        let mut out = BytesMut::with_capacity(HEAD);
        let close = self.head.close || self.ends_soon();
        let mut client = Client::new(
            &mut self.stream,
            &mut self.buf,
            &mut out,
            &self.head,
            share,
            close,
        );
        let exchanged = exchange(self.hall, &request, &mut client).await;
        let (close, unread) = (client.close, !client.share.is_complete());
        let until_close = client.until_close;
        if exchanged == Exchanged::Unanswered
            && let Some(instead) = forward.instead
        {
            return Box::pin(self.fetch(snapshot, bytes, host, *instead, noted)).await;
        }
        if exchanged != Exchanged::Complete {
            if until_close {
                // The end of the connection would say that this was all.
                self.abort();
            }
            return None;
        }
        if unread {
            // It may still be sending, and is to see its answer.
            return Some(Next::Linger);
        }
        let next = if close { Next::Close } else { Next::Another };
        Some(next)
    }

    /// Takes what is here of the body, and says what of the stream is still to come.
    async fn check_ahead(
        &mut self,
        snapshot: &Snapshot,
        forward: &Forward,
    ) -> Result<Share, Refusal> {
        match self.head.body {
            Body::None => return Ok(Share::Length(0)),
            Body::Length(n) => return Ok(Share::Length(n)),
            Body::Unknown => {}
        }
        let mut scanner = ChunkScanner::default();
        let mut ahead = BytesMut::new();
        let pause = snapshot.bounds.body_timeout;
        let mut pace = Pace::receiving(&snapshot.bounds.visitors, self.connection.scheme, pause);
        // Who waits for `100 Continue` sends nothing until the upstream has spoken.
        while !self.head.expects_continue {
            let decoded = scanner.decode(&mut self.buf).map_err(|why| Refusal {
                status: 400,
                reason: why.0,
            })?;
            let own = self.buf.split_to(decoded.used);
            ahead.extend_from_slice(&own[decoded.content]);
            if scanner.content() > forward.route.max_body {
                return Err(Refusal {
                    status: 413,
                    reason: "request body exceeds the route's max_body",
                });
            }
            if scanner.is_done() || scanner.content() >= CHECKED_AHEAD {
                break;
            }
            let now = Instant::now();
            let until = pace.wait(now).min(now + pause);
            match timeout_at(until, self.read_some()).await {
                Err(_) => {
                    self.hall.shared.metrics.visitors.shed("slow_body").inc();
                    return Err(Refusal {
                        status: 408,
                        reason: "request body took too long",
                    });
                }
                Ok(Ok(0) | Err(_)) => {
                    return Err(Refusal {
                        status: 400,
                        reason: "request body ends early",
                    });
                }
                Ok(Ok(read)) => pace.moved(read as u64),
            }
        }
        Ok(Share::Chunked(scanner, ahead))
    }
}
