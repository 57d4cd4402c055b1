//! Counters of upstreams' connections and of the names of their servers.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use prometheus::{
    IntCounterVec, IntGaugeVec, Registry,
    core::{Collector, Desc},
    proto::{MetricFamily, MetricType},
};

use super::{
    concurrency_metrics::ConcurrencyMetrics,
    families::{counter, described, family, labels},
    metrics::{counters, gauges, register},
    named::{Named, keep},
    per_thread::Counts,
};
use crate::upstream::{Upstream, names::Names};

/// What is told of all upstreams.
pub struct UpstreamMetrics {
    connections: Named<ConnectionCounts>,
    /// Those that have been in force and that somebody may still ask.
    known: Mutex<Vec<Weak<Upstream>>>,
    open: IntGaugeVec,
    queue: IntGaugeVec,
    addresses: IntGaugeVec,
    concurrency: ConcurrencyMetrics,
    /// Names that could not be resolved.
    pub dns_failures: IntCounterVec,
}

/// The counters of an upstream, which every request to it counts.
#[derive(Default)]
pub struct ConnectionCounts {
    /// New connections.
    pub opened: Count,
    /// Requests on connections that were used before.
    pub reused: Count,
    /// Requests that got none.
    pub rejected: Count,
}

/// A number that counts up, with a part for each thread.
#[derive(Default)]
pub struct Count(Counts);

impl Count {
    /// Adds one.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// What has been counted.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// Collects one of the counters of upstreams.
#[derive(Clone)]
struct OfUpstreams {
    desc: Desc,
    all: Named<ConnectionCounts>,
    which: fn(&ConnectionCounts) -> &Count,
}

impl Collector for OfUpstreams {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut metrics = Vec::new();
        self.all.for_each(|name, counts| {
            let value = (self.which)(counts).get();
            metrics.push(counter(labels([("upstream", name)]), value));
        });
        vec![family(&self.desc, MetricType::COUNTER, metrics)]
    }
}

/// Names of upstreams and servers that somebody has a use for.
pub(super) struct InUse {
    upstreams: HashSet<String>,
    servers: HashSet<(String, String)>,
}

impl InUse {
    fn of(upstreams: &[Arc<Upstream>]) -> Self {
        let names = upstreams.iter().map(|upstream| upstream.name().to_owned());
        let servers = upstreams.iter().flat_map(|upstream| {
            let told = upstream.servers_told().into_iter();
            told.map(|server| (upstream.name().to_owned(), server))
        });
        Self {
            upstreams: names.collect(),
            servers: servers.collect(),
        }
    }

    pub(super) fn has(&self, upstream: &str) -> bool {
        self.upstreams.contains(upstream)
    }

    pub(super) fn has_server(&self, upstream: &str, server: &str) -> bool {
        let pair = (upstream.to_owned(), server.to_owned());
        self.servers.contains(&pair)
    }
}

impl UpstreamMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let all = Named::default();
        let of_upstreams = |name: &str, help: &str, which: fn(&ConnectionCounts) -> &Count| {
            let desc = described(&format!("dhal_upstream_{name}_total"), help, &["upstream"]);
            let all = Named::clone(&all);
            let made = desc.map(|desc| OfUpstreams { desc, all, which });
            let _: OfUpstreams = register(registry, made);
        };
        of_upstreams("connections_opened", "Connections to servers.", |counts| {
            &counts.opened
        });
        of_upstreams(
            "connections_reused",
            "Requests on connections that were used before.",
            |counts| &counts.reused,
        );
        of_upstreams(
            "queue_rejected",
            "Requests that got no connection, as too many waited or for too long.",
            |counts| &counts.rejected,
        );
        Self {
            connections: all,
            known: Mutex::default(),
            open: gauges(
                registry,
                "upstream_connections_open",
                "Connections open now, idle ones included. Over HTTP/2 those that carry the streams, \
                 not the requests that max bounds there.",
                &["upstream", "server"],
            ),
            queue: gauges(
                registry,
                "upstream_queue",
                "Requests that wait for a connection.",
                &["upstream"],
            ),
            addresses: gauges(
                registry,
                "upstream_addresses",
                "Servers, each address of a name counted.",
                &["upstream"],
            ),
            concurrency: ConcurrencyMetrics::new(registry),
            dns_failures: counters(
                registry,
                "dns_failures_total",
                "Questions for the addresses of a name that brought none.",
                &["name"],
            ),
        }
    }

    /// The counters of an upstream, the same across reloads.
    pub fn of(&self, upstream: &str) -> Arc<ConnectionCounts> {
        self.connections.of(upstream)
    }

    /// Tells of the upstreams of a configuration that takes effect.
    pub(super) fn adopt(&self, upstreams: &[Arc<Upstream>]) {
        let names = upstreams.iter().map(|upstream| upstream.name());
        self.connections.tell(names);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|upstream| upstream.strong_count() > 0);
        known.extend(upstreams.iter().map(Arc::downgrade));
    }

    /// Forgets those that nobody has a use for; `others` does so with what is counted of them elsewhere.
    pub(super) fn forget(&self, names: &Names, others: impl FnOnce(&InUse)) {
        self.connections.forget_unheld(|_| {});
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known: Vec<_> = known.iter().filter_map(Weak::upgrade).collect();
        let in_use = InUse::of(&known);
        keep(&self.dns_failures, |label| names.knows(&label("name")));
        self.concurrency.forget(&in_use);
        others(&in_use);
    }

    /// Reads what is not kept up with.
    pub fn refresh(&self, upstreams: &[Arc<Upstream>], tick: Duration) {
        self.concurrency.refresh(upstreams, tick);
        let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        for gauge in [&self.open, &self.queue, &self.addresses] {
            gauge.reset();
        }
        for upstream in upstreams {
            let name = upstream.name();
            let servers = upstream.servers();
            let mut waiting = 0;
            for server in servers.iter() {
                waiting += server.state.slots.waiting();
                let open = self.open.with_label_values(&[name, &server.name]);
                open.set(whole(upstream.open_connections(server)));
            }
            self.queue.with_label_values(&[name]).set(whole(waiting));
            let addresses = self.addresses.with_label_values(&[name]);
            addresses.set(whole(servers.len()));
        }
    }
}
