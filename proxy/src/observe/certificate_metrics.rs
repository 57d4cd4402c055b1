//! Counters of certificates: ours, and those of visitors.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::metrics::{counters, gauge, gauges, register};

/// Certificates that have a series of their own: those that expire first.
const SHOWN_MAX: usize = 1_000;

/// Counters of certificates.
pub struct CertificateMetrics {
    expiry: GaugeVec,
    errors: IntGaugeVec,
    served: IntGauge,
    refused: IntCounterVec,
    /// What there is a series for: of ends, and of errors.
    told: Mutex<(HashMap<String, f64>, Vec<String>)>,
}

impl CertificateMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let metrics = Self {
            expiry: register(
                registry,
                GaugeVec::new(
                    Opts::new(
                        "dhal_certificate_expiry_timestamp_seconds",
                        "End of validity.",
                    ),
                    &["certificate"],
                ),
            ),
            errors: gauges(
                registry,
                "certificate_errors",
                "1 while what is in a file of certificates cannot be used.",
                &["path"],
            ),
            served: gauge(registry, "certificates", "Certificates that are served."),
            refused: counters(
                registry,
                "client_certificates_refused_total",
                "Handshakes refused for want of a certificate that is believed.",
                &["reason"],
            ),
            told: Mutex::default(),
        };
        // A rate needs a zero to begin with.
        for reason in ["none", "expired", "revoked", "unknown_issuer"] {
            metrics.refused.with_label_values(&[reason]);
        }
        metrics
    }

    /// The end of each certificate's validity; those that were ordered are told of beside those of files.
    pub(super) fn expiry(&self) -> &GaugeVec {
        &self.expiry
    }

    /// Counts a refusal of a visitor.
    pub fn refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    /// Tells how things stand: the end of each file's validity, and files that cannot be used. Series that stay are
    /// never without a value.
    pub fn set<'a>(
        &self,
        served: usize,
        ends: impl Iterator<Item = (&'a str, SystemTime)>,
        errors: impl Iterator<Item = &'a str>,
    ) {
        let seconds = |end: SystemTime| end.duration_since(UNIX_EPOCH).unwrap_or_default();
        let ends = ends.map(|(path, end)| (path, seconds(end).as_secs_f64()));
        let mut ends: Vec<(&str, f64)> = ends.collect();
        self.served.set(i64::try_from(served).unwrap_or(i64::MAX));
        ends.sort_by(|a, b| a.1.total_cmp(&b.1));
        ends.truncate(SHOWN_MAX);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (old_ends, old_errors) = &mut *told;
        let ends: HashMap<String, f64> = ends
            .into_iter()
            .map(|(path, end)| (path.to_owned(), end))
            .collect();
        for path in old_ends.keys().filter(|path| !ends.contains_key(*path)) {
            let _ = self.expiry.remove_label_values(&[path]);
        }
        for (path, end) in &ends {
            self.expiry.with_label_values(&[path]).set(*end);
        }
        *old_ends = ends;
        let errors: Vec<String> = errors.take(SHOWN_MAX).map(str::to_owned).collect();
        for path in old_errors.iter().filter(|path| !errors.contains(path)) {
            let _ = self.errors.remove_label_values(&[path]);
        }
        for path in &errors {
            self.errors.with_label_values(&[path]).set(1);
        }
        *old_errors = errors;
    }
}
