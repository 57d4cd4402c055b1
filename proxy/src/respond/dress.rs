//! What the configuration changes of the answers that visitors get: fields, and the pages of failures.
//!
//! Everything is put together once for a configuration. An answer of the store takes lines that lie ready, and its own
//! head is written anew only where a field of it has to go.

use std::{collections::BTreeMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

use super::Reply;
use crate::cache::head::{FOR_CACHES, HeadFields, put_field, value};

/// One change of the fields of answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The field.
    pub name: HeaderName,
    /// What becomes of it.
    pub kind: ChangeKind,
    /// Only where the answer is a success or a redirect, see [`is_success`].
    pub on_success: bool,
}

/// What becomes of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// It says this and nothing else.
    Set(Vec<HeaderValue>),
    /// It says this as well.
    Add(Vec<HeaderValue>),
    /// It goes.
    Remove,
}

/// Statuses of answers that are as they should be, those by which nginx's `add_header` goes, and 308.
pub fn is_success(status: u16) -> bool {
    matches!(
        status,
        200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308
    )
}

/// Changes of answers.
#[derive(Default)]
pub struct Dress {
    success: Lines,
    other: Lines,
    pages: Arc<Pages>,
}

/// Changes of the fields of an answer.
#[derive(Default)]
pub struct Lines {
    /// Fields that do not go along.
    removed: Vec<HeaderName>,
    added: Vec<(HeaderName, HeaderValue)>,
    /// The same as HTTP/1.1 writes it.
    http1: Bytes,
}

/// Pages in the place of ours, by status.
#[derive(Debug, Default)]
pub struct Pages(pub BTreeMap<u16, Bytes>);

impl Dress {
    /// Puts changes together, the later ones over the earlier ones.
    pub fn new<'a>(changes: impl Iterator<Item = &'a Change>, pages: &Arc<Pages>) -> Self {
        let (mut success, mut other) = (Lines::default(), Lines::default());
        for change in changes {
            success.change(change);
            if !change.on_success {
                other.change(change);
            }
        }
        Self {
            success: success.written(),
            other: other.written(),
            pages: Arc::clone(pages),
        }
    }

    /// What changes for an answer of this status, if anything.
    pub fn lines(&self, status: u16) -> Option<&Lines> {
        let lines = match is_success(status) {
            true => &self.success,
            false => &self.other,
        };
        (!lines.removed.is_empty() || !lines.added.is_empty()).then_some(lines)
    }
}

impl Lines {
    fn change(&mut self, change: &Change) {
        let name = &change.name;
        if !matches!(change.kind, ChangeKind::Add(_)) {
            self.added.retain(|(known, _)| known != name);
            if !self.removed.contains(name) {
                self.removed.push(name.clone());
            }
        }
        if let ChangeKind::Set(values) | ChangeKind::Add(values) = &change.kind {
            let lines = values.iter().map(|value| (name.clone(), value.clone()));
            self.added.extend(lines);
        }
    }

    fn written(mut self) -> Self {
        let mut out = BytesMut::new();
        for (name, value) in &self.added {
            put_field(&mut out, name.as_str(), value.as_bytes());
        }
        self.http1 = out.freeze();
        self
    }

    /// Whether a field of the answer does not go along. Names are in any spelling.
    pub fn removes(&self, name: &[u8]) -> bool {
        self.removed
            .iter()
            .any(|gone| gone.as_str().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether one of a stored head's fields does not go along.
    pub fn removes_any_of(&self, head: HeadFields<'_>) -> bool {
        !self.removed.is_empty() && head.lines().any(|(name, _)| self.removes(name))
    }

    /// Lines that are added.
    pub fn added(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.added
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
    }

    /// The same as HTTP/1.1 writes it.
    pub fn http1(&self) -> &[u8] {
        &self.http1
    }
}

impl Reply {
    /// The operator's page in the place of ours, where there is one for the status, and the changes of fields. It is for
    /// failures that were composed here, and not for those who asked for JSON.
    pub fn dress_failure(&mut self, dress: &Dress, wants_json: bool) {
        if let Some(page) = dress.pages.0.get(&self.status).filter(|_| !wants_json) {
            self.body = page.clone();
            self.fields.retain(|(name, _)| *name != CONTENT_TYPE);
            self.fields
                .push((CONTENT_TYPE, value("text/html; charset=utf-8")));
        }
        self.dress(dress);
    }

    /// The changes of fields. What we say must not be stored stays so: a failure would outlive its cause in browsers, and
    /// the place of one who waits would be everybody's.
    pub fn dress(&mut self, dress: &Dress) {
        let Some(lines) = dress.lines(self.status) else {
            return;
        };
        let keeps = self.fields.iter().any(|(name, _)| *name == CACHE_CONTROL);
        let changes = |name: &HeaderName| {
            let name = name.as_str();
            // Those of RFC 9213 end so as well.
            !keeps || !(name.ends_with("cache-control") || FOR_CACHES.contains(&name))
        };
        self.fields
            .retain(|(name, _)| !(changes(name) && lines.removed.contains(name)));
        let added = lines.added.iter().filter(|(name, _)| changes(name));
        self.fields.extend(added.cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &'static str, kind: ChangeKind, on_success: bool) -> Change {
        Change {
            name: HeaderName::from_static(name),
            kind,
            on_success,
        }
    }

    #[test]
    fn later_changes_go_over_earlier_ones() {
        let set = |text: &'static str| ChangeKind::Set(vec![HeaderValue::from_static(text)]);
        let add = |text: &'static str| ChangeKind::Add(vec![HeaderValue::from_static(text)]);
        let changes = [
            change("x-a", set("1"), false),
            change("x-b", add("1"), true),
            change("server", ChangeKind::Remove, false),
            change("x-c", set("1"), false),
            // Those of a route.
            change("x-a", set("2"), true),
            change("x-b", add("2"), true),
            change("x-c", ChangeKind::Remove, false),
            change("x-a", add("3"), false),
        ];
        let dress = Dress::new(changes.iter(), &Arc::default());
        let text = |status| {
            let lines = dress.lines(status).expect("changes");
            String::from_utf8_lossy(lines.http1()).into_owned()
        };
        assert_eq!(text(200), "x-b: 1\r\nx-a: 2\r\nx-b: 2\r\nx-a: 3\r\n");
        assert_eq!(text(404), "x-a: 1\r\nx-a: 3\r\n");
        let lines = dress.lines(503).expect("changes");
        for (name, wanted) in [
            ("Server", true),
            ("x-a", true),
            ("X-C", true),
            ("x-b", false),
        ] {
            assert_eq!(lines.removes(name.as_bytes()), wanted, "{name}");
        }
        let head = b"HTTP/1.1 200 OK\r\ndate: x\r\nserver: y\r\n";
        assert!(lines.removes_any_of(HeadFields(head)));
        assert!(!lines.removes_any_of(HeadFields(&head[..26])));
        assert!(Dress::default().lines(200).is_none());
    }
}
