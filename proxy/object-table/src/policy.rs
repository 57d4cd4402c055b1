//! What leaves when there is no room: S3-FIFO.
//!
//! What comes for the first time is *unproven* and gets a tenth of the room: most of it, on a day with a crawler
//! nearly all, is not asked for again and leaves by that short way. What was asked for meanwhile, or comes back
//! soon after it left, is *proven* and gets the rest. Both queues are read from the oldest on; a hit moves
//! nothing, it leaves a mark for the turn of its object.

use std::sync::atomic::Ordering::Relaxed;

use crate::{
    ghost::Ghost,
    object::{NOWHERE, Object},
    queue::{Nodes, Queue},
};

/// The unproven have one part in so many of the room, and what the others leave free.
const UNPROVEN_SHARE: u64 = 10;
/// Objects that are passed over for one that leaves. With all of them popular, the search would go on through
/// all of them, and everybody who stores would wait.
const PASSES_MAX: usize = 128;

/// The order of what lies in a table.
pub(crate) struct Policy {
    nodes: Nodes,
    unproven: Queue,
    proven: Queue,
    ghost: Ghost,
    capacity: u64,
    len: usize,
}

impl Policy {
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            nodes: Nodes::new(),
            unproven: Queue::new(),
            proven: Queue::new(),
            ghost: Ghost::new(),
            capacity,
            len: 0,
        }
    }

    /// What all objects weigh.
    pub(crate) fn weight(&self) -> u64 {
        self.unproven.weight + self.proven.weight
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// What all objects may weigh from now on: no less than they do.
    pub(crate) fn set_capacity(&mut self, capacity: u64) {
        self.capacity = capacity;
    }

    /// Whether something of this weight fits when something of that one leaves.
    pub(crate) fn has_room(&self, weight: u64, leaves: u64) -> bool {
        self.weight() - leaves + weight <= self.capacity
    }

    /// Takes up a new object; `false` where it lies in a table already.
    pub(crate) fn admit<F>(&mut self, number: u64, object: &Object<F>) -> bool {
        let head = object.head();
        if head.place.load(Relaxed) != NOWHERE {
            return false;
        }
        let Some(node) = self.nodes.take(number) else {
            return false;
        };
        let is_proven = self.ghost.recall(number, self.len);
        head.number.store(number, Relaxed);
        head.place.store(node, Relaxed);
        head.is_proven.store(is_proven, Relaxed);
        let queue = if is_proven { &mut self.proven } else { &mut self.unproven };
        queue.push(&mut self.nodes, node, head.weight);
        self.len += 1;
        true
    }

    /// Takes up a new form of an object in its place; `false` where it lies in a table already.
    pub(crate) fn replace<F>(&mut self, old: &Object<F>, new: &Object<F>) -> bool {
        let (old, new) = (old.head(), new.head());
        if new.place.load(Relaxed) != NOWHERE {
            return false;
        }
        let is_proven = old.is_proven.load(Relaxed);
        new.number.store(old.number.load(Relaxed), Relaxed);
        new.is_proven.store(is_proven, Relaxed);
        new.visits.store(old.visits.load(Relaxed), Relaxed);
        new.place.store(old.place.swap(NOWHERE, Relaxed), Relaxed);
        let queue = if is_proven { &mut self.proven } else { &mut self.unproven };
        queue.weight = queue.weight - old.weight + new.weight;
        true
    }

    /// Forgets an object.
    pub(crate) fn forget<F>(&mut self, object: &Object<F>) {
        let head = object.head();
        let node = head.place.swap(NOWHERE, Relaxed);
        let queue =
            if head.is_proven.load(Relaxed) { &mut self.proven } else { &mut self.unproven };
        queue.remove(&mut self.nodes, node, head.weight);
        self.nodes.give_back(node);
        self.len -= 1;
    }

    /// Chooses what leaves next and forgets it; `find` finds an object by its number. `None` where nothing
    /// is left.
    pub(crate) fn evict<F>(
        &mut self,
        find: impl Fn(u64) -> Option<Object<F>>,
    ) -> Option<Object<F>> {
        let mut passes = PASSES_MAX;
        loop {
            let unproven = self.unproven.oldest(&mut self.nodes);
            let has_more = self.unproven.weight * UNPROVEN_SHARE > self.capacity;
            let oldest = match unproven {
                Some(oldest) if has_more => Some(oldest),
                _ => self.proven.oldest(&mut self.nodes).or(unproven),
            };
            let (node, number) = oldest?;
            // All that is in the books is in the index.
            let object = find(number)?;
            let head = object.head();
            let visits = head.visits.load(Relaxed);
            let is_proven = head.is_proven.load(Relaxed);
            passes = passes.saturating_sub(1);
            if passes == 0 || visits == 0 {
                self.forget(&object);
                if !is_proven {
                    self.ghost.remember(number, self.len);
                }
                return Some(object);
            }
            let queue = if is_proven { &mut self.proven } else { &mut self.unproven };
            queue.remove(&mut self.nodes, node, head.weight);
            let visits = if is_proven { visits - 1 } else { 0 };
            head.visits.store(visits, Relaxed);
            head.is_proven.store(true, Relaxed);
            self.proven.push(&mut self.nodes, node, head.weight);
        }
    }
}
