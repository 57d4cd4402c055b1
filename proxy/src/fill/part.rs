//! Parts of responses (RFC 9111 §3.3, §3.4): of what is too large to be stored as a whole, a part that a
//! visitor wants is fetched, stored and shared like a whole response; of what broke off, the beginning is
//! kept and only the rest is asked for.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{
    HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE, VIA},
};
use http_caching::{ContentRange, Fields, RangeOutcome};
use pingora_http::{RequestHeader, ResponseHeader};

use super::{
    Order,
    ask::{Answer, content_length},
    body,
    body::Plan,
    fetch::Task,
    flight::{Head, Stage},
    request,
};
use crate::cache::{
    Store, Stored,
    head::{field_map, stored_header},
    parts::Partial,
    stored::Judged,
};

/// A part that a visitor wants, both positions included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    first: u64,
    last: u64,
}

impl Wanted {
    /// What a request wants, if it is one part with both ends named and no larger than this.
    pub(super) fn of(order: &Order, most: u64) -> Option<Self> {
        let fields = &order.fields;
        if order.method != Method::GET || fields.contains_key(IF_RANGE) {
            return None;
        }
        match http_caching::range(&Method::GET, fields, fields, u64::MAX) {
            // The last bytes of something whose length nobody knows lie beyond all others.
            RangeOutcome::Part { first, last } if last - first < most && last < u64::MAX / 2 => {
                Some(Self { first, last })
            }
            _ => None,
        }
    }

    /// The key of its flight.
    pub(super) fn key(self, whole: &[u8]) -> Vec<u8> {
        let mut key = whole.to_vec();
        key.push(0xfe);
        key.extend_from_slice(&self.first.to_be_bytes());
        key.extend_from_slice(&self.last.to_be_bytes());
        key
    }

    pub(super) fn ask(self, header: &mut RequestHeader) {
        let range = format!("bytes={}-{}", self.first, self.last);
        // Digits are always a valid value.
        let _ = header.insert_header(RANGE, range);
    }
}

/// Asks only for what is missing of a response whose beginning is here.
pub(super) fn ask_for_rest(store: &Store, key: &[u8], header: &mut RequestHeader) {
    let Some(partial) = store.parts.get(key) else {
        return;
    };
    if partial.complete > store.max_object() || !store.purges.lets_stand(&partial.stored) {
        return;
    }
    let (Some(beginning), Some(validator)) =
        (partial.beginning(), validator(&partial.stored.fields()))
    else {
        return;
    };
    let _ = header.insert_header(RANGE, format!("bytes={}-", beginning.len()));
    let _ = header.insert_header(IF_RANGE, validator);
}

/// The strong validator of a response that parts were kept of.
fn validator(fields: &dyn Fields) -> Option<HeaderValue> {
    let name = if fields.contains(&ETAG) {
        ETAG
    } else {
        LAST_MODIFIED
    };
    let mut validator = None;
    fields.for_each(&name, &mut |value| {
        validator = HeaderValue::from_bytes(value).ok()
    });
    validator
}

/// Whether an answer is the rest of what is here; then the header of the whole and its beginning.
pub(super) fn completes(
    task: &Task,
    answer: &Answer,
) -> Option<(ResponseHeader, Bytes, Arc<Partial>)> {
    let partial = task.shared().store.parts.get(&task.flight.key)?;
    let beginning = partial.beginning()?;
    let header = &answer.header;
    let range = ContentRange::parse(header.headers.get(CONTENT_RANGE)?.as_bytes())?;
    let fits = range.first == beginning.len() as u64
        && range.complete == Some(partial.complete)
        && range.last + 1 == partial.complete
        && has_length(header, &range)
        && task.shared().store.purges.lets_stand(&partial.stored)
        && http_caching::combines(&partial.stored.fields(), &header.headers);
    if !fits {
        return None;
    }
    // The stored fields, brought up to date by those of the part (RFC 9111 §3.4).
    let mut fields = field_map(&partial.stored.head());
    fields.remove(VIA);
    http_caching::update_stored(&mut fields, &header.headers);
    let mut whole = ResponseHeader::build_no_case(StatusCode::OK, Some(fields.len())).ok()?;
    for (name, value) in &fields {
        whole.append_header(name.clone(), value.clone()).ok()?;
    }
    Some((of_whole(&whole, partial.complete), beginning, partial))
}

/// Whether a part's own length, where it tells one, is that of its range.
pub(super) fn has_length(part: &ResponseHeader, range: &ContentRange) -> bool {
    content_length(part).is_none_or(|length| length == range.last - range.first + 1)
}

/// The header of the whole response that a 206 is a part of.
fn of_whole(part: &ResponseHeader, complete: u64) -> ResponseHeader {
    let mut header = part.clone();
    // A status and an integer that are always valid.
    let _ = header.set_status(StatusCode::OK);
    header.remove_header(&CONTENT_RANGE);
    let _ = header.insert_header(CONTENT_LENGTH, complete);
    header
}

/// The head under which parts of a response are kept.
fn head_of(key: &[u8], header: &ResponseHeader, complete: u64, judged: Judged) -> Stored {
    let header = stored_header(
        header,
        Some(complete),
        &judged.rules.excluded,
        judged.response_time,
    );
    Stored::new(key, &header, Some(&[]), 0, judged)
}

/// Keeps what has come of a response that broke off, if the rest can be told to be of the same version.
pub(super) fn keep_beginning(task: &Task, plan: &Plan, arrived: u64) {
    let fields = &plan.header.headers;
    let Some(complete) = plan
        .length
        .filter(|length| arrived > 0 && arrived < *length)
    else {
        return;
    };
    if plan.header.status != StatusCode::OK || !http_caching::combines(fields, fields) {
        return;
    }
    let bytes = Bytes::from(task.flight.pieces().concat());
    let stored = head_of(&plan.key, &plan.header, complete, plan.judged.clone());
    let store = &task.shared().store;
    let partial = Partial::new(stored, complete, 0, bytes);
    store.parts.put(partial, &store.purges);
}

/// A part that a visitor wanted has come.
pub(super) async fn take(task: &Task, answer: Answer, wanted: &Wanted, now: SystemTime) {
    let refuse = async |answer: Answer| {
        task.land(Stage::Refused);
        answer.discard(&task.filler).await;
    };
    let header = &answer.header;
    let range = header.headers.get(CONTENT_RANGE);
    let range = range.and_then(|value| ContentRange::parse(value.as_bytes()));
    let Some((range, complete)) = range.and_then(|range| Some((range, range.complete?))) else {
        return refuse(answer).await;
    };
    let whole = of_whole(header, complete);
    // What decides whether the whole may be stored decides it for its parts; and the parts have to be
    // told from those of another version.
    let judged = task.judge(&whole, None, answer.sent_at, now);
    let changes = &task.order.fetch.own.route.request_headers;
    let judged = judged.ok().filter(|judged| {
        request::significant(&judged.rules.vary, changes).is_some_and(|vary| vary.is_empty())
            && http_caching::combines(&whole.headers, &whole.headers)
    });
    let asked_for =
        range.first == wanted.first && range.last <= wanted.last && has_length(header, &range);
    let (Some(judged), true) = (judged, asked_for) else {
        return refuse(answer).await;
    };
    let age = judged.rules.age.as_secs();
    let lifetime = judged.rules.lifetimes.lifetime.as_secs();
    let header = stored_header(
        header,
        Some(range.last - range.first + 1),
        &judged.rules.excluded,
        now,
    );
    task.flight.set_stage(Stage::Arriving(Arc::new(Head {
        header,
        length: Some(range.last - range.first + 1),
        vary: Vec::new(),
        stamp: judged.stamp.clone(),
        is_stored: true,
        ttl: i64::try_from(lifetime).unwrap_or(i64::MAX) - i64::try_from(age).unwrap_or(0),
        age,
    })));
    let stored = head_of(&task.order.fetch.key, &whole, complete, judged);
    let length = range.last - range.first + 1;
    if let Some(bytes) = body::collect(task, answer, length).await {
        let store = &task.shared().store;
        let partial = Partial::new(stored, complete, range.first, bytes);
        store.parts.put(partial, &store.purges);
    }
}
