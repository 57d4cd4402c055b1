//! An answer of the store on its way out of a door: which of the stored fields go along, what is added,
//! and where the content comes from.

use std::{collections::VecDeque, sync::Arc, time::SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use http_caching::{Coding, Fields};

use crate::{
    admit::{state::LimitState, waiting_room::Pass},
    cache::{
        Stored,
        head::{HeadFields, goes_with_not_modified, put_field, put_head},
        status::Outcome,
    },
    edge::{Answer, Hit, Scheme},
    fill::{
        content::Content,
        flight::{Broken, Head},
    },
    random,
    respond::{
        dress::{Dress, Lines},
        hsts::{Hsts, STRICT_TRANSPORT_SECURITY, is_hsts},
    },
    snapshot::Route,
};

/// An answer of the store.
pub(super) struct Outgoing<'a> {
    /// Status line and stored fields in HTTP/1.1's form.
    pub(super) head: Bytes,
    /// The stored status.
    pub(super) stored_status: u16,
    /// Bytes of the whole content; not known before the end of some that are still arriving.
    pub(super) length: Option<u64>,
    /// Which part of it is asked for.
    pub(super) answer: Answer,
    /// Whole, whatever is asked for; see [`Outgoing::narrow`].
    pub(super) content: Content,
    /// Seconds; absent where the shop has answered this very request (RFC 9111 §5.1).
    pub(super) age: Option<u64>,
    pub(super) ttl: Option<i64>,
    pub(super) outcome: Outcome,
    pub(super) limit: Option<&'a LimitState>,
    /// The visitor's pass.
    pub(super) room: Option<&'a Pass>,
    /// The cache key, for operators.
    pub(super) key: Option<String>,
    parts: Option<PutTogether>,
    /// Bytes of content that the stored fields do not tell.
    pub(super) counted: Option<u64>,
    /// What browsers are told of TLS, in the place of what the shop said.
    hsts: Option<Hsts>,
    /// The stored fields have something to say of it.
    has_own_hsts: bool,
    /// What its route changes, see [`Outgoing::narrow`].
    pub(super) lines: Option<&'a Lines>,
    /// A field of the stored head does not go along.
    is_stripped: bool,
}

/// Several parts, as one body.
struct PutTogether {
    boundary: String,
    /// Bytes of the body.
    length: u64,
}

impl<'a> Outgoing<'a> {
    /// From memory.
    pub(super) fn of_hit(hit: &'a Hit) -> Self {
        let (head, content) = hit.stored.form(hit.coding);
        Self {
            length: Some(content.len() as u64),
            head,
            stored_status: hit.stored.status(),
            answer: hit.answer.clone(),
            content: Content::Memory(content),
            age: Some(hit.age),
            ttl: Some(hit.ttl),
            outcome: hit.outcome,
            limit: hit.limit.as_ref(),
            room: hit.room.as_deref(),
            key: None,
            parts: None,
            counted: None,
            hsts: None,
            has_own_hsts: hit.stored.has_hsts(),
            lines: None,
            is_stripped: false,
        }
    }

    /// Of what is stored, after a fetch.
    pub(super) fn of_stored(
        stored: &Stored,
        coding: Option<Coding>,
        content: Content,
        answer: Answer,
        outcome: Outcome,
        limit: Option<&'a LimitState>,
        now: SystemTime,
    ) -> Self {
        let length = match &content {
            Content::Memory(content) if !stored.is_on_disk() => content.len() as u64,
            _ => stored.content_length(),
        };
        Self {
            head: stored.form(coding).0,
            stored_status: stored.status(),
            length: Some(length),
            answer,
            content,
            age: told_age(stored.age(now).as_secs(), outcome),
            ttl: Some(stored.ttl(now)),
            outcome,
            limit,
            room: None,
            key: None,
            parts: None,
            counted: None,
            hsts: None,
            has_own_hsts: stored.has_hsts(),
            lines: None,
            is_stripped: false,
        }
    }

    /// Of what is arriving.
    pub(super) fn of_arriving(
        head: &Head,
        content: Content,
        answer: Answer,
        outcome: Outcome,
        limit: Option<&'a LimitState>,
    ) -> Self {
        let mut bytes = BytesMut::with_capacity(512);
        put_head(&mut bytes, &head.header);
        Self {
            head: bytes.freeze(),
            stored_status: head.header.status.as_u16(),
            length: head.length,
            answer,
            content,
            age: told_age(head.age, outcome),
            ttl: head.is_stored.then_some(head.ttl),
            outcome,
            limit,
            room: None,
            key: None,
            parts: None,
            counted: None,
            hsts: None,
            has_own_hsts: head.header.headers.contains_key(STRICT_TRANSPORT_SECURITY),
            lines: None,
            is_stripped: false,
        }
    }

    /// Says of TLS what the route says, where there is TLS.
    pub(super) fn over(&mut self, scheme: Scheme, route: &Route) {
        self.hsts = route.hsts.filter(|_| scheme == Scheme::Https);
    }

    /// What browsers are told of TLS.
    pub(super) fn hsts(&self) -> Option<Hsts> {
        self.hsts
    }

    /// Takes what is asked for out of the content, and settles what is said of it. Several parts are put
    /// together where all of it lies in memory; else the whole is sent, which is always allowed. What the route changes
    /// comes last, because the status has a say in it.
    pub(super) fn narrow(&mut self, dress: &'a Dress) {
        self.narrow_content();
        self.dress(dress);
    }

    /// The last of it alone, where the content is no more than what is asked for.
    pub(super) fn dress(&mut self, dress: &'a Dress) {
        self.lines = dress.lines(self.status());
        let head = HeadFields(&self.head);
        self.is_stripped = self.lines.is_some_and(|lines| lines.removes_any_of(head));
    }

    fn narrow_content(&mut self) {
        if let Answer::Parts(parts) = &self.answer {
            if let Content::Memory(content) = &self.content {
                let boundary = format!("dhal{:016x}", random::next());
                let content_type = content_type(&self.head);
                let pieces = multipart(content, parts, &content_type, &boundary);
                let length = pieces.iter().map(|piece| piece.len() as u64).sum();
                self.parts = Some(PutTogether { boundary, length });
                self.content = Content::Pieces(pieces);
                return;
            }
            self.answer = Answer::Whole;
        }
        match self.answer {
            Answer::Part { first, last } => self.content.limit(first, last),
            Answer::NotModified | Answer::RangeNotSatisfiable => self.content = Content::empty(),
            Answer::Whole | Answer::Parts(_) => {}
        }
    }

    /// Whether the stored head goes in front as it lies there.
    pub(super) fn has_stored_head(&self) -> bool {
        let has_other_hsts = self.has_own_hsts && self.hsts.is_some();
        matches!(self.answer, Answer::Whole) && !self.is_stripped && !has_other_hsts
    }

    /// Finds out how long content of unknown length is, where that is no more than `most`, before any of it
    /// is sent.
    pub(super) async fn count(&mut self, most: u64) -> Result<(), Broken> {
        if !self.has_known_end() {
            self.counted = self.content.gather(most).await?;
            self.length = self.counted;
        }
        Ok(())
    }

    /// Status code.
    pub(super) fn status(&self) -> u16 {
        match self.answer {
            Answer::Whole => self.stored_status,
            Answer::Part { .. } | Answer::Parts(_) => 206,
            Answer::NotModified => 304,
            Answer::RangeNotSatisfiable => 416,
        }
    }

    /// Whether a stored field goes along.
    pub(super) fn keeps(&self, name: &[u8]) -> bool {
        if self.hsts.is_some() && is_hsts(name) {
            return false;
        }
        if self.is_stripped && self.lines.is_some_and(|lines| lines.removes(name)) {
            return false;
        }
        match self.answer {
            Answer::Whole => true,
            Answer::Part { .. } => name != b"content-length",
            Answer::Parts(_) => name != b"content-length" && name != b"content-type",
            Answer::NotModified | Answer::RangeNotSatisfiable => goes_with_not_modified(name),
        }
    }

    /// Fields that say which part of the content this is.
    pub(super) fn added(&self) -> Vec<(&'static str, String)> {
        let complete = self.length.unwrap_or_default();
        match (&self.answer, &self.parts) {
            (Answer::Part { first, last }, _) => vec![
                ("content-range", format!("bytes {first}-{last}/{complete}")),
                ("content-length", (last - first + 1).to_string()),
            ],
            (Answer::Parts(_), Some(parts)) => vec![
                (
                    "content-type",
                    format!("multipart/byteranges; boundary={}", parts.boundary),
                ),
                ("content-length", parts.length.to_string()),
            ],
            (Answer::RangeNotSatisfiable, _) => vec![
                ("content-range", format!("bytes */{complete}")),
                ("content-length", "0".to_owned()),
            ],
            _ => Vec::new(),
        }
    }

    /// Bytes of content that a client is told to expect; `None` where it learns the end from the end.
    pub(super) fn announced(&self) -> Option<u64> {
        match &self.answer {
            Answer::Whole if matches!(self.stored_status, 204 | 304) => Some(0),
            Answer::Whole => self.length,
            Answer::Part { first, last } => Some(last - first + 1),
            Answer::Parts(_) => self.parts.as_ref().map(|parts| parts.length),
            Answer::NotModified | Answer::RangeNotSatisfiable => Some(0),
        }
    }

    /// Whether the end of the content is known beforehand.
    pub(super) fn has_known_end(&self) -> bool {
        self.announced().is_some()
    }
}

/// An answer that this request has brought about is as old as the shop said, if it said so.
fn told_age(age: u64, outcome: Outcome) -> Option<u64> {
    let own = matches!(
        outcome,
        Outcome::Revalidated(_)
            | Outcome::Forwarded {
                collapsed: false,
                ..
            }
    );
    (age > 0 || !own).then_some(age)
}

fn content_type(head: &Bytes) -> Vec<u8> {
    let mut content_type = b"application/octet-stream".to_vec();
    HeadFields(head).for_each(&http::header::CONTENT_TYPE, &mut |value| {
        content_type = value.to_vec();
    });
    content_type
}

/// `multipart/byteranges` (RFC 9110 §14.6). The parts stay where they are; a slow client holds on to
/// nothing but what the store has anyway.
fn multipart(
    content: &Bytes,
    parts: &[(u64, u64)],
    content_type: &[u8],
    boundary: &str,
) -> VecDeque<Bytes> {
    let mut pieces = VecDeque::with_capacity(2 * parts.len() + 1);
    let mut heads = BytesMut::with_capacity((parts.len() + 1) * 160);
    for (first, last) in parts {
        heads.put_slice(b"\r\n--");
        heads.put_slice(boundary.as_bytes());
        heads.put_slice(b"\r\n");
        put_field(&mut heads, "content-type", content_type);
        let range = format!("bytes {first}-{last}/{}", content.len());
        put_field(&mut heads, "content-range", range.as_bytes());
        heads.put_slice(b"\r\n");
        pieces.push_back(heads.split().freeze());
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
        pieces.push_back(content.slice(place(*first)..place(last.saturating_add(1))));
    }
    heads.put_slice(b"\r\n--");
    heads.put_slice(boundary.as_bytes());
    heads.put_slice(b"--\r\n");
    pieces.push_back(heads.freeze());
    pieces
}

/// What an answer to this request of what is arriving is.
pub(super) fn answer_of(method: &http::Method, request: &dyn Fields, head: &Arc<Head>) -> Answer {
    let fields = &head.header.headers;
    let status = head.header.status.as_u16();
    let answer = crate::edge::decide::answer(
        method,
        request,
        status,
        fields,
        // Without a length no range can be told to lie within it.
        head.length.unwrap_or(u64::MAX),
    );
    match answer {
        Answer::NotModified => Answer::NotModified,
        other if head.length.is_some() => other,
        _ => Answer::Whole,
    }
}
