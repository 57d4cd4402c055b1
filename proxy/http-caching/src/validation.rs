//! Conditional requests (RFC 9110 §13) and what a 304 does to a stored response
//! (RFC 9111 §3.2, §4.3).

use std::time::Duration;

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED, SET_COOKIE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::connection::hop_by_hop;
use crate::fields::{Fields, trim, with_single};
use crate::freshness::{date, http_date, single_date};

/// An entity tag (RFC 9110 §8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// Whether it is marked `W/`.
    pub weak: bool,
    /// What stands between the quotes.
    pub opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads a value that is one entity tag and nothing else.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::split(value)?;
        rest.is_empty().then_some(tag)
    }

    /// The entity tag that `bytes` opens with, and what follows it. Quotes cannot be escaped in a
    /// tag, and `W` is upper case.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match bytes.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, bytes),
        };
        let inner = quoted.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| !matches!(byte, 0x21 | 0x23..=0x7e | 0x80..))?;
        let (opaque, rest) = inner.split_at(end);
        let rest = rest.strip_prefix(b"\"")?;
        Some((Self { weak, opaque }, rest))
    }

    /// Strong comparison (§8.8.3.2): equal, and neither is weak.
    pub fn strong_match(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Weak comparison (§8.8.3.2): equal, weak or not.
    pub fn weak_match(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

/// Strong comparison of two entity tags (RFC 9110 §8.8.3.2).
pub fn strong_match(a: &EntityTag<'_>, b: &EntityTag<'_>) -> bool {
    a.strong_match(b)
}

/// Weak comparison of two entity tags (RFC 9110 §8.8.3.2).
pub fn weak_match(a: &EntityTag<'_>, b: &EntityTag<'_>) -> bool {
    a.weak_match(b)
}

/// The entity tags of a list, in order. What is none is passed over up to the next comma, so it
/// matches nothing.
pub fn entity_tags(mut value: &[u8]) -> impl Iterator<Item = EntityTag<'_>> {
    std::iter::from_fn(move || {
        while !value.is_empty() {
            let member = trim(value);
            let tag = EntityTag::split(member);
            let rest = tag.map_or(member, |(_, rest)| rest);
            let comma = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
            value = rest.get(comma + 1..).unwrap_or_default();
            if let Some((tag, _)) = tag
                && trim(&rest[..comma]).is_empty()
            {
                return Some(tag);
            }
        }
        None
    })
}

/// How the preconditions of a request turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// None stands in the way: go on.
    None,
    /// The client has it already: 304.
    NotModified,
    /// The client wanted another version: 412.
    Failed,
}

/// Evaluates the preconditions of a GET or HEAD against a stored 200 response, in the order of
/// RFC 9110 §13.2.2. Other methods have nothing to ask of the store and pass.
///
/// RFC 9111 §4.3.2 leaves `If-Match` and `If-Unmodified-Since` to the origin server, whose gateway we
/// are. The origin server may have moved on since the response was stored, so the caller may well
/// forward a request that [`Failed`](Precondition::Failed) instead of answering 412.
pub fn precondition(method: &Method, request: &dyn Fields, stored: &dyn Fields) -> Precondition {
    if method != Method::GET && method != Method::HEAD {
        return Precondition::None;
    }
    // Most requests have no condition, and need no look at what is stored.
    let conditions = [IF_MATCH, IF_UNMODIFIED_SINCE, IF_NONE_MATCH, IF_MODIFIED_SINCE];
    if !conditions.iter().any(|name| request.contains(name)) {
        return Precondition::None;
    }
    // Steps 1 and 2: the date counts only where there is no `If-Match`.
    let holds = if request.contains(&IF_MATCH) {
        lists_stored(request, &IF_MATCH, stored, strong_match)
    } else {
        unmodified_since(request, stored)
    };
    if !holds {
        return Precondition::Failed;
    }
    // Steps 3 and 4: the date counts only where there is no `If-None-Match`.
    let has_it = if request.contains(&IF_NONE_MATCH) {
        lists_stored(request, &IF_NONE_MATCH, stored, weak_match)
    } else {
        not_modified_since(request, stored)
    };
    if has_it { Precondition::NotModified } else { Precondition::None }
}

/// Whether a list of entity tags is `*` or has that of the stored response.
fn lists_stored(
    request: &dyn Fields,
    name: &HeaderName,
    stored: &dyn Fields,
    same: fn(&EntityTag<'_>, &EntityTag<'_>) -> bool,
) -> bool {
    // `*` stands alone, and a stored response is a representation that exists.
    if with_single(request, name, |value| value == b"*").unwrap_or(false) {
        return true;
    }
    with_single(stored, &ETAG, |value| {
        let Some(stored) = EntityTag::parse(value) else {
            return false;
        };
        let mut found = false;
        request.for_each(name, &mut |value| {
            found = found || entity_tags(value).any(|tag| same(&tag, &stored));
        });
        found
    })
    .unwrap_or(false)
}

/// `If-Unmodified-Since` (§13.1.4); ignored when unreadable, or when the stored response has no date
/// to compare with.
fn unmodified_since(request: &dyn Fields, stored: &dyn Fields) -> bool {
    match (single_date(request, &IF_UNMODIFIED_SINCE), single_date(stored, &LAST_MODIFIED)) {
        (Some(since), Some(modified)) => modified <= since,
        _ => true,
    }
}

/// `If-Modified-Since` (§13.1.3); ignored when unreadable. Without `Last-Modified` the `Date` of the
/// stored response serves (RFC 9111 §4.3.2).
fn not_modified_since(request: &dyn Fields, stored: &dyn Fields) -> bool {
    let Some(since) = single_date(request, &IF_MODIFIED_SINCE) else {
        return false;
    };
    let modified = if stored.contains(&LAST_MODIFIED) { &LAST_MODIFIED } else { &DATE };
    single_date(stored, modified).is_some_and(|modified| modified <= since)
}

/// Whether `Last-Modified` can be trusted to tell two versions apart (§8.8.2.2): the response was
/// generated at least a second later.
pub(crate) fn is_strong_date(stored: &dyn Fields) -> bool {
    let (Some(modified), Some(date)) =
        (single_date(stored, &LAST_MODIFIED), single_date(stored, &DATE))
    else {
        return false;
    };
    date.duration_since(modified).is_ok_and(|between| between >= Duration::from_secs(1))
}

/// The conditions by which the origin server can confirm a stored response (RFC 9111 §4.3.1): its
/// entity tag in `If-None-Match`, its modification date in `If-Modified-Since`, both as they came.
/// Empty where it has neither.
pub fn conditions(stored: &dyn Fields) -> Vec<(HeaderName, HeaderValue)> {
    let mut conditions = Vec::with_capacity(2);
    let tag = with_single(stored, &ETAG, |value| {
        EntityTag::parse(value).and_then(|_| HeaderValue::from_bytes(value).ok())
    });
    conditions.extend(tag.flatten().map(|value| (IF_NONE_MATCH, value)));
    let modified = with_single(stored, &LAST_MODIFIED, |value| {
        http_date(value).and_then(|_| HeaderValue::from_bytes(value).ok())
    });
    conditions.extend(modified.flatten().map(|value| (IF_MODIFIED_SINCE, value)));
    conditions
}

/// Whether a response can be validated later: it has an entity tag or a modification date.
pub fn has_validator(response: &dyn Fields) -> bool {
    with_single(response, &ETAG, |value| EntityTag::parse(value).is_some()).unwrap_or(false)
        || single_date(response, &LAST_MODIFIED).is_some()
}

/// Whether a 304 speaks of this stored response (RFC 9111 §4.3.4). If not, the stored response must
/// not be updated and the request goes out again without conditions.
///
/// A 304 without validators is taken at its word: we asked about one stored response.
pub fn confirms(stored: &dyn Fields, not_modified: &dyn Fields) -> bool {
    if not_modified.count(&ETAG) == 1 && stored.contains(&ETAG) {
        return same_tag(stored, not_modified) == Some(true);
    }
    same_date(stored, not_modified) != Some(false)
}

/// Whether a new entity tag is that of the stored response: a strong one by strong comparison, a weak
/// one by weak (RFC 9111 §4.3.4). `None` where one of them has none, or several.
fn same_tag(stored: &dyn Fields, new: &dyn Fields) -> Option<bool> {
    with_single(new, &ETAG, |new| {
        with_single(stored, &ETAG, |old| match (EntityTag::parse(new), EntityTag::parse(old)) {
            (Some(new), Some(old)) if new.weak => new.weak_match(&old),
            (Some(new), Some(old)) => new.strong_match(&old),
            _ => new == old,
        })
    })
    .flatten()
}

/// Whether a new modification date is that of the stored response. `None` where one of them has none,
/// or several.
fn same_date(stored: &dyn Fields, new: &dyn Fields) -> Option<bool> {
    with_single(new, &LAST_MODIFIED, |new| {
        with_single(stored, &LAST_MODIFIED, |old| match (http_date(new), http_date(old)) {
            (Some(new), Some(old)) => new == old,
            _ => new == old,
        })
    })
    .flatten()
}

/// Finds the stored response that a 304 speaks of (RFC 9111 §4.3.4), among those whose validators
/// were sent. Of several the most recent counts.
///
/// A strong entity tag has to be matched by a strong one, a weak one by any. Where one side has no tag
/// `Last-Modified` decides, and a 304 with a tag goes by it only where it is strong (RFC 9110
/// §8.8.2.2). A 304 without validators selects where there is no choice.
pub fn select(stored: &[&dyn Fields], not_modified: &dyn Fields) -> Option<usize> {
    let tagged = not_modified.contains(&ETAG);
    if !tagged && !not_modified.contains(&LAST_MODIFIED) {
        return (stored.len() == 1).then_some(0);
    }
    let dated = |stored: &dyn Fields| same_date(stored, not_modified) == Some(true);
    stored
        .iter()
        .enumerate()
        .filter_map(|(at, stored)| {
            let by_tag = tagged && stored.contains(&ETAG);
            let matches = if by_tag {
                same_tag(stored, not_modified) == Some(true)
            } else {
                dated(stored) && (!tagged || is_strong_date(stored))
            };
            matches.then(|| (by_tag, date(stored), at))
        })
        .max()
        .map(|(_, _, at)| at)
}

/// What the answer to a HEAD means for a stored response to GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadUpdate {
    /// It is the same version: update its fields.
    Updates,
    /// It is another version: the stored response is stale.
    Invalidates,
    /// There is nothing to tell by.
    Nothing,
}

/// Compares a 200 answer to HEAD with a stored response to GET that could have been chosen for the
/// same request and has `stored_length` bytes (RFC 9111 §4.3.5).
///
/// An answer without validators would update by the letter of the RFC. Equal lengths alone prove
/// little, so that it leaves the stored response as it is.
pub fn head_confirms(stored: &dyn Fields, stored_length: u64, head: &dyn Fields) -> HeadUpdate {
    let length = head
        .contains(&CONTENT_LENGTH)
        .then(|| with_single(head, &CONTENT_LENGTH, length).flatten() == Some(stored_length));
    let tag = head.contains(&ETAG).then(|| same_tag(stored, head) == Some(true));
    let date = head.contains(&LAST_MODIFIED).then(|| same_date(stored, head) == Some(true));
    if [length, tag, date].contains(&Some(false)) {
        HeadUpdate::Invalidates
    } else if tag.or(date).is_some() {
        HeadUpdate::Updates
    } else {
        HeadUpdate::Nothing
    }
}

/// Digits alone, and no more than fit.
fn length(value: &[u8]) -> Option<u64> {
    value.iter().all(u8::is_ascii_digit).then_some(())?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Replaces the fields of a stored response by those of the 304 that confirmed it (RFC 9111 §3.2).
///
/// Left as they are: what describes the stored content (its length, range and coding), fields of one
/// hop, and `Set-Cookie`, which belongs to the visitor whose request did the validation. An `Age` or
/// `Date` that the 304 does not repeat is removed, for it told of the older response.
pub fn update_stored(stored: &mut HeaderMap, not_modified: &HeaderMap) {
    let hop_by_hop = hop_by_hop(not_modified);
    stored.remove(AGE);
    stored.remove(DATE);
    for name in not_modified.keys() {
        if KEPT.contains(name) || hop_by_hop.contains(name) {
            continue;
        }
        stored.remove(name);
        for value in not_modified.get_all(name) {
            // Fails only beyond 32,768 fields, and then the stored response does without.
            let _ = stored.try_append(name.clone(), value.clone());
        }
    }
}

const KEPT: [HeaderName; 4] = [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, SET_COOKIE];

#[cfg(test)]
mod tests;
