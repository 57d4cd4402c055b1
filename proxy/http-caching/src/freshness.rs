//! The arithmetic of freshness: how long a response stays fresh (RFC 9111 §4.2.1) and how old it is
//! (§4.2.3). Everything saturates; clocks that run backwards count as standing still.

use std::time::{Duration, SystemTime};

use http::HeaderName;
use http::header::{AGE, DATE, EXPIRES};

use crate::cache_control::CacheControl;
use crate::fields::{Fields, members, trim, with_single};

/// The largest number of seconds a delta can mean (RFC 9111 §1.2.2): 2^31, some 68 years.
pub const MAX_DELTA: Duration = Duration::from_secs(1 << 31);

/// Reads delta-seconds (RFC 9111 §1.2.2): digits and nothing else; what is too large is [`MAX_DELTA`].
pub fn delta_seconds(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = value
        .iter()
        .fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some(Duration::from_secs(seconds).min(MAX_DELTA))
}

/// Reads an HTTP-date (RFC 9110 §5.6.7) in any of its three forms.
///
/// Two-digit years from 70 on lie in the past, whatever the present year is: without a clock that is
/// the reading that keeps a response for the shorter time.
pub fn http_date(value: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(value).ok()?;
    httpdate::parse_http_date(text).ok()
}

/// Reads a date field that may appear only once; `None` when it is absent, repeated or unreadable.
pub(crate) fn single_date(fields: &dyn Fields, name: &HeaderName) -> Option<SystemTime> {
    with_single(fields, name, http_date).flatten()
}

/// When the response was generated, as far as it says: the earliest of its `Date` lines.
pub(crate) fn date(response: &dyn Fields) -> Option<SystemTime> {
    let mut earliest: Option<SystemTime> = None;
    response.for_each(&DATE, &mut |value| {
        if let Some(date) = http_date(value) {
            earliest = Some(earliest.map_or(date, |known| known.min(date)));
        }
    });
    earliest
}

/// The `Age` of a response (RFC 9111 §5.1): the first member counts, and one that is not a
/// non-negative integer is ignored.
pub fn age_value(response: &dyn Fields) -> Option<Duration> {
    let mut first = None;
    response.for_each(&AGE, &mut |value| {
        first.get_or_insert_with(|| {
            members(value).next().and_then(|member| delta_seconds(trim(member)))
        });
    });
    first.flatten()
}

/// `corrected_initial_age` of RFC 9111 §4.2.3: the age of a response at the moment it was received.
pub fn initial_age(
    response: &dyn Fields,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Duration {
    let apparent_age = date(response).map_or(Duration::ZERO, |date| since(date, response_time));
    let response_delay = since(request_time, response_time);
    let corrected_age_value =
        age_value(response).unwrap_or_default().saturating_add(response_delay);
    apparent_age.max(corrected_age_value)
}

/// `current_age` of RFC 9111 §4.2.3: the initial age and the time spent in the store.
pub fn current_age(initial: Duration, resident: Duration) -> Duration {
    initial.saturating_add(resident)
}

/// Whether a response of that age is still fresh (RFC 9111 §4.2).
pub fn is_fresh(lifetime: Duration, age: Duration) -> bool {
    lifetime > age
}

/// The freshness lifetime the response itself states, for a shared cache (RFC 9111 §4.2.1):
/// `s-maxage`, else `max-age`, else `Expires` less `Date`.
pub fn explicit_lifetime(
    control: &CacheControl,
    response: &dyn Fields,
    response_time: SystemTime,
) -> Option<Duration> {
    control.s_maxage.or(control.max_age).or_else(|| expires_lifetime(response, response_time))
}

/// `Expires` (RFC 9111 §5.3): unreadable, as `0` is, or contradictory means already expired.
fn expires_lifetime(response: &dyn Fields, response_time: SystemTime) -> Option<Duration> {
    let mut lines: Option<Option<SystemTime>> = None;
    response.for_each(&EXPIRES, &mut |value| {
        let expires = http_date(value);
        lines = Some(match lines {
            Some(known) if known != expires => None,
            _ => expires,
        });
    });
    let expires = lines?;
    let from = date(response).unwrap_or(response_time);
    Some(expires.map_or(Duration::ZERO, |expires| since(from, expires).min(MAX_DELTA)))
}

/// The time from `earlier` to `later`; none when they stand the other way round.
pub(crate) fn since(earlier: SystemTime, later: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

#[cfg(test)]
mod tests;
