//! A server that refuses connections is passed over for a while, and tried by one request at a time.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The first pause. A process that is started anew listens again within so long, and a burst of requests
/// costs it one attempt.
const FIRST: Duration = Duration::from_millis(50);
/// The longest. A dead server costs four requests a second an attempt, and a server that returns is missed
/// no longer than that.
const LONGEST: Duration = Duration::from_millis(250);

/// What refusals mean at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There were none since the last success.
    Well,
    /// The pause is over: one request may try.
    Due,
    /// It refused just now, or somebody tries.
    Refusing,
}

/// The refusals in a row of one server.
///
/// One word, so that it changes as a whole: the end of the pause in milliseconds above 16 bits, then how many
/// there were, and in the lowest whether somebody tries. `0` while there were none.
#[derive(Default)]
pub struct Refusals(AtomicU64);

#[derive(Clone, Copy)]
struct Word {
    until: u64,
    count: u64,
    tried: bool,
}

impl Word {
    fn of(word: u64) -> Option<Self> {
        (word != 0).then_some(Self {
            until: word >> 16,
            count: (word >> 1) & 0xff,
            tried: word & 1 == 1,
        })
    }

    fn pack(now: u64, count: u64, tried: bool) -> u64 {
        ((now + pause(count)) << 16) | (count << 1) | u64::from(tried)
    }

    /// When the last refusal was, or the turn to try was taken.
    fn began(self) -> u64 {
        self.until.saturating_sub(pause(self.count))
    }
}

/// The pause after so many refusals, in milliseconds.
fn pause(count: u64) -> u64 {
    millis(
        FIRST
            .saturating_mul(1 << (count.max(1) - 1).min(16))
            .min(LONGEST),
    )
}

/// A time as the words of this module hold it.
pub(in crate::upstream) fn millis(tick: Duration) -> u64 {
    u64::try_from(tick.as_millis()).unwrap_or(u64::MAX >> 16)
}

impl Refusals {
    fn change(&self, next: impl Fn(Option<Word>) -> Option<u64>) -> bool {
        let next = |word| next(Word::of(word));
        let changed = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        changed.is_ok()
    }

    /// Where it stands.
    pub fn standing(&self, tick: Duration) -> Standing {
        match Word::of(self.0.load(Ordering::Relaxed)) {
            None => Standing::Well,
            Some(word) if word.until > millis(tick) => Standing::Refusing,
            Some(_) => Standing::Due,
        }
    }

    /// Notes a refusal. Those of one burst count as one; the one of who tried makes the pause longer.
    pub fn note(&self, tick: Duration) {
        let now = millis(tick);
        self.change(|word| match word {
            None => Some(Word::pack(now, 1, false)),
            Some(word) if !word.tried && word.until > now => None,
            Some(word) => Some(Word::pack(now, (word.count + 1).min(0xff), false)),
        });
    }

    /// Takes the turn to try, which one has of all that ask. Where nothing comes of it there is another turn
    /// after as long.
    pub fn claim(&self, tick: Duration) -> bool {
        let now = millis(tick);
        self.change(|word| {
            let word = word.filter(|word| word.until <= now)?;
            Some(Word::pack(now, word.count, true))
        })
    }

    /// Forgets them where what succeeded was asked after the last of them; says how many there were.
    pub fn clear(&self, asked: Duration) -> u64 {
        // Mostly there are none, and nothing is written.
        let known = self.0.load(Ordering::Relaxed);
        let Some(word) = Word::of(known) else {
            return 0;
        };
        if word.began() > millis(asked) {
            return 0;
        }
        let cleared = self
            .0
            .compare_exchange(known, 0, Ordering::Relaxed, Ordering::Relaxed);
        cleared.map_or(0, |_| word.count)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn the_pause_doubles_up_to_a_bound() {
        let refusals = Refusals::default();
        let mut now = 1_000 * MILLI;
        assert_eq!(refusals.standing(now), Standing::Well);
        for pause in [50, 100, 200, 250, 250] {
            refusals.note(now);
            refusals.note(now + 20 * MILLI);
            let over = now + pause * MILLI;
            assert_eq!(refusals.standing(over - MILLI), Standing::Refusing);
            assert!(!refusals.claim(over - MILLI), "not within the pause");
            assert_eq!(refusals.standing(over), Standing::Due, "{pause}");
            now = over;
            assert!(refusals.claim(now));
            assert_eq!(refusals.standing(now), Standing::Refusing, "to the others");
        }
        assert_eq!(refusals.clear(now - MILLI), 0, "asked before the last try");
        assert!(refusals.clear(now) > 0);
        assert_eq!(refusals.clear(now), 0);
        assert_eq!(refusals.standing(now), Standing::Well);
        refusals.note(now);
        assert_eq!(refusals.standing(now + 50 * MILLI), Standing::Due, "anew");
        (0..400).for_each(|n| refusals.note(now + n * 2_000 * MILLI));
    }

    #[test]
    fn a_try_that_nobody_ends_is_followed_by_another() {
        let refusals = Refusals::default();
        refusals.note(Duration::ZERO);
        assert!(refusals.claim(50 * MILLI));
        assert_eq!(refusals.standing(99 * MILLI), Standing::Refusing);
        assert!(refusals.claim(100 * MILLI));
    }

    #[test]
    fn one_of_many_threads_tries() {
        let refusals = Arc::new(Refusals::default());
        for turn in 1..200 {
            refusals.note(turn * 10_000 * MILLI);
            let now = (turn * 10_000 + 5_000) * MILLI;
            let claim = || {
                let refusals = Arc::clone(&refusals);
                thread::spawn(move || refusals.claim(now))
            };
            let claims: Vec<_> = (0..4).map(|_| claim()).collect();
            let won = claims.into_iter().map(|c| c.join().expect("no panic"));
            assert_eq!(won.filter(|won| *won).count(), 1);
        }
    }
}
