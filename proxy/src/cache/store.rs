//! The memory tier, bounded by bytes.

use std::{
    cmp::Reverse,
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
use moka::sync::Cache as Moka;
use object_table::{Change, Table};

use super::{
    Purges, Stored,
    parts::Parts,
    stored::{Facts, allocated},
};
use crate::config::model::Cache;

/// Fields that one URI may vary on, all its responses together.
const MAX_VARY: usize = 32;
/// Responses to other field values that the shop is offered to choose from.
const MAX_OFFERED: usize = 8;
/// How long a URI whose answers cannot be shared is remembered as such.
const UNCACHEABLE: Duration = Duration::from_secs(30);
/// How many of them.
const MAX_UNCACHEABLE: u64 = 100_000;
/// Responses that leave in one step when the memory becomes less: well under a millisecond.
const SETTLED_AT_ONCE: usize = 256;
/// Stands between a primary key and the field values of a variant.
const SEPARATOR: u8 = 0xff;

/// Stored responses by cache key. New responses are always admitted: at the opening of a sale the new pages
/// are the ones that matter. Which ones leave for them is the table's to say: what nobody has asked for
/// since, and then what has not been asked for the longest.
///
/// The table knows keys by a number; the response has the whole of it, so that two keys with one number
/// cost a miss and nothing else.
pub struct Store {
    table: Table<Facts>,
    numbers: ahash::RandomState,
    /// What was purged.
    pub purges: Purges,
    /// Of responses that are not here as a whole.
    pub parts: Parts,
    /// URIs whose last answer could not be shared, and whether that was for its size.
    uncacheable: Moka<u64, bool, ahash::RandomState>,
    max_object: AtomicU64,
    /// What the responses may take as soon as those that are too many have left.
    wanted: AtomicU64,
    /// Bytes of content that requests are fetching for the store.
    filling: AtomicU64,
    max_filling: AtomicU64,
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
    Fit(Stored),
    /// Only responses for other field values.
    OtherVariant,
    /// Nothing.
    Nothing,
}

impl Store {
    /// An empty store.
    pub fn new(config: &Cache, purges: Purges) -> Self {
        Self {
            table: Table::new(config.memory),
            numbers: ahash::RandomState::new(),
            purges,
            parts: Parts::new(config.memory),
            uncacheable: Moka::builder()
                .max_capacity(MAX_UNCACHEABLE)
                .time_to_live(UNCACHEABLE)
                .build_with_hasher(ahash::RandomState::new()),
            max_object: AtomicU64::new(config.max_object.min(config.memory)),
            wanted: AtomicU64::new(config.memory),
            filling: AtomicU64::new(0),
            max_filling: AtomicU64::new(config.memory),
        }
    }

    fn number(&self, key: &[u8]) -> u64 {
        self.numbers.hash_one(key)
    }

    /// Takes room for content that is on its way into the store; `false` where all of it is taken.
    pub fn take_room(&self, bytes: u64) -> bool {
        let taken = self.filling.fetch_add(bytes, Ordering::Relaxed);
        if taken + bytes > self.max_filling.load(Ordering::Relaxed) {
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
        self.max_object.load(Ordering::Relaxed)
    }

    /// Takes other bounds. Responses that are too many leave by [`settle`](Self::settle).
    pub fn resize(&self, config: &Cache) {
        let memory = config.memory;
        if self.wanted.swap(memory, Ordering::Relaxed) != memory {
            self.parts.resize(memory);
        }
        self.max_filling.store(memory, Ordering::Relaxed);
        let max_object = config.max_object.min(memory);
        self.max_object.store(max_object, Ordering::Relaxed);
    }

    /// Lets responses leave until the bound holds, a few at a time: whoever stores waits for a step at most. For a
    /// thread that may block.
    pub fn settle(&self) {
        while !self
            .table
            .resize(self.wanted.load(Ordering::Relaxed), SETTLED_AT_ONCE)
        {
            std::thread::yield_now();
        }
    }

    /// Looks for a response to a request with these fields.
    pub fn find(&self, key: &[u8], fields: &dyn Fields) -> Found {
        let Some(there) = self.table.get(self.number(key)).map(Stored) else {
            return Found::Nothing;
        };
        match there.variation() {
            Some(variation) if *variation.key == *key => {
                let variant = variation.variant(fields);
                let there = self.table.get(self.number(&variant)).map(Stored);
                match there.and_then(|there| self.standing(there, &variant)) {
                    Some(stored) => Found::Fit(stored),
                    None => Found::OtherVariant,
                }
            }
            Some(_) => Found::Nothing,
            None => match self.standing(there, key) {
                Some(stored) => Found::Fit(stored),
                None => Found::Nothing,
            },
        }
    }

    /// What [`find`](Self::find) would find, for somebody who only wants to know: nothing is marked as asked for, and
    /// what was purged stays for others to remove.
    pub(crate) fn look(&self, key: &[u8], fields: &dyn Fields) -> Found {
        let stands = |stored: Stored, key: &[u8]| {
            let is_it = stored.key() == key && stored.variation().is_none();
            (is_it && self.purges.lets_stand(&stored)).then_some(stored)
        };
        let there = |key: &[u8]| self.table.peek(self.number(key)).map(Stored);
        let Some(stored) = there(key) else {
            return Found::Nothing;
        };
        let Some(variation) = stored.variation() else {
            return stands(stored, key).map_or(Found::Nothing, Found::Fit);
        };
        if *variation.key != *key {
            return Found::Nothing;
        }
        let variant = variation.variant(fields);
        there(&variant)
            .and_then(|stored| stands(stored, &variant))
            .map_or(Found::OtherVariant, Found::Fit)
    }

    /// What [`is_too_large`](Self::is_too_large) says, without counting as use.
    pub(crate) fn looks_too_large(&self, key: &[u8]) -> bool {
        let number = self.number(key);
        let mut noted = self.uncacheable.iter();
        noted.any(|(known, is_too_large)| *known == number && is_too_large)
    }

    /// The response under this very key, that of its variant where it varies. That it was asked for is not
    /// counted.
    pub fn get(&self, key: &[u8]) -> Option<Stored> {
        self.standing(Stored(self.table.peek(self.number(key))?), key)
    }

    /// The response, unless it is none, another key's or purged.
    fn standing(&self, stored: Stored, key: &[u8]) -> Option<Stored> {
        if stored.key() != key || stored.variation().is_some() {
            return None;
        }
        if !self.purges.lets_stand(&stored) {
            // What is only not known to stand may come to stand again.
            if !self.purges.is_deaf() {
                self.remove(&stored);
            }
            return None;
        }
        Some(stored)
    }

    /// What the responses under a primary key vary on, where it is known that they do.
    pub fn variation(&self, key: &[u8]) -> Option<Arc<Variation>> {
        let there = Stored(self.table.peek(self.number(key))?);
        let variation = there.variation()?;
        (*variation.key == *key).then(|| Arc::clone(variation))
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
        let entry = Stored::of_variation(Arc::clone(&variation));
        self.table
            .update(self.number(key), |_| Change::Put(entry.0));
        Some(variation)
    }

    /// Stores a response under its key, in the place of what it replaces; something newer stays.
    pub fn put(&self, stored: Stored) {
        let number = self.number(stored.key());
        let now = SystemTime::now();
        self.table.update(number, |there| match there {
            Some(there) if self.stays(&Stored(there.clone()), &stored, now) => Change::Keep,
            _ => Change::Put(stored.0),
        });
    }

    /// Whether what is there is newer than what comes, and of use.
    fn stays(&self, there: &Stored, new: &Stored, now: SystemTime) -> bool {
        let time = there.response_time();
        // What comes from the future was stored before the clock went back, and says nothing.
        there.variation().is_none()
            && there.key() == new.key()
            && time <= now
            && (time, there.stamp().seq) > (new.response_time(), new.stamp().seq)
            && self.purges.lets_stand(there)
    }

    /// Puts another form of a response in its place, unless something else has taken it.
    pub fn replace(&self, old: &Stored, new: Stored) -> bool {
        self.table
            .update(self.number(old.key()), |there| match there {
                Some(there) if there.is_same(&old.0) => Change::Put(new.0),
                _ => Change::Keep,
            })
    }

    /// Drops a response, unless something else has taken its place; says whether it was there.
    pub fn remove(&self, stored: &Stored) -> bool {
        self.table
            .update(self.number(stored.key()), |there| match there {
                Some(there) if there.is_same(&stored.0) => Change::Remove,
                _ => Change::Keep,
            })
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

    /// All entries by number, those first that were asked for most of late; what responses vary on before them.
    pub(super) fn by_worth(&self) -> Vec<u64> {
        let mut all = Vec::new();
        for stored in self.table.steps().flatten().map(Stored) {
            let worth = match stored.variation() {
                Some(_) => u32::MAX,
                None => u32::from(stored.0.worth()) + stored.hits(),
            };
            all.push((worth, stored.0.number()));
        }
        all.sort_unstable_by_key(|(worth, _)| Reverse(*worth));
        all.into_iter().map(|(_, number)| number).collect()
    }

    /// The entry with a number, whatever it is.
    pub(super) fn numbered(&self, number: u64) -> Option<Stored> {
        self.table.peek(number).map(Stored)
    }

    /// Drops everything that was purged; returns how many there were.
    pub fn sweep(&self) -> u64 {
        let mut swept = 0;
        for stored in self.table.steps().flatten().map(Stored) {
            let is_purged = stored.variation().is_none() && !self.purges.lets_stand(&stored);
            if is_purged && self.remove(&stored) {
                swept += 1;
            }
        }
        swept + self.parts.sweep(&self.purges)
    }

    /// Entries and bytes.
    pub fn size(&self) -> (u64, u64) {
        (self.table.len(), self.table.weight())
    }

    /// Responses that had to leave for others.
    pub fn evicted(&self) -> u64 {
        self.table.evicted()
    }

    /// Lets evictions and counts of what lies beside the responses catch up.
    pub fn tidy(&self) {
        self.uncacheable.run_pending_tasks();
        self.parts.tidy();
    }
}

impl Variation {
    /// The primary key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Bytes that it takes in memory.
    pub(super) fn weight(&self) -> usize {
        let fields = self.fields.capacity() * size_of::<HeaderName>();
        let variants = MAX_OFFERED * size_of::<u64>();
        allocated(size_of::<Self>() + 2 * size_of::<usize>())
            + allocated(self.key.len())
            + allocated(fields)
            + allocated(variants)
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
    pub fn variants(&self, store: &Store) -> Vec<Stored> {
        let variants = {
            let variants = self.variants.lock().unwrap_or_else(PoisonError::into_inner);
            variants.clone()
        };
        let stored = variants.iter().filter_map(|number| {
            let there = Stored(store.table.peek(*number)?);
            // Two keys may have one number.
            let key = there.key().to_vec();
            self.covers(&key).then(|| store.standing(there, &key))?
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
