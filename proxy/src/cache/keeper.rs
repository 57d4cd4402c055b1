//! What happens to a response after it was stored: it is compressed, and written to the disk. Two
//! threads do it, behind the visitors' backs; one passes on to the other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Disk, Store, Stored, compress,
    purge::{Stamp, Standing},
    store::Variation,
};
use crate::shared::Shared;

/// Responses that may wait to be compressed. Those beyond it are served as they are.
const TO_COMPRESS: usize = 16 * 1024;
/// Jobs that may wait for the disk. They hold what memory has anyway.
const TO_WRITE: usize = 64 * 1024;

/// Something to be done on the disk.
pub enum Job {
    /// A new response.
    New(Arc<Stored>),
    /// Its fields have changed.
    Meta(Arc<Stored>),
    /// What the responses under a primary key vary on.
    Variation(Arc<Variation>),
    /// What lies under a key is of no use any more.
    Forget(Box<[u8]>),
    /// Drop all that was purged, and forget the purges up to this step.
    Sweep(u64),
}

/// The way to the threads.
pub struct Keeper {
    to_compress: SyncSender<Arc<Stored>>,
    jobs: SyncSender<Job>,
    waiting: Arc<AtomicU64>,
    left: AtomicU64,
}

/// The other end of it, until the threads begin.
pub struct Work {
    to_compress: Receiver<Arc<Stored>>,
    jobs: Receiver<Job>,
    waiting: Arc<AtomicU64>,
}

impl Keeper {
    /// Queues and their ends.
    pub fn new() -> (Self, Work) {
        let (to_compress, compressing) = sync_channel(TO_COMPRESS);
        let (jobs, writing) = sync_channel(TO_WRITE);
        let waiting = Arc::new(AtomicU64::new(0));
        let keeper = Self {
            to_compress,
            jobs,
            waiting: Arc::clone(&waiting),
            left: AtomicU64::new(0),
        };
        let work = Work {
            to_compress: compressing,
            jobs: writing,
            waiting,
        };
        (keeper, work)
    }

    /// Hands over a response to be compressed, and then to be written down; `false` where too many wait.
    pub fn compress(&self, stored: &Arc<Stored>) -> bool {
        self.counted(self.to_compress.try_send(Arc::clone(stored)).is_ok())
    }

    /// Hands over a job for the disk. What does not fit is left: it stays in memory.
    pub fn hand(&self, job: Job) {
        self.counted(self.jobs.try_send(job).is_ok());
    }

    fn counted(&self, handed: bool) -> bool {
        if handed {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        } else {
            self.left.fetch_add(1, Ordering::Relaxed);
        }
        handed
    }

    /// Jobs that wait.
    pub fn waiting(&self) -> u64 {
        // A job may be done before it is counted as handed over.
        let waiting = self.waiting.load(Ordering::Relaxed);
        if waiting > u64::MAX / 2 { 0 } else { waiting }
    }

    /// Jobs that did not fit.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
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
            waiting,
        } = self;
        let (compressing, done) = (Arc::clone(shared), Arc::clone(&waiting));
        thread::Builder::new()
            .name("compress".to_owned())
            .spawn(move || {
                for stored in to_compress {
                    compress(stored, &compressing);
                    done.fetch_sub(1, Ordering::Relaxed);
                }
            })?;
        let writing = Arc::clone(shared);
        thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || {
                for job in jobs {
                    if let Some(disk) = &writing.disk {
                        write(job, &writing.store, disk, &writing);
                    } else if let Job::Sweep(up_to) = job {
                        sweep(up_to, &writing);
                    }
                    waiting.fetch_sub(1, Ordering::Relaxed);
                }
            })?;
        Ok(())
    }
}

fn compress(stored: Arc<Stored>, shared: &Shared) {
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
            let with_forms = Arc::new(there.with_encoded(encoded));
            if shared.store.replace(&there, Arc::clone(&with_forms)) {
                stored = with_forms;
                break;
            }
        }
    }
    if shared.disk.is_some() {
        shared.keeper().hand(Job::New(stored));
    }
}

fn write(job: Job, store: &Store, disk: &Disk, shared: &Shared) {
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
        Job::Sweep(up_to) => sweep(up_to, shared),
    }
}

/// A response that was replaced while its job waited has a job behind this one. One that was evicted
/// is what the disk is for.
fn is_current(store: &Store, stored: &Arc<Stored>) -> bool {
    match store.get(stored.key()) {
        Some(there) => there.response_time() <= stored.response_time(),
        None => store.purges.lets_stand(stored),
    }
}

fn sweep(up_to: u64, shared: &Shared) {
    let purges = &shared.store.purges;
    let mut swept = shared.store.sweep();
    if let Some(disk) = &shared.disk {
        let untouched =
            |stamp: &Stamp, key: &[u8]| purges.standing_on_disk(stamp, key) == Standing::Untouched;
        match disk.sweep(&untouched) {
            Some(more) => swept += more,
            // What could not be looked at may still be there.
            None => return,
        }
    }
    match purges.forget(up_to) {
        Ok(()) => tracing::info!(swept, "purged responses swept out"),
        Err(why) => tracing::error!(%why, "the journal of purges cannot be rewritten"),
    }
}
