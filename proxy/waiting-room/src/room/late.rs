//! Those whose turn has come, and who have not found a place: the next ones are theirs.

use std::collections::BTreeMap;

use crate::{Millis, order::Order};

/// Further ones are let in when they ask and there is a place, but none is kept for them.
const LATE_MOST: usize = 4_096;

/// By their order, with the time until which each is expected to ask again.
#[derive(Clone, Default)]
pub(super) struct Late {
    all: BTreeMap<(Order, u64), Millis>,
    tidied: Millis,
}

impl Late {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many stand before one; counts no further than to a bound.
    pub(super) fn ahead(&self, order: Order, id: u64, most: usize) -> usize {
        self.all.range(..(order, id)).take(most).count()
    }

    pub(super) fn has(&self, order: Order, id: u64) -> bool {
        self.all.contains_key(&(order, id))
    }

    pub(super) fn wait(&mut self, order: Order, id: u64, until: Millis) {
        if self.all.len() < LATE_MOST || self.all.contains_key(&(order, id)) {
            self.all.insert((order, id), until);
        }
    }

    pub(super) fn came(&mut self, order: Order, id: u64) -> bool {
        self.all.remove(&(order, id)).is_some()
    }

    /// Forgets those who did not ask again; once a second.
    pub(super) fn tidy(&mut self, now: Millis) {
        if now >= self.tidied + 1_000 {
            self.all.retain(|_, until| *until > now);
            self.tidied = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_stand_in_their_order_for_as_long_as_they_ask() {
        let mut late = Late::default();
        for (rank, id) in [(5, 1), (3, 2), (5, 0)] {
            late.wait(Order::new(0, rank), id, 10_000);
        }
        let ahead = |late: &Late, rank, id| late.ahead(Order::new(0, rank), id, 9);
        assert_eq!([ahead(&late, 3, 2), ahead(&late, 5, 0), ahead(&late, 5, 1)], [0, 1, 2]);
        assert_eq!((ahead(&late, 9, 9), late.ahead(Order::new(0, 9), 9, 2)), (3, 2));
        late.wait(Order::new(0, 5), 1, 20_000);
        assert!(late.came(Order::new(0, 3), 2) && !late.came(Order::new(0, 3), 2));
        late.tidy(10_000);
        assert_eq!((late.len(), ahead(&late, 5, 1)), (1, 0));
        for id in 0..2 * LATE_MOST as u64 {
            late.wait(Order::new(1, 0), id, 20_000);
        }
        assert_eq!(late.len(), LATE_MOST);
    }
}
