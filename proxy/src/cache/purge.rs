//! Purging: what was stored before a purge step does not answer after it.
//!
//! Nothing is searched for. A purge is one record, "everything with this tag that was asked for before
//! step N", and each stored response knows the step at which its request was sent. So a purge costs the
//! same with one stored response or a million, holds for fetches in flight as for what lies on disk,
//! and is durable once its record is. A response remembers the last step that it was found to survive,
//! so that a hit compares two numbers while nobody purges.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use object_files::Journal;
use serde::{Deserialize, Serialize};

use super::stored::{Stored, millis};

/// Records beyond which the store is swept and the records are forgotten.
pub const MANY: usize = 250_000;
/// Prefixes are compared one by one.
const MANY_PREFIXES: usize = 256;

/// What purges a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The last purge step when its request was sent.
    pub seq: u64,
    /// Its URI, whatever else its key has.
    pub uri: u64,
    /// The tags that the shop gave it.
    pub tags: Box<[u64]>,
}

/// The number of a tag, the same in every process. Whoever finds two tags with one number gets a page
/// purged too often.
pub fn tag_number(tag: &[u8]) -> u64 {
    number(b"tag", tag)
}

/// The number of a URI: scheme, authority, path and keyed query, as a cache key has them.
pub fn uri_number(uri_key: &[u8]) -> u64 {
    number(b"uri", uri_key)
}

fn number(kind: &[u8; 3], bytes: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(kind);
    hasher.update(bytes);
    let mut number = [0; 8];
    hasher.finalize_xof().fill(&mut number);
    u64::from_le_bytes(number)
}

/// What a purge is about.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Order {
    /// Numbers of tags and URIs.
    #[serde(default, rename = "n", skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<u64>,
    /// Targets that begin like this.
    #[serde(default, rename = "p", skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<Prefix>,
    /// Everything.
    #[serde(default, rename = "a", skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Stale from now on, rather than gone.
    #[serde(default, rename = "s", skip_serializing_if = "std::ops::Not::not")]
    pub soft: bool,
}

/// The targets of one origin that begin with some bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// `http` or `https`.
    pub scheme: String,
    /// Normalised.
    pub authority: String,
    /// How `path[?query]` begins.
    pub target: String,
}

impl Prefix {
    fn covers(&self, key: &[u8]) -> bool {
        let Some(uri) = http_caching::key::split(key) else {
            return false;
        };
        if uri.scheme != self.scheme.as_bytes() || uri.authority != self.authority.as_bytes() {
            return false;
        }
        match (self.target.split_once('?'), uri.query) {
            (None, _) => uri.path.starts_with(self.target.as_bytes()),
            (Some((path, begin)), Some(query)) => {
                uri.path == path.as_bytes() && query.starts_with(begin.as_bytes())
            }
            (Some(_), None) => false,
        }
    }
}

/// A line of the journal.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(rename = "q")]
    seq: u64,
    #[serde(rename = "t")]
    at: u64,
    #[serde(flatten)]
    order: Order,
}

/// The last purges of one thing.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// Step of the last one after which nothing older answers.
    hard: u64,
    /// Step of the last soft one.
    soft: u64,
    /// When it was, in milliseconds since 1970.
    soft_at: u64,
}

impl Mark {
    fn set(&mut self, seq: u64, at: u64, soft: bool) {
        if soft {
            (self.soft, self.soft_at) = (seq, at);
        } else {
            self.hard = seq;
        }
    }
}

#[derive(Default)]
struct Marks {
    all: Mark,
    numbers: HashMap<u64, Mark, ahash::RandomState>,
    prefixes: Vec<(Prefix, Mark)>,
}

/// How a stored response stands with the purges there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// None concerns it.
    Untouched,
    /// Stale since this moment, in milliseconds since 1970.
    Soft(u64),
    /// Gone.
    Purged,
}

/// All purges that may still matter.
pub struct Purges {
    seq: AtomicU64,
    marks: RwLock<Marks>,
    /// Orders one purge after the other, and keeps them over a restart where there is a disk.
    journal: Mutex<Option<Journal>>,
}

impl Purges {
    /// Without a journal: they are forgotten with the responses that they concern.
    pub fn in_memory() -> Self {
        Self {
            // Zero is the mark of what was never purged.
            seq: AtomicU64::new(1),
            marks: RwLock::default(),
            journal: Mutex::new(None),
        }
    }

    /// Reads back the purges of earlier processes.
    pub fn with_journal(path: &Path) -> std::io::Result<Self> {
        let (journal, records) = Journal::open(path)?;
        let purges = Self {
            journal: Mutex::new(Some(journal)),
            ..Self::in_memory()
        };
        for record in records {
            // One that this version cannot read concerns what it cannot know: better everything.
            let line: Line = serde_json::from_slice(&record).unwrap_or_else(|_| Line {
                seq: purges.seq() + 1,
                at: 0,
                order: Order {
                    all: true,
                    ..Order::default()
                },
            });
            purges.mark(&line);
        }
        Ok(purges)
    }

    /// The last step.
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    /// Records of purges that are kept.
    pub fn len(&self) -> usize {
        let marks = self.read();
        marks.numbers.len() + marks.prefixes.len()
    }

    /// Whether nothing was purged.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is time to sweep.
    pub fn are_many(&self) -> bool {
        let marks = self.read();
        marks.numbers.len() > MANY || marks.prefixes.len() > MANY_PREFIXES
    }

    /// Purges; what it returns is the number of the step. With a journal it is durable by then. Blocks
    /// for the disk. After an error it is in force all the same, but will not outlive the process.
    pub fn purge(&self, order: Order, now: SystemTime) -> std::io::Result<u64> {
        let mut journal = self.journal();
        let line = Line {
            seq: self.next(now),
            at: millis(now),
            order,
        };
        let written = journal.as_mut().map_or(Ok(()), |journal| {
            journal.append(&serde_json::to_vec(&line)?)?;
            journal.sync()
        });
        self.mark(&line);
        written.map(|()| line.seq)
    }

    /// Invalidates a URI after an unsafe request (RFC 9111 §4.4): in force at once and written down,
    /// but not waited for until the disk has it. Trouble with the journal is told, not obeyed.
    pub fn invalidate(&self, uris: Vec<u64>, now: SystemTime) -> std::io::Result<()> {
        let mut journal = self.journal();
        let line = Line {
            seq: self.next(now),
            at: millis(now),
            order: Order {
                numbers: uris,
                ..Order::default()
            },
        };
        self.mark(&line);
        match &mut *journal {
            Some(journal) => journal.append(&serde_json::to_vec(&line)?),
            None => Ok(()),
        }
    }

    /// The next step. Steps follow the clock, so that a lost journal does not begin anew below the
    /// stamps of what lies on disk.
    fn next(&self, now: SystemTime) -> u64 {
        (self.seq() + 1).max(millis(now))
    }

    fn mark(&self, line: &Line) {
        let Line { seq, at, order } = line;
        let mut marks = self.write();
        if order.all {
            marks.all.set(*seq, *at, order.soft);
        }
        for number in &order.numbers {
            let mark = marks.numbers.entry(*number).or_default();
            mark.set(*seq, *at, order.soft);
        }
        for prefix in &order.prefixes {
            match marks.prefixes.iter_mut().find(|(known, _)| known == prefix) {
                Some((_, mark)) => mark.set(*seq, *at, order.soft),
                None => {
                    let mut mark = Mark::default();
                    mark.set(*seq, *at, order.soft);
                    marks.prefixes.push((prefix.clone(), mark));
                }
            }
        }
        // Whoever reads the new number finds the marks that belong to it.
        self.seq.fetch_max(*seq, Ordering::Release);
    }

    /// How something with this stamp and key stands.
    pub fn standing(&self, stamp: &Stamp, key: &[u8]) -> Standing {
        if stamp.seq >= self.seq() {
            return Standing::Untouched;
        }
        let marks = self.read();
        let numbers = std::iter::once(&stamp.uri).chain(&stamp.tags);
        let marked = numbers.filter_map(|number| marks.numbers.get(number));
        let prefixes = marks.prefixes.iter().filter(|(p, _)| p.covers(key));
        let mut soft = None;
        for mark in marked
            .chain(prefixes.map(|(_, mark)| mark))
            .chain(std::iter::once(&marks.all))
        {
            if mark.hard > stamp.seq {
                return Standing::Purged;
            }
            if mark.soft > stamp.seq {
                soft = Some(soft.map_or(mark.soft_at, |at: u64| at.min(mark.soft_at)));
            }
        }
        soft.map_or(Standing::Untouched, Standing::Soft)
    }

    /// The same for a stored response, which remembers the answer. `false`: it is gone.
    pub fn lets_stand(&self, stored: &Stored) -> bool {
        let seq = self.seq();
        if stored.checked.load(Ordering::Acquire) >= seq {
            return true;
        }
        match self.standing(&stored.stamp, stored.key()) {
            Standing::Purged => return false,
            Standing::Soft(since) => stored.soft_since.store(since.max(1), Ordering::Relaxed),
            Standing::Untouched => {}
        }
        stored.checked.fetch_max(seq, Ordering::Release);
        true
    }

    /// Forgets the records up to a step, after everything that they concern has been swept out.
    pub fn forget(&self, up_to: u64) -> std::io::Result<()> {
        let mut journal = self.journal();
        let mut marks = self.write();
        let keep = |mark: &Mark| mark.hard > up_to || mark.soft > up_to;
        marks.numbers.retain(|_, mark| keep(mark));
        marks.numbers.shrink_to_fit();
        marks.prefixes.retain(|(_, mark)| keep(mark));
        let Some(journal) = &mut *journal else {
            return Ok(());
        };
        let mut lines = vec![line(self.seq(), 0, Order::default())?];
        for (soft, seq, at) in [
            (false, marks.all.hard, 0),
            (true, marks.all.soft, marks.all.soft_at),
        ] {
            let order = Order {
                all: true,
                soft,
                ..Order::default()
            };
            if seq > 0 {
                lines.push(line(seq, at, order)?);
            }
        }
        for (number, mark) in &marks.numbers {
            for (soft, seq, at) in [(false, mark.hard, 0), (true, mark.soft, mark.soft_at)] {
                let order = Order {
                    numbers: vec![*number],
                    soft,
                    ..Order::default()
                };
                if seq > 0 {
                    lines.push(line(seq, at, order)?);
                }
            }
        }
        for (prefix, mark) in &marks.prefixes {
            for (soft, seq, at) in [(false, mark.hard, 0), (true, mark.soft, mark.soft_at)] {
                let order = Order {
                    prefixes: vec![prefix.clone()],
                    soft,
                    ..Order::default()
                };
                if seq > 0 {
                    lines.push(line(seq, at, order)?);
                }
            }
        }
        journal.rewrite(&lines)
    }

    fn read(&self) -> RwLockReadGuard<'_, Marks> {
        self.marks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Marks> {
        self.marks.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal(&self) -> MutexGuard<'_, Option<Journal>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(seq: u64, at: u64, order: Order) -> std::io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&Line { seq, at, order })?)
}

/// How long ago a soft purge was.
pub fn since(at: u64, now: SystemTime) -> Duration {
    Duration::from_millis(millis(now).saturating_sub(at))
}

#[cfg(test)]
mod tests;
