//! What is known of a server: whether it is well, and how much it has to do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::slots::Slots;

/// How long a server that refused a connection is passed over, if nothing else is known of it. Long
/// enough that a dead server costs few attempts, short enough that a restarted one is missed briefly.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// An ejection grows with each further one up to this many times the first.
const MAX_EJECTION_FACTOR: u32 = 10;

/// A server that did well for so long after an ejection begins with a clean sheet.
const CALM: Duration = Duration::from_secs(60);

/// Health and load of a server. Times are milliseconds since the process began.
pub struct ServerState {
    /// Tells it from all others, in every configuration.
    id: u64,
    /// Judged by active checks; true until one says otherwise.
    up: AtomicBool,
    in_flight: AtomicUsize,
    failures: AtomicU32,
    ejections: AtomicU32,
    ejected_until: AtomicU64,
    refused_until: AtomicU64,
    /// Its connections.
    pub slots: Arc<Slots>,
}

impl Default for ServerState {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            up: AtomicBool::new(true),
            in_flight: AtomicUsize::new(0),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            refused_until: AtomicU64::new(0),
            slots: Arc::default(),
        }
    }
}

fn millis(tick: Duration) -> u64 {
    u64::try_from(tick.as_millis()).unwrap_or(u64::MAX)
}

impl ServerState {
    /// A number that no other server has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether active checks find it well.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Sets what active checks found; says whether that is new.
    pub fn set_up(&self, up: bool) -> bool {
        if up {
            self.refused_until.store(0, Ordering::Relaxed);
        }
        self.up.swap(up, Ordering::Relaxed) != up
    }

    /// Whether it is out after failures in a row.
    pub fn is_ejected(&self, tick: Duration) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > millis(tick)
    }

    /// Whether it is to be asked: well, not ejected.
    pub fn is_usable(&self, tick: Duration) -> bool {
        self.is_up() && !self.is_ejected(tick)
    }

    /// Whether it refused a connection just now.
    pub fn refused_lately(&self, tick: Duration) -> bool {
        self.refused_until.load(Ordering::Relaxed) > millis(tick)
    }

    /// Notes a refused connection.
    pub fn refused(&self, tick: Duration) {
        self.refused_until
            .store(millis(tick + REFUSED_PAUSE), Ordering::Relaxed);
    }

    /// Requests it is working on.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// One more request.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// One request less.
    pub fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// It takes connections, and answers.
    pub fn heard(&self, _tick: Duration) {
        if self.refused_until.load(Ordering::Relaxed) != 0 {
            self.refused_until.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a success, which ends a row of failures; after a calm the next ejection is short again.
    pub fn succeeded(&self, tick: Duration) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.ejections.load(Ordering::Relaxed) != 0 {
            let calm = self.ejected_until.load(Ordering::Relaxed) + millis(CALM);
            if millis(tick) > calm {
                self.ejections.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Counts a failure; returns how many there were in a row.
    pub fn count_failure(&self) -> u32 {
        self.failures
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1)
    }

    /// Takes it out for a while; says whether it was in.
    pub fn eject(&self, tick: Duration, base: Duration) -> bool {
        if self.is_ejected(tick) {
            return false;
        }
        let times = self
            .ejections
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        let pause = base * times.min(MAX_EJECTION_FACTOR);
        self.ejected_until
            .store(millis(tick + pause), Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        true
    }
}
