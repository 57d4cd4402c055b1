//! Whether a stored response may answer a request (RFC 9111 §4, §4.1; RFC 5861).

use std::time::Duration;

use http::HeaderName;
use http::header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, COOKIE};

use crate::cache_control::CacheControl;
use crate::fields::{Fields, members};
use crate::freshness::is_fresh;
use crate::key::push_length;
use crate::storability::Storable;

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
/// Request directives are advisory (RFC 9111 §5.2.1): hand over `CacheControl::default()` where they
/// shall not count. `max-stale` has no effect, since how stale is acceptable is for the origin server
/// and the operator to say; `only-if-cached` is the caller's business.
pub fn reuse(stored: &Storable, age: Duration, request: &CacheControl) -> Reuse {
    if stored.always_validate {
        return Reuse::Validate;
    }
    let lifetime = stored.lifetime;
    let young_enough = !request.no_cache && request.max_age.is_none_or(|max_age| age <= max_age);
    if young_enough && is_fresh(lifetime, age.saturating_add(request.min_fresh.unwrap_or_default()))
    {
        return Reuse::Fresh;
    }
    let within =
        |window: Duration| !window.is_zero() && is_fresh(lifetime.saturating_add(window), age);
    if young_enough && request.min_fresh.is_none() && within(stored.stale_while_revalidate) {
        Reuse::WhileRevalidate
    } else if within(stored.stale_if_error) {
        Reuse::IfError
    } else {
        Reuse::Validate
    }
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
