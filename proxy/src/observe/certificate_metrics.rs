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

    /// The end of one that is ordered no more goes, unless it is now told as that of a file.
    pub(super) fn forget_ordered(&self, path: &str) {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.0.contains_key(path) {
            let _ = self.expiry.remove_label_values(&[path]);
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::core::Collector;

    use super::*;

    /// Somebody takes the folder of an authority's certificates for a folder of files.
    #[test]
    fn what_was_ordered_and_is_a_file_now_is_still_told() {
        let metrics = CertificateMetrics::new(&Registry::new());
        let end = UNIX_EPOCH + Duration::from_secs(9);
        let told = || metrics.expiry.collect()[0].get_metric().len();
        for path in ["shop.pem", "other.pem"] {
            metrics.expiry().with_label_values(&[path]).set(7.0);
        }
        metrics.set(1, [("shop.pem", end)].into_iter(), [].into_iter());
        metrics.forget_ordered("shop.pem");
        assert_eq!(told(), 2);
        metrics.forget_ordered("other.pem");
        assert_eq!(told(), 1);
    }
}
