//! What the store counts besides outcomes.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::metrics::{counter, counters, gauge, gauges};
use crate::shared::Shared;

/// Counters of the store.
pub struct CacheMetrics {
    /// Fetches behind visitors' backs.
    pub refreshes: IntCounter,
    /// Purges by what they name.
    pub purges: IntCounterVec,
    /// Answers whose content came from the disk.
    pub disk_hits: IntCounter,
    responses: IntGaugeVec,
    bytes: IntGaugeVec,
    evictions: IntGaugeVec,
    /// Trouble with the disk; stays what it is set to where there is no disk tier.
    pub disk_errors: IntGauge,
    disk_damaged: IntGauge,
    purge_records: IntGauge,
    waiting: IntGauge,
    left: IntGauge,
}

impl CacheMetrics {
    /// All at zero.
    pub(super) fn new(registry: &Registry) -> Self {
        let metrics = Self {
            refreshes: counter(
                registry,
                "cache_refreshes_total",
                "Fetches that no visitor waited for: behind stale answers and before popular ones expire.",
            ),
            purges: counters(
                registry,
                "cache_purges_total",
                "Purges by what they named, and whether it went or became stale.",
                &["by", "mode"],
            ),
            disk_hits: counter(
                registry,
                "cache_disk_hits_total",
                "Answers whose content was read from the disk.",
            ),
            responses: gauges(
                registry,
                "cache_stored_responses",
                "Entries of a tier.",
                &["tier"],
            ),
            bytes: gauges(
                registry,
                "cache_stored_bytes",
                "Bytes of a tier.",
                &["tier"],
            ),
            evictions: gauges(
                registry,
                "cache_evictions",
                "Entries that had to leave a tier for others since the process began.",
                &["tier"],
            ),
            disk_errors: gauge(
                registry,
                "cache_disk_errors",
                "Reads and writes of the disk tier that failed since the process began.",
            ),
            disk_damaged: gauge(
                registry,
                "cache_disk_damaged",
                "Objects of the disk tier that were found damaged since the process began.",
            ),
            purge_records: gauge(
                registry,
                "cache_purge_records",
                "Purges that are remembered for what was stored before them.",
            ),
            waiting: gauge(
                registry,
                "cache_jobs_waiting",
                "Responses that wait to be compressed or written to disk.",
            ),
            left: gauge(
                registry,
                "cache_jobs_left",
                "Responses that were neither, because too many waited.",
            ),
        };
        for tier in ["memory", "disk"] {
            for vector in [&metrics.responses, &metrics.bytes, &metrics.evictions] {
                vector.with_label_values(&[tier]).set(0);
            }
        }
        for by in ["url", "prefix", "tag", "all"] {
            for mode in ["hard", "soft"] {
                metrics.purges.with_label_values(&[by, mode]).inc_by(0);
            }
        }
        metrics
    }

    /// Reads off what is counted elsewhere.
    pub fn refresh(&self, shared: &Shared) {
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let store = &shared.store;
        let (responses, bytes) = store.size();
        let set = |vector: &IntGaugeVec, tier: &str, n: u64| {
            vector.with_label_values(&[tier]).set(whole(n));
        };
        set(&self.responses, "memory", responses);
        set(&self.bytes, "memory", bytes);
        set(&self.evictions, "memory", store.evicted());
        self.purge_records.set(whole(store.purges.len() as u64));
        self.waiting.set(whole(shared.keeper().waiting()));
        self.left.set(whole(shared.keeper().left()));
        let Some(disk) = &shared.disk else { return };
        let stats = disk.stats();
        set(&self.responses, "disk", stats.objects);
        set(&self.bytes, "disk", stats.bytes);
        set(&self.evictions, "disk", stats.evicted);
        self.disk_errors.set(whole(disk.errors()));
        self.disk_damaged.set(whole(stats.damaged));
    }
}
