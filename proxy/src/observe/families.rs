//! Sums of what threads counted, in the form that Prometheus' registry collects.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use prometheus::{
    core::{Collector, Desc},
    proto::{Counter, LabelPair, Metric, MetricFamily, MetricType},
};

use super::per_thread::Counts;

/// The description of a family with these labels.
pub(super) fn described(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Desc> {
    let labels = labels.iter().map(|&label| label.to_owned()).collect();
    Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())
}

/// Labels; they are to stand in the order of their names.
pub(super) fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Vec<LabelPair> {
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    pairs.map(pair).to_vec()
}

/// A counter at its value.
pub(super) fn counter(labels: Vec<LabelPair>, value: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

/// A family of metrics.
pub(super) fn family(desc: &Desc, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(desc.fq_name.clone());
    family.set_help(desc.help.clone());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// Counters that one label tells apart, each with a part for each thread.
#[derive(Clone)]
pub(super) struct Labelled {
    desc: Desc,
    label: &'static str,
    /// Read by every request that counts, written when a value occurs for the first time.
    counts: Arc<ArcSwap<HashMap<String, Arc<Counts>>>>,
}

impl Labelled {
    /// Without any value of the label.
    pub(super) fn new(name: &str, help: &str, label: &'static str) -> prometheus::Result<Self> {
        Ok(Self {
            desc: described(name, help, &[label])?,
            label,
            counts: Arc::default(),
        })
    }

    /// The counter of a value, the same whenever it is asked for.
    pub(super) fn of(&self, value: &str) -> Arc<Counts> {
        loop {
            if let Some(known) = self.counts.load().get(value) {
                return Arc::clone(known);
            }
            let new = Arc::new(Counts::default());
            self.counts.rcu(|counts| {
                let mut counts = HashMap::clone(counts);
                let new = || Arc::clone(&new);
                counts.entry(value.to_owned()).or_insert_with(new);
                counts
            });
        }
    }
}

impl Collector for Labelled {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let counts = self.counts.load();
        let metrics = counts
            .iter()
            .map(|(value, count)| counter(labels([(self.label, value)]), count.get()));
        vec![family(&self.desc, MetricType::COUNTER, metrics.collect())]
    }
}
