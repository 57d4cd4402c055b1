//! Counters in Prometheus' form. Doors hold handles; nothing is looked up by label on a request.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use http::Method;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

use super::cache_metrics::CacheMetrics;
use crate::cache::status::Outcome;

/// Methods with a label of their own; all others share `other`, so that nobody can invent labels.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];

/// From a hit in memory to a page that nobody waits for.
const BUCKETS: [f64; 14] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Every counter of the process.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    routes: Mutex<HashMap<String, Arc<RouteMetrics>>>,
    /// For requests that belong to no route.
    pub no_route: Arc<RouteMetrics>,
    outcomes: Vec<(&'static str, IntCounter)>,
    rate_limited: IntCounterVec,
    /// Requests that were sent to a server once more.
    pub retries: IntCounterVec,
    /// 1 up, 0 down or ejected.
    pub upstream_up: IntGaugeVec,
    /// Whether the last reload took effect.
    pub reload_successful: IntGauge,
    /// When it did.
    pub reload_time: Gauge,
    /// Reloads by outcome.
    pub reloads: IntCounterVec,
    /// End of validity of each certificate.
    pub certificate_expiry: GaugeVec,
    /// Connections open now.
    pub connections: IntGauge,
    /// Connections accepted.
    pub accepted: IntCounter,
    /// Handshakes that failed or took too long.
    pub handshake_failures: IntCounter,
    /// The store.
    pub cache: CacheMetrics,
    /// Clients that limits remember.
    pub tracked_clients: IntGaugeVec,
    /// Lines the access log could not take.
    pub log_dropped: IntGauge,
}

/// The counters of a route.
pub struct RouteMetrics {
    name: String,
    requests: IntCounterVec,
    /// By method, then by status from 100 on; filled in as they occur.
    handles: [OnceLock<Box<[OnceLock<IntCounter>; 500]>>; METHODS.len()],
    duration: Histogram,
}

impl RouteMetrics {
    fn new(name: &str, requests: &IntCounterVec, durations: &HistogramVec) -> Self {
        Self {
            name: name.to_owned(),
            requests: requests.clone(),
            handles: Default::default(),
            duration: durations.with_label_values(&[name]),
        }
    }

    /// Counts a finished request.
    pub fn count(&self, method: &Method, status: u16, duration: Duration) {
        let method = METHODS
            .iter()
            .position(|m| *m == method.as_str())
            .unwrap_or(METHODS.len() - 1);
        let by_status =
            self.handles[method].get_or_init(|| Box::new([const { OnceLock::new() }; 500]));
        if let Some(handle) = by_status.get(usize::from(status).wrapping_sub(100)) {
            let counter = || {
                self.requests
                    .with_label_values(&[&self.name, METHODS[method], &status.to_string()])
            };
            handle.get_or_init(counter).inc();
        }
        self.duration.observe(duration.as_secs_f64());
    }
}

impl Metrics {
    /// All counters at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let requests = counters(
            &registry,
            "http_requests_total",
            "Requests answered.",
            &["route", "method", "code"],
        );
        let opts = HistogramOpts::new(
            "dhal_http_request_duration_seconds",
            "From the request's head to the last byte of its answer.",
        )
        .buckets(BUCKETS.to_vec());
        let durations = register(&registry, HistogramVec::new(opts, &["route"]));
        let cache = counters(
            &registry,
            "cache_requests_total",
            "Requests on cached routes by the store's part in the answer.",
            &["outcome"],
        );
        let outcomes = Outcome::LABELS
            .iter()
            .map(|l| (*l, cache.with_label_values(&[*l])))
            .collect();
        let build = gauges(
            &registry,
            "build_info",
            "The running version.",
            &["version"],
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self {
            no_route: Arc::new(RouteMetrics::new("", &requests, &durations)),
            routes: Mutex::default(),
            outcomes,
            rate_limited: counters(
                &registry,
                "ratelimit_rejected_total",
                "Requests refused by a limit.",
                &["limit"],
            ),
            retries: counters(
                &registry,
                "upstream_retries_total",
                "Requests sent once more, to another server where there was one.",
                &["upstream"],
            ),
            upstream_up: gauges(
                &registry,
                "upstream_up",
                "1 while a server is asked, 0 while it is down or ejected.",
                &["upstream", "server"],
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
            certificate_expiry: register(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "dhal_certificate_expiry_timestamp_seconds",
                        "End of validity.",
                    ),
                    &["certificate"],
                ),
            ),
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
            cache: CacheMetrics::new(&registry),
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
            durations,
            registry,
        }
    }

    /// The counters of a route, the same across reloads.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(RouteMetrics::new(name, &self.requests, &self.durations));
        Arc::clone(routes.entry(name.to_owned()).or_insert_with(new))
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
        self.rate_limited.with_label_values(&[rule]).inc();
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
            sum(|l| matches!(l, "hit" | "stale" | "stale-error" | "revalidated")),
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

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[allow(
    clippy::expect_used,
    reason = "names and labels are constants of this file, and a test renders them"
)]
fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
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
    use super::*;

    #[test]
    fn what_is_counted_is_rendered() {
        let metrics = Metrics::new();
        let invented = Method::from_bytes(b"INVENTED").expect("token");
        metrics
            .route("shop")
            .count(&Method::GET, 200, Duration::from_millis(3));
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
