//! One fetch on its way, and those who wait for it.
//!
//! A flight belongs to no visitor: a task of its own asks the shop, and everyone who wants the same
//! thing meanwhile, the first one included, reads what has arrived so far and waits for the rest. Who
//! leaves takes nothing away from the others.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
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
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};

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

/// Reads content as it arrives.
pub struct Reader {
    stay: Stay,
    changed: watch::Receiver<()>,
    id: u64,
    place: u64,
    /// Where the part that is wanted ends.
    until: u64,
    /// Pieces that were taken and put back.
    put_back: VecDeque<Bytes>,
}

impl Reader {
    /// From the first byte on; `None` where that has been dropped already.
    pub fn new(flight: &Arc<Flight>) -> Option<Self> {
        let mut progress = flight.progress();
        if progress.dropped_to > 0 {
            return None;
        }
        let id = progress.next_reader;
        progress.next_reader += 1;
        progress.places.insert((0, id));
        drop(progress);
        Some(Self {
            stay: flight.stay(),
            changed: flight.watch(),
            id,
            place: 0,
            until: u64::MAX,
            put_back: VecDeque::new(),
        })
    }

    /// Only the bytes from `first` to `last`, both included.
    pub fn limit(&mut self, first: u64, last: u64) {
        self.until = last.saturating_add(1);
        self.move_to(first);
    }

    fn move_to(&mut self, place: u64) {
        let flight = &self.stay.flight;
        // Who has all that it wants keeps nobody waiting while it writes that out.
        let kept = (place < self.until).then_some(place);
        let was_slowest = flight.progress().move_reader(self.id, self.place, kept);
        self.place = place;
        if was_slowest {
            flight.drained.notify_one();
        }
    }

    /// Puts the pieces that were taken last in front of the rest.
    pub fn put_back(&mut self, pieces: VecDeque<Bytes>) {
        self.put_back = pieces;
    }

    /// The next piece; `None` at the end. Waits for what has not arrived.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        enum Step {
            Piece(Bytes),
            File(WriterReader, usize),
            End(Result<(), Broken>),
            Wait,
        }
        if let Some(piece) = self.put_back.pop_front() {
            return Ok(Some(piece));
        }
        if self.place >= self.until {
            return Ok(None);
        }
        loop {
            self.changed.borrow_and_update();
            let step = {
                let progress = self.stay.flight.progress();
                match (progress.at(self.place), &progress.spool) {
                    (Some(piece), _) => Step::Piece(piece),
                    (None, Some(spool)) if self.place < progress.arrived => {
                        let left = progress.arrived.min(self.until) - self.place;
                        let take = usize::try_from(left).unwrap_or(usize::MAX);
                        Step::File(spool.clone(), take.min(SPOOL_READ))
                    }
                    // What was wanted is gone: the others went on without this one.
                    _ if self.place < progress.dropped_to => Step::End(Err(Broken)),
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
            self.move_to(self.place + piece.len() as u64);
            return Ok(Some(piece));
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let flight = &self.stay.flight;
        let mut progress = flight.progress();
        self.stay.is_counted = !progress.expelled.remove(&self.id);
        progress.charged.remove(&self.id);
        progress.places.remove(&(self.place, self.id));
        drop(progress);
        flight.drained.notify_one();
    }
}

/// Fetches at once. Each may outlive the visitor who caused it.
const MOST: usize = 8 * 1024;

type Shard = HashMap<Box<[u8]>, Arc<Flight>, ahash::RandomState>;

/// All fetches on their way, by key.
pub struct Flights {
    shards: [Mutex<Shard>; 16],
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
    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
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

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    fn flight() -> Arc<Flight> {
        Arc::new(Flight::new(b"key", 0))
    }

    fn reader(flight: &Arc<Flight>) -> Reader {
        Reader::new(flight).expect("nothing is dropped")
    }

    fn piece(length: usize) -> Bytes {
        Bytes::from(vec![b'x'; length])
    }

    /// Everything up to the end, or to a break.
    async fn all(reader: &mut Reader) -> (usize, Result<(), Broken>) {
        let mut read = 0;
        loop {
            match reader.next().await {
                Ok(Some(piece)) => read += piece.len(),
                Ok(None) => return (read, Ok(())),
                Err(broken) => return (read, Err(broken)),
            }
        }
    }

    #[tokio::test]
    async fn everyone_reads_all_of_it() {
        let flight = flight();
        let mut early = reader(&flight);
        assert!(flight.push(Bytes::from_static(b"abc")).await);
        assert!(flight.push(Bytes::from_static(b"def")).await);
        let mut late = reader(&flight);
        flight.end(Ok(()));
        assert_eq!(all(&mut early).await, (6, Ok(())));
        assert_eq!(all(&mut late).await, (6, Ok(())));
        assert!(flight.has(2, b"cde") && !flight.has(2, b"x") && !flight.has(5, b"fg"));
    }

    #[tokio::test]
    async fn what_breaks_off_breaks_for_all() {
        let flight = flight();
        let mut reader = reader(&flight);
        flight.push(piece(10)).await;
        flight.end(Err(Broken));
        assert_eq!(all(&mut reader).await, (10, Err(Broken)));
        flight.end_if_open();
    }

    #[tokio::test]
    async fn a_part_ends_where_it_ends() {
        let flight = flight();
        let mut part = reader(&flight);
        part.limit(2, 4);
        flight.push(Bytes::from_static(b"abcdefgh")).await;
        assert_eq!(part.next().await, Ok(Some(Bytes::from_static(b"cde"))));
        assert_eq!(part.next().await, Ok(None));
        // While it writes that out, the answer goes on without it.
        flight.pass();
        let mut other = reader(&flight);
        assert!(other.next().await.is_ok());
        assert_eq!(flight.progress().places.len(), 1);
    }

    #[tokio::test]
    async fn who_comes_after_something_was_dropped_is_sent_away() {
        let flight = flight();
        flight.pass();
        let mut first = reader(&flight);
        let big = piece(WINDOW as usize);
        assert!(timeout(SOON, flight.push(big)).await.is_err());
        let mut second = reader(&flight);
        first.next().await.expect("a piece");
        second.next().await.expect("a piece");
        flight.pass();
        assert!(flight.pieces().is_empty(), "all of it is read and dropped");
        assert!(Reader::new(&flight).is_none());
        flight.end(Ok(()));
        assert_eq!(first.next().await, Ok(None));
        second.limit(0, 9);
        assert_eq!(
            second.next().await,
            Err(Broken),
            "never as if it were empty"
        );
    }

    #[tokio::test]
    async fn the_fetch_waits_for_the_slowest() {
        let flight = flight();
        flight.pass();
        let (mut fast, mut slow) = (reader(&flight), reader(&flight));
        let big = piece(WINDOW as usize);
        assert!(timeout(SOON, flight.push(big.clone())).await.is_err());
        fast.next().await.expect("a piece");
        assert!(timeout(SOON, flight.push(piece(1))).await.is_err());
        slow.next().await.expect("a piece");
        assert_eq!(timeout(SOON, flight.push(piece(1))).await, Ok(true));
        drop((fast, slow));
        assert!(!flight.push(piece(1)).await, "nobody is left");
    }

    #[tokio::test]
    async fn who_keeps_others_waiting_is_left_behind() {
        let flight = flight();
        flight.pass();
        let (mut fast, mut slow, mut steady) = (reader(&flight), reader(&flight), reader(&flight));
        let big = piece(WINDOW as usize);
        assert!(timeout(SOON, flight.push(big.clone())).await.is_err());
        // As long as nobody has to wait for more, nobody is charged.
        flight.charge(PATIENCE * 3);
        assert!(flight.progress().expelled.is_empty());
        fast.next().await.expect("a piece");
        steady.next().await.expect("a piece");
        flight.charge(PATIENCE);
        assert!(flight.progress().expelled.is_empty());
        flight.charge(STEP);
        assert_eq!(flight.progress().expelled.len(), 1);
        assert_eq!(timeout(SOON, flight.push(piece(1))).await, Ok(true));
        assert_eq!(slow.next().await, Err(Broken));
        assert!(flight.is_wanted());
        drop(fast);
        drop(steady);
        // It is still there, but nobody reckons with it.
        assert!(!flight.is_wanted());
        drop(slow);
        assert_eq!(flight.readers.load(Ordering::Acquire), 0);
        assert!(Reader::new(&flight).is_none());
    }

    #[tokio::test]
    async fn one_alone_and_one_that_goes_on_may_be_slow() {
        let flight = flight();
        flight.pass();
        let mut alone = reader(&flight);
        let big = piece(WINDOW as usize);
        assert!(timeout(SOON, flight.push(big.clone())).await.is_err());
        flight.charge(PATIENCE * 3);
        assert!(alone.next().await.is_ok(), "it waits for itself only");
        let mut progress = flight.progress();
        // One that has taken a minute's worth may have kept others waiting for a minute.
        let place = 60 * SLOWEST;
        progress.places = BTreeSet::from([(place, 7), (place + WINDOW, 8)]);
        progress.pieces = VecDeque::from([(place, big)]);
        progress.arrived = place + WINDOW;
        assert_eq!(progress.charge(PATIENCE + Duration::from_secs(60)), 0);
        assert_eq!(progress.charge(STEP), 1);
    }

    #[tokio::test]
    async fn what_is_in_a_file_is_read_from_there() {
        let dir = std::env::temp_dir().join(format!("dhal-flight-{}", std::process::id()));
        let files = object_files::Files::open(object_files::Options {
            path: dir.clone(),
            capacity: 1 << 20,
            max_object: 1 << 20,
        });
        let mut writer = files.expect("a directory").create().expect("a file");
        let flight = flight();
        let mut early = reader(&flight);
        flight.push(Bytes::from_static(b"abc")).await;
        assert!(early.next().await.is_ok());
        writer.append(b"abcdef").expect("written");
        flight.spool(writer.reader(), 3);
        let mut late = reader(&flight);
        flight.spooled(6);
        // The disk takes no more.
        flight.push_now(Bytes::from_static(b"ghi"));
        flight.end(Ok(()));
        assert_eq!(all(&mut early).await, (6, Ok(())));
        assert_eq!(all(&mut late).await, (9, Ok(())));
        drop(writer);
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
