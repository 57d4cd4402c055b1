//! How many requests failed of late.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::upstream::health::refusals::millis;

/// Parts of the window: what leaves it at once is a tenth.
const PARTS: usize = 10;
/// Requests that one part counts; more say nothing new of the share.
const MOST: u64 = (1 << 20) - 1;

/// Requests and failures over the last while; ten words, whatever happens.
///
/// A part is one word, so that it is begun anew as a whole: its number (24 bits), failures and requests (20 bits
/// each).
pub struct Window {
    /// Milliseconds of a part.
    length: u64,
    parts: [AtomicU64; PARTS],
}

/// What a window has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// All.
    pub requests: u64,
    /// Of them.
    pub failed: u64,
}

impl Counted {
    /// The share that failed.
    pub fn percent(self) -> u64 {
        100 * self.failed / self.requests.max(1)
    }
}

impl Window {
    /// One over so long.
    pub fn new(length: Duration) -> Self {
        Self {
            length: (millis(length) / PARTS as u64).max(1),
            parts: Default::default(),
        }
    }

    /// Numbers begin with 1, so that what was never used is never of now.
    fn number(&self, tick: Duration) -> u64 {
        (millis(tick) / self.length + 1) & 0xff_ffff
    }

    /// Counts a request.
    pub fn count(&self, tick: Duration, failed: bool) {
        let number = self.number(tick);
        let part = &self.parts[number as usize % PARTS];
        let add = |word: u64| {
            let word = match word >> 40 == number {
                true => word,
                false => number << 40,
            };
            if word & MOST == MOST {
                return None;
            }
            Some(word + 1 + (u64::from(failed) << 20))
        };
        // Full: the share stays as it is.
        let _ = part.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// What it holds.
    pub fn counted(&self, tick: Duration) -> Counted {
        let number = self.number(tick);
        let mut sum = Counted::default();
        for part in &self.parts {
            let word = part.load(Ordering::Relaxed);
            let age = number.wrapping_sub(word >> 40) & 0xff_ffff;
            if word != 0 && age < PARTS as u64 {
                sum.requests += word & MOST;
                sum.failed += (word >> 20) & MOST;
            }
        }
        sum
    }

    /// Begins anew.
    pub fn clear(&self) {
        self.parts
            .iter()
            .for_each(|part| part.store(0, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_counts_no_more() {
        let second = Duration::from_secs;
        let window = Window::new(second(10));
        let counted = |requests, failed| Counted { requests, failed };
        for n in 0..10 {
            window.count(second(n), n % 2 == 0);
            window.count(second(n), false);
        }
        assert_eq!(window.counted(second(9)), counted(20, 5));
        assert_eq!(window.counted(second(9)).percent(), 25);
        assert_eq!(window.counted(second(10)), counted(18, 4));
        assert_eq!(window.counted(second(18)), counted(2, 0));
        assert_eq!(window.counted(second(19)), counted(0, 0));
        window.count(second(1_000_000), true);
        assert_eq!(window.counted(second(1_000_000)), counted(1, 1));
        window.clear();
        assert_eq!(window.counted(second(1_000_000)).percent(), 0);
    }

    #[test]
    fn a_full_part_overflows_into_nothing() {
        let window = Window::new(Duration::from_secs(1));
        for _ in 0..MOST + 10 {
            window.count(Duration::ZERO, true);
        }
        let counted = window.counted(Duration::ZERO);
        assert_eq!((counted.requests, counted.failed), (MOST, MOST));
        window.count(Duration::from_millis(100), false);
        assert_eq!(window.counted(Duration::from_millis(100)).failed, MOST);
    }
}
