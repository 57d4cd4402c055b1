//! What those who wait are told: their place, how long it takes, and when to ask again.

use super::{HOLD, REFRESH_MOST, REFRESH_NEAR, Room, mix};
use crate::{
    Millis,
    order::Order,
    rules::{Phase, Told},
    ticket::Ticket,
};

/// A crowd that is told to come at one time comes at this many a second.
const RETURNS_PER_SECOND: u64 = 2_000;
/// So many at the front ask again each second or two, however long it takes until a place is free.
const NEXT: u32 = 4;
/// Longer waits are not told apart.
const WAIT_MOST: Millis = 24 * 60 * 60 * 1_000;

impl Room {
    pub(super) fn told_of(&self, ticket: &Ticket, order: Order) -> Told {
        // How long it takes, and when it asks again, is not for those to say who have not come back.
        let mut turn = 0;
        let place = match (self.is_held(), ticket.told) {
            // Others with better places may still come back.
            (true, told) if ticket.epoch != self.queue_epoch && told > 0 => told,
            (_, told) => {
                // Those who were called and are on their way go in before.
                let coming = match self.queue.is_called(order) {
                    true => self.late.ahead(order, ticket.id, usize::MAX) as u32 + 1,
                    false => self.called(),
                };
                let place = self.queue.place(order).saturating_add(coming).max(1);
                turn = place;
                // As those do who were given tickets before it just now.
                let place = place.saturating_add(self.fresh.expected_before(order.bin()));
                // What was told once holds, even if another process knows of more.
                if told > 0 { place.min(told) } else { place }
            }
        };
        let turn = if turn == 0 { place } else { turn.min(place) };
        self.told(Some(place), turn, ticket.id, ticket.issued)
    }

    /// What one is told who has a place, if any, and is likely to be let in as the so-manieth.
    pub(super) fn told(&self, place: Option<u32>, turn: u32, id: u64, since: Millis) -> Told {
        let (now, waiting) = (self.now, self.waiting());
        if let Some(opens) = self.rules.opens
            && self.is_early()
        {
            let left = opens.saturating_sub(now);
            let crowd = u64::from(waiting) * 1_000 / RETURNS_PER_SECOND;
            let spread = crowd.div_ceil(1_000).clamp(1, 24);
            let seconds = match left < REFRESH_MOST {
                true => left.div_ceil(1_000) + drawn(0..=spread, id ^ now),
                false => drawn(25..=REFRESH_MOST / 1_000, id ^ now),
            };
            let passed = self.rules.early.saturating_sub(left);
            return Told {
                phase: Phase::Early,
                place: None,
                waiting,
                wait: left,
                refresh: seconds * 1_000,
                progress: percent(passed, self.rules.early),
            };
        }
        let mut wait = self.wait_of(turn.max(1));
        if self.is_held() {
            wait = wait.max((self.started + HOLD).saturating_sub(now));
        }
        let passed = now.saturating_sub(since);
        Told {
            phase: Phase::Waiting,
            place,
            waiting,
            wait,
            refresh: refresh_of(turn, wait, id ^ now),
            progress: percent(passed, passed + wait),
        }
    }

    /// How long it takes until so many have come in: free places as fast as the pace allows, others as they become
    /// free.
    pub(super) fn wait_of(&self, place: u32) -> Millis {
        let rate = self.rate().unwrap_or(f64::INFINITY);
        let free = (self.rules.capacity as usize).saturating_sub(self.inside.len());
        let place = f64::from(place);
        let at_once = place.min(free as f64);
        let later = place - at_once;
        let turnover = self.turnover().min(rate);
        let seconds = at_once / rate + if later > 0.0 { later / turnover } else { 0.0 };
        match seconds.is_finite() {
            true => ((seconds * 1_000.0) as Millis).clamp(1_000, WAIT_MOST),
            false => WAIT_MOST,
        }
    }
}

/// When the so-manieth asks again, in milliseconds that are whole seconds: that is what browsers are told. Drawn from
/// several, so that those who came together do not come together again. The nearer the turn the sooner: each place is
/// to be taken when it is there, and each admission of the pace when it is due.
fn refresh_of(turn: u32, wait: Millis, number: u64) -> Millis {
    let seconds = if turn <= NEXT || wait <= 3_000 {
        1..=2
    } else if wait <= REFRESH_NEAR {
        2..=4
    } else {
        let least = (wait / 10_000).clamp(REFRESH_NEAR / 2_000, REFRESH_MOST / 1_500);
        least..=(least * 3 / 2 + 2).min(REFRESH_MOST / 1_000)
    };
    drawn(seconds, number) * 1_000
}

/// One of several numbers, which another one says.
pub(super) fn drawn(from: std::ops::RangeInclusive<u64>, number: u64) -> u64 {
    let several = from.end() - from.start() + 1;
    from.start() + ((several * (mix(number) >> 32)) >> 32)
}

fn percent(part: Millis, whole: Millis) -> u8 {
    (part.min(whole) * 100 / whole.max(1)) as u8
}
