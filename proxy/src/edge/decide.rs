//! The story of a request: normalise, admit, route, limit, look up.
//!
//! The one surprise: a stored response that is no longer fresh is *forwarded*, and it is the forward
//! path that may still answer with it, while it is validated or when the upstream fails (RFC 5861).

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{
    Method,
    header::{AUTHORIZATION, CONNECTION, COOKIE, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE},
};
use http_caching::{Precondition, RangeOutcome};

use super::{
    Answer, Body, CachePlan, Decision, Forward, Hit, Rejection, RequestView, authority,
    decision::ForwardReason, path,
};
use crate::{
    admit::rate::LimitState,
    cache::{Found, Stored},
    shared::Shared,
    snapshot::{Policy, Route, Snapshot},
};

/// The time of a request, read once by its door.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For HTTP dates and ages.
    pub wall: SystemTime,
    /// For rates: never goes back.
    pub tick: Duration,
}

/// Decides what happens with a request.
pub fn decide(
    snapshot: &Snapshot,
    shared: &Shared,
    request: &RequestView<'_>,
    now: Now,
) -> Decision {
    // Normalise: from here on there is one spelling of the target and of the authority.
    let target = match path::normalise(request.target) {
        Ok(target) => target,
        Err(why) => return Decision::Reject(Rejection::closing(400, why.as_str())),
    };
    let Some(authority) = normalised_authority(request) else {
        return Decision::Reject(Rejection::closing(400, "malformed authority"));
    };

    // Admit: what no route could change.
    if request.method == Method::TRACE || request.method == Method::CONNECT {
        return Decision::Reject(Rejection::closing(405, "method is never forwarded"));
    }
    if let Some(port) = request.connection.redirect_to_https {
        return redirect(request.method, authority.host(), port, &target.whole);
    }
    if !snapshot.authority_fits_certificate(request.connection.sni.as_deref(), authority.host()) {
        return Decision::Reject(Rejection::new(
            421,
            "authority belongs to another certificate",
        ));
    }

    // Route.
    let Some(route) = snapshot.router.find(authority.host(), target.path()) else {
        return Decision::Reject(Rejection::new(404, "no route"));
    };
    if matches!(request.body, Body::Length(n) if n > route.max_body) {
        return Decision::Reject(Rejection {
            route: Some(Arc::clone(route)),
            ..Rejection::closing(413, "request body exceeds the route's max_body")
        });
    }

    // Limit.
    let limit = match check_limits(route, request, now) {
        Ok(state) => state,
        Err(state) => {
            return Decision::Reject(Rejection {
                route: Some(Arc::clone(route)),
                retry_after: Some(state.retry_after),
                limit: Some(state),
                ..Rejection::new(429, "rate limit")
            });
        }
    };

    // Look up.
    let forward = |cache: Option<CachePlan>, reason: ForwardReason| Forward {
        route: Arc::clone(route),
        target: target.whole.clone().into_owned(),
        authority: authority.whole.clone().into_owned(),
        cache,
        reason,
        limit: limit.clone(),
    };
    let Some(policy) = &route.policy else {
        return Decision::Forward(forward(None, ForwardReason::Bypass));
    };
    if request.method != Method::GET && request.method != Method::HEAD {
        return Decision::Forward(forward(None, ForwardReason::Method));
    }
    if request.body != Body::None
        || is_for_the_origin(request)
        || has_bypass_cookie(policy, request)
    {
        return Decision::Forward(forward(None, ForwardReason::Bypass));
    }
    let query = target.query().and_then(|query| keyed_query(policy, query));
    let key = cache_key(request, &authority.whole, target.path(), query.as_deref());
    // What is not in the key must not reach the shop either, or it could shape what is stored.
    let fill = |reason| {
        let mut plan = forward(
            Some(CachePlan {
                key: key.as_slice().into(),
            }),
            reason,
        );
        if query.as_deref() != target.query() {
            plan.target = [
                target.path(),
                query.as_deref().map_or("", |_| "?"),
                query.as_deref().unwrap_or(""),
            ]
            .concat();
        }
        Decision::Forward(plan)
    };
    match shared.store.find(&key, request.fields) {
        Found::Fit(stored) if is_for_others(&stored, request) => {
            Decision::Forward(forward(None, ForwardReason::Bypass))
        }
        Found::Fit(stored) => {
            let age = stored.age(now.wall);
            if stored.is_fresh(now.wall)
                && !stored.always_validate
                && let Some(answer) = answer(request, &stored)
            {
                return Decision::Respond(Hit {
                    route: Arc::clone(route),
                    stored,
                    age: age.as_secs(),
                    answer,
                    limit,
                });
            }
            // A HEAD can be answered with what is stale, but brings nothing to put in its place.
            if request.method == Method::HEAD && !stored.is_refreshable(now.wall) {
                return Decision::Forward(forward(None, ForwardReason::Stale));
            }
            fill(ForwardReason::Stale)
        }
        Found::OtherVariant | Found::Nothing if request.method == Method::HEAD => {
            Decision::Forward(forward(None, ForwardReason::UriMiss))
        }
        Found::OtherVariant => fill(ForwardReason::VaryMiss),
        Found::Nothing => fill(ForwardReason::UriMiss),
    }
}

/// HTTP/1.0 may come without an authority; it can then only match routes for any host.
fn normalised_authority<'a>(request: &RequestView<'a>) -> Option<authority::Authority<'a>> {
    authority::normalise(request.authority, request.connection.scheme)
}

fn redirect(method: &Method, host: &str, port: u16, target: &str) -> Decision {
    let location = match port {
        443 => format!("https://{host}{target}"),
        port => format!("https://{host}:{port}{target}"),
    };
    let status = if method == Method::GET || method == Method::HEAD {
        301
    } else {
        308
    };
    Decision::Redirect { status, location }
}

/// Every limit of the route counts the request; the one with the least left is told to the client.
fn check_limits(
    route: &Route,
    request: &RequestView<'_>,
    now: Now,
) -> Result<Option<LimitState>, LimitState> {
    let mut tightest: Option<LimitState> = None;
    for limit in &route.limits {
        let state = limit.check(request.client, now.tick)?;
        if tightest
            .as_ref()
            .is_none_or(|t| state.remaining < t.remaining)
        {
            tightest = Some(state);
        }
    }
    Ok(tightest)
}

/// Requests that only the origin can answer: If-Match and If-Unmodified-Since are its to judge (RFC
/// 9111 §4.3.2), and fields that `Connection` takes away before the shop sees them must not choose
/// among stored responses.
fn is_for_the_origin(request: &RequestView<'_>) -> bool {
    if request.fields.contains(&IF_MATCH) || request.fields.contains(&IF_UNMODIFIED_SINCE) {
        return true;
    }
    let mut nominates = false;
    request.fields.for_each(&CONNECTION, &mut |value| {
        nominates |= value
            .split(|b| *b == b',')
            .map(<[u8]>::trim_ascii)
            .any(|option| {
                !option.is_empty()
                    && !HOP_OPTIONS
                        .iter()
                        .any(|known| option.eq_ignore_ascii_case(known))
            });
    });
    nominates
}

/// What `Connection` may name without taking a field of the request away.
const HOP_OPTIONS: [&[u8]; 5] = [
    b"close",
    b"keep-alive",
    b"upgrade",
    b"te",
    b"http2-settings",
];

fn has_bypass_cookie(policy: &Policy, request: &RequestView<'_>) -> bool {
    if policy.bypass_cookies.is_empty() {
        return false;
    }
    let mut found = false;
    request.fields.for_each(&COOKIE, &mut |value| {
        found |= value.split(|b| *b == b';').any(|pair| {
            let name = pair
                .split(|b| *b == b'=')
                .next()
                .unwrap_or_default()
                .trim_ascii();
            policy
                .bypass_cookies
                .iter()
                .any(|wanted| wanted.as_bytes() == name)
        });
    });
    found
}

/// The query without the parameters that the policy ignores.
pub(crate) fn keyed_query<'q>(policy: &Policy, query: &'q str) -> Option<Cow<'q, str>> {
    match http_caching::filter_query(query, &policy.ignore_query) {
        // Nothing left is the same page as no query at all.
        Some(rest) if rest.is_empty() => None,
        Some(rest) => Some(Cow::Owned(rest)),
        None => Some(Cow::Borrowed(query)),
    }
}

fn cache_key(
    request: &RequestView<'_>,
    authority: &str,
    path: &str,
    query: Option<&str>,
) -> Vec<u8> {
    let mut key = Vec::with_capacity(authority.len() + path.len() + query.map_or(0, str::len) + 32);
    http_caching::cache_key(
        request.connection.scheme.as_str(),
        authority,
        path,
        query,
        &mut key,
    );
    key
}

/// A response that was stored for those without credentials answers a request with credentials only
/// where the origin allowed to share it (RFC 9111 §3.5).
fn is_for_others(stored: &Stored, request: &RequestView<'_>) -> bool {
    request.fields.contains(&AUTHORIZATION) && !stored.shared_with_credentials
}

/// `None` where the forward path has to compose the answer.
fn answer(request: &RequestView<'_>, stored: &Stored) -> Option<Answer> {
    if stored.status() != 200 {
        // Preconditions and ranges are about a 200 (RFC 9110 §13.2.1, §14.2).
        return Some(Answer::Whole);
    }
    match http_caching::precondition(request.method, request.fields, stored.fields()) {
        Precondition::NotModified => return Some(Answer::NotModified),
        // Those conditions went to the origin.
        Precondition::Failed | Precondition::None => {}
    }
    if request.method != Method::GET || !request.fields.contains(&RANGE) {
        return Some(Answer::Whole);
    }
    let length = stored.body.len() as u64;
    match http_caching::range(request.method, request.fields, stored.fields(), length) {
        RangeOutcome::Whole => Some(Answer::Whole),
        RangeOutcome::Part { first, last } => Some(Answer::Part { first, last }),
        RangeOutcome::Unsatisfiable => Some(Answer::RangeNotSatisfiable),
        RangeOutcome::Several => None,
    }
}
