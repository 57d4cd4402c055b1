//! How fast: the bound on admissions, and how quickly places become free.

use crate::Millis;

/// A bound on how often something happens (GCRA): so many a second, and at most a window's worth at once.
#[derive(Clone)]
pub(crate) struct Pace {
    /// Milliseconds.
    window: f64,
    /// When the admissions so far would have happened, had they come evenly.
    due: f64,
}

impl Pace {
    pub(crate) fn over(window: Millis) -> Self {
        Self { window: window as f64, due: 0.0 }
    }

    /// Whether one more is within a rate per second.
    pub(crate) fn allows(&self, rate: f64, now: Millis) -> bool {
        if rate <= 0.0 {
            return false;
        }
        let interval = 1_000.0 / rate;
        self.due <= now as f64 + (self.window - interval).max(0.0)
    }

    /// Counts one.
    pub(crate) fn count(&mut self, rate: f64, now: Millis) {
        if rate > 0.0 {
            self.due = self.due.max(now as f64) + 1_000.0 / rate;
        }
    }
}

/// Events a second, averaged over the last minute or so.
#[derive(Clone)]
pub(crate) struct Flow {
    per_second: f64,
    at: Millis,
}

/// Time in which what was is weighted by a third.
const MEMORY: f64 = 60_000.0;

impl Flow {
    /// What is assumed until something is known.
    pub(crate) fn assumed(per_second: f64, now: Millis) -> Self {
        Self { per_second, at: now }
    }

    pub(crate) fn count(&mut self, events: u32, now: Millis) {
        self.per_second = self.per_second(now) + f64::from(events) * 1_000.0 / MEMORY;
        self.at = now;
    }

    pub(crate) fn per_second(&self, now: Millis) -> f64 {
        let passed = now.saturating_sub(self.at) as f64;
        self.per_second * (-passed / MEMORY).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_at_once_then_evenly() {
        let (mut pace, start) = (Pace::over(1_000), 1_000_000);
        let mut taken = |now, rate| {
            let mut count = 0;
            while pace.allows(rate, now) {
                pace.count(rate, now);
                count += 1;
            }
            count
        };
        assert_eq!(taken(start, 10.0), 10);
        assert_eq!(taken(start + 99, 10.0), 0);
        assert_eq!(taken(start + 100, 10.0), 1);
        assert_eq!(taken(start + 60_000, 10.0), 10, "quiet saves no more than a second");
        assert_eq!(taken(start + 60_000, 0.0), 0);
        // Slower than one a second: one at a time.
        let mut slow = Pace::over(1_000);
        slow.count(0.1, start);
        assert!(!slow.allows(0.1, start + 9_999) && slow.allows(0.1, start + 10_000));
    }

    #[test]
    fn a_window_at_once_then_evenly() {
        let (mut pace, mut taken) = (Pace::over(10_000), Vec::new());
        for now in (1_000_000..1_010_000).step_by(1_000) {
            let before = taken.len();
            while pace.allows(1.6, now) {
                pace.count(1.6, now);
                taken.push(now);
            }
            assert!(taken.len() - before <= if before == 0 { 16 } else { 2 });
        }
        assert_eq!(taken.iter().filter(|now| **now == 1_000_000).count(), 16);
        assert_eq!(taken.len(), 16 + 14);
    }

    #[test]
    fn a_flow_settles_on_what_happens() {
        let mut flow = Flow::assumed(100.0, 0);
        for second in 1..=600 {
            flow.count(5, second * 1_000);
        }
        let seen = flow.per_second(600_000);
        assert!((4.9..5.2).contains(&seen), "{seen}");
        assert!(flow.per_second(660_000) < 2.0);
    }
}
