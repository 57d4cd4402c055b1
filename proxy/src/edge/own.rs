//! Routes that answer by themselves.

use std::sync::Arc;

use super::{Decision, Own, OwnAnswer, Rejection, RequestView};
use crate::{
    admit::state::LimitState,
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
        Action::Upstream(upstream) => return Ok(upstream),
        Action::Redirect(redirect) => {
            let scheme = request.connection.scheme.as_str();
            let values = Values::new(scheme, authority, target);
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
