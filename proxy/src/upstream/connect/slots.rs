//! How many connections a server has, over all threads, and who waits for one.
//!
//! A [`Slot`] belongs to a connection for its life. Where the configuration bounds their number, idle
//! connections lie here and not in a thread's pool, so that any thread finds them: a thread's own pool would keep
//! slots from the others, and to close there what is opened here costs a handshake for each such request. A
//! socket is woken by the runtime that opened it, whichever thread waits for it; its timer stays behind.
//!
//! What becomes free goes to whoever waits with the nearest deadline, by hand: nothing is ever free while
//! somebody waits, so that nobody can come in between.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::upstream::{
    connect::connection::Connection,
    connect::pool::{Care, Idle},
};
use crate::{config::model::Connections, deadline::Deadline};

/// The connections to a server.
#[derive(Default)]
pub struct Slots {
    inner: Mutex<Inner>,
    /// As in `inner`, to be read without its lock.
    open: AtomicUsize,
    idle: AtomicUsize,
    waiting: AtomicUsize,
    /// Connections that carry streams of HTTP/2.
    sessions: AtomicUsize,
    /// Their bound at last, `0` for none.
    bound: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    /// Open ones, and those that are about to be.
    open: usize,
    /// The newest last. Empty while somebody waits, unless their number is over the bound.
    idle: VecDeque<Idle>,
    /// By deadline, and by when they came.
    waiting: BTreeMap<(Instant, u64), Waiter>,
    came: u64,
}

struct Waiter {
    /// As many connections there may be.
    max: usize,
    /// It has no use for one that was used.
    fresh: bool,
    sender: oneshot::Sender<Got>,
}

/// What a request gets.
pub enum Got {
    /// A connection that was used before.
    Reused(Connection),
    /// The right to open one.
    New(Slot),
}

/// Why a request gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// As many wait as may.
    QueueFull,
    /// Nothing became free in time.
    TimedOut,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Only a connection that was not used before will do.
    pub fresh: bool,
    /// How sure it must be that one is still open.
    pub care: Care,
    /// The time since the process began.
    pub now: Duration,
    /// When waiting is over.
    pub until: Instant,
}

/// The right to have a connection. When it goes, whoever waits gets it.
pub struct Slot {
    of: Option<Arc<Slots>>,
    /// When its connection is too old to be used again, since the process began.
    pub(in crate::upstream) ends: Duration,
}

impl Slot {
    fn new(of: &Arc<Slots>) -> Self {
        Self {
            of: Some(Arc::clone(of)),
            ends: Duration::MAX,
        }
    }

    /// The right to a stream of HTTP/2 where nothing bounds them; counted nowhere.
    pub fn of_stream() -> Self {
        Self {
            of: None,
            ends: Duration::MAX,
        }
    }

    /// Whether there are only so many.
    pub fn is_bounded(&self) -> bool {
        self.of.as_ref().is_some_and(|slots| slots.is_bounded())
    }

    /// It has become someone else's.
    fn forget(mut self) {
        self.of = None;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(slots) = self.of.take() {
            slots.release();
        }
    }
}

/// A connection that carries streams of HTTP/2, counted until dropped. It is no [`Slot`]: over HTTP/2 a bound is
/// one of requests, and a connection that was opened before a reload brought the bound must not take their place.
pub struct Session(Arc<Slots>);

impl Drop for Session {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Leaves the queue when the request gives up or is given up.
struct Place<'a> {
    slots: &'a Slots,
    key: (Instant, u64),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut inner = self.slots.inner();
        // It is not there where something was handed over.
        inner.waiting.remove(&self.key);
        self.slots.publish(&inner);
    }
}

impl Slots {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, inner: &Inner) {
        self.open.store(inner.open, Ordering::Relaxed);
        self.idle.store(inner.idle.len(), Ordering::Relaxed);
        self.waiting.store(inner.waiting.len(), Ordering::Relaxed);
    }

    /// Connections that are open or about to be; over HTTP/2 requests at once, where they are bounded.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that carry streams of HTTP/2, open or about to be.
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Counts a connection that is about to carry streams of HTTP/2.
    pub fn session(self: &Arc<Self>) -> Session {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        Session(Arc::clone(self))
    }

    /// Requests that wait for one.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether a request would not have to wait, of `max` connections.
    pub fn has_room(&self, max: usize) -> bool {
        self.open() < max || self.idle.load(Ordering::Relaxed) > 0
    }

    /// Says whether their number is bounded.
    pub fn set_bound(&self, max: Option<usize>) {
        self.bound.store(max.unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether their number is bounded, so that no thread may keep idle ones for itself.
    pub fn is_bounded(&self) -> bool {
        self.bound.load(Ordering::Relaxed) != 0
    }

    /// A slot of which there are any number.
    pub fn unbounded(self: &Arc<Self>) -> Slot {
        let mut inner = self.inner();
        inner.open += 1;
        self.publish(&inner);
        Slot::new(self)
    }

    /// A connection or the right to open one, of `max`; waits until there is.
    pub async fn acquire(
        self: &Arc<Self>,
        max: usize,
        bounds: &Connections,
        wish: &Wish,
    ) -> Result<Got, Refused> {
        let (place, receiver) = match self.join(max, bounds.queue, wish) {
            Ok(got) => return Ok(got),
            Err(None) => return Err(Refused::QueueFull),
            Err(Some(waits)) => waits,
        };
        let got = timeout_at(wish.until, receiver).await;
        drop(place);
        match got {
            Ok(Ok(Got::Reused(mut connection))) => {
                if connection.is_usable(wish.care) {
                    return Ok(Got::Reused(connection));
                }
                let slot = connection.slot.take();
                drop(connection);
                slot.map(Got::New).ok_or(Refused::TimedOut)
            }
            Ok(Ok(got)) => Ok(got),
            _ => Err(Refused::TimedOut),
        }
    }

    /// What is there now, else a place in the queue, `None` where it is full.
    fn join(
        self: &Arc<Self>,
        max: usize,
        queue: usize,
        wish: &Wish,
    ) -> Result<Got, Option<(Place<'_>, oneshot::Receiver<Got>)>> {
        // Outlives the lock: what closes gives its slot back, for which it takes the lock itself.
        let mut gone = Vec::new();
        let mut inner = self.inner();
        if let Some(got) = self.at_once(&mut inner, max, wish, &mut gone) {
            self.publish(&inner);
            drop(inner);
            // Closed before there is another.
            drop(gone);
            return Ok(got);
        }
        if inner.waiting.len() >= queue {
            return Err(None);
        }
        let (sender, receiver) = oneshot::channel();
        inner.came += 1;
        let key = (wish.until, inner.came);
        let fresh = wish.fresh;
        inner.waiting.insert(key, Waiter { max, fresh, sender });
        self.publish(&inner);
        Err(Some((Place { slots: self, key }, receiver)))
    }

    /// What is there now.
    fn at_once(
        self: &Arc<Self>,
        inner: &mut Inner,
        max: usize,
        wish: &Wish,
        gone: &mut Vec<Idle>,
    ) -> Option<Got> {
        if !wish.fresh {
            while let Some(mut newest) = inner.idle.pop_back() {
                if newest.is_good(wish.now, wish.care) {
                    return Some(Got::Reused(newest.connection));
                }
                gone.push(newest);
            }
        }
        // Nobody waits then, unless for a bound that a reload has raised since.
        if inner.open < max {
            inner.open += 1;
            return Some(Got::New(Slot::new(self)));
        }
        // Closed for this one; the oldest, as the others are of more use.
        if gone.is_empty() {
            gone.extend(inner.idle.pop_front());
        }
        let slot = gone.first_mut()?.connection.slot.take()?;
        Some(Got::New(slot))
    }

    /// Gives an idle connection to who waits, or keeps it for whoever comes next.
    pub fn put(&self, mut idle: Idle) {
        let max = self.bound.load(Ordering::Relaxed);
        // Another thread may take it, and its timer belongs to the runtime of this one.
        idle.connection.deadline = Deadline::default();
        let mut inner = self.inner();
        while inner.open <= max
            && let Some(first) = inner.waiting.first_entry()
        {
            if first.get().fresh {
                // Closing makes room for it.
                drop(inner);
                return drop(idle);
            }
            let sent = first.remove().sender.send(Got::Reused(idle.connection));
            // Whoever has just given up leaves it to the next.
            let Err(Got::Reused(back)) = sent else {
                return self.publish(&inner);
            };
            idle.connection = back;
        }
        if inner.open <= max {
            inner.idle.push_back(idle);
            self.publish(&inner);
        } else {
            drop(inner);
            drop(idle);
        }
    }

    /// A connection is closed.
    fn release(self: &Arc<Self>) {
        let mut inner = self.inner();
        let open = inner.open;
        while let Some(first) = inner.waiting.first_entry() {
            if open > first.get().max {
                break;
            }
            let sent = first.remove().sender.send(Got::New(Slot::new(self)));
            let Err(Got::New(slot)) = sent else {
                return self.publish(&inner);
            };
            slot.forget();
        }
        inner.open = inner.open.saturating_sub(1);
        self.publish(&inner);
    }

    /// Closes what is past its time or was closed by the server.
    pub fn tidy(&self, now: Duration) {
        let mut inner = self.inner();
        let bounded = self.is_bounded();
        let mut close = Vec::new();
        for mut idle in std::mem::take(&mut inner.idle) {
            match bounded && idle.is_good(now, Care::Repeatable) {
                true => inner.idle.push_back(idle),
                false => close.push(idle),
            }
        }
        self.publish(&inner);
        drop(inner);
        drop(close);
    }
}

#[cfg(test)]
mod tests;
