//! How many requests an upstream is given at once, and who waits for a place.
//!
//! The rules are those of [`adaptive_concurrency`]; here they meet clock and tasks. A request takes a [`Permit`] before
//! its first attempt and keeps it through its retries. It gives it back when the head of the answer has come: what
//! follows arrives as fast as the visitor reads, and says nothing of the shop.
//!
//! Who waits is a future with a place in the queue, that leaves when it is dropped. A place that becomes free is
//! handed to one that waits, which wakes that task alone. Places that come back by time, of requests that hang and of
//! visitors who have left, are handed out by whoever comes next, and by those who wait, ten times a second.
//!
//! A request whose content is still to come is one of the `Uploads` first.

mod uploads;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use adaptive_concurrency::{Admission, Bounds, Class, Gate, Ticket, Verdict, Why};
use http::header::RETRY_AFTER;
use http_caching::Fields;
use tokio::{
    sync::oneshot,
    time::{Instant as Deadline, timeout_at},
};

use self::uploads::Uploads;
use super::Upstream;
use crate::respond::{failure::Failure, fault::Fault};

/// What comes of waiting.
enum Turn {
    /// A place.
    Starts(Permit),
    /// Somebody who matters more, or as much and came later, has the place in the queue.
    Displaced,
}

/// Who waits looks so often whether places have come back by time.
const LOOKS: Duration = Duration::from_millis(100);

type Waiter = oneshot::Sender<Turn>;

/// The gate before an upstream; outlives the configuration.
#[derive(Default)]
pub struct Concurrency {
    /// Remembers what it has learned while it is off.
    gate: Mutex<Option<Gate<Waiter>>>,
    is_on: AtomicBool,
    uploads: Uploads,
    /// By class and reason.
    sheds: [[AtomicU64; Why::ALL.len()]; Class::ALL.len()],
}

/// The right to be at work at an upstream. Given back when it goes.
pub struct Permit {
    of: Option<Arc<Concurrency>>,
    since: Duration,
    /// When the process began.
    started: Instant,
    /// A server works on it, as far as is known.
    is_sent: bool,
    /// Its content is on its way: it is one of the uploads, and not at work yet.
    is_upload: bool,
}

/// A gate at a glance.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// Requests that may be at work.
    pub limit: usize,
    /// Those that are.
    pub at_work: usize,
    /// Those whose content is on its way to a server.
    pub uploads: usize,
    /// Those that wait.
    pub waiting: usize,
    /// Those of each class.
    pub waiting_by: [usize; Class::ALL.len()],
    /// How long until the head of an answer, of late.
    pub latency: Duration,
    /// Somebody was turned away within the last seconds.
    pub is_shedding: bool,
    /// How hard persons press, from 0 to 1.
    pub pressure: f64,
}

impl Permit {
    /// Where nothing is bounded.
    fn free(started: Instant) -> Self {
        Self {
            of: None,
            since: Duration::ZERO,
            started,
            is_sent: false,
            is_upload: false,
        }
    }

    /// Whether its content is on its way, and it still needs a place to be at work.
    pub fn is_upload(&self) -> bool {
        self.is_upload && self.of.is_some()
    }

    /// The request has come to its end, as far as the shop's work goes. Only the first word counts.
    pub fn done(&mut self, verdict: Verdict) {
        if let Some(of) = self.of.take() {
            if self.is_upload {
                return of.uploads.end();
            }
            let now = self.started.elapsed();
            if let Some(gate) = &mut *of.gate() {
                gate.finish(now, self.since, verdict);
            }
            of.hand_out(self.started);
        }
    }

    /// Whether a server may be working on it: from then on the place is held for a while although its visitor leaves.
    pub fn set_sent(&mut self, is_sent: bool) {
        self.is_sent = is_sent;
    }

    /// Nobody waits for an answer any longer. Most servers do not notice.
    fn abandoned(&mut self) {
        if !self.is_sent || self.is_upload {
            return self.done(Verdict::Unknown);
        }
        if let Some(of) = self.of.take() {
            let now = self.started.elapsed();
            if let Some(gate) = &mut *of.gate() {
                gate.abandon(now, self.since);
            }
        }
    }

    /// The head of an answer has come.
    pub fn answered(&mut self, status: u16, fields: &dyn Fields) {
        if self.of.is_some() {
            self.done(verdict(status, fields.contains(&RETRY_AFTER)));
        }
    }

    /// None will come. A server that is silent has too much to do; one that refuses connections is gone, and the limit
    /// that fitted it will fit it again (`docs/decisions/0009`).
    pub fn failed(&mut self, fault: &Fault) {
        match (fault.is_by_server(), fault.timed_out) {
            (true, true) => self.done(Verdict::Overloaded),
            (true, false) => self.done(Verdict::Unknown),
            (false, _) => self.abandoned(),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.abandoned();
    }
}

/// What the status of an answer says. Errors come quicker than pages, and more of them with more requests, so that
/// they must not count as answers; but only words of overload are believed to be such.
fn verdict(status: u16, retry_after: bool) -> Verdict {
    match status {
        503 if retry_after => Verdict::Overloaded,
        504 => Verdict::Overloaded,
        500.. => Verdict::Unknown,
        _ => Verdict::Answered,
    }
}

/// A request that waits for its turn; leaves the queue when dropped.
pub struct Waiting {
    of: Arc<Concurrency>,
    ticket: Ticket,
    class: Class,
    turn: oneshot::Receiver<Turn>,
    until: Deadline,
    started: Instant,
}

impl Waiting {
    /// The turn, or the failure to be told. Can be asked for again where the future was dropped.
    pub async fn turn(&mut self) -> Result<Permit, Failure> {
        loop {
            let look = (Deadline::now() + LOOKS).min(self.until);
            if let Ok(turn) = timeout_at(look, &mut self.turn).await {
                return self.got(turn.ok());
            }
            if look == self.until {
                break;
            }
            self.of.hand_out(self.started);
        }
        let now = self.started.elapsed();
        let left = match &mut *self.of.gate() {
            Some(gate) => gate.leave(now, self.ticket, true).is_some(),
            None => false,
        };
        if left {
            self.of.count(self.class, Why::Late);
            return Err(self.of.shed(now));
        }
        // The turn came at this moment.
        let turn = self.turn.try_recv();
        self.got(turn.ok())
    }

    fn got(&self, turn: Option<Turn>) -> Result<Permit, Failure> {
        match turn {
            Some(Turn::Starts(permit)) => Ok(permit),
            Some(Turn::Displaced) | None => Err(self.of.shed(self.started.elapsed())),
        }
    }

    /// It matters more than was thought.
    pub fn raise(&mut self, class: Class) {
        if class < self.class {
            self.class = class;
            if let Some(gate) = &mut *self.of.gate() {
                self.ticket = gate.promote(self.ticket, class);
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let now = self.started.elapsed();
        let left = match &mut *self.of.gate() {
            Some(gate) => gate.leave(now, self.ticket, false),
            None => None,
        };
        drop(left);
    }
}

/// What becomes of a request that wants to be at work.
pub enum Asked {
    /// It is.
    Admitted(Permit),
    /// It waits.
    Waits(Waiting),
}

impl Concurrency {
    fn gate(&self) -> MutexGuard<'_, Option<Gate<Waiter>>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration in force: bounds, or none. What was learned stays.
    pub fn set_bounds(self: &Arc<Self>, bounds: Option<Bounds>) {
        let mut waiters = Vec::new();
        // While it is off nobody waits.
        let (most, waiting) = bounds.map_or((usize::MAX, usize::MAX), |b| (b.max, b.queue));
        self.uploads.set_bounds(most, waiting);
        let mut gate = self.gate();
        match (bounds, &mut *gate) {
            (Some(bounds), Some(gate)) => gate.set_bounds(bounds),
            (Some(bounds), none) => *none = Some(Gate::new(bounds)),
            (None, Some(gate)) => gate.release_all(|_, waiter| waiters.push(waiter)),
            (None, None) => {}
        }
        self.is_on.store(bounds.is_some(), Ordering::Release);
        drop(gate);
        for waiter in waiters {
            // Whoever has left needs none.
            let _ = waiter.send(Turn::Starts(Permit::free(Instant::now())));
        }
    }

    /// Asks for a place. An error is the failure to be told.
    pub fn ask(self: &Arc<Self>, class: Class, started: Instant) -> Result<Asked, Failure> {
        if !self.is_on.load(Ordering::Acquire) {
            return Ok(Asked::Admitted(Permit::free(started)));
        }
        let now = started.elapsed();
        let mut guard = self.gate();
        let Some(gate) = &mut *guard else {
            return Ok(Asked::Admitted(Permit::free(started)));
        };
        if let Some(()) = gate.at_once(now) {
            drop(guard);
            return Ok(Asked::Admitted(self.permit(now, started)));
        }
        let patience = gate.bounds().patience;
        let (sender, turn) = oneshot::channel();
        let admission = gate.arrive(now, class, sender);
        drop(guard);
        let ticket = match admission {
            Admission::Starts(_) => return Ok(Asked::Admitted(self.permit(now, started))),
            Admission::Refused(_) => {
                self.count(class, Why::Full);
                return Err(self.shed(now));
            }
            Admission::Waits(ticket, displaced) => {
                if let Some((class, waiter)) = displaced {
                    self.count(class, Why::Displaced);
                    let _ = waiter.send(Turn::Displaced);
                }
                ticket
            }
        };
        // The limit may have grown since somebody finished.
        self.hand_out(started);
        Ok(Asked::Waits(Waiting {
            of: Arc::clone(self),
            ticket,
            class,
            turn,
            until: Deadline::now() + patience,
            started,
        }))
    }

    /// Asks to send a request whose content is still to come; it may wait. An error is the failure to be told.
    pub async fn ask_to_send(
        self: &Arc<Self>,
        class: Class,
        started: Instant,
    ) -> Result<Permit, Failure> {
        if !self.is_on.load(Ordering::Acquire) {
            return Ok(Permit::free(started));
        }
        let patience = self.gate().as_ref().map(|gate| gate.bounds().patience);
        if !self.uploads.begin(patience.unwrap_or_default()).await {
            let now = started.elapsed();
            self.count(class, Why::Uploads);
            if let Some(gate) = &mut *self.gate() {
                gate.turn_away(now, class);
            }
            return Err(self.shed(now));
        }
        let mut permit = self.permit(Duration::ZERO, started);
        permit.is_upload = true;
        Ok(permit)
    }

    fn permit(self: &Arc<Self>, since: Duration, started: Instant) -> Permit {
        Permit {
            of: Some(Arc::clone(self)),
            since,
            started,
            is_sent: false,
            is_upload: false,
        }
    }

    /// Gives free places to those whose turn it is.
    fn hand_out(self: &Arc<Self>, started: Instant) {
        loop {
            let now = started.elapsed();
            let next = self.gate().as_mut().and_then(|gate| gate.next(now));
            let Some((_, waiter)) = next else {
                return;
            };
            // What comes back from one that has just left is dropped here, and so given back.
            drop(waiter.send(Turn::Starts(self.permit(now, started))));
        }
    }

    fn count(&self, class: Class, why: Why) {
        self.sheds[class.index()][why as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn shed(&self, now: Duration) -> Failure {
        let gate = self.gate();
        Failure::shed(gate.as_ref().map_or(1, |gate| gate.retry_after(now)))
    }

    /// How many were turned away, and why.
    pub fn sheds(&self) -> impl Iterator<Item = (Class, Why, u64)> {
        let classes = Class::ALL.into_iter().zip(&self.sheds);
        classes.flat_map(|(class, counts)| {
            let counts = Why::ALL.into_iter().zip(counts);
            counts.map(move |(why, count)| (class, why, count.load(Ordering::Relaxed)))
        })
    }

    /// How it is, at a time since the process began; `None` while it is off.
    pub fn state(&self, tick: Duration) -> Option<State> {
        if !self.is_on.load(Ordering::Acquire) {
            return None;
        }
        let mut gate = self.gate();
        let gate = gate.as_mut()?;
        gate.tidy(tick);
        Some(State {
            limit: gate.limit(),
            at_work: gate.at_work(),
            uploads: self.uploads.under_way(),
            waiting: gate.waiting(),
            waiting_by: Class::ALL.map(|class| gate.waiting_of(class)),
            latency: gate.latency(),
            is_shedding: gate.is_shedding(tick),
            pressure: gate.pressure(tick),
        })
    }
}

impl Upstream {
    /// Asks for a place among the requests at work; `started` is when the process began.
    pub fn admit(&self, class: Class, started: Instant) -> Result<Asked, Failure> {
        self.lasting.concurrency.ask(class, started)
    }

    /// Asks to send a request whose content is still to come.
    pub async fn admit_upload(&self, class: Class, started: Instant) -> Result<Permit, Failure> {
        self.lasting.concurrency.ask_to_send(class, started).await
    }

    /// Whether requests were turned away within the last seconds, as there were too many.
    pub fn is_shedding(&self, tick: Duration) -> bool {
        let state = self.lasting.concurrency.state(tick);
        state.is_some_and(|state| state.is_shedding)
    }
}

#[cfg(test)]
mod tests;
