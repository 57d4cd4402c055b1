//! A part of everything for each thread, so that no two of them write to the same cache line.

use std::{
    cell::Cell,
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use crossbeam_utils::CachePadded;

/// Threads with a part of their own: more than hosts of this kind have cores. Those that come later share
/// the last part, which is as right and a little slower.
const OWNERS: usize = 64;

/// Which part a thread writes to; given out once and never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(usize);

impl Place {
    /// That of the calling thread.
    pub(super) fn mine() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: Cell<Option<Place>> = const { Cell::new(None) };
        }
        MINE.get().unwrap_or_else(|| {
            let place = Self(NEXT.fetch_add(1, Ordering::Relaxed).min(OWNERS));
            MINE.set(Some(place));
            place
        })
    }

    /// Whether other threads write there too.
    pub(super) fn is_shared(self) -> bool {
        self.0 == OWNERS
    }
}

/// Parts of one kind, made as threads come to need them.
pub(super) struct PerThread<T> {
    parts: Box<[OnceLock<Box<CachePadded<T>>>]>,
}

impl<T> Default for PerThread<T> {
    fn default() -> Self {
        Self {
            parts: (0..=OWNERS).map(|_| OnceLock::new()).collect(),
        }
    }
}

impl<T: Default> PerThread<T> {
    /// The part at a place.
    pub(super) fn at(&self, place: Place) -> &T {
        // Places are given out by `Place::mine` only, up to and including the last.
        self.parts[place.0].get_or_init(Box::default)
    }
}

impl<T> PerThread<T> {
    /// All parts that exist.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.parts
            .iter()
            .filter_map(OnceLock::get)
            .map(|part| &***part)
    }
}

/// A number that counts up.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// Adds to a count of the part at `place`.
    pub(super) fn add(&self, n: u64, place: Place) {
        if place.is_shared() {
            self.0.fetch_add(n, Ordering::Relaxed);
        } else {
            // Nobody else writes here, so nothing can come between.
            self.0.store(
                self.0.load(Ordering::Relaxed).wrapping_add(n),
                Ordering::Relaxed,
            );
        }
    }

    /// What has been counted.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A count with a part for each thread.
#[derive(Default)]
pub(super) struct Counts(PerThread<Count>);

impl Counts {
    /// Adds one.
    pub(super) fn inc(&self) {
        let place = Place::mine();
        self.0.at(place).add(1, place);
    }

    /// The sum.
    pub(super) fn get(&self) -> u64 {
        self.0.all().map(Count::get).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_among_more_threads_than_parts() {
        let counts = Counts::default();
        std::thread::scope(|scope| {
            for _ in 0..OWNERS + 40 {
                scope.spawn(|| (0..5_000).for_each(|_| counts.inc()));
            }
        });
        assert_eq!(counts.get(), (OWNERS as u64 + 40) * 5_000);
        assert!(counts.0.all().count() <= OWNERS + 1);
    }

    #[test]
    fn a_thread_keeps_its_place() {
        let place = Place::mine();
        assert_eq!(place, Place::mine());
        let other = std::thread::spawn(Place::mine).join().expect("a place");
        assert!(other != place || place.is_shared());
    }
}
