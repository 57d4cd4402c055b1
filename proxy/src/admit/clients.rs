//! The clients that a limit remembers: a table of bounded size.
//!
//! A check of a known client reads the table without a lock and writes one word of it, that client's own. Requests
//! of different clients on different threads hence rarely meet in a cache line, and never wait for each other.

use std::{
    array,
    cell::Cell,
    net::IpAddr,
    num::NonZeroU64,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use governor::{
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};

use super::key::Prefix;
use crate::observe::limit_metrics::LimitCounts;

/// Slots of a bucket: with two buckets to choose from and at most half of all slots in use, practically none is
/// ever full.
const SLOTS: usize = 8;
/// Buckets that are allocated together, 1 KiB: few clients need few pages.
const BUCKETS: usize = 8;

/// A client as limits know it: a network of its address, or a number drawn from whatever else a limit counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Client(NonZeroU64);

impl Client {
    /// The network of an address; of an IPv6 one at most the /64, of which a visitor commands all.
    pub(super) fn of_network(address: IpAddr, prefix: Prefix) -> Self {
        // Nobody has an address in 0000::/16 (RFC 4291 §2.4) but a host itself, so there is room for IPv4.
        const V4: NonZeroU64 = NonZeroU64::MIN.saturating_add(u32::MAX as u64);
        const RESERVED: NonZeroU64 = V4.saturating_add(1 << 32);
        let number = match prefix.network(address) {
            IpAddr::V4(v4) => V4 | u64::from(v4.to_bits()),
            IpAddr::V6(v6) => NonZeroU64::new((v6.to_bits() >> 64) as u64)
                .filter(|prefix| prefix.get() >> 48 != 0)
                .unwrap_or(RESERVED),
        };
        Self(number)
    }

    /// By a hash with a random key. Two of a million have the same one once in some forty million times (n²/2⁶⁵),
    /// and nobody can choose them; those two would have one allowance together.
    pub(super) fn hashed(hash: u64) -> Self {
        Self(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
    }
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        Self::of_network(address, Prefix::default())
    }
}

thread_local! {
    /// The arrival that was noted last: governor tells what is left in whole requests only, and a delay is exact.
    static NOTED: Cell<u64> = const { Cell::new(0) };
}

/// The theoretical arrival time that the last admitted request of this thread was noted with, in nanoseconds.
pub(super) fn noted_arrival() -> u64 {
    NOTED.get()
}

/// A table that several limiters share: a client is known to all of them, whatever they allow it.
#[derive(Clone)]
pub(super) struct Common(pub(super) Arc<Clients>);

impl StateStore for Common {
    type Key = Client;

    fn measure_and_replace<T, F, E>(&self, client: &Client, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(client, |seen| {
            let (result, next) = decide(seen)?;
            NOTED.set(next.into());
            Ok((result, next))
        })
    }
}

impl ShrinkableKeyedStateStore<Client> for Common {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain_recent(drop_below);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Who a slot belongs to, `0` while it is free, and GCRA's theoretical arrival time in nanoseconds.
#[derive(Default)]
struct Slot {
    client: AtomicU64,
    arrival: AtomicU64,
}

#[derive(Default)]
#[repr(align(128))]
struct Bucket([Slot; SLOTS]);

type Page = [Bucket; BUCKETS];

/// Clients and their states. Once `max` are known, a newcomer takes the place of whoever of the few that it may
/// displace has come least lately. Who is at its limit has an arrival time far ahead and stays.
pub(super) struct Clients {
    /// Filled in as clients come; a power of two.
    pages: Box<[OnceLock<Box<Page>>]>,
    /// Keyed at random, so that nobody can choose addresses that meet in a bucket.
    hasher: ahash::RandomState,
    count: AtomicUsize,
    max: usize,
    counts: Arc<LimitCounts>,
    was_full: AtomicBool,
    /// Newcomers enter one after the other, so that none enters twice.
    entrance: Mutex<()>,
}

impl Clients {
    /// Room for `max` clients: at most 16 bytes for each of the next power of two of slots beyond twice as many.
    /// `counts` are told of those that are pushed out.
    pub(super) fn new(max: usize, counts: Arc<LimitCounts>) -> Self {
        let slots = max.saturating_mul(2).next_power_of_two();
        let pages = (slots / (SLOTS * BUCKETS)).max(1);
        Self {
            pages: (0..pages).map(|_| OnceLock::new()).collect(),
            hasher: ahash::RandomState::new(),
            count: AtomicUsize::new(0),
            max,
            counts,
            was_full: AtomicBool::new(false),
            entrance: Mutex::new(()),
        }
    }

    /// Bytes of the pages that are filled in, and of the table that leads to them.
    pub(super) fn bytes(&self) -> usize {
        let pages = self.pages.iter().filter_map(OnceLock::get).count();
        pages * size_of::<Page>() + size_of_val(&*self.pages)
    }

    /// Numbers of the two buckets a client may be in.
    fn buckets(&self, client: Client) -> [usize; 2] {
        let hash = self.hasher.hash_one(client.0.get());
        let mask = self.pages.len() * BUCKETS - 1;
        [hash as usize & mask, (hash >> 32) as usize & mask]
    }

    fn known(&self, buckets: [usize; 2], client: Client) -> Option<&AtomicU64> {
        buckets.into_iter().find_map(|number| {
            let page = self.pages[number / BUCKETS].get()?;
            let slots = page[number % BUCKETS].0.iter();
            slots
                .filter(|slot| slot.client.load(Ordering::Acquire) == client.0.get())
                .map(|slot| &slot.arrival)
                .next()
        })
    }

    /// Clients and how far ahead of `now` they have asked: those that are not fully rested, those first that are
    /// least so.
    pub(super) fn ahead(&self, now: u64) -> Vec<(u64, u64)> {
        let pages = self.pages.iter().filter_map(OnceLock::get);
        let slots = pages
            .flat_map(|page| page.iter())
            .flat_map(|bucket| &bucket.0);
        let mut ahead: Vec<_> = slots
            .map(|slot| {
                let client = slot.client.load(Ordering::Acquire);
                let arrival = slot.arrival.load(Ordering::Relaxed);
                (client, arrival.saturating_sub(now))
            })
            .filter(|(client, ahead)| *client != 0 && *ahead > 0)
            .collect();
        ahead.sort_unstable_by_key(|(_, ahead)| std::cmp::Reverse(*ahead));
        ahead
    }

    /// Changes how far ahead of `now` clients have asked; what stays as it is is not written to.
    pub(super) fn change_ahead(&self, now: u64, change: impl Fn(u64) -> u64) {
        let pages = self.pages.iter().filter_map(OnceLock::get);
        let buckets = pages.flat_map(|page| page.iter());
        for slot in buckets.flat_map(|bucket| &bucket.0) {
            let (ok, failed) = (Ordering::Relaxed, Ordering::Relaxed);
            let _ = slot.arrival.fetch_update(ok, failed, |arrival| {
                let ahead = arrival.saturating_sub(now);
                let changed = (ahead > 0).then(|| change(ahead));
                let changed = changed.filter(|changed| *changed != ahead);
                changed.map(|changed| now.saturating_add(changed))
            });
        }
    }

    /// Takes over what another process knows of a client.
    pub(super) fn set_arrival(&self, client: u64, arrival: u64) {
        let Some(client) = NonZeroU64::new(client).map(Client) else {
            return;
        };
        let buckets = self.buckets(client);
        let known = self.known(buckets, client);
        let there = known.unwrap_or_else(|| self.welcome(buckets, client));
        there.fetch_max(arrival, Ordering::Relaxed);
    }

    /// When a client would be fully rested, as it is noted; `0` for one that is not known.
    pub(super) fn arrival(&self, client: Client) -> u64 {
        let known = self.known(self.buckets(client), client);
        known.map_or(0, |arrival| arrival.load(Ordering::Relaxed))
    }

    /// A table that knows this client and has room for no other.
    pub(super) fn only(&self, client: Client) -> Self {
        let alone = Self::new(1, Arc::default());
        let arrival = self.arrival(client);
        if arrival > 0 {
            alone.set_arrival(client.0.get(), arrival);
        }
        alone
    }

    /// Takes one request back from a client that is still known.
    pub(super) fn hand_back(&self, client: Client, pause: u64) {
        let Some(arrival) = self.known(self.buckets(client), client) else {
            return;
        };
        let (ok, failed) = (Ordering::Relaxed, Ordering::Relaxed);
        let earlier = |arrival: u64| Some(arrival.saturating_sub(pause));
        let _ = arrival.fetch_update(ok, failed, earlier);
    }

    /// Most clients that are known at once.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Whether there was no room for a newcomer at some time.
    pub(super) fn was_full(&self) -> bool {
        self.was_full.load(Ordering::Relaxed)
    }

    /// A slot for a newcomer: in the emptier bucket, or that of another client where there is no room.
    fn welcome(&self, buckets: [usize; 2], client: Client) -> &AtomicU64 {
        let _turn = self.entrance.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.known(buckets, client) {
            return known;
        }
        let mut theirs = buckets.map(|number| {
            let page = self.pages[number / BUCKETS]
                .get_or_init(|| Box::new(array::from_fn(|_| Bucket::default())));
            &page[number % BUCKETS].0
        });
        let is_free = |slot: &&Slot| slot.client.load(Ordering::Acquire) == 0;
        theirs.sort_by_key(|bucket| SLOTS - bucket.iter().filter(is_free).count());
        let slots = || theirs.into_iter().flatten();
        let free = slots().find(is_free);
        if let Some(slot) = free
            && self.count.load(Ordering::Relaxed) < self.max
        {
            self.count.fetch_add(1, Ordering::Relaxed);
            slot.client.store(client.0.get(), Ordering::Release);
            return &slot.arrival;
        }
        self.counts.push_out();
        self.was_full.store(true, Ordering::Relaxed);
        let least_recent = least_recent(slots());
        let slot = match (least_recent, free) {
            (Some(slot), _) => slot,
            // Both buckets are empty, as it happens in small tables only: somebody of another one goes.
            (None, Some(slot)) => {
                if let Some(other) = self.least_recent_behind(buckets[0]) {
                    other.client.store(0, Ordering::Release);
                    other.arrival.store(0, Ordering::Relaxed);
                } else {
                    self.count.fetch_add(1, Ordering::Relaxed);
                }
                slot
            }
            // Buckets without a free slot have clients in all of them; only a sweep at this very moment frees them.
            (None, None) => &theirs[0][0],
        };
        // A request of the former client that comes at this very moment may be counted for the new one.
        slot.arrival.store(0, Ordering::Relaxed);
        slot.client.store(client.0.get(), Ordering::Release);
        &slot.arrival
    }

    /// The least recent client of the first bucket behind another that has any.
    fn least_recent_behind(&self, number: usize) -> Option<&Slot> {
        let buckets = self.pages.len() * BUCKETS;
        (1..buckets).find_map(|further| {
            let number = (number + further) % buckets;
            let page = self.pages[number / BUCKETS].get()?;
            least_recent(page[number % BUCKETS].0.iter())
        })
    }
}

/// Of the slots that are in use the one whose client was least recently limited.
fn least_recent<'a>(slots: impl Iterator<Item = &'a Slot>) -> Option<&'a Slot> {
    slots
        .filter(|slot| slot.client.load(Ordering::Acquire) != 0)
        .min_by_key(|slot| slot.arrival.load(Ordering::Relaxed))
}

impl StateStore for Clients {
    type Key = Client;

    fn measure_and_replace<T, F, E>(&self, client: &Client, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let buckets = self.buckets(*client);
        let arrival = self
            .known(buckets, *client)
            .unwrap_or_else(|| self.welcome(buckets, *client));
        let mut seen = arrival.load(Ordering::Relaxed);
        loop {
            let (result, next) = decide(NonZeroU64::new(seen).map(|n| n.get().into()))?;
            let (ok, failed) = (Ordering::Relaxed, Ordering::Relaxed);
            match arrival.compare_exchange_weak(seen, next.into(), ok, failed) {
                Ok(_) => return Ok(result),
                Err(now) => seen = now,
            }
        }
    }
}

impl ShrinkableKeyedStateStore<Client> for Clients {
    /// Frees the slots of clients that have their whole burst again. A request that comes at this very moment
    /// may be forgotten, or be counted for the slot's next owner: one request, which no limit is that exact about.
    fn retain_recent(&self, drop_below: Nanos) {
        let drop_below = u64::from(drop_below);
        let pages = self.pages.iter().filter_map(OnceLock::get);
        let slots = pages
            .flat_map(|page| page.iter())
            .flat_map(|bucket| &bucket.0);
        let mut freed = 0;
        for slot in slots {
            let arrival = slot.arrival.load(Ordering::Relaxed);
            if slot.client.load(Ordering::Relaxed) == 0 || arrival > drop_below {
                continue;
            }
            let (ok, failed) = (Ordering::Relaxed, Ordering::Relaxed);
            if slot
                .arrival
                .compare_exchange(arrival, 0, ok, failed)
                .is_ok()
            {
                slot.client.store(0, Ordering::Release);
                freed += 1;
            }
        }
        self.count.fetch_sub(freed, Ordering::Relaxed);
    }

    fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Client {
        text.parse::<IpAddr>().expect("address").into()
    }

    fn clients(max: usize) -> Clients {
        Clients::new(max, Arc::default())
    }

    fn met(clients: &Clients, client: Client) -> u64 {
        let count = |seen: Option<Nanos>| {
            let met = seen.map_or(0, Nanos::as_u64) + 1;
            Ok::<_, ()>((met, met.into()))
        };
        clients.measure_and_replace(&client, count).expect("always")
    }

    #[test]
    fn who_is_one_client() {
        let same = [
            ("192.0.2.1", "::ffff:192.0.2.1"),
            ("2001:db8::1", "2001:db8::ffff:0:0:1"),
            ("::1", "::2"),
        ];
        for (one, two) in same {
            assert_eq!(client(one), client(two));
        }
        let distinct = [
            "0.0.0.0",
            "192.0.2.1",
            "255.255.255.255",
            "::1",
            "2001:db8::1",
            "2001:db8:0:1::1",
        ];
        for (i, one) in distinct.iter().enumerate() {
            for two in &distinct[..i] {
                assert_ne!(client(one), client(two), "{one} and {two}");
            }
        }
    }

    #[test]
    fn each_has_a_state_of_its_own_up_to_the_bound() {
        const MAX: u32 = 100_000;
        let clients = clients(MAX as usize);
        let number = |n: u32| Client::from(IpAddr::from(n.to_be_bytes()));
        for _ in 0..2 {
            for n in 0..MAX {
                met(&clients, number(n));
            }
        }
        assert_eq!(clients.len(), MAX as usize);
        assert!(
            (0..MAX).all(|n| met(&clients, number(n)) == 3),
            "nobody shares"
        );
        assert_eq!(clients.counts.pushed_out(), 0);
        assert_eq!(met(&clients, number(MAX)), 1, "a newcomer is welcome");
        assert_eq!(met(&clients, number(MAX)), 2, "and remembered");
        assert_eq!(clients.counts.pushed_out(), 1);
        assert_eq!(clients.len(), MAX as usize);
        clients.retain_recent(3.into());
        assert!(clients.is_empty());
        assert_eq!(met(&clients, number(7)), 1, "all is forgotten");
    }

    /// A table of any size, filled over and over by clients that come once.
    #[test]
    fn who_comes_often_is_not_pushed_out() {
        for max in [10, 100, 1_000, 10_000] {
            let clients = clients(max);
            let number = |n: u32| Client::from(IpAddr::from(n.to_be_bytes()));
            let often = max as u32 / 10;
            for _ in 0..5 {
                for n in 0..often {
                    met(&clients, number(n));
                }
            }
            for n in often..20 * max as u32 {
                assert_eq!(met(&clients, number(n)), 1, "each newcomer is welcome");
            }
            assert_eq!(clients.len(), max);
            let stayed = (0..often)
                .filter(|n| met(&clients, number(*n)) == 6)
                .count();
            // Where there are few slots, some bucket may have but one client.
            let most = often as usize * 9 / 10;
            assert!(max < 1_000 || stayed >= most, "{stayed} of {often}");
        }
    }

    #[test]
    fn the_least_recent_of_the_slots_goes() {
        let slots: [Slot; 4] = array::from_fn(|_| Slot::default());
        assert!(least_recent(slots.iter()).is_none());
        for (slot, (client, arrival)) in slots.iter().zip([(1, 900), (2, 300), (0, 0), (3, 301)]) {
            slot.client.store(client, Ordering::Relaxed);
            slot.arrival.store(arrival, Ordering::Relaxed);
        }
        let least = least_recent(slots.iter()).expect("three are in use");
        assert_eq!(least.client.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_was_charged_is_handed_back() {
        let clients = clients(10);
        let (one, two) = (client("192.0.2.1"), client("192.0.2.2"));
        for _ in 0..7 {
            met(&clients, one);
        }
        met(&clients, two);
        clients.hand_back(one, 3);
        clients.hand_back(two, 3);
        clients.hand_back(client("192.0.2.3"), 3);
        assert_eq!(clients.len(), 2, "nobody enters by it");
        assert_eq!(met(&clients, one), 5);
        assert_eq!(met(&clients, two), 1);
    }

    #[test]
    fn who_is_recent_stays() {
        let clients = clients(10);
        met(&clients, client("192.0.2.1"));
        met(&clients, client("192.0.2.2"));
        met(&clients, client("192.0.2.2"));
        clients.retain_recent(1.into());
        assert_eq!(clients.len(), 1);
        assert_eq!(met(&clients, client("192.0.2.1")), 1);
        assert_eq!(met(&clients, client("192.0.2.2")), 3);
    }

    #[test]
    fn networks_of_other_lengths() {
        let of = |text: &str, ipv4, ipv6| {
            let address = text.parse::<IpAddr>().expect("address");
            Client::of_network(address, Prefix { ipv4, ipv6 })
        };
        for (one, two, ipv4, ipv6, same) in [
            ("192.0.2.1", "192.0.2.200", 24, 64, true),
            ("192.0.2.1", "192.0.3.1", 24, 64, false),
            ("192.0.2.1", "::ffff:192.0.2.9", 24, 64, true),
            ("192.0.2.1", "198.51.100.1", 1, 64, true),
            ("2001:db8::1", "2001:db8:0:ff::1", 32, 56, true),
            ("2001:db8::1", "2001:db8:0:100::1", 32, 56, false),
            ("2001:db8::1", "2001:db9::1", 32, 31, true),
            ("192.0.2.1", "2001:db8::1", 1, 1, false),
        ] {
            let clients = [of(one, ipv4, ipv6), of(two, ipv4, ipv6)];
            assert_eq!(
                clients[0] == clients[1],
                same,
                "{one} {two} /{ipv4} /{ipv6}"
            );
        }
    }

    #[test]
    fn a_million_keys_take_no_more_than_is_said() {
        const MAX: usize = 1_000_000;
        let clients = clients(MAX);
        let empty = clients.bytes();
        // More than there is room for.
        for n in 1..=2 * MAX as u64 {
            met(
                &clients,
                Client::hashed(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            );
        }
        assert!(
            clients.len() <= MAX && clients.len() > MAX - MAX / 1000,
            "{}",
            clients.len()
        );
        // 2^21 slots of 16 bytes, and a pointer for each 64 of them.
        assert!(
            clients.bytes() <= (1 << 21) * 16 + empty,
            "{}",
            clients.bytes()
        );
        assert!(empty <= (1 << 21) / 64 * 16, "{empty}");
    }

    #[test]
    fn threads_count_each_request_once() {
        let clients = clients(1000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..20_000u32 {
                        met(&clients, IpAddr::from((n % 500).to_be_bytes()).into());
                    }
                });
            }
        });
        assert_eq!(clients.len(), 500);
        let sum: u64 = (0..500u32)
            .map(|n| met(&clients, IpAddr::from(n.to_be_bytes()).into()) - 1)
            .sum();
        assert_eq!(sum, 80_000);
    }
}
