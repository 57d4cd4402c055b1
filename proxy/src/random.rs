//! Cheap random numbers for choices and ids; nothing secret depends on them.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(std::thread::current().id()) | 1);
}

/// The next number of this thread (splitmix64).
pub fn next() -> u64 {
    STATE.with(|state| {
        let x = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(x);
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    })
}

/// A number below `end`; `0` where `end` is `0`.
pub fn below(end: usize) -> usize {
    if end == 0 {
        0
    } else {
        (next() % end as u64) as usize
    }
}

/// 32 hexadecimal digits.
pub fn id() -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [0; 32];
    let (mut high, mut low) = (next(), next());
    for i in 0..16 {
        out[i] = DIGITS[(high & 15) as usize];
        out[16 + i] = DIGITS[(low & 15) as usize];
        high >>= 4;
        low >>= 4;
    }
    out
}
