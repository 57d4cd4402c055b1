//! Counters and gauges of limits and address lists.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use prometheus::{
    IntGaugeVec, Registry,
    core::{Collector, Desc},
    proto::{MetricFamily, MetricType},
};

use super::{
    families::{counter, described, family, labels},
    metrics::{gauges, register},
    per_thread::Counts,
};
use crate::{
    admit::{lists::AddressList, rate::RateLimit, state::LimitDecision},
    snapshot::Snapshot,
};

/// What a limit has decided, with a part for each thread.
#[derive(Default)]
pub struct LimitCounts {
    decisions: [Counts; LimitDecision::ALL.len()],
    pushed_out: Counts,
}

impl LimitCounts {
    /// Counts a decision.
    pub fn inc(&self, decision: LimitDecision) {
        self.decisions[decision as usize].inc();
    }

    /// How often it was decided so.
    pub fn get(&self, decision: LimitDecision) -> u64 {
        self.decisions[decision as usize].get()
    }

    /// Counts a key that made room for another.
    pub fn push_out(&self) {
        self.pushed_out.inc();
    }

    /// How many did.
    pub fn pushed_out(&self) -> u64 {
        self.pushed_out.get()
    }
}

/// Why an address list kept a request out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is on a list of `deny`.
    Denied,
    /// It is on none of the lists of `allow`.
    NotAllowed,
}

impl Kept {
    const ALL: [Self; 2] = [Self::Denied, Self::NotAllowed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotAllowed => "not_allowed",
        }
    }
}

/// Counters by a name that is known for as long as the process lives.
struct ByName<T>(Arc<ArcSwap<HashMap<&'static str, Arc<T>>>>);

impl<T> Clone for ByName<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default> ByName<T> {
    fn new() -> Self {
        Self(Arc::new(ArcSwap::from_pointee(HashMap::new())))
    }

    fn of(&self, name: &'static str) -> Arc<T> {
        if let Some(known) = self.0.load().get(name) {
            return Arc::clone(known);
        }
        let new = Arc::new(T::default());
        self.0.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.entry(name).or_insert_with(|| Arc::clone(&new));
            all
        });
        // Another thread may have been first.
        self.0.load().get(name).map_or(new, Arc::clone)
    }
}

/// Collects the decisions of limits.
#[derive(Clone)]
struct Decisions {
    desc: Desc,
    all: ByName<LimitCounts>,
}

impl Collector for Decisions {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let all = self.all.0.load();
        let metrics = all.iter().flat_map(|(name, counts)| {
            LimitDecision::ALL.map(|decision| {
                let pairs = [("decision", decision.as_str()), ("limit", name)];
                counter(labels(pairs), counts.get(decision))
            })
        });
        vec![family(&self.desc, MetricType::COUNTER, metrics.collect())]
    }
}

/// Collects how many keys made room for others.
#[derive(Clone)]
struct PushedOut {
    desc: Desc,
    all: ByName<LimitCounts>,
}

impl Collector for PushedOut {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let all = self.all.0.load();
        let metrics = all
            .iter()
            .map(|(name, counts)| counter(labels([("limit", *name)]), counts.pushed_out()));
        vec![family(&self.desc, MetricType::COUNTER, metrics.collect())]
    }
}

/// Collects whom address lists kept out.
#[derive(Clone)]
struct KeptOut {
    desc: Desc,
    all: ByName<[Counts; Kept::ALL.len()]>,
}

impl Collector for KeptOut {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let all = self.all.0.load();
        let metrics = all.iter().flat_map(|(name, counts)| {
            Kept::ALL.map(|why| {
                let pairs = [("list", *name), ("why", why.as_str())];
                counter(labels(pairs), counts[why as usize].get())
            })
        });
        vec![family(&self.desc, MetricType::COUNTER, metrics.collect())]
    }
}

/// Metrics of limits and address lists.
pub struct LimitMetrics {
    decisions: Decisions,
    kept_out: KeptOut,
    keys: IntGaugeVec,
    keys_max: IntGaugeVec,
    bytes: IntGaugeVec,
    waiting: IntGaugeVec,
    list_entries: IntGaugeVec,
    list_bytes: IntGaugeVec,
    list_valid: IntGaugeVec,
}

impl LimitMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let desc = described(
            "dhal_limit_requests_total",
            "Requests that limits counted, by what they decided.",
            &["decision", "limit"],
        );
        let decisions = desc.map(|desc| Decisions {
            desc,
            all: ByName::new(),
        });
        let decisions: Decisions = register(registry, decisions);
        let desc = described(
            "dhal_limit_keys_pushed_out_total",
            "Keys that made room for others, because a limit remembered as many as it may.",
            &["limit"],
        );
        let pushed_out = desc.map(|desc| PushedOut {
            desc,
            all: decisions.all.clone(),
        });
        let _: PushedOut = register(registry, pushed_out);
        let desc = described(
            "dhal_address_list_refused_total",
            "Requests refused because of an address list.",
            &["list", "why"],
        );
        let kept_out = desc.map(|desc| KeptOut {
            desc,
            all: ByName::new(),
        });
        let of_limit = |name, help| gauges(registry, name, help, &["limit"]);
        let of_list = |name, help| gauges(registry, name, help, &["list"]);
        Self {
            decisions,
            kept_out: register(registry, kept_out),
            keys: of_limit("limit_keys", "Keys that a limit remembers."),
            keys_max: of_limit("limit_keys_max", "Keys that a limit remembers at most."),
            bytes: of_limit("limit_bytes", "Bytes of what a limit remembers."),
            waiting: of_limit("limit_waiting", "Requests that a limit holds back now."),
            list_entries: of_list("address_list_entries", "Entries and lines in force."),
            list_bytes: of_list("address_list_bytes", "Bytes of an address list."),
            list_valid: of_list(
                "address_list_valid",
                "0 while an address list's file cannot be used and an older version is in force.",
            ),
        }
    }

    /// The counters of a limit, the same across reloads.
    pub fn limit(&self, name: &'static str) -> Arc<LimitCounts> {
        self.decisions.all.of(name)
    }

    /// Counts a request that is refused.
    pub fn kept_out(&self, list: &AddressList, why: Kept) {
        self.kept_out.all.of(list.name)[why as usize].inc();
    }

    /// Reads the gauges off.
    pub(crate) fn refresh(&self, snapshot: &Snapshot) {
        let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let gauges = [&self.keys, &self.keys_max, &self.bytes, &self.waiting];
        gauges.iter().for_each(|gauge| gauge.reset());
        for limit in &snapshot.limits {
            let values = [
                RateLimit::tracked,
                RateLimit::max_keys,
                RateLimit::bytes,
                RateLimit::waiting,
            ];
            for (gauge, value) in gauges.iter().zip(values) {
                let gauge = gauge.with_label_values(&[limit.name]);
                gauge.set(whole(value(limit)));
            }
        }
        let gauges = [&self.list_entries, &self.list_bytes, &self.list_valid];
        gauges.iter().for_each(|gauge| gauge.reset());
        for list in &snapshot.lists {
            let values = [list.entries(), list.bytes(), usize::from(list.is_sound())];
            for (gauge, value) in gauges.iter().zip(values) {
                gauge.with_label_values(&[list.name]).set(whole(value));
            }
        }
    }
}
