//! Requests that a limit holds back: each waits in the task of its stream.

use std::{future::poll_fn, sync::Arc};

use tokio::time::sleep;

use super::{Request, line::Gone};
use crate::{
    admit::rate::Held,
    door::outgoing::Outgoing,
    edge::{self, Decision, Delay, Hit, Passed, RequestView, room::note},
    observe::{Record, Told},
    respond::Reply,
    snapshot::Snapshot,
};

impl Request {
    /// Waits, decides once more, and answers.
    pub(super) async fn wait_for_turn(self, snapshot: Arc<Snapshot>, mut delay: Delay) {
        loop {
            let exchange = &self.exchange;
            tokio::select! {
                biased;
                // The client has reset the stream, or is gone: its place is another's.
                Gone = poll_fn(|cx| exchange.poll_gone(cx)) => {
                    return self.tell(&Record {
                        status: 499,
                        route: Some(&delay.route),
                        limit: delay.passed.limit.as_ref(),
                        reason: Some("client_gone"),
                        ..self.asked.blank()
                    });
                }
                () = sleep(delay.wait) => {}
            }
            delay.held.into_iter().for_each(Held::take_turn);
            match self.decide(&snapshot, delay.passed) {
                Decision::Delay(next) => delay = next,
                Decision::Fetch(fetch) => return self.fetch(snapshot, fetch).await,
                Decision::Forward(forward) => return self.forward(snapshot, forward).await,
                Decision::Respond(hit) => return self.respond(&snapshot, &hit).await,
                Decision::Redirect { status, location } => {
                    let mut reply = Reply::redirect(status, &location, &self.asked.asked());
                    reply.dress(&snapshot.dress);
                    return self.answer(&reply, Told::default()).await;
                }
                Decision::Own(own) => {
                    let reply = Reply::own(&own, &self.asked.asked());
                    return self.answer(&reply, (&own).into()).await;
                }
                Decision::Challenge(text) => {
                    let reply = Reply::challenge(&text, &self.asked.asked());
                    return self.answer(&reply, Told::default()).await;
                }
                Decision::Reject(rejection) => {
                    let dress = snapshot.dress(rejection.route.as_deref());
                    let reply = Reply::rejection(&rejection, dress, &self.asked.asked());
                    return self.answer(&reply, (&rejection).into()).await;
                }
                Decision::Wait(wait) => {
                    let dress = snapshot.dress(wait.rejection.route.as_deref());
                    let reply = Reply::notice(&wait, dress, &self.asked.asked());
                    return self.answer(&reply, (&wait.rejection).into()).await;
                }
            }
        }
    }

    fn decide(&self, snapshot: &Snapshot, passed: Passed) -> Decision {
        let view = RequestView {
            method: self.asked.head.method(),
            authority: self.asked.head.authority(),
            target: self.asked.head.target(),
            fields: &self.asked.head,
            body: self.asked.body,
            client: self.asked.client,
            connection: &self.connection,
        };
        let (shared, now) = (&self.hall.shared, self.hall.now());
        edge::decide_after(snapshot, shared, &view, now, passed)
    }

    /// Answers with what is stored.
    async fn respond(mut self, snapshot: &Arc<Snapshot>, hit: &Hit) {
        if let Some(fetch) = &hit.refresh {
            let fetch = fetch.as_ref().clone();
            let order = self.asked.order(&self.connection, snapshot, fetch);
            let filler = &self.hall.filler;
            filler.refresh(&Arc::new(order), &hit.stored, std::time::SystemTime::now());
        }
        let mut outgoing = Outgoing::of_hit(hit);
        outgoing.over(self.connection.scheme, &hit.route);
        outgoing.narrow(&hit.route.dress);
        let mut sent = 0;
        let done = self.send(&mut outgoing, &mut sent).await;
        self.tell(&Record {
            status: outgoing.status(),
            bytes: sent,
            route: Some(&hit.route),
            outcome: hit.outcome,
            limit: hit.limit.as_ref(),
            room: note(hit.room.as_ref()),
            reason: done.err().map(|why| self.lost(&why)),
            ..self.asked.blank()
        });
        self.exchange.linger().await;
    }

    /// Answers with a response of our own.
    async fn answer(mut self, reply: &Reply, told: Told<'_>) {
        let done = self.send_reply(reply).await;
        self.tell(&Record {
            status: reply.status,
            bytes: match self.head_only() {
                true => 0,
                false => reply.body.len() as u64,
            },
            route: told.route,
            limit: told.limit,
            room: told.room,
            reason: match done {
                Ok(()) => told.reason,
                Err(why) => Some(self.lost(&why)),
            },
            ..self.asked.blank()
        });
        self.exchange.linger().await;
    }
}
