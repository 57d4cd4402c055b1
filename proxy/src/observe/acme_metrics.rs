//! What is counted of certificates that are ordered.

use std::sync::{Mutex, PoisonError};

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{
    certificate_metrics::CertificateMetrics,
    metrics::{counters, gauges, register},
};
use crate::acme::Issued;

/// Orders by outcome, and how certificates stand.
pub struct AcmeMetrics {
    orders: IntCounterVec,
    renewal: GaugeVec,
    failures: IntGaugeVec,
    /// Certificates whose end is told.
    told: Mutex<Vec<String>>,
}

/// How an order may end.
const OUTCOMES: [&str; 6] = [
    "issued",
    "challenge_failed",
    "rate_limited",
    "unavailable",
    "refused",
    "storage",
];

impl AcmeMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let orders = counters(
            registry,
            "acme_orders_total",
            "Certificates ordered, by what came of it.",
            &["outcome"],
        );
        for outcome in OUTCOMES {
            orders.with_label_values(&[outcome]);
        }
        Self {
            orders,
            renewal: register(
                registry,
                GaugeVec::new(
                    Opts::new(
                        "dhal_acme_next_renewal_timestamp_seconds",
                        "When a certificate is renewed.",
                    ),
                    &["certificate"],
                ),
            ),
            failures: gauges(
                registry,
                "acme_failures",
                "Orders of a certificate that have failed in a row.",
                &["certificate"],
            ),
            told: Mutex::default(),
        }
    }

    /// Counts an order.
    pub fn order(&self, outcome: &str) {
        self.orders.with_label_values(&[outcome]).inc();
    }

    /// Reads certificates off; the ends of their validity are told with those of files.
    pub fn refresh(&self, issued: &Issued, certificates: &CertificateMetrics) {
        let expiry = certificates.expiry();
        self.renewal.reset();
        self.failures.reset();
        let status = issued.status();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for path in &*told {
            if !status.iter().any(|certificate| certificate.path == *path) {
                certificates.forget_ordered(path);
            }
        }
        *told = status.iter().map(|known| known.path.clone()).collect();
        for certificate in status {
            let labels = [certificate.path.as_str()];
            if let Some(end) = certificate.not_after {
                expiry.with_label_values(&labels).set(end as f64);
            }
            if let Some(renewal) = certificate.renewal {
                self.renewal.with_label_values(&labels).set(renewal as f64);
            }
            let failures = self.failures.with_label_values(&labels);
            failures.set(certificate.failures.into());
        }
    }
}
