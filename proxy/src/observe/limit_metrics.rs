//! Counters and gauges of limits and address lists.

use std::sync::Arc;

use prometheus::{
    IntGaugeVec, Registry,
    core::{Collector, Desc},
    proto::{MetricFamily, MetricType},
};

use super::{
    families::{counter, described, family, labels},
    metrics::{gauges, register},
    named::Named,
    per_thread::Counts,
};
use crate::{
    admit::{rate::RateLimit, state::LimitDecision},
    snapshot::Snapshot,
};

/// What a limit has decided, with a part for each thread.
#[derive(Default)]
pub struct LimitCounts {
    decisions: [Counts; LimitDecision::ALL.len()],
    pushed_out: Counts,
    /// Refusals that visitors were told of.
    refused: Counts,
}

/// Whom an address list kept out, with a part for each thread.
#[derive(Default)]
pub struct ListCounts([Counts; Kept::ALL.len()]);

impl ListCounts {
    /// Counts a request that is refused.
    pub fn inc(&self, why: Kept) {
        self.0[why as usize].inc();
    }
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

/// Collects the decisions of limits.
#[derive(Clone)]
struct Decisions {
    desc: Desc,
    all: Named<LimitCounts>,
}

impl Collector for Decisions {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut metrics = Vec::new();
        self.all.for_each(|name, counts| {
            metrics.extend(LimitDecision::ALL.map(|decision| {
                let pairs = [("decision", decision.as_str()), ("limit", name)];
                counter(labels(pairs), counts.get(decision))
            }));
        });
        vec![family(&self.desc, MetricType::COUNTER, metrics)]
    }
}

/// Collects one of the counters of limits.
#[derive(Clone)]
struct OfLimits {
    desc: Desc,
    all: Named<LimitCounts>,
    which: fn(&LimitCounts) -> u64,
}

impl Collector for OfLimits {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut metrics = Vec::new();
        self.all.for_each(|name, counts| {
            metrics.push(counter(labels([("limit", name)]), (self.which)(counts)));
        });
        vec![family(&self.desc, MetricType::COUNTER, metrics)]
    }
}

/// Collects whom address lists kept out.
#[derive(Clone)]
struct KeptOut {
    desc: Desc,
    all: Named<ListCounts>,
}

impl Collector for KeptOut {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut metrics = Vec::new();
        self.all.for_each(|name, counts| {
            metrics.extend(Kept::ALL.map(|why| {
                let pairs = [("list", name), ("why", why.as_str())];
                counter(labels(pairs), counts.0[why as usize].get())
            }));
        });
        vec![family(&self.desc, MetricType::COUNTER, metrics)]
    }
}

/// Metrics of limits and address lists.
pub struct LimitMetrics {
    all: Named<LimitCounts>,
    lists: Named<ListCounts>,
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
        let all = Named::default();
        let decisions = desc.map(|desc| Decisions {
            desc,
            all: all.clone(),
        });
        let _: Decisions = register(registry, decisions);
        let of_limits = |name: &str, help: &str, which: fn(&LimitCounts) -> u64| {
            let desc = described(name, help, &["limit"]);
            let all = all.clone();
            let _: OfLimits = register(registry, desc.map(|desc| OfLimits { desc, all, which }));
        };
        of_limits(
            "dhal_limit_keys_pushed_out_total",
            "Keys that made room for others, because a limit remembered as many as it may.",
            LimitCounts::pushed_out,
        );
        of_limits(
            "dhal_ratelimit_rejected_total",
            "Requests refused by a limit.",
            |counts| counts.refused.get(),
        );
        let desc = described(
            "dhal_address_list_refused_total",
            "Requests refused because of an address list.",
            &["list", "why"],
        );
        let lists = Named::default();
        let kept_out = desc.map(|desc| KeptOut {
            desc,
            all: lists.clone(),
        });
        let _: KeptOut = register(registry, kept_out);
        let of_limit = |name, help| gauges(registry, name, help, &["limit"]);
        let of_list = |name, help| gauges(registry, name, help, &["list"]);
        Self {
            all,
            lists,
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
    pub fn limit(&self, name: &str) -> Arc<LimitCounts> {
        self.all.of(name)
    }

    /// The counters of an address list, the same across reloads.
    pub fn list(&self, name: &str) -> Arc<ListCounts> {
        self.lists.of(name)
    }

    /// Counts a refusal that a visitor is told of.
    pub(super) fn refused(&self, limit: &str) {
        self.all.with(limit, |counts| counts.refused.inc());
    }

    /// Tells of the limits and lists of a configuration that takes effect.
    pub(super) fn adopt(&self, snapshot: &Snapshot) {
        self.all
            .tell(snapshot.limits.iter().map(|limit| limit.name));
        self.lists.tell(snapshot.lists.iter().map(|list| list.name));
    }

    /// Forgets those that nobody has a use for.
    pub(super) fn forget(&self) {
        self.all.forget_unheld(|_| {});
        self.lists.forget_unheld(|_| {});
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
