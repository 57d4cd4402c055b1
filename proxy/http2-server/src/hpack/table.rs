//! The static table (RFC 7541 appendix A), and the decoder's dynamic one.

use std::collections::VecDeque;

use super::Kind;

/// Entries of the static table; index 1 is the first.
pub(crate) const STATIC: [(&str, &str, Kind); 61] = [
    (":authority", "", Kind::Authority),
    (":method", "GET", Kind::Method),
    (":method", "POST", Kind::Method),
    (":path", "/", Kind::Path),
    (":path", "/index.html", Kind::Path),
    (":scheme", "http", Kind::Scheme),
    (":scheme", "https", Kind::Scheme),
    (":status", "200", Kind::UnknownPseudo),
    (":status", "204", Kind::UnknownPseudo),
    (":status", "206", Kind::UnknownPseudo),
    (":status", "304", Kind::UnknownPseudo),
    (":status", "400", Kind::UnknownPseudo),
    (":status", "404", Kind::UnknownPseudo),
    (":status", "500", Kind::UnknownPseudo),
    ("accept-charset", "", Kind::Plain),
    ("accept-encoding", "gzip, deflate", Kind::Plain),
    ("accept-language", "", Kind::Plain),
    ("accept-ranges", "", Kind::Plain),
    ("accept", "", Kind::Plain),
    ("access-control-allow-origin", "", Kind::Plain),
    ("age", "", Kind::Plain),
    ("allow", "", Kind::Plain),
    ("authorization", "", Kind::Plain),
    ("cache-control", "", Kind::Plain),
    ("content-disposition", "", Kind::Plain),
    ("content-encoding", "", Kind::Plain),
    ("content-language", "", Kind::Plain),
    ("content-length", "", Kind::ContentLength),
    ("content-location", "", Kind::Plain),
    ("content-range", "", Kind::Plain),
    ("content-type", "", Kind::Plain),
    ("cookie", "", Kind::Cookie),
    ("date", "", Kind::Plain),
    ("etag", "", Kind::Plain),
    ("expect", "", Kind::Plain),
    ("expires", "", Kind::Plain),
    ("from", "", Kind::Plain),
    ("host", "", Kind::Host),
    ("if-match", "", Kind::Plain),
    ("if-modified-since", "", Kind::Plain),
    ("if-none-match", "", Kind::Plain),
    ("if-range", "", Kind::Plain),
    ("if-unmodified-since", "", Kind::Plain),
    ("last-modified", "", Kind::Plain),
    ("link", "", Kind::Plain),
    ("location", "", Kind::Plain),
    ("max-forwards", "", Kind::Plain),
    ("proxy-authenticate", "", Kind::Plain),
    ("proxy-authorization", "", Kind::Plain),
    ("range", "", Kind::Plain),
    ("referer", "", Kind::Plain),
    ("refresh", "", Kind::Plain),
    ("retry-after", "", Kind::Plain),
    ("server", "", Kind::Plain),
    ("set-cookie", "", Kind::Plain),
    ("strict-transport-security", "", Kind::Plain),
    ("transfer-encoding", "", Kind::ConnectionSpecific),
    ("user-agent", "", Kind::Plain),
    ("vary", "", Kind::Plain),
    ("via", "", Kind::Plain),
    ("www-authenticate", "", Kind::Plain),
];

/// What an entry costs beyond its octets (RFC 7541 §4.1).
pub(crate) const OVERHEAD: usize = 32;
/// The largest dynamic table: what a decoder without a setting has (RFC 9113 §6.5.2), which is enough
/// for the fields that a browser repeats.
pub(crate) const MAX_SIZE: usize = 4096;

/// An entry's place in the ring, with what was found out about it when it came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    at: u16,
    pub(crate) name_len: u16,
    pub(crate) value_len: u16,
    pub(crate) kind: Kind,
    pub(crate) sound: bool,
}

/// The dynamic table: one ring of octets, which grows as it fills, and eight octets an entry.
#[derive(Debug)]
pub(crate) struct Table {
    ring: Vec<u8>,
    /// The oldest first.
    entries: VecDeque<Entry>,
    /// Octets in the ring.
    used: usize,
    max: usize,
}

impl Table {
    pub(crate) const fn new() -> Self {
        Self { ring: Vec::new(), entries: VecDeque::new(), used: 0, max: MAX_SIZE }
    }

    /// The entry of an index behind the static table, 0 the newest.
    pub(crate) fn entry(&self, index: usize) -> Option<Entry> {
        self.entries.get(self.entries.len().checked_sub(index + 1)?).copied()
    }

    /// Appends the first `len` octets of an entry: its name, or name and value.
    pub(crate) fn copy(&self, entry: Entry, len: usize, out: &mut Vec<u8>) {
        let at = usize::from(entry.at);
        if let Some(run) = self.ring.get(at..at + len) {
            return out.extend_from_slice(run);
        }
        let first = &self.ring[at.min(self.ring.len())..];
        out.extend_from_slice(first);
        out.extend_from_slice(&self.ring[..(len - first.len()).min(self.ring.len())]);
    }

    /// Adds an entry, evicting old ones; one larger than the table empties it (RFC 7541 §4.4).
    pub(crate) fn insert(&mut self, field: &[u8], name_len: usize, kind: Kind, sound: bool) {
        let cost = field.len() + OVERHEAD;
        if cost > self.max {
            self.entries.clear();
            self.used = 0;
            return;
        }
        self.evict(self.max - cost);
        if self.used + field.len() > self.ring.len() {
            self.grow(self.used + field.len());
        }
        let at = self.end();
        let first = field.len().min(self.ring.len() - at);
        self.ring[at..at + first].copy_from_slice(&field[..first]);
        self.ring[..field.len() - first].copy_from_slice(&field[first..]);
        self.used += field.len();
        // All fit: no entry is larger than the table, of at most 4096 octets.
        let (name_len, value_len) = (name_len as u16, (field.len() - name_len) as u16);
        self.entries.push_back(Entry { at: at as u16, name_len, value_len, kind, sound });
    }

    /// Sets the size, at most [`MAX_SIZE`].
    pub(crate) fn resize(&mut self, max: usize) {
        self.max = max;
        self.evict(max);
        if max == 0 {
            *self = Self { max, ..Self::new() };
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.ring.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    fn size(&self) -> usize {
        self.used + self.entries.len() * OVERHEAD
    }

    fn evict(&mut self, to: usize) {
        while self.size() > to {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.used -= usize::from(oldest.name_len) + usize::from(oldest.value_len);
        }
    }

    fn end(&self) -> usize {
        let start = self.entries.front().map_or(0, |oldest| usize::from(oldest.at));
        let end = start + self.used;
        if end >= self.ring.len() { end - self.ring.len() } else { end }
    }

    /// Moves all into a ring of the next power of two.
    fn grow(&mut self, need: usize) {
        let mut ring = Vec::with_capacity(need.next_power_of_two().clamp(256, MAX_SIZE));
        for index in 0..self.entries.len() {
            let entry = self.entries[index];
            let at = ring.len() as u16;
            self.copy(entry, usize::from(entry.name_len) + usize::from(entry.value_len), &mut ring);
            self.entries[index].at = at;
        }
        ring.resize(ring.capacity().min(MAX_SIZE), 0);
        self.ring = ring;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(table: &Table, index: usize) -> Option<String> {
        let entry = table.entry(index)?;
        let mut out = Vec::new();
        let len = entry.name_len + entry.value_len;
        table.copy(entry, len.into(), &mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn entries_survive_growing_and_going_round() {
        let mut table = Table::new();
        let mut model: VecDeque<String> = VecDeque::new();
        for n in 0..3000 {
            let field = format!("name-{n}{}", "v".repeat(n * 7 % 300));
            table.insert(field.as_bytes(), 6, Kind::Plain, true);
            model.push_front(field);
            while model.iter().map(|field| field.len() + OVERHEAD).sum::<usize>() > MAX_SIZE {
                model.pop_back();
            }
            for (index, field) in model.iter().enumerate() {
                assert_eq!(at(&table, index).as_ref(), Some(field));
            }
            assert_eq!(at(&table, model.len()), None);
        }
        assert!(table.memory() <= MAX_SIZE + 1024, "{}", table.memory());
    }

    #[test]
    fn sizes() {
        let mut table = Table::new();
        assert_eq!(table.memory(), 0);
        table.insert(&[b'a'; MAX_SIZE - OVERHEAD], 1, Kind::Plain, true);
        assert!(table.entry(0).is_some());
        table.insert(&[b'a'; MAX_SIZE - OVERHEAD + 1], 1, Kind::Plain, true);
        assert!(table.entry(0).is_none(), "larger than the table");
        table.insert(b"ab", 1, Kind::Plain, true);
        table.insert(b"cd", 1, Kind::Plain, true);
        table.resize(67);
        assert_eq!((at(&table, 0), at(&table, 1)), (Some("cd".into()), None));
        table.resize(0);
        assert_eq!(table.memory(), 0);
        table.insert(b"", 0, Kind::Plain, true);
        assert!(table.entry(0).is_none());
        table.resize(MAX_SIZE);
        table.insert(b"", 0, Kind::Plain, true);
        assert_eq!(at(&table, 0), Some(String::new()));
    }
}
