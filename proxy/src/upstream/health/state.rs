//! What is known of a server: whether it is well, and how much it has to do.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::upstream::{
    connect::slots::Slots,
    health::refusals::{Refusals, Standing, millis},
};

/// A server that did well for so long after an ejection begins with a clean sheet.
const CALM: Duration = Duration::from_secs(60);

/// A server that owes answers and has said nothing for so long is stalled. Pages take less, and one that takes
/// longer only sends the next request elsewhere.
const STALLED: Duration = Duration::from_secs(1);

/// A server that appears later than this after the start of the process is a new one, whose share grows:
/// by then the names that were there from the start are resolved.
const START: Duration = Duration::from_secs(10);

/// Refusals in a row after which a server was away: a third of a second and more.
const AWAY: u64 = 4;

/// The whole of a server's share.
pub const WHOLE: u64 = 1000;
/// What it begins with after a recovery: enough to warm up by.
const LEAST: u64 = WHOLE / 10;

/// Health and load of a server; outlives the configuration. Times are milliseconds since the process began.
pub struct ServerState {
    /// Tells it from all others, in every configuration.
    id: u64,
    /// Judged by active checks; true until one says otherwise.
    up: AtomicBool,
    /// Operators want it to take nothing new.
    drained: AtomicBool,
    in_flight: AtomicUsize,
    /// Those of them that have not been answered.
    awaiting: AtomicUsize,
    /// The last answer, or the first request since there were none.
    quiet_since: AtomicU64,
    failures: AtomicU32,
    ejections: AtomicU32,
    ejected_until: AtomicU64,
    refusals: Refusals,
    /// The last recovery; `0` where there was none.
    well_since: AtomicU64,
    /// Changes of health are made under this lock.
    notes: Mutex<Notes>,
    /// Its connections.
    pub slots: Arc<Slots>,
}

/// What the last change was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Since the process began.
    pub since: Duration,
    /// A few words.
    pub why: String,
}

/// What is told of a server.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// Why checks find it as they do; `None` while they never changed their mind.
    pub health: Option<Note>,
    /// Why it is ejected; stays until its return is told.
    pub ejection: Option<Note>,
    /// Why it is draining.
    pub drain: Option<Note>,
}

impl Default for ServerState {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            up: AtomicBool::new(true),
            drained: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            awaiting: AtomicUsize::new(0),
            quiet_since: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            refusals: Refusals::default(),
            well_since: AtomicU64::new(0),
            notes: Mutex::default(),
            slots: Arc::default(),
        }
    }
}

impl ServerState {
    /// Of a server that was not known before. Its share grows, unless the process has just begun.
    pub fn born(tick: Duration) -> Self {
        let state = Self::default();
        if tick > START {
            state.recovered(tick);
        }
        state
    }

    /// A number that no other server has.
    pub fn id(&self) -> u64 {
        self.id
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be told of it.
    pub fn notes(&self) -> Notes {
        self.lock().clone()
    }

    /// Whether active checks find it well.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Sets what active checks found; says whether that is new.
    pub fn set_up(&self, up: bool, tick: Duration, why: &str) -> bool {
        if self.is_up() == up {
            return false;
        }
        let mut notes = self.lock();
        if self.up.swap(up, Ordering::Relaxed) == up {
            return false;
        }
        notes.health = Some(note(tick, why));
        if up {
            self.failures.store(0, Ordering::Relaxed);
            self.recovered(tick);
        }
        true
    }

    /// Whether operators want it to take nothing new.
    pub fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    /// Sets what operators want.
    pub fn set_drained(&self, drained: bool) {
        self.drained.store(drained, Ordering::Relaxed);
    }

    /// Notes whether it is draining, by order or by the file; says whether that is new.
    pub fn note_drain(&self, draining: bool, tick: Duration, why: &str) -> bool {
        let mut notes = self.lock();
        if notes.drain.is_some() == draining {
            return false;
        }
        notes.drain = draining.then(|| note(tick, why));
        true
    }

    /// Whether it is out after failures.
    pub fn is_ejected(&self, tick: Duration) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > millis(tick)
    }

    /// Takes it out for a while, which grows by `base` with each further time up to `most`; says whether it
    /// was in.
    pub fn eject(&self, tick: Duration, base: Duration, most: Duration, why: &str) -> bool {
        let mut notes = self.lock();
        if self.is_ejected(tick) {
            return false;
        }
        let times = self
            .ejections
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        let pause = base.saturating_mul(times).min(most);
        self.ejected_until
            .store(millis(tick.saturating_add(pause)), Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        notes.ejection = Some(note(tick, why));
        true
    }

    /// Notes that the time of an ejection is over; how long it was where that is new.
    pub fn note_return(&self, tick: Duration) -> Option<Duration> {
        // Under the lock, or another ejection that begins meanwhile would lose its reason.
        let mut notes = self.lock();
        if self.is_ejected(tick) {
            return None;
        }
        let ejection = notes.ejection.take()?;
        let until = Duration::from_millis(self.ejected_until.load(Ordering::Relaxed));
        Some(until.saturating_sub(ejection.since))
    }

    /// What its refusals mean now.
    pub fn standing(&self, tick: Duration) -> Standing {
        self.refusals.standing(tick)
    }

    /// Notes a refused connection.
    pub fn refused(&self, tick: Duration) {
        self.refusals.note(tick);
    }

    /// Takes the turn to try it after a refusal.
    pub fn claim(&self, tick: Duration) -> bool {
        self.refusals.claim(tick)
    }

    /// It took a connection, or answered what it was `asked` at a moment. Where it had been away for a while its
    /// share grows anew.
    pub fn accepts(&self, asked: Duration, tick: Duration) {
        if self.refusals.clear(asked) >= AWAY {
            self.recovered(tick);
        }
    }

    /// Requests it is working on.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// One more request.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// It has a whole request, and owes an answer.
    pub fn owes(&self, tick: Duration) {
        if self.awaiting.fetch_add(1, Ordering::Relaxed) == 0 {
            self.quiet_since.store(millis(tick), Ordering::Relaxed);
        }
    }

    /// One of the requests is answered, or will never be.
    pub fn settle(&self) {
        self.awaiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// One request less.
    pub fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// It answers what it was `asked` at a moment.
    pub fn heard(&self, asked: Duration, tick: Duration) {
        self.quiet_since.store(millis(tick), Ordering::Relaxed);
        self.accepts(asked, tick);
    }

    /// Whether it owes answers and has been silent for a while.
    pub fn is_stalled(&self, tick: Duration) -> bool {
        self.awaiting.load(Ordering::Relaxed) > 0
            && self.quiet_since.load(Ordering::Relaxed) + millis(STALLED) <= millis(tick)
    }

    /// Notes a success, which ends a row of failures; after a calm the next ejection is short again.
    pub fn succeeded(&self, asked: Duration, tick: Duration) {
        self.heard(asked, tick);
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

    /// It is well again: its share grows from now on.
    fn recovered(&self, tick: Duration) {
        self.well_since.store(millis(tick), Ordering::Relaxed);
    }

    /// Its last recovery.
    pub fn well_since(&self, tick: Duration) -> Option<Duration> {
        let returned = match self.ejected_until.load(Ordering::Relaxed) {
            until if until <= millis(tick) => until,
            _ => 0,
        };
        let since = self.well_since.load(Ordering::Relaxed).max(returned);
        (since != 0).then(|| Duration::from_millis(since))
    }

    /// How much of its weight counts, in thousandths, where a recovery takes so long: from a tenth on it
    /// grows evenly.
    pub fn share(&self, tick: Duration, slow_start: Duration) -> u64 {
        if slow_start.is_zero() {
            return WHOLE;
        }
        let Some(since) = self.well_since(tick) else {
            return WHOLE;
        };
        let gone = millis(tick.saturating_sub(since));
        let grown = (WHOLE - LEAST).saturating_mul(gone) / millis(slow_start).max(1);
        (LEAST + grown).min(WHOLE)
    }
}

fn note(since: Duration, why: &str) -> Note {
    Note {
        // As fine as all other times here.
        since: Duration::from_millis(millis(since)),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn ejections_grow_up_to_a_bound_and_begin_anew_after_a_calm() {
        let state = ServerState::default();
        let mut now = SECOND;
        let eject = |now| state.eject(now, 10 * SECOND, 25 * SECOND, "5 failures in a row");
        for length in [10, 20, 25, 25] {
            assert!(eject(now));
            assert!(!eject(now + SECOND), "it is out");
            now += length * SECOND;
            assert!(state.is_ejected(now - SECOND / 2), "{length}");
            assert!(!state.is_ejected(now), "{length}");
            state.succeeded(now, now);
        }
        assert_eq!(
            state.notes().ejection,
            Some(note(now - 25 * SECOND, "5 failures in a row"))
        );
        let length = state.note_return(now + SECOND);
        assert_eq!(length, Some(25 * SECOND), "however late it is told");
        assert_eq!(state.note_return(now), None, "told once");
        now += CALM + SECOND;
        state.succeeded(now, now);
        assert!(eject(now));
        assert!(!state.is_ejected(now + 10 * SECOND), "short again");
    }

    #[test]
    fn who_owes_answers_in_silence_is_stalled() {
        let state = ServerState::default();
        let owe = |tick| {
            state.begin();
            state.owes(tick);
        };
        assert!(!state.is_stalled(100 * SECOND), "nobody waits");
        owe(100 * SECOND);
        owe(100 * SECOND + SECOND / 2);
        assert!(!state.is_stalled(101 * SECOND - SECOND / 4));
        assert!(state.is_stalled(101 * SECOND));
        state.heard(101 * SECOND, 101 * SECOND);
        state.settle();
        assert!(!state.is_stalled(101 * SECOND), "one was answered");
        assert!(state.is_stalled(102 * SECOND), "the other one was not");
        state.settle();
        assert!(
            !state.is_stalled(200 * SECOND),
            "a download goes on in peace"
        );
        assert_eq!(state.in_flight(), 2);
        owe(200 * SECOND);
        assert!(!state.is_stalled(200 * SECOND + SECOND / 2));
    }

    #[test]
    fn a_share_grows_after_every_kind_of_recovery() {
        let state = ServerState::default();
        let at = |seconds: u32| state.share(seconds * SECOND, 100 * SECOND);
        assert_eq!(at(5), WHOLE, "there from the start");
        state.set_up(false, 6 * SECOND, "status 500");
        assert_eq!(at(6), WHOLE);
        assert!(state.set_up(true, 10 * SECOND, "2 checks passed"));
        assert!(!state.set_up(true, 15 * SECOND, "2 checks passed"));
        for (seconds, share) in [(10, 100), (20, 190), (60, 550), (110, 1000), (500, 1000)] {
            assert_eq!(at(seconds), share, "{seconds}");
        }
        assert_eq!(state.share(20 * SECOND, Duration::ZERO), WHOLE);
        state.eject(200 * SECOND, 10 * SECOND, 10 * SECOND, "");
        assert_eq!((at(205), at(210), at(260)), (1000, 100, 550));
        state.refused(390 * SECOND);
        state.succeeded(391 * SECOND, 391 * SECOND);
        assert_eq!(at(391), WHOLE, "it was gone for a moment");
        for second in 400..404 {
            assert!(second == 400 || state.claim(second * SECOND));
            state.refused(second * SECOND);
        }
        state.succeeded(399 * SECOND, 410 * SECOND);
        assert_eq!(state.standing(410 * SECOND), Standing::Due, "asked before");
        state.succeeded(410 * SECOND, 410 * SECOND);
        assert_eq!((at(410), at(460)), (100, 550));
        state.succeeded(430 * SECOND, 430 * SECOND);
        assert_eq!(at(460), 550, "it was well already");
        let new = |tick| ServerState::born(tick).share(tick + SECOND, 100 * SECOND);
        assert_eq!((new(SECOND), new(60 * SECOND)), (WHOLE, 109));
    }

    #[test]
    fn drains_are_told_once() {
        let state = ServerState::default();
        assert!(state.note_drain(true, SECOND, "by order"));
        assert!(!state.note_drain(true, 2 * SECOND, "by the file"));
        assert_eq!(state.notes().drain, Some(note(SECOND, "by order")));
        assert!(state.note_drain(false, SECOND, ""));
        assert!(!state.note_drain(false, SECOND, ""));
    }
}
