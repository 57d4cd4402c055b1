//! One fetch on its way, and those who wait for it.
//!
//! A flight belongs to no visitor: a task of its own asks the shop, and everyone who wants the same
//! thing meanwhile, the first one included, reads what has arrived so far and waits for the rest. Who
//! leaves takes nothing away from the others.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use object_files::WriterReader;
use pingora::http::ResponseHeader;
use tokio::sync::{Notify, watch};

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
/// What a reader of a spooled answer takes at once.
const SPOOL_READ: usize = 128 * 1024;

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
    Stored(Arc<Stored>, bool),
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
    /// Where readers of a passing answer are.
    places: HashMap<u64, u64>,
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
                places: HashMap::new(),
                next_reader: 0,
                asked: Asked::default(),
            }),
            changed: watch::Sender::new(()),
            drained: Notify::new(),
            readers: AtomicUsize::new(0),
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

    // From here on: for the task that asks.

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
            {
                let mut progress = self.progress();
                progress.drop_read();
                if self.readers.load(Ordering::Acquire) == 0 {
                    return false;
                }
                if progress.held() < WINDOW {
                    return true;
                }
            }
            drained.await;
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
        Stay(Arc::clone(self))
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
        let slowest = self.places.values().copied().min().unwrap_or(0);
        while let Some((start, piece)) = self.pieces.front()
            && start + piece.len() as u64 <= slowest
        {
            self.pieces.pop_front();
        }
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
pub struct Stay(Arc<Flight>);

impl Drop for Stay {
    fn drop(&mut self) {
        if self.0.readers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.drained.notify_one();
            // Whoever waits for the shop on nobody's behalf may stop.
            self.0.tell();
        }
    }
}

/// Reads content as it arrives.
pub struct Reader {
    stay: Stay,
    changed: watch::Receiver<()>,
    id: u64,
    place: u64,
    /// Where the part that is wanted ends.
    until: u64,
}

impl Reader {
    /// From the first byte on; `None` where that has been dropped already.
    pub fn new(flight: &Arc<Flight>) -> Option<Self> {
        let mut progress = flight.progress();
        if progress.spool.is_none() && progress.pieces.front().is_some_and(|(at, _)| *at > 0) {
            return None;
        }
        let id = progress.next_reader;
        progress.next_reader += 1;
        progress.places.insert(id, 0);
        drop(progress);
        Some(Self {
            stay: flight.stay(),
            changed: flight.watch(),
            id,
            place: 0,
            until: u64::MAX,
        })
    }

    /// Only the bytes from `first` to `last`, both included.
    pub fn limit(&mut self, first: u64, last: u64) {
        self.place = first;
        self.until = last.saturating_add(1);
        self.note_place();
    }

    fn note_place(&self) {
        let flight = &self.stay.0;
        let mut progress = flight.progress();
        progress.places.insert(self.id, self.place);
        if progress.passing {
            flight.drained.notify_one();
        }
    }

    /// The next piece; `None` at the end. Waits for what has not arrived.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        enum Step {
            Piece(Bytes),
            File(WriterReader, usize),
            End(Result<(), Broken>),
            Wait,
        }
        if self.place >= self.until {
            return Ok(None);
        }
        loop {
            self.changed.borrow_and_update();
            let step = {
                let progress = self.stay.0.progress();
                match (progress.at(self.place), &progress.spool) {
                    (Some(piece), _) => Step::Piece(piece),
                    (None, Some(spool)) if self.place < progress.arrived => {
                        let left = progress.arrived.min(self.until) - self.place;
                        let take = usize::try_from(left).unwrap_or(usize::MAX);
                        Step::File(spool.clone(), take.min(SPOOL_READ))
                    }
                    _ => progress.end.map_or(Step::Wait, Step::End),
                }
            };
            let mut piece = match step {
                Step::Piece(piece) => piece,
                Step::File(spool, take) => {
                    let place = self.place;
                    let read = move || spool.read_at(place, take);
                    match tokio::task::spawn_blocking(read).await {
                        Ok(Ok(piece)) if !piece.is_empty() => piece,
                        _ => return Err(Broken),
                    }
                }
                Step::End(end) => return end.map(|()| None),
                Step::Wait => {
                    if self.changed.changed().await.is_err() {
                        return Err(Broken);
                    }
                    continue;
                }
            };
            let left = self.until - self.place;
            if piece.len() as u64 > left {
                piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            }
            self.place += piece.len() as u64;
            self.note_place();
            return Ok(Some(piece));
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let flight = &self.stay.0;
        flight.progress().places.remove(&self.id);
        flight.drained.notify_one();
    }
}

/// Fetches at once. Each may outlive the visitor who caused it.
const MOST: usize = 8 * 1024;

/// All fetches on their way, by key.
pub struct Flights {
    shards: [Mutex<HashMap<Box<[u8]>, Arc<Flight>, ahash::RandomState>>; 16],
    hasher: ahash::RandomState,
    count: AtomicUsize,
}

impl Default for Flights {
    fn default() -> Self {
        Self {
            shards: Default::default(),
            hasher: ahash::RandomState::new(),
            count: AtomicUsize::new(0),
        }
    }
}

impl Flights {
    fn shard(
        &self,
        key: &[u8],
    ) -> MutexGuard<'_, HashMap<Box<[u8]>, Arc<Flight>, ahash::RandomState>> {
        let at = self.hasher.hash_one(key) as usize % self.shards.len();
        self.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The fetch for a key that is on its way, or a new one; `true` where it is new and has to begin.
    pub fn join(&self, key: &[u8], seq: u64) -> (Arc<Flight>, bool) {
        let mut shard = self.shard(key);
        if let Some(flight) = shard.get(key) {
            return (Arc::clone(flight), false);
        }
        let flight = Arc::new(Flight::new(key, seq));
        shard.insert(key.into(), Arc::clone(&flight));
        self.count.fetch_add(1, Ordering::Relaxed);
        (flight, true)
    }

    /// Whether so many are on their way that no more begin.
    pub fn are_many(&self) -> bool {
        self.count.load(Ordering::Relaxed) >= MOST
    }

    /// Nobody joins this one any more.
    pub fn retire(&self, flight: &Arc<Flight>) {
        let mut shard = self.shard(&flight.key);
        if shard
            .get(&flight.key)
            .is_some_and(|known| Arc::ptr_eq(known, flight))
        {
            shard.remove(&flight.key);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether those who come join this one.
    pub fn is_current(&self, flight: &Arc<Flight>) -> bool {
        let shard = self.shard(&flight.key);
        let known = shard.get(&flight.key);
        known.is_some_and(|known| Arc::ptr_eq(known, flight))
    }

    /// The step of the oldest one that is on its way.
    pub fn oldest_step(&self) -> Option<u64> {
        let shards = self.shards.iter();
        shards
            .filter_map(|shard| {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.values().map(|flight| flight.seq).min()
            })
            .min()
    }
}
