//! Parts of responses that are not here as a whole (RFC 9111 §3.3): of what is too large to be stored,
//! and of what broke off. Parts of one version are put together (§3.4).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_caching::Spans;
use moka::{policy::EvictionPolicy, sync::Cache as Moka};

use super::Stored;

/// Parts may take this share of the memory that responses have.
const SHARE: u64 = 8;

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

    /// Adds bytes; what is there already is kept.
    fn add(&mut self, first: u64, bytes: Bytes) {
        let Some(last) = (bytes.len() as u64).checked_sub(1).map(|n| first + n) else {
            return;
        };
        if !self.spans.insert(first, last) {
            return;
        }
        self.pieces.push((first, bytes));
        self.pieces.sort_by_key(|(first, _)| *first);
        // One piece for each span, cut together from the pieces that lie in it.
        let spans = self.spans.as_slice().iter();
        self.pieces = spans
            .map(|(first, last)| (*first, cut(&self.pieces, *first, *last)))
            .collect();
    }

    /// The bytes from `first` to `last`, both included, if all of them are here.
    pub fn bytes(&self, first: u64, last: u64) -> Option<Bytes> {
        if !self.spans.covers(first, last) {
            return None;
        }
        let (start, piece) = self
            .pieces
            .iter()
            .rev()
            .find(|(start, _)| *start <= first)?;
        let from = usize::try_from(first - start).ok()?;
        let to = usize::try_from(last - start).ok()?;
        (to < piece.len()).then(|| piece.slice(from..=to))
    }

    /// What is here from the first byte on.
    pub fn beginning(&self) -> Option<Bytes> {
        let (first, piece) = self.pieces.first()?;
        (*first == 0).then(|| piece.clone())
    }

    fn weight(&self) -> usize {
        let bytes: usize = self.pieces.iter().map(|(_, piece)| piece.len() + 64).sum();
        self.stored.weight() + bytes
    }
}

/// One piece of those that lie in a span and leave no gap in it. They may overlap.
fn cut(pieces: &[(u64, Bytes)], first: u64, last: u64) -> Bytes {
    let whole =
        |(start, piece): &&(u64, Bytes)| *start == first && *start + piece.len() as u64 == last + 1;
    if let Some((_, piece)) = pieces.iter().find(whole) {
        return piece.clone();
    }
    let mut out = BytesMut::new();
    for (start, piece) in pieces {
        let next = first + out.len() as u64;
        let end = start + piece.len() as u64;
        if *start <= next && next < end && next <= last {
            let skip = usize::try_from(next - start).unwrap_or(usize::MAX);
            out.extend_from_slice(piece.get(skip..).unwrap_or_default());
        }
    }
    out.freeze()
}

/// All of them, by cache key; bounded by bytes.
pub struct Parts(Moka<Box<[u8]>, Arc<Partial>, ahash::RandomState>);

impl Parts {
    /// None yet. `memory` is what whole responses may take.
    pub fn new(memory: u64) -> Self {
        let map = Moka::builder()
            .max_capacity(memory / SHARE)
            .weigher(|key: &Box<[u8]>, partial: &Arc<Partial>| {
                u32::try_from(key.len() + partial.weight()).unwrap_or(u32::MAX)
            })
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(ahash::RandomState::new());
        Self(map)
    }

    /// What is here under a key.
    pub fn get(&self, key: &[u8]) -> Option<Arc<Partial>> {
        self.0.get(key)
    }

    /// Keeps a part, put together with those of the same version; others go (RFC 9111 §3.4).
    pub fn put(&self, mut partial: Partial) {
        let key: Box<[u8]> = partial.stored.key().into();
        if let Some(known) = self.0.get(&key)
            && known.complete == partial.complete
            && http_caching::combines(&known.stored.fields(), &partial.stored.fields())
        {
            for (first, bytes) in &known.pieces {
                partial.add(*first, bytes.clone());
            }
        }
        self.0.insert(key, Arc::new(partial));
    }

    /// Drops what is here under a key.
    pub fn remove(&self, key: &[u8]) {
        self.0.invalidate(key);
    }

    /// Lets evictions catch up.
    pub fn tidy(&self) {
        self.0.run_pending_tasks();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(spans: &[(u64, &'static str)]) -> Vec<(u64, Bytes)> {
        let piece = |(first, text): &(u64, &'static str)| (*first, Bytes::from(*text));
        spans.iter().map(piece).collect()
    }

    #[test]
    fn pieces_that_touch_or_overlap_become_one() {
        for (given, first, last, wanted) in [
            (&[(0, "abc"), (3, "def")][..], 0, 5, "abcdef"),
            (&[(0, "abcd"), (2, "cdef")], 0, 5, "abcdef"),
            (&[(0, "abcdef"), (2, "cd")], 0, 5, "abcdef"),
            (&[(2, "cd"), (2, "cdef")], 2, 5, "cdef"),
            (&[(7, "h")], 7, 7, "h"),
        ] {
            assert_eq!(cut(&pieces(given), first, last), wanted, "{given:?}");
        }
    }
}
