//! Counters in Prometheus' form. What every request counts has a part for each thread, to which no other thread
//! writes, and is summed when it is read; doors hold handles, so that nothing is looked up by label on a hit.

use std::sync::Arc;

use prometheus::{
    Encoder, Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector,
};

pub use super::request_metrics::{RouteMetrics, Totals};
use super::{
    acme_metrics::AcmeMetrics, cache_metrics::CacheMetrics,
    certificate_metrics::CertificateMetrics, families::Labelled, limit_metrics::LimitMetrics,
    named::keep, per_thread::Counts, request_metrics::Requests, room_metrics::RoomMetrics,
    upstream_metrics::UpstreamMetrics, visitor_metrics::VisitorMetrics,
};
use crate::{cache::status::Outcome, snapshot::Snapshot, upstream::names::Names};

/// Every counter of the process.
pub struct Metrics {
    registry: Registry,
    requests: Requests,
    /// For requests that belong to no route.
    pub no_route: Arc<RouteMetrics>,
    outcomes: Vec<(&'static str, Arc<Counts>)>,
    /// Requests that were sent to a server once more.
    pub retries: IntCounterVec,
    /// Those of them that the budget paid for: a server may have had work with the first attempt.
    pub retries_charged: IntCounterVec,
    /// Retries that the budget refused.
    pub budget_exhausted: IntCounterVec,
    tunnels: IntGaugeVec,
    /// 1 up, 0 down or ejected.
    pub upstream_up: IntGaugeVec,
    /// 1 while a server takes nothing new.
    pub upstream_draining: IntGaugeVec,
    /// What became of servers, and why.
    pub upstream_changes: IntCounterVec,
    /// Connections to servers, and names of servers.
    pub upstreams: UpstreamMetrics,
    /// 1 while stored responses answer in the place of an upstream.
    pub shop_window: IntGaugeVec,
    /// Whether the last reload took effect.
    pub reload_successful: IntGauge,
    /// Upgrades by outcome: `success` in the process that took over, `failure` and `refused` in the one that stays.
    pub upgrades: IntCounterVec,
    /// When it did.
    pub reload_time: Gauge,
    /// Reloads by outcome.
    pub reloads: IntCounterVec,
    /// Configurations that were taken back, by who did.
    pub rollbacks: IntCounterVec,
    /// Certificates, ours and those of visitors.
    pub certificates: CertificateMetrics,
    /// Connections open now.
    pub connections: IntGauge,
    /// Connections accepted.
    pub accepted: IntCounter,
    /// Handshakes that failed or took too long.
    pub handshake_failures: IntCounter,
    /// Who was not let in, and who had to go.
    pub visitors: VisitorMetrics,
    /// The store.
    pub cache: CacheMetrics,
    /// Limits and address lists.
    pub limits: LimitMetrics,
    /// Waiting rooms.
    pub rooms: RoomMetrics,
    /// Certificates that are ordered.
    pub acme: AcmeMetrics,
    /// Clients that limits remember.
    pub tracked_clients: IntGaugeVec,
    /// Lines the access log could not take.
    pub log_dropped: IntGauge,
}

impl Metrics {
    /// All counters at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let requests = register(&registry, Requests::new());
        let cache = register(
            &registry,
            Labelled::new(
                "dhal_cache_requests_total",
                "Requests on cached routes by the store's part in the answer.",
                "outcome",
            ),
        );
        let outcomes = Outcome::LABELS
            .iter()
            .map(|label| (*label, cache.of(label)))
            .collect();
        let build = gauges(
            &registry,
            "build_info",
            "The running version.",
            &["version"],
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self {
            no_route: {
                let none = requests.route("");
                requests.tell([""].into_iter());
                none
            },
            outcomes,
            retries: counters(
                &registry,
                "upstream_retries_total",
                "Requests sent once more, to another server where there was one.",
                &["upstream"],
            ),
            retries_charged: counters(
                &registry,
                "upstream_retries_charged_total",
                "Retries that count against the budget: those after which a server may have had work with the request.",
                &["upstream"],
            ),
            budget_exhausted: counters(
                &registry,
                "upstream_retry_budget_exhausted_total",
                "Retries that were not made, because they would have been too many.",
                &["upstream"],
            ),
            tunnels: gauges(
                &registry,
                "tunnels_open",
                "Connections to servers that have changed their protocol, such as WebSocket.",
                &["upstream"],
            ),
            upstream_up: gauges(
                &registry,
                "upstream_up",
                "1 while a server is well, 0 while it is down or ejected.",
                &["upstream", "server"],
            ),
            upstream_draining: gauges(
                &registry,
                "upstream_draining",
                "1 while a server takes nothing new because operators want it so.",
                &["upstream", "server"],
            ),
            upstream_changes: counters(
                &registry,
                "upstream_changes_total",
                "Changes of servers: up, down, ejected, returned, draining, ready.",
                &["upstream", "server", "to", "reason"],
            ),
            upstreams: UpstreamMetrics::new(&registry),
            shop_window: gauges(
                &registry,
                "shop_window",
                "1 while no server can answer and stored responses do.",
                &["upstream"],
            ),
            upgrades: counters(
                &registry,
                "upgrades_total",
                "Upgrades by outcome; a success is counted by the process that took over.",
                &["outcome"],
            ),
            reload_successful: gauge(
                &registry,
                "config_last_reload_successful",
                "1 if the last (re)load took effect.",
            ),
            reload_time: register(
                &registry,
                Gauge::new(
                    "dhal_config_last_reload_success_timestamp_seconds",
                    "When a configuration last took effect.",
                ),
            ),
            reloads: counters(
                &registry,
                "config_reloads_total",
                "Reloads by outcome.",
                &["outcome"],
            ),
            rollbacks: counters(
                &registry,
                "config_rollbacks_total",
                "Configurations that were taken back: by an order, or because they did not pass their probation.",
                &["by"],
            ),
            certificates: CertificateMetrics::new(&registry),
            connections: gauge(&registry, "connections", "Connections open now."),
            accepted: counter(
                &registry,
                "connections_accepted_total",
                "Connections accepted.",
            ),
            handshake_failures: counter(
                &registry,
                "tls_handshake_failures_total",
                "TLS handshakes that failed or took too long.",
            ),
            visitors: VisitorMetrics::new(&registry),
            cache: CacheMetrics::new(&registry),
            limits: LimitMetrics::new(&registry),
            rooms: RoomMetrics::new(&registry),
            acme: AcmeMetrics::new(&registry),
            tracked_clients: gauges(
                &registry,
                "ratelimit_tracked_clients",
                "Clients a limit remembers.",
                &["limit"],
            ),
            log_dropped: gauge(
                &registry,
                "access_log_dropped_lines",
                "Lines the access log could not take in time.",
            ),
            requests,
            registry,
        }
    }

    /// The counters of a route, the same across reloads.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        self.requests.route(name)
    }

    /// Tells of what a configuration that takes effect names.
    pub fn adopt(&self, snapshot: &Snapshot) {
        let routes = snapshot.config.routes.iter();
        self.requests.tell(routes.map(|route| route.name.as_str()));
        self.limits.adopt(snapshot);
        self.upstreams.adopt(&snapshot.upstreams);
    }

    /// Forgets what neither the configuration in force names, nor one that is left and still answers somebody.
    pub fn forget(&self, names: &Names) {
        self.requests.forget_unheld();
        self.limits.forget();
        self.upstreams.forget(names, |upstreams| {
            for counters in [&self.retries, &self.retries_charged, &self.budget_exhausted] {
                keep(counters, |label| upstreams.has(&label("upstream")));
            }
            keep(&self.tunnels, |label| upstreams.has(&label("upstream")));
            keep(&self.upstream_changes, |label| {
                upstreams.has_server(&label("upstream"), &label("server"))
            });
        });
    }

    /// Requests of all routes so far.
    pub fn totals(&self) -> Totals {
        self.requests.totals()
    }

    /// Counts a tunnel until it is dropped.
    pub fn tunnel(&self, upstream: &str) -> Tunnel {
        let gauge = self.tunnels.with_label_values(&[upstream]);
        gauge.inc();
        Tunnel(gauge)
    }

    /// Counts the store's part in an answer.
    pub fn cache_outcome(&self, outcome: Outcome) {
        let label = outcome.label();
        if let Some((_, counter)) = self.outcomes.iter().find(|(l, _)| *l == label) {
            counter.inc();
        }
    }

    /// Counts a refusal by a limit.
    pub fn rate_limited(&self, rule: &str) {
        self.limits.refused(rule);
    }

    /// Requests answered from the store and all requests on cached routes.
    pub fn hits(&self) -> (u64, u64) {
        let sum = |wanted: fn(&str) -> bool| {
            self.outcomes
                .iter()
                .filter(|(l, _)| wanted(l))
                .map(|(_, c)| c.get())
                .sum()
        };
        (
            sum(|l| {
                matches!(
                    l,
                    "hit" | "stale" | "stale-error" | "shop-window" | "revalidated"
                )
            }),
            sum(|_| true),
        )
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 * 1024);
        if let Err(why) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(%why, "metrics cannot be rendered");
        }
        out
    }
}

/// A connection that has changed its protocol, as long as it is open.
pub struct Tunnel(IntGauge);

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[allow(
    clippy::expect_used,
    reason = "names and labels are constants of this file, and a test renders them"
)]
pub(super) fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> C {
    let made = made.expect("a valid metric");
    registry
        .register(Box::new(made.clone()))
        .expect("a metric of its own name");
    made
}

pub(super) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> IntCounterVec {
    register(
        registry,
        IntCounterVec::new(Opts::new(format!("dhal_{name}"), help), labels),
    )
}

pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(format!("dhal_{name}"), help))
}

pub(super) fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(
        registry,
        IntGaugeVec::new(Opts::new(format!("dhal_{name}"), help), labels),
    )
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(format!("dhal_{name}"), help))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;

    use super::*;

    #[test]
    fn what_is_counted_is_rendered() {
        let metrics = Metrics::new();
        let shop = metrics.route("shop");
        metrics.requests.tell(["shop"].into_iter());
        let invented = Method::from_bytes(b"INVENTED").expect("token");
        shop.count(&Method::GET, 200, Duration::from_millis(3));
        metrics.route("shop").count(&invented, 999, Duration::ZERO);
        metrics.cache_outcome(Outcome::Hit);
        let text = String::from_utf8(metrics.render()).expect("text");
        for line in [
            r#"dhal_http_requests_total{code="200",method="GET",route="shop"} 1"#,
            r#"dhal_cache_requests_total{outcome="hit"} 1"#,
            r#"dhal_cache_requests_total{outcome="miss"} 0"#,
            r#"dhal_http_request_duration_seconds_count{route="shop"} 2"#,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(!text.contains("INVENTED"));
        for outcome in Outcome::LABELS {
            assert!(text.contains(&format!("outcome=\"{outcome}\"")));
        }
    }
}
