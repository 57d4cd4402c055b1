//! Ranges of a stored response (RFC 9110 §14.2, §13.1.5).

use http::Method;
use http::header::{ETAG, IF_RANGE, LAST_MODIFIED, RANGE};

use crate::fields::{Fields, members, with_single};
use crate::freshness::{http_date, single_date};
use crate::validation::{EntityTag, is_strong_date};

/// What part of a stored response a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeOutcome {
    /// All of it: no range, one that must be ignored, or an `If-Range` that does not hold.
    Whole,
    /// 206 with the bytes from `first` to `last`, both included and both within the content.
    Part {
        /// Position of the first byte.
        first: u64,
        /// Position of the last byte.
        last: u64,
    },
    /// 416: no range lies within the content.
    Unsatisfiable,
    /// 206 with several parts, each from its first to its last byte, both included and both within
    /// the content. They neither overlap nor touch, and stand in the order in which they were asked for.
    Several(Vec<(u64, u64)>),
}

/// More ranges than this are not worth their overhead, and §14.2 lets us ignore them.
pub const MAX_RANGES: usize = 16;

/// Reads the range that a request wants of a stored, complete 200 response of `complete_length`
/// bytes. Comes after [`crate::precondition`] (RFC 9110 §13.2.2).
pub fn range(
    method: &Method,
    request: &dyn Fields,
    stored: &dyn Fields,
    complete_length: u64,
) -> RangeOutcome {
    // §14.2: only GET has ranges.
    if method != Method::GET {
        return RangeOutcome::Whole;
    }
    let Some(outcome) = with_single(request, &RANGE, |value| parse(value, complete_length)) else {
        return RangeOutcome::Whole;
    };
    // §13.1.5: a condition that fails makes the range as if it were not there, even one out of bounds.
    if outcome != RangeOutcome::Whole
        && request.contains(&IF_RANGE)
        && !if_range_holds(request, stored)
    {
        return RangeOutcome::Whole;
    }
    outcome
}

/// Whether the stored response is the one that the client holds a part of (§13.1.5).
fn if_range_holds(request: &dyn Fields, stored: &dyn Fields) -> bool {
    with_single(request, &IF_RANGE, |value| {
        if let Some(wanted) = EntityTag::parse(value) {
            return with_single(stored, &ETAG, |tag| {
                EntityTag::parse(tag).is_some_and(|tag| wanted.strong_match(&tag))
            })
            .unwrap_or(false);
        }
        let (Some(wanted), Some(modified)) =
            (http_date(value), single_date(stored, &LAST_MODIFIED))
        else {
            return false;
        };
        wanted == modified && is_strong_date(stored)
    })
    .unwrap_or(false)
}

/// Reads `Range`. One that is malformed, or in a unit other than bytes, is ignored (§14.2).
fn parse(value: &[u8], complete_length: u64) -> RangeOutcome {
    let Some(set) = byte_ranges(value) else {
        return RangeOutcome::Whole;
    };
    let mut parts: Vec<(u64, u64)> = Vec::new();
    // The sum of so few lengths fits in twice their width.
    let (mut asked, mut sum) = (0_usize, 0_u128);
    for spec in members(set) {
        let Some(spec) = RangeSpec::parse(spec) else {
            return RangeOutcome::Whole;
        };
        asked += 1;
        if asked > MAX_RANGES {
            return RangeOutcome::Whole;
        }
        // A suffix of nothing is satisfiable, but no `Content-Range` can say so.
        if complete_length == 0 && matches!(spec, RangeSpec::Suffix(1..)) {
            return RangeOutcome::Whole;
        }
        if let Some((first, last)) = spec.within(complete_length) {
            sum += u128::from(last - first) + 1;
            coalesce(&mut parts, (first, last));
        }
    }
    match *parts {
        _ if asked == 0 => RangeOutcome::Whole,
        [] => RangeOutcome::Unsatisfiable,
        // §14.2: who asks for more than there is wants to keep us busy.
        _ if sum > u128::from(complete_length) => RangeOutcome::Whole,
        [(first, last)] => RangeOutcome::Part { first, last },
        _ => RangeOutcome::Several(parts),
    }
}

/// Adds a range to those before it. What overlaps or touches becomes one (§15.3.7.2), in the place of
/// the earliest.
fn coalesce(parts: &mut Vec<(u64, u64)>, (mut first, mut last): (u64, u64)) {
    let mut place = parts.len();
    let mut at = 0;
    while let Some(&(known_first, known_last)) = parts.get(at) {
        // Positions lie below the length of the content, so one more is still a number.
        if known_first <= last + 1 && first <= known_last + 1 {
            (first, last) = (first.min(known_first), last.max(known_last));
            parts.remove(at);
            place = place.min(at);
            // Those passed over touch neither the one nor the other, and so not both together.
        } else {
            at += 1;
        }
    }
    parts.insert(place.min(parts.len()), (first, last));
}

/// What follows `bytes=`. Unit names are case-insensitive (§14.1).
fn byte_ranges(value: &[u8]) -> Option<&[u8]> {
    const PREFIX: &[u8] = b"bytes=";
    let (unit, set) = value.split_at_checked(PREFIX.len())?;
    unit.eq_ignore_ascii_case(PREFIX).then_some(set)
}

/// One range-spec of §14.1.2.
enum RangeSpec {
    From(u64),
    Between(u64, u64),
    Suffix(u64),
}

impl RangeSpec {
    fn parse(spec: &[u8]) -> Option<Self> {
        let dash = spec.iter().position(|byte| *byte == b'-')?;
        match (&spec[..dash], &spec[dash + 1..]) {
            ([], length) => Some(Self::Suffix(position(length)?)),
            (first, []) => Some(Self::From(position(first)?)),
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    /// The bytes meant, if there are any.
    fn within(&self, complete_length: u64) -> Option<(u64, u64)> {
        let (first, last) = match *self {
            Self::Suffix(length) => (complete_length.saturating_sub(length), u64::MAX),
            Self::From(first) => (first, u64::MAX),
            Self::Between(first, last) => (first, last),
        };
        let end = complete_length.checked_sub(1)?;
        (first <= end).then_some((first, last.min(end)))
    }
}

/// Digits alone; a number too large for us lies beyond any content.
fn position(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        digits.iter().fold(0_u64, |sum, digit| {
            sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
        }),
    )
}

#[cfg(test)]
mod tests;
