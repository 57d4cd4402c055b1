//! What a peer may cause over time, as a bucket of tokens.

use std::time::Duration;

/// How much may happen at once, and how much of it a second in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The size of the bucket.
    pub burst: u32,
    /// Tokens that come back in a second; 0 counts as 1.
    pub per_second: u32,
}

/// A bucket, kept as the time at which it will be full again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    full_at: u64,
    /// Nanoseconds for a token to come back.
    interval: u64,
    /// Nanoseconds for all of them.
    depth: u64,
}

impl Budget {
    pub(crate) fn new(rate: Rate) -> Self {
        let interval = 1_000_000_000 / u64::from(rate.per_second.max(1));
        Self { full_at: 0, interval, depth: interval * u64::from(rate.burst) }
    }

    /// Takes a token; false when there is none left.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX / 2);
        let full_at = self.full_at.max(now).saturating_add(self.interval);
        if full_at - now > self.depth {
            return false;
        }
        self.full_at = full_at;
        true
    }

    /// Puts tokens back: of what was caused, so much was earned by useful work.
    pub(crate) fn earn(&mut self, tokens: u32) {
        self.full_at = self.full_at.saturating_sub(self.interval * u64::from(tokens));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_rate() {
        let mut budget = Budget::new(Rate { burst: 10, per_second: 5 });
        let at = Duration::from_secs(1_000_000);
        let taken = |budget: &mut Budget, at| (0..100).take_while(|_| budget.take(at)).count();
        assert_eq!(taken(&mut budget, at), 10);
        assert_eq!(taken(&mut budget, at + Duration::from_millis(199)), 0);
        assert_eq!(taken(&mut budget, at + Duration::from_secs(1)), 5);
        assert_eq!(taken(&mut budget, at + Duration::from_secs(60)), 10);
        budget.earn(3);
        assert_eq!(taken(&mut budget, at + Duration::from_secs(60)), 3);
    }

    #[test]
    fn more_cannot_be_earned_than_there_was() {
        let mut budget = Budget::new(Rate { burst: 2, per_second: 0 });
        budget.earn(1000);
        assert!(budget.take(Duration::ZERO) && budget.take(Duration::ZERO));
        assert!(!budget.take(Duration::ZERO));
    }
}
