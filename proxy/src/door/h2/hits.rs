//! Requests that are answered at once: from the store's memory, by a redirect or by a refusal.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::Method;
use http1_wire::Body;
use http2_server::{ErrorCode, StreamId};
use tokio::time::Instant;

use super::{
    Desk, Request, Session,
    asked::Asked,
    blocks,
    line::{Exchange, State},
};
use crate::{
    admit::client,
    door::{RequestId, outgoing::Outgoing, pace::Pace},
    edge::{self, Decision, Hit, Rejection, RequestView, decide::Now, room::note},
    fill::content::Content,
    observe::{Record, Told},
    respond::{Reply, reply::hsts},
    snapshot::Snapshot,
};

/// An answer that the client has not taken as a whole.
pub(super) struct Unsent {
    stream: StreamId,
    /// Told of when it has, or never will.
    hit: Option<SentHit>,
    /// Octets of content that have not left.
    left: usize,
    pace: Pace,
}

/// A stored response that was sent to a client.
struct SentHit {
    asked: Asked,
    hit: Hit,
    status: u16,
    length: u64,
}

impl Session<'_> {
    /// Decides a request and answers it, or gives it a task.
    pub(super) fn request(
        &mut self,
        state: &mut State,
        desk: &mut Desk,
        stream: StreamId,
        end: bool,
        now: Now,
    ) {
        let snapshot = self.hall.current.load();
        let asked = self.asked(&snapshot, desk, end, now);
        match self.decide(&snapshot, &asked) {
            Decision::Respond(hit) => {
                self.respond(state, desk, &snapshot, stream, asked, hit);
            }
            Decision::Redirect { status, location } => {
                let mut reply = Reply::redirect(status, &location, &asked.asked());
                reply.dress(&snapshot.dress);
                self.reply(state, desk, stream, asked, &reply, Told::default());
            }
            Decision::Own(own) => {
                let reply = Reply::own(&own, &asked.asked());
                self.reply(state, desk, stream, asked, &reply, (&own).into());
            }
            Decision::Challenge(text) => {
                let reply = Reply::challenge(&text, &asked.asked());
                self.reply(state, desk, stream, asked, &reply, Told::default());
            }
            Decision::Reject(rejection) => {
                let dress = snapshot.dress(rejection.route.as_deref());
                let reply = Reply::rejection(&rejection, dress, &asked.asked());
                self.reply(state, desk, stream, asked, &reply, (&rejection).into());
            }
            Decision::Delay(delay) => {
                let request = self.with_task(state, stream, asked, end);
                let snapshot = Arc::clone(&snapshot);
                tokio::spawn(async move { request.wait_for_turn(snapshot, delay).await });
            }
            Decision::Wait(wait) => {
                let dress = snapshot.dress(wait.rejection.route.as_deref());
                let reply = Reply::notice(&wait, dress, &asked.asked());
                let told = (&wait.rejection).into();
                self.reply(state, desk, stream, asked, &reply, told);
            }
            Decision::Fetch(fetch) => {
                let request = self.with_task(state, stream, asked, end);
                let snapshot = Arc::clone(&snapshot);
                tokio::spawn(async move { request.fetch(snapshot, fetch).await });
            }
            Decision::Forward(forward) => {
                let request = self.with_task(state, stream, asked, end);
                let snapshot = Arc::clone(&snapshot);
                tokio::spawn(async move { request.forward(snapshot, forward).await });
            }
        }
    }

    /// Refuses a head that is beyond the bounds.
    pub(super) fn refuse_large(
        &mut self,
        state: &mut State,
        desk: &mut Desk,
        stream: StreamId,
        now: Now,
    ) {
        let snapshot = self.hall.current.load();
        let asked = self.asked(&snapshot, desk, false, now);
        let rejection = Rejection::new(431, "request head too large");
        let reply = Reply::rejection(&rejection, &snapshot.dress, &asked.asked());
        self.reply(state, desk, stream, asked, &reply, (&rejection).into());
    }

    fn asked(&self, snapshot: &Snapshot, desk: &mut Desk, end: bool, now: Now) -> Asked {
        let head = std::mem::take(&mut desk.head);
        let body = match head.content_length() {
            _ if end => Body::None,
            Some(0) => Body::None,
            Some(length) => Body::Length(length),
            None => Body::Unknown,
        };
        let trusted_proxies = &snapshot.bounds.trusted_proxies;
        let named_in = snapshot.bounds.visitors.forwarded_field;
        let peer = self.connection.peer.ip();
        let trusted = client::is_trusted(peer, trusted_proxies);
        Asked {
            client: client::client_address(peer, &head, trusted_proxies, named_in),
            request_id: RequestId::of(&head, trusted),
            trusted,
            body,
            now,
            head,
            hsts: hsts(snapshot, self.connection.scheme),
            scheme: self.connection.scheme,
        }
    }

    fn decide(&self, snapshot: &Snapshot, asked: &Asked) -> Decision {
        if asked.head.target().len() > snapshot.bounds.max_target {
            return Decision::Reject(Rejection::new(414, "request target too long"));
        }
        let view = RequestView {
            method: asked.head.method(),
            authority: asked.head.authority(),
            target: asked.head.target(),
            fields: &asked.head,
            body: asked.body,
            client: asked.client,
            connection: &self.connection,
        };
        edge::decide(snapshot, &self.hall.shared, &view, asked.now)
    }

    fn with_task(&self, state: &mut State, stream: StreamId, asked: Asked, end: bool) -> Request {
        Request {
            hall: Arc::clone(self.hall),
            connection: Arc::clone(&self.connection),
            exchange: Exchange::new(&self.line, state, stream, end),
            asked,
        }
    }

    /// Answers with what is stored.
    fn respond(
        &mut self,
        state: &mut State,
        desk: &mut Desk,
        snapshot: &Arc<Snapshot>,
        stream: StreamId,
        asked: Asked,
        hit: Hit,
    ) {
        if let Some(fetch) = &hit.refresh {
            let order = asked.order(&self.connection, snapshot, fetch.as_ref().clone());
            let filler = &self.hall.filler;
            filler.refresh(&Arc::new(order), &hit.stored, SystemTime::now());
        }
        let mut outgoing = Outgoing::of_hit(&hit);
        outgoing.over(self.connection.scheme, &hit.route);
        outgoing.narrow(&hit.route.dress);
        desk.block.clear();
        blocks::put_outgoing(&mut desk.block, &outgoing, asked.request_id.as_str());
        let head_only = asked.head.method() == Method::HEAD;
        let mut length = 0;
        match std::mem::replace(&mut outgoing.content, Content::empty()) {
            Content::Memory(content) if !head_only => {
                length = content.len() as u64;
                state.wire.respond(stream, &desk.block, Some(content), true);
            }
            Content::Pieces(pieces) if !head_only => {
                state.wire.send_head(stream, &desk.block, false);
                for piece in pieces {
                    length += piece.len() as u64;
                    state.wire.send_content(stream, piece, false);
                }
                state.wire.send_content(stream, Bytes::new(), true);
            }
            _ => state.wire.respond(stream, &desk.block, None, true),
        }
        let status = outgoing.status();
        let answer = SentHit {
            asked,
            hit,
            status,
            length,
        };
        if !state.wire.is_sent(stream) {
            return self.note_unsent(state, stream, Some(answer));
        }
        self.end_request(state, stream);
        self.tell_hit(&answer, None);
        // Its room is for the next one.
        desk.head = answer.asked.head;
    }

    fn note_unsent(&mut self, state: &State, stream: StreamId, hit: Option<SentHit>) {
        if self.unsent.is_empty() {
            self.written = state.written;
        }
        self.unsent.push(Unsent {
            stream,
            hit,
            left: state.wire.unsent(stream),
            pace: Pace::sending(&self.hall.current.load().bounds.visitors),
        });
    }

    /// Tells of answers that have left as a whole, and looks whether the client takes any of the others.
    pub(super) fn note_sent(&mut self, state: &mut State) {
        if self.unsent.is_empty() {
            return;
        }
        let is_over = |answer: &mut Unsent| state.wire.is_sent(answer.stream);
        let over: Vec<_> = self.unsent.extract_if(.., is_over).collect();
        for answer in &over {
            if let Some(hit) = &answer.hit {
                self.tell_hit(hit, None);
            }
            self.end_request(state, answer.stream);
        }
        let written = state.written.saturating_sub(self.written);
        self.written = state.written;
        for answer in &mut self.unsent {
            let left = state.wire.unsent(answer.stream);
            let own = answer.left.saturating_sub(left) as u64;
            answer.left = left;
            // One that waits for its turn is not unread while others move.
            let shared = match state.wire.is_window_open(answer.stream) {
                true => written,
                false => 0,
            };
            if own.max(shared) > 0 {
                answer.pace.moved(own.max(shared));
            }
        }
    }

    /// When the first of the unsent answers has been taken too slowly.
    pub(super) fn unread_at(&mut self) -> Option<Instant> {
        if self.unsent.is_empty() {
            return None;
        }
        let now = Instant::now();
        let each = self.unsent.iter_mut();
        each.map(|answer| answer.pace.wait(now)).min()
    }

    /// The answer is out; the rest of the request is of no use, but it is waited for.
    fn end_request(&self, state: &mut State, stream: StreamId) {
        if state.wire.is_open(stream) {
            let exchange = Exchange::new(&self.line, state, stream, false);
            tokio::spawn(async move { exchange.linger().await });
        }
    }

    /// Tells of a stream's answer that the client did not want any more.
    pub(super) fn note_reset(&mut self, stream: StreamId) {
        let mut all = self.unsent.iter();
        if let Some(at) = all.position(|answer| answer.stream == stream)
            && let Some(hit) = self.unsent.swap_remove(at).hit
        {
            self.tell_hit(&hit, Some("client_gone"));
        }
    }

    /// Gives up the answers that the client has taken too slowly; the others go on.
    pub(super) fn give_up_unread(&mut self, state: &mut State, now: Instant) {
        let is_late = |answer: &mut Unsent| answer.pace.wait(now) <= now;
        let late: Vec<_> = self.unsent.extract_if(.., is_late).collect();
        for answer in late {
            state.wire.reset(answer.stream, ErrorCode::CANCEL);
            self.hall.shared.metrics.visitors.shed("slow_read").inc();
            if let Some(hit) = &answer.hit {
                self.tell_hit(hit, Some("slow_read"));
            }
        }
    }

    /// Tells of the answers that nobody takes any more.
    pub(super) fn tell_unsent(&mut self) {
        let all = std::mem::take(&mut self.unsent);
        for hit in all.into_iter().filter_map(|answer| answer.hit) {
            self.tell_hit(&hit, Some("client_gone"));
        }
    }

    fn tell_hit(&self, answer: &SentHit, reason: Option<&'static str>) {
        let now = self.hall.started.elapsed();
        answer.asked.tell(
            self.hall,
            &self.connection,
            now,
            &Record {
                status: answer.status,
                bytes: answer.length,
                route: Some(&answer.hit.route),
                outcome: answer.hit.outcome,
                limit: answer.hit.limit.as_ref(),
                room: note(answer.hit.room.as_ref()),
                reason,
                ..answer.asked.blank()
            },
        );
    }

    /// Answers with a response of our own, and tells of it.
    fn reply(
        &mut self,
        state: &mut State,
        desk: &mut Desk,
        stream: StreamId,
        asked: Asked,
        reply: &Reply,
        told: Told<'_>,
    ) {
        desk.block.clear();
        blocks::put_reply(&mut desk.block, reply);
        let head_only = asked.head.method() == Method::HEAD;
        let content = (!head_only).then(|| reply.body.clone());
        let bytes = content.as_ref().map_or(0, |content| content.len() as u64);
        state.wire.respond(stream, &desk.block, content, true);
        if state.wire.is_sent(stream) {
            self.end_request(state, stream);
        } else {
            self.note_unsent(state, stream, None);
        }
        asked.tell(
            self.hall,
            &self.connection,
            self.hall.started.elapsed(),
            &Record {
                status: reply.status,
                bytes,
                route: told.route,
                limit: told.limit,
                room: told.room,
                reason: told.reason,
                ..asked.blank()
            },
        );
        desk.head = asked.head;
    }
}
