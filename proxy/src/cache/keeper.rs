//! What happens to a response after it was stored: it is compressed, and written to the disk. One
//! thread does it, behind the visitors' backs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use super::{Disk, Store, Stored, compress, store::Variation};

/// Jobs that may wait. They hold stored responses that memory has anyway.
const QUEUE: usize = 4096;

/// Something to be done with a response.
pub enum Job {
    /// A new one: compress it where asked, and write it down.
    New {
        /// As it was put into memory.
        stored: Arc<Stored>,
        /// Its policy wants it compressed, and it pays.
        compress: bool,
    },
    /// Its fields have changed.
    Meta(Arc<Stored>),
    /// What the responses under a primary key vary on.
    Variation(Arc<Variation>),
    /// What lies under a key is of no use any more.
    Forget(Box<[u8]>),
    /// Drop all that was purged, and forget the purges up to this step.
    Sweep(u64),
}

/// The way to the thread.
pub struct Keeper {
    jobs: SyncSender<Job>,
    waiting: Arc<AtomicU64>,
    dropped: AtomicU64,
}

/// The other end of it, until the thread begins.
pub struct Work(Receiver<Job>, Arc<AtomicU64>);

impl Keeper {
    /// A queue and its end.
    pub fn new() -> (Self, Work) {
        let (jobs, work) = sync_channel(QUEUE);
        let waiting = Arc::new(AtomicU64::new(0));
        let keeper = Self {
            jobs,
            waiting: Arc::clone(&waiting),
            dropped: AtomicU64::new(0),
        };
        (keeper, Work(work, waiting))
    }

    /// Hands over a job. What does not fit is left: the response stays in memory as it is.
    pub fn hand(&self, job: Job) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.jobs.try_send(job)
        {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Jobs that wait.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Jobs that did not fit.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Work {
    /// Does the work for as long as there is a process.
    pub fn begin(self, shared: Arc<crate::shared::Shared>) -> std::io::Result<()> {
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                for job in self.0 {
                    do_job(job, &shared);
                    self.1.fetch_sub(1, Ordering::Relaxed);
                }
            })
            .map(drop)
    }
}

fn do_job(job: Job, shared: &crate::shared::Shared) {
    let store = &shared.store;
    let disk = shared.disk.as_deref();
    match job {
        Job::New { stored, compress } => new(stored, compress, store, disk),
        Job::Meta(stored) => {
            if let Some(disk) = disk
                && is_current(store, &stored)
            {
                disk.save_meta(&stored);
            }
        }
        Job::Variation(variation) => {
            if let Some(disk) = disk {
                disk.save_variation(variation.key(), &variation.fields);
            }
        }
        Job::Forget(key) => {
            if let Some(disk) = disk
                && store.get(&key).is_none()
            {
                disk.remove(&key);
            }
        }
        Job::Sweep(up_to) => sweep(up_to, shared),
    }
}

fn new(stored: Arc<Stored>, compress: bool, store: &Store, disk: Option<&Disk>) {
    let mut stored = stored;
    if compress && let Some(encoded) = compress::compress(&stored) {
        let with_forms = Arc::new(stored.with_encoded(encoded));
        if store.replace(&stored, Arc::clone(&with_forms)) {
            stored = with_forms;
        }
    }
    if let Some(disk) = disk
        && is_current(store, &stored)
    {
        disk.save(&stored);
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

fn sweep(up_to: u64, shared: &crate::shared::Shared) {
    let purges = &shared.store.purges;
    let mut swept = shared.store.sweep();
    if let Some(disk) = &shared.disk {
        let untouched = |stamp: &super::purge::Stamp, key: &[u8]| {
            purges.standing(stamp, key) == super::purge::Standing::Untouched
        };
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
