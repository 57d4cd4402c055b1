//! The memory tier, bounded by bytes.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{
    HeaderName,
    header::{AUTHORIZATION, COOKIE, ETAG},
};
use http_caching::Fields;
use moka::{
    Entry as MokaEntry,
    ops::compute::{CompResult, Op},
    policy::EvictionPolicy,
    sync::Cache as Moka,
};

use super::{Purges, Stored, parts::Parts};
use crate::config::model::Cache;

/// Fields that one URI may vary on, all its responses together.
const MAX_VARY: usize = 32;
/// Responses to other field values that the shop is offered to choose from.
const MAX_OFFERED: usize = 8;
/// How long a URI whose answers cannot be shared is remembered as such.
const UNCACHEABLE: Duration = Duration::from_secs(30);
/// How many of them.
const MAX_UNCACHEABLE: u64 = 100_000;
/// Stands between a primary key and the field values of a variant.
const SEPARATOR: u8 = 0xff;

/// Stored responses by cache key, the least recently used leaving first. New responses are always
/// admitted: at the opening of a sale the new pages are the ones that matter.
///
/// The map knows keys by a number; the response has the whole of it, so that two keys with one number
/// cost a miss and nothing else.
pub struct Store {
    map: Moka<u64, Entry, ahash::RandomState>,
    numbers: ahash::RandomState,
    /// What was purged.
    pub purges: Purges,
    /// Of responses that are not here as a whole.
    pub parts: Parts,
    /// URIs whose last answer could not be shared, and whether that was for its size.
    uncacheable: Moka<u64, bool, ahash::RandomState>,
    max_object: u64,
    /// Bytes of content that requests are fetching for the store.
    filling: AtomicU64,
    max_filling: u64,
    evicted: Arc<AtomicU64>,
}

/// What stands under a number.
#[derive(Clone)]
enum Entry {
    /// A response.
    Response(Arc<Stored>),
    /// Responses to this URI vary and stand under longer keys (RFC 9111 §4.1).
    Varies(Arc<Variation>),
}

/// What the responses to a URI vary on.
pub struct Variation {
    key: Box<[u8]>,
    /// Sorted; all that any response has named.
    pub fields: Vec<HeaderName>,
    /// Some of the responses that another visitor may be told to take as well, by the numbers of their
    /// keys: whole keys would be memory that nobody counts.
    variants: Mutex<VecDeque<u64>>,
    numbers: ahash::RandomState,
}

/// The outcome of a look-up.
pub enum Found {
    /// A response for this URI and these field values; perhaps not fresh.
    Fit(Arc<Stored>),
    /// Only responses for other field values.
    OtherVariant,
    /// Nothing.
    Nothing,
}

impl Store {
    /// An empty store.
    pub fn new(config: &Cache, purges: Purges) -> Self {
        let evicted = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&evicted);
        let map = Moka::builder()
            .max_capacity(config.memory)
            .weigher(|_: &u64, entry: &Entry| {
                let weight = match entry {
                    Entry::Response(stored) => stored.weight(),
                    Entry::Varies(variation) => 512 + variation.key.len(),
                };
                u32::try_from(weight).unwrap_or(u32::MAX)
            })
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |_, _, cause| {
                if cause.was_evicted() {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build_with_hasher(ahash::RandomState::new());
        Self {
            map,
            numbers: ahash::RandomState::new(),
            purges,
            parts: Parts::new(config.memory),
            uncacheable: Moka::builder()
                .max_capacity(MAX_UNCACHEABLE)
                .time_to_live(UNCACHEABLE)
                .build_with_hasher(ahash::RandomState::new()),
            max_object: config.max_object.min(config.memory),
            filling: AtomicU64::new(0),
            max_filling: config.memory,
            evicted,
        }
    }

    fn number(&self, key: &[u8]) -> u64 {
        self.numbers.hash_one(key)
    }

    /// Takes room for content that is on its way into the store; `false` where all of it is taken.
    pub fn take_room(&self, bytes: u64) -> bool {
        let taken = self.filling.fetch_add(bytes, Ordering::Relaxed);
        if taken + bytes > self.max_filling {
            self.give_room_back(bytes);
            return false;
        }
        true
    }

    /// Gives it back.
    pub fn give_room_back(&self, bytes: u64) {
        self.filling.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of content beyond which a response is not kept in memory.
    pub fn max_object(&self) -> u64 {
        self.max_object
    }

    /// Looks for a response to a request with these fields.
    pub fn find(&self, key: &[u8], fields: &dyn Fields) -> Found {
        match self.map.get(&self.number(key)) {
            None => Found::Nothing,
            Some(Entry::Response(stored)) => match self.standing(stored, key) {
                Some(stored) => Found::Fit(stored),
                None => Found::Nothing,
            },
            Some(Entry::Varies(variation)) if *variation.key == *key => {
                let variant = variation.variant(fields);
                match self.get(&variant) {
                    Some(stored) => Found::Fit(stored),
                    None => Found::OtherVariant,
                }
            }
            Some(Entry::Varies(_)) => Found::Nothing,
        }
    }

    /// The response under this very key, that of its variant where it varies.
    pub fn get(&self, key: &[u8]) -> Option<Arc<Stored>> {
        match self.map.get(&self.number(key))? {
            Entry::Response(stored) => self.standing(stored, key),
            Entry::Varies(_) => None,
        }
    }

    /// The response, unless it is another key's or purged.
    fn standing(&self, stored: Arc<Stored>, key: &[u8]) -> Option<Arc<Stored>> {
        if stored.key() != key {
            return None;
        }
        if !self.purges.lets_stand(&stored) {
            self.remove(&stored);
            return None;
        }
        Some(stored)
    }

    /// What the responses under a primary key vary on, where it is known that they do.
    pub fn variation(&self, key: &[u8]) -> Option<Arc<Variation>> {
        match self.map.get(&self.number(key))? {
            Entry::Varies(variation) if *variation.key == *key => Some(variation),
            _ => None,
        }
    }

    /// Learns that a response under a primary key varies on these fields too. Its responses are told
    /// apart by all the fields that were ever named, which is never wrong. `None` where they are too many.
    pub fn learn(&self, key: &[u8], fields: &[HeaderName]) -> Option<Arc<Variation>> {
        let known = self.variation(key);
        if let Some(known) = &known
            && fields.iter().all(|name| known.fields.contains(name))
        {
            return Some(Arc::clone(known));
        }
        let mut all = known.map_or_else(Vec::new, |known| known.fields.clone());
        for name in fields {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        if all.len() > MAX_VARY {
            return None;
        }
        all.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        let variation = Arc::new(Variation {
            key: key.into(),
            fields: all,
            variants: Mutex::default(),
            numbers: self.numbers.clone(),
        });
        self.map
            .insert(self.number(key), Entry::Varies(Arc::clone(&variation)));
        Some(variation)
    }

    /// Stores a response under its key, in the place of what it replaces; something newer stays.
    pub fn put(&self, stored: Arc<Stored>) {
        let number = self.number(stored.key());
        let now = SystemTime::now();
        self.map
            .entry(number)
            .and_compute_with(|there| match there.map(MokaEntry::into_value) {
                Some(Entry::Response(there)) if self.stays(&there, &stored, now) => Op::Nop,
                _ => Op::Put(Entry::Response(stored)),
            });
    }

    /// Whether what is there is newer than what comes, and of use.
    fn stays(&self, there: &Stored, new: &Stored, now: SystemTime) -> bool {
        let time = there.response_time();
        // What comes from the future was stored before the clock went back, and says nothing.
        there.key() == new.key()
            && time <= now
            && (time, there.stamp.seq) > (new.response_time(), new.stamp.seq)
            && self.purges.lets_stand(there)
    }

    /// Puts another form of a response in its place, unless something else has taken it.
    pub fn replace(&self, old: &Arc<Stored>, new: Arc<Stored>) -> bool {
        let number = self.number(old.key());
        let done = self.map.entry(number).and_compute_with(|there| {
            if is_there(there, old) {
                Op::Put(Entry::Response(new))
            } else {
                Op::Nop
            }
        });
        matches!(done, CompResult::ReplacedWith(_))
    }

    /// Drops a response, unless something else has taken its place.
    pub fn remove(&self, stored: &Arc<Stored>) {
        let number = self.number(stored.key());
        self.map.entry(number).and_compute_with(|there| {
            if is_there(there, stored) {
                Op::Remove
            } else {
                Op::Nop
            }
        });
    }

    /// Remembers for a while that the answers under a primary key cannot be shared, or are too large to
    /// be stored as a whole.
    pub fn note_uncacheable(&self, key: &[u8], is_too_large: bool) {
        self.uncacheable.insert(self.number(key), is_too_large);
    }

    /// Whether that is so.
    pub fn is_uncacheable(&self, key: &[u8]) -> bool {
        self.uncacheable.contains_key(&self.number(key))
    }

    /// Whether it is for their size alone that they cannot, so that parts of them can.
    pub fn is_too_large(&self, key: &[u8]) -> bool {
        self.uncacheable.get(&self.number(key)) == Some(true)
    }

    /// Drops everything that was purged; returns how many there were.
    pub fn sweep(&self) -> u64 {
        let mut swept = 0;
        for (number, entry) in &self.map {
            if let Entry::Response(stored) = entry
                && !self.purges.lets_stand(&stored)
            {
                self.map.invalidate(&*number);
                swept += 1;
            }
        }
        swept + self.parts.sweep(&self.purges)
    }

    /// Entries and bytes; both lag a little behind.
    pub fn size(&self) -> (u64, u64) {
        (self.map.entry_count(), self.map.weighted_size())
    }

    /// Responses that had to leave for others.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Lets evictions and counts catch up.
    pub fn tidy(&self) {
        self.map.run_pending_tasks();
        self.uncacheable.run_pending_tasks();
        self.parts.tidy();
    }
}

fn is_there(there: Option<MokaEntry<u64, Entry>>, stored: &Arc<Stored>) -> bool {
    let there = there.map(MokaEntry::into_value);
    matches!(there, Some(Entry::Response(there)) if Arc::ptr_eq(&there, stored))
}

impl Variation {
    /// The primary key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Notes that a response stands under this variation.
    pub fn note(&self, stored: &Stored) {
        if self.is_personal() {
            return;
        }
        let number = self.numbers.hash_one(stored.key());
        let mut variants = self.variants.lock().unwrap_or_else(PoisonError::into_inner);
        if variants.contains(&number) {
            return;
        }
        if variants.len() == MAX_OFFERED {
            variants.pop_front();
        }
        variants.push_back(number);
    }

    /// Whether its responses are told apart by who asks. What one visitor got is not offered for another.
    fn is_personal(&self) -> bool {
        self.fields.contains(&COOKIE) || self.fields.contains(&AUTHORIZATION)
    }

    /// Responses to other field values that the shop can be asked about by their entity tags.
    pub fn variants(&self, store: &Store) -> Vec<Arc<Stored>> {
        let variants = {
            let variants = self.variants.lock().unwrap_or_else(PoisonError::into_inner);
            variants.clone()
        };
        let stored = variants
            .iter()
            .filter_map(|number| match store.map.get(number)? {
                // Two keys may have one number.
                Entry::Response(stored) if self.covers(stored.key()) => {
                    let key = stored.key().to_vec();
                    store.standing(stored, &key)
                }
                _ => None,
            });
        stored
            .filter(|stored| {
                // A weak tag may mean the same to a shop whatever the language.
                let mut strong = false;
                let fields = stored.fields();
                fields.for_each(&ETAG, &mut |tag| strong = tag.starts_with(b"\""));
                strong && !stored.is_on_disk()
            })
            .collect()
    }

    /// Whether a key is one of a variant.
    fn covers(&self, key: &[u8]) -> bool {
        let rest = key.strip_prefix(&*self.key);
        rest.is_some_and(|rest| rest.first() == Some(&SEPARATOR))
    }

    /// The key of the variant for a request with these fields: the primary key and the request's values
    /// of the fields the responses vary on. A primary key never ends in this separator, because all its
    /// parts carry their lengths.
    pub fn variant(&self, fields: &dyn Fields) -> Vec<u8> {
        let mut variant = Vec::with_capacity(self.key.len() + 64);
        variant.extend_from_slice(&self.key);
        variant.push(SEPARATOR);
        http_caching::variance(&self.fields, fields, &mut variant);
        variant
    }
}

#[cfg(test)]
mod tests;
