//! All fetches on their way, for those who want to join one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Flight;

/// Some of the fetches, by key.
type Shard = HashMap<Box<[u8]>, Arc<Flight>, ahash::RandomState>;

/// All fetches on their way, by key.
pub struct Flights {
    shards: [Mutex<Shard>; 16],
    hasher: ahash::RandomState,
}

impl Default for Flights {
    fn default() -> Self {
        Self {
            shards: Default::default(),
            hasher: ahash::RandomState::new(),
        }
    }
}

impl Flights {
    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        let at = self.hasher.hash_one(key) as usize % self.shards.len();
        self.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The fetch for a key that is on its way, or a new one; `true` where it is new and has to begin.
    pub fn join(&self, key: &[u8], seq: u64) -> (Arc<Flight>, bool) {
        let mut shard = self.shard(key);
        if let Some(flight) = shard.get(key) {
            return (Arc::clone(flight), false);
        }
        let flight = Arc::new(Flight::new(key, seq));
        shard.insert(key.into(), Arc::clone(&flight));
        (flight, true)
    }

    /// Whether a fetch for a key is on its way.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.shard(key).contains_key(key)
    }

    /// Nobody joins this one any more.
    pub fn retire(&self, flight: &Arc<Flight>) {
        let mut shard = self.shard(&flight.key);
        if shard
            .get(&flight.key)
            .is_some_and(|known| Arc::ptr_eq(known, flight))
        {
            shard.remove(&flight.key);
        }
    }

    /// Whether those who come join this one.
    pub fn is_current(&self, flight: &Arc<Flight>) -> bool {
        let shard = self.shard(&flight.key);
        let known = shard.get(&flight.key);
        known.is_some_and(|known| Arc::ptr_eq(known, flight))
    }

    /// The step of the oldest one that is on its way.
    pub fn oldest_step(&self) -> Option<u64> {
        let shards = self.shards.iter();
        shards
            .filter_map(|shard| {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.values().map(|flight| flight.seq).min()
            })
            .min()
    }
}
