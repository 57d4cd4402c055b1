//! A stored response, in one piece of memory and ready to be sent.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use http_caching::{Coding, Lifetimes, Storable};
use pingora_http::ResponseHeader;

use super::{
    compress::Encoded,
    head::{HeadFields, put_head},
    purge::Stamp,
};

/// What an entry costs in memory beyond its key, head and content: the struct, the map's books, the
/// allocator's rounding. Measured by `benches/store.py`.
const OVERHEAD: usize = 512;

/// A response as it was stored, with the arithmetic of its freshness. Key, head and content lie behind
/// each other in one allocation, because a million small responses should cost little beyond their bytes.
pub struct Stored {
    data: Bytes,
    key_len: u32,
    head_len: u32,
    content_length: u64,
    status: u16,
    flags: u8,
    lifetime: u32,
    stale_while_revalidate: u32,
    stale_if_error: u32,
    /// Milliseconds since 1970.
    response_time: u64,
    /// Which content it is: a number drawn when that came, which validations do not change.
    born: u64,
    /// Milliseconds.
    initial_age: u64,
    /// What purges it.
    pub stamp: Stamp,
    /// The purge step up to which it is known to stand; see [`super::purge`].
    pub(super) checked: AtomicU64,
    /// Since when an operator calls it stale, in milliseconds since 1970; 0 where nobody does.
    pub(super) soft_since: AtomicU64,
    /// Answers it gave.
    hits: AtomicU32,
    /// No refresh before this moment, in milliseconds since 1970.
    not_before: AtomicU64,
    encoded: Option<Box<Encoded>>,
}

const ALWAYS_VALIDATE: u8 = 1;
const MAY_BE_STALE: u8 = 2;
const SHARED_WITH_CREDENTIALS: u8 = 4;
const ON_DISK: u8 = 8;
const TOLD_ASIDE: u8 = 16;

/// The judgement of the rules on a response, with what places it in the store.
#[derive(Clone, Debug)]
pub struct Judged {
    /// By `http-caching`.
    pub rules: Storable,
    /// When its head arrived.
    pub response_time: SystemTime,
    /// What purges it.
    pub stamp: Stamp,
    /// Its lifetimes come from a field that is not stored.
    pub is_told_aside: bool,
}

impl Stored {
    /// Composes what is stored. `header` comes from [`super::head::stored_header`]; `content` is `None` where it
    /// lies on disk only.
    pub fn new(
        key: &[u8],
        header: &ResponseHeader,
        content: Option<&[Bytes]>,
        content_length: u64,
        judged: Judged,
    ) -> Self {
        let mut head = BytesMut::with_capacity(512);
        put_head(&mut head, header);
        Self::from_head(
            key,
            &head,
            header.status.as_u16(),
            content,
            content_length,
            judged,
        )
    }

    /// The same with a head that is composed already.
    pub fn from_head(
        key: &[u8],
        head: &[u8],
        status: u16,
        content: Option<&[Bytes]>,
        content_length: u64,
        judged: Judged,
    ) -> Self {
        let Judged {
            rules,
            response_time,
            stamp,
            is_told_aside,
        } = judged;
        let pieces = content.unwrap_or_default();
        // Exactly as large as needed, so that what the weigher counts is what memory holds.
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let mut data = Vec::with_capacity(key.len() + head.len() + length);
        data.extend_from_slice(key);
        data.extend_from_slice(head);
        for piece in pieces {
            data.extend_from_slice(piece);
        }
        let mut flags = 0;
        for (set, flag) in [
            (rules.lifetimes.always_validate, ALWAYS_VALIDATE),
            (rules.lifetimes.may_be_stale, MAY_BE_STALE),
            (rules.shared_with_credentials, SHARED_WITH_CREDENTIALS),
            (content.is_none(), ON_DISK),
            (is_told_aside, TOLD_ASIDE),
        ] {
            if set {
                flags |= flag;
            }
        }
        Self {
            data: Bytes::from(data.into_boxed_slice()),
            key_len: clamp(key.len() as u64),
            head_len: clamp(head.len() as u64),
            content_length,
            status,
            flags,
            lifetime: clamp(rules.lifetimes.lifetime.as_secs()),
            stale_while_revalidate: clamp(rules.lifetimes.stale_while_revalidate.as_secs()),
            stale_if_error: clamp(rules.lifetimes.stale_if_error.as_secs()),
            response_time: millis(response_time),
            born: crate::random::next(),
            initial_age: u64::try_from(rules.age.as_millis()).unwrap_or(u64::MAX),
            checked: AtomicU64::new(stamp.seq),
            stamp,
            soft_since: AtomicU64::new(0),
            hits: AtomicU32::new(0),
            not_before: AtomicU64::new(0),
            encoded: None,
        }
    }

    /// The same response with compressed forms of its content.
    pub fn with_encoded(&self, encoded: Encoded) -> Self {
        Self {
            data: self.data.clone(),
            stamp: self.stamp.clone(),
            checked: AtomicU64::new(self.checked.load(Ordering::Relaxed)),
            soft_since: AtomicU64::new(self.soft_since.load(Ordering::Relaxed)),
            hits: AtomicU32::new(self.hits.load(Ordering::Relaxed)),
            not_before: AtomicU64::new(self.not_before.load(Ordering::Relaxed)),
            encoded: Some(Box::new(encoded)),
            ..*self
        }
    }

    /// The same response with the content of an earlier one.
    pub fn with_born(self, born: u64) -> Self {
        Self { born, ..self }
    }

    /// Which content it is: two versions never share this number, a response that was validated keeps it.
    pub fn born(&self) -> u64 {
        self.born
    }

    /// The key it stands under, that of its variant where it varies.
    pub fn key(&self) -> &[u8] {
        self.data.get(..self.key_len as usize).unwrap_or_default()
    }

    /// Status line and fields in HTTP/1.1's form, up to where the fields that differ from answer to
    /// answer begin.
    pub fn head(&self) -> Bytes {
        let start = self.key_len as usize;
        self.data.slice(start..start + self.head_len as usize)
    }

    /// The content, where it lies in memory; else empty.
    pub fn content(&self) -> Bytes {
        self.data
            .slice(self.key_len as usize + self.head_len as usize..)
    }

    /// Whether the content lies on disk only.
    pub fn is_on_disk(&self) -> bool {
        self.flags & ON_DISK != 0
    }

    /// Whether its lifetimes come from a field that is not stored, because it is for caches like us.
    pub fn is_told_aside(&self) -> bool {
        self.flags & TOLD_ASIDE != 0
    }

    /// Bytes of content, before any compression.
    pub fn content_length(&self) -> u64 {
        self.content_length
    }

    /// The compressed forms.
    pub fn encoded(&self) -> Option<&Encoded> {
        self.encoded.as_deref()
    }

    /// Head and content in this coding, as far as there is one.
    pub fn form(&self, coding: Option<Coding>) -> (Bytes, Bytes) {
        let encoded = coding.and_then(|coding| self.encoded()?.form(coding));
        match encoded {
            Some((head, content)) => (head.clone(), content.clone()),
            None => (self.head(), self.content()),
        }
    }

    /// Status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Fields, for the rules.
    pub fn fields(&self) -> HeadFields<'_> {
        let start = self.key_len as usize;
        let head = self.data.get(start..start + self.head_len as usize);
        HeadFields(head.unwrap_or_default())
    }

    /// When it arrived or was last validated.
    pub fn response_time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.response_time)
    }

    /// Its age when it arrived.
    pub fn initial_age(&self) -> Duration {
        Duration::from_millis(self.initial_age)
    }

    /// How long it is of use.
    pub fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            lifetime: Duration::from_secs(u64::from(self.lifetime)),
            stale_while_revalidate: Duration::from_secs(u64::from(self.stale_while_revalidate)),
            stale_if_error: Duration::from_secs(u64::from(self.stale_if_error)),
            always_validate: self.flags & ALWAYS_VALIDATE != 0,
            may_be_stale: self.flags & MAY_BE_STALE != 0,
        }
    }

    /// Whether the origin allows it to answer requests with credentials (RFC 9111 §3.5).
    pub fn is_shared_with_credentials(&self) -> bool {
        self.flags & SHARED_WITH_CREDENTIALS != 0
    }

    /// Current age (RFC 9111 §4.2.3). A clock that went back counts as no time passed.
    pub fn age(&self, now: SystemTime) -> Duration {
        let resident = millis(now).saturating_sub(self.response_time);
        http_caching::current_age(self.initial_age(), Duration::from_millis(resident))
    }

    /// Freshness that is left, in whole seconds; negative once it is stale (`ttl` of RFC 9211 §2.6).
    pub fn ttl(&self, now: SystemTime) -> i64 {
        let whole = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        whole(u64::from(self.lifetime)).saturating_sub(whole(self.age(now).as_secs()))
    }

    /// How long an operator has called it stale.
    pub fn purged_softly(&self, now: SystemTime) -> Option<Duration> {
        match self.soft_since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(Duration::from_millis(millis(now).saturating_sub(since))),
        }
    }

    /// Counts an answer; returns how many there were.
    pub fn count_hit(&self) -> u32 {
        // Beyond a few nobody looks at the number, and a shared line that is not written costs nothing.
        let hits = self.hits.load(Ordering::Relaxed);
        if hits < POPULAR {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        hits
    }

    /// Whether so many visitors asked for it that it is refreshed before it expires.
    pub fn is_popular(&self) -> bool {
        self.hits.load(Ordering::Relaxed) >= POPULAR
    }

    /// Whether a refresh has failed just now.
    pub fn rests(&self, now: SystemTime) -> bool {
        let left = self
            .not_before
            .load(Ordering::Relaxed)
            .saturating_sub(millis(now));
        // More than any pause is left only where the clock went back.
        left > 0 && u128::from(left) <= REST_MAX.as_millis()
    }

    /// No refresh for so long, at most a minute.
    pub fn rest(&self, now: SystemTime, pause: Duration) {
        self.not_before
            .store(millis(now + pause.min(REST_MAX)), Ordering::Relaxed);
    }

    /// Bytes it takes in memory.
    pub fn weight(&self) -> usize {
        self.data.len() + self.encoded().map_or(0, Encoded::weight) + OVERHEAD
    }
}

/// The longest pause between attempts to refresh a response.
const REST_MAX: Duration = Duration::from_secs(60);

/// Visitors within one lifetime that make a response worth refreshing early.
const POPULAR: u32 = 8;

fn clamp(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Milliseconds since 1970.
pub fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
