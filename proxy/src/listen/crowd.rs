//! All connections of the process: how many there may be, and who goes for a newcomer.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use prometheus::IntCounter;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use super::{
    networks::{Member, Networks, network},
    places::{Places, Standing},
};
use crate::{config::model::Visitors, observe::visitor_metrics::VisitorMetrics};

/// Within that time a connection that was told to go has gone; else another is told.
const GOING: Duration = Duration::from_millis(100);
/// Who finds nobody to send away looks again after so long at the latest.
const AGAIN: Duration = Duration::from_secs(1);
/// What there is to say of a full house is said once in so long.
const SAID_AGAIN: Duration = Duration::from_secs(10);

/// The connections of the process.
pub struct Crowd {
    started: Instant,
    /// One for each connection that may be open.
    slots: Arc<Semaphore>,
    /// Those that there are, free or not.
    made: AtomicUsize,
    /// Those that there should be.
    max: AtomicUsize,
    /// One for each thread.
    places: Mutex<Vec<Arc<Places>>>,
    networks: Networks,
    /// Newcomers that wait for somebody to go.
    waiting: AtomicUsize,
    /// Somebody could go now.
    quiet: Notify,
    said: AtomicU64,
    idle: IntCounter,
    opening: IntCounter,
}

impl Crowd {
    /// Of so many at most, in a process that began then.
    pub fn new(max: usize, started: Instant, metrics: &VisitorMetrics) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self {
            started,
            slots: Arc::new(Semaphore::new(max)),
            made: AtomicUsize::new(max),
            max: AtomicUsize::new(max),
            places: Mutex::default(),
            networks: Networks::default(),
            waiting: AtomicUsize::new(0),
            quiet: Notify::new(),
            said: AtomicU64::new(0),
            idle: metrics.shed("idle"),
            opening: metrics.shed("opening"),
        }
    }

    pub(super) fn add(&self, places: &Arc<Places>) {
        let mut all = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::clone(places));
    }

    /// Nanoseconds since the beginning.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Most connections that may be open.
    pub fn max(&self) -> usize {
        self.max.load(Relaxed)
    }

    /// Sets another bound. More places are there at once; those that are too many are taken away by
    /// [`settle`](Self::settle).
    pub fn resize(&self, max: usize) {
        self.max.store(max, Relaxed);
        let made = self.made.load(Relaxed);
        if max > made {
            self.made.store(max, Relaxed);
            self.slots.add_permits(max - made);
        }
    }

    /// Takes places away while there are too many. Connections that do nothing go for that; those at work stay until
    /// they are done. One caller at a time, the same that resizes.
    pub async fn settle(&self) {
        while self.made.load(Relaxed) > self.max() {
            let Some(slot) = self.slot().await else {
                return;
            };
            // It may have been made larger meanwhile.
            if self.made.load(Relaxed) > self.max() {
                slot.forget();
                self.made.fetch_sub(1, Relaxed);
            }
        }
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        let made = self.made.load(Relaxed);
        made.saturating_sub(self.slots.available_permits())
    }

    /// Returns when the last connection is closed.
    pub async fn all_closed(&self) {
        loop {
            let made = u32::try_from(self.made.load(Relaxed)).unwrap_or(u32::MAX);
            // The semaphore is never closed, so all slots are free then. Some may be taken away meanwhile.
            if timeout(AGAIN, self.slots.acquire_many(made)).await.is_ok() {
                return;
            }
        }
    }

    /// Counts a connection of a client, unless it has as many as it may have.
    pub(super) fn join(&self, client: IpAddr, visitors: &Visitors) -> Option<Arc<Member>> {
        let network = network(client, visitors.network);
        self.networks.enter(network, visitors.max_per_client)
    }

    /// A slot for a newcomer. In a full house somebody goes for it who does nothing; where all are at work, it
    /// waits.
    pub(super) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(slot);
        }
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let mut quiet = std::pin::pin!(self.quiet.notified());
            // From here on nobody is missed who becomes idle.
            quiet.as_mut().enable();
            let slot = Arc::clone(&self.slots).acquire_owned();
            if self.shed() {
                if let Ok(slot) = timeout(GOING, slot).await {
                    return slot.ok();
                }
                continue;
            }
            tokio::select! {
                slot = slot => return slot.ok(),
                () = quiet => {}
                () = sleep(AGAIN) => {}
            }
        }
    }

    /// A connection has come to where it could go.
    pub(super) fn note_quiet(&self) {
        if self.waiting.load(Relaxed) > 0 {
            self.quiet.notify_one();
        }
    }

    /// Tells a connection to go: the one that is idle for longest, else the one that is opening for longest.
    pub(super) fn shed(&self) -> bool {
        let all = self
            .places
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for standing in [Standing::Idle, Standing::Opening] {
            let oldest = all
                .iter()
                .filter_map(|places| Some((places.choose(standing)?, places)))
                .min_by_key(|(chosen, _)| *chosen);
            if oldest.is_some_and(|(_, places)| places.shed(standing)) {
                if self.may_say() {
                    tracing::warn!(
                        open = self.open(),
                        max = self.max(),
                        "no room for new connections: those that wait longest are closed"
                    );
                }
                return true;
            }
        }
        false
    }

    /// One that was told to go is gone.
    pub(super) fn note_shed(&self, standing: Standing) {
        match standing {
            Standing::Idle => self.idle.inc(),
            Standing::Opening | Standing::Working => self.opening.inc(),
        }
    }

    /// Whether it is time to say something of a full house.
    pub(super) fn may_say(&self) -> bool {
        // Never at zero, so that the first word is said.
        let now = self.now().max(1);
        let said = self.said.load(Relaxed);
        let is_due = said == 0 || now.saturating_sub(said) > SAID_AGAIN.as_nanos() as u64;
        is_due
            && self
                .said
                .compare_exchange(said, now, Relaxed, Relaxed)
                .is_ok()
    }
}

/// A newcomer that waits, as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::Metrics;

    #[tokio::test(start_paused = true)]
    async fn another_bound_while_connections_are_open() {
        let crowd = Arc::new(Crowd::new(4, Instant::now(), &Metrics::new().visitors));
        let mut open = Vec::new();
        for _ in 0..4 {
            open.push(crowd.slot().await.expect("a slot"));
        }
        assert!(timeout(AGAIN, crowd.slot()).await.is_err(), "full");
        crowd.resize(6);
        open.push(crowd.slot().await.expect("more are there at once"));
        assert_eq!((crowd.max(), crowd.open()), (6, 5));

        crowd.resize(2);
        let settling = tokio::spawn({
            let crowd = Arc::clone(&crowd);
            async move { crowd.settle().await }
        });
        sleep(AGAIN).await;
        assert!(!settling.is_finished(), "those at work stay");
        assert_eq!((crowd.max(), crowd.open()), (2, 5));
        open.truncate(2);
        settling.await.expect("it holds");
        assert_eq!((crowd.max(), crowd.open()), (2, 2));
        assert!(timeout(AGAIN, crowd.slot()).await.is_err(), "full again");
        open.truncate(1);
        drop(crowd.slot().await.expect("one is free"));

        assert!(timeout(10 * AGAIN, crowd.all_closed()).await.is_err());
        open.clear();
        crowd.all_closed().await;
        assert_eq!(crowd.open(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bound_that_grows_again_while_it_shrinks() {
        let crowd = Arc::new(Crowd::new(3, Instant::now(), &Metrics::new().visitors));
        let open = [crowd.slot().await, crowd.slot().await, crowd.slot().await];
        crowd.resize(1);
        let settling = tokio::spawn({
            let crowd = Arc::clone(&crowd);
            async move { crowd.settle().await }
        });
        sleep(AGAIN).await;
        crowd.resize(3);
        drop(open);
        settling.await.expect("nothing is to be done");
        let mut free = Vec::new();
        for _ in 0..3 {
            free.push(crowd.slot().await.expect("all are there"));
        }
        assert_eq!(crowd.open(), 3);
    }
}
