//! Who is inside: the ids of those with a pass, and when each was seen last.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    hash::{BuildHasherDefault, Hasher},
};

use crate::Millis;

/// Ids are random numbers of our own, so they are spread already.
#[derive(Clone, Default)]
pub(crate) struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

pub(crate) type ById = BuildHasherDefault<Plain>;

/// How long who is quiet counts as being inside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stays {
    pub(crate) plain: Millis,
    pub(crate) cart: Millis,
}

impl Stays {
    pub(crate) fn of(self, cart: bool) -> Millis {
        if cart { self.cart } else { self.plain }
    }
}

#[derive(Clone)]
struct Seen {
    last: Millis,
    cart: bool,
}

/// Those inside; one entry and one deadline each.
#[derive(Clone, Default)]
pub(crate) struct Inside {
    seen: HashMap<u64, Seen, ById>,
    ends: BinaryHeap<Reverse<(Millis, u64)>>,
    carts: usize,
}

impl Inside {
    pub(crate) fn len(&self) -> usize {
        self.seen.len()
    }

    pub(crate) fn carts(&self) -> usize {
        self.carts
    }

    /// Notes that one was seen, if it is inside; says whether it has a cart.
    pub(crate) fn see(&mut self, id: u64, now: Millis) -> Option<bool> {
        let seen = self.seen.get_mut(&id)?;
        seen.last = now;
        Some(seen.cart)
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.seen.contains_key(&id)
    }

    pub(crate) fn enter(&mut self, id: u64, cart: bool, now: Millis, stays: Stays) {
        if self.see(id, now).is_none() {
            self.seen.insert(id, Seen { last: now, cart });
            self.carts += usize::from(cart);
            self.ends.push(Reverse((now + stays.of(cart), id)));
        }
    }

    /// One has a cart from now on; `false` where it is not inside.
    pub(crate) fn give_cart(&mut self, id: u64) -> bool {
        let Some(seen) = self.seen.get_mut(&id) else {
            return false;
        };
        self.carts += usize::from(!seen.cart);
        seen.cart = true;
        true
    }

    /// Lets those go who were quiet for too long; says how many.
    pub(crate) fn tidy(&mut self, now: Millis, stays: Stays) -> u32 {
        let mut gone = 0;
        while let Some(&Reverse((end, id))) = self.ends.peek()
            && end <= now
        {
            self.ends.pop();
            let Some(seen) = self.seen.get(&id) else {
                continue;
            };
            let (end, cart) = (seen.last + stays.of(seen.cart), seen.cart);
            if end > now {
                self.ends.push(Reverse((end, id)));
            } else {
                self.seen.remove(&id);
                self.carts -= usize::from(cart);
                gone += 1;
            }
        }
        gone
    }

    /// Counts everyone's time anew, with other stays.
    pub(crate) fn rearrange(&mut self, stays: Stays) {
        let ends = self.seen.iter().map(|(id, seen)| (seen.last + stays.of(seen.cart), *id));
        self.ends = ends.map(Reverse).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAYS: Stays = Stays { plain: 100, cart: 1_000 };

    #[test]
    fn who_is_quiet_has_left() {
        let mut inside = Inside::default();
        for id in 0..10 {
            inside.enter(id, id == 9, 0, STAYS);
            inside.enter(id, false, 0, STAYS);
        }
        assert_eq!((inside.len(), inside.carts(), inside.ends.len()), (10, 1, 10));
        assert_eq!(inside.see(3, 50), Some(false));
        assert!(inside.give_cart(4) && inside.give_cart(4) && !inside.give_cart(77));
        assert_eq!(inside.tidy(99, STAYS), 0);
        assert_eq!(inside.tidy(100, STAYS), 7);
        assert!(inside.contains(3) && inside.contains(4) && inside.contains(9));
        assert_eq!((inside.tidy(150, STAYS), inside.len(), inside.carts()), (1, 2, 2));
        inside.rearrange(Stays { plain: 10, cart: 200 });
        assert_eq!(inside.tidy(200, Stays { plain: 10, cart: 200 }), 2);
        assert_eq!((inside.len(), inside.carts(), inside.ends.len()), (0, 0, 0));
    }
}
