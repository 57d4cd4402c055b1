//! Whether a response may be stored, and for how long (RFC 9111 §3).

use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, CONTENT_RANGE, SET_COOKIE, VARY};
use http::{HeaderName, Method, StatusCode};

use crate::cache_control::CacheControl;
use crate::fields::{Fields, members};
use crate::freshness::{explicit_lifetime, initial_age, is_fresh};
use crate::validation::has_validator;

/// What an operator adds where the origin server is silent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Freshness lifetime of a response that states none.
    pub ttl: Option<Duration>,
    /// How long a stale response may answer while it is validated.
    pub stale_while_revalidate: Duration,
    /// How long a stale response may answer while the upstream fails.
    pub stale_if_error: Duration,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotStored {
    /// Only GET fills the store.
    Method,
    /// The status is not final, or its meaning depends on more than the cache key.
    Status,
    /// Part of a representation: 206, or a `Content-Range`.
    Partial,
    /// The client asked for no copy to be kept.
    RequestNoStore,
    /// `no-store`.
    NoStore,
    /// `private`.
    Private,
    /// It sets a cookie, which is for one visitor.
    SetCookie,
    /// The request had credentials and the response does not allow sharing.
    Authorization,
    /// `Vary: *`.
    VaryStar,
    /// `Vary` is not a list of field names, or names more than [`MAX_VARY`].
    VaryMalformed,
    /// Neither the response nor the policy says how long it stays fresh.
    NoFreshness,
    /// It could neither be reused as it is nor validated.
    AlreadyStale,
}

impl NotStored {
    /// The reason as logs and fields spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Status => "status",
            Self::Partial => "partial",
            Self::RequestNoStore => "request-no-store",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::SetCookie => "set-cookie",
            Self::Authorization => "authorization",
            Self::VaryStar => "vary-star",
            Self::VaryMalformed => "vary-malformed",
            Self::NoFreshness => "no-freshness",
            Self::AlreadyStale => "already-stale",
        }
    }
}

/// How a response is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storable {
    /// Freshness lifetime (RFC 9111 §4.2.1).
    pub lifetime: Duration,
    /// Age when it was received, `corrected_initial_age` of §4.2.3.
    pub age: Duration,
    /// How long after its lifetime it may answer while it is validated.
    pub stale_while_revalidate: Duration,
    /// How long after its lifetime it may answer while the upstream fails.
    pub stale_if_error: Duration,
    /// `no-cache`: never reused without validation.
    pub always_validate: bool,
    /// The request fields it depends on: lower case, sorted, unique.
    pub vary: Vec<HeaderName>,
}

/// More fields than this make variants that are never asked for twice.
pub const MAX_VARY: usize = 32;

/// Decides whether the response to a request may be stored.
///
/// The caller has left out requests with content or a `Range`. `request_time` is when the request
/// was sent upstream, `response_time` when the response head came.
pub fn storable(
    method: &Method,
    request: &dyn Fields,
    status: StatusCode,
    response: &dyn Fields,
    policy: &Policy,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Result<Storable, NotStored> {
    let control = CacheControl::parse(response);
    refuse_kind(method, status, response)?;
    refuse_private(request, response, &control)?;
    let vary = vary(response)?;

    let lifetime = explicit_lifetime(&control, response, response_time)
        // `no-cache` alone says when it is fresh: never.
        .or_else(|| control.no_cache.then_some(Duration::ZERO))
        .or_else(|| policy.ttl.filter(|_| is_heuristically_cacheable(status)))
        .ok_or(NotStored::NoFreshness)?;
    let (stale_while_revalidate, stale_if_error) = stale_windows(&control, policy);
    let stored = Storable {
        lifetime,
        age: initial_age(response, request_time, response_time),
        stale_while_revalidate,
        stale_if_error,
        always_validate: control.no_cache,
        vary,
    };
    if !answers_without_validation(&stored) && !has_validator(response) {
        return Err(NotStored::AlreadyStale);
    }
    Ok(stored)
}

/// What kind of response is never stored, whatever its fields permit.
fn refuse_kind(
    method: &Method,
    status: StatusCode,
    response: &dyn Fields,
) -> Result<(), NotStored> {
    if method != Method::GET {
        return Err(NotStored::Method);
    }
    if status == StatusCode::PARTIAL_CONTENT || response.contains(&CONTENT_RANGE) {
        return Err(NotStored::Partial);
    }
    if !is_understood(status) {
        return Err(NotStored::Status);
    }
    Ok(())
}

/// What is meant for one visitor only.
fn refuse_private(
    request: &dyn Fields,
    response: &dyn Fields,
    control: &CacheControl,
) -> Result<(), NotStored> {
    if CacheControl::parse(request).no_store {
        return Err(NotStored::RequestNoStore);
    }
    // §5.2.2.3: `must-understand` lifts `no-store` for those who understand the status, as we do here.
    if control.no_store && !control.must_understand {
        return Err(NotStored::NoStore);
    }
    if control.private {
        return Err(NotStored::Private);
    }
    if response.contains(&SET_COOKIE) {
        return Err(NotStored::SetCookie);
    }
    // §3.5
    let shared_on_purpose = control.public || control.must_revalidate || control.s_maxage.is_some();
    if request.contains(&AUTHORIZATION) && !shared_on_purpose {
        return Err(NotStored::Authorization);
    }
    Ok(())
}

/// The statuses we know how to store (§3).
///
/// Missing, though RFC 9111 would allow some, are those that speak of a request field, of its size or
/// of the connection, because the cache key knows nothing of these and one bad request would answer
/// all others: 400, 401, 407, 408, 411, 412, 413, 415, 416, 417, 421, 425, 426. RFC 6585 forbids 428,
/// 429, 431 and 511.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203
            | 204
            | 300
            | 301
            | 302
            | 303
            | 307
            | 308
            | 403
            | 404
            | 405
            | 406
            | 409
            | 410
            | 414
            | 422
            | 451
            | 500
            | 501
            | 502
            | 503
            | 504
    )
}

/// The statuses that may be kept without a stated lifetime (RFC 9110 §15.1), save 206.
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// The fields named by `Vary` (RFC 9110 §12.5.5).
fn vary(response: &dyn Fields) -> Result<Vec<HeaderName>, NotStored> {
    let mut names: Vec<HeaderName> = Vec::new();
    let mut refused = None;
    response.for_each(&VARY, &mut |value| {
        for member in members(value) {
            if member == b"*" {
                refused = Some(NotStored::VaryStar);
            } else if refused.is_none() {
                match HeaderName::from_bytes(member) {
                    Ok(name) if names.contains(&name) => {}
                    Ok(name) if names.len() < MAX_VARY => names.push(name),
                    _ => refused = Some(NotStored::VaryMalformed),
                }
            }
        }
    });
    if let Some(refused) = refused {
        return Err(refused);
    }
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    Ok(names)
}

/// How long a stale response may answer while it is validated, and while the upstream fails.
/// §4.2.4: the origin server's prohibition goes before its own permission and before the policy.
fn stale_windows(control: &CacheControl, policy: &Policy) -> (Duration, Duration) {
    // §5.2.2.10: `s-maxage` implies `proxy-revalidate`.
    let prohibited = control.must_revalidate
        || control.proxy_revalidate
        || control.no_cache
        || control.s_maxage.is_some();
    if prohibited {
        return (Duration::ZERO, Duration::ZERO);
    }
    (
        control.stale_while_revalidate.unwrap_or(policy.stale_while_revalidate),
        control.stale_if_error.unwrap_or(policy.stale_if_error),
    )
}

/// Whether there will be a moment when the response answers without being validated first.
fn answers_without_validation(stored: &Storable) -> bool {
    let window = stored.stale_while_revalidate.max(stored.stale_if_error);
    !stored.always_validate && is_fresh(stored.lifetime.saturating_add(window), stored.age)
}

#[cfg(test)]
mod tests;
