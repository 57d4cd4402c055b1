//! Addresses that names of servers led to lately, whose counters are kept for when they come back.

use std::{
    collections::{HashSet, VecDeque},
    net::SocketAddr,
};

/// As many as one name has at most: a name that leads elsewhere and back finds all that was counted, and one that
/// leads to new addresses each second leaves no more behind.
const MAX: usize = 64;

/// Kept with what outlives an upstream's configurations, so that a reload forgets none.
#[derive(Default)]
pub(super) struct Departed {
    /// Where the names lead.
    present: Vec<SocketAddr>,
    /// Where they led, those that left last at the end.
    left: VecDeque<SocketAddr>,
}

impl Departed {
    /// The names lead to these now.
    pub(super) fn note(&mut self, present: Vec<SocketAddr>) {
        let now: HashSet<_> = present.iter().collect();
        self.left.retain(|address| !now.contains(address));
        let left = self.present.iter().filter(|was| !now.contains(was));
        self.left.extend(left);
        let too_many = self.left.len().saturating_sub(MAX);
        self.left.drain(..too_many);
        self.present = present;
    }

    /// Those that left last.
    pub(super) fn left(&self) -> impl Iterator<Item = &SocketAddr> {
        self.left.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(ports: std::ops::Range<u16>) -> Vec<SocketAddr> {
        ports.map(|port| ([127, 0, 0, 1], port).into()).collect()
    }

    fn left(departed: &Departed) -> Vec<u16> {
        departed.left().map(SocketAddr::port).collect()
    }

    #[test]
    fn those_that_left_last_are_kept() {
        let mut departed = Departed::default();
        departed.note(addresses(1..3));
        assert!(left(&departed).is_empty());
        departed.note(addresses(2..4));
        departed.note(addresses(10..11));
        assert_eq!(left(&departed), [1, 2, 3]);
        departed.note(addresses(1..2));
        assert_eq!(left(&departed), [2, 3, 10], "one is back");
        departed.note(addresses(2..3));
        assert_eq!(left(&departed), [3, 10, 1], "and left again");
        for turn in 1..100 {
            departed.note(addresses(100 * turn..100 * turn + 60));
        }
        let last = left(&departed);
        assert_eq!((last.len(), last[0], last[63]), (MAX, 9_756, 9_859));
    }
}
