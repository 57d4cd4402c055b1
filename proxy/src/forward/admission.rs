//! What a request waits for before it is at work: its content, a place, and a server.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Poll, ready},
};

use http1_wire::Body;
use tokio::time::{Instant, timeout_at};

use super::{Request, relay, upload::Content, visitor::Visitor};
use crate::{
    admit::class::class,
    deadline::Deadline,
    door::Hall,
    respond::{failure::Failure, fault::Fault},
    upstream::{
        AtWork, Attempts,
        concurrency::{Asked as Admission, Permit},
    },
};

/// Content up to this length is taken in before its request takes a place: a form, an order. Of what is longer so much is
/// taken in, or the memory would fill with what drips.
const FORM: u64 = 16 * 1024;

/// How much of its content is taken in before the request asks for anything. Nothing of a stream of unknown length: who
/// sends it may wait for an answer to its beginning; nor where a word of the shop is waited for.
fn beforehand(request: &Request<'_>) -> u64 {
    let kept = request.forward.upstream.config.retry.body as u64;
    match request.content {
        Body::Length(length) if !relay::expects_continue(request) => length.min(FORM).min(kept),
        _ => 0,
    }
}

/// Whether its content is all there before it takes a place.
fn is_whole(request: &Request<'_>) -> bool {
    match request.content {
        Body::None => true,
        Body::Length(length) => length == beforehand(request),
        Body::Unknown => false,
    }
}

/// Takes in the content of a request that is to take a place among those at work, or its beginning: what drips shall
/// hold none.
pub(super) async fn taken_in(
    request: &Request<'_>,
    content: &mut Content,
    until: Instant,
    visitor: &mut impl Visitor,
) -> Result<(), Fault> {
    let is_bounded = request.forward.upstream.config.concurrency.is_some();
    let enough = beforehand(request);
    if enough == 0 || !is_bounded {
        return Ok(());
    }
    // Its end is taken in as well: what is beyond it would be malformed.
    let to_the_end = is_whole(request);
    let mut pace = relay::receiving(request);
    let mut deadline = Deadline::default();
    let mut moved = Instant::now();
    poll_fn(|cx| {
        loop {
            let before = content.taken();
            let Poll::Ready(is_complete) = content.poll_take_in(cx, visitor)? else {
                let now = Instant::now();
                let late = pace.wait(now).min(moved + request.body_timeout);
                ready!(deadline.poll(cx, late.min(until)));
                return Poll::Ready(Err(match late < until {
                    true => Fault::SLOW_UPLOAD,
                    false => Fault::TOO_LONG,
                }));
            };
            if is_complete || (!to_the_end && content.taken() >= enough) {
                return Poll::Ready(Ok(()));
            }
            if content.taken() > enough {
                // More than its head has told.
                return Poll::Ready(Err(Fault::MALFORMED));
            }
            pace.moved(content.taken() - before);
            moved = Instant::now();
        }
    })
    .await
}

/// A place among the requests at work, or among the uploads where its content is still to come. A visitor who leaves
/// does not wait for it, nor one whose time is over.
pub(super) async fn admitted(
    hall: &Hall,
    request: &Request<'_>,
    until: Instant,
    visitor: &mut impl Visitor,
) -> Result<Permit, Fault> {
    let route = &request.forward.route;
    let turn = async {
        if is_whole(request) {
            return turn(request, hall.started).await;
        }
        let class = class(route, &request.fields, request.client);
        request
            .forward
            .upstream
            .admit_upload(class, hall.started)
            .await
    };
    let mut turn = pin!(timeout_at(until, turn));
    poll_fn(|cx| match turn.as_mut().poll(cx) {
        Poll::Ready(Ok(turn)) => Poll::Ready(turn.map_err(Fault::shed)),
        Poll::Ready(Err(_)) => Poll::Ready(Err(Fault::TOO_LONG)),
        Poll::Pending => visitor.poll_gone(cx).map(|()| Err(Fault::GONE)),
    })
    .await
}

/// Its turn among the requests at work.
pub(super) async fn turn(
    request: &Request<'_>,
    started: std::time::Instant,
) -> Result<Permit, Failure> {
    let route = &request.forward.route;
    let class = class(route, &request.fields, request.client);
    match request.forward.upstream.admit(class, started)? {
        Admission::Admitted(permit) => Ok(permit),
        Admission::Waits(mut waiting) => waiting.turn().await,
    }
}

/// The next server. A visitor who leaves does not wait for it, nor one whose time is over.
pub(super) async fn next(
    attempts: &mut Attempts,
    key: &[u8],
    until: Instant,
    visitor: &mut impl Visitor,
) -> Result<Option<AtWork>, Fault> {
    let mut next = pin!(timeout_at(until, attempts.next(key)));
    poll_fn(|cx| match next.as_mut().poll(cx) {
        Poll::Ready(chosen) => Poll::Ready(chosen.map_err(|_| Fault::TOO_LONG)),
        Poll::Pending => visitor.poll_gone(cx).map(|()| Err(Fault::GONE)),
    })
    .await
}
