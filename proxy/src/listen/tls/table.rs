//! Which certificate a name gets, and which names ask their visitors for one.

use std::{collections::HashMap, sync::Arc};

use super::pair::Pair;
use crate::acme::Issued;
use crate::config::model::ClientAuth;

/// A certificate in its place.
pub struct Entry {
    /// The chain's file, for logs and metrics.
    pub path: String,
    /// What is served.
    pub pair: Arc<Pair>,
    /// Which `[[certificates]]` it comes from.
    pub(super) source: usize,
    /// What is asked of those who come for its names.
    pub(super) client_auth: Option<Arc<ClientAuth>>,
}

/// Something by name: as it is, and for all names of one label more.
struct ByName<T> {
    exact: HashMap<Box<str>, T, ahash::RandomState>,
    /// Names below `*.`, without it.
    wildcard: HashMap<Box<str>, T, ahash::RandomState>,
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::default(),
            wildcard: HashMap::default(),
        }
    }
}

impl<T> ByName<T> {
    /// The place of `shop.example` or `*.shop.example`.
    fn place(&mut self, name: &str) -> (&mut HashMap<Box<str>, T, ahash::RandomState>, Box<str>) {
        match name.strip_prefix("*.") {
            Some(parent) => (&mut self.wildcard, parent.into()),
            None => (&mut self.exact, name.into()),
        }
    }

    fn below(&self, name: &str) -> Option<&T> {
        if self.wildcard.is_empty() {
            return None;
        }
        let (_, parent) = name.split_once('.')?;
        self.wildcard.get(parent)
    }

    fn each(&self) -> impl Iterator<Item = (String, &T)> {
        let exact = self.exact.iter().map(|(name, it)| (name.to_string(), it));
        let wildcard = self.wildcard.iter();
        exact.chain(wildcard.map(|(parent, it)| (format!("*.{parent}"), it)))
    }
}

/// Certificates by the name a client asks for.
#[derive(Default)]
pub struct Table {
    /// The first is the default.
    entries: Vec<Entry>,
    by_name: ByName<u32>,
    /// What is asked of visitors, by name; only where something is.
    guards: ByName<Arc<ClientAuth>>,
    /// And where a name has no certificate.
    default_guard: Option<Arc<ClientAuth>>,
    is_guarded: bool,
}

/// Lower case, without a dot at the end.
fn normal(name: &str) -> std::borrow::Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    match name.bytes().any(|b| b.is_ascii_uppercase()) {
        true => name.to_ascii_lowercase().into(),
        false => name.into(),
    }
}

impl Table {
    /// Orders certificates by their names. Who has once asked for client certificates goes on with it, whatever
    /// becomes of the files: `before` is the table that this one takes the place of.
    pub(super) fn new(entries: Vec<Entry>, before: Option<&Self>) -> Self {
        let mut table = Self {
            default_guard: entries.first().and_then(|entry| entry.client_auth.clone()),
            ..Self::default()
        };
        for (index, entry) in entries.iter().enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            for name in &entry.pair.facts.names {
                if let Some(auth) = &entry.client_auth {
                    let (guards, name) = table.guards.place(name);
                    guards.entry(name).or_insert_with(|| Arc::clone(auth));
                }
                let (places, name) = table.by_name.place(name);
                let first = places.entry(name).or_insert(index);
                // The first that claims a name keeps it; but of those in one folder the one that lasts longest has
                // it, which the one that it renews does not.
                let (old, new) = (entries.get(*first as usize), entry);
                if old.is_some_and(|old| {
                    old.source == new.source && old.pair.facts.not_after < new.pair.facts.not_after
                }) {
                    *first = index;
                }
            }
        }
        if let Some(before) = before {
            for (name, auth) in before.guards.each() {
                let (guards, name) = table.guards.place(&name);
                guards.entry(name).or_insert_with(|| Arc::clone(auth));
            }
            if before.default_guard.is_some() {
                table.default_guard.clone_from(&before.default_guard);
            }
        }
        table.is_guarded = table.default_guard.is_some()
            || !(table.guards.exact.is_empty() && table.guards.wildcard.is_empty());
        table.entries = entries;
        table
    }

    /// All certificates, in the order of the configuration.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// That of a name.
    pub fn named(&self, name: &str) -> Option<&Entry> {
        self.entries.get(self.find(&normal(name))?)
    }

    /// That of names that have none.
    pub fn fallback(&self) -> Option<&Entry> {
        self.entries.first()
    }

    /// Whether two names lead to the same certificate.
    pub fn same(&self, one: &str, other: &str, issued: &Issued) -> bool {
        // Those of files go first, and whom nobody knows gets the first of them.
        match (self.find(&normal(one)), self.find(&normal(other))) {
            (None, None) => issued.number(one) == issued.number(other),
            (Some(one), Some(other)) => one == other,
            (Some(0), None) => issued.number(other).is_none(),
            (None, Some(0)) => issued.number(one).is_none(),
            _ => false,
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        let found = self.by_name.exact.get(name);
        found
            .or_else(|| self.by_name.below(name))
            .map(|index| *index as usize)
    }

    /// Whether any name asks its visitors for a certificate.
    pub(super) fn is_guarded(&self) -> bool {
        self.is_guarded
    }

    /// What is asked of those who come for a name, beyond what their listener asks.
    pub(super) fn guard(&self, name: Option<&str>) -> Option<&Arc<ClientAuth>> {
        if !self.is_guarded {
            return None;
        }
        let Some(name) = name else {
            return self.default_guard.as_ref();
        };
        let name = &*normal(name);
        if let Some(auth) = self.guards.exact.get(name) {
            return Some(auth);
        }
        // A certificate for this very name says what holds for it.
        if self.by_name.exact.contains_key(name) {
            return None;
        }
        if let Some(auth) = self.guards.below(name) {
            return Some(auth);
        }
        match self.by_name.below(name) {
            Some(_) => None,
            None => self.default_guard.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests;
