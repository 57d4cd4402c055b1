//! Ranges of a stored response (RFC 9110 §14.2, §13.1.5).

use std::time::Duration;

use http::Method;
use http::header::{DATE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};

use crate::fields::{Fields, members, with_single};
use crate::freshness::{http_date, single_date};
use crate::validation::EntityTag;

/// What part of a stored response a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// More than one range: the caller serves the whole or hands the request over.
    Several,
}

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

/// Whether `Last-Modified` can be trusted to tell two versions apart (§8.8.2.2): the response was
/// generated at least a second later.
fn is_strong_date(stored: &dyn Fields) -> bool {
    let (Some(modified), Some(date)) =
        (single_date(stored, &LAST_MODIFIED), single_date(stored, &DATE))
    else {
        return false;
    };
    date.duration_since(modified).is_ok_and(|between| between >= Duration::from_secs(1))
}

/// Reads `Range`. One that is malformed, or in a unit other than bytes, is ignored (§14.2).
fn parse(value: &[u8], complete_length: u64) -> RangeOutcome {
    let Some(set) = byte_ranges(value) else {
        return RangeOutcome::Whole;
    };
    let mut satisfiable = None;
    let mut several = false;
    let mut any = false;
    for spec in members(set) {
        let Some(spec) = RangeSpec::parse(spec) else {
            return RangeOutcome::Whole;
        };
        any = true;
        if let Some(part) = spec.within(complete_length) {
            several |= satisfiable.is_some();
            satisfiable = Some(part);
        }
    }
    match satisfiable {
        _ if !any => RangeOutcome::Whole,
        None => RangeOutcome::Unsatisfiable,
        Some(_) if several => RangeOutcome::Several,
        Some(part) => part,
    }
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
    fn within(&self, complete_length: u64) -> Option<RangeOutcome> {
        let (first, last) = match *self {
            // A suffix of nothing is satisfiable, but no `Content-Range` can say so.
            Self::Suffix(length) if length > 0 && complete_length == 0 => {
                return Some(RangeOutcome::Whole);
            }
            Self::Suffix(length) => (complete_length.saturating_sub(length), u64::MAX),
            Self::From(first) => (first, u64::MAX),
            Self::Between(first, last) => (first, last),
        };
        let end = complete_length.checked_sub(1)?;
        (first <= end).then_some(RangeOutcome::Part { first, last: last.min(end) })
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
