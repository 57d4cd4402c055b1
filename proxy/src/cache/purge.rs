//! Purging: what was stored before a purge step does not answer after it.
//!
//! Nothing is searched for. A purge is one record, "everything with this tag that was asked for before
//! step N", and each stored response knows the step at which its request was sent. So a purge costs the
//! same with one stored response or a million, holds for fetches in flight as for what lies on disk,
//! and is durable once its record is. A response remembers the last step that it was found to survive,
//! so that a hit compares two numbers while nobody purges.
//!
//! Records are forgotten when they are many. What they concern has to be gone by then, or be recognised:
//! - What lies in memory is looked at by the sweep and remembers that it was. Whatever asked before the
//!   last forgotten step, and was not looked at since, may be concerned by a record that is no more: it
//!   counts as purged. That takes what lands after the sweep, from a fetch that began long before it.
//! - What lies on disk needs no such mark. All that was there when the sweep began is looked at by it; all
//!   that comes later is looked at when it is written, by the same rule, under a lock that the sweep has
//!   held since the step was chosen ([`Disk`](super::Disk)). So what is read from disk stands by all that
//!   had been forgotten when the reading began.
//! - Where the sweep fails again and again, because the disk cannot be read, the records are replaced by
//!   one that purges everything: better an empty store than an old page, or memory without a bound.
//!
//! Whether another process over the same folder, which this one relieves or is relieved by, writes down
//! what was purged here is up to that process: each reads what the other has added to the journal at least
//! once a second.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use object_files::Journal;
use serde::{Deserialize, Serialize};

mod marks;
mod peers;

use marks::{Mark, Marks};
pub use marks::{Order, Prefix, Stamp, Standing, tag_number, uri_number};
use peers::Peers;
pub use peers::{Peer, everything};

use super::stored::{Stored, millis};

/// Records beyond which the store is swept and the records are forgotten.
pub const MANY: usize = 250_000;
/// Prefixes beyond which it is swept, and those of one order: they are compared one by one.
pub const MANY_PREFIXES: usize = 256;
/// Records beyond which they are forgotten even if nothing can be swept, for a purge of everything.
const TOO_MANY: usize = 4 * MANY;
/// URIs that may wait to be written down.
const PENDING_MAX: usize = 64 * 1024;
/// Length of a journal that is compacted once it has doubled since the last time.
const COMPACTED_FROM: u64 = 16 * 1024 * 1024;
/// Numbers in one line of the journal, and bytes of prefixes. A record has 1 MiB.
const LINE_NUMBERS: usize = 16 * 1024;
const LINE_PREFIXES: usize = 128 * 1024;

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

/// What waits to be written into the journal: URIs, under the step of the last of them. A later step than
/// their own purges more, never less.
#[derive(Default)]
struct Pending {
    seq: u64,
    at: u64,
    uris: Vec<u64>,
}

/// Where purges are written down.
enum Paper {
    /// Nowhere: there is nothing that would outlive the process.
    None,
    /// There should be a journal, and there is none.
    Missing,
    Journal {
        journal: Journal,
        /// How long it was after the last compaction.
        compacted: u64,
    },
}

/// All purges that may still matter.
pub struct Purges {
    seq: AtomicU64,
    /// Purges elsewhere are not heard of.
    is_deaf: AtomicBool,
    marks: RwLock<Marks>,
    /// Orders one purge after the other, and keeps them over a restart where there is a disk.
    paper: Mutex<Paper>,
    pending: Mutex<Pending>,
    comes: Condvar,
    peers: Peers,
}

impl Purges {
    /// Without a journal: they are forgotten with the responses that they concern.
    pub fn in_memory() -> Self {
        Self {
            // Zero is the mark of what was never purged.
            seq: AtomicU64::new(1),
            is_deaf: AtomicBool::new(false),
            marks: RwLock::default(),
            paper: Mutex::new(Paper::None),
            pending: Mutex::default(),
            comes: Condvar::new(),
            peers: Peers::default(),
        }
    }

    /// With a journal that cannot be opened: purges are in force, but every one of them is told to be lost
    /// with the process, because the next one may find what lies on disk.
    pub fn without_journal() -> Self {
        Self {
            paper: Mutex::new(Paper::Missing),
            ..Self::in_memory()
        }
    }

    /// Reads back the purges of earlier processes.
    pub fn with_journal(path: &Path) -> std::io::Result<Self> {
        let (journal, records) = Journal::open(path)?;
        let purges = Self {
            paper: Mutex::new(Paper::Journal {
                journal,
                compacted: 0,
            }),
            ..Self::in_memory()
        };
        purges.read_back(&records);
        Ok(purges)
    }

    /// Takes records from the journal for what they are. Says whether one is no later than what was
    /// known, as those of another process may be.
    fn read_back(&self, records: &[Vec<u8>]) -> bool {
        let mut late = false;
        for record in records {
            let mut marks = self.write();
            // One that this version cannot read concerns what it cannot know: better everything.
            let line: Line = serde_json::from_slice(record).unwrap_or_else(|_| Line {
                seq: self.seq() + 1,
                at: 0,
                order: Order {
                    all: true,
                    ..Order::default()
                },
            });
            late |= line.seq <= self.seq();
            self.mark(&mut marks, &line);
        }
        late
    }

    /// Learns what another process has written into the journal.
    fn read_others(&self, journal: &mut Journal) -> std::io::Result<()> {
        if self.read_back(&journal.others()?) {
            // What has been looked at already is looked at once more.
            let _marks = self.write();
            self.seq.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
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
        let (seq, written) = self.purge_now(order, now);
        self.peers.settle();
        written.map(|()| seq)
    }

    fn purge_now(&self, order: Order, now: SystemTime) -> (u64, std::io::Result<()>) {
        let mut paper = self.paper();
        let line = self.step(order, now);
        let written = match &mut *paper {
            Paper::None => Ok(()),
            Paper::Missing => Err(std::io::Error::other("there is no journal")),
            Paper::Journal { journal, .. } => lines(line.seq, line.at, &line.order)
                .and_then(|lines| lines.iter().try_for_each(|line| journal.append(line)))
                .and_then(|()| journal.sync()),
        };
        (line.seq, written)
    }

    /// Invalidates URIs after an unsafe request (RFC 9111 §4.4): in force at once, and soon written down
    /// by [`write_down`](Self::write_down) where that cannot be done at once. Waits for the disk only where
    /// too many wait for it already.
    pub fn invalidate(&self, uris: Vec<u64>, now: SystemTime) -> std::io::Result<()> {
        let mut pending = self.pending();
        let order = Order {
            numbers: uris,
            ..Order::default()
        };
        let line = self.step(order, now);
        pending.seq = pending.seq.max(line.seq);
        pending.at = line.at;
        pending.uris.extend(line.order.numbers);
        let many = pending.uris.len() > PENDING_MAX;
        drop(pending);
        if many {
            return self.write_down();
        }
        // One append is a copy within memory. Where somebody waits for the disk, who does may take it along.
        let written = match self.paper.try_lock() {
            Ok(mut paper) => self.append_pending(&mut paper),
            Err(_) => Ok(()),
        };
        self.comes.notify_one();
        written
    }

    /// Waits until there is something to be written down, but not for longer than this.
    pub fn wait_for_pending(&self, limit: Duration) {
        let pending = self.pending();
        if pending.uris.is_empty() {
            let _ = self.comes.wait_timeout(pending, limit);
        }
    }

    /// Writes down what waits for it, learns what another process has purged, and compacts the journal
    /// where it has grown or a flush has failed. Blocks.
    pub fn write_down(&self) -> std::io::Result<()> {
        let mut paper = self.paper();
        let result = self.append_pending(&mut paper);
        let Paper::Journal { journal, compacted } = &mut *paper else {
            return Ok(());
        };
        self.read_others(journal)?;
        if journal.len() > COMPACTED_FROM.max(2 * *compacted) || journal.is_lost() {
            journal.rewrite(&self.kept(0)?)?;
            *compacted = journal.len();
        }
        result
    }

    /// Writes down what waits for it, without waiting for the disk to have it.
    fn append_pending(&self, paper: &mut Paper) -> std::io::Result<()> {
        let pending = std::mem::take(&mut *self.pending());
        let Paper::Journal { journal, .. } = paper else {
            return Ok(());
        };
        if pending.uris.is_empty() {
            return Ok(());
        }
        let order = Order {
            numbers: pending.uris,
            ..Order::default()
        };
        let mut lines = lines(pending.seq, pending.at, &order)?.into_iter();
        lines.try_for_each(|line| journal.append(&line))
    }

    /// Takes the next step: from here on the order is in force. Steps follow the clock, so that a lost
    /// journal does not begin anew below the stamps of what lies on disk.
    fn step(&self, order: Order, now: SystemTime) -> Line {
        let mut marks = self.write();
        let at = millis(now);
        let seq = (self.seq() + 1).max(at);
        let line = Line { seq, at, order };
        self.mark(&mut marks, &line);
        drop(marks);
        self.peers.tell(&line);
        line
    }

    fn mark(&self, marks: &mut Marks, line: &Line) {
        let Line { seq, at, order } = line;
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
        self.standing_since(stamp, stamp.seq, key)
    }

    /// The same for what is known to have stood at a step.
    fn standing_since(&self, stamp: &Stamp, checked: u64, key: &[u8]) -> Standing {
        if stamp.seq >= self.seq() {
            return Standing::Untouched;
        }
        let marks = self.read();
        if stamp.seq.max(checked) < marks.forgotten {
            return Standing::Purged;
        }
        marks.standing(stamp, key)
    }

    /// How what lies on disk stands, of which nothing is there that a forgotten record concerns.
    pub fn standing_on_disk(&self, stamp: &Stamp, key: &[u8]) -> Standing {
        self.read().standing(stamp, key)
    }

    /// The step up to which records are forgotten.
    pub fn forgotten(&self) -> u64 {
        self.read().forgotten
    }

    /// The same for a stored response, which remembers the answer. `false`: it is gone.
    pub fn lets_stand(&self, stored: &Stored) -> bool {
        if self.is_deaf() {
            return false;
        }
        let seq = self.seq();
        let checked = stored.facts().checked.load(Ordering::Acquire);
        if checked >= seq {
            return true;
        }
        match self.standing_since(stored.stamp(), checked, stored.key()) {
            Standing::Purged => return false,
            Standing::Soft(since) => {
                let soft_since = &stored.facts().soft_since;
                soft_since.store(since.max(1), Ordering::Relaxed);
            }
            Standing::Untouched => {}
        }
        stored.facts().checked.fetch_max(seq, Ordering::Release);
        true
    }

    /// Whether no purge concerns a stored response, not even a soft one.
    pub fn leaves_untouched(&self, stored: &Stored) -> bool {
        self.lets_stand(stored) && stored.facts().soft_since.load(Ordering::Relaxed) == 0
    }

    /// Forgets the records up to a step, after everything that they concern has been swept out. After an
    /// error the journal still has them, which a restart brings back.
    pub fn forget(&self, up_to: u64) -> std::io::Result<()> {
        // No purge comes in between; invalidations may, and are written behind what is here.
        let mut paper = self.paper();
        let written = match &mut *paper {
            Paper::Journal { journal, compacted } => self
                .read_others(journal)
                .and_then(|()| journal.rewrite(&self.kept(up_to)?))
                .map(|()| *compacted = journal.len()),
            _ => Ok(()),
        };
        let mut marks = self.write();
        marks.numbers.retain(|_, mark| mark.is_after(up_to));
        marks.numbers.shrink_to_fit();
        marks.prefixes.retain(|(_, mark)| mark.is_after(up_to));
        marks.forgotten = marks.forgotten.max(up_to);
        written
    }

    /// Makes room where records cannot be forgotten because nothing can be swept: purges everything, and
    /// with it all that any record concerns. `None` where there are not that many.
    pub fn forget_for_all(&self, now: SystemTime) -> Option<std::io::Result<()>> {
        if self.len() <= TOO_MANY {
            return None;
        }
        let all = Order {
            all: true,
            ..Order::default()
        };
        let (step, written) = self.purge_now(all, now);
        // Whether or not the line is there: a rewritten journal has it.
        let forgotten = self.forget(step);
        Some(written.and(forgotten))
    }

    /// What is kept of the records up to a step, as lines of a journal.
    fn kept(&self, up_to: u64) -> std::io::Result<Vec<Vec<u8>>> {
        let mut of_all = Vec::new();
        let mut numbers: HashMap<(u64, u64, bool), Vec<u64>> = HashMap::new();
        let mut prefixes: HashMap<(u64, u64, bool), Vec<Prefix>> = HashMap::new();
        {
            let marks = self.read();
            of_all.extend(marks.all.steps());
            for (number, mark) in &marks.numbers {
                for step in mark.steps().filter(|_| mark.is_after(up_to)) {
                    numbers.entry(step).or_default().push(*number);
                }
            }
            for (prefix, mark) in &marks.prefixes {
                for step in mark.steps().filter(|_| mark.is_after(up_to)) {
                    prefixes.entry(step).or_default().push(prefix.clone());
                }
            }
        }
        let mut out = lines(self.seq(), 0, &Order::default())?;
        let of_all = of_all
            .into_iter()
            .map(|step| (step, true, Vec::new(), Vec::new()));
        let numbers = numbers
            .into_iter()
            .map(|(step, n)| (step, false, n, Vec::new()));
        let prefixes = prefixes
            .into_iter()
            .map(|(step, p)| (step, false, Vec::new(), p));
        for ((seq, at, soft), all, numbers, prefixes) in of_all.chain(numbers).chain(prefixes) {
            let order = Order {
                numbers,
                prefixes,
                all,
                soft,
            };
            out.extend(lines(seq, at, &order)?);
        }
        Ok(out)
    }

    fn read(&self) -> RwLockReadGuard<'_, Marks> {
        self.marks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Marks> {
        self.marks.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locked before `pending`, and that before the marks.
    fn paper(&self) -> MutexGuard<'_, Paper> {
        self.paper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lines of an order, each short enough for a record.
fn lines(seq: u64, at: u64, order: &Order) -> std::io::Result<Vec<Vec<u8>>> {
    let mut numbers = order.numbers.chunks(LINE_NUMBERS);
    let mut prefixes = order.prefixes.iter().peekable();
    let mut lines = Vec::new();
    loop {
        let mut part = Order {
            numbers: numbers.next().unwrap_or_default().to_vec(),
            prefixes: Vec::new(),
            all: order.all,
            soft: order.soft,
        };
        let mut length = 0;
        while length < LINE_PREFIXES
            && let Some(prefix) = prefixes.next()
        {
            length += prefix.authority.len() + prefix.target.len();
            part.prefixes.push(prefix.clone());
        }
        let order = part;
        lines.push(serde_json::to_vec(&Line { seq, at, order })?);
        if numbers.len() == 0 && prefixes.peek().is_none() {
            return Ok(lines);
        }
    }
}

/// How long ago a soft purge was.
pub fn since(at: u64, now: SystemTime) -> Duration {
    Duration::from_millis(millis(now).saturating_sub(at))
}

#[cfg(test)]
mod tests;
