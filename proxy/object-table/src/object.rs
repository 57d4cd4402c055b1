//! What is kept.

use std::{
    fmt, hint,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use triomphe::ThinArc;

/// Visits beyond this many are not counted: whoever was asked for so often in one turn of a queue stays,
/// and a line that is not written to is not taken from the other processors.
pub(crate) const VISITS_MAX: u8 = 3;
/// The place of what lies in no table.
pub(crate) const NOWHERE: u32 = u32::MAX;
/// Bytes in a line of the processor's cache.
const LINE: usize = 64;
/// Lines that are asked for at once. Further ones are fetched ahead by the processor, once it sees them
/// read in order.
const LINES_MAX: usize = 32;

/// The pointer that lies in the index.
pub(crate) type Pointer<F> = ThinArc<Head<F>, u8>;

/// An object: facts of the caller's and bytes in one piece of memory, shared by all who hold it.
///
/// It lies in one table at most, and there under one number.
pub struct Object<F>(pub(crate) Pointer<F>);

/// What stands before the bytes. In this order, so that a look-up begins with the first line: it compares the
/// number there, and then counts a holder more.
#[repr(C)]
pub(crate) struct Head<F> {
    /// Under which it lies in a table; written before it does.
    pub(crate) number: AtomicU64,
    pub(crate) weight: u64,
    /// In the queues of a table; written under the lock of its books.
    pub(crate) place: AtomicU32,
    /// Which of the queues.
    pub(crate) is_proven: AtomicBool,
    pub(crate) visits: AtomicU8,
    facts: F,
}

impl<F> Object<F> {
    /// Bytes in front of an object's own: the count of those who hold it, number, weight and books, facts, and
    /// the length.
    pub const HEAD: usize = size_of::<usize>() + size_of::<Head<F>>() + size_of::<usize>();

    /// An object. `weight` is what it counts against a table's bound.
    pub fn new(weight: u64, facts: F, bytes: &[u8]) -> Self {
        let head = Head {
            number: AtomicU64::new(0),
            weight,
            place: AtomicU32::new(NOWHERE),
            is_proven: AtomicBool::new(false),
            visits: AtomicU8::new(0),
            facts,
        };
        Self(ThinArc::from_header_and_slice(head, bytes))
    }

    pub(crate) fn head(&self) -> &Head<F> {
        &self.0.header.header
    }

    /// How much it was asked for of late: 0 where nobody did since it came, more for what was asked for again and
    /// again. A measure of what is worth most, and nothing else.
    pub fn worth(&self) -> u8 {
        let proven = if self.head().is_proven.load(Relaxed) { VISITS_MAX + 1 } else { 0 };
        proven + self.head().visits.load(Relaxed)
    }

    /// The number it lies under, or lay under last.
    pub fn number(&self) -> u64 {
        self.head().number.load(Relaxed)
    }

    /// What it counts against a table's bound.
    pub fn weight(&self) -> u64 {
        self.head().weight
    }

    /// What the caller says of it.
    pub fn facts(&self) -> &F {
        &self.head().facts
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// Whether it lies in a table.
    pub(crate) fn is_placed(&self) -> bool {
        self.head().place.load(Relaxed) != NOWHERE
    }

    /// Whether both are the same piece of memory.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.as_ptr() == other.0.as_ptr()
    }
}

impl<F> Head<F> {
    /// Marks that it was asked for. That two at once count as one does not matter.
    pub(crate) fn visit(&self) {
        let visits = self.visits.load(Relaxed);
        if visits < VISITS_MAX {
            self.visits.store(visits + 1, Relaxed);
        }
    }
}

/// Asks memory for the lines of an object that is going to be read. The processor waits for them side by
/// side, and not one after the other.
pub(crate) fn warm(bytes: &[u8]) {
    let lines = bytes.iter().step_by(LINE).take(LINES_MAX);
    hint::black_box(lines.fold(0, |sum, byte| sum ^ byte));
}

impl<F> Clone for Object<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F: fmt::Debug> fmt::Debug for Object<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("number", &self.number())
            .field("weight", &self.weight())
            .field("facts", self.facts())
            .field("bytes", &self.bytes().len())
            .finish()
    }
}
