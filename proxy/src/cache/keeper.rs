//! What happens to a response after it was stored: it is compressed, and written to the disk. Two
//! threads do it, behind the visitors' backs; one passes on to the other. A third keeps the journal of
//! purges.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    Disk, Store, Stored, compress,
    purge::{Stamp, Standing},
    store::Variation,
};
use crate::shared::Shared;

/// Responses that may wait to be compressed. Those beyond it are served as they are.
const TO_COMPRESS: usize = 16 * 1024;
/// Jobs that may wait for the disk.
const TO_WRITE: usize = 64 * 1024;
/// The responses that wait in one queue may take this share of the memory that stored ones have. They may
/// have left that already, so that what waits comes on top of it.
const SHARE: u64 = 8;
/// But this much in any case, or a small memory would leave the disk without work.
const BYTES_MIN: u64 = 16 * 1024 * 1024;
/// How often the journal is looked at for what another process has purged.
const JOURNAL: Duration = Duration::from_secs(1);
/// The pause after a sweep that failed; it doubles with each that fails after it.
const SWEEP_PAUSE: Duration = Duration::from_secs(10);
/// The longest one.
const SWEEP_PAUSE_MAX: Duration = Duration::from_secs(600);

/// Something to be done on the disk.
pub enum Job {
    /// A new response.
    New(Stored),
    /// Its fields have changed.
    Meta(Stored),
    /// What the responses under a primary key vary on.
    Variation(Arc<Variation>),
    /// What lies under a key is of no use any more.
    Forget(Box<[u8]>),
    /// Drop all that was purged, and forget the purges up to this step.
    Sweep(u64),
}

/// A queue that is bounded by number and by bytes.
struct Queue<T> {
    jobs: SyncSender<(T, u64)>,
    bytes: Arc<AtomicU64>,
    most: AtomicU64,
}

impl<T> Queue<T> {
    fn new(number: usize, most: u64) -> (Self, Receiver<(T, u64)>) {
        let (jobs, end) = sync_channel(number);
        let bytes = Arc::default();
        let most = AtomicU64::new(most);
        (Self { jobs, bytes, most }, end)
    }

    /// `false` where it does not fit. One job always does.
    fn push(&self, job: T, bytes: u64) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        if before > 0 && before + bytes > self.most.load(Ordering::Relaxed) {
            self.bytes.fetch_sub(bytes, Ordering::AcqRel);
            return false;
        }
        match self.jobs.try_send((job, bytes)) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.bytes.fetch_sub(bytes, Ordering::AcqRel);
                false
            }
        }
    }
}

/// Bytes that may wait in one queue.
fn most(memory: u64) -> u64 {
    (memory / SHARE).max(BYTES_MIN)
}

/// The way to the threads.
pub struct Keeper {
    to_compress: Queue<Stored>,
    jobs: Queue<Job>,
    waiting: Arc<AtomicU64>,
    left: AtomicU64,
    /// A sweep waits or goes on.
    sweeping: AtomicBool,
    /// How many sweeps have failed one after the other, and when the next may be.
    sweep_pause: Mutex<(u32, Option<Instant>)>,
}

/// The other end of it, until the threads begin.
pub struct Work {
    to_compress: Receiver<(Stored, u64)>,
    jobs: Receiver<(Job, u64)>,
    compressing: Arc<AtomicU64>,
    writing: Arc<AtomicU64>,
    waiting: Arc<AtomicU64>,
}

impl Keeper {
    /// Queues and their ends. `memory` is what stored responses may take.
    pub fn new(memory: u64) -> (Self, Work) {
        let most = most(memory);
        let (to_compress, compressing) = Queue::new(TO_COMPRESS, most);
        let (jobs, writing) = Queue::new(TO_WRITE, most);
        let waiting = Arc::new(AtomicU64::new(0));
        let work = Work {
            to_compress: compressing,
            jobs: writing,
            compressing: Arc::clone(&to_compress.bytes),
            writing: Arc::clone(&jobs.bytes),
            waiting: Arc::clone(&waiting),
        };
        let keeper = Self {
            to_compress,
            jobs,
            waiting,
            left: AtomicU64::new(0),
            sweeping: AtomicBool::new(false),
            sweep_pause: Mutex::default(),
        };
        (keeper, work)
    }

    /// Takes another bound, by what stored responses may take.
    pub fn resize(&self, memory: u64) {
        self.to_compress.most.store(most(memory), Ordering::Relaxed);
        self.jobs.most.store(most(memory), Ordering::Relaxed);
    }

    /// Hands over a response to be compressed, and then to be written down; `false` where too many wait.
    pub fn compress(&self, stored: &Stored) -> bool {
        let bytes = stored.weight() as u64;
        self.counted(|| self.to_compress.push(stored.clone(), bytes))
    }

    /// Hands over a job for the disk; `false` where it does not fit. What is left stays in memory.
    pub fn hand(&self, job: Job) -> bool {
        let bytes = match &job {
            Job::New(stored) | Job::Meta(stored) => stored.weight() as u64,
            Job::Variation(variation) => variation.key().len() as u64,
            Job::Forget(key) => key.len() as u64,
            // Nothing that is kept.
            Job::Sweep(_) => 0,
        };
        self.counted(|| self.jobs.push(job, bytes))
    }

    fn counted(&self, hand: impl FnOnce() -> bool) -> bool {
        // Before, because it may be done at once.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let handed = hand();
        if !handed {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.left.fetch_add(1, Ordering::Relaxed);
        }
        handed
    }

    /// Jobs that wait.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Jobs that did not fit.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Orders a sweep, unless one is on its way or has just failed.
    pub fn order_sweep(&self, up_to: u64) {
        let (_, not_before) = *self.pause();
        if not_before.is_some_and(|at| Instant::now() < at)
            || self.sweeping.swap(true, Ordering::AcqRel)
        {
            return;
        }
        if !self.hand(Job::Sweep(up_to)) {
            self.sweeping.store(false, Ordering::Release);
        }
    }

    fn swept(&self, well: bool) {
        {
            let mut pause = self.pause();
            let failures = if well { 0 } else { pause.0.saturating_add(1) };
            let length = SWEEP_PAUSE * 2_u32.saturating_pow(failures.min(16).saturating_sub(1));
            let length = length.min(SWEEP_PAUSE_MAX);
            *pause = (failures, (!well).then(|| Instant::now() + length));
        }
        self.sweeping.store(false, Ordering::Release);
    }

    fn pause(&self) -> std::sync::MutexGuard<'_, (u32, Option<Instant>)> {
        self.sweep_pause
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what was handed over is done, but not for longer than this. Blocks.
    pub fn finish(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while self.waiting() > 0 && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Work {
    /// Does the work for as long as there is a process.
    pub fn begin(self, shared: &Arc<Shared>) -> std::io::Result<()> {
        let Self {
            to_compress,
            jobs,
            compressing,
            writing,
            waiting,
        } = self;
        let end = End {
            jobs: to_compress,
            bytes: compressing,
            waiting: Arc::clone(&waiting),
        };
        let keeping = Arc::clone(shared);
        thread::Builder::new()
            .name("compress".to_owned())
            .spawn(move || end.attend(|stored| compress(stored, &keeping)))?;
        let end = End {
            jobs,
            bytes: writing,
            waiting,
        };
        let keeping = Arc::clone(shared);
        thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || {
                end.attend(|job| match (&keeping.disk, job) {
                    (_, Job::Sweep(up_to)) => sweep(up_to, &keeping),
                    (Some(disk), job) => write(job, &keeping.store, disk),
                    (None, _) => {}
                });
            })?;
        if shared.disk.is_some() {
            let keeping = Arc::clone(shared);
            thread::Builder::new()
                .name("journal".to_owned())
                .spawn(move || attend_journal(&keeping))?;
        }
        Ok(())
    }
}

/// The end of a queue.
struct End<T> {
    jobs: Receiver<(T, u64)>,
    bytes: Arc<AtomicU64>,
    waiting: Arc<AtomicU64>,
}

impl<T> End<T> {
    /// Does each job. One that panics costs itself, and not the thread.
    fn attend(self, mut work: impl FnMut(T)) {
        for (job, bytes) in self.jobs {
            if catch_unwind(AssertUnwindSafe(|| work(job))).is_err() {
                tracing::error!("what was to be done for the store failed in an unforeseen way");
            }
            self.bytes.fetch_sub(bytes, Ordering::AcqRel);
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Writes down invalidations, and learns what another process has purged.
fn attend_journal(shared: &Shared) {
    let purges = &shared.store.purges;
    let mut troubled = false;
    loop {
        purges.wait_for_pending(JOURNAL);
        let written = catch_unwind(AssertUnwindSafe(|| purges.write_down()));
        let result = written.unwrap_or_else(|_| Err(std::io::Error::other("panicked")));
        match result {
            Ok(()) => troubled = false,
            Err(why) => {
                if !troubled {
                    tracing::error!(%why, "the journal of purges cannot be kept");
                }
                troubled = true;
                // Where it fails at once there is no use in trying all the time.
                thread::sleep(JOURNAL);
            }
        }
    }
}

fn compress(stored: Stored, shared: &Shared) {
    let mut stored = stored;
    if let Some(encoded) = compress::compress(&stored) {
        let contents = encoded.contents().map(|content| content.cloned());
        // Where a validation has put another response into its place meanwhile, they are its forms too.
        while let Some(there) = shared.store.get(stored.key())
            && there.encoded().is_none()
            && there.content() == stored.content()
            && compress::is_worthwhile(there.status(), &there.fields(), there.content_length())
            && let Some(encoded) = compress::Encoded::of(&there, contents.clone())
        {
            let with_forms = there.with_encoded(encoded);
            if shared.store.replace(&there, with_forms.clone()) {
                stored = with_forms;
                break;
            }
        }
    }
    if shared.disk.is_some() {
        shared.keeper().hand(Job::New(stored));
    }
}

fn write(job: Job, store: &Store, disk: &Disk) {
    match job {
        Job::New(stored) => {
            if is_current(store, &stored) {
                disk.save(&stored);
            }
        }
        Job::Meta(stored) => {
            if is_current(store, &stored) && !disk.save_meta(&stored) {
                // A head without content answers nobody.
                store.remove(&stored);
            }
        }
        Job::Variation(variation) => disk.save_variation(variation.key(), &variation.fields),
        Job::Forget(key) => {
            if store.get(&key).is_none() {
                disk.remove(&key);
            }
        }
        // Of the store as a whole.
        Job::Sweep(_) => {}
    }
}

/// A response that was replaced while its job waited has a job behind this one. One that was evicted
/// is what the disk is for. One that was purged softly is written down only while the record of that
/// can be looked up: a file does not know.
fn is_current(store: &Store, stored: &Stored) -> bool {
    let is_last = match store.get(stored.key()) {
        Some(there) => there.response_time() <= stored.response_time(),
        None => true,
    };
    let purges = &store.purges;
    is_last
        && (purges.leaves_untouched(stored)
            || purges.lets_stand(stored) && stored.stamp().seq >= purges.forgotten())
}

fn sweep(up_to: u64, shared: &Shared) {
    /// Whatever happens, the next sweep may be ordered.
    struct Over<'a>(&'a Keeper, bool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.swept(self.1);
        }
    }
    let mut over = Over(shared.keeper(), false);
    let purges = &shared.store.purges;
    let mut swept = shared.store.sweep();
    if let Some(disk) = &shared.disk {
        let untouched =
            |stamp: &Stamp, key: &[u8]| purges.standing_on_disk(stamp, key) == Standing::Untouched;
        match disk.sweep(&untouched) {
            Some(more) => swept += more,
            // What could not be looked at may still be there.
            None => {
                if let Some(forgotten) = purges.forget_for_all(SystemTime::now()) {
                    tracing::error!(
                        "the disk tier cannot be swept: everything is purged, because the purges so \
                         far are too many to be remembered"
                    );
                    if let Err(why) = forgotten {
                        tracing::error!(%why, "the journal of purges cannot be rewritten");
                    }
                }
                return;
            }
        }
    }
    // What is swept is swept, whether or not the journal can be rewritten.
    over.1 = true;
    match purges.forget(up_to) {
        Ok(()) => tracing::info!(swept, "purged responses swept out"),
        Err(why) => tracing::error!(%why, "the journal of purges cannot be rewritten"),
    }
}

#[cfg(test)]
mod tests;
