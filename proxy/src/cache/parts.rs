//! Parts of responses that are not here as a whole (RFC 9111 §3.3): of what is too large to be stored,
//! and of what broke off. Parts of one version are put together (§3.4).

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http_caching::Spans;
use moka::{policy::EvictionPolicy, sync::Cache as Moka};

use super::{Purges, Stored};

/// Parts may take this share of the memory that responses have.
const SHARE: u64 = 8;
/// Pieces of one response that are kept apart.
const PIECES_MAX: usize = 64;

/// What is here of a response.
pub struct Partial {
    /// Its head as that of the whole would be: a 200 with the complete length. It has no content.
    pub stored: Stored,
    /// Bytes of the whole.
    pub complete: u64,
    spans: Spans,
    pieces: Vec<(u64, Bytes)>,
}

impl Partial {
    /// One part, the bytes from `first` on.
    pub fn new(stored: Stored, complete: u64, first: u64, bytes: Bytes) -> Self {
        let mut partial = Self {
            stored,
            complete,
            spans: Spans::default(),
            pieces: Vec::new(),
        };
        partial.add(first, bytes);
        partial
    }

    /// Adds bytes; what is there already is kept. They stay a piece of their own, because joining them
    /// with each part that comes would copy all that is here again and again.
    fn add(&mut self, first: u64, bytes: Bytes) {
        let Some(last) = (bytes.len() as u64).checked_sub(1).map(|n| first + n) else {
            return;
        };
        if self.spans.covers(first, last) || !self.spans.insert(first, last) {
            return;
        }
        let at = self.pieces.partition_point(|(start, _)| *start <= first);
        self.pieces.insert(at, (first, bytes));
        if self.pieces.len() > PIECES_MAX {
            // One piece for each span, cut together from the pieces that lie in it.
            let spans = self.spans.as_slice().iter();
            self.pieces = spans
                .map(|(first, last)| (*first, cut(&self.pieces, *first, *last)))
                .collect();
        }
    }

    /// The bytes from `first` to `last`, both included, if all of them are here.
    pub fn bytes(&self, first: u64, last: u64) -> Option<Bytes> {
        self.spans
            .covers(first, last)
            .then(|| cut(&self.pieces, first, last))
    }

    /// What is here from the first byte on.
    pub fn beginning(&self) -> Option<Bytes> {
        let (first, last) = self.spans.as_slice().first()?;
        (*first == 0).then(|| cut(&self.pieces, 0, *last))
    }

    fn weight(&self) -> usize {
        let bytes: usize = self.pieces.iter().map(|(_, piece)| piece.len() + 64).sum();
        self.stored.weight() + bytes
    }
}

/// The bytes from `first` to `last` out of pieces in the order of their beginnings, which may overlap
/// and leave no gap there. Copies only where one piece does not have them all.
fn cut(pieces: &[(u64, Bytes)], first: u64, last: u64) -> Bytes {
    let within = |start: u64, piece: &Bytes, from: u64| {
        let end = start + piece.len() as u64;
        let (from, to) = (
            from.checked_sub(start)?,
            end.min(last + 1).checked_sub(start)?,
        );
        let range = usize::try_from(from).ok()?..usize::try_from(to).ok()?;
        (range.start < range.end).then(|| piece.slice(range))
    };
    let wanted = usize::try_from(last - first + 1).unwrap_or(usize::MAX);
    let mut out = BytesMut::new();
    for (start, piece) in pieces {
        let Some(bytes) = within(*start, piece, first + out.len() as u64) else {
            continue;
        };
        if bytes.len() == wanted {
            return bytes;
        }
        out.extend_from_slice(&bytes);
    }
    out.freeze()
}

/// All of them, by cache key; bounded by bytes.
pub struct Parts(ArcSwap<Map>, Mutex<()>);

type Map = Moka<Key, Arc<Partial>, ahash::RandomState>;

type Key = Box<[u8]>;

impl Parts {
    /// None yet. `memory` is what whole responses may take.
    pub fn new(memory: u64) -> Self {
        Self(ArcSwap::from_pointee(map(memory)), Mutex::default())
    }

    /// Takes another bound: those that are here move, and those that do not fit go. One that comes
    /// at this very moment may be missed.
    pub fn resize(&self, memory: u64) {
        // A sweep sees the old place or the new one: what it drops does not come back.
        let _moving = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let new = map(memory);
        for (key, partial) in &**self.0.load() {
            new.insert(Key::clone(&key), partial);
        }
        self.0.store(Arc::new(new));
    }

    /// What is here under a key.
    pub fn get(&self, key: &[u8]) -> Option<Arc<Partial>> {
        self.0.load().get(key)
    }

    /// Keeps a part, put together with those of the same version; others go (RFC 9111 §3.4). So do those
    /// that were purged meanwhile, softly too: the same tag does not bring back what was to be refreshed.
    pub fn put(&self, mut partial: Partial, purges: &Purges) {
        if !purges.lets_stand(&partial.stored) {
            return;
        }
        let key: Box<[u8]> = partial.stored.key().into();
        if let Some(known) = self.0.load().get(&key)
            && purges.leaves_untouched(&known.stored)
            && known.complete == partial.complete
            && http_caching::combines(&known.stored.fields(), &partial.stored.fields())
        {
            for (first, bytes) in &known.pieces {
                partial.add(*first, bytes.clone());
            }
        }
        self.0.load().insert(key, Arc::new(partial));
    }

    /// Drops what is here under a key.
    pub fn remove(&self, key: &[u8]) {
        self.0.load().invalidate(key);
    }

    /// Drops what was purged; returns how much of it there was.
    pub fn sweep(&self, purges: &Purges) -> u64 {
        let _moving = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let mut swept = 0;
        for (key, partial) in &**self.0.load() {
            if !purges.lets_stand(&partial.stored) {
                self.0.load().invalidate(&*key);
                swept += 1;
            }
        }
        swept
    }

    /// Lets evictions catch up.
    pub fn tidy(&self) {
        self.0.load().run_pending_tasks();
    }
}

fn map(memory: u64) -> Map {
    Moka::builder()
        .max_capacity(memory / SHARE)
        .weigher(|key: &Key, partial: &Arc<Partial>| {
            u32::try_from(key.len() + partial.weight()).unwrap_or(u32::MAX)
        })
        .eviction_policy(EvictionPolicy::lru())
        .build_with_hasher(ahash::RandomState::new())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http_caching::{Lifetimes, Storable};

    use super::*;
    use crate::cache::{
        purge::{Order, Stamp},
        stored::Judged,
    };

    fn pieces(spans: &[(u64, &'static str)]) -> Vec<(u64, Bytes)> {
        let piece = |(first, text): &(u64, &'static str)| (*first, Bytes::from(*text));
        spans.iter().map(piece).collect()
    }

    #[test]
    fn bytes_are_read_across_pieces() {
        for (given, first, last, wanted) in [
            (&[(0, "abc"), (3, "def")][..], 0, 5, "abcdef"),
            (&[(0, "abc"), (3, "def")], 1, 4, "bcde"),
            (&[(0, "abc"), (3, "def")], 4, 5, "ef"),
            (&[(0, "abcd"), (2, "cdef")], 0, 5, "abcdef"),
            (&[(0, "abcd"), (2, "cdef")], 3, 4, "de"),
            (&[(0, "abcdef"), (2, "cd")], 0, 5, "abcdef"),
            (&[(2, "cd"), (2, "cdef")], 2, 5, "cdef"),
            (&[(0, "a"), (2, "cd"), (4, "e")], 3, 4, "de"),
            (&[(7, "h")], 7, 7, "h"),
        ] {
            assert_eq!(cut(&pieces(given), first, last), wanted, "{given:?}");
        }
    }

    fn partial(purges: &Purges, first: u64, bytes: &'static [u8]) -> Partial {
        let judged = Judged {
            rules: Storable {
                lifetimes: Lifetimes::default(),
                age: Duration::ZERO,
                vary: Vec::new(),
                excluded: Vec::new(),
                shared_with_credentials: false,
            },
            response_time: UNIX_EPOCH,
            stamp: Stamp {
                seq: purges.seq(),
                ..Stamp::default()
            },
            is_told_aside: false,
        };
        let head = b"HTTP/1.1 200 OK\r\netag: \"1\"\r\n";
        let stored = Stored::from_head(b"key", head, 200, Some(&[]), 0, judged);
        Partial::new(stored, 1_000, first, Bytes::from_static(bytes))
    }

    #[test]
    fn parts_from_before_a_purge_are_not_joined_with_those_after_it() {
        for (soft, wanted) in [
            (None, Some("abcd")),
            (Some(false), None),
            (Some(true), None),
        ] {
            let (purges, parts) = (Purges::in_memory(), Parts::new(1 << 20));
            parts.put(partial(&purges, 0, b"ab"), &purges);
            if let Some(soft) = soft {
                let all = Order {
                    all: true,
                    soft,
                    ..Order::default()
                };
                purges.purge(all, UNIX_EPOCH).expect("no disk");
            }
            parts.put(partial(&purges, 2, b"cd"), &purges);
            let there = parts.get(b"key").expect("the new part");
            assert_eq!(there.bytes(2, 3).as_deref(), Some(&b"cd"[..]));
            let joined = there.beginning();
            assert_eq!(joined.as_deref(), wanted.map(str::as_bytes), "{soft:?}");
        }
    }

    #[test]
    fn many_pieces_are_joined_at_last() {
        let purges = Purges::in_memory();
        let mut whole = partial(&purges, 0, b"0");
        for at in 1..1_000 {
            whole.add(at, Bytes::from_static(b"1"));
            assert!(whole.pieces.len() <= PIECES_MAX);
        }
        assert_eq!(whole.beginning().map(|bytes| bytes.len()), Some(1_000));
    }
}
