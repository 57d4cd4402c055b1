//! Routes that answer by themselves.

use std::sync::Arc;

use http::Method;

use super::{Decision, Own, OwnAnswer, Rejection, RequestView};
use crate::{
    admit::state::LimitState,
    files,
    route::{action::Action, template::Values},
    snapshot::Route,
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
