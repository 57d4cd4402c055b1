//! The requests of a log in the order in which they came, in a temporary file.
//!
//! A line is written when its request is done, so lines are not in the order of the times they tell: a request that
//! took ten seconds stands ten seconds too late. What limits count are beginnings.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
};

use crate::random;

/// How long a request may have taken and still be put where it belongs; downloads that took longer are counted as
/// late and left out.
const REORDER_MS: u64 = 60_000;

/// A line this far ahead of the ones before it is believed when further ones agree: no visitor comes for hours, or a
/// clock was wrong.
const JUMP_MS: u64 = 3_600_000;

/// So many lines behind one that is far ahead.
const AGREE: usize = 2;

/// Requests that wait for their place, 24 bytes each; with more of them in a minute, the wait is shorter.
const REORDER_MAX: usize = 1 << 18;

/// Octets of a request in the file.
const RECORD: usize = 12;

/// Requests that are read at once.
const CHUNK: usize = 4096;

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    /// Since the beginning of 1970.
    pub(super) time_ms: u64,
    /// A number of `Keys`.
    pub(super) key: u32,
    pub(super) status: u16,
}

impl Seen {
    fn octets(self) -> [u8; RECORD] {
        let mut octets = [0; RECORD];
        // 48 bits of milliseconds are nine thousand years.
        let first = self.time_ms << 16 | u64::from(self.status);
        octets[..8].copy_from_slice(&first.to_le_bytes());
        octets[8..].copy_from_slice(&self.key.to_le_bytes());
        octets
    }

    fn read(octets: &[u8; RECORD]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *octets;
        let first = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        Self {
            time_ms: first >> 16,
            key: u32::from_le_bytes([i, j, k, l]),
            status: first as u16,
        }
    }
}

/// Takes requests in the order of the log.
pub(super) struct Writer {
    file: BufWriter<File>,
    waiting: BinaryHeap<Reverse<Seen>>,
    /// Lines from one on that is far ahead, at most as many as it takes to believe it.
    doubted: VecDeque<Seen>,
    latest_ms: u64,
    written_ms: u64,
    written: u64,
    late: u64,
    broken: u64,
}

impl Writer {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::with_capacity(1 << 16, temporary()?),
            waiting: BinaryHeap::new(),
            doubted: VecDeque::new(),
            latest_ms: 0,
            written_ms: 0,
            written: 0,
            late: 0,
            broken: 0,
        })
    }

    pub(super) fn push(&mut self, time_ms: u64, key: u32, status: u16) -> io::Result<()> {
        let seen = Seen {
            time_ms,
            key,
            status,
        };
        // This line says that those were far ahead of the time.
        let before = self.doubted.len();
        self.doubted
            .retain(|doubted| doubted.time_ms <= time_ms.saturating_add(JUMP_MS));
        self.broken += (before - self.doubted.len()) as u64;
        if self.doubted.is_empty() && !self.is_far_ahead(seen) {
            return self.accept(seen);
        }
        self.doubted.push_back(seen);
        if self.doubted.len() > AGREE {
            self.believe_first()?;
        }
        while let Some(first) = self.doubted.front()
            && !self.is_far_ahead(*first)
        {
            self.believe_first()?;
        }
        Ok(())
    }

    fn is_far_ahead(&self, seen: Seen) -> bool {
        seen.time_ms > self.latest_ms.saturating_add(JUMP_MS)
    }

    fn believe_first(&mut self) -> io::Result<()> {
        match self.doubted.pop_front() {
            Some(first) => self.accept(first),
            None => Ok(()),
        }
    }

    fn accept(&mut self, seen: Seen) -> io::Result<()> {
        if seen.time_ms < self.written_ms {
            self.late += 1;
            return Ok(());
        }
        self.latest_ms = self.latest_ms.max(seen.time_ms);
        self.waiting.push(Reverse(seen));
        while let Some(Reverse(first)) = self.waiting.peek() {
            let due = first.time_ms + REORDER_MS < self.latest_ms;
            if !due && self.waiting.len() <= REORDER_MAX {
                break;
            }
            self.write_first()?;
        }
        Ok(())
    }

    fn write_first(&mut self) -> io::Result<()> {
        if let Some(Reverse(first)) = self.waiting.pop() {
            self.file.write_all(&first.octets())?;
            self.written_ms = first.time_ms;
            self.written += 1;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<Spool> {
        // A log of so few lines has nothing to doubt them by.
        if self.latest_ms == 0 {
            while !self.doubted.is_empty() {
                self.believe_first()?;
            }
        }
        self.broken += self.doubted.len() as u64;
        while !self.waiting.is_empty() {
            self.write_first()?;
        }
        Ok(Spool {
            file: self.file.into_inner().map_err(|error| error.into_error())?,
            requests: self.written,
            late: self.late,
            broken: self.broken,
        })
    }
}

/// All requests, by time.
pub(super) struct Spool {
    file: File,
    requests: u64,
    late: u64,
    broken: u64,
}

impl Spool {
    pub(super) fn len(&self) -> u64 {
        self.requests
    }

    /// Lines that came too late to be put in their place.
    pub(super) fn late(&self) -> u64 {
        self.late
    }

    /// Lines that were far ahead of the ones behind them.
    pub(super) fn broken(&self) -> u64 {
        self.broken
    }

    /// From the beginning.
    pub(super) fn read(&self) -> Reader<'_> {
        Reader {
            spool: self,
            next: 0,
            chunk: Vec::new(),
            at: 0,
        }
    }

    /// Calls `each` with every request.
    pub(super) fn for_each(&self, mut each: impl FnMut(Seen)) -> io::Result<()> {
        let mut reader = self.read();
        while let Some(seen) = reader.peek()? {
            each(seen);
            reader.pass();
        }
        Ok(())
    }
}

/// A place in the order of requests; there may be several at once.
pub(super) struct Reader<'a> {
    spool: &'a Spool,
    /// Number of the first request after the chunk.
    next: u64,
    chunk: Vec<u8>,
    at: usize,
}

impl Reader<'_> {
    /// The request at this place, none at the end.
    pub(super) fn peek(&mut self) -> io::Result<Option<Seen>> {
        if self.at == self.chunk.len() {
            let count = (self.spool.requests - self.next).min(CHUNK as u64);
            self.chunk.resize(count as usize * RECORD, 0);
            let from = self.next * RECORD as u64;
            self.spool.file.read_exact_at(&mut self.chunk, from)?;
            self.next += count;
            self.at = 0;
        }
        let octets = self.chunk[self.at..].first_chunk::<RECORD>();
        Ok(octets.map(Seen::read))
    }

    /// Goes on to the next one.
    pub(super) fn pass(&mut self) {
        self.at = (self.at + RECORD).min(self.chunk.len());
    }
}

/// A file without a name, which is gone with this process.
fn temporary() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("dhal-limits-{:016x}", random::next()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_stand_in_the_order_in_which_they_came() {
        let mut writer = Writer::new().unwrap();
        // One that took ten seconds, and one that took longer than anything waits.
        for (time_ms, key) in [(5_000, 1), (1_000, 2), (4_000, 3), (70_000, 4), (2_000, 5)] {
            writer.push(time_ms, key, 200 + key as u16).unwrap();
        }
        let spool = writer.finish().unwrap();
        assert_eq!((spool.len(), spool.late()), (4, 1));
        let mut keys = Vec::new();
        spool
            .for_each(|seen| {
                assert_eq!(u32::from(seen.status), 200 + seen.key);
                keys.push((seen.time_ms, seen.key));
            })
            .unwrap();
        assert_eq!(keys, [(1_000, 2), (4_000, 3), (5_000, 1), (70_000, 4)]);
    }

    #[test]
    fn more_than_a_chunk() {
        let mut writer = Writer::new().unwrap();
        let count = CHUNK as u32 * 2 + 7;
        for key in 0..count {
            writer.push(u64::from(key / 3), key, 200).unwrap();
        }
        let spool = writer.finish().unwrap();
        let mut next = 0;
        spool
            .for_each(|seen| {
                assert_eq!(seen.key, next);
                next += 1;
            })
            .unwrap();
        assert_eq!(next, count);
    }
}
