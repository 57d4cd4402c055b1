//! The books: every request once, by step, by protocol, by kind of visitor, and by second.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use anyhow::Context;
use hdrhistogram::Histogram;
use http::HeaderMap;

use crate::{connect::Protocol, fate::Fate, plan::Action};

/// A request begun so much after its time is late: the generator's fault, never the server's.
pub(crate) const LATE: Duration = Duration::from_millis(5);

/// Nobody waits longer; what does is counted as this.
const LATENCY_MAX_US: u64 = 600_000_000;

/// Targets known to be stored, order numbers and buyers that are remembered.
const REMEMBERED_MAX: usize = 1_000_000;

/// What the edge said of its store's part in an answer (RFC 9211).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It said nothing.
    Untold,
    Hit,
    /// A hit that was not fresh.
    Stale,
    /// A hit while no shop could answer.
    ShopWindow,
    /// Forwarded, together with others.
    Collapsed,
    /// Forwarded, and now in the store.
    Kept,
    /// Forwarded.
    Forwarded,
}

impl Stored {
    pub(crate) const ALL: [Self; 7] = [
        Self::Untold,
        Self::Hit,
        Self::Stale,
        Self::ShopWindow,
        Self::Collapsed,
        Self::Kept,
        Self::Forwarded,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Untold => "untold",
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::ShopWindow => "shop-window",
            Self::Collapsed => "collapsed",
            Self::Kept => "stored",
            Self::Forwarded => "forwarded",
        }
    }

    /// From an answer's fields.
    pub(crate) fn of(fields: &HeaderMap) -> Self {
        let Some(status) = fields
            .get("cache-status")
            .and_then(|value| value.to_str().ok())
        else {
            return Self::Untold;
        };
        let mut parts = status.split(';').map(str::trim).skip(1);
        let mut said = Self::Forwarded;
        for part in &mut parts {
            match part {
                "hit" => said = Self::Hit,
                "detail=shop-window" => return Self::ShopWindow,
                "stored" => said = Self::Kept,
                "collapsed" => return Self::Collapsed,
                _ if part.starts_with("detail=stale") => return Self::Stale,
                _ => {}
            }
        }
        said
    }

    /// Whether the store had it.
    pub(crate) fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::ShopWindow)
    }

    /// Whether the store has it from now on.
    pub(crate) fn is_kept(self) -> bool {
        !matches!(self, Self::Untold | Self::Forwarded)
    }
}

/// Requests of one kind.
pub(crate) struct Tally {
    /// Microseconds from when a request was due to the end of its answer; of those that were answered, and of those
    /// nobody answered in time. What failed sooner would flatter.
    pub(crate) latency_us: Histogram<u64>,
    pub(crate) fates: [u64; Fate::ALL.len()],
}

impl Tally {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latency_us: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).context("a histogram")?,
            fates: [0; Fate::ALL.len()],
        })
    }

    fn add(&mut self, fate: Fate, latency: Duration) {
        self.fates[fate as usize] += 1;
        if matches!(fate, Fate::Right | Fate::Conflict | Fate::TimedOut) {
            self.latency_us.saturating_record(micros(latency));
        }
    }

    /// How many were told that it is too much.
    pub(crate) fn refused(&self) -> u64 {
        let refusing = Fate::ALL.iter().filter(|fate| fate.is_refusal());
        refusing.map(|fate| self.fates[*fate as usize]).sum()
    }

    /// Takes another's requests in.
    pub(crate) fn merge(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latency_us
            .add(&other.latency_us)
            .context("histograms of one kind")?;
        for (sum, count) in self.fates.iter_mut().zip(other.fates) {
            *sum += count;
        }
        Ok(())
    }

    pub(crate) fn requests(&self) -> u64 {
        self.fates.iter().sum()
    }

    pub(crate) fn failed(&self) -> u64 {
        let failing = Fate::ALL.iter().filter(|fate| fate.is_failure());
        failing.map(|fate| self.fates[*fate as usize]).sum()
    }
}

fn hashed(target: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    hasher.finish()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros())
        .unwrap_or(LATENCY_MAX_US)
        .max(1)
}

/// One second of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Second {
    pub(crate) begun: u64,
    pub(crate) late: u64,
    /// By fate, in the second in which it was settled.
    pub(crate) fates: [u64; Fate::ALL.len()],
    /// Microseconds: p50, p99 and p99.9.
    pub(crate) latency_us: [u64; 3],
    /// There at its end, and how many of them in a waiting room.
    pub(crate) visitors: usize,
    pub(crate) waiting: usize,
    /// Orders acknowledged after a checkout.
    pub(crate) checkouts: u64,
}

/// How a visitor ended who came to buy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Buyer {
    /// With an order.
    Finished,
    /// Without one, since this became of what it takes.
    Stopped(Fate),
    /// He was inside, had to wait again, and did not come back in.
    SentBack,
    /// He never got in: he lost patience, or the run ended.
    GaveUp,
    StillWaiting,
    /// Inside when the run ended.
    UnderWay,
}

/// A request that is over.
pub(crate) struct Settled<'a> {
    pub(crate) step: &'static str,
    pub(crate) protocol: Protocol,
    /// Position of the visitor's kind.
    pub(crate) kind: usize,
    pub(crate) is_safe: bool,
    pub(crate) target: &'a str,
    pub(crate) fate: Fate,
    pub(crate) stored: Stored,
    pub(crate) latency: Duration,
}

/// The books of a run.
pub(crate) struct Record {
    start: Instant,
    pub(crate) steps: HashMap<&'static str, Tally>,
    /// By protocol, safe requests first, then those that change something. Of welcome visitors only.
    pub(crate) protocols: Vec<[Tally; 2]>,
    pub(crate) kinds: Vec<Tally>,
    unwelcome: Vec<bool>,
    pub(crate) stored: [u64; Stored::ALL.len()],
    pub(crate) seconds: Vec<Second>,
    this_second_us: Histogram<u64>,
    /// Right answers of the store.
    pub(crate) hits: Tally,
    /// Milliseconds from the first request to admission, of those who had to wait.
    pub(crate) waited_ms: Histogram<u64>,
    /// Times that a visitor was told to wait, and those after he had been admitted before.
    pub(crate) waits: u64,
    pub(crate) waits_again: u64,
    pub(crate) gave_up: u64,
    pub(crate) still_waiting: u64,
    pub(crate) buyers: Vec<Buyer>,
    kept: HashSet<u64>,
    /// Safe requests of welcome visitors that failed though the store had had what they asked for.
    pub(crate) failed_though_stored: u64,
    pub(crate) begun: u64,
    pub(crate) late: u64,
    pub(crate) latest: Duration,
    pub(crate) turned_away: u64,
    pub(crate) visitors: u64,
    pub(crate) connections: u64,
    pub(crate) repeated: u64,
    /// Numbers of acknowledged orders.
    pub(crate) orders: HashSet<String>,
    pub(crate) orders_twice: u64,
}

impl Record {
    /// Empty books; `unwelcome` says of each kind of visitors whether its failures count.
    pub(crate) fn new(start: Instant, unwelcome: Vec<bool>) -> anyhow::Result<Self> {
        let pair = || Ok([Tally::new()?, Tally::new()?]);
        Ok(Self {
            start,
            steps: HashMap::new(),
            protocols: Protocol::ALL
                .iter()
                .map(|_| pair())
                .collect::<anyhow::Result<_>>()?,
            kinds: unwelcome
                .iter()
                .map(|_| Tally::new())
                .collect::<anyhow::Result<_>>()?,
            unwelcome,
            stored: [0; Stored::ALL.len()],
            seconds: Vec::new(),
            this_second_us: Tally::new()?.latency_us,
            hits: Tally::new()?,
            waited_ms: Tally::new()?.latency_us,
            waits: 0,
            waits_again: 0,
            gave_up: 0,
            still_waiting: 0,
            buyers: Vec::new(),
            kept: HashSet::new(),
            failed_though_stored: 0,
            begun: 0,
            late: 0,
            latest: Duration::ZERO,
            turned_away: 0,
            visitors: 0,
            connections: 0,
            repeated: 0,
            orders: HashSet::new(),
            orders_twice: 0,
        })
    }

    /// A request begins, so much after it was due.
    pub(crate) fn begin(&mut self, now: Instant, after_due: Duration) {
        self.begun += 1;
        let is_late = u64::from(after_due > LATE);
        self.late += is_late;
        self.latest = self.latest.max(after_due);
        let second = self.second(now);
        second.begun += 1;
        second.late += is_late;
    }

    /// A request is over.
    pub(crate) fn settle(&mut self, now: Instant, settled: &Settled<'_>) -> anyhow::Result<()> {
        let Settled { fate, latency, .. } = *settled;
        let counts = !self.unwelcome[settled.kind];
        let is_sent_off = fate.is_failure() || fate.is_refusal();
        let is_checkout = settled.step == Action::Checkout.name() && fate == Fate::Right;
        let second = self.second(now);
        second.fates[fate as usize] += u64::from(counts || !is_sent_off);
        second.checkouts += u64::from(counts && is_checkout);
        if fate == Fate::Right {
            self.this_second_us.saturating_record(micros(latency));
        }
        self.kinds[settled.kind].add(fate, latency);
        if counts {
            match self.steps.get_mut(settled.step) {
                Some(tally) => tally.add(fate, latency),
                None => {
                    let mut tally = Tally::new()?;
                    tally.add(fate, latency);
                    self.steps.insert(settled.step, tally);
                }
            }
            let [safe, changing] = &mut self.protocols[settled.protocol as usize];
            if settled.is_safe { safe } else { changing }.add(fate, latency);
        }
        if fate == Fate::Right {
            self.stored[settled.stored as usize] += 1;
            if settled.stored.is_hit() {
                self.hits.add(fate, latency);
            }
        }
        if settled.is_safe {
            self.remember(settled, counts);
        }
        Ok(())
    }

    fn remember(&mut self, settled: &Settled<'_>, counts: bool) {
        if settled.fate == Fate::Right && settled.stored.is_kept() {
            self.keep(settled.target);
        } else if counts
            && (settled.fate.is_failure() || settled.fate.is_refusal())
            && self.kept.contains(&hashed(settled.target))
        {
            self.failed_though_stored += 1;
        }
    }

    /// The store has this from now on.
    pub(crate) fn keep(&mut self, target: &str) {
        if self.kept.len() < REMEMBERED_MAX {
            self.kept.insert(hashed(target));
        }
    }

    /// An order was acknowledged with this number.
    pub(crate) fn order(&mut self, number: &str) {
        if self.orders.contains(number) {
            self.orders_twice += 1;
        } else if self.orders.len() < REMEMBERED_MAX {
            self.orders.insert(number.to_owned());
        }
    }

    /// A visitor is told to wait; it may not be the first time.
    pub(crate) fn wait_begins(&mut self, was_admitted: bool) {
        self.waits += 1;
        self.waits_again += u64::from(was_admitted);
    }

    /// His turn has come.
    pub(crate) fn wait_ends(&mut self, after: Duration) {
        let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.waited_ms.saturating_record(millis.max(1));
    }

    /// Somebody who came to buy has gone.
    pub(crate) fn buyer(&mut self, end: Buyer) {
        if self.buyers.len() < REMEMBERED_MAX {
            self.buyers.push(end);
        }
    }

    /// Closes the seconds that ended before now; of the last of them this many visitors were there, and so many of
    /// them waiting. Returns it.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        visitors: usize,
        waiting: usize,
    ) -> Option<&Second> {
        self.second(now);
        let last = self.seconds.len().checked_sub(2)?;
        (self.seconds[last].visitors, self.seconds[last].waiting) = (visitors, waiting);
        self.seconds.get(last)
    }

    /// The second that is running; those that ended get their percentiles.
    fn second(&mut self, now: Instant) -> &mut Second {
        let number = usize::try_from((now - self.start).as_secs()).unwrap_or(usize::MAX);
        while self.seconds.len() <= number {
            self.close_second();
            self.seconds.push(Second::default());
        }
        let last = self.seconds.len() - 1;
        &mut self.seconds[last]
    }

    /// Writes the percentiles of the running second.
    pub(crate) fn close_second(&mut self) {
        if let Some(ended) = self.seconds.last_mut()
            && !self.this_second_us.is_empty()
        {
            ended.latency_us =
                [0.5, 0.99, 0.999].map(|quantile| self.this_second_us.value_at_quantile(quantile));
            self.this_second_us.reset();
        }
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
