//! Routes that answer by themselves.

use std::sync::Arc;

use http::Method;

use super::{Decision, Own, OwnAnswer, Rejection, RequestView};
use crate::{
    admit::state::LimitState,
    files::{self, path::plain},
    route::{action::Action, template::Values},
    snapshot::{Route, Snapshot},
    upstream::Upstream,
};

/// Who is to answer, or the answer of a route that asks nobody. The target and the authority are normalised.
pub(super) fn upstream<'a>(
    route: &'a Arc<Route>,
    request: &RequestView<'_>,
    target: &str,
    authority: &str,
    limit: &Option<LimitState>,
) -> Result<&'a Arc<Upstream>, Box<Decision>> {
    let answer = match &route.action {
        Action::Upstream(upstream) => {
            let reads = matches!(*request.method, Method::GET | Method::HEAD);
            if upstream.files.is_some() && !reads && route.otherwise.is_none() {
                let rejection = Rejection {
                    route: Some(Arc::clone(route)),
                    limit: limit.clone(),
                    allow: Some(files::METHODS.into()),
                    ..Rejection::new(405, "files are read, and nothing else")
                };
                return Err(Decision::Reject(rejection).into());
            }
            return Ok(upstream);
        }
        Action::Redirect(redirect) => {
            let scheme = request.connection.scheme.as_str();
            let values = Values::new(scheme, authority, target, route.encoded_slashes);
            let Some(location) = redirect.location(&values) else {
                let rejection = Rejection {
                    route: Some(Arc::clone(route)),
                    limit: limit.clone(),
                    ..Rejection::new(414, "the redirect would be too long")
                };
                return Err(Decision::Reject(rejection).into());
            };
            OwnAnswer::Redirect {
                status: redirect.status,
                location,
            }
        }
        Action::Respond(fixed) => OwnAnswer::Fixed(fixed.clone()),
    };
    let own = Own {
        route: Arc::clone(route),
        answer,
        limit: limit.clone(),
    };
    Err(Decision::Own(own).into())
}

/// Who answers where files are found by another spelling of the path than routes are: a file that is another route's is
/// none of this one.
pub(super) fn spelt<'a>(
    snapshot: &Snapshot,
    route: &'a Arc<Route>,
    upstream: &'a Arc<Upstream>,
    method: &Method,
    host: &str,
    path: &str,
) -> Option<(&'a Arc<Route>, &'a Arc<Upstream>)> {
    let plain = upstream.files.as_ref().and_then(|_| plain(path));
    let other = plain.map(|plain| snapshot.router.route(method, host, &plain));
    match other {
        Some(Ok(other)) if Arc::ptr_eq(other, route) => Some((route, upstream)),
        None => Some((route, upstream)),
        Some(_) => match route.otherwise.as_ref().map(|route| (route, &route.action)) {
            Some((route, Action::Upstream(upstream))) => Some((route, upstream)),
            _ => None,
        },
    }
}
