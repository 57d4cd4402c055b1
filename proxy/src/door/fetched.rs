//! What a fetch has brought, as an answer that a door can write.

use std::{sync::Arc, time::SystemTime};

use pingora_http::ResponseHeader;
use tokio::sync::mpsc;

use super::{
    Hall,
    outgoing::{Outgoing, answer_of},
};
use crate::{
    cache::{
        Stored,
        status::{self, Outcome},
    },
    edge::{Answer, decide},
    fill::{Answered, Order, Served, content::Content, flight::Asked},
    respond::failure::Failure,
};

/// What becomes of a request for which something was fetched.
pub(super) enum Fetched<'a> {
    /// This is the answer.
    Answer(Box<Outgoing<'a>>),
    /// The visitor's own request has to go to the shop.
    Own,
    /// There is none.
    Failed(Failure),
}

/// Gets the answer. Content that lies on disk is opened; where it is gone, it is fetched anew.
pub(super) async fn fetch<'a>(
    hall: &Hall,
    order: &'a Arc<Order>,
    interim: &mpsc::Sender<Arc<ResponseHeader>>,
) -> (Fetched<'a>, Asked) {
    for _ in 0..2 {
        let Answered {
            served,
            outcome,
            asked,
        } = hall.filler.get(order, interim).await;
        let asked = match outcome {
            // Who reads along with another's fetch has asked nobody.
            Outcome::Forwarded {
                collapsed: true, ..
            } => Asked::default(),
            _ => asked,
        };
        let limit = order.fetch.own.limit.as_ref();
        let fields = &order.fields;
        let mut outgoing = match served {
            Served::Own => return (Fetched::Own, asked),
            Served::Failed(failure) => return (Fetched::Failed(failure), asked),
            Served::Part(partial, first, last) => {
                let Some(bytes) = partial.bytes(first, last) else {
                    continue;
                };
                let now = SystemTime::now();
                let answer = Answer::Part { first, last };
                let stored = &partial.stored;
                let content = Content::Memory(bytes);
                let mut outgoing =
                    Outgoing::of_stored(stored, None, content, answer, outcome, limit, now);
                outgoing.length = Some(partial.complete);
                outgoing.room = order.fetch.own.room.as_deref();
                outgoing.over(order.scheme, &order.fetch.own.route);
                outgoing.dress(&order.fetch.own.route.dress);
                return (Fetched::Answer(Box::new(outgoing)), asked);
            }
            Served::Stream(head, reader) => {
                let answer = answer_of(&order.method, fields, &head);
                let content = Content::Arriving(reader);
                Outgoing::of_arriving(&head, content, answer, outcome, limit)
            }
            Served::Stored(stored) => {
                let answer = decide::answer(
                    &order.method,
                    fields,
                    stored.status(),
                    &stored.fields(),
                    stored.content_length(),
                );
                let coding = decide::coding(fields, &stored);
                let Some(content) = open(hall, &stored, &answer, coding).await else {
                    hall.shared.store.remove(&stored);
                    continue;
                };
                let now = SystemTime::now();
                Outgoing::of_stored(&stored, coding, content, answer, outcome, limit, now)
            }
        };
        outgoing.key = order
            .shows_key
            .then(|| status::readable(&order.fetch.key, order.fetch.uri_length));
        outgoing.room = order.fetch.own.room.as_deref();
        outgoing.over(order.scheme, &order.fetch.own.route);
        outgoing.narrow(&order.fetch.own.route.dress);
        return (Fetched::Answer(Box::new(outgoing)), asked);
    }
    (Fetched::Own, Asked::default())
}

/// The content of a stored response; `None` where the disk does not have it any more.
async fn open(
    hall: &Hall,
    stored: &Stored,
    answer: &Answer,
    coding: Option<http_caching::Coding>,
) -> Option<Content> {
    if !stored.is_on_disk() {
        return Some(Content::Memory(stored.form(coding).1));
    }
    if matches!(answer, Answer::NotModified | Answer::RangeNotSatisfiable) {
        return Some(Content::empty());
    }
    let disk = Arc::clone(hall.shared.disk.as_ref()?);
    let wanted = stored.clone();
    let opened = tokio::task::spawn_blocking(move || disk.open_content(&wanted)).await;
    let object = opened.ok().flatten()?;
    hall.shared.metrics.cache.disk_hits.inc();
    Some(Content::Disk(Arc::new(object), 0, stored.content_length()))
}
