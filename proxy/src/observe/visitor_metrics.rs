//! Counters of visitors' connections: who was not let in, and who had to go.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::metrics::{counters, gauge};

/// Counters of visitors' connections.
pub struct VisitorMetrics {
    shed: IntCounterVec,
    refused: IntCounterVec,
    /// Connections that may be open at once.
    pub max: IntGauge,
}

impl VisitorMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let metrics = Self {
            shed: counters(
                registry,
                "connections_shed_total",
                "Connections and streams ended for being slow, or to make room for others.",
                &["why"],
            ),
            refused: counters(
                registry,
                "connections_refused_total",
                "Connections closed before anything was asked.",
                &["why"],
            ),
            max: gauge(
                registry,
                "connections_max",
                "Connections that may be open at once.",
            ),
        };
        // A rate needs a zero to begin with.
        for why in [
            "idle",
            "opening",
            "slow_handshake",
            "slow_head",
            "slow_body",
            "slow_read",
        ] {
            metrics.shed(why);
        }
        for why in ["per_client", "proxy_header", "proxy_untrusted"] {
            metrics.refused(why);
        }
        metrics
    }

    /// Those that had to go, by why.
    pub fn shed(&self, why: &str) -> IntCounter {
        self.shed.with_label_values(&[why])
    }

    /// Those that were not let in, by why.
    pub fn refused(&self, why: &str) -> IntCounter {
        self.refused.with_label_values(&[why])
    }

    /// What the log says of an answer that a visitor did not take: who is too slow is counted.
    pub fn lost(&self, why: &std::io::Error) -> &'static str {
        match why.kind() {
            std::io::ErrorKind::TimedOut => {
                self.shed("slow_read").inc();
                "slow_read"
            }
            _ => "client_gone",
        }
    }
}
