//! What those who wait are told: their place, how long it takes, and when to ask again.

use super::{HOLD, REFRESH_LEAST, REFRESH_MOST, Room, mix};
use crate::{
    Millis,
    order::Order,
    rules::{Phase, Told},
    ticket::Ticket,
};

/// A crowd that is told to come at one time comes at this many a second.
const RETURNS_PER_SECOND: u64 = 2_000;
/// Longer waits are not told apart.
const WAIT_MOST: Millis = 24 * 60 * 60 * 1_000;

impl Room {
    pub(super) fn told_of(&self, ticket: &Ticket, order: Order) -> Told {
        // How long it takes, and when it asks again, is not for those to say who have not come back.
        let mut turn = 0;
        let place = match (self.is_held(), ticket.told) {
            // Others with better places may still come back.
            (true, told) if ticket.epoch != self.epoch && told > 0 => told,
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
        // Everyone asks at another moment.
        let share = |of: Millis| share_of(of, id ^ now);
        if let Some(opens) = self.rules.opens
            && self.is_early()
        {
            let left = opens.saturating_sub(now);
            let crowd = u64::from(waiting) * 1_000 / RETURNS_PER_SECOND;
            let spread = crowd.clamp(1_000, REFRESH_MOST - REFRESH_LEAST);
            let refresh = match left < REFRESH_MOST {
                true => left + share(spread),
                false => REFRESH_MOST - share(REFRESH_LEAST),
            };
            let passed = self.rules.early.saturating_sub(left);
            return Told {
                phase: Phase::Early,
                place: None,
                waiting,
                wait: left,
                refresh,
                progress: percent(passed, self.rules.early),
            };
        }
        let mut wait = self.wait_of(turn.max(1));
        if self.is_held() {
            wait = wait.max((self.started + HOLD).saturating_sub(now));
        }
        let base = (wait / 10).clamp(REFRESH_LEAST, REFRESH_MOST - REFRESH_LEAST);
        let passed = now.saturating_sub(since);
        Told {
            phase: Phase::Waiting,
            place,
            waiting,
            wait,
            refresh: base + share(base / 5),
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

/// A share of a time, which a number says.
pub(super) fn share_of(of: Millis, number: u64) -> Millis {
    ((u128::from(of) * u128::from(mix(number) >> 32)) >> 32) as Millis
}

fn percent(part: Millis, whole: Millis) -> u8 {
    (part.min(whole) * 100 / whole.max(1)) as u8
}
