//! The streams of a connection: slots that are used again, and where the stream of an id is.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
};

use bytes::Bytes;

/// What waits on a stream to be written.
#[derive(Debug)]
pub(crate) enum Item {
    Head(Bytes),
    Content(Bytes),
    Trailers(Bytes),
}

/// A stream that is not complete in both directions.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) id: u32,
    /// Content the peer takes; below zero after it made its initial window smaller (RFC 9113 §6.9.2).
    pub(crate) send_window: i32,
    /// Content the peer may send.
    pub(crate) receive_window: i32,
    /// Content the caller has and did not release.
    pub(crate) unreleased: u32,
    /// Released, and not announced yet.
    pub(crate) released: u32,
    /// What is left of Content-Length.
    pub(crate) expected: Option<u64>,
    pub(crate) queue: VecDeque<Item>,
    /// Octets of content in `queue`.
    pub(crate) unsent: usize,
    /// The peer has ended its side.
    pub(crate) has_received_all: bool,
    /// The caller has ended ours; what it left is in `queue`.
    pub(crate) is_ending: bool,
    /// END_STREAM is among what is to be written.
    pub(crate) has_sent_all: bool,
    /// It has a place in one of the queues of streams.
    pub(crate) is_scheduled: bool,
    next_free: u32,
}

/// Ids are counted by the peer, upwards: spreading them is all a hash must do, and at most `max_streams` of
/// them are chosen.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        octets.iter().for_each(|octet| self.write_u32(u32::from(*octet)));
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

const NONE: u32 = u32::MAX;
/// Slots kept when no stream is left.
const KEPT: usize = 4;

/// All streams, by slot and by id.
#[derive(Debug)]
pub(crate) struct Streams {
    slots: Vec<Stream>,
    places: HashMap<u32, u32, BuildHasherDefault<IdHasher>>,
    free: u32,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), places: HashMap::default(), free: NONE }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn find(&self, id: u32) -> Option<u32> {
        self.places.get(&id).copied()
    }

    pub(crate) fn by_id(&self, id: u32) -> Option<&Stream> {
        self.slots.get(self.find(id)? as usize)
    }

    /// The stream of a slot that `find` or `insert` has returned.
    pub(crate) fn at(&mut self, slot: u32) -> &mut Stream {
        &mut self.slots[slot as usize]
    }

    pub(crate) fn insert(&mut self, id: u32) -> u32 {
        let slot = if self.free == NONE {
            self.slots.push(Stream::default());
            self.slots.len() as u32 - 1
        } else {
            let slot = self.free;
            self.free = self.slots[slot as usize].next_free;
            slot
        };
        self.at(slot).id = id;
        self.places.insert(id, slot);
        slot
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        let free = self.free;
        let stream = self.at(slot);
        let id = stream.id;
        // A queue that has once been of use is kept, unless it is large.
        let mut queue = std::mem::take(&mut stream.queue);
        queue.clear();
        queue.shrink_to(KEPT);
        *stream = Stream { queue, next_free: free, ..Stream::default() };
        self.free = slot;
        self.places.remove(&id);
        if self.places.is_empty() && self.slots.len() > KEPT {
            self.shrink();
        }
    }

    /// All streams.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slots.iter_mut().filter(|stream| stream.id != 0)
    }

    /// Slots from 0 on, of which some may be free: their `id` is 0.
    pub(crate) fn slot_count(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Gives memory back if there is no stream.
    pub(crate) fn shrink(&mut self) {
        if self.places.is_empty() {
            *self = Self::new();
        }
    }

    pub(crate) fn memory(&self) -> usize {
        let queues: usize =
            self.slots.iter().map(|stream| stream.queue.capacity() * size_of::<Item>()).sum();
        self.slots.capacity() * size_of::<Stream>() + self.places.capacity() * 10 + queues
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_again() {
        let mut streams = Streams::new();
        let slots: Vec<u32> = (0..100).map(|n| streams.insert(n * 2 + 1)).collect();
        for (n, slot) in slots.iter().enumerate() {
            assert_eq!(streams.find(n as u32 * 2 + 1), Some(*slot));
        }
        streams.remove(slots[50]);
        streams.remove(slots[7]);
        assert_eq!((streams.find(101), streams.find(15), streams.len()), (None, None, 98));
        assert_eq!((streams.insert(1001), streams.insert(1003)), (slots[7], slots[50]));
        assert_eq!(streams.all().count(), 100);
        for slot in slots {
            streams.remove(slot);
        }
        assert_eq!((streams.len(), streams.memory()), (0, 0));
    }
}
