//! Path patterns as a tree of segments.
//!
//! A literal is tried before a parameter and that before a prefix, going back where a branch leads
//! nowhere, so `/a/:x/c` and `/a/*` live side by side. (matchit, else the choice for this, refuses a
//! parameter and a catch-all in one place.) A look-up takes time by the path's and the patterns'
//! depth, not by the number of patterns.

use std::collections::HashMap;

use crate::config::model::{PathPattern, Segment};

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
    /// Adds a pattern, in the place of an equal one.
    pub(super) fn insert(&mut self, pattern: &PathPattern, value: T) {
        match pattern {
            PathPattern::Exact(path) => {
                self.literally(split(path)).end = Some(value);
            }
            PathPattern::Prefix(prefix) => {
                let folder = prefix.strip_suffix('/').unwrap_or(prefix);
                let node = if folder.is_empty() {
                    self
                } else {
                    self.literally(split(folder))
                };
                node.rest = Some(value);
            }
            PathPattern::Segments(segments) => {
                let mut node = self;
                for segment in segments {
                    node = match segment {
                        Segment::Literal(text) => node.literal(text),
                        Segment::Param(_) => node.param.get_or_insert_with(Box::default),
                        Segment::Rest => {
                            node.rest = Some(value);
                            return;
                        }
                    };
                }
                node.end = Some(value);
            }
        }
    }

    fn literal(&mut self, segment: &str) -> &mut Self {
        self.literals.entry(segment.into()).or_default()
    }

    fn literally<'a>(&mut self, segments: impl Iterator<Item = &'a str>) -> &mut Self {
        segments.fold(self, |node, segment| node.literal(segment))
    }

    /// What stands behind the most specific pattern that fits a normalised path.
    pub(super) fn find(&self, path: &str) -> Option<&T> {
        self.below(path.strip_prefix('/')?)
    }

    fn below(&self, path: &str) -> Option<&T> {
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
                None => node.end.as_ref(),
            })
            .or(self.rest.as_ref())
    }
}

fn split(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}
