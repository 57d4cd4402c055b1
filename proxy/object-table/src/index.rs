//! Where objects are found: by number, without a lock.
//!
//! A segment is an array of buckets, each of one cache line: seven objects and a byte of the number of each.
//! What does not fit into its bucket lies in one of those behind it, and each bucket in between counts how
//! many passed it by; a look-up goes on until one counts none. Nothing moves within a segment, so nobody misses
//! what is there. One that becomes full is replaced by two; who reads the old one goes on reading it.
//!
//! A directory says which segment a number belongs to, by as many of its highest bits as it needs (Fagin et
//! al., *Extendible hashing*, 1979). Segments have a fixed size because a length would have to be read before
//! any of their lines, which is one more wait for memory.
//!
//! All that writes is under the lock of the table's books.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapAny, Guard};
use triomphe::ThinArc;

use crate::object::{Object, Pointer, warm};

/// Buckets of a segment: with the count of its holders, which takes a line, less than a page of memory.
const BUCKETS: usize = 62;
/// Objects in a bucket: with the word of marks they fill a cache line.
const SLOTS: usize = 7;
/// Objects in a segment that is replaced by two: three quarters of its slots. With more, many would lie
/// outside of their own bucket; with less, memory is lost.
const FULL: usize = BUCKETS * SLOTS * 3 / 4;
/// Bits of a number that the directory looks at, at most. There is no memory for so many objects; but a caller
/// whose numbers are no hashes shall not take it all with a directory.
const DEPTH_MAX: u32 = if cfg!(test) { 12 } else { 20 };
/// The highest byte of a bucket's word: how many objects passed it by.
const PASSED_SHIFT: u32 = 56;
/// So many are no longer counted, and stay until the segment is replaced.
const PASSED_MAX: u64 = 255;
const ONES: u64 = 0x0001_0101_0101_0101;
const HIGHS: u64 = 0x0080_8080_8080_8080;

/// A line of the index.
#[repr(align(64))]
struct Bucket<F> {
    /// A byte of the number of each object, 0 where there is none, and how many passed by.
    word: AtomicU64,
    slots: [ArcSwapAny<Option<Pointer<F>>>; SLOTS],
}

impl<F> Bucket<F> {
    fn empty() -> Self {
        Self { word: AtomicU64::new(0), slots: std::array::from_fn(|_| ArcSwapAny::new(None)) }
    }

    fn mark(&self, slot: usize, tag: u8) {
        let shift = slot * 8;
        let word = self.word.load(Ordering::Relaxed) & !(0xff << shift);
        let word = word | (u64::from(tag) << shift);
        self.word.store(word, Ordering::Release);
    }

    fn count_passing(&self, by: impl FnOnce(u64) -> u64) {
        let word = self.word.load(Ordering::Relaxed);
        let passed = word >> PASSED_SHIFT;
        if passed < PASSED_MAX {
            let rest = word & (u64::MAX >> (u64::BITS - PASSED_SHIFT));
            let word = rest | (by(passed) << PASSED_SHIFT);
            self.word.store(word, Ordering::Release);
        }
    }

    fn free(&self) -> Option<usize> {
        let word = self.word.load(Ordering::Relaxed);
        (0..SLOTS).find(|slot| (word >> (slot * 8)) & 0xff == 0)
    }
}

/// Slots whose byte is this one; rarely one too many.
fn matches(word: u64, tag: u8) -> impl Iterator<Item = usize> {
    let differences = word ^ (u64::from(tag) * ONES);
    let mut found = differences.wrapping_sub(ONES) & !differences & HIGHS;
    std::iter::from_fn(move || {
        let slot = found.trailing_zeros() as usize / 8;
        found &= found.wrapping_sub(1);
        (slot < SLOTS).then_some(slot)
    })
}

type Segment<F> = [Bucket<F>; BUCKETS];
/// A power of two of segments; several places in a row may have the same.
type Directory<F> = ThinArc<(), ArcSwap<Segment<F>>>;

fn segment<F>() -> Segment<F> {
    std::array::from_fn(|_| Bucket::empty())
}

/// The byte of a number; the bits below say which bucket, those above which segment.
fn tag(number: u64) -> u8 {
    ((number >> 32) as u8).max(1)
}

/// The buckets where something with this number may lie, in order.
fn way(number: u64) -> impl Iterator<Item = usize> {
    // As far into the segment as the lower half is into its range.
    let home = ((number & u64::from(u32::MAX)) * BUCKETS as u64) >> 32;
    let home = home as usize;
    (home..BUCKETS).chain(0..home)
}

/// Where a directory of this size has the segment of a number.
fn place(number: u64, directory: usize) -> usize {
    ((u128::from(number) * directory as u128) >> u64::BITS) as usize
}

/// The index of a table.
pub(crate) struct Index<F>(ArcSwapAny<Directory<F>>);

/// What is known of the segments, for those who write.
pub(crate) struct Rooms(Vec<Room>);

/// Of a segment; all its places in the directory have the same.
#[derive(Clone, Copy)]
struct Room {
    /// Bits that its numbers have in common.
    depth: u32,
    count: usize,
}

impl<F> Index<F> {
    /// An empty index.
    pub(crate) fn new() -> (Self, Rooms) {
        let first = [ArcSwap::from_pointee(segment())].into_iter();
        let index = Self(ArcSwapAny::new(ThinArc::from_header_and_iter((), first)));
        let rooms = Rooms(vec![Room { depth: 0, count: 0 }]);
        (index, rooms)
    }

    /// The object with this number, if it is here. `reads` says that its bytes are going to be read.
    pub(crate) fn find(&self, number: u64, reads: bool) -> Option<Object<F>> {
        let directory = self.0.load();
        let segment = directory.slice[place(number, directory.slice.len())].load();
        for at in way(number) {
            let bucket = &segment[at];
            let word = bucket.word.load(Ordering::Acquire);
            for slot in matches(word, tag(number)) {
                let there = bucket.slots[slot].load();
                if let Some(object) = &*there
                    && object.header.header.number.load(Ordering::Relaxed) == number
                {
                    if reads {
                        // Before the count of its holders is written, for which the processor would wait.
                        warm(&object.slice);
                    }
                    return Guard::into_inner(there).map(Object);
                }
            }
            if word >> PASSED_SHIFT == 0 {
                return None;
            }
        }
        None
    }

    /// All objects, a segment at a time.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Vec<Object<F>>> {
        let directory = self.0.load_full();
        let mut last: Option<Arc<Segment<F>>> = None;
        (0..directory.slice.len()).filter_map(move |at| {
            let segment = directory.slice[at].load_full();
            if last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &segment)) {
                return None;
            }
            let objects = all(&segment).collect();
            last = Some(segment);
            Some(objects)
        })
    }

    /// Puts an object where none has its number; `false` where there is no room for it, because its number
    /// begins like too many others.
    pub(crate) fn insert(&self, rooms: &mut Rooms, object: Object<F>) -> bool {
        let number = object.number();
        let mut room = rooms.0[place(number, rooms.0.len())];
        while room.count >= FULL && room.depth < DEPTH_MAX {
            self.split(rooms, number);
            room = rooms.0[place(number, rooms.0.len())];
        }
        let directory = self.0.load();
        let segment = directory.slice[place(number, directory.slice.len())].load();
        let inserted = insert(&segment, object);
        if inserted {
            rooms.of(number).for_each(|room| room.count += 1);
        }
        inserted
    }

    /// Replaces the segment of a number by two.
    fn split(&self, rooms: &mut Rooms, number: u64) {
        let depth = rooms.0[place(number, rooms.0.len())].depth + 1;
        if 1 << depth > rooms.0.len() {
            let old = self.0.load();
            // `from_header_and_iter` wants to know the length beforehand.
            let twice =
                old.slice.iter().flat_map(|segment| [segment.load_full(), segment.load_full()]);
            let new: Vec<_> = twice.map(ArcSwap::new).collect();
            self.0.store(ThinArc::from_header_and_iter((), new.into_iter()));
            rooms.0 = rooms.0.iter().flat_map(|room| [*room, *room]).collect();
        }
        let directory = self.0.load();
        let old = directory.slice[place(number, directory.slice.len())].load_full();
        let halves = [segment(), segment()];
        let mut counts = [0; 2];
        for object in all(&old) {
            let half = (object.number() >> (u64::BITS - depth)) as usize & 1;
            // The half of a segment fits into one.
            counts[half] += usize::from(insert(&halves[half], object));
        }
        let places = rooms.places(number);
        let middle = places.start + places.len() / 2;
        let halves = halves.map(Arc::new);
        for at in places {
            let half = usize::from(at >= middle);
            directory.slice[at].store(Arc::clone(&halves[half]));
            rooms.0[at] = Room { depth, count: counts[half] };
        }
    }

    /// Puts another object with the same number in the place of this one, which is here.
    pub(crate) fn replace(&self, old: &Object<F>, new: Object<F>) {
        let directory = self.0.load();
        let segment = directory.slice[place(old.number(), directory.slice.len())].load();
        if let Some((at, slot)) = lies_at(&segment, old) {
            segment[at].slots[slot].store(Some(new.0));
        }
    }

    /// Takes out an object, which is here.
    pub(crate) fn remove(&self, rooms: &mut Rooms, object: &Object<F>) {
        let number = object.number();
        let directory = self.0.load();
        let segment = directory.slice[place(number, directory.slice.len())].load();
        let Some((at, slot)) = lies_at(&segment, object) else {
            return;
        };
        segment[at].mark(slot, 0);
        segment[at].slots[slot].store(None);
        for passed in way(number).take_while(|passed| *passed != at) {
            segment[passed].count_passing(|passed| passed.saturating_sub(1));
        }
        rooms.of(number).for_each(|room| room.count -= 1);
    }
}

impl Rooms {
    /// The places of the segment of a number.
    fn places(&self, number: u64) -> Range<usize> {
        let at = place(number, self.0.len());
        let many = self.0.len() >> self.0[at].depth;
        let first = at & !(many - 1);
        first..first + many
    }

    fn of(&mut self, number: u64) -> impl Iterator<Item = &mut Room> {
        let places = self.places(number);
        self.0[places].iter_mut()
    }
}

fn all<F>(segment: &Segment<F>) -> impl Iterator<Item = Object<F>> {
    let slots = segment.iter().flat_map(|bucket| &bucket.slots);
    slots.filter_map(|slot| slot.load_full().map(Object))
}

/// Puts an object into the first bucket on its way that has room.
fn insert<F>(segment: &Segment<F>, object: Object<F>) -> bool {
    let number = object.number();
    let found = way(number).find_map(|at| Some((at, segment[at].free()?)));
    let Some((at, slot)) = found else {
        return false;
    };
    for passed in way(number).take_while(|passed| *passed != at) {
        segment[passed].count_passing(|passed| passed + 1);
    }
    // Whoever sees the mark sees the object.
    segment[at].slots[slot].store(Some(object.0));
    segment[at].mark(slot, tag(number));
    true
}

/// Bucket and slot of an object that is here.
fn lies_at<F>(segment: &Segment<F>, object: &Object<F>) -> Option<(usize, usize)> {
    let number = object.number();
    way(number).find_map(|at| {
        let bucket = &segment[at];
        let mut slots = matches(bucket.word.load(Ordering::Relaxed), tag(number));
        let is_there = |slot: &usize| {
            let there = bucket.slots[*slot].load();
            matches!(&*there, Some(there) if there.as_ptr() == object.0.as_ptr())
        };
        slots.find(is_there).map(|slot| (at, slot))
    })
}

#[cfg(test)]
mod tests;
