//! The places of requests at work, and those that come back by time.
//!
//! A place comes back when its request ends. Two kinds do not end in time, and would keep all others out:
//!
//! - Requests that *hang*, as one page of a shop may for as long as a time limit lets it. After some times the usual
//!   latency they go on without a place. Not all of them may: where everything hangs, the server has too much to do, and
//!   more would make it worse. So places of this kind come back at a tenth of the rate of answers, and two a second.
//! - Requests whose visitor has left. The server works on, as most do not notice; so the place is held for a while, or
//!   whoever sends requests and leaves would get past the limit.

use std::{cmp::Reverse, collections::BTreeMap, collections::BinaryHeap, time::Duration};

/// A request hangs after so many times the usual latency, but not before the first nor after the other time.
const HANGS_AFTER: u32 = 8;
const HANGS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));
/// Where answers take seconds as a rule, it hangs after so many times the usual latency.
const SLOW: u32 = 3;
/// How many that hang go on without a place: for each answer, for each second, and at once, in all and for each that
/// may be at work.
const FOR_AN_ANSWER: f64 = 0.1;
const FOR_A_SECOND: f64 = 2.0;
const AT_ONCE: f64 = 4.0;
const AT_ONCE_EACH: f64 = 0.25;
/// A place of somebody who has left is held for the usual latency, within these times; for the longer while no
/// latency is known.
const HELD: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Who is at work, by the time of its start. Those that started at the same moment are the same.
#[derive(Debug, Default)]
pub(crate) struct Places {
    since: BTreeMap<Duration, usize>,
    /// Until when places of those who have left are held.
    held: BinaryHeap<Reverse<Duration>>,
    taken: usize,
    /// Of answers, on average of the last ones.
    latency: Option<Duration>,
    /// So many that hang may go on without a place.
    spare: f64,
    seen: Duration,
}

impl Places {
    /// How many are taken, the held ones included.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    pub(crate) fn take(&mut self, now: Duration) {
        *self.since.entry(now).or_default() += 1;
        self.taken += 1;
    }

    /// `false` where the one that began then has none any longer.
    pub(crate) fn give_back(&mut self, since: Duration) -> bool {
        let had = self.forget(since);
        self.taken -= usize::from(had);
        had
    }

    fn forget(&mut self, since: Duration) -> bool {
        let Some(count) = self.since.get_mut(&since) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.since.remove(&since);
        }
        true
    }

    /// An answer has come after `latency`, under such a limit.
    pub(crate) fn answered(&mut self, latency: Duration, limit: usize) {
        self.spare = (self.spare + FOR_AN_ANSWER).min(most(limit));
        let weight = 1.0 / (limit as f64).clamp(8.0, 64.0);
        self.latency = Some(self.latency.map_or(latency, |mean| {
            mean.mul_f64(1.0 - weight) + latency.mul_f64(weight)
        }));
    }

    /// The visitor of the one that began at `since` has left.
    pub(crate) fn abandon(&mut self, now: Duration, since: Duration) {
        if self.forget(since) {
            let usual = self.latency.unwrap_or(HELD.1);
            self.held.push(Reverse(now + usual.clamp(HELD.0, HELD.1)));
        }
    }

    /// Gives a place back that was held long enough, if there is one.
    pub(crate) fn left(&mut self, now: Duration) -> bool {
        match self.held.peek() {
            Some(Reverse(until)) if *until <= now => {
                self.held.pop();
                self.taken -= 1;
                true
            }
            _ => false,
        }
    }

    /// Gives a place back of a request that hangs, if there is one that may go on without.
    pub(crate) fn hangs(&mut self, now: Duration, limit: usize) -> bool {
        let passed = now.saturating_sub(self.seen).as_secs_f64();
        self.seen = self.seen.max(now);
        self.spare = (self.spare + passed * FOR_A_SECOND).min(most(limit));
        let hangs_after = self.hangs_after();
        match self.since.first_key_value() {
            Some((&since, _)) if since + hangs_after <= now && self.spare >= 1.0 => {
                self.spare -= 1.0;
                self.give_back(since)
            }
            _ => false,
        }
    }

    fn hangs_after(&self) -> Duration {
        let Some(latency) = self.latency else {
            return HANGS.1;
        };
        let slow = latency.saturating_mul(SLOW);
        let usual = latency.saturating_mul(HANGS_AFTER);
        usual.clamp(HANGS.0, HANGS.1).max(slow)
    }
}

fn most(limit: usize) -> f64 {
    AT_ONCE + AT_ONCE_EACH * limit as f64
}
