//! The connections of a thread: who waits, since when, and who goes when there is no room for more.
//!
//! A connection is opening (in its handshake or in a head), idle between requests, or at work. The first two
//! stand in lists, the one that waits longest in front. A connection that answers from memory notes the time and
//! keeps its place; what that means for the order is found out when somebody has to go.

use std::{
    cmp::Reverse,
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use slab::Slab;

use super::{crowd::Crowd, networks::Member, sockets::Settings};

/// Connections that are compared when one of them has to go.
const LOOKED_AT: usize = 8;
/// Connections whose place is put right at most when somebody has to go.
const PUT_RIGHT: usize = 64;
/// No place.
const NONE: usize = usize::MAX;

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is in its handshake or in a head.
    Opening,
    /// It waits for a request.
    Idle,
    /// A request is at work; it is not shed.
    Working,
}

/// What a connection and its list share.
#[derive(Default)]
struct Entry {
    is_shed: AtomicBool,
    /// When it last answered, in nanoseconds since the process began.
    active: AtomicU64,
    member: OnceLock<Arc<Member>>,
}

impl Entry {
    /// Connections of its network.
    fn of_network(&self) -> usize {
        self.member.get().map_or(1, |member| member.count())
    }
}

struct Node {
    entry: Arc<Entry>,
    /// Its task, once that has run.
    waker: Option<Waker>,
    standing: Standing,
    /// What it stands in the list for.
    since: u64,
    before: usize,
    behind: usize,
}

impl Node {
    /// Since when it has done nothing.
    fn quiet_since(&self) -> u64 {
        self.since.max(self.entry.active.load(Relaxed))
    }
}

#[derive(Clone, Copy)]
struct Ends {
    first: usize,
    last: usize,
}

struct Lists {
    nodes: Slab<Node>,
    opening: Ends,
    idle: Ends,
}

impl Lists {
    /// The list of a standing; nobody asks for that of those at work.
    fn ends(&mut self, standing: Standing) -> &mut Ends {
        match standing {
            Standing::Opening => &mut self.opening,
            Standing::Idle | Standing::Working => &mut self.idle,
        }
    }

    fn unlink(&mut self, number: usize) {
        let Some(node) = self.nodes.get(number) else {
            return;
        };
        let (standing, before, behind) = (node.standing, node.before, node.behind);
        if standing == Standing::Working {
            return;
        }
        match self.nodes.get_mut(before) {
            Some(node) => node.behind = behind,
            None => self.ends(standing).first = behind,
        }
        match self.nodes.get_mut(behind) {
            Some(node) => node.before = before,
            None => self.ends(standing).last = before,
        }
        self.nodes[number].standing = Standing::Working;
    }

    /// Puts one that stands nowhere at the end of a list.
    fn link(&mut self, number: usize, standing: Standing, since: u64) {
        let last = std::mem::replace(&mut self.ends(standing).last, number);
        match self.nodes.get_mut(last) {
            Some(node) => node.behind = number,
            None => self.ends(standing).first = number,
        }
        let node = &mut self.nodes[number];
        (node.standing, node.since) = (standing, since);
        (node.before, node.behind) = (last, NONE);
    }

    /// Who goes first of those that stand in front.
    fn choose(&mut self, standing: Standing) -> Option<Chosen> {
        for _ in 0..PUT_RIGHT {
            let first = self.ends(standing).first;
            let node = self.nodes.get(first)?;
            if node.quiet_since() == node.since {
                break;
            }
            // It only seems to have waited for long.
            let since = node.quiet_since();
            self.unlink(first);
            self.link(first, standing, since);
        }
        let looked_at = match standing {
            Standing::Idle => LOOKED_AT,
            Standing::Opening | Standing::Working => 1,
        };
        let mut at = self.ends(standing).first;
        let mut chosen = None;
        for _ in 0..looked_at {
            let Some(node) = self.nodes.get(at) else {
                break;
            };
            let candidate = Chosen {
                held: Reverse(node.entry.of_network()),
                since: node.quiet_since(),
                number: at,
            };
            chosen = Some(chosen.map_or(candidate, |before: Chosen| before.min(candidate)));
            at = node.behind;
        }
        chosen
    }
}

/// Who goes: of the network that holds most, and of them who waits longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Chosen {
    held: Reverse<usize>,
    since: u64,
    number: usize,
}

/// The connections of a thread.
pub struct Places {
    crowd: Arc<Crowd>,
    lists: Mutex<Lists>,
}

impl Places {
    /// For a thread that begins.
    pub fn new(crowd: &Arc<Crowd>) -> Arc<Self> {
        let nobody = Ends {
            first: NONE,
            last: NONE,
        };
        let places = Arc::new(Self {
            crowd: Arc::clone(crowd),
            lists: Mutex::new(Lists {
                nodes: Slab::new(),
                opening: nobody,
                idle: nobody,
            }),
        });
        crowd.add(&places);
        places
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all: they look whether the process drains.
    pub fn wake(&self) {
        let lists = self.lists();
        let nodes = lists.nodes.iter();
        nodes.for_each(|(_, node)| node.waker.iter().for_each(Waker::wake_by_ref));
    }

    /// Who would go.
    pub(super) fn choose(&self, standing: Standing) -> Option<Chosen> {
        self.lists().choose(standing)
    }

    /// Tells one that it has to go.
    pub(super) fn shed(&self, standing: Standing) -> bool {
        let mut lists = self.lists();
        let Some(Chosen { number, .. }) = lists.choose(standing) else {
            return false;
        };
        lists.unlink(number);
        let node = &lists.nodes[number];
        node.entry.is_shed.store(true, Relaxed);
        node.waker.iter().for_each(Waker::wake_by_ref);
        true
    }

    /// A place for a new connection, which is opening.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let entry = Arc::<Entry>::default();
        let since = self.crowd.now();
        let mut lists = self.lists();
        let number = lists.nodes.insert(Node {
            entry: Arc::clone(&entry),
            waker: None,
            standing: Standing::Working,
            since,
            before: NONE,
            behind: NONE,
        });
        lists.link(number, Standing::Opening, since);
        drop(lists);
        self.crowd.note_quiet();
        Place {
            places: Arc::clone(self),
            number,
            entry,
            standing: Standing::Opening,
            is_known: false,
            settings: None,
        }
    }
}

/// A connection's place; given up when dropped.
pub struct Place {
    places: Arc<Places>,
    number: usize,
    entry: Arc<Entry>,
    standing: Standing,
    /// Its task is known.
    is_known: bool,
    /// What it came in under.
    settings: Option<Arc<Settings>>,
}

impl Place {
    /// Makes the task known that polls, which stays the same.
    pub fn take(&mut self, cx: &Context<'_>) {
        if !self.is_known {
            self.is_known = true;
            self.places.lists().nodes[self.number].waker = Some(cx.waker().clone());
        }
    }

    /// Whom it belongs to.
    pub(super) fn belongs_to(&self, member: Arc<Member>) {
        // Told once.
        let _ = self.entry.member.set(member);
    }

    /// What it came in under.
    pub(super) fn came_under(&mut self, settings: Arc<Settings>) {
        self.settings = Some(settings);
    }

    /// Whether the listener that it came in by is gone or another: it ends with its next answer.
    pub fn is_leaving(&self) -> bool {
        self.settings
            .as_ref()
            .is_some_and(|settings| settings.is_over())
    }

    /// What it does.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Whether it has to go, to make room.
    pub fn is_shed(&self) -> bool {
        self.entry.is_shed.load(Relaxed)
    }

    /// It has answered something from memory, at a time since the process began.
    pub fn answered(&mut self, now: Duration) {
        let now = now.as_secs() * 1_000_000_000 + u64::from(now.subsec_nanos());
        self.entry.active.store(now, Relaxed);
        self.stand(Standing::Idle);
    }

    /// Notes what it does. One that was to go, and has begun to work, stays, and another goes.
    pub fn stand(&mut self, standing: Standing) {
        if self.standing == standing {
            return;
        }
        self.standing = standing;
        let crowd = &self.places.crowd;
        let mut lists = self.places.lists();
        lists.unlink(self.number);
        if standing != Standing::Working {
            if !self.is_shed() {
                lists.link(self.number, standing, crowd.now());
            }
            drop(lists);
            return crowd.note_quiet();
        }
        drop(lists);
        if self.entry.is_shed.swap(false, Relaxed) {
            crowd.shed();
        }
    }

    /// Waits for something while the connection may stay: `None` where it has to go.
    pub(crate) async fn unless_shed<F: Future>(&mut self, waited_for: F) -> Option<F::Output> {
        let mut waited_for = pin!(waited_for);
        poll_fn(|cx| {
            self.take(cx);
            match waited_for.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending if self.is_shed() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_shed() {
            self.places.crowd.note_shed(self.standing);
        }
        let mut lists = self.places.lists();
        lists.unlink(self.number);
        lists.nodes.try_remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::listen::networks::Networks;
    use crate::observe::metrics::Metrics;

    fn crowd() -> Arc<Crowd> {
        Arc::new(Crowd::new(10, Instant::now(), &Metrics::new().visitors))
    }

    fn shed(places: &[Place]) -> Vec<usize> {
        let all = places.iter().enumerate();
        all.filter(|(_, place)| place.is_shed())
            .map(|(number, _)| number)
            .collect()
    }

    #[test]
    fn the_oldest_idle_one_goes_first_and_none_at_work() {
        let crowd = crowd();
        let (one, two) = (Places::new(&crowd), Places::new(&crowd));
        let mut all = [one.enter(), two.enter(), one.enter(), two.enter()];
        all[2].stand(Standing::Idle);
        all[1].stand(Standing::Idle);
        all[3].stand(Standing::Working);
        let mut gone = Vec::new();
        for wanted in [2, 1, 0] {
            assert!(crowd.shed());
            gone.push(wanted);
            gone.sort_unstable();
            assert_eq!(shed(&all), gone);
        }
        assert!(!crowd.shed(), "the last one works");
    }

    #[test]
    fn who_has_answered_is_not_the_oldest() {
        let crowd = crowd();
        let places = Places::new(&crowd);
        let mut all = [places.enter(), places.enter(), places.enter()];
        all.iter_mut().for_each(|place| place.stand(Standing::Idle));
        all[0].answered(Duration::from_secs(1_000));
        assert!(crowd.shed());
        assert_eq!(shed(&all), [1]);
    }

    #[test]
    fn the_network_that_holds_most_goes_first() {
        let crowd = crowd();
        let places = Places::new(&crowd);
        let mut all = [places.enter(), places.enter(), places.enter()];
        all.iter_mut().for_each(|place| place.stand(Standing::Idle));
        let networks = Networks::default();
        for (place, network) in all.iter().zip(["192.0.2.1", "192.0.2.2", "192.0.2.2"]) {
            let address = network.parse().expect("address");
            place.belongs_to(networks.enter(address, 0).expect("no bound"));
        }
        assert!(crowd.shed());
        assert_eq!(shed(&all), [1]);
    }

    #[test]
    fn who_begins_to_work_stays_and_another_goes() {
        let crowd = crowd();
        let places = Places::new(&crowd);
        let mut all = [places.enter(), places.enter()];
        all.iter_mut().for_each(|place| place.stand(Standing::Idle));
        assert!(crowd.shed());
        assert_eq!(shed(&all), [0]);
        all[0].stand(Standing::Working);
        assert_eq!(shed(&all), [1]);
    }

    #[test]
    fn places_are_given_up_from_anywhere_in_a_list() {
        let crowd = crowd();
        let places = Places::new(&crowd);
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
            let mut all: Vec<_> = (0..3).map(|_| Some(places.enter())).collect();
            for number in order {
                all[number] = None;
            }
            let mut last = places.enter();
            last.stand(Standing::Idle);
            assert!(crowd.shed());
            assert!(last.is_shed());
        }
        assert!(places.lists().nodes.is_empty());
    }
}
