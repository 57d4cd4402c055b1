//! The story of a request: normalise, admit, route, limit, look up, and the waiting room (`room.rs`).
//!
//! The one surprise: a stored response that is no longer fresh may be *fetched* anew and answer all the
//! same, when the upstream fails (RFC 5861 §4).

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{
    HeaderName, Method,
    header::{AUTHORIZATION, CONNECTION, COOKIE, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE, UPGRADE},
};
use http_caching::{CacheControl, Coding, Fields, Lifetimes, Precondition, RangeOutcome, Reuse};

use super::{
    Answer, Body, Connection, Decision, Fetch, Forward, Hit, Passed, Rejection, RequestView,
    authority,
    decision::ForwardReason,
    keyed::KeyedTarget,
    limits,
    observer::{Observer, Step, Visit, Why},
    own, path, room,
};
use crate::{
    admit::{client, key::Asked},
    cache::{Found, Stored, status::Outcome},
    route::Missing,
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
    decide_after(snapshot, shared, request, now, Passed::default())
}

/// The same for a request that has some limits behind it, because it was held back there.
pub fn decide_after(
    snapshot: &Snapshot,
    shared: &Shared,
    request: &RequestView<'_>,
    now: Now,
    passed: Passed,
) -> Decision {
    decide_observed(snapshot, shared, request, now, passed, &mut Visit)
}

/// The same for somebody who goes along: what it changes is the observer's to change.
pub(crate) fn decide_observed(
    snapshot: &Snapshot,
    shared: &Shared,
    request: &RequestView<'_>,
    now: Now,
    passed: Passed,
    observer: &mut impl Observer,
) -> Decision {
    // An authority counts failures, so that nothing may stand in its way: no list, no limit and no redirect.
    if let Some(answer) = shared.acme.answer(request) {
        return Decision::Challenge(answer);
    }
    if let Some(refused) = limits::denied(snapshot, shared, request, &passed, observer) {
        return refused;
    }
    if let Some(status) = room::status(snapshot, request, now, observer) {
        return status;
    }
    let counts_origin = !passed.origin;
    let decision = story(snapshot, shared, request, now, passed, observer);
    let decision = match counts_origin {
        true => limits::check_origin(request, now, decision, observer),
        false => decision,
    };
    // Behind the limits: whom they refuse takes nobody's place.
    room::enter(decision, request, now, observer)
}

/// The same for operators, whom limits do not count, and who wait in no room.
pub(crate) fn decide_without_limits(
    snapshot: &Snapshot,
    shared: &Shared,
    request: &RequestView<'_>,
    now: Now,
) -> Decision {
    let passed = Passed::everything();
    story(snapshot, shared, request, now, passed, &mut Visit)
}

fn story(
    snapshot: &Snapshot,
    shared: &Shared,
    request: &RequestView<'_>,
    now: Now,
    passed: Passed,
    observer: &mut impl Observer,
) -> Decision {
    // Normalise: from here on there is one spelling of the target and of the authority.
    let target = match path::normalise(request.target) {
        Ok(target) => target,
        Err(why) => return Decision::Reject(Rejection::closing(400, why.as_str())),
    };
    let Some(authority) = normalised_authority(request) else {
        return Decision::Reject(Rejection::closing(400, "malformed authority"));
    };
    observer.tells(Step::Normalised(&target, &authority.whole));

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
    // Who was held back has been asked already, and operators are not asked.
    if !passed.all && !snapshot.is_proven(request.connection, authority.host()) {
        return Decision::Reject(Rejection::new(
            421,
            "authority asks for a client certificate",
        ));
    }

    // Route.
    let found = (snapshot.router).route(request.method, authority.host(), target.path());
    let route = match found {
        Ok(route) => route,
        Err(Missing::Path) => return Decision::Reject(Rejection::new(404, "no route")),
        Err(Missing::Method(allow)) => {
            return Decision::Reject(Rejection {
                allow: Some(allow.into()),
                ..Rejection::new(405, "method has no route")
            });
        }
    };
    observer.tells(Step::Routed(route));
    if matches!(request.body, Body::Length(n) if n > route.max_body) {
        return Decision::Reject(Rejection {
            route: Some(Arc::clone(route)),
            ..Rejection::closing(413, "request body exceeds the route's max_body")
        });
    }

    if !passed.all
        && let Some(refused) = limits::kept_out(shared, route, request, observer)
    {
        return refused;
    }

    // Limit.
    let limit = match passed.all {
        true => passed.limit,
        false => {
            let asked = Asked {
                client: request.client,
                host: authority.host(),
                path: target.path(),
                params: &route.params,
                fields: request.fields,
            };
            match limits::check_all(route, &asked, now, observer) {
                Ok(limit) => limit,
                Err(decision) => return *decision,
            }
        }
    };

    // What a route answers by itself is neither stored nor asked for.
    let upstream = match own::upstream(route, request, &target.whole, &authority.whole, &limit) {
        Ok(upstream) => upstream,
        Err(decision) => return *decision,
    };
    let spelt = own::spelt(
        snapshot,
        route,
        upstream,
        request.method,
        authority.host(),
        target.path(),
    );
    let Some((route, upstream)) = spelt else {
        return Decision::Reject(Rejection {
            route: Some(Arc::clone(route)),
            limit,
            ..Rejection::new(404, "another route's file, spelt in another way")
        });
    };

    // Look up.
    let forward = |reason: ForwardReason| Forward {
        route: Arc::clone(route),
        upstream: Arc::clone(upstream),
        target: target.whole.clone().into_owned(),
        authority: authority.whole.clone().into_owned(),
        reason,
        limit: limit.clone(),
        room: None,
        instead: None,
    };
    let Some(policy) = &route.policy else {
        observer.tells(Step::Passed(Why::NoPolicy));
        return Decision::Forward(forward(ForwardReason::Bypass));
    };
    if request.method != Method::GET && request.method != Method::HEAD {
        observer.tells(Step::Passed(Why::Method));
        return Decision::Forward(forward(ForwardReason::Method));
    }
    // While no server can answer, browsing goes on from what is stored, for those with a session as well.
    let shop = route.shop(upstream);
    let window = shop.window(now.tick);
    if let Some(window) = window {
        observer.tells(Step::Window(window));
    }
    let is_own = has_bypass_cookie(policy, request);
    if is_for_the_origin(request) {
        observer.tells(Step::Passed(Why::OriginOnly));
        return Decision::Forward(forward(ForwardReason::Bypass));
    }
    let control = if policy.honours_client {
        http_caching::request_control(request.fields)
    } else {
        // A visitor who presses reload shall not send everyone's page to the shop.
        CacheControl::default()
    };
    if control.no_store {
        observer.tells(Step::Passed(Why::NoStore));
        return Decision::Forward(forward(ForwardReason::Bypass));
    }
    let keyed = KeyedTarget::new(policy, &target);
    let key = keyed.key(
        is_trusted(snapshot, request),
        policy,
        request,
        &authority.whole,
    );
    observer.tells(Step::Keyed(&key));
    // What is not in the key does not reach the shop either, or it could shape what is stored.
    let fetch = |reason: ForwardReason, validate: bool| Fetch {
        own: forward(reason),
        key: key.bytes.as_slice().into(),
        uri_length: key.uri_length,
        target: keyed.whole(),
        validate,
    };
    // What a shop says to one who has shown a certificate is for that one, as with a password.
    let credentials =
        request.fields.contains(&AUTHORIZATION) || has_certificate(request.connection);
    let in_person = || {
        let may_be_instead = shop.config.shop_window.is_some() && !credentials;
        Decision::Forward(Forward {
            instead: may_be_instead.then(|| Box::new(fetch(ForwardReason::Stale, false))),
            ..forward(ForwardReason::Bypass)
        })
    };
    if is_own {
        observer.tells(Step::Passed(Why::BypassCookie));
    }
    if is_own && window.is_none() {
        return in_person();
    }
    let (stored, reason) = match observer.find(&shared.store, &key.bytes, request.fields) {
        Found::Fit(stored) => (Some(stored), ForwardReason::Stale),
        Found::OtherVariant => (None, ForwardReason::VaryMiss),
        Found::Nothing => (None, ForwardReason::UriMiss),
    };
    if credentials
        && !stored
            .as_ref()
            .is_some_and(|s| s.is_shared_with_credentials())
    {
        // A response for those without credentials answers others only where the origin allowed to
        // share it (RFC 9111 §3.5), and nothing is fetched for all with one visitor's credentials.
        observer.tells(Step::Passed(Why::Credentials));
        return Decision::Forward(forward(ForwardReason::Bypass));
    }
    let Some(stored) = stored.filter(|stored| !is_own || !stored.is_on_disk()) else {
        observer.tells(Step::Missed(reason));
        if is_own {
            // It may lie on the disk.
            return in_person();
        }
        if control.only_if_cached {
            return Decision::Reject(only_if_cached(route));
        }
        let store = &shared.store;
        let mut may_be_part =
            || request.fields.contains(&RANGE) && observer.is_too_large(store, &key.bytes);
        if store.is_uncacheable(&key.bytes) && !may_be_part() {
            observer.tells(Step::Passed(Why::Uncacheable));
            return Decision::Forward(forward(reason));
        }
        return Decision::Fetch(fetch(reason, false));
    };
    let age = stored.age(now.wall);
    let mut lifetimes = stored.lifetimes();
    if let Some(window) = window {
        lifetimes.stale_if_error = lifetimes.stale_if_error.max(window);
    }
    let softly = stored.purged_softly(now.wall);
    let rests = stored.rests(now.wall);
    let reuse = http_caching::reuse(&lifetimes, age, softly, &control);
    observer.tells(Step::Judged(&stored, &reuse));
    let (outcome, refresh) = match reuse {
        Reuse::Fresh => {
            observer.hit(&stored);
            let early = stored.is_popular() && is_ending(&lifetimes, age) && !rests;
            (Outcome::Hit, early)
        }
        Reuse::WhileRevalidate => (Outcome::HitStale, !rests),
        Reuse::IfError if window.is_some() => (Outcome::HitWindow, false),
        // The shop has just failed: it is not tried again by every visitor.
        Reuse::IfError if rests => (Outcome::HitStaleError, false),
        Reuse::IfError | Reuse::Validate if control.only_if_cached => {
            return Decision::Reject(only_if_cached(route));
        }
        Reuse::IfError | Reuse::Validate if is_own => return in_person(),
        Reuse::IfError | Reuse::Validate => {
            return Decision::Fetch(fetch(ForwardReason::Stale, true));
        }
    };
    if stored.is_on_disk() || shows_key(snapshot, request) {
        return Decision::Fetch(fetch(reason, false));
    }
    Decision::Respond(Hit {
        route: Arc::clone(route),
        age: age.as_secs(),
        ttl: stored.ttl(now.wall),
        outcome,
        answer: answer(
            request.method,
            request.fields,
            stored.status(),
            &stored.fields(),
            stored.content_length(),
        ),
        coding: coding(request.fields, &stored),
        refresh: refresh.then(|| Box::new(fetch(ForwardReason::Stale, true))),
        stored,
        limit,
        room: None,
    })
}

fn has_certificate(connection: &Connection) -> bool {
    let proof = connection.proof.as_ref();
    proof.is_some_and(|proof| proof.certificate.is_some())
}

/// Whether an operator wants to see the cache key: asked for by a peer that is trusted.
pub(crate) fn shows_key(snapshot: &Snapshot, request: &RequestView<'_>) -> bool {
    request.fields.contains(&DHAL_DEBUG) && is_trusted(snapshot, request)
}

fn is_trusted(snapshot: &Snapshot, request: &RequestView<'_>) -> bool {
    let peer = request.connection.peer.ip();
    client::is_trusted(peer, &snapshot.bounds.trusted_proxies)
}

/// Asks for the cache key in `Cache-Status`.
pub(crate) const DHAL_DEBUG: HeaderName = HeaderName::from_static("dhal-debug");

/// `only-if-cached` without anything to answer with (RFC 9111 §5.2.1.7).
fn only_if_cached(route: &Arc<Route>) -> Rejection {
    Rejection {
        route: Some(Arc::clone(route)),
        ..Rejection::new(504, "only-if-cached")
    }
}

/// Whether a popular response is so near its end that it is fetched anew while it is still fresh: in
/// the last tenth of its life, and at most ten seconds before. What lives for seconds only is asked for
/// often enough.
fn is_ending(lifetimes: &Lifetimes, age: Duration) -> bool {
    let lifetime = lifetimes.lifetime;
    let margin = (lifetime / 10).min(Duration::from_secs(10));
    lifetime >= Duration::from_secs(10) && http_caching::remaining(lifetimes, age) < margin
}

/// The form of a stored response that suits the client best. Parts are parts of the plain one.
pub(crate) fn coding(request: &dyn Fields, stored: &Stored) -> Option<Coding> {
    let encoded = stored.encoded()?;
    if request.contains(&RANGE) {
        return None;
    }
    encoded.choose(request)
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

/// Requests that only the origin can answer: those with content, a change of protocol, If-Match and
/// If-Unmodified-Since, which are its to judge (RFC 9111 §4.3.2), and those in which `Connection` takes
/// fields away before the shop sees them: such a field must not choose among stored responses.
fn is_for_the_origin(request: &RequestView<'_>) -> bool {
    if request.body != Body::None
        || [IF_MATCH, IF_UNMODIFIED_SINCE, UPGRADE]
            .iter()
            .any(|name| request.fields.contains(name))
    {
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

/// How a response with these fields answers a request (RFC 9110 §13.2.2, §14.2).
pub(crate) fn answer(
    method: &Method,
    request: &dyn Fields,
    status: u16,
    fields: &dyn Fields,
    length: u64,
) -> Answer {
    if status != 200 {
        // Preconditions and ranges are about a 200 (RFC 9110 §13.2.1, §14.2).
        return Answer::Whole;
    }
    match http_caching::precondition(method, request, fields) {
        Precondition::NotModified => return Answer::NotModified,
        // Those conditions went to the origin.
        Precondition::Failed | Precondition::None => {}
    }
    if method != Method::GET || !request.contains(&RANGE) {
        return Answer::Whole;
    }
    match http_caching::range(method, request, fields, length) {
        RangeOutcome::Whole => Answer::Whole,
        RangeOutcome::Part { first, last } => Answer::Part { first, last },
        RangeOutcome::Several(parts) => Answer::Parts(parts),
        RangeOutcome::Unsatisfiable => Answer::RangeNotSatisfiable,
    }
}
