//! Counters by a name of the configuration, which come and go with it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{Ordering, fence},
    },
};

use arc_swap::ArcSwap;
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};

/// Counters of one kind by name. Whoever counts holds a handle, so nothing is looked up for it. They are told from when
/// a configuration with the name is in force, for as long as anybody holds one; a name that comes back after that
/// begins at zero.
pub(super) struct Named<T>(Arc<Inner<T>>);

struct Inner<T> {
    /// Those that are told, for readers: nobody who counts or reads waits for a reload.
    told: ArcSwap<HashMap<String, Arc<T>>>,
    /// All of them. A reload asks for as many names as it has; what is told is written once, after that.
    all: Mutex<HashMap<String, Entry<T>>>,
}

struct Entry<T> {
    counts: Arc<T>,
    is_told: bool,
}

impl<T> Entry<T> {
    /// Whether anybody else has a handle. They are given out under the lock, so nobody comes to have the first.
    fn is_held(&self) -> bool {
        let is_held = Arc::strong_count(&self.counts) > 1 + usize::from(self.is_told);
        // What was counted by whoever gave the last one up is seen from here on.
        fence(Ordering::Acquire);
        is_held
    }
}

impl<T> Clone for Named<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Arc::new(Inner {
            told: ArcSwap::default(),
            all: Mutex::default(),
        }))
    }
}

impl<T: Default> Named<T> {
    /// A handle on the counters of a name, the same for as long as anybody has one.
    pub(super) fn of(&self, name: &str) -> Arc<T> {
        let mut all = self.lock();
        if let Some(known) = all.get(name) {
            return Arc::clone(&known.counts);
        }
        let counts = Arc::<T>::default();
        let entry = Entry {
            counts: Arc::clone(&counts),
            is_told: false,
        };
        all.insert(name.to_owned(), entry);
        counts
    }
}

impl<T> Named<T> {
    /// Tells of these names from now on.
    pub(super) fn tell<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let mut all = self.lock();
        for name in names {
            if let Some(entry) = all.get_mut(name) {
                entry.is_told = true;
            }
        }
        self.publish(&all);
    }

    /// Forgets names of which nobody has a handle; `last` sees what was counted there.
    pub(super) fn forget_unheld(&self, mut last: impl FnMut(&T)) {
        let mut all = self.lock();
        let gone: Vec<_> = all.extract_if(|_, entry| !entry.is_held()).collect();
        gone.iter().for_each(|(_, entry)| last(&entry.counts));
        if gone.iter().any(|(_, entry)| entry.is_told) {
            self.publish(&all);
        }
    }

    /// Calls `see` with each name that is told.
    pub(super) fn for_each(&self, mut see: impl FnMut(&str, &T)) {
        for (name, counts) in &**self.0.told.load() {
            see(name, counts);
        }
    }

    /// Sees the counters of a name that is told.
    pub(super) fn with(&self, name: &str, see: impl FnOnce(&T)) {
        if let Some(counts) = self.0.told.load().get(name) {
            see(counts);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry<T>>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, all: &HashMap<String, Entry<T>>) {
        let told = all.iter().filter(|(_, entry)| entry.is_told);
        let told = told.map(|(name, entry)| (name.clone(), Arc::clone(&entry.counts)));
        self.0.told.store(Arc::new(told.collect()));
    }
}

/// Removes the series of a family whose labels are of no use any more. `is_of_use` is asked with the value of a label.
pub(super) fn keep<T: MetricVecBuilder>(
    family: &MetricVec<T>,
    is_of_use: impl Fn(&dyn Fn(&str) -> String) -> bool,
) {
    for told in family.collect() {
        for metric in told.get_metric() {
            let labels = metric.get_label();
            let value = |name: &str| {
                let label = labels.iter().find(|label| label.name() == name);
                label.map_or_else(String::new, |label| label.value().to_owned())
            };
            if !is_of_use(&value) {
                let labels = labels.iter().map(|label| (label.name(), label.value()));
                let labels: HashMap<_, _> = labels.collect();
                // Nobody else removes any.
                let _ = family.remove(&labels);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{IntCounterVec, Opts};

    use super::*;
    use crate::observe::per_thread::Counts;

    fn told(named: &Named<Counts>) -> Vec<(String, u64)> {
        let mut told = Vec::new();
        named.for_each(|name, counts| told.push((name.to_owned(), counts.get())));
        told.sort();
        told
    }

    #[test]
    fn names_come_and_go() {
        let named = Named::<Counts>::default();
        let shop = named.of("shop");
        let refused = named.of("refused");
        assert!(told(&named).is_empty(), "nothing is in force");
        named.tell(["shop", "unknown"].into_iter());
        shop.inc();
        // The next configuration has it too.
        let next = named.of("shop");
        next.inc();
        drop(shop);
        drop(refused);
        let mut gone = Vec::new();
        named.forget_unheld(|counts| gone.push(counts.get()));
        assert_eq!(told(&named), [("shop".to_owned(), 2)]);
        assert_eq!(gone, [0], "what was refused");
        drop(next);
        named.forget_unheld(|counts| gone.push(counts.get()));
        assert!(told(&named).is_empty());
        assert_eq!(gone, [0, 2]);
        let back = named.of("shop");
        named.tell(["shop"].into_iter());
        back.inc();
        assert_eq!(told(&named), [("shop".to_owned(), 1)], "from zero");
    }

    /// A reload that asks for n new names would otherwise take the time of n² of them.
    #[test]
    fn what_is_told_is_written_once_for_any_number_of_names() {
        let named = Named::<Counts>::default();
        let first = named.0.told.load_full();
        let names: Vec<_> = (0..20_000).map(|n| n.to_string()).collect();
        let handles: Vec<_> = names.iter().map(|name| named.of(name)).collect();
        assert!(Arc::ptr_eq(&first, &named.0.told.load_full()), "not yet");
        named.tell(names.iter().map(String::as_str));
        let all = named.0.told.load_full();
        assert_eq!(all.len(), names.len());
        named.forget_unheld(|_| {});
        assert!(Arc::ptr_eq(&all, &named.0.told.load_full()), "none is gone");
        drop((all, handles));
        named.forget_unheld(|_| {});
        assert!(named.0.told.load().is_empty());
    }

    #[test]
    fn series_of_use_stay() {
        let opts = Opts::new("changes", "Changes.");
        let family = IntCounterVec::new(opts, &["upstream", "server"]).expect("made");
        for labels in [["a", "1"], ["a", "2"], ["b", "1"]] {
            family.with_label_values(&labels).inc();
        }
        keep(&family, |value| {
            value("upstream") == "a" && value("server") == "2"
        });
        let left = family.collect();
        assert_eq!(left[0].get_metric().len(), 1);
        assert_eq!(family.with_label_values(&["a", "2"]).get(), 1);
    }
}
