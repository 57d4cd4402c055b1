//! What becomes of a request in the end: what its visitor is told, and what is written down.

use std::future::poll_fn;

use http::Method;
use tokio::time::{Instant, timeout_at};

use super::{Request, relay::Progress, visitor::Visitor};
use crate::{
    cache::status::Outcome,
    door::{Hall, pace::Pace},
    edge::room::note,
    observe::Record,
    respond::{
        Reply,
        failure::Side,
        fault::Fault,
        reply::{Asked, wants_json},
    },
    upstream::Attempts,
};

/// What a visitor reads of a failure. Of what may have been done nobody says that it was not.
pub(super) fn failure(
    hall: &Hall,
    request: &Request<'_>,
    fault: &Fault,
    may_be_done: bool,
) -> Reply {
    let asked = Asked {
        request_id: request.request_id,
        wants_json: wants_json(request.fields),
        scheme: request.scheme,
        hsts: None,
    };
    let asked = asked.on(Some(&request.forward.route));
    let upstream = &request.forward.upstream;
    // The page of the shop window says that nothing was done.
    let window_open = !may_be_done && upstream.window_is_open(hall.started.elapsed());
    let is_safe = request.method.is_safe();
    let dress = &request.forward.route.dress;
    let mut reply = Reply::failure(fault.failure, window_open, is_safe, dress, &asked);
    reply.pass(request.forward.room.as_deref());
    reply
}

/// Nothing else can be done: the visitor is told, unless it is gone or has a part of an answer.
pub(super) async fn tell(
    request: &Request<'_>,
    visitor: &mut impl Visitor,
    fault: &Fault,
    reply: &Reply,
    progress: &mut Progress,
) -> bool {
    let failure = fault.failure;
    if failure.side != Side::Downstream && !failure.is_shed() {
        tracing::warn!(
            request_id = request.request_id,
            status = failure.status,
            reason = failure.reason,
            error = fault.detail,
            "request failed"
        );
    }
    if failure.status == 0 || progress.status != 0 {
        return false;
    }
    progress.status = reply.status;
    visitor.reply(reply);
    let mut pace = Pace::sending(&request.visitors);
    let mut seen = visitor.progress();
    let told = loop {
        let until = pace.wait(Instant::now());
        match timeout_at(until, poll_fn(|cx| visitor.poll_finish(cx))).await {
            Ok(told) => break told.is_ok(),
            Err(_) if visitor.progress().since(&seen) == 0 => break false,
            Err(_) => {
                let before = std::mem::replace(&mut seen, visitor.progress());
                pace.moved(seen.since(&before));
            }
        }
    };
    if told && request.method != Method::HEAD {
        progress.delivered = reply.body.len() as u64;
    }
    told
}

/// Last: counted and written down.
pub(super) fn record(
    hall: &Hall,
    request: &Request<'_>,
    attempts: &Attempts,
    progress: &Progress,
    fault: Option<&Fault>,
) {
    let route = &request.forward.route;
    match fault {
        Some(&Fault::SLOW_UPLOAD) => hall.shared.metrics.visitors.shed("slow_body").inc(),
        Some(&Fault::UNREAD) => hall.shared.metrics.visitors.shed("slow_read").inc(),
        _ => {}
    }
    let last = attempts.last();
    hall.shared.finish(&Record {
        began: request.began,
        duration: hall.started.elapsed().saturating_sub(request.began.tick),
        client: request.client,
        protocol: request.protocol,
        method: request.method,
        host: request.host,
        target: request.target,
        // A client that left before its answer began (nginx's 499).
        status: if progress.status == 0 {
            499
        } else {
            progress.status
        },
        bytes: progress.delivered,
        route: Some(route),
        outcome: match fault {
            Some(_) => Outcome::None,
            None => request.outcome(),
        },
        upstream: last.map(|(server, _)| server.name.as_str()),
        upstream_time: last.map(|(_, time)| time),
        attempts: attempts.count(),
        retried: attempts.reason(),
        request_id: request.request_id,
        limit: request.forward.limit.as_ref(),
        room: note(request.forward.room.as_ref()),
        reason: fault.map(|fault| fault.failure.reason),
        fields: Some(request.fields),
        client_cert: request
            .proof
            .and_then(|proof| Some(&*proof.certificate.as_ref()?.subject)),
    });
}
