//! Path patterns as a tree of segments.
//!
//! A literal is tried before a parameter and that before a prefix, going back where a branch leads
//! nowhere, so `/a/:x/c` and `/a/*` live side by side. (matchit, else the choice for this, refuses a
//! parameter and a catch-all in one place.) A look-up takes time by the path's and the patterns'
//! depth, not by the number of patterns.

use std::collections::HashMap;

use crate::config::model::Segment;

/// What stands behind each pattern.
pub(super) struct Paths<T> {
    /// Paths that go on with this segment.
    literals: HashMap<Box<str>, Self, ahash::RandomState>,
    /// Paths that go on with any segment but an empty one.
    param: Option<Box<Self>>,
    /// The path ends here.
    end: Option<T>,
    /// The path goes on in whatever way.
    rest: Option<T>,
}

impl<T> Default for Paths<T> {
    fn default() -> Self {
        Self {
            literals: HashMap::default(),
            param: None,
            end: None,
            rest: None,
        }
    }
}

impl<T> Paths<T> {
    /// What stands behind a path.
    pub(super) fn exact(&mut self, path: &str) -> &mut Option<T> {
        &mut self.literally(split(path)).end
    }

    /// What stands behind all paths that begin so.
    pub(super) fn prefix(&mut self, prefix: &str) -> &mut Option<T> {
        let folder = prefix.strip_suffix('/').unwrap_or(prefix);
        let node = if folder.is_empty() {
            self
        } else {
            self.literally(split(folder))
        };
        &mut node.rest
    }

    /// What stands behind a path with parameters.
    pub(super) fn segments(&mut self, segments: &[Segment]) -> &mut Option<T> {
        let mut node = self;
        for segment in segments {
            node = match segment {
                Segment::Literal(text) => node.literal(text),
                Segment::Param(_) => node.param.get_or_insert_with(Box::default),
                Segment::Rest => return &mut node.rest,
            };
        }
        &mut node.end
    }

    fn literal(&mut self, segment: &str) -> &mut Self {
        self.literals.entry(segment.into()).or_default()
    }

    fn literally<'a>(&mut self, segments: impl Iterator<Item = &'a str>) -> &mut Self {
        segments.fold(self, |node, segment| node.literal(segment))
    }

    /// What stands behind the most specific pattern that fits a normalised path.
    pub(super) fn find(&self, path: &str) -> Option<Found<'_, T>> {
        self.below(path.strip_prefix('/')?)
    }

    fn below(&self, path: &str) -> Option<Found<'_, T>> {
        let (segment, behind) = match path.split_once('/') {
            Some((segment, behind)) => (segment, Some(behind)),
            None => (path, None),
        };
        let literal = self.literals.get(segment);
        let param = self.param.as_deref().filter(|_| !segment.is_empty());
        [literal, param]
            .into_iter()
            .flatten()
            .find_map(|node| match behind {
                Some(behind) => node.below(behind),
                None => node.end.as_ref().map(Found::Whole),
            })
            .or_else(|| self.rest.as_ref().map(Found::Prefix))
    }
}

/// What fits a path.
#[derive(Clone, Copy)]
pub(super) enum Found<'a, T> {
    /// All of it.
    Whole(&'a T),
    /// How it begins.
    Prefix(&'a T),
}

fn split(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}
