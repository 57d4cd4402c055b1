//! Who waits: how many tickets lie in each bin of time, and up to which they were called.
//!
//! A ring of bins with a Fenwick tree over it, so that a place is told in eighteen steps whatever the crowd. Within
//! a bin tickets are told apart by their ranks: those that were issued here have successive ones, and are called and
//! told exactly; where ranks have gaps (drawn orders, tickets of another process) they are taken to be spread
//! evenly.

mod fresh;

use std::collections::VecDeque;

use crate::{
    Millis,
    order::{BIN, Order, SUBS, bin_of},
};

pub(crate) use fresh::Fresh;

/// Bins of the ring: with 128 ms each more than nine hours.
const BINS: usize = 1 << 18;
/// Time that the ring can tell apart.
const SPAN: Millis = BINS as u64 * BIN;
/// How old an order may be; the rest of the span is for those that are drawn ahead of time.
pub(crate) const LIFE_MOST: Millis = SPAN / 8 * 7;
/// Calls so close together count as one.
const TOGETHER: Millis = 250;

/// The queue of a room.
#[derive(Clone)]
pub(crate) struct Queue {
    /// Fenwick tree over the number of tickets by slot; the first entry is not used.
    tree: Box<[u32]>,
    /// One more than the highest rank that was seen, by slot.
    tops: Box<[u32]>,
    waiting: u32,
    /// First bin of the ring.
    oldest: u64,
    /// Everything before it was called.
    called: Order,
    calls: VecDeque<Call>,
    outstanding: u32,
}

/// Tickets that were called together.
#[derive(Clone)]
struct Call {
    from: Order,
    until: Order,
    /// Of those, how many have not come.
    left: u32,
    at: Millis,
    /// When the others are given up.
    patience: Millis,
}

impl Queue {
    pub(crate) fn new(now: Millis) -> Self {
        Self {
            tree: vec![0; BINS + 1].into_boxed_slice(),
            tops: vec![0; BINS].into_boxed_slice(),
            waiting: 0,
            // Room for as much as may lie ahead.
            oldest: bin_of(now.saturating_sub(LIFE_MOST)),
            called: Order::default(),
            calls: VecDeque::new(),
            outstanding: 0,
        }
    }

    /// Tickets that were not called yet.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Tickets that were called, and are expected.
    pub(crate) fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// Whether a ticket's turn has come.
    pub(crate) fn is_called(&self, order: Order) -> bool {
        order < self.called
    }

    /// The order of a ticket of a bin that stands behind all others of it, and whether it was counted: not for
    /// the same reasons as in [`add`](Self::add).
    pub(crate) fn issue(&mut self, bin: u64) -> (Order, bool) {
        self.make_room(bin);
        let rank = match bin < self.oldest {
            true => 0,
            false => self.tops[slot(bin)].min(SUBS - 1),
        };
        let order = Order::new(bin, rank);
        (order, self.add(order))
    }

    /// Everything in the bins before this one was called, or is forgotten.
    pub(crate) fn settled(&self) -> u64 {
        self.called.bin().max(self.oldest)
    }

    /// Tickets not called yet in the bins up to one, and in it.
    pub(crate) fn through(&self, bin: u64) -> u32 {
        if bin < self.oldest {
            0
        } else if bin >= self.oldest + BINS as u64 {
            self.waiting
        } else {
            self.before(bin) + self.count(bin)
        }
    }

    /// Counts a ticket. Not if its turn has come, or it lies beyond what can be told apart.
    pub(crate) fn add(&mut self, order: Order) -> bool {
        let bin = order.bin();
        self.make_room(bin);
        if bin < self.oldest || self.is_called(order) || self.waiting == u32::MAX {
            return false;
        }
        let top = &mut self.tops[slot(bin)];
        *top = (*top).max(order.sub() + 1);
        self.change(slot(bin), 1, true);
        true
    }

    /// Tickets before a ticket, and itself; `0` where its turn has come.
    pub(crate) fn place(&self, order: Order) -> u32 {
        if self.is_called(order) {
            return 0;
        }
        let bin = order.bin();
        if bin < self.oldest || bin >= self.oldest + BINS as u64 {
            return self.waiting + 1;
        }
        let (before, here) = (self.before(bin), self.count(bin));
        let from = self.position(bin);
        let ahead = u64::from(order.sub().saturating_sub(from)) * u64::from(here);
        let range = self.tops[slot(bin)].saturating_sub(from).max(1);
        let within = (ahead / u64::from(range)).min(u64::from(here.saturating_sub(1)));
        before + within as u32 + 1
    }

    /// Calls as many tickets, if there are; says how many it called.
    pub(crate) fn call(&mut self, wanted: u32, now: Millis, patience: Millis) -> u32 {
        let from = self.called;
        let mut left = wanted;
        while left > 0
            && let Some(bin) = self.first()
        {
            let (here, at) = (self.count(bin), self.position(bin));
            let top = self.tops[slot(bin)];
            let taken = left.min(here);
            let step = u64::from(top.saturating_sub(at)) * u64::from(taken);
            let until = at.saturating_add(step.div_ceil(u64::from(here)) as u32);
            // Behind the last one of a bin there may still come others.
            self.called = match top {
                SUBS if taken == here => Order::new(bin + 1, 0),
                _ => Order::new(bin, until.min(top)),
            };
            self.change(slot(bin), taken, false);
            left -= taken;
        }
        let called = wanted - left;
        if called > 0 {
            self.outstanding += called;
            match self.calls.back_mut() {
                Some(last) if now.saturating_sub(last.at) < TOGETHER => {
                    last.until = self.called;
                    last.left += called;
                }
                _ => self.calls.push_back(Call {
                    from,
                    until: self.called,
                    left: called,
                    at: now,
                    patience: now + patience,
                }),
            }
        }
        called
    }

    /// A ticket that was called has come in.
    pub(crate) fn came(&mut self, order: Order) {
        let at = self.calls.partition_point(|call| call.until <= order);
        if let Some(call) = self.calls.get_mut(at)
            && call.from <= order
            && call.left > 0
        {
            call.left -= 1;
            self.outstanding -= 1;
        }
    }

    /// Gives up those who were called and have not come, and forgets tickets from before a time; says how many were
    /// given up.
    pub(crate) fn tidy(&mut self, now: Millis, void_before: Millis) -> u32 {
        let mut gone = 0;
        while let Some(call) = self.calls.front() {
            if call.left > 0 && call.patience > now {
                break;
            }
            gone += call.left;
            self.calls.pop_front();
        }
        self.outstanding -= gone;
        self.forget(bin_of(void_before));
        gone
    }

    /// Makes the ring reach so far.
    fn make_room(&mut self, bin: u64) {
        self.forget((bin + 1).saturating_sub(BINS as u64));
    }

    /// Drops the bins before one.
    fn forget(&mut self, first: u64) {
        if first <= self.oldest {
            return;
        }
        if first - self.oldest >= BINS as u64 {
            self.tree.fill(0);
            self.tops.fill(0);
            self.waiting = 0;
            self.oldest = first;
            return;
        }
        for bin in self.oldest..first {
            let slot = slot(bin);
            if self.tops[slot] > 0 {
                let here = self.count(bin);
                self.change(slot, here, false);
                self.tops[slot] = 0;
            }
        }
        self.oldest = first;
    }

    /// The rank in a bin up to which tickets were called.
    fn position(&self, bin: u64) -> u32 {
        match self.called.bin() == bin {
            true => self.called.sub(),
            false => 0,
        }
    }

    /// Tickets in the bins before one.
    fn before(&self, bin: u64) -> u32 {
        let (start, end) = (slot(self.oldest), slot(bin));
        let sum = self.sum(end).wrapping_sub(self.sum(start));
        match end >= start {
            true => sum,
            false => sum.wrapping_add(self.waiting),
        }
    }

    fn count(&self, bin: u64) -> u32 {
        self.sum(slot(bin) + 1) - self.sum(slot(bin))
    }

    /// The first bin with a ticket.
    fn first(&self) -> Option<u64> {
        if self.waiting == 0 {
            return None;
        }
        let start = slot(self.oldest);
        let skipped = self.sum(start);
        let behind = if skipped == self.waiting { 0 } else { skipped };
        // The slot with more than `behind` up to and with it, and no less before.
        let (mut at, mut left) = (0, behind);
        let mut step = BINS;
        while step > 0 {
            if at + step <= BINS && self.tree[at + step] <= left {
                at += step;
                left -= self.tree[at];
            }
            step /= 2;
        }
        let offset = (at + BINS - start) % BINS;
        Some(self.oldest + offset as u64)
    }

    /// Tickets in the slots before one.
    fn sum(&self, slot: usize) -> u32 {
        let (mut at, mut sum) = (slot, 0);
        while at > 0 {
            sum += self.tree[at];
            at &= at - 1;
        }
        sum
    }

    fn change(&mut self, slot: usize, by: u32, more: bool) {
        let changed = |count: u32| if more { count + by } else { count.saturating_sub(by) };
        let mut at = slot + 1;
        while at <= BINS {
            self.tree[at] = changed(self.tree[at]);
            at += at & at.wrapping_neg();
        }
        self.waiting = changed(self.waiting);
    }
}

fn slot(bin: u64) -> usize {
    bin as usize % BINS
}

#[cfg(test)]
mod tests;
