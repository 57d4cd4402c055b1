//! Limits that others use, as their descriptions have them, in the smallest form.

use std::time::Duration;

use adaptive_concurrency::{Limit, Verdict};

/// It is what it is.
pub(crate) struct Fixed(pub(crate) usize);

impl Limit for Fixed {
    fn limit(&self) -> usize {
        self.0
    }
    fn started(&mut self, _: Duration, _: usize) {}
    fn finished(&mut self, _: Duration, _: Duration, _: usize, _: Verdict) {}
}

/// Where all of the learning ones begin, and their bounds.
const FIRST: f64 = 20.0;
const LEAST: f64 = 2.0;
const MOST: f64 = 1000.0;

fn whole(limit: f64) -> usize {
    limit.round() as usize
}

/// Adds one per limit's worth of answers, takes a tenth off after a bad one: an error, a timeout, or one that took
/// longer than a threshold.
pub(crate) struct Aimd {
    limit: f64,
    slow: Option<Duration>,
    rests_until: Duration,
}

impl Aimd {
    pub(crate) fn new(slow: Option<Duration>) -> Self {
        Self {
            limit: FIRST,
            slow,
            rests_until: Duration::ZERO,
        }
    }
}

impl Limit for Aimd {
    fn limit(&self) -> usize {
        whole(self.limit)
    }
    fn started(&mut self, _: Duration, _: usize) {}
    fn finished(&mut self, now: Duration, latency: Duration, at_work: usize, verdict: Verdict) {
        let slow = self.slow.is_some_and(|slow| latency > slow);
        if verdict == Verdict::Overloaded || verdict == Verdict::Answered && slow {
            // Once per round trip.
            if now >= self.rests_until {
                self.limit = (self.limit * 0.9).max(LEAST);
                self.rests_until = now + latency;
            }
        } else if verdict == Verdict::Answered && at_work as f64 * 2.0 >= self.limit {
            self.limit = (self.limit + 1.0 / self.limit).min(MOST);
        }
    }
}

/// The gradient of a long average of the latency to a short one, as Netflix' Gradient2 has it.
pub(crate) struct Gradient {
    limit: f64,
    long: f64,
    answers: u32,
    sum: f64,
    ends: Duration,
}

impl Gradient {
    pub(crate) fn new() -> Self {
        Self {
            limit: FIRST,
            long: 0.0,
            answers: 0,
            sum: 0.0,
            ends: Duration::ZERO,
        }
    }
}

impl Limit for Gradient {
    fn limit(&self) -> usize {
        whole(self.limit)
    }
    fn started(&mut self, _: Duration, _: usize) {}
    fn finished(&mut self, now: Duration, latency: Duration, at_work: usize, verdict: Verdict) {
        if verdict != Verdict::Answered {
            return;
        }
        self.answers += 1;
        self.sum += latency.as_secs_f64();
        if now < self.ends || self.answers < 10 {
            return;
        }
        let short = self.sum / f64::from(self.answers);
        (self.answers, self.sum) = (0, 0.0);
        self.ends = now + Duration::from_millis(100);
        self.long = match self.long {
            0.0 => short,
            long => long + (short - long) * 2.0 / 601.0,
        };
        if self.long / short > 2.0 {
            self.long *= 0.95;
        }
        if (at_work as f64) < self.limit / 2.0 {
            return;
        }
        let gradient = (1.5 * self.long / short).clamp(0.5, 1.0);
        let new = self.limit * gradient + 4.0;
        self.limit = (self.limit * 0.8 + new * 0.2).clamp(LEAST, MOST);
    }
}

/// TCP Vegas on requests: keeps a few of them waiting at the server, as told by the least latency.
pub(crate) struct Vegas {
    limit: f64,
    least: f64,
    answers: u32,
    sum: f64,
    ends: Duration,
    rounds: u32,
}

impl Vegas {
    pub(crate) fn new() -> Self {
        Self {
            limit: FIRST,
            least: 0.0,
            answers: 0,
            sum: 0.0,
            ends: Duration::ZERO,
            rounds: 0,
        }
    }
}

impl Limit for Vegas {
    fn limit(&self) -> usize {
        whole(self.limit)
    }
    fn started(&mut self, _: Duration, _: usize) {}
    fn finished(&mut self, now: Duration, latency: Duration, at_work: usize, verdict: Verdict) {
        match verdict {
            Verdict::Unknown => return,
            Verdict::Overloaded => {
                self.limit = (self.limit - self.limit.log10().max(1.0)).max(LEAST);
                return;
            }
            Verdict::Answered => {}
        }
        self.answers += 1;
        self.sum += latency.as_secs_f64();
        if now < self.ends || self.answers < 10 {
            return;
        }
        let short = self.sum / f64::from(self.answers);
        (self.answers, self.sum) = (0, 0.0);
        self.ends = now + Duration::from_millis(100);
        self.rounds += 1;
        // The least is forgotten from time to time.
        if self.least == 0.0 || short < self.least || self.rounds.is_multiple_of(300) {
            self.least = short;
        }
        if (at_work as f64) < self.limit / 2.0 {
            return;
        }
        let queue = self.limit * (1.0 - self.least / short);
        let step = self.limit.log10().max(1.0);
        if queue <= step {
            self.limit += 6.0 * step;
        } else if queue < 3.0 * step {
            self.limit += step;
        } else if queue > 6.0 * step {
            self.limit -= step;
        }
        self.limit = self.limit.clamp(LEAST, MOST);
    }
}
