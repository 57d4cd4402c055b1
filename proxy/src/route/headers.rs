//! What a route changes of the fields that a shop gets.

use http::HeaderName;

use super::template::{Template, Values};

/// Changes of a request's fields. The default changes nothing.
#[derive(Debug, Clone, Default)]
pub struct RequestHeaders {
    /// Fields whose lines by the visitor do not go along.
    replaced: Box<[HeaderName]>,
    /// Lines that are added.
    added: Box<[(HeaderName, Template)]>,
}

impl RequestHeaders {
    /// `set` takes the place of a visitor's lines, `add` goes beside them, `remove` takes them away.
    pub fn new(
        set: Vec<(HeaderName, Template)>,
        add: Vec<(HeaderName, Template)>,
        remove: Vec<HeaderName>,
    ) -> Self {
        let names = set.iter().map(|(name, _)| name.clone());
        Self {
            replaced: names.chain(remove).collect(),
            added: set.into_iter().chain(add).collect(),
        }
    }

    /// Whether anything is changed.
    pub fn is_empty(&self) -> bool {
        self.replaced.is_empty() && self.added.is_empty()
    }

    /// Fields whose lines by the visitor stay behind.
    pub fn replaced(&self) -> &[HeaderName] {
        &self.replaced
    }

    /// Whether a visitor's line of this name stays behind.
    pub fn replaces(&self, name: &[u8]) -> bool {
        self.replaced
            .iter()
            .any(|other| other.as_str().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether a shop is told something by this field that is not the visitor's.
    pub fn has(&self, name: &HeaderName) -> bool {
        self.replaced.contains(name) || self.added.iter().any(|(own, _)| own == name)
    }

    /// Whether a field differs from visitor to visitor, or from request to request, of one URL, without being theirs.
    pub fn is_personal(&self, name: &HeaderName) -> bool {
        let mut own = self.added.iter().filter(|(own, _)| own == name);
        own.any(|(_, value)| value.is_personal())
    }

    /// Calls `put` with each line that is added. One that is empty, because of a placeholder, is left out.
    pub fn each(&self, values: &Values<'_>, mut put: impl FnMut(&HeaderName, &str)) {
        for (name, value) in &self.added {
            match value.text(values) {
                Ok(value) if !value.is_empty() => put(name, &value),
                // What is longer than all that a visitor may ask for says nothing to a shop.
                _ => {}
            }
        }
    }
}
