//! Counters of upstreams' connections and of the names of their servers.

use std::{sync::Arc, time::Duration};

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::{
    concurrency_metrics::ConcurrencyMetrics,
    families::Labelled,
    metrics::{counters, gauges, register},
    per_thread::Counts,
};
use crate::upstream::Upstream;

/// What is told of all upstreams.
pub struct UpstreamMetrics {
    opened: Labelled,
    reused: Labelled,
    rejected: Labelled,
    open: IntGaugeVec,
    queue: IntGaugeVec,
    addresses: IntGaugeVec,
    concurrency: ConcurrencyMetrics,
    /// Names that could not be resolved.
    pub dns_failures: IntCounterVec,
}

/// The counters of an upstream, which every request to it counts.
pub struct ConnectionCounts {
    /// New connections.
    pub opened: Count,
    /// Requests on connections that were used before.
    pub reused: Count,
    /// Requests that got none.
    pub rejected: Count,
}

/// A number that counts up, with a part for each thread.
pub struct Count(Arc<Counts>);

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

impl UpstreamMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let labelled = |name: &str, help: &str| {
            let name = format!("dhal_upstream_{name}_total");
            register(registry, Labelled::new(&name, help, "upstream"))
        };
        Self {
            opened: labelled("connections_opened", "Connections to servers."),
            reused: labelled(
                "connections_reused",
                "Requests on connections that were used before.",
            ),
            rejected: labelled(
                "queue_rejected",
                "Requests that got no connection, as too many waited or for too long.",
            ),
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
    pub fn of(&self, upstream: &str) -> ConnectionCounts {
        ConnectionCounts {
            opened: Count(self.opened.of(upstream)),
            reused: Count(self.reused.of(upstream)),
            rejected: Count(self.rejected.of(upstream)),
        }
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
