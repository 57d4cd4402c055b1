//! Those without a pass: guests, newcomers, and those who wait.
//!
//! Nobody is counted, neither inside nor in the queue, before a ticket has come back. Whoever keeps no cookies hence
//! takes nothing from anybody but the place of a guest.

use super::{HOLD, PATIENCE, REFRESH_MOST, REFRESH_NEAR, Room, told::drawn};
use crate::{
    Millis,
    order::{Order, SUBS, bin_of},
    rules::{Rules, Verdict},
    ticket::{Kind, Read, Ticket},
};

/// Time for which guests are counted.
pub(super) const GUESTS_PERIOD: Millis = 10_000;
/// Guests in that time where a quarter of the capacity is less: a small shop's visitors are not to see the waiting
/// page because a few come together.
const GUESTS_LEAST: u32 = 16;
/// How long a guest goes on although there is no place: the pictures of its page.
pub(super) const GRACE: Millis = 10_000;
/// How long a ticket that has never come back holds its place in the order: browsers come back within
/// [`REFRESH_MOST`], and nobody is to put tickets by for later.
const FRESH_LIFE: Millis = 4 * REFRESH_MOST;
/// When one comes back for whom there is a place.
const REFRESH_AT_ONCE: Millis = 1_000;
/// Tickets that are remembered as counted: 1 Mi of them, some 32 MiB. Further ones are called with those beside them,
/// but not counted.
const COUNTED_MOST: usize = 1 << 20;

impl Room {
    /// One that nobody knows: a guest, or the last of those who wait.
    pub(super) fn newcomer(&mut self, id: u64) -> Verdict {
        let rate =
            f64::from((self.rules.capacity / 4).max(GUESTS_LEAST)) * 1_000.0 / GUESTS_PERIOD as f64;
        if self.is_engaged() || !self.guests.allows(rate, self.now) {
            return self.give_ticket(id);
        }
        self.guests.count(rate, self.now);
        self.counts.guests += 1;
        // Who is quiet for longer would have left, too.
        let ticket = self.ticket(id, Kind::Guest, self.rules.stay.max(FRESH_LIFE));
        Verdict::Guest { ticket: Some(ticket) }
    }

    /// A ticket that is counted when it comes back.
    pub(super) fn give_ticket(&mut self, id: u64) -> Verdict {
        let (kind, life) = match self.is_early() {
            // A lot is as good whenever it comes back.
            true => (Kind::Early, Millis::MAX),
            false => (Kind::Waiting, FRESH_LIFE),
        };
        let mut ticket = self.ticket(id, kind, life);
        // Those who were given tickets just now, and are likely to come back, stand before it.
        let ahead = self.waiting().saturating_add(self.fresh.expected());
        let place = ahead.saturating_add(1);
        let mut told = self.told(Some(place), place, id, self.now);
        ticket.told = told.place.unwrap_or(0);
        if kind == Kind::Waiting {
            told.refresh = match self.has_place(self.now) {
                true => REFRESH_AT_ONCE,
                // Soon, however long the queue is: it is counted then.
                false if told.refresh <= REFRESH_NEAR => told.refresh,
                false => drawn(4..=REFRESH_NEAR / 1_000, id ^ self.now) * 1_000,
            };
            self.fresh.give(self.now);
        }
        self.counts.issued += 1;
        Verdict::Wait { ticket: Some((ticket, 0)), told }
    }

    fn ticket(&self, id: u64, kind: Kind, life: Millis) -> Ticket {
        Ticket {
            id,
            order: Order::default(),
            issued: self.now,
            expires: self.now + life.min(self.rules.ticket_life),
            told: 0,
            epoch: self.queue_epoch,
            kind,
            counted: false,
        }
    }

    pub(super) fn with_ticket(&mut self, read: &Read) -> Verdict {
        let id = read.ticket.id;
        if let Some(cart) = self.inside.see(id, self.now) {
            // The answer with the pass was lost, or this is a second window, or a picture of the same page.
            let pass = Some(self.pass_of(id, cart));
            return Verdict::Inside { id, pass, admitted: false };
        }
        let is_guest = read.ticket.kind == Kind::Guest;
        if is_guest && self.goes_on(&read.ticket) && !self.has_place(read.ticket.issued) {
            return Verdict::Guest { ticket: None };
        }
        if self.needs_no_queue(&read.ticket) {
            self.keeps_it(&read.ticket);
            return self.admit(id);
        }
        let (mut ticket, order) = self.count_in(read);
        let may_come_in = self.may_come_in(order, id);
        let is_called = self.queue.is_called(order) && !self.is_early() && !self.is_held();
        if (may_come_in || is_called) && !self.late.came(order, id) && ticket.counted {
            self.queue.came(order);
        }
        if may_come_in {
            return self.admit(id);
        }
        let told = self.told_of(&ticket, order);
        if is_called {
            let patience = (2 * told.refresh).max(PATIENCE);
            self.late.wait(order, id, self.now + patience);
        }
        if is_guest {
            self.counts.issued += 1;
        }
        let key = if ticket.kind == Kind::Early { read.key } else { 0 };
        ticket.told = told.place.unwrap_or(ticket.told);
        Verdict::Wait { ticket: Some((ticket, key)), told }
    }

    /// Whether a ticket is a guest's who would not have to wait now.
    pub(super) fn goes_on(&self, ticket: &Ticket) -> bool {
        let in_grace = self.now < ticket.issued.saturating_add(GRACE);
        ticket.kind == Kind::Guest && (in_grace || self.has_place(ticket.issued))
    }

    /// Whether one who came at a time would be let in now, were it counted.
    fn has_place(&self, came: Millis) -> bool {
        let bin = bin_of(came);
        let order = Order::new(bin, 0);
        let is_next = match self.queue.is_called(order) {
            true => self.late.ahead(order, 0, self.places()) < self.places(),
            false => self.queue.through(bin) < self.free().min(self.callable()),
        };
        is_next && !self.is_early() && !self.is_held() && self.may_enter()
    }

    /// Whether a ticket that was never counted need not be: nobody is called, so that lots that are drawn later find
    /// the queue as it was. One of an earlier process says that there may be others.
    pub(super) fn needs_no_queue(&self, ticket: &Ticket) -> bool {
        !ticket.counted
            && (ticket.kind == Kind::Guest
                || ticket.kind == Kind::Waiting && ticket.epoch == self.queue_epoch)
            && !self.draws(ticket.issued)
            && !self.queue.is_called(Order::new(bin_of(ticket.issued), 0))
            && self.has_place(ticket.issued)
    }

    /// A ticket has come back for the first time.
    fn keeps_it(&mut self, ticket: &Ticket) {
        self.counts.kept += 1;
        if ticket.epoch == self.queue_epoch && ticket.kind == Kind::Waiting {
            self.fresh.came(bin_of(ticket.issued));
        }
    }

    /// A ticket as it is when it is counted, and its order: counts it if that has not happened yet.
    pub(super) fn count_in(&mut self, read: &Read) -> (Ticket, Order) {
        let (mut ticket, is_ours) = (read.ticket, read.ticket.epoch == self.queue_epoch);
        // Its opening was called off, or put off until much later: there are no lots.
        let is_void = ticket.kind == Kind::Early
            && window(&self.rules).is_none_or(|(begins, _)| self.now < begins);
        let was_counted = ticket.counted && !is_void;
        if !was_counted {
            let draws = !is_void && (ticket.kind == Kind::Early || self.draws(ticket.issued));
            ticket.kind = if draws { Kind::Early } else { Kind::Waiting };
            // At the end of its bin, should it not be counted.
            ticket.order = Order::new(bin_of(ticket.issued), SUBS - 1);
            ticket.expires = ticket.issued + self.rules.ticket_life;
        }
        if ticket.kind == Kind::Early
            && let Some((begins, opens)) = window(&self.rules)
        {
            ticket.order = Order::drawn(read.draw, begins, opens);
        }
        if was_counted && is_ours {
            return (ticket, ticket.order);
        }
        let key = (ticket.order.bin(), ticket.id);
        if let Some(rank) = self.counted.get(&key) {
            ticket.order = Order::new(key.0, *rank);
            ticket.counted = true;
            return (ticket, ticket.order);
        }
        if self.counted.len() >= COUNTED_MOST {
            return (ticket, ticket.order);
        }
        let is_counted = match was_counted || ticket.kind == Kind::Early {
            true => self.queue.add(ticket.order),
            // Within a bin they stand as they come back: so ranks have no gaps.
            false => {
                let (order, is_counted) = self.queue.issue(key.0);
                // Whoever comes after its bin was called has the same order each time.
                ticket.order = if is_counted { order } else { Order::new(key.0, 0) };
                is_counted
            }
        };
        if is_counted {
            self.counted.insert(key, ticket.order.sub());
            ticket.counted = true;
            self.counts.returned += u64::from(!is_ours);
            // A guest's says nothing of a queue.
            self.is_resumed |=
                !is_ours && read.ticket.kind != Kind::Guest && self.now < self.started + HOLD;
        }
        if !read.ticket.counted && !self.late.has(ticket.order, ticket.id) {
            self.keeps_it(&read.ticket);
        }
        self.call();
        (ticket, ticket.order)
    }

    /// Whether one who came at a time, and is counted only now, has its place drawn: nobody gets before those who came
    /// in the pre-queue by a ticket put by before it.
    fn draws(&self, came: Millis) -> bool {
        let window = window(&self.rules).filter(|(begins, opens)| begins < opens);
        window.is_some_and(|(begins, opens)| begins <= self.now && came < opens)
    }

    pub(super) fn may_come_in(&self, order: Order, id: u64) -> bool {
        // Who is counted nowhere has nobody before it when nobody is left.
        let is_next = (self.queue.is_called(order) || self.queue.waiting() == 0)
            && self.late.ahead(order, id, self.places()) < self.places();
        is_next && !self.is_early() && !self.is_held() && self.may_enter()
    }

    /// Free places, those included that are kept for somebody.
    fn places(&self) -> usize {
        (self.rules.capacity as usize).saturating_sub(self.inside.len())
    }
}

/// The pre-queue.
pub(super) fn window(rules: &Rules) -> Option<(Millis, Millis)> {
    rules.opens.map(|opens| (opens.saturating_sub(rules.early), opens))
}
