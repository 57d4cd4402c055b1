//! The table: the index and the books, kept in step.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    index::{Index, Rooms},
    object::Object,
    policy::Policy,
};

/// Objects by number, bounded by weight.
pub struct Table<F> {
    index: Index<F>,
    books: Mutex<Books>,
    capacity: AtomicU64,
    /// For those who ask without the lock.
    weight: AtomicU64,
    len: AtomicU64,
    evicted: AtomicU64,
}

/// What only those who write need.
struct Books {
    policy: Policy,
    rooms: Rooms,
}

/// What becomes of what stands under a number.
pub enum Change<F> {
    /// It stays.
    Keep,
    /// This object takes its place.
    Put(Object<F>),
    /// It leaves.
    Remove,
}

impl<F> Table<F> {
    /// An empty table for objects of so much weight together.
    pub fn new(capacity: u64) -> Self {
        let (index, rooms) = Index::new();
        Self {
            index,
            books: Mutex::new(Books { policy: Policy::new(capacity), rooms }),
            capacity: AtomicU64::new(capacity),
            weight: AtomicU64::new(0),
            len: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// The object with this number, for somebody who asked for it: it stays the longer for that.
    pub fn get(&self, number: u64) -> Option<Object<F>> {
        let object = self.index.find(number, true)?;
        object.head().visit();
        Some(object)
    }

    /// The same without a mark.
    pub fn peek(&self, number: u64) -> Option<Object<F>> {
        self.index.find(number, false)
    }

    /// Decides what becomes of what stands under a number, while nobody else does; says whether that was done.
    /// An object that is heavier than all together may be is not taken up, and one that lies in a table
    /// already is neither; what it was to replace leaves all the same in the first case, and stays in the
    /// second.
    ///
    /// `change` may look into this table, but not change it.
    pub fn update(
        &self,
        number: u64,
        change: impl FnOnce(Option<&Object<F>>) -> Change<F>,
    ) -> bool {
        // Whatever leaves is freed after the lock.
        let mut gone = Vec::new();
        let mut books = self.books();
        let there = self.peek(number);
        let done = match change(there.as_ref()) {
            Change::Keep => false,
            Change::Put(new) => self.put(&mut books, number, there, new, &mut gone),
            Change::Remove => there.is_some_and(|there| {
                books.policy.forget(&there);
                self.unlink(&mut books, there, &mut gone);
                true
            }),
        };
        self.weight.store(books.policy.weight(), Relaxed);
        self.len.store(books.policy.len() as u64, Relaxed);
        done
    }

    fn put(
        &self,
        books: &mut Books,
        number: u64,
        mut there: Option<Object<F>>,
        new: Object<F>,
        gone: &mut Vec<Object<F>>,
    ) -> bool {
        if new.weight() > self.capacity() {
            if let Some(there) = there {
                books.policy.forget(&there);
                self.unlink(books, there, gone);
            }
            return false;
        }
        // Nothing leaves for what cannot be taken up.
        if new.is_placed() {
            return false;
        }
        // First the room, so that the bound holds at any moment.
        while !books.policy.has_room(new.weight(), there.as_ref().map_or(0, Object::weight)) {
            let Some(evicted) = books.policy.evict(|number| self.peek(number)) else {
                return false;
            };
            there = there.filter(|there| !there.is_same(&evicted));
            self.evicted.fetch_add(1, Relaxed);
            self.unlink(books, evicted, gone);
        }
        let Some(there) = there else {
            if !books.policy.admit(number, &new) {
                return false;
            }
            let inserted = self.index.insert(&mut books.rooms, new.clone());
            if !inserted {
                books.policy.forget(&new);
            }
            return inserted;
        };
        let replaced = books.policy.replace(&there, &new);
        if replaced {
            self.index.replace(&there, new);
            gone.push(there);
        }
        replaced
    }

    fn unlink(&self, books: &mut Books, object: Object<F>, gone: &mut Vec<Object<F>>) {
        self.index.remove(&mut books.rooms, &object);
        gone.push(object);
    }

    /// Nothing in here panics between two steps that belong together.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all objects may weigh.
    pub fn capacity(&self) -> u64 {
        self.capacity.load(Relaxed)
    }

    /// Brings the capacity nearer to `wanted`; says whether it is that now. More is there at once. Of what is too
    /// much, `at_most` objects leave, so that nobody waits for long; call it again for the rest.
    pub fn resize(&self, wanted: u64, at_most: usize) -> bool {
        let mut gone = Vec::new();
        let mut books = self.books();
        while books.policy.weight() > wanted && gone.len() < at_most {
            let Some(evicted) = books.policy.evict(|number| self.peek(number)) else { break };
            self.evicted.fetch_add(1, Relaxed);
            self.unlink(&mut books, evicted, &mut gone);
        }
        let weight = books.policy.weight();
        let capacity = wanted.max(weight);
        books.policy.set_capacity(capacity);
        self.capacity.store(capacity, Relaxed);
        self.weight.store(weight, Relaxed);
        self.len.store(books.policy.len() as u64, Relaxed);
        capacity == wanted
    }

    /// All objects, in steps of bounded size, without a lock. What comes or leaves meanwhile may be among them
    /// or not.
    pub fn steps(&self) -> impl Iterator<Item = Vec<Object<F>>> {
        self.index.steps()
    }

    /// How many objects there are.
    pub fn len(&self) -> u64 {
        self.len.load(Relaxed)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they weigh; never more than the capacity.
    pub fn weight(&self) -> u64 {
        self.weight.load(Relaxed)
    }

    /// Objects that had to leave for others.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }
}

#[cfg(test)]
mod tests;
