//! Times when no server of an upstream can answer: who waits for one, and when the shop window opens.
//!
//! An outage begins when a request, or the look at the upstream every second, finds no server well. At first
//! requests wait: a process that is started anew is back within a moment. After `retry.wait` nobody waits any
//! longer, and where there is a shop window it is open: stored responses answer, and everything else is
//! refused at once. It ends with the first server that answers, or that a check finds well.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use super::Upstream;

/// Requests of an upstream that wait for a server at once. Each is a visitor's, whose connections are bounded
/// as well.
const MOST_WAITING: usize = 4_096;
/// How often those who wait look.
const LOOK: Duration = Duration::from_millis(10);

/// What is remembered of an upstream's outages; outlives the configuration.
#[derive(Default)]
pub struct Outage {
    /// When it began, in milliseconds since the process did, and one more; `0` while there is none.
    since: AtomicU64,
    waiting: AtomicUsize,
    /// The window is open, as the log was told.
    told: AtomicBool,
}

fn millis(tick: Duration) -> u64 {
    u64::try_from(tick.as_millis()).unwrap_or(u64::MAX)
}

impl Outage {
    /// When it began; begins now if it had not.
    fn begin(&self, tick: Duration) -> Duration {
        let now = millis(tick).saturating_add(1);
        let began = self
            .since
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        let since = began.map_or_else(|since| since, |_| now);
        Duration::from_millis(since - 1)
    }

    /// A server answers what it was asked at a moment. An answer to what was asked before says nothing of
    /// whether it is back.
    pub(super) fn end(&self, asked: Duration) {
        // Mostly there is none.
        let since = self.since.load(Ordering::Relaxed);
        if since != 0 && since <= millis(asked).saturating_add(1) {
            self.since.store(0, Ordering::Relaxed);
        }
    }

    /// How long it has lasted.
    pub fn lasted(&self, tick: Duration) -> Option<Duration> {
        let since = self.since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(tick.saturating_sub(Duration::from_millis(since)))
    }
}

/// A request that waits; counted until dropped.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Upstream {
    /// Whether no server can answer.
    pub fn is_out(&self, tick: Duration) -> bool {
        !self.servers().iter().any(|server| server.is_willing(tick))
    }

    /// For how long after the end of their freshness stored responses may answer now, where that is longer than
    /// their own: as long as the shop window says, while it is open.
    pub fn window(&self, tick: Duration) -> Option<Duration> {
        self.config
            .shop_window
            .filter(|_| self.window_is_open(tick))
    }

    /// Whether stored responses answer in the place of the servers.
    pub fn window_is_open(&self, tick: Duration) -> bool {
        self.config.shop_window.is_some()
            && self
                .lasting
                .outage
                .lasted(tick)
                .is_some_and(|lasted| lasted >= self.config.retry.wait)
            && self.is_out(tick)
    }

    /// Whether there is an outage that requests still wait out, though it is some server's turn to be tried.
    pub(super) fn waits(&self, tick: Duration) -> bool {
        let lasted = self.lasting.outage.lasted(tick);
        lasted.is_some_and(|lasted| lasted < self.config.retry.wait)
    }

    /// Notes the beginning of an outage that no request has met yet, and tells the log when the window opens
    /// or closes. To be called every second.
    pub fn look_for_outage(&self, tick: Duration) {
        let outage = &self.lasting.outage;
        if self.is_out(tick) {
            outage.begin(tick);
        } else if self.config.health_check.is_some()
            && self.servers().iter().any(|server| server.is_back(tick))
        {
            // Checks have the word. Without them it takes a server that answers.
            outage.end(tick);
        }
        let open = self.window_is_open(tick);
        // A server without checks that is tried now and then is not back.
        let over = outage.lasted(tick).is_none();
        if open && !outage.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                upstream = self.name(),
                "the shop window opens: no server can answer"
            );
        } else if (over || self.config.shop_window.is_none())
            && outage.told.swap(false, Ordering::Relaxed)
        {
            tracing::info!(
                upstream = self.name(),
                "the shop window closes: servers answer again"
            );
        }
    }

    /// Waits until a server is well, or nobody waits any longer. `clock` says the time since the process
    /// began. `false`: there is no server.
    pub(super) async fn wait_for_server(&self, clock: impl Fn() -> Duration) -> bool {
        let outage = &self.lasting.outage;
        let now = clock();
        if !self.is_out(now) {
            return true;
        }
        let until = outage.begin(now) + self.config.retry.wait;
        if now >= until {
            return false;
        }
        let before = outage.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&outage.waiting);
        if before >= MOST_WAITING {
            return false;
        }
        loop {
            let now = clock();
            if !self.is_out(now) {
                return true;
            }
            if now >= until {
                return false;
            }
            tokio::time::sleep(LOOK.min(until - now)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_has_one_beginning() {
        let second = Duration::from_secs;
        let outage = Outage::default();
        assert_eq!(outage.lasted(second(5)), None);
        assert_eq!(outage.begin(second(5)), second(5));
        assert_eq!(outage.begin(second(7)), second(5));
        assert_eq!(outage.lasted(second(8)), Some(second(3)));
        outage.end(second(4));
        assert!(outage.lasted(second(9)).is_some(), "asked before it");
        outage.end(second(6));
        assert_eq!(outage.lasted(second(9)), None);
        assert_eq!(outage.begin(Duration::ZERO), Duration::ZERO);
        assert_eq!(outage.lasted(Duration::ZERO), Some(Duration::ZERO));
    }
}
