//! The part of the decision that limits and address lists have.

use std::sync::Arc;

use super::{
    Decision, Delay, Passed, Rejection, RequestView, authority, decide::Now, observer::Observer,
};
use crate::{
    admit::{
        key::Asked,
        lists::AddressList,
        rate::{self, Outcome},
        state::LimitState,
    },
    config::model::LimitCount,
    observe::limit_metrics::Kept,
    shared::Shared,
    snapshot::{Route, Snapshot},
};

/// The refusal of a client that nothing is answered to.
pub(super) fn denied(
    snapshot: &Snapshot,
    shared: &Shared,
    request: &RequestView<'_>,
    passed: &Passed,
    observer: &mut impl Observer,
) -> Option<Decision> {
    // Who was held back has been looked at.
    if snapshot.deny.is_empty() || passed.all {
        return None;
    }
    let list = on_one_of(&snapshot.deny, request)?;
    observer.kept_out(shared, list, Kept::Denied);
    Some(Decision::Reject(Rejection::new(403, "address denied")))
}

fn on_one_of<'a>(
    lists: &'a [Arc<AddressList>],
    request: &RequestView<'_>,
) -> Option<&'a AddressList> {
    let list = lists.iter().find(|list| list.contains(request.client))?;
    Some(list)
}

/// The refusal of a client that may not come to a route.
pub(super) fn kept_out(
    shared: &Shared,
    route: &Arc<Route>,
    request: &RequestView<'_>,
    observer: &mut impl Observer,
) -> Option<Decision> {
    let denied = on_one_of(&route.deny, request).map(|list| (list, Kept::Denied));
    let (list, why) = denied.or_else(|| {
        let first = route.allow.first()?;
        let is_allowed = on_one_of(&route.allow, request).is_some();
        (!is_allowed).then_some((&**first, Kept::NotAllowed))
    })?;
    observer.kept_out(shared, list, why);
    let reason = match why {
        Kept::Denied => "address denied",
        Kept::NotAllowed => "address not allowed",
    };
    Some(Decision::Reject(Rejection {
        route: Some(Arc::clone(route)),
        ..Rejection::new(403, reason)
    }))
}

/// Counts the request by every limit of its route that counts all requests.
pub(super) fn check_all(
    route: &Arc<Route>,
    asked: &Asked<'_>,
    now: Now,
    observer: &mut impl Observer,
) -> Result<Option<LimitState>, Box<Decision>> {
    match observer.count(route, LimitCount::All, asked, now.tick, 0) {
        Outcome::Passed(limit) => Ok(limit),
        Outcome::Refused(state, status) => Err(refused(route, state, status).into()),
        Outcome::Held(state, held) => Err(Decision::Delay(Delay {
            wait: state.delay,
            held,
            route: Arc::clone(route),
            passed: Passed {
                all: true,
                origin: false,
                limit: Some(state),
            },
        })
        .into()),
    }
}

/// Counts a request that the store does not answer by the limits that count such.
pub(super) fn check_origin(
    request: &RequestView<'_>,
    now: Now,
    mut decision: Decision,
    observer: &mut impl Observer,
) -> Decision {
    let own = match &mut decision {
        Decision::Fetch(fetch) => &mut fetch.own,
        Decision::Forward(forward) => forward,
        Decision::Respond(_)
        | Decision::Redirect { .. }
        | Decision::Challenge(_)
        | Decision::Own(_)
        | Decision::Reject(_)
        | Decision::Delay(_)
        | Decision::Wait(_) => return decision,
    };
    let counts = |limit: &Arc<rate::RateLimit>| limit.count == LimitCount::Origin;
    if !own.route.limits.iter().any(counts) {
        return decision;
    }
    let authority = authority::normalise(&own.authority, request.connection.scheme);
    let asked = Asked {
        client: request.client,
        host: authority.as_ref().map_or("", authority::Authority::host),
        path: own.target.split('?').next().unwrap_or_default(),
        params: &own.route.params,
        fields: request.fields,
    };
    let before = own.limit.take();
    let charged = before.as_ref().map_or(0, |state| state.charged);
    let outcome = observer.count(&own.route, LimitCount::Origin, &asked, now.tick, charged);
    match outcome {
        Outcome::Refused(state, status) => refused(&own.route, state, status),
        Outcome::Held(state, held) => Decision::Delay(Delay {
            wait: state.delay,
            held,
            route: Arc::clone(&own.route),
            passed: Passed {
                all: true,
                origin: true,
                limit: Some(together(before, state)),
            },
        }),
        Outcome::Passed(None) => {
            own.limit = before;
            decision
        }
        Outcome::Passed(Some(state)) => {
            let limit = together(before, state);
            if let Some(instead) = &mut own.instead {
                instead.own.limit = Some(limit.clone());
            }
            own.limit = Some(limit);
            decision
        }
    }
}

/// What both kinds of limits said. One wait follows the other.
fn together(before: Option<LimitState>, state: LimitState) -> LimitState {
    match before {
        Some(before) => LimitState {
            delay: before.delay + state.delay,
            ..before.and(state)
        },
        None => state,
    }
}

fn refused(route: &Arc<Route>, state: LimitState, status: u16) -> Decision {
    Decision::Reject(Rejection {
        route: Some(Arc::clone(route)),
        retry_after: Some(state.retry_after),
        limit: Some(state),
        ..Rejection::new(status, "rate limit")
    })
}
