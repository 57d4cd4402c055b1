//! Other processes that answer for the same shop for a while, because one relieves the other: each is told of every
//! purge before it is confirmed to whoever ordered it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};

use super::{Line, Order, Purges};

/// Another process.
pub trait Peer: Send + Sync {
    /// Tells it a purge, as [`Purges::learn`] reads it. Does not wait.
    fn tell(&self, line: &[u8]);

    /// Waits until all that it was told is in force there; `false`: it is gone, or does not say so in time.
    fn settle(&self) -> bool;
}

/// Those there are.
#[derive(Default)]
pub(super) struct Peers {
    /// Whether there are any: nobody else pays for them.
    any: AtomicBool,
    list: Mutex<Vec<Arc<dyn Peer>>>,
}

impl Peers {
    fn list(&self) -> MutexGuard<'_, Vec<Arc<dyn Peer>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Arc<dyn Peer>> {
        match self.any.load(Ordering::Acquire) {
            true => self.list().clone(),
            false => Vec::new(),
        }
    }

    pub(super) fn tell(&self, line: &Line) {
        let peers = self.all();
        if peers.is_empty() {
            return;
        }
        // Numbers and names always serialise.
        let line = serde_json::to_vec(line).unwrap_or_default();
        peers.iter().for_each(|peer| peer.tell(&line));
    }

    pub(super) fn settle(&self) {
        for peer in self.all() {
            if !peer.settle() {
                tracing::warn!("the process that runs beside this one does not confirm a purge");
            }
        }
    }
}

/// A purge as one process tells it to another.
#[derive(Serialize, Deserialize)]
struct Told {
    #[serde(flatten)]
    line: Line,
    /// It comes back from who was told, at a later step.
    #[serde(default, rename = "back", skip_serializing_if = "std::ops::Not::not")]
    is_back: bool,
}

impl Purges {
    /// From now on this process is told of every purge.
    pub fn attach(&self, peer: Arc<dyn Peer>) {
        let mut list = self.peers.list();
        list.push(peer);
        self.peers.any.store(true, Ordering::Release);
    }

    /// It is gone.
    pub fn detach(&self, peer: &Arc<dyn Peer>) {
        let mut list = self.peers.list();
        list.retain(|other| !Arc::ptr_eq(other, peer));
        self.peers.any.store(!list.is_empty(), Ordering::Release);
    }

    /// Takes over a purge that another process has told, and passes it on to others. A step that was reached here
    /// already purges what was asked for until now: more, never less. Whoever told it has written it down, and is told of the
    /// later step before it is told that all is done: with a disk that both use, it reads what was stored here, which has the
    /// stamps of this process.
    pub fn learn(&self, line: &[u8], from: Option<&Arc<dyn Peer>>) {
        let mut told: Told = serde_json::from_slice(line).unwrap_or_else(|_| Told {
            line: Line::everything(),
            is_back: false,
        });
        let is_later;
        {
            let mut marks = self.write();
            let seq = told.line.seq;
            told.line.seq = seq.max(self.seq() + 1);
            self.mark(&mut marks, &told.line);
            // What was lost on the way has no step of its own. What came back is not told back: two that purge at once
            // would go on for ever.
            is_later = seq > 0 && told.line.seq > seq && !told.is_back;
        }
        let is_back = told.is_back;
        for peer in self.peers.all() {
            let is_from = from.is_some_and(|from| Arc::ptr_eq(&peer, from));
            if is_from && !is_later {
                continue;
            }
            told.is_back = is_back || is_from;
            peer.tell(&serde_json::to_vec(&told).unwrap_or_default());
        }
    }

    /// Another process may serve, and nobody tells of its purges any more: what is stored here answers nobody, and
    /// nothing is written down.
    pub fn go_deaf(&self) {
        self.is_deaf.store(true, Ordering::Release);
    }

    /// The other process is gone. `may_have_missed`: it may have purged something since [`go_deaf`](Self::go_deaf).
    pub fn hear_again(&self, may_have_missed: bool) {
        if may_have_missed {
            self.learn(&everything(), None);
        }
        self.is_deaf.store(false, Ordering::Release);
    }

    /// Whether purges elsewhere are not heard of.
    pub fn is_deaf(&self) -> bool {
        self.is_deaf.load(Ordering::Acquire)
    }

    /// Begins where another process is, so that what it has stored is not of the future.
    pub fn advance(&self, seq: u64) {
        let _marks = self.write();
        self.seq.fetch_max(seq, Ordering::Release);
    }
}

impl Line {
    /// What is told in the place of purges that cannot be told, or not be read.
    pub(super) fn everything() -> Self {
        Self {
            seq: 0,
            at: 0,
            order: Order {
                all: true,
                ..Order::default()
            },
        }
    }
}

/// The line that purges everything.
pub fn everything() -> Vec<u8> {
    serde_json::to_vec(&Line::everything()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::cache::purge::{Stamp, Standing, tag_number};

    #[derive(Default)]
    struct Heard(Mutex<Vec<Vec<u8>>>);

    impl Peer for Heard {
        fn tell(&self, line: &[u8]) {
            self.0.lock().expect("lock").push(line.to_vec());
        }

        fn settle(&self) -> bool {
            true
        }
    }

    fn tag(name: &str) -> Order {
        Order {
            numbers: vec![tag_number(name.as_bytes())],
            ..Order::default()
        }
    }

    fn stamp(seq: u64, name: &str) -> Stamp {
        Stamp {
            seq,
            uri: 1,
            tags: Box::from([tag_number(name.as_bytes())]),
        }
    }

    /// Two processes, of which one has come further in its steps, and a disk that both read.
    #[test]
    fn what_the_other_has_stored_is_purged_whatever_its_steps() {
        let (old, new) = (Purges::in_memory(), Purges::in_memory());
        let (to_old, to_new) = (Arc::<Heard>::default(), Arc::<Heard>::default());
        let of_new: Arc<dyn Peer> = Arc::clone(&to_new) as _;
        new.attach(Arc::clone(&to_old) as _);
        old.attach(Arc::clone(&of_new));
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        new.purge(tag("a"), now).expect("no disk");
        let first = to_old.0.lock().expect("lock").remove(0);
        old.learn(&first, Some(&of_new));
        assert!(to_new.0.lock().expect("lock").is_empty(), "the same step");
        old.advance(old.seq() + 5);
        let stored = stamp(old.seq(), "a");
        new.purge(tag("a"), now).expect("no disk");
        let second = to_old.0.lock().expect("lock").remove(0);
        old.learn(&second, Some(&of_new));
        let of_old: Arc<dyn Peer> = to_old.clone();
        for line in to_new.0.lock().expect("lock").drain(..) {
            new.learn(&line, Some(&of_old));
        }
        assert_eq!(new.standing_on_disk(&stored, b"key"), Standing::Purged);
        assert_eq!(old.standing_on_disk(&stored, b"key"), Standing::Purged);
        assert!(to_old.0.lock().expect("lock").is_empty(), "both know");
    }

    #[test]
    fn two_that_purge_at_once_come_to_an_end() {
        let both = [Purges::in_memory(), Purges::in_memory()];
        let heard = [Arc::<Heard>::default(), Arc::<Heard>::default()];
        let peers: [Arc<dyn Peer>; 2] = [heard[0].clone(), heard[1].clone()];
        for (purges, peer) in both.iter().zip(&peers) {
            purges.attach(Arc::clone(peer));
        }
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        for purges in &both {
            purges.purge(tag("a"), now).expect("no disk");
        }
        for _ in 0..4 {
            let under_way = heard
                .each_ref()
                .map(|heard| std::mem::take(&mut *heard.0.lock().expect("lock")));
            for line in &under_way[0] {
                both[1].learn(line, Some(&peers[1]));
            }
            for line in &under_way[1] {
                both[0].learn(line, Some(&peers[0]));
            }
        }
        let is_quiet = |heard: &Arc<Heard>| heard.0.lock().expect("lock").is_empty();
        assert!(heard.iter().all(is_quiet));
    }

    #[test]
    fn what_one_purges_is_purged_in_the_other() {
        let (old, new) = (Purges::in_memory(), Purges::in_memory());
        let heard = Arc::new(Heard::default());
        let peer: Arc<dyn Peer> = Arc::clone(&heard) as _;
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        old.purge(tag("before"), now).expect("no disk");
        assert!(heard.0.lock().expect("lock").is_empty(), "nobody is there");
        old.attach(Arc::clone(&peer));
        new.advance(old.seq());
        let asked = new.seq();
        old.purge(tag("a"), now).expect("no disk");
        old.invalidate(vec![tag_number(b"b")], now)
            .expect("no disk");
        for line in heard.0.lock().expect("lock").iter() {
            new.learn(line, None);
        }
        for (name, standing) in [
            ("a", Standing::Purged),
            ("b", Standing::Purged),
            ("c", Standing::Untouched),
        ] {
            assert_eq!(
                new.standing(&stamp(asked, name), b"key"),
                standing,
                "{name}"
            );
        }
        let later = stamp(new.seq(), "a");
        assert_eq!(new.standing(&later, b"key"), Standing::Untouched);
        old.detach(&peer);
        old.purge(tag("after"), now).expect("no disk");
        assert_eq!(heard.0.lock().expect("lock").len(), 2);
    }

    #[test]
    fn a_late_line_purges_what_was_asked_for_until_now() {
        let purges = Purges::in_memory();
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        purges.purge(tag("other"), now).expect("no disk");
        let line = serde_json::to_vec(&Line {
            seq: 5,
            at: 5,
            order: tag("a"),
        });
        let asked = purges.seq();
        purges.learn(&line.expect("json"), None);
        assert_eq!(
            purges.standing(&stamp(asked, "a"), b"key"),
            Standing::Purged
        );
        assert_eq!(
            purges.standing(&stamp(asked, "b"), b"key"),
            Standing::Untouched
        );
    }

    #[test]
    fn what_cannot_be_read_purges_everything_and_is_passed_on() {
        let purges = Purges::in_memory();
        let (from, other) = (Arc::new(Heard::default()), Arc::new(Heard::default()));
        let from: Arc<dyn Peer> = from;
        purges.attach(Arc::clone(&from));
        purges.attach(Arc::clone(&other) as _);
        let asked = purges.seq();
        purges.learn(b"of a later version", Some(&from));
        assert_eq!(
            purges.standing(&stamp(asked, "a"), b"key"),
            Standing::Purged
        );
        assert_eq!(other.0.lock().expect("lock").len(), 1);
    }
}
