//! What is counted of every request: by route, method and code, and how long it took.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use http::Method;
use prometheus::{
    core::{Collector, Desc},
    proto::{Bucket, Histogram, Metric, MetricFamily, MetricType},
};

use super::{
    families::{counter, described, family, labels},
    named::Named,
    per_thread::{Count, PerThread, Place},
};

/// Methods with a label of their own; all others share `other`, so that nobody can invent labels.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];

/// Seconds: from a hit in memory to a page that nobody waits for.
const BUCKETS: [f64; 14] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// The same in nanoseconds.
const BOUNDS: [u64; BUCKETS.len()] = [
    100_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
];

/// Statuses are counted from here to below `FIRST_STATUS + STATUSES`.
const FIRST_STATUS: u16 = 100;
const STATUSES: usize = 500;

/// Counts of one hundred of statuses.
type Hundred = [Count; 100];

/// The counters of a route.
#[derive(Default)]
pub struct RouteMetrics {
    parts: PerThread<RoutePart>,
}

/// What one thread has counted of a route.
struct RoutePart {
    /// By `BOUNDS`; the last has no bound.
    buckets: [Count; BOUNDS.len() + 1],
    nanoseconds: Count,
    /// By method and hundred of statuses; filled in as they occur.
    codes: [[OnceLock<Box<Hundred>>; STATUSES / 100]; METHODS.len()],
}

impl Default for RoutePart {
    fn default() -> Self {
        Self {
            buckets: Default::default(),
            nanoseconds: Count::default(),
            codes: [const { [const { OnceLock::new() }; STATUSES / 100] }; METHODS.len()],
        }
    }
}

fn hundred() -> Box<Hundred> {
    Box::new(std::array::from_fn(|_| Count::default()))
}

/// Where a method stands among `METHODS`.
fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        _ => METHODS.len() - 1,
    }
}

impl RouteMetrics {
    /// Counts a finished request.
    pub fn count(&self, method: &Method, status: u16, duration: Duration) {
        let place = Place::mine();
        let part = self.parts.at(place);
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| nanoseconds <= *bound);
        part.buckets[bucket.unwrap_or(BOUNDS.len())].add(1, place);
        part.nanoseconds.add(nanoseconds, place);
        let code = usize::from(status.wrapping_sub(FIRST_STATUS));
        if let Some(codes) = part.codes[method_index(method)].get(code / 100) {
            codes.get_or_init(hundred)[code % 100].add(1, place);
        }
    }

    /// Calls `tell` with each method and status that occurred, and how often.
    fn for_each_code(&self, mut tell: impl FnMut(&'static str, u16, u64)) {
        for (index, method) in METHODS.iter().enumerate() {
            for at in 0..STATUSES / 100 {
                let parts = self.parts.all();
                let hundreds: Vec<_> = parts.filter_map(|p| p.codes[index][at].get()).collect();
                for code in 0..100 {
                    let sum: u64 = hundreds.iter().map(|counts| counts[code].get()).sum();
                    if sum > 0 {
                        let status = FIRST_STATUS + (at * 100 + code) as u16;
                        tell(method, status, sum);
                    }
                }
            }
        }
    }

    fn histogram(&self) -> Histogram {
        let mut counted = 0;
        let buckets = (0..=BOUNDS.len()).map(|i| {
            counted += self.parts.all().map(|p| p.buckets[i].get()).sum::<u64>();
            counted
        });
        let cumulative: Vec<u64> = buckets.collect();
        let mut histogram = Histogram::default();
        let bounded = BUCKETS.iter().zip(&cumulative).map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(*count);
            bucket
        });
        histogram.set_bucket(bounded.collect());
        histogram.set_sample_count(counted);
        let parts = self.parts.all();
        let seconds = parts.map(|p| Duration::from_nanos(p.nanoseconds.get()).as_secs_f64());
        histogram.set_sample_sum(seconds.sum());
        histogram
    }
}

/// The counters of all routes, told to Prometheus as two families.
#[derive(Clone)]
pub(super) struct Requests {
    routes: Named<RouteMetrics>,
    /// What was counted of routes that are forgotten.
    gone: Arc<Mutex<Totals>>,
    counters: Desc,
    histograms: Desc,
}

impl Requests {
    /// Without any route.
    pub(super) fn new() -> prometheus::Result<Self> {
        Ok(Self {
            routes: Named::default(),
            gone: Arc::default(),
            counters: described(
                "dhal_http_requests_total",
                "Requests answered.",
                &["route", "method", "code"],
            )?,
            histograms: described(
                "dhal_http_request_duration_seconds",
                "From the request's head to the last byte of its answer.",
                &["route"],
            )?,
        })
    }

    /// The counters of a route.
    pub(super) fn route(&self, name: &str) -> Arc<RouteMetrics> {
        self.routes.of(name)
    }

    /// Tells of these routes from now on.
    pub(super) fn tell<'a>(&self, names: impl Iterator<Item = &'a str>) {
        self.routes.tell(names);
    }

    /// Forgets routes that nobody has a use for. What they counted stays in the sum over all.
    pub(super) fn forget_unheld(&self) {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        self.routes.forget_unheld(|route| gone.add(route));
    }
}

/// What has been counted over all routes, or between two times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests by how long their answers took; the last took longer than ten seconds.
    pub by_time: [u64; BUCKETS.len() + 1],
    /// Those that were answered with 5xx.
    pub errors: u64,
}

impl Totals {
    /// The upper ends of the times, in seconds; the last has none.
    pub const BOUNDS: [f64; BUCKETS.len()] = BUCKETS;

    /// Requests.
    pub fn requests(&self) -> u64 {
        self.by_time.iter().sum()
    }

    fn add(&mut self, route: &RouteMetrics) {
        for part in route.parts.all() {
            for (sum, bucket) in self.by_time.iter_mut().zip(&part.buckets) {
                *sum += bucket.get();
            }
            let errors = part.codes.iter().filter_map(|by_code| by_code[4].get());
            let errors = errors.flat_map(|codes| codes.iter()).map(Count::get);
            self.errors += errors.sum::<u64>();
        }
    }

    /// What has been counted since.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            by_time: std::array::from_fn(|i| self.by_time[i].saturating_sub(before.by_time[i])),
            errors: self.errors.saturating_sub(before.errors),
        }
    }
}

impl Requests {
    /// The sum over all routes.
    pub(super) fn totals(&self) -> Totals {
        // Held, so that no route is forgotten meanwhile.
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = *gone;
        self.routes.for_each(|_, route| totals.add(route));
        totals
    }
}

impl Collector for Requests {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.counters, &self.histograms]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (mut counters, mut histograms) = (Vec::new(), Vec::new());
        self.routes.for_each(|name, route| {
            route.for_each_code(|method, status, count| {
                let code = status.to_string();
                let labels = labels([("code", &code), ("method", method), ("route", name)]);
                counters.push(counter(labels, count));
            });
            let mut metric = Metric::from_label(labels([("route", name)]));
            metric.set_histogram(route.histogram());
            histograms.push(metric);
        });
        vec![
            family(&self.counters, MetricType::COUNTER, counters),
            family(&self.histograms, MetricType::HISTOGRAM, histograms),
        ]
    }
}

#[cfg(test)]
mod tests;
