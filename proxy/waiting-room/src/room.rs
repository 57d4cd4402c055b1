//! The room: who comes in, who waits, and what each is told.

mod late;
mod tickets;
mod told;

use std::collections::BTreeMap;

use crate::{
    Millis,
    inside::Inside,
    order::Order,
    pace::{Flow, Pace},
    queue::{Fresh, Queue},
    rules::{Counts, Look, Phase, Rules, Verdict, Visitor},
    ticket::{Kind, Ticket},
};

/// Longest time after which who waits asks again; it also says how long it takes until all who waited at another
/// process have come back.
const REFRESH_MOST: Millis = 30_000;
/// The same for those who are not far from the front.
const REFRESH_NEAR: Millis = 8_000;
/// After the start of a process with tickets of an earlier one nobody is called for so long: all of them have come
/// back by then.
const HOLD: Millis = REFRESH_MOST + 2_000;
/// How long those who are called have to come: the interval that the next ones are told, and half of it.
const PATIENCE: Millis = REFRESH_NEAR / 2 * 3;
/// The same for those who were told when everything was different: before the opening, and by an earlier process.
const LONG_PATIENCE: Millis = 2 * REFRESH_MOST;
/// A ticket that was just given is expected back for so long: one interval, and a second of the way.
const EXPECTED: Millis = REFRESH_NEAR + 1_000;

/// A waiting room. A copy is for those who want to know what would become of a visitor.
#[derive(Clone)]
pub struct Room {
    rules: Rules,
    epoch: u32,
    /// Tells this queue from those of other processes, and from one whose lots were drawn for another opening.
    queue_epoch: u32,
    /// When the queue was new.
    started: Millis,
    /// The latest time that was given: an earlier one counts as this.
    now: Millis,
    queue: Queue,
    inside: Inside,
    pace: Pace,
    /// How many newcomers are let go on before anybody knows whether they keep cookies.
    guests: Pace,
    /// Places that become free.
    departures: Flow,
    /// Those whose turn has come, and who found no place.
    late: late::Late,
    /// Tickets that have not come back yet.
    fresh: Fresh,
    /// Tickets that were counted when they came back, by bin and id, with their ranks: so that a copy is not counted
    /// again. Forgotten when all of their bin were called, as from then on nothing of it is counted.
    counted: BTreeMap<(u64, u64), u32>,
    /// A ticket of another process came soon after the start, or the queue was made anew.
    is_resumed: bool,
    /// From 0, at ease, to 1, nothing more.
    pressure: f64,
    counts: Counts,
}

impl Room {
    /// An empty room of a process, which `epoch` tells from others.
    pub fn new(rules: Rules, epoch: u32, now: Millis) -> Self {
        Self {
            departures: Flow::assumed(prior(&rules), now),
            rules,
            epoch,
            queue_epoch: epoch,
            started: now,
            now,
            queue: Queue::new(now),
            inside: Inside::default(),
            pace: Pace::over(1_000),
            guests: Pace::over(tickets::GUESTS_PERIOD),
            late: late::Late::default(),
            fresh: Fresh::default(),
            counted: BTreeMap::new(),
            is_resumed: false,
            pressure: 0.0,
            counts: Counts::default(),
        }
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Puts other rules in force. Everyone keeps their place; where lots were drawn already and another pre-queue is
    /// said they are drawn anew, and nobody is called before all who wait have come back.
    pub fn set_rules(&mut self, rules: Rules) {
        if rules == self.rules {
            return;
        }
        self.inside.rearrange(rules.stays());
        let (before, after) = (tickets::window(&self.rules), tickets::window(&rules));
        let has_drawn = before.is_some_and(|(begins, _)| begins <= self.now);
        self.rules = rules;
        if before != after && has_drawn && self.waiting() > 0 {
            self.count_anew();
        }
    }

    /// Forgets who waits: each is counted again when it comes back.
    fn count_anew(&mut self) {
        self.queue = Queue::new(self.now);
        self.late = late::Late::default();
        self.fresh = Fresh::default();
        self.counted.clear();
        self.queue_epoch = mix(u64::from(self.queue_epoch)) as u32;
        self.started = self.now;
        self.is_resumed = true;
    }

    /// How hard the shop behind is pressed, from 0 (at ease) to 1 (nobody is let in).
    pub fn set_pressure(&mut self, pressure: f64) {
        self.pressure = if pressure.is_nan() { 0.0 } else { pressure.clamp(0.0, 1.0) };
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Visitors inside, and how many of them have a cart.
    pub fn inside(&self) -> (usize, usize) {
        (self.inside.len(), self.inside.carts())
    }

    /// Tickets that wait, those included that were called and have not come yet, or have found no place.
    pub fn waiting(&self) -> u32 {
        self.queue.waiting().saturating_add(self.called())
    }

    /// Those who were called, and are not inside.
    fn called(&self) -> u32 {
        self.queue.outstanding().saturating_add(self.late.len() as u32)
    }

    /// How long one who came now would wait, in milliseconds.
    pub fn expected_wait(&self) -> Millis {
        match self.is_engaged() {
            true => self.wait_of(self.queue.waiting().saturating_add(1)),
            false => 0,
        }
    }

    /// Lets time pass: who is quiet leaves, who does not come is given up, and the next ones are called.
    pub fn tidy(&mut self, now: Millis) {
        let now = self.now.max(now);
        self.now = now;
        let gone = self.inside.tidy(now, self.rules.stays());
        if gone > 0 {
            self.departures.count(gone, now);
            self.counts.left += u64::from(gone);
        }
        let void_before = now.saturating_sub(self.rules.life());
        self.counts.no_shows += u64::from(self.queue.tidy(now, void_before));
        self.late.tidy(now);
        self.fresh.tidy(now.saturating_sub(EXPECTED));
        self.call();
        let settled = self.queue.settled();
        while let Some(first) = self.counted.first_entry()
            && first.key().0 < settled
        {
            first.remove();
        }
    }

    /// Calls as many as there are places, and the pace lets in.
    fn call(&mut self) {
        if self.is_early() || self.is_held() {
            return;
        }
        let wanted = self.free().min(self.callable());
        let patience = match self.is_unsettled() {
            true => LONG_PATIENCE,
            false => PATIENCE,
        };
        self.queue.call(wanted, self.now, patience);
    }

    /// Decides about a visitor who wants to come in.
    pub fn arrive(&mut self, visitor: Visitor, now: Millis) -> Verdict {
        self.tidy(now);
        match visitor {
            Visitor::Holds(read) if read.ticket.is_pass() => self.with_pass(&read.ticket),
            Visitor::Holds(read) => self.with_ticket(&read),
            Visitor::New(id) => self.newcomer(id),
            Visitor::Stranger if self.is_engaged() => {
                Verdict::Wait { ticket: None, told: self.told(None, self.waiting(), 0, self.now) }
            }
            Visitor::Stranger => Verdict::Uncounted,
        }
    }

    /// Says where a visitor stands, without letting anybody in.
    pub fn look(&mut self, visitor: Visitor, now: Millis) -> Look {
        self.tidy(now);
        let (phase, told) = match visitor {
            Visitor::Holds(read) if self.is_inside(&read.ticket) => (Phase::Inside, None),
            Visitor::Holds(read)
                if self.goes_on(&read.ticket) || self.needs_no_queue(&read.ticket) =>
            {
                (Phase::Open, None)
            }
            Visitor::Holds(read) if !read.ticket.is_pass() => {
                let (ticket, order) = self.count_in(&read);
                match self.may_come_in(order, ticket.id) {
                    true => (Phase::Open, None),
                    false => {
                        let told = self.told_of(&ticket, order);
                        (told.phase, Some(told))
                    }
                }
            }
            _ if self.is_engaged() => {
                let told = self.told(None, self.waiting(), 0, self.now);
                (told.phase, Some(told))
            }
            _ => (Phase::Open, None),
        };
        Look { phase, told, waiting: self.waiting() }
    }

    /// A visitor has a cart now: the pass that says so.
    pub fn give_cart(&mut self, id: u64, now: Millis) -> Ticket {
        self.now = self.now.max(now);
        if !self.inside.give_cart(id) && self.inside.len() < self.most_inside() {
            self.enter(id, true);
        }
        self.pass_of(id, true)
    }

    /// Whether the shop may have to do with a crowd: newcomers wait.
    fn is_engaged(&self) -> bool {
        self.is_early()
            || self.is_held()
            || self.waiting() > 0
            || self.inside.len() >= self.rules.capacity as usize
            || !self.paces_allow()
    }

    fn is_early(&self) -> bool {
        let begins = self.rules.opens.map(|opens| opens.saturating_sub(self.rules.early));
        begins.is_some_and(|begins| self.now >= begins)
            && self.rules.opens.is_some_and(|opens| self.now < opens)
    }

    /// Whether tickets of an earlier process may still be on their way back.
    fn is_held(&self) -> bool {
        self.is_resumed && self.now < self.started + HOLD
    }

    /// Whether those who are called may have been told to come much later.
    fn is_unsettled(&self) -> bool {
        let resumed = self.is_resumed && self.now < self.started + HOLD + REFRESH_MOST;
        let opened = self
            .rules
            .opens
            .is_some_and(|opens| (opens..opens + 2 * REFRESH_MOST).contains(&self.now));
        resumed || opened
    }

    /// Places for those who are not called yet.
    fn free(&self) -> u32 {
        let taken = self.inside.len().saturating_add(self.called() as usize);
        (self.rules.capacity as usize).saturating_sub(taken) as u32
    }

    /// Most that may be called besides those who are on their way: as many as the pace lets in until they come.
    fn callable(&self) -> u32 {
        let Some(rate) = self.rate() else {
            return u32::MAX;
        };
        let coming = rate * REFRESH_NEAR as f64 / 1_000.0;
        let most = if rate > 0.0 { coming.ceil().clamp(1.0, 1e9) as u32 } else { 0 };
        // Those who were too many for the pace may be as many again: none of its admissions is to be lost.
        let coming = most.saturating_sub(self.queue.outstanding());
        coming.min(most.saturating_mul(2).saturating_sub(self.called()))
    }

    /// Most admissions a second; none: as places become free.
    fn rate(&self) -> Option<f64> {
        let ease = 1.0 - self.pressure;
        match self.rules.rate {
            Some(rate) => Some(f64::from(rate.count) * 1_000.0 / rate.period.max(1) as f64 * ease),
            None if self.pressure > 0.0 => Some(self.turnover() * ease),
            None => None,
        }
    }

    /// Places that become free in a second.
    fn turnover(&self) -> f64 {
        self.departures.per_second(self.now).max(prior(&self.rules) / 10.0)
    }

    fn paces_allow(&self) -> bool {
        self.rate().is_none_or(|rate| self.pace.allows(rate, self.now))
    }

    /// The two rules of the door: there is a place, and the pace allows it.
    fn may_enter(&self) -> bool {
        self.inside.len() < self.rules.capacity as usize && self.paces_allow()
    }

    fn enter(&mut self, id: u64, cart: bool) {
        self.inside.enter(id, cart, self.now, self.rules.stays());
    }

    fn admit(&mut self, id: u64) -> Verdict {
        if let Some(rate) = self.rate() {
            self.pace.count(rate, self.now);
        }
        self.enter(id, false);
        self.counts.admitted += 1;
        Verdict::Inside { id, pass: Some(self.pass_of(id, false)), admitted: true }
    }

    fn pass_of(&self, id: u64, cart: bool) -> Ticket {
        let stay = self.rules.stays().of(cart);
        Ticket {
            id,
            order: Order::default(),
            issued: self.now,
            // It is renewed when half of the stay is over, and good for a whole one from then on.
            expires: self.now + stay + stay / 2,
            told: 0,
            epoch: self.epoch,
            kind: if cart { Kind::Cart } else { Kind::Pass },
            counted: true,
        }
    }

    fn is_inside(&self, ticket: &Ticket) -> bool {
        self.inside.contains(ticket.id) || (ticket.is_pass() && self.is_good(ticket))
    }

    /// Whether a pass of one who is not known to be inside is good: it may be of an earlier process, or of another
    /// one beside us. A cart is never refused. Any other has left.
    fn is_good(&self, ticket: &Ticket) -> bool {
        ticket.epoch != self.epoch || ticket.kind == Kind::Cart
    }

    fn with_pass(&mut self, ticket: &Ticket) -> Verdict {
        let (id, now) = (ticket.id, self.now);
        let cart = match self.inside.see(id, now) {
            Some(cart) => cart,
            None if self.is_good(ticket) => {
                let cart = ticket.kind == Kind::Cart;
                // Beyond the bound they are let through, and not counted.
                if self.inside.len() < self.most_inside() {
                    self.enter(id, cart);
                }
                cart
            }
            // It keeps cookies, and is no guest.
            None if !self.is_engaged() => return self.admit(id),
            None => return self.give_ticket(id),
        };
        if ticket.kind == Kind::Cart && !cart {
            self.inside.give_cart(id);
        }
        let cart = cart || ticket.kind == Kind::Cart;
        let half = self.rules.stays().of(cart) / 2;
        let is_old = now >= ticket.issued.saturating_add(half);
        let renew = is_old || cart != (ticket.kind == Kind::Cart);
        Verdict::Inside { id, pass: renew.then(|| self.pass_of(id, cart)), admitted: false }
    }

    /// The bound on those inside: carts, and visitors of an earlier process, may come on top.
    fn most_inside(&self) -> usize {
        let capacity = self.rules.capacity as usize;
        capacity + (capacity / 4).max(64)
    }
}

/// Places that become free in a second while nothing is known: everyone stays for a stay.
fn prior(rules: &Rules) -> f64 {
    f64::from(rules.capacity) * 1_000.0 / rules.stay.max(1_000) as f64
}

/// Spreads a number (splitmix64).
fn mix(number: u64) -> u64 {
    let x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
