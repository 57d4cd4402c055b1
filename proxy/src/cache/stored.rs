//! A stored response, in one piece of memory and ready to be sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Buf, Bytes, BytesMut};
use http_caching::{Coding, Lifetimes, Storable};
use object_table::Object;
use pingora_http::ResponseHeader;

use super::{
    compress::Encoded,
    head::{HeadFields, put_head},
    purge::Stamp,
    store::Variation,
};
use crate::respond::hsts::is_hsts;

/// What the table keeps of an entry beside it: slots of the index of which a quarter to a half is free, a
/// node of a queue, and the memory of what left. Measured by `benches/store.py`.
const BOOKS: usize = 64;
/// Content up to which key, head and content lie behind each other in one piece with the facts. More lies
/// beside them, so that a form that shares it need not copy it; among so many bytes one place more to look
/// does not count.
const INLINE_MAX: usize = 16 * 1024;

/// A response as it was stored, with the arithmetic of its freshness, shared by all who hold it. It lies in
/// one allocation, because a million small responses should cost little beyond their bytes, and a hit among
/// them should wait for memory as seldom as may be.
#[derive(Clone)]
pub struct Stored(pub(super) Object<Facts>);

/// What is known of it.
pub(super) struct Facts {
    told: Told,
    /// What purges it.
    stamp: Stamp,
    /// The purge step up to which it is known to stand; see [`super::purge`].
    pub(super) checked: AtomicU64,
    /// Since when an operator calls it stale, in milliseconds since 1970; 0 where nobody does.
    pub(super) soft_since: AtomicU64,
    /// Answers it gave.
    hits: AtomicU32,
    /// No refresh before this moment, in milliseconds since 1970.
    not_before: AtomicU64,
    beside: Option<Box<Beside>>,
}

/// The part that does not change.
#[derive(Clone, Copy)]
struct Told {
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
}

/// What few have.
#[derive(Clone, Default)]
struct Beside {
    /// The content, where it is large.
    content: Option<Bytes>,
    encoded: Option<Encoded>,
    /// It is no response, but says what the responses to its URI vary on.
    varies: Option<Arc<Variation>>,
}

impl Clone for Facts {
    fn clone(&self) -> Self {
        let load = |number: &AtomicU64| AtomicU64::new(number.load(Ordering::Relaxed));
        Self {
            told: self.told,
            stamp: self.stamp.clone(),
            checked: load(&self.checked),
            soft_since: load(&self.soft_since),
            hits: AtomicU32::new(self.hits.load(Ordering::Relaxed)),
            not_before: load(&self.not_before),
            beside: self.beside.clone(),
        }
    }
}

fn has_hsts(head: &[u8]) -> bool {
    HeadFields(head).lines().any(|(name, _)| is_hsts(name))
}

const ALWAYS_VALIDATE: u8 = 1;
const MAY_BE_STALE: u8 = 2;
const SHARED_WITH_CREDENTIALS: u8 = 4;
const ON_DISK: u8 = 8;
const TOLD_ASIDE: u8 = 16;
const HAS_HSTS: u8 = 32;

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
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let is_inline = length <= INLINE_MAX;
        let mut bytes = Vec::with_capacity(key.len() + head.len() + length);
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(head);
        let beside = if is_inline {
            for piece in pieces {
                bytes.extend_from_slice(piece);
            }
            None
        } else {
            // Exactly as large as needed, so that what it weighs is what memory holds.
            let content = Some(Bytes::from(pieces.concat().into_boxed_slice()));
            Some(Box::new(Beside {
                content,
                ..Beside::default()
            }))
        };
        let mut flags = 0;
        for (set, flag) in [
            (rules.lifetimes.always_validate, ALWAYS_VALIDATE),
            (rules.lifetimes.may_be_stale, MAY_BE_STALE),
            (rules.shared_with_credentials, SHARED_WITH_CREDENTIALS),
            (content.is_none(), ON_DISK),
            (is_told_aside, TOLD_ASIDE),
            (has_hsts(head), HAS_HSTS),
        ] {
            if set {
                flags |= flag;
            }
        }
        let told = Told {
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
        };
        Self::of(Facts::new(told, stamp, beside), &bytes)
    }

    /// What stands for a URI whose responses vary.
    pub(super) fn of_variation(variation: Arc<Variation>) -> Self {
        let told = Told {
            key_len: clamp(variation.key().len() as u64),
            head_len: 0,
            content_length: 0,
            status: 0,
            flags: 0,
            lifetime: 0,
            stale_while_revalidate: 0,
            stale_if_error: 0,
            response_time: 0,
            born: 0,
            initial_age: 0,
        };
        let key = variation.key().to_vec();
        let beside = Box::new(Beside {
            varies: Some(variation),
            ..Beside::default()
        });
        Self::of(Facts::new(told, Stamp::default(), Some(beside)), &key)
    }

    fn of(facts: Facts, bytes: &[u8]) -> Self {
        let weight = facts.weight(bytes.len());
        Self(Object::new(weight as u64, facts, bytes))
    }

    /// A copy with other facts.
    fn changed(&self, change: impl FnOnce(&mut Facts)) -> Self {
        let mut facts = self.facts().clone();
        change(&mut facts);
        Self::of(facts, self.0.bytes())
    }

    /// The same response with compressed forms of its content.
    pub fn with_encoded(&self, encoded: Encoded) -> Self {
        self.changed(|facts| {
            facts.beside.get_or_insert_default().encoded = Some(encoded);
        })
    }

    /// The same response with the content of an earlier one.
    pub fn with_born(&self, born: u64) -> Self {
        self.changed(|facts| facts.told.born = born)
    }

    /// Whether both are the same piece of memory.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.is_same(&other.0)
    }

    pub(super) fn facts(&self) -> &Facts {
        self.0.facts()
    }

    fn told(&self) -> &Told {
        &self.facts().told
    }

    fn beside(&self) -> Option<&Beside> {
        self.facts().beside.as_deref()
    }

    /// What the responses to this URI vary on, where this is no response but says so.
    pub(super) fn variation(&self) -> Option<&Arc<Variation>> {
        self.beside()?.varies.as_ref()
    }

    /// What purges it.
    pub fn stamp(&self) -> &Stamp {
        &self.facts().stamp
    }

    /// Which content it is: two versions never share this number, a response that was validated keeps it.
    pub fn born(&self) -> u64 {
        self.told().born
    }

    /// The key it stands under, that of its variant where it varies.
    pub fn key(&self) -> &[u8] {
        let key = self.0.bytes().get(..self.told().key_len as usize);
        key.unwrap_or_default()
    }

    /// Status line and fields in HTTP/1.1's form, up to where the fields that differ from answer to
    /// answer begin.
    pub fn head(&self) -> Bytes {
        self.head_and_content().0
    }

    /// The content, where it lies in memory; else empty.
    pub fn content(&self) -> Bytes {
        self.head_and_content().1
    }

    fn head_and_content(&self) -> (Bytes, Bytes) {
        let told = self.told();
        let mut head = Bytes::from_owner(Inline(self.0.clone()));
        head.advance(told.key_len as usize);
        let inline = head.split_off(told.head_len as usize);
        let content = self.beside().and_then(|beside| beside.content.clone());
        (head, content.unwrap_or(inline))
    }

    /// Whether the content lies on disk only.
    pub fn is_on_disk(&self) -> bool {
        self.told().flags & ON_DISK != 0
    }

    /// Whether its lifetimes come from a field that is not stored, because it is for caches like us.
    pub fn is_told_aside(&self) -> bool {
        self.told().flags & TOLD_ASIDE != 0
    }

    /// Whether it has `Strict-Transport-Security` of the shop.
    pub fn has_hsts(&self) -> bool {
        self.told().flags & HAS_HSTS != 0
    }

    /// Bytes of content, before any compression.
    pub fn content_length(&self) -> u64 {
        self.told().content_length
    }

    /// The compressed forms.
    pub fn encoded(&self) -> Option<&Encoded> {
        self.beside()?.encoded.as_ref()
    }

    /// Head and content in this coding, as far as there is one.
    pub fn form(&self, coding: Option<Coding>) -> (Bytes, Bytes) {
        let encoded = coding.and_then(|coding| self.encoded()?.form(coding));
        match encoded {
            Some((head, content)) => (head.clone(), content.clone()),
            None => self.head_and_content(),
        }
    }

    /// Status code.
    pub fn status(&self) -> u16 {
        self.told().status
    }

    /// Fields, for the rules.
    pub fn fields(&self) -> HeadFields<'_> {
        let start = self.told().key_len as usize;
        let end = start + self.told().head_len as usize;
        let head = self.0.bytes().get(start..end);
        HeadFields(head.unwrap_or_default())
    }

    /// When it arrived or was last validated.
    pub fn response_time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.told().response_time)
    }

    /// Its age when it arrived.
    pub fn initial_age(&self) -> Duration {
        Duration::from_millis(self.told().initial_age)
    }

    /// How long it is of use.
    pub fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            lifetime: Duration::from_secs(u64::from(self.told().lifetime)),
            stale_while_revalidate: Duration::from_secs(u64::from(
                self.told().stale_while_revalidate,
            )),
            stale_if_error: Duration::from_secs(u64::from(self.told().stale_if_error)),
            always_validate: self.told().flags & ALWAYS_VALIDATE != 0,
            may_be_stale: self.told().flags & MAY_BE_STALE != 0,
        }
    }

    /// Whether the origin allows it to answer requests with credentials (RFC 9111 §3.5).
    pub fn is_shared_with_credentials(&self) -> bool {
        self.told().flags & SHARED_WITH_CREDENTIALS != 0
    }

    /// Current age (RFC 9111 §4.2.3). A clock that went back counts as no time passed.
    pub fn age(&self, now: SystemTime) -> Duration {
        let resident = millis(now).saturating_sub(self.told().response_time);
        http_caching::current_age(self.initial_age(), Duration::from_millis(resident))
    }

    /// Freshness that is left, in whole seconds; negative once it is stale (`ttl` of RFC 9211 §2.6).
    pub fn ttl(&self, now: SystemTime) -> i64 {
        let whole = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        whole(u64::from(self.told().lifetime)).saturating_sub(whole(self.age(now).as_secs()))
    }

    /// How long an operator has called it stale.
    pub fn purged_softly(&self, now: SystemTime) -> Option<Duration> {
        match self.facts().soft_since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(Duration::from_millis(millis(now).saturating_sub(since))),
        }
    }

    /// Counts an answer; returns how many there were.
    pub fn count_hit(&self) -> u32 {
        // Beyond a few nobody looks at the number, and a shared line that is not written costs nothing.
        let hits = self.facts().hits.load(Ordering::Relaxed);
        if hits < POPULAR {
            self.facts().hits.fetch_add(1, Ordering::Relaxed);
        }
        hits
    }

    /// Answers it gave, as far as they are counted.
    pub(super) fn hits(&self) -> u32 {
        self.facts().hits.load(Ordering::Relaxed)
    }

    /// Whether so many visitors asked for it that it is refreshed before it expires.
    pub fn is_popular(&self) -> bool {
        self.facts().hits.load(Ordering::Relaxed) >= POPULAR
    }

    /// Whether a refresh has failed just now.
    pub fn rests(&self, now: SystemTime) -> bool {
        let left = self
            .facts()
            .not_before
            .load(Ordering::Relaxed)
            .saturating_sub(millis(now));
        // More than any pause is left only where the clock went back.
        left > 0 && u128::from(left) <= REST_MAX.as_millis()
    }

    /// No refresh for so long, at most a minute.
    pub fn rest(&self, now: SystemTime, pause: Duration) {
        self.facts()
            .not_before
            .store(millis(now + pause.min(REST_MAX)), Ordering::Relaxed);
    }

    /// Bytes it takes in memory.
    pub fn weight(&self) -> usize {
        usize::try_from(self.0.weight()).unwrap_or(usize::MAX)
    }
}

/// The bytes of a stored response, for those who send them.
struct Inline(Object<Facts>);

impl AsRef<[u8]> for Inline {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl Facts {
    fn new(told: Told, stamp: Stamp, beside: Option<Box<Beside>>) -> Self {
        Self {
            told,
            checked: AtomicU64::new(stamp.seq),
            stamp,
            soft_since: AtomicU64::new(0),
            hits: AtomicU32::new(0),
            not_before: AtomicU64::new(0),
            beside,
        }
    }

    /// Bytes that such a response takes in memory.
    fn weight(&self, inline: usize) -> usize {
        let piece = allocated(Object::<Self>::HEAD + inline);
        let tags = allocated(size_of_val(&*self.stamp.tags));
        let beside = self.beside.as_deref().map_or(0, Beside::weight);
        piece + tags + beside + BOOKS
    }
}

impl Beside {
    fn weight(&self) -> usize {
        let content = self
            .content
            .as_ref()
            .map_or(0, |content| allocated(content.len()));
        let encoded = self.encoded.as_ref().map_or(0, Encoded::weight);
        let varies = self.varies.as_ref().map_or(0, |varies| varies.weight());
        allocated(size_of::<Self>()) + content + encoded + varies
    }
}

/// Bytes that the allocator takes for so many: its classes are four to a doubling, and sixteen apart at least.
pub(super) fn allocated(bytes: usize) -> usize {
    let apart = (bytes.next_power_of_two() / 8).max(16);
    bytes.next_multiple_of(apart)
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
