//! Which objects there are, how much room each takes and which was used last, in exact order.
//!
//! It is filled from the folder and never written down. A slot has 28 bytes and its entry in a map 20
//! and some, so a million objects take some 80 MB. It grows in small steps, because everyone waits
//! for the lock around it: slots in chunks, and the map in parts that grow one at a time.

use std::collections::HashMap;

use crate::folder::Id;

/// What a file takes is counted in these.
pub(crate) const PAGE: u64 = 4096;

const CHUNK: usize = 4096;
const PARTS: usize = 64;
const NONE: u32 = u32::MAX;

/// How many pages a file of this size takes.
pub(crate) fn pages(size: u64) -> u64 {
    size.div_ceil(PAGE)
}

#[derive(Clone, Copy)]
struct Slot {
    id: Id,
    pages: u32,
    newer: u32,
    /// In a slot that is free, the next that is.
    older: u32,
}

pub(crate) struct Index {
    /// The standard hasher is keyed, so nobody can choose keys that meet in one bucket.
    parts: Vec<HashMap<Id, u32>>,
    slots: Vec<Vec<Slot>>,
    free: u32,
    newest: u32,
    oldest: u32,
    objects: u64,
    pages: u64,
    /// Pages that writes under way may fill.
    pub(crate) reserved: u64,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self {
            parts: (0..PARTS).map(|_| HashMap::new()).collect(),
            slots: Vec::new(),
            free: NONE,
            newest: NONE,
            oldest: NONE,
            objects: 0,
            pages: 0,
            reserved: 0,
        }
    }

    pub(crate) fn objects(&self) -> u64 {
        self.objects
    }

    /// Pages of all objects and of the writes under way.
    pub(crate) fn pages(&self) -> u64 {
        self.pages + self.reserved
    }

    pub(crate) fn contains(&self, id: &Id) -> bool {
        self.parts[part(id)].contains_key(id)
    }

    /// Marks an object as the one used last. Says whether it is there.
    pub(crate) fn touch(&mut self, id: &Id) -> bool {
        let Some(&at) = self.parts[part(id)].get(id) else { return false };
        if at != self.newest {
            self.unlink(at);
            self.link_newest(at);
        }
        true
    }

    /// Adds an object, or notes its new size, as the one used last. It keeps its slot, so that a walk
    /// by [`ids`](Self::ids) meets it once.
    pub(crate) fn insert(&mut self, id: Id, pages: u64) {
        let pages = u32::try_from(pages).unwrap_or(u32::MAX);
        if self.touch(&id) {
            let slot = self.slot(self.newest);
            let before = std::mem::replace(&mut slot.pages, pages);
            self.pages = self.pages - u64::from(before) + u64::from(pages);
            return;
        }
        let at = self.allocate(id, pages);
        self.link_newest(at);
    }

    /// Adds an object as the one used longest ago, unless it is known already.
    pub(crate) fn insert_oldest(&mut self, id: Id, pages: u64) {
        if self.contains(&id) {
            return;
        }
        let at = self.allocate(id, u32::try_from(pages).unwrap_or(u32::MAX));
        let next = self.oldest;
        let slot = self.slot(at);
        (slot.newer, slot.older) = (next, NONE);
        match next {
            NONE => self.newest = at,
            next => self.slot(next).older = at,
        }
        self.oldest = at;
    }

    pub(crate) fn remove(&mut self, id: &Id) -> bool {
        let Some(at) = self.parts[part(id)].remove(id) else { return false };
        self.unlink(at);
        let free = self.free;
        let slot = self.slot(at);
        slot.older = free;
        let pages = std::mem::take(&mut slot.pages);
        self.free = at;
        self.objects -= 1;
        self.pages -= u64::from(pages);
        true
    }

    /// Removes the object used longest ago.
    pub(crate) fn pop_oldest(&mut self) -> Option<(Id, u64)> {
        if self.oldest == NONE {
            return None;
        }
        let Slot { id, pages, .. } = *self.slot(self.oldest);
        self.remove(&id);
        Some((id, u64::from(pages)))
    }

    /// Adds the objects of the `chunk`th part of the slots to `ids`; false: there are no more parts.
    pub(crate) fn ids(&self, chunk: usize, ids: &mut Vec<Id>) -> bool {
        let Some(slots) = self.slots.get(chunk) else { return false };
        // A slot that is free still has the name of who was there.
        let at = |nth: usize| (chunk * CHUNK + nth) as u32;
        let used = |(nth, slot): (usize, &Slot)| {
            (self.parts[part(&slot.id)].get(&slot.id) == Some(&at(nth))).then_some(slot.id)
        };
        ids.extend(slots.iter().enumerate().filter_map(used));
        true
    }

    fn allocate(&mut self, id: Id, pages: u32) -> u32 {
        let slot = Slot { id, pages, newer: NONE, older: NONE };
        let at = if self.free == NONE {
            if self.slots.last().is_none_or(|chunk| chunk.len() == CHUNK) {
                self.slots.push(Vec::with_capacity(CHUNK));
            }
            let chunk = self.slots.len() - 1;
            let slots = &mut self.slots[chunk];
            slots.push(slot);
            (chunk * CHUNK + slots.len() - 1) as u32
        } else {
            let at = self.free;
            self.free = self.slot(at).older;
            *self.slot(at) = slot;
            at
        };
        self.parts[part(&id)].insert(id, at);
        self.objects += 1;
        self.pages += u64::from(pages);
        at
    }

    fn link_newest(&mut self, at: u32) {
        let next = self.newest;
        let slot = self.slot(at);
        (slot.newer, slot.older) = (NONE, next);
        match next {
            NONE => self.oldest = at,
            next => self.slot(next).newer = at,
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: u32) {
        let Slot { newer, older, .. } = *self.slot(at);
        match newer {
            NONE => self.newest = older,
            newer => self.slot(newer).older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.slot(older).newer = newer,
        }
    }

    fn slot(&mut self, at: u32) -> &mut Slot {
        &mut self.slots[at as usize / CHUNK][at as usize % CHUNK]
    }
}

/// The last byte, because the first ones choose the folder that a scan reads at once.
fn part(id: &Id) -> usize {
    usize::from(id[15]) % PARTS
}

#[cfg(test)]
mod tests;
