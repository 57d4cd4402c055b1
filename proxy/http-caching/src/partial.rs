//! Parts of a response: storing a 206 and putting the parts together (RFC 9111 §3.3, §3.4;
//! RFC 9110 §14.4, §15.3.7).

use std::time::SystemTime;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED, RANGE};
use http::{Method, StatusCode};

use crate::fields::{Fields, trim, with_single};
use crate::freshness::single_date;
use crate::storability::{NotStored, Policy, Storable, Without, judge};
use crate::validation::{EntityTag, is_strong_date};

/// The `Content-Range` of one part, in bytes (RFC 9110 §14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// Position of the first byte.
    pub first: u64,
    /// Position of the last byte; not before the first, and within the complete length.
    pub last: u64,
    /// Length of the whole, where it is known.
    pub complete: Option<u64>,
}

impl ContentRange {
    /// Reads a `Content-Range` of a part; `None` for one of a 416 (`bytes */10`), of another unit, or
    /// with numbers that contradict each other or are too large.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (unit, rest) = value.split_at_checked(b"bytes ".len())?;
        if !unit.eq_ignore_ascii_case(b"bytes ") {
            return None;
        }
        let slash = rest.iter().position(|byte| *byte == b'/')?;
        let (range, complete) = (&rest[..slash], &rest[slash + 1..]);
        let dash = range.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (number(&range[..dash])?, number(&range[dash + 1..])?);
        let complete = if complete == b"*" { None } else { Some(number(complete)?) };
        // The length, one more than the last position, has to be a number as well.
        let fits = first <= last && last < complete.unwrap_or(u64::MAX);
        fits.then_some(Self { first, last, complete })
    }
}

/// Digits alone, and no more than fit: here too large is not beyond the end but wrong.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().all(u8::is_ascii_digit).then_some(())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether parts of these two responses are parts of the same representation (RFC 9111 §3.4,
/// RFC 9110 §15.3.7.3): both have the same strong validator.
///
/// Entity tags decide where both are strong. A tag on one side only speaks against it, and
/// `Last-Modified` for it only where it is strong on both sides.
pub fn combines(stored: &dyn Fields, new: &dyn Fields) -> bool {
    if stored.contains(&ETAG) || new.contains(&ETAG) {
        let tags = with_single(stored, &ETAG, |old| {
            with_single(new, &ETAG, |new| {
                let (old, new) = (EntityTag::parse(old)?, EntityTag::parse(new)?);
                old.weak_match(&new).then_some((old.weak, new.weak))
            })
        });
        match tags.flatten().flatten() {
            Some((false, false)) => return true,
            Some((true, true)) => {}
            Some(_) | None => return false,
        }
    }
    let modified = single_date(stored, &LAST_MODIFIED);
    modified == single_date(new, &LAST_MODIFIED) && is_strong_date(stored) && is_strong_date(new)
}

/// Decides whether a 206 may be stored as a part, and says which part it is (RFC 9111 §3.3).
///
/// As [`storable`](crate::storable), with this beyond: the request is a GET with a `Range`, the
/// response has one part, and a strong validator by which others can be added to it.
pub fn partial_storable(
    method: &Method,
    request: &dyn Fields,
    status: StatusCode,
    response: &dyn Fields,
    policy: &Policy,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Result<(Storable, ContentRange), NotStored> {
    if method != Method::GET {
        return Err(NotStored::Method);
    }
    if status != StatusCode::PARTIAL_CONTENT || !request.contains(&RANGE) {
        return Err(NotStored::Partial);
    }
    let part = with_single(response, &CONTENT_RANGE, ContentRange::parse)
        .flatten()
        .filter(|part| has_length_of(part, response))
        .ok_or(NotStored::Partial)?;
    let stored = judge(request, status, response, policy, request_time, response_time)?;
    let kept = Without { fields: response, excluded: &stored.excluded };
    if !has_strong_validator(&kept) {
        return Err(NotStored::Partial);
    }
    Ok((stored, part))
}

/// Whether `Content-Length`, where there is one, agrees with the part.
fn has_length_of(part: &ContentRange, response: &dyn Fields) -> bool {
    !response.contains(&CONTENT_LENGTH)
        || with_single(response, &CONTENT_LENGTH, |value| number(trim(value)))
            .flatten()
            .is_some_and(|length| length == part.last - part.first + 1)
}

/// Whether parts with this response's validators can be told from parts of another version.
fn has_strong_validator(response: &dyn Fields) -> bool {
    combines(response, response)
}

/// More gaps than this are a client's game, not a download.
pub const MAX_SPANS: usize = 64;

/// Which bytes of a representation are there: spans that neither overlap nor touch, in order, at most
/// [`MAX_SPANS`] of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans(Vec<(u64, u64)>);

impl Spans {
    /// Adds the bytes from `first` to `last`, both included. False, and nothing is added, when they
    /// stand the wrong way round or there are too many spans already.
    pub fn insert(&mut self, first: u64, last: u64) -> bool {
        if first > last {
            return false;
        }
        let spans = &mut self.0;
        // The spans from `from` up to `to` overlap or touch the new one.
        let from = spans.partition_point(|span| span.1.saturating_add(1) < first);
        let to = spans.partition_point(|span| span.0 <= last.saturating_add(1));
        let touched = spans.get(from..to).unwrap_or_default();
        let joined = match touched {
            [] if spans.len() >= MAX_SPANS => return false,
            [] => (first, last),
            [one] => (one.0.min(first), one.1.max(last)),
            [begin, .., end] => (begin.0.min(first), end.1.max(last)),
        };
        spans.splice(from..to, [joined]);
        true
    }

    /// Whether all bytes from `first` to `last`, both included, are there.
    pub fn covers(&self, first: u64, last: u64) -> bool {
        first <= last && self.0.iter().any(|span| span.0 <= first && last <= span.1)
    }

    /// Whether all bytes of a representation of `length` bytes are there.
    pub fn is_complete(&self, length: u64) -> bool {
        self.first_gap(length).is_none()
    }

    /// The first bytes missing of a representation of `length` bytes: from the first to the last of
    /// them, both included.
    pub fn first_gap(&self, length: u64) -> Option<(u64, u64)> {
        let end = length.checked_sub(1)?;
        let (first, next) = match *self.0 {
            [(0, last), ..] => (last.checked_add(1)?, self.0.get(1)),
            _ => (0, self.0.first()),
        };
        // What stands behind a gap begins at 1 or later.
        let last = next.map_or(end, |span| (span.0 - 1).min(end));
        (first <= end).then_some((first, last))
    }

    /// The spans in order, each from its first to its last byte.
    pub fn as_slice(&self) -> &[(u64, u64)] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
