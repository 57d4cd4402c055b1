//! Whether a response may be stored, and for how long (RFC 9111 §3).

use std::time::{Duration, SystemTime};

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, SET_COOKIE, VARY,
};
use http::{HeaderName, Method, StatusCode};

use crate::cache_control::CacheControl;
use crate::fields::{Fields, members};
use crate::freshness::{initial_age, is_fresh};
use crate::targeted::{Legacy, effective_control};
use crate::validation::has_validator;

/// What an operator adds to what the origin server says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Freshness lifetime of a response that states none.
    pub ttl: Option<Duration>,
    /// How long, at least, a stale response may answer while it is validated.
    pub stale_while_revalidate: Duration,
    /// How long, at least, a stale response may answer while the upstream fails.
    pub stale_if_error: Duration,
    /// What becomes of responses that set cookies.
    pub set_cookie: SetCookie,
    /// Which fields from before RFC 9213 are accepted.
    pub legacy: Legacy,
}

/// What becomes of a response that sets a cookie (RFC 9111 §7.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetCookie {
    /// It is not stored, unless it says itself that the cookie alone is not to be shared.
    #[default]
    Refuse,
    /// It is stored without the cookie.
    Strip,
    /// It is stored with the cookie, which every visitor will get.
    Store,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotStored {
    /// Only GET fills the store.
    Method,
    /// The status is not final, or its meaning depends on more than the cache key.
    Status,
    /// Part of a representation, 206 or with a `Content-Range`, where it cannot be stored as a part.
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

/// How long a stored response may answer, and under which conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes {
    /// Freshness lifetime (RFC 9111 §4.2.1).
    pub lifetime: Duration,
    /// How long after its lifetime it may answer while it is validated.
    pub stale_while_revalidate: Duration,
    /// How long after its lifetime it may answer while the upstream fails.
    pub stale_if_error: Duration,
    /// `no-cache`: never reused without validation.
    pub always_validate: bool,
    /// Whether the origin server leaves it open to answer with a stale response (§4.2.4).
    pub may_be_stale: bool,
}

/// How a response is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storable {
    /// How long it may answer.
    pub lifetimes: Lifetimes,
    /// Age when it was received, `corrected_initial_age` of §4.2.3.
    pub age: Duration,
    /// The request fields it depends on: lower case, sorted, unique.
    pub vary: Vec<HeaderName>,
    /// Fields that must not be stored with it, nor come in with an update: lower case, sorted,
    /// unique. Those of one hop are not among them.
    pub excluded: Vec<HeaderName>,
    /// Whether the origin server lets it answer although the request had credentials (§3.5).
    pub shared_with_credentials: bool,
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
    refuse_kind(method, status, response)?;
    judge(request, status, response, policy, request_time, response_time)
}

/// Decides on a response of a kind that can be stored. A 206 has passed its own tests before.
pub(crate) fn judge(
    request: &dyn Fields,
    status: StatusCode,
    response: &dyn Fields,
    policy: &Policy,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Result<Storable, NotStored> {
    let effective = effective_control(response, policy.legacy, response_time);
    let control = &effective.control;
    if !is_understood(status) && (control.must_understand || !is_harmless(status)) {
        return Err(NotStored::Status);
    }
    let shared_with_credentials = is_shared_with_credentials(control);
    refuse_private(request, control, shared_with_credentials)?;
    let excluded = excluded(response, control, policy.set_cookie)?;
    let vary = vary(response)?;

    let always_validate = control.no_cache || names_essential(&control.no_cache_fields);
    let lifetime = effective
        .lifetime(response, response_time)
        // `no-cache` alone says when it is fresh: never.
        .or_else(|| always_validate.then_some(Duration::ZERO))
        .or_else(|| policy.ttl.filter(|_| is_heuristically_cacheable(status)))
        .ok_or(NotStored::NoFreshness)?;
    let lifetimes = with_stale_windows(lifetime, always_validate, control, policy);
    let age = initial_age(response, request_time, response_time);
    let kept = Without { fields: response, excluded: &excluded };
    if !answers_without_validation(&lifetimes, age) && !has_validator(&kept) {
        return Err(NotStored::AlreadyStale);
    }
    Ok(Storable { lifetimes, age, vary, excluded, shared_with_credentials })
}

/// What kind of response is never stored whole, whatever its fields permit.
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
    Ok(())
}

/// What is meant for one visitor only.
fn refuse_private(
    request: &dyn Fields,
    control: &CacheControl,
    shared_with_credentials: bool,
) -> Result<(), NotStored> {
    if CacheControl::parse(request).no_store {
        return Err(NotStored::RequestNoStore);
    }
    // §5.2.2.3: `must-understand` lifts `no-store` for those who understand the status, as we do here.
    if control.no_store && !control.must_understand {
        return Err(NotStored::NoStore);
    }
    if control.private || names_essential(&control.private_fields) {
        return Err(NotStored::Private);
    }
    if request.contains(&AUTHORIZATION) && !shared_with_credentials {
        return Err(NotStored::Authorization);
    }
    Ok(())
}

/// §3.5: the directives that let a response to a request with credentials answer others.
fn is_shared_with_credentials(control: &CacheControl) -> bool {
    control.public || control.must_revalidate || control.s_maxage.is_some()
}

/// Fields without which the stored content means something else, or later caches send it to the wrong
/// client. A directive that names one of these speaks of the whole response.
const ESSENTIAL: [HeaderName; 5] =
    [CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, VARY];

fn names_essential(names: &[HeaderName]) -> bool {
    names.iter().any(|name| ESSENTIAL.contains(name))
}

/// The fields to leave out: those of the qualified `private` and `no-cache` (§5.2.2.4, §5.2.2.7), and
/// the cookie where the policy says so.
///
/// A field under `no-cache` could be stored and shown after a validation; without it there is nothing
/// to get wrong.
fn excluded(
    response: &dyn Fields,
    control: &CacheControl,
    set_cookie: SetCookie,
) -> Result<Vec<HeaderName>, NotStored> {
    let mut names = [&*control.private_fields, &*control.no_cache_fields].concat();
    if response.contains(&SET_COOKIE) && !names.contains(&SET_COOKIE) {
        match set_cookie {
            SetCookie::Refuse => return Err(NotStored::SetCookie),
            SetCookie::Strip => names.push(SET_COOKIE),
            SetCookie::Store => {}
        }
    }
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    Ok(names)
}

/// A response as it will be stored.
pub(crate) struct Without<'a> {
    pub(crate) fields: &'a dyn Fields,
    pub(crate) excluded: &'a [HeaderName],
}

impl Fields for Without<'_> {
    fn for_each(&self, name: &HeaderName, f: &mut dyn FnMut(&[u8])) {
        if !self.excluded.contains(name) {
            self.fields.for_each(name, f);
        }
    }
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
            | 206
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

/// Statuses that nobody has registered, which stand for the first of their class (RFC 9110 §15). §3
/// allows to store them where nothing asks us to understand them. Unknown 4xx are left out: they
/// stand for 400.
fn is_harmless(status: StatusCode) -> bool {
    matches!(status.as_u16(), 209..=225 | 227..=299 | 309..=399 | 512..=599)
}

/// The statuses that may be kept without a stated lifetime (RFC 9110 §15.1).
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
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

/// Adds how long a stale response may answer while it is validated, and while the upstream fails.
/// §4.2.4: the origin server's prohibition goes before its own permission and before the policy; of
/// these two the wider counts.
fn with_stale_windows(
    lifetime: Duration,
    always_validate: bool,
    control: &CacheControl,
    policy: &Policy,
) -> Lifetimes {
    // §5.2.2.10: `s-maxage` implies `proxy-revalidate`.
    let prohibited = control.must_revalidate
        || control.proxy_revalidate
        || always_validate
        || control.s_maxage.is_some();
    if prohibited {
        return Lifetimes { lifetime, always_validate, ..Lifetimes::default() };
    }
    let widest = |own: Option<Duration>, policy: Duration| own.unwrap_or_default().max(policy);
    Lifetimes {
        lifetime,
        stale_while_revalidate: widest(
            control.stale_while_revalidate,
            policy.stale_while_revalidate,
        ),
        stale_if_error: widest(control.stale_if_error, policy.stale_if_error),
        always_validate,
        may_be_stale: true,
    }
}

/// Whether there will be a moment when the response answers without being validated first.
fn answers_without_validation(lifetimes: &Lifetimes, age: Duration) -> bool {
    let window = lifetimes.stale_while_revalidate.max(lifetimes.stale_if_error);
    !lifetimes.always_validate && is_fresh(lifetimes.lifetime.saturating_add(window), age)
}

#[cfg(test)]
mod tests;
