//! The store in memory, bounded by bytes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http::HeaderName;
use http_caching::Fields;
use moka::{policy::EvictionPolicy, sync::Cache as Moka};

use super::Stored;
use crate::{config::model::Cache, random};

type Key = Box<[u8]>;

/// Stored responses by cache key, the least recently used leaving first. New responses are always
/// admitted: at the opening of a sale the new pages are the ones that matter.
pub struct Store {
    map: Moka<Key, Entry, ahash::RandomState>,
    max_object: u64,
    /// Bytes of content that requests are fetching for the store.
    filling: AtomicU64,
    max_filling: u64,
}

/// What stands under a key.
#[derive(Clone)]
enum Entry {
    /// A response; under a primary key one that does not vary.
    Response(Arc<Stored>),
    /// Responses to this URI vary and stand under longer keys (RFC 9111 §4.1).
    Varies(Arc<Variation>),
}

/// What the responses to a URI vary on.
struct Variation {
    fields: Vec<HeaderName>,
    /// Part of the variants' keys: another one after the URI was removed, so that what stood under it
    /// before is not found again.
    generation: u64,
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
    pub fn new(config: &Cache) -> Self {
        let map = Moka::builder()
            .max_capacity(config.memory)
            .weigher(|key: &Key, entry: &Entry| {
                let weight = match entry {
                    Entry::Response(stored) => stored.weight(),
                    Entry::Varies(variation) => 64 * variation.fields.len(),
                };
                u32::try_from(key.len() + weight + 128).unwrap_or(u32::MAX)
            })
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(ahash::RandomState::new());
        Self {
            map,
            max_object: config.max_object.min(config.memory),
            filling: AtomicU64::new(0),
            max_filling: config.memory,
        }
    }

    /// Takes room for content that is on its way into the store; `false` where all of it is taken.
    pub(super) fn take_room(&self, bytes: u64) -> bool {
        let taken = self.filling.fetch_add(bytes, Ordering::Relaxed);
        if taken + bytes > self.max_filling {
            self.give_room_back(bytes);
            return false;
        }
        true
    }

    /// Gives it back.
    pub(super) fn give_room_back(&self, bytes: u64) {
        self.filling.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of content beyond which a response is not stored.
    pub fn max_object(&self) -> u64 {
        self.max_object
    }

    /// Looks for a response to a request with these fields.
    pub fn find(&self, key: &[u8], fields: &dyn Fields) -> Found {
        match self.map.get(key) {
            None => Found::Nothing,
            Some(Entry::Response(stored)) => Found::Fit(stored),
            Some(Entry::Varies(variation)) => match self.map.get(&*variation.key(key, fields)) {
                Some(Entry::Response(stored)) => Found::Fit(stored),
                _ => Found::OtherVariant,
            },
        }
    }

    /// Stores a response under the primary key of its URI, in the place of what it replaces.
    pub fn put(&self, key: &[u8], fields: &dyn Fields, stored: Stored) {
        let stored = Arc::new(stored);
        if stored.vary.is_empty() {
            self.map.insert(key.into(), Entry::Response(stored));
            return;
        }
        let variation = match self.map.get(key) {
            Some(Entry::Varies(known)) if known.fields == stored.vary => known,
            _ => Arc::new(Variation {
                fields: stored.vary.clone(),
                generation: random::next(),
            }),
        };
        let variant = variation.key(key, fields).into_boxed_slice();
        self.map.insert(variant, Entry::Response(stored));
        self.map.insert(key.into(), Entry::Varies(variation));
    }

    /// Drops whatever is stored for a URI; says whether there was anything.
    pub fn remove(&self, key: &[u8]) -> bool {
        self.map.remove(key).is_some()
    }

    /// Responses and bytes; both lag a little behind.
    pub fn size(&self) -> (u64, u64) {
        (self.map.entry_count(), self.map.weighted_size())
    }

    /// Lets evictions and counts catch up.
    pub fn tidy(&self) {
        self.map.run_pending_tasks();
    }
}

impl Variation {
    /// The primary key and the request's values of the fields the response varies on. A primary key
    /// never ends in this separator, because all its parts carry their lengths.
    fn key(&self, primary: &[u8], fields: &dyn Fields) -> Vec<u8> {
        let mut variant = Vec::with_capacity(primary.len() + 64);
        variant.extend_from_slice(primary);
        variant.push(0xff);
        variant.extend_from_slice(&self.generation.to_be_bytes());
        http_caching::variance(&self.fields, fields, &mut variant);
        variant
    }
}
