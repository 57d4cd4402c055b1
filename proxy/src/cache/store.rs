//! The store in memory, bounded by bytes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http::HeaderName;
use http_caching::Fields;
use moka::{policy::EvictionPolicy, sync::Cache as Moka};

use super::Stored;
use crate::config::model::Cache;

type Key = Box<[u8]>;

/// Stored responses by cache key, the least recently used leaving first. New responses are always
/// admitted: at the opening of a sale the new pages are the ones that matter.
pub struct Store {
    map: Moka<Key, Entry, ahash::RandomState>,
    /// For the next [`Entry::Varies`].
    next: AtomicU64,
    max_object: u64,
}

/// What stands under a key.
#[derive(Clone)]
enum Entry {
    /// A response; under a primary key one that does not vary.
    Response(Arc<Stored>),
    /// Responses to this URI vary on these fields and stand under longer keys (RFC 9111 §4.1), of
    /// which this number is a part: when the entry goes, they cannot be found any more.
    Varies(Arc<[HeaderName]>, u64),
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
                    Entry::Varies(names, _) => 64 * names.len(),
                };
                u32::try_from(key.len() + weight + 128).unwrap_or(u32::MAX)
            })
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(ahash::RandomState::new());
        Self {
            map,
            next: AtomicU64::new(0),
            max_object: config.max_object.min(config.memory),
        }
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
            Some(Entry::Varies(names, number)) => {
                match self.map.get(&*variant_key(key, number, &names, fields)) {
                    Some(Entry::Response(stored)) => Found::Fit(stored),
                    _ => Found::OtherVariant,
                }
            }
        }
    }

    /// Stores a response under the primary key of its URI, in the place of what it replaces.
    pub fn put(&self, key: &[u8], fields: &dyn Fields, stored: Stored) {
        let stored = Arc::new(stored);
        if stored.vary.is_empty() {
            self.map.insert(key.into(), Entry::Response(stored));
            return;
        }
        let names: Arc<[HeaderName]> = stored.vary.as_slice().into();
        let number = match self.map.get(key) {
            Some(Entry::Varies(known, number)) if known == names => number,
            _ => self.next.fetch_add(1, Ordering::Relaxed),
        };
        let variant = variant_key(key, number, &names, fields);
        self.map
            .insert(variant.into_boxed_slice(), Entry::Response(stored));
        self.map.insert(key.into(), Entry::Varies(names, number));
    }

    /// Drops whatever is stored for a URI; says whether there was anything.
    pub fn remove(&self, key: &[u8]) -> bool {
        self.map.remove(key).is_some()
    }

    /// Drops everything.
    pub fn clear(&self) {
        self.map.invalidate_all();
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

/// The primary key, the number of its entry, and the request's values of the fields the response varies on. A primary key
/// never ends in this separator, because all its parts carry their lengths.
fn variant_key(key: &[u8], number: u64, names: &[HeaderName], fields: &dyn Fields) -> Vec<u8> {
    let mut variant = Vec::with_capacity(key.len() + 64);
    variant.extend_from_slice(key);
    variant.push(0xff);
    variant.extend_from_slice(&number.to_le_bytes());
    http_caching::variance(names, fields, &mut variant);
    variant
}
