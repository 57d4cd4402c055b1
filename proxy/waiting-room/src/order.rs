//! Where a ticket stands among all others.

use crate::Millis;

/// Milliseconds that are one bin of the queue.
pub(crate) const BIN: Millis = 128;
/// Bits of the rank within a bin.
const SUB_BITS: u32 = 20;
/// Ranks within a bin.
pub(crate) const SUBS: u32 = 1 << SUB_BITS;

/// The order of a ticket: the bin of time it belongs to, and its rank within that. Who has the lower one goes in
/// first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order(u64);

impl Order {
    pub(crate) const fn new(bin: u64, sub: u32) -> Self {
        Self(bin << SUB_BITS | sub as u64 & (SUBS as u64 - 1))
    }

    /// A place between two times that nobody who does not know where `draw` comes from can tell: each one is as
    /// likely as any other.
    pub(crate) fn drawn(draw: u64, from: Millis, until: Millis) -> Self {
        let (first, end) = (bin_of(from), bin_of(until.saturating_sub(1)) + 1);
        let bins = u128::from(end.saturating_sub(first).max(1));
        let point = u128::from(draw) * bins;
        // What is left of the multiplication is spread as evenly as what it gave.
        Self::new(first + (point >> 64) as u64, (point as u64 >> (64 - SUB_BITS)) as u32)
    }

    /// As it is written into a ticket.
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn of_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bin(self) -> u64 {
        self.0 >> SUB_BITS
    }

    pub(crate) const fn sub(self) -> u32 {
        self.0 as u32 & (SUBS - 1)
    }
}

/// The bin of a time.
pub(crate) const fn bin_of(time: Millis) -> u64 {
    time / BIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_orders_lie_in_their_window() {
        let (from, until) = (1_000 * BIN, 1_010 * BIN);
        for draw in [0, 1, u64::MAX / 2, u64::MAX] {
            let order = Order::drawn(draw, from, until);
            assert!((1_000..1_010).contains(&order.bin()), "{draw}: {order:?}");
        }
        assert_eq!(Order::drawn(u64::MAX, from, until), Order::new(1_009, SUBS - 1));
        // A window of nothing is a point.
        assert_eq!(Order::drawn(u64::MAX, from, from).bin(), 1_000);
    }

    #[test]
    fn orders_by_time_then_rank() {
        let order = Order::new(5, 7);
        assert_eq!((order.bin(), order.sub()), (5, 7));
        assert_eq!(Order::of_bits(order.bits()), order);
        assert!(Order::new(5, SUBS - 1) < Order::new(6, 0));
    }
}
