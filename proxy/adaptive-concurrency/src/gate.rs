//! A limit and the queue before it.

use std::time::Duration;

use crate::{Class, Elastic, Joined, Limit, Queue, Ticket, Verdict, places::Places};

/// Longest and shortest time after which somebody who was turned away is asked to come again, in seconds.
const AGAIN: (u64, u64) = (1, 30);
/// Rates are measured over about so long.
const RATE_OVER: f64 = 2.0;

/// What the configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The limit is never below; 1 or more.
    pub min: usize,
    /// The limit is never above.
    pub max: usize,
    /// Requests that wait at once.
    pub queue: usize,
    /// How long one of them waits.
    pub patience: Duration,
}

/// Why somebody is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The queue is full, of those who matter as much or more.
    Full,
    /// Somebody who matters more, or as much and came later, took the place in the full queue.
    Displaced,
    /// The turn did not come in time.
    Late,
    /// Its content was still to come, and that of too many others was on its way.
    Uploads,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Full, Self::Displaced, Self::Late, Self::Uploads];

    /// Its word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "queue-full",
            Self::Displaced => "displaced",
            Self::Late => "timeout",
            Self::Uploads => "uploads",
        }
    }
}

/// What becomes of a request that arrives.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission<W> {
    /// It starts at once.
    Starts(W),
    /// It waits; where the queue was full, for another who is turned away.
    Waits(Ticket, Option<(Class, W)>),
    /// It is turned away.
    Refused(W),
}

/// Events of late, per second, with less weight the older they are.
#[derive(Debug, Default, Clone, Copy)]
struct Rate {
    sum: f64,
    at: Duration,
}

impl Rate {
    fn decay(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.sum *= (-passed / RATE_OVER).exp();
        self.at = self.at.max(now);
    }

    fn count(&mut self, now: Duration) {
        self.decay(now);
        self.sum += 1.0;
    }

    fn per_second(mut self, now: Duration) -> f64 {
        self.decay(now);
        self.sum / RATE_OVER
    }
}

/// Stands before a server. `W` is who waits.
pub struct Gate<W, L = Elastic> {
    limit: L,
    bounds: Bounds,
    places: Places,
    queue: Queue<W>,
    done: Rate,
    shed: Rate,
    /// Those of them that were not bots'.
    shed_persons: Rate,
    /// Sheds so far, which spread those who come again.
    turned_away: u64,
}

impl<W> Gate<W> {
    /// With nobody at work.
    pub fn new(bounds: Bounds) -> Self {
        Self::with(Elastic::new(bounds.min, bounds.max), bounds)
    }

    /// The bounds have changed; what was learned stays as far as they allow it. Who waits too many leaves when its
    /// time is over.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        if bounds != self.bounds {
            self.limit.set_bounds(bounds.min, bounds.max);
            self.bounds = bounds;
        }
    }

    /// How long a request takes, as measured last.
    pub fn latency(&self) -> Duration {
        self.limit.latency()
    }
}

impl<W, L: Limit> Gate<W, L> {
    /// With a limit of one's own.
    pub fn with(limit: L, bounds: Bounds) -> Self {
        Self {
            limit,
            bounds,
            places: Places::default(),
            queue: Queue::default(),
            done: Rate::default(),
            shed: Rate::default(),
            shed_persons: Rate::default(),
            turned_away: 0,
        }
    }

    /// What the configuration says.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// As many may be at work.
    pub fn limit(&self) -> usize {
        self.limit.limit()
    }

    /// As many are.
    pub fn at_work(&self) -> usize {
        self.places.taken()
    }

    /// As many wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// As many of a class wait.
    pub fn waiting_of(&self, class: Class) -> usize {
        self.queue.len_of(class)
    }

    fn start(&mut self, now: Duration) {
        self.places.take(now);
        self.limit.started(now, self.places.taken());
    }

    /// Places come back by time as well: of those who have left, and of requests that hang.
    pub fn tidy(&mut self, now: Duration) {
        while self.places.left(now) {
            let (zero, taken) = (Duration::ZERO, self.places.taken() + 1);
            self.limit.finished(now, zero, taken, Verdict::Unknown);
        }
        while self.places.hangs(now, self.limit.limit()) {
            self.limit.hangs(now, self.places.taken() + 1);
        }
    }

    /// Starts a request where it need not wait.
    pub fn at_once(&mut self, now: Duration) -> Option<()> {
        self.tidy(now);
        (self.queue.is_empty() && self.at_work() < self.limit()).then(|| self.start(now))
    }

    /// A request arrives. It is to be asked for [`Gate::next`] where it waits: the limit may have grown since
    /// somebody finished.
    pub fn arrive(&mut self, now: Duration, class: Class, who: W) -> Admission<W> {
        if self.at_once(now).is_some() {
            return Admission::Starts(who);
        }
        let Bounds {
            queue, patience, ..
        } = self.bounds;
        match self.queue.join(class, now, now + patience, queue, who) {
            Joined::Waits(ticket) => Admission::Waits(ticket, None),
            Joined::Displaced(ticket, displaced, who) => {
                self.count_shed(now, displaced);
                Admission::Waits(ticket, Some((displaced, who)))
            }
            Joined::Full(who) => {
                self.count_shed(now, class);
                Admission::Refused(who)
            }
        }
    }

    /// Who starts now, and counts as at work from here on. To be called until there is none, when a request has come
    /// to its end and, while somebody waits, from time to time: places come back by time too.
    pub fn next(&mut self, now: Duration) -> Option<(Class, W)> {
        self.tidy(now);
        if self.at_work() >= self.limit() {
            return None;
        }
        let next = self.queue.next(now, self.bounds.patience)?;
        self.start(now);
        Some(next)
    }

    /// Somebody who waits leaves: of the visitor's own will, or because it is too late, which is a shed.
    pub fn leave(&mut self, now: Duration, ticket: Ticket, is_late: bool) -> Option<W> {
        let left = self.queue.leave(ticket);
        if is_late && left.is_some() {
            self.count_shed(now, ticket.class());
        }
        left
    }

    /// Somebody who waits has become more important.
    pub fn promote(&mut self, ticket: Ticket, class: Class) -> Ticket {
        self.queue.promote(ticket, class)
    }

    /// Turns those away whose time is over.
    pub fn expire(&mut self, now: Duration, mut late: impl FnMut(Class, W)) {
        let mut turned_away = [0; Class::ALL.len()];
        self.queue.expire(now, |class, who| {
            turned_away[class.index()] += 1;
            late(class, who);
        });
        for class in Class::ALL {
            for _ in 0..turned_away[class.index()] {
                self.count_shed(now, class);
            }
        }
    }

    /// Nobody waits any longer, and that is no shed.
    pub fn release_all(&mut self, released: impl FnMut(Class, W)) {
        self.queue.expire(Duration::MAX, released);
    }

    /// A request that was at work has come to its end; it started at `since`.
    pub fn finish(&mut self, now: Duration, since: Duration, verdict: Verdict) {
        self.tidy(now);
        let latency = now.saturating_sub(since);
        let taken = self.places.taken();
        if verdict == Verdict::Answered {
            self.done.count(now);
            self.places.answered(latency, self.limit.limit());
        }
        if self.places.give_back(since) {
            self.limit.finished(now, latency, taken, verdict);
        } else {
            // That it hangs was told.
            let verdict = match verdict {
                Verdict::Overloaded => Verdict::Unknown,
                other => other,
            };
            self.limit.finished(now, latency, taken + 1, verdict);
        }
    }

    /// The visitor of a request that was at work since `since` has left, which the server may not notice: its place is
    /// held for as long as an answer takes of late, and for two seconds at most.
    pub fn abandon(&mut self, now: Duration, since: Duration) {
        self.tidy(now);
        self.places.abandon(now, since);
    }

    /// Somebody of this class is turned away who did not come as far as the queue.
    pub fn turn_away(&mut self, now: Duration, class: Class) {
        self.count_shed(now, class);
    }

    fn count_shed(&mut self, now: Duration, class: Class) {
        self.shed.count(now);
        if class != Class::Bot {
            self.shed_persons.count(now);
        }
        self.turned_away += 1;
    }

    /// Whether somebody was turned away within the last seconds.
    pub fn is_shedding(&self, now: Duration) -> bool {
        self.shed.per_second(now) > 0.1
    }

    /// How hard persons press, from 0 (none of them was turned away of late) to 1 (every other one was, or more).
    pub fn pressure(&self, now: Duration) -> f64 {
        let shed = self.shed_persons.per_second(now);
        let asked = shed + self.done.per_second(now);
        // What is left of one that is long ago is no pressure.
        match shed > 0.1 {
            true => (2.0 * shed / asked).min(1.0),
            false => 0.0,
        }
    }

    /// Seconds after which somebody who is turned away may come again: those who wait take that long, and those who
    /// were turned away within two seconds; up to half as much again, so that they do not come all at once.
    pub fn retry_after(&self, now: Duration) -> u64 {
        let done = self.done.per_second(now).max(0.1);
        let shed = self.shed.per_second(now);
        let takes = (self.waiting() as f64 + shed * RATE_OVER) / done;
        let takes = (takes.ceil() as u64).clamp(AGAIN.0, AGAIN.1);
        takes + self.turned_away % (takes / 2 + 1)
    }
}

#[cfg(test)]
mod tests;
