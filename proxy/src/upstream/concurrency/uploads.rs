//! Requests whose content is still on its way to the shop.
//!
//! They come at their visitors' pace, which says nothing of the shop, and a few that drip would hold all places: so they
//! are counted beside those at work, and a request waits for its place with the end of its content in hand. Their number
//! is bounded all the same, since each has a connection to the shop.

use std::{
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// Those under way, and who waits for one of them to end.
#[derive(Default)]
pub(super) struct Uploads {
    counts: Mutex<Counts>,
    /// One of them has ended.
    ended: Notify,
}

#[derive(Default)]
struct Counts {
    under_way: usize,
    waiting: usize,
    most: usize,
    most_waiting: usize,
}

/// Who waits is one of a bounded number, also when it leaves.
struct Waits<'a>(&'a Uploads);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.counts().waiting -= 1;
    }
}

impl Uploads {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many at once, and so many may wait.
    pub(super) fn set_bounds(&self, most: usize, most_waiting: usize) {
        let mut counts = self.counts();
        (counts.most, counts.most_waiting) = (most, most_waiting);
        drop(counts);
        self.ended.notify_waiters();
    }

    /// Begins one; `false` where too many are under way, after as long as it may wait. To be ended by
    /// [`Uploads::end`].
    pub(super) async fn begin(&self, patience: Duration) -> bool {
        if self.try_begin(true) {
            return true;
        }
        let waits = {
            let mut counts = self.counts();
            if counts.waiting >= counts.most_waiting {
                return false;
            }
            counts.waiting += 1;
            Waits(self)
        };
        let turn = async {
            loop {
                let mut ended = pin!(self.ended.notified());
                // From here on no end is missed.
                ended.as_mut().enable();
                if self.try_begin(false) {
                    return;
                }
                ended.await;
            }
        };
        let has_begun = timeout(patience, turn).await.is_ok();
        drop(waits);
        has_begun
    }

    /// Who has just come does not overtake those who wait.
    fn try_begin(&self, is_new: bool) -> bool {
        let mut counts = self.counts();
        let is_free = counts.under_way < counts.most && !(is_new && counts.waiting > 0);
        counts.under_way += usize::from(is_free);
        is_free
    }

    /// One is whole, or has been given up.
    pub(super) fn end(&self) {
        self.counts().under_way -= 1;
        self.ended.notify_one();
    }

    /// How many are under way.
    pub(super) fn under_way(&self) -> usize {
        self.counts().under_way
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn as_many_as_there_may_be() {
        let uploads = Uploads::default();
        uploads.set_bounds(2, 1);
        assert!(uploads.begin(SECOND).await && uploads.begin(SECOND).await);
        assert!(!uploads.begin(SECOND).await, "too late");
        uploads.end();
        assert!(uploads.begin(SECOND).await);
        assert_eq!(uploads.under_way(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_begins_when_one_ends() {
        let uploads = Uploads::default();
        uploads.set_bounds(1, 1);
        assert!(uploads.begin(SECOND).await);
        let (began, ()) = tokio::join!(uploads.begin(SECOND), async {
            assert!(!uploads.begin(SECOND).await, "one may wait");
            uploads.end();
        });
        assert!(began);
        assert_eq!(uploads.under_way(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_waits_no_more() {
        let uploads = Uploads::default();
        uploads.set_bounds(1, 1);
        assert!(uploads.begin(SECOND).await);
        for _ in 0..3 {
            let mut waits = Box::pin(uploads.begin(SECOND));
            let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
            assert!(
                waits.as_mut().poll(cx).is_pending(),
                "there is room to wait"
            );
        }
        uploads.end();
        assert!(uploads.begin(SECOND).await);
    }
}
