//! One fetch on its way, and those who wait for it.
//!
//! A flight belongs to no visitor: a task of its own asks the shop, and everyone who wants the same
//! thing meanwhile, the first one included, reads what has arrived so far and waits for the rest. Who
//! leaves takes nothing away from the others.

mod flights;
mod reader;

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use adaptive_concurrency::Class;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use object_files::WriterReader;
use pingora_http::ResponseHeader;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};

pub use self::{flights::Flights, reader::Reader};
use crate::{
    cache::{Stored, purge::Stamp},
    respond::failure::Failure,
};

/// Content that is kept for readers of an answer that is not stored. The shop waits for them.
const WINDOW: u64 = 64 * 1024;
/// Pieces smaller than this are joined.
const SMALL: usize = 4 * 1024;
/// Up to this size.
const JOINED: usize = 32 * 1024;
/// So long may a reader of a passing answer keep others waiting, all in all,
const PATIENCE: Duration = Duration::from_secs(10);
/// and a second longer for so many bytes that it takes: who is slow but goes on sets the pace.
const SLOWEST: u64 = 64 * 1024;
/// Waits are charged to readers in steps of this length.
const STEP: Duration = Duration::from_secs(1);

/// The head of an answer on its way.
pub struct Head {
    /// As it is stored, or as the shop sent it.
    pub header: ResponseHeader,
    /// Bytes of content, where the shop said so.
    pub length: Option<u64>,
    /// The fields of the request that it depends on.
    pub vary: Vec<HeaderName>,
    /// What purges it.
    pub stamp: Stamp,
    /// Whether it is on its way into the store.
    pub is_stored: bool,
    /// Freshness in seconds, for `Cache-Status`.
    pub ttl: i64,
    /// Age in seconds when it came.
    pub age: u64,
}

/// What has come of a fetch.
#[derive(Clone)]
pub enum Stage {
    /// The shop has not answered.
    Asking,
    /// It answers; everyone may read.
    Arriving(Arc<Head>),
    /// It answers something that is for the one who caused the fetch, if for anyone.
    Solo(Arc<Head>),
    /// It answers something that nobody may have who has not asked for it in person.
    Refused,
    /// Nothing has to arrive: the store has it. `true` after the shop confirmed it.
    Stored(Stored, bool),
    /// Look into the store again, or ask again with what is known now.
    Again,
    /// There is no answer.
    Failed(Failure),
}

/// How content ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// A fetch on its way.
pub struct Flight {
    /// The key it was begun for.
    pub key: Box<[u8]>,
    /// The last purge step when it began.
    pub seq: u64,
    progress: Mutex<Progress>,
    changed: watch::Sender<()>,
    /// A reader has moved on, or is gone.
    drained: Notify,
    readers: AtomicUsize,
    /// That of the most important of those who wait, as its place in [`Class::ALL`].
    class: AtomicUsize,
    raised: Notify,
}

struct Progress {
    stage: Stage,
    /// What the shop was asked with.
    sent: Arc<HeaderMap>,
    interim: Vec<Arc<ResponseHeader>>,
    /// Pieces with their place in the content.
    pieces: VecDeque<(u64, Bytes)>,
    /// Bytes that have arrived.
    arrived: u64,
    end: Option<Result<(), Broken>>,
    spool: Option<WriterReader>,
    /// Not stored: pieces that everyone has read are dropped.
    passing: bool,
    /// What came before this place was dropped unstored.
    dropped_to: u64,
    /// Where readers are, the slowest first, with their numbers.
    places: BTreeSet<(u64, u64)>,
    /// Waits that have not been charged to anyone.
    waited: Duration,
    /// How long readers have kept others waiting.
    charged: HashMap<u64, Duration>,
    /// Readers that others no longer wait for, while they have not noticed.
    expelled: HashSet<u64>,
    next_reader: u64,
    asked: Asked,
}

/// Who was asked, for the log.
#[derive(Clone, Default)]
pub struct Asked {
    /// Name of the last server and how long it took to answer.
    pub server: Option<(String, Duration)>,
    /// Servers that were asked.
    pub attempts: u32,
    /// Why the last but one of them failed.
    pub retried: Option<&'static str>,
}

impl Flight {
    /// A fetch that is about to begin.
    pub fn new(key: &[u8], seq: u64) -> Self {
        Self {
            key: key.into(),
            seq,
            progress: Mutex::new(Progress {
                stage: Stage::Asking,
                sent: Arc::default(),
                interim: Vec::new(),
                pieces: VecDeque::new(),
                arrived: 0,
                end: None,
                spool: None,
                passing: false,
                dropped_to: 0,
                places: BTreeSet::new(),
                waited: Duration::ZERO,
                charged: HashMap::new(),
                expelled: HashSet::new(),
                next_reader: 0,
                asked: Asked::default(),
            }),
            changed: watch::Sender::new(()),
            drained: Notify::new(),
            readers: AtomicUsize::new(0),
            class: AtomicUsize::new(Class::Bot.index()),
            raised: Notify::new(),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_replace(());
    }

    /// To be told of every change.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What has come of it.
    pub fn stage(&self) -> Stage {
        self.progress().stage.clone()
    }

    /// Who was asked.
    pub fn asked(&self) -> Asked {
        self.progress().asked.clone()
    }

    /// With which fields.
    pub fn sent(&self) -> Arc<HeaderMap> {
        Arc::clone(&self.progress().sent)
    }

    /// Interim answers from the given one on.
    pub fn interim(&self, from: usize) -> Vec<Arc<ResponseHeader>> {
        let progress = self.progress();
        progress.interim.get(from..).unwrap_or_default().to_vec()
    }

    /// Somebody joins of whom it is known what they matter.
    pub fn raise(&self, class: Class) {
        if self.class.fetch_min(class.index(), Ordering::AcqRel) > class.index() {
            self.raised.notify_one();
        }
    }

    // From here on: for the task that asks.

    /// What it matters: as much as the most important of those who have joined.
    pub fn class(&self) -> Class {
        let class = Class::ALL.get(self.class.load(Ordering::Acquire));
        class.copied().unwrap_or(Class::Bot)
    }

    /// Returns when it matters more than it did.
    pub async fn raised(&self, before: Class) -> Class {
        loop {
            let class = self.class();
            if class < before {
                return class;
            }
            self.raised.notified().await;
        }
    }

    /// Notes what the shop is asked with.
    pub fn set_sent(&self, sent: HeaderMap) {
        self.progress().sent = Arc::new(sent);
    }

    /// Notes who is asked.
    pub fn set_asked(&self, asked: Asked) {
        self.progress().asked = asked;
    }

    /// An interim answer has come.
    pub fn add_interim(&self, header: ResponseHeader) {
        // No shop has a use for more, and each waits for slow visitors.
        const MOST: usize = 8;
        let mut progress = self.progress();
        if progress.interim.len() < MOST {
            progress.interim.push(Arc::new(header));
            drop(progress);
            self.tell();
        }
    }

    /// The fetch has come to something.
    pub fn set_stage(&self, stage: Stage) {
        let mut progress = self.progress();
        if matches!(stage, Stage::Solo(_)) {
            progress.passing = true;
        }
        progress.stage = stage;
        drop(progress);
        self.tell();
    }

    /// The answer is not stored after all: what everyone has read is dropped.
    pub fn pass(&self) {
        let mut progress = self.progress();
        progress.passing = true;
        progress.drop_read();
    }

    /// Content has come. Waits while readers of a passing answer are behind; `false` once nobody reads.
    /// A reader that keeps others waiting for too long is left behind.
    pub async fn push(&self, piece: Bytes) -> bool {
        let passing = {
            let mut progress = self.progress();
            progress.push(piece);
            progress.passing
        };
        self.tell();
        if !passing {
            return true;
        }
        loop {
            let drained = self.drained.notified();
            let step = {
                let mut progress = self.progress();
                progress.drop_read();
                if self.readers.load(Ordering::Acquire) == 0 {
                    return false;
                }
                if progress.held() < WINDOW {
                    return true;
                }
                STEP.saturating_sub(progress.waited)
            };
            let since = Instant::now();
            tokio::select! {
                () = drained => {}
                () = sleep(step) => {}
            }
            self.charge(since.elapsed());
        }
    }

    /// Charges a wait to those who are behind.
    fn charge(&self, waited: Duration) {
        let expelled = self.progress().charge(waited);
        if expelled > 0 {
            // They find that out once they come back to read, but nobody reckons with them any more.
            self.readers.fetch_sub(expelled, Ordering::AcqRel);
            self.tell();
        }
    }

    /// The same without waiting for anyone.
    pub fn push_now(&self, piece: Bytes) {
        self.progress().push(piece);
        self.tell();
    }

    /// Whether the answer only passes.
    pub fn is_passing(&self) -> bool {
        self.progress().passing
    }

    /// Content goes to a file from here on; the first `arrived` bytes are in it already.
    pub fn spool(&self, spool: WriterReader, arrived: u64) {
        let mut progress = self.progress();
        progress.spool = Some(spool);
        progress.pieces.clear();
        progress.arrived = arrived;
        drop(progress);
        self.tell();
    }

    /// More of the file can be read.
    pub fn spooled(&self, arrived: u64) {
        self.progress().arrived = arrived;
        self.tell();
    }

    /// The content is complete, or never will be.
    pub fn end(&self, end: Result<(), Broken>) {
        self.progress().end = Some(end);
        self.tell();
    }

    /// The same, unless it has ended already.
    pub fn end_if_open(&self) {
        let mut progress = self.progress();
        if progress.end.is_none() {
            progress.end = Some(Err(Broken));
            drop(progress);
            self.tell();
        }
    }

    /// Whether the content has these bytes at this place.
    pub fn has(&self, mut place: u64, mut bytes: &[u8]) -> bool {
        let progress = self.progress();
        while !bytes.is_empty() {
            let Some(piece) = progress.at(place) else {
                return false;
            };
            let length = piece.len().min(bytes.len());
            if piece[..length] != bytes[..length] {
                return false;
            }
            place += length as u64;
            bytes = &bytes[length..];
        }
        true
    }

    /// Content so far; for storing it.
    pub fn pieces(&self) -> Vec<Bytes> {
        let progress = self.progress();
        progress
            .pieces
            .iter()
            .map(|(_, piece)| piece.clone())
            .collect()
    }

    /// Whether somebody reads or waits.
    pub fn is_wanted(&self) -> bool {
        self.readers.load(Ordering::Acquire) > 0
    }

    /// Counts somebody who waits or reads, until dropped.
    pub fn stay(self: &Arc<Self>) -> Stay {
        self.readers.fetch_add(1, Ordering::AcqRel);
        Stay {
            flight: Arc::clone(self),
            is_counted: true,
        }
    }
}

impl Progress {
    fn push(&mut self, piece: Bytes) {
        let at = self.arrived;
        self.arrived += piece.len() as u64;
        if piece.len() < SMALL
            && let Some((_, last)) = self.pieces.back_mut()
            && last.len() + piece.len() <= JOINED
        {
            // A body of many tiny chunks would cost more in books than in bytes.
            *last = Bytes::from([&last[..], &piece[..]].concat());
            return;
        }
        self.pieces.push_back((at, piece));
    }

    fn held(&self) -> u64 {
        self.pieces
            .front()
            .map_or(0, |(start, _)| self.arrived - start)
    }

    fn drop_read(&mut self) {
        let slowest = self.places.first().map_or(0, |(place, _)| *place);
        while let Some((start, piece)) = self.pieces.front()
            && start + piece.len() as u64 <= slowest
        {
            self.dropped_to = start + piece.len() as u64;
            self.pieces.pop_front();
        }
    }

    /// Charges a wait to the readers that are behind while others have nothing left to read. Returns how
    /// many of them have overdrawn their account; nobody waits for these any more.
    fn charge(&mut self, waited: Duration) -> usize {
        // Among equally slow ones nobody keeps anyone waiting, and one alone only itself.
        let others_wait = self.places.last().is_some_and(|(p, _)| *p >= self.arrived);
        if !others_wait || self.held() < WINDOW {
            return 0;
        }
        self.waited += waited;
        if self.waited < STEP {
            return 0;
        }
        let waited = std::mem::take(&mut self.waited);
        let Some((start, piece)) = self.pieces.front() else {
            return 0;
        };
        // Not the last one only: whoever is far behind would be in its place next.
        let behind = (start + piece.len() as u64).max(self.arrived - WINDOW / 2);
        let mut expelled = Vec::new();
        for &(place, id) in self.places.range(..(behind, 0)) {
            let charged = self.charged.entry(id).or_default();
            *charged += waited;
            if *charged > PATIENCE + Duration::from_secs(place / SLOWEST) {
                expelled.push((place, id));
            }
        }
        for reader in &expelled {
            self.places.remove(reader);
            self.charged.remove(&reader.1);
            self.expelled.insert(reader.1);
        }
        expelled.len()
    }

    /// A reader has moved on; `true` where it was the slowest.
    fn move_reader(&mut self, id: u64, from: u64, to: Option<u64>) -> bool {
        if self.expelled.contains(&id) {
            return false;
        }
        let slowest = self.places.first().copied();
        self.places.remove(&(from, id));
        if let Some(to) = to {
            self.places.insert((to, id));
        }
        slowest == Some((from, id))
    }

    /// What is there from a place on.
    fn at(&self, place: u64) -> Option<Bytes> {
        let index = self.pieces.partition_point(|(start, _)| *start <= place);
        let (start, piece) = self.pieces.get(index.checked_sub(1)?)?;
        let offset = usize::try_from(place - start).ok()?;
        (offset < piece.len()).then(|| piece.slice(offset..))
    }
}

/// Somebody who waits for a flight or reads from it.
pub struct Stay {
    flight: Arc<Flight>,
    is_counted: bool,
}

impl Drop for Stay {
    fn drop(&mut self) {
        if self.is_counted && self.flight.readers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.flight.drained.notify_one();
            // Whoever waits for the shop on nobody's behalf may stop.
            self.flight.tell();
        }
    }
}

#[cfg(test)]
mod tests;
