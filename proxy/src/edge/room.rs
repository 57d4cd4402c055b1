//! The waiting room on the way of a request: behind what the store and the routes say of it, and before anybody is
//! asked.

use std::sync::Arc;

use http::Method;

use super::{
    Decision, Fetch, Rejection, RequestView, Wait, decide::Now, decision::ForwardReason,
    observer::Observer,
};
use crate::{
    admit::waiting_room::{Notice, Pass},
    config::model::Covers,
    snapshot::{Route, Snapshot},
};

/// Where rooms tell visitors how they stand.
const STATUS: &str = "/.dhal/rooms/";

/// Answers one who asks a room where it stands; nothing for all other requests.
pub(super) fn status(
    snapshot: &Snapshot,
    request: &RequestView<'_>,
    now: Now,
    observer: &mut impl Observer,
) -> Option<Decision> {
    let name = request.target.strip_prefix(STATUS)?;
    let name = name.split_once('?').map_or(name, |(name, _)| name);
    let is_read = *request.method == Method::GET || *request.method == Method::HEAD;
    if !is_read || request.connection.redirect_to_https.is_some() {
        return None;
    }
    let room = snapshot
        .waiting_rooms
        .iter()
        .find(|room| room.name == name)?;
    let notice = observer.ask(room, request, now);
    Some(Decision::Wait(Wait {
        rejection: Rejection {
            room: Some(notice.note()),
            ..Rejection::new(200, "waiting-room status")
        },
        notice: Box::new(notice),
    }))
}

/// Lets a request go on, with its visitor's pass, or makes it wait.
pub(super) fn enter(
    decision: Decision,
    request: &RequestView<'_>,
    now: Now,
    observer: &mut impl Observer,
) -> Decision {
    let mut check = |route: &Arc<Route>, is_stored: bool| match &route.waiting_room {
        Some(room) if room.covers == Covers::All || !is_stored => observer
            .enter(room, request, now)
            .map(|pass| Some(Arc::new(pass))),
        _ => Ok(None),
    };
    match decision {
        Decision::Respond(mut hit) => match check(&hit.route, true) {
            Ok(pass) => {
                hit.room = pass;
                Decision::Respond(hit)
            }
            Err(notice) => wait(&hit.route, hit.limit, notice),
        },
        Decision::Fetch(mut fetch) => match check(&fetch.own.route, is_stored(&fetch)) {
            Ok(pass) => {
                fetch.own.room = pass;
                Decision::Fetch(fetch)
            }
            Err(notice) => wait(&fetch.own.route, fetch.own.limit, notice),
        },
        Decision::Forward(mut forward) => match check(&forward.route, false) {
            Ok(pass) => {
                if let Some(instead) = &mut forward.instead {
                    instead.own.room.clone_from(&pass);
                }
                forward.room = pass;
                Decision::Forward(forward)
            }
            Err(notice) => wait(&forward.route, forward.limit, notice),
        },
        decision => decision,
    }
}

/// Whether what is stored answers, and only lies on the disk. Whatever has to be fetched or validated has another
/// reason, or is to be validated.
fn is_stored(fetch: &Fetch) -> bool {
    fetch.own.reason == ForwardReason::Stale && !fetch.validate
}

fn wait(
    route: &Arc<Route>,
    limit: Option<crate::admit::state::LimitState>,
    notice: Notice,
) -> Decision {
    Decision::Wait(Wait {
        rejection: Rejection {
            route: Some(Arc::clone(route)),
            limit,
            room: Some(notice.note()),
            ..Rejection::new(503, "waiting room")
        },
        notice: Box::new(notice),
    })
}

/// What the access log says of a visitor's pass.
pub(crate) fn note(pass: Option<&Arc<Pass>>) -> Option<crate::admit::waiting_room::Note> {
    pass.map(|pass| pass.note())
}
