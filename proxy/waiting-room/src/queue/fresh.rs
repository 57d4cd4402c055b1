//! Tickets that were given lately and have not come back: those of them that do will stand in the queue.

use std::collections::VecDeque;

use crate::{Millis, order::bin_of};

/// What one bin takes of the memory of those before: a third is left after some fifteen seconds.
const MEMORY: f64 = 0.991;
/// So many are taken to have come back before any were given.
const PRIOR: f64 = 16.0;

/// How many of them, by the bin of time in which they were given.
#[derive(Clone, Default)]
pub(crate) struct Fresh {
    /// In order of time: as many as there are bins in the time for which they are expected.
    bins: VecDeque<Bin>,
    left: u32,
    /// Lately given, and those of them that came back: bots that keep no cookies are not expected.
    given: f64,
    came: f64,
}

#[derive(Clone)]
struct Bin {
    at: u64,
    given: u32,
    left: u32,
}

impl Fresh {
    /// Forgets those that were given before a time.
    pub(crate) fn tidy(&mut self, void_before: Millis) {
        let first = bin_of(void_before);
        while let Some(&Bin { at, given, left }) = self.bins.front()
            && at < first
        {
            self.bins.pop_front();
            self.left -= left;
            self.given = self.given * MEMORY + f64::from(given);
            self.came = self.came * MEMORY + f64::from(given - left);
        }
    }

    /// Counts one. Times never go back.
    pub(crate) fn give(&mut self, now: Millis) {
        match self.bins.back_mut() {
            Some(bin) if bin.at == bin_of(now) => {
                bin.given += 1;
                bin.left += 1;
            }
            _ => self.bins.push_back(Bin { at: bin_of(now), given: 1, left: 1 }),
        }
        self.left += 1;
    }

    /// One that was given in a bin has come back.
    pub(crate) fn came(&mut self, given: u64) {
        if let Ok(at) = self.bins.binary_search_by_key(&given, |bin| bin.at)
            && let Some(bin) = self.bins.get_mut(at)
            && bin.left > 0
        {
            bin.left -= 1;
            self.left -= 1;
        }
    }

    /// How many of all are likely to come back.
    pub(crate) fn expected(&self) -> u32 {
        self.share_of(self.left)
    }

    /// The same of those that were given before a bin.
    pub(crate) fn expected_before(&self, given: u64) -> u32 {
        let before = self.bins.iter().take_while(|bin| bin.at < given);
        self.share_of(before.map(|bin| bin.left).sum())
    }

    fn share_of(&self, left: u32) -> u32 {
        let share = (self.came + PRIOR) / (self.given + PRIOR);
        (f64::from(left) * share).round() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::BIN;

    #[test]
    fn given_come_back_and_are_forgotten() {
        let mut fresh = Fresh::default();
        for n in 0..10 {
            fresh.give(n * BIN / 2);
        }
        assert_eq!([fresh.expected(), fresh.expected_before(2)], [10, 4]);
        for _ in 0..3 {
            fresh.came(1);
        }
        fresh.came(7);
        assert_eq!([fresh.expected(), fresh.expected_before(2)], [8, 2]);
        fresh.tidy(3 * BIN);
        assert_eq!((fresh.left, fresh.bins.len()), (4, 2));
    }

    #[test]
    fn where_one_in_ten_comes_back_so_many_are_expected() {
        let mut fresh = Fresh::default();
        for n in 0..2_000u64 {
            let now = n * 10;
            fresh.give(now);
            if n % 10 == 0 {
                fresh.came(bin_of(now));
            }
            fresh.tidy(now.saturating_sub(5_000));
        }
        assert!((400..=600).contains(&fresh.left), "{}", fresh.left);
        assert!((40..=70).contains(&fresh.expected()), "{} of {}", fresh.expected(), fresh.left);
    }
}
