//! What is told of the limits on requests at work.

use std::{sync::Arc, time::Duration};

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{
    metrics::{counters, gauges, register},
    named::keep,
    upstream_metrics::InUse,
};
use crate::upstream::Upstream;

/// Read off the gates when somebody asks.
pub(super) struct ConcurrencyMetrics {
    limit: IntGaugeVec,
    at_work: IntGaugeVec,
    uploads: IntGaugeVec,
    waiting: IntGaugeVec,
    latency: GaugeVec,
    shed: IntCounterVec,
}

impl ConcurrencyMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let of_upstream = |name: &str, help: &str| gauges(registry, name, help, &["upstream"]);
        let latency = Opts::new(
            "dhal_concurrency_latency_seconds",
            "Until the head of an answer, on average of the last ones.",
        );
        Self {
            limit: of_upstream(
                "concurrency_limit",
                "Requests that may be at work at once, as learned.",
            ),
            at_work: of_upstream("concurrency_at_work", "Requests at work."),
            uploads: of_upstream(
                "concurrency_uploads",
                "Requests whose content is on its way to a server.",
            ),
            waiting: of_upstream(
                "concurrency_waiting",
                "Requests that wait for others to be done.",
            ),
            latency: register(registry, GaugeVec::new(latency, &["upstream"])),
            shed: counters(
                registry,
                "shed_total",
                "Requests that were turned away because there was too much to do, by what they matter, and why.",
                &["upstream", "class", "why"],
            ),
        }
    }

    pub(super) fn forget(&self, in_use: &InUse) {
        keep(&self.shed, |label| in_use.has(&label("upstream")));
    }

    pub(super) fn refresh(&self, upstreams: &[Arc<Upstream>], tick: Duration) {
        for gauge in [&self.limit, &self.at_work, &self.uploads, &self.waiting] {
            gauge.reset();
        }
        self.latency.reset();
        let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        for upstream in upstreams {
            let name = upstream.name();
            let concurrency = &upstream.lasting.concurrency;
            let Some(state) = concurrency.state(tick) else {
                continue;
            };
            let set = |gauge: &IntGaugeVec, n| gauge.with_label_values(&[name]).set(whole(n));
            set(&self.limit, state.limit);
            set(&self.at_work, state.at_work);
            set(&self.uploads, state.uploads);
            set(&self.waiting, state.waiting);
            let latency = self.latency.with_label_values(&[name]);
            latency.set(state.latency.as_secs_f64());
            for (class, why, count) in concurrency.sheds() {
                let labels = [name, class.as_str(), why.as_str()];
                let counter = self.shed.with_label_values(&labels);
                // It may have been read by somebody else meanwhile.
                counter.inc_by(count.saturating_sub(counter.get()));
            }
        }
    }
}
