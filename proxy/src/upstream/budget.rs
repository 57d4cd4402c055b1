//! The retry budget: retries may add a share to the requests, so that they never become the outage.

use std::sync::atomic::{AtomicI64, Ordering};

/// One retry, in the unit of the bucket.
const RETRY: i64 = 100;
/// Retries that are possible however few requests there were.
const RESERVE: i64 = 10 * RETRY;

/// A bucket that requests fill by a share of a retry each, and retries empty.
pub struct RetryBudget {
    level: AtomicI64,
}

impl Default for RetryBudget {
    /// A bucket that allows a few retries from the start.
    fn default() -> Self {
        Self {
            level: AtomicI64::new(RESERVE),
        }
    }
}

impl RetryBudget {
    /// Counts a request.
    pub fn request(&self, percent: u8) {
        if self.level.load(Ordering::Relaxed) < 10 * RESERVE {
            self.level.fetch_add(i64::from(percent), Ordering::Relaxed);
        }
    }

    /// Takes a retry out of the bucket; `false` where it is empty.
    pub fn take(&self) -> bool {
        let taken = self.level.fetch_sub(RETRY, Ordering::Relaxed) >= RETRY;
        if !taken {
            self.level.fetch_add(RETRY, Ordering::Relaxed);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_stay_within_their_share() {
        let budget = RetryBudget::default();
        let reserve = (0..1000).filter(|_| budget.take()).count();
        assert_eq!(reserve, 10);
        let mut retries = 0;
        for _ in 0..1000 {
            budget.request(20);
            retries += usize::from(budget.take());
        }
        assert_eq!(retries, 200);
    }

    #[test]
    fn a_long_calm_saves_up_no_more_than_a_burst() {
        let budget = RetryBudget::default();
        (0..1_000_000).for_each(|_| budget.request(100));
        let saved = (0..1_000_000).filter(|_| budget.take()).count();
        assert!((90..=101).contains(&saved), "{saved}");
    }
}
