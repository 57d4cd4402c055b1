//! Whether a stored response may answer a request (RFC 9111 §4, §4.1; RFC 5861).

use std::time::Duration;

use http::HeaderName;
use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, COOKIE, PRAGMA,
};

use crate::cache_control::CacheControl;
use crate::fields::{Fields, members};
use crate::freshness::is_fresh;
use crate::key::push_length;
use crate::storability::Lifetimes;

/// What a stored response is good for at this moment, for this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It answers as it is.
    Fresh,
    /// It answers, while a validation goes on behind it (RFC 5861 §3).
    WhileRevalidate,
    /// It has to be validated, and answers if the upstream fails (RFC 5861 §4).
    IfError,
    /// It has to be validated.
    Validate,
}

/// Says what a stored response is good for at the age it has now.
///
/// `purged_softly` is how long ago an operator marked it stale, if one did: it is stale since then at
/// least, and answers for [`AFTER_PURGE`] or its own window while it is validated.
///
/// Request directives are advisory (RFC 9111 §5.2.1): hand over `CacheControl::default()` where they
/// shall not count. `max-stale` widens nothing that the origin server forbids, and what answers
/// because of it is validated as well; `no-store` and `only-if-cached` are the caller's business.
pub fn reuse(
    lifetimes: &Lifetimes,
    age: Duration,
    purged_softly: Option<Duration>,
    request: &CacheControl,
) -> Reuse {
    if lifetimes.always_validate {
        return Reuse::Validate;
    }
    let young_enough = !request.no_cache && request.max_age.is_none_or(|max_age| age <= max_age);
    let is_stale = purged_softly.is_some() || !is_fresh(lifetimes.lifetime, age);
    let fresh_enough =
        request.min_fresh.is_none_or(|more| lifetimes.lifetime >= age.saturating_add(more));
    if !is_stale && young_enough && fresh_enough {
        return Reuse::Fresh;
    }
    if !lifetimes.may_be_stale {
        return Reuse::Validate;
    }
    let staleness = age.saturating_sub(lifetimes.lifetime).max(purged_softly.unwrap_or_default());
    let mut window = lifetimes.stale_while_revalidate;
    if purged_softly.is_some() {
        window = window.max(AFTER_PURGE);
    }
    // §5.2.1.1: who limits the age wants nothing stale, unless `max-stale` says so.
    let takes_stale = match request.max_stale {
        Some(max_stale) => staleness <= max_stale,
        None => request.max_age.is_none() && staleness < window,
    };
    if young_enough && request.min_fresh.is_none() && takes_stale {
        Reuse::WhileRevalidate
    } else if staleness < lifetimes.stale_if_error {
        Reuse::IfError
    } else {
        Reuse::Validate
    }
}

/// How long a response that an operator marked stale may answer while it is validated, where the
/// origin server does not forbid it.
pub const AFTER_PURGE: Duration = Duration::from_secs(60);

/// How long a stored response stays fresh from now on; zero when it is stale.
pub fn remaining(lifetimes: &Lifetimes, age: Duration) -> Duration {
    lifetimes.lifetime.saturating_sub(age)
}

/// Reads the directives of a request. Without `Cache-Control`, `Pragma: no-cache` stands for
/// `no-cache` (RFC 9111 §5.4).
pub fn request_control(request: &dyn Fields) -> CacheControl {
    let mut control = CacheControl::parse(request);
    // Field names mean nothing in a request (§5.2.1.4).
    control.no_cache |= !control.no_cache_fields.is_empty();
    if !request.contains(&CACHE_CONTROL) {
        request.for_each(&PRAGMA, &mut |value| {
            control.no_cache |=
                members(value).any(|member| member.eq_ignore_ascii_case(b"no-cache"));
        });
    }
    control
}

/// Appends to `out` the request's values of the fields that a stored response varies on
/// (RFC 9111 §4.1), so that equal bytes mean a matching request.
///
/// Names and values stand behind their lengths, and an absent field differs from an empty one. Lines
/// of one name are joined; whitespace and empty members go where the field is known to be a list.
/// Case stays, as do order and everything inside a member.
pub fn variance(vary: &[HeaderName], request: &dyn Fields, out: &mut Vec<u8>) {
    for name in vary {
        push_length(out, name.as_str().len());
        out.extend_from_slice(name.as_str().as_bytes());
        let presence = out.len();
        out.push(0);
        let length = out.len();
        push_length(out, 0);
        let start = out.len();

        let is_list = LISTS.contains(name);
        // HTTP/2 and HTTP/3 may split a cookie into lines (RFC 9113 §8.2.3).
        let separator: &[u8] = if *name == COOKIE { b"; " } else { b", " };
        let mut present = false;
        request.for_each(name, &mut |value| {
            let first_line = !std::mem::replace(&mut present, true);
            if is_list {
                for member in members(value) {
                    if out.len() > start {
                        out.push(b',');
                    }
                    out.extend_from_slice(member);
                }
            } else {
                if !first_line {
                    out.extend_from_slice(separator);
                }
                out.extend_from_slice(value);
            }
        });

        let value_length = ((out.len() - start) as u64).to_le_bytes();
        if let Some(slot) = out.get_mut(length..start) {
            slot.copy_from_slice(&value_length);
        }
        if let Some(slot) = out.get_mut(presence) {
            *slot = u8::from(present);
        }
    }
}

/// Fields whose syntax is a list, so that whitespace around its commas means nothing.
const LISTS: [HeaderName; 4] = [ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE];

#[cfg(test)]
mod tests;
