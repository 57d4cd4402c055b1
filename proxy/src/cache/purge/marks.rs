//! What a purge names, and what is remembered of it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// What purges a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The last purge step when its request was sent.
    pub seq: u64,
    /// Its URI, whatever else its key has.
    pub uri: u64,
    /// The tags that the shop gave it.
    pub tags: Box<[u64]>,
}

/// The number of a tag, the same in every process. Whoever finds two tags with one number gets a page
/// purged too often.
pub fn tag_number(tag: &[u8]) -> u64 {
    number(b"tag", tag)
}

/// The number of a URI: scheme, authority, path and keyed query, as a cache key has them.
pub fn uri_number(uri_key: &[u8]) -> u64 {
    number(b"uri", uri_key)
}

fn number(kind: &[u8; 3], bytes: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(kind);
    hasher.update(bytes);
    let mut number = [0; 8];
    hasher.finalize_xof().fill(&mut number);
    u64::from_le_bytes(number)
}

/// What a purge is about.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Order {
    /// Numbers of tags and URIs.
    #[serde(default, rename = "n", skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<u64>,
    /// Targets that begin like this.
    #[serde(default, rename = "p", skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<Prefix>,
    /// Everything.
    #[serde(default, rename = "a", skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Stale from now on, rather than gone.
    #[serde(default, rename = "s", skip_serializing_if = "std::ops::Not::not")]
    pub soft: bool,
}

/// The targets of one origin that begin with some bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// `http` or `https`.
    pub scheme: String,
    /// Normalised.
    pub authority: String,
    /// How `path[?query]` begins.
    pub target: String,
}

impl Prefix {
    fn covers(&self, key: &[u8]) -> bool {
        let Some(uri) = http_caching::key::split(key) else {
            return false;
        };
        if uri.scheme != self.scheme.as_bytes() || uri.authority != self.authority.as_bytes() {
            return false;
        }
        match (self.target.split_once('?'), uri.query) {
            (None, _) => uri.path.starts_with(self.target.as_bytes()),
            (Some((path, begin)), Some(query)) => {
                uri.path == path.as_bytes() && query.starts_with(begin.as_bytes())
            }
            (Some(_), None) => false,
        }
    }
}

/// The last purges of one thing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    /// Step of the last one after which nothing older answers.
    pub(super) hard: u64,
    /// Step of the last soft one.
    pub(super) soft: u64,
    /// When it was, in milliseconds since 1970.
    pub(super) soft_at: u64,
}

impl Mark {
    pub(super) fn set(&mut self, seq: u64, at: u64, soft: bool) {
        // Records come in any order where two processes write them.
        if !soft {
            self.hard = self.hard.max(seq);
        } else if seq > self.soft {
            (self.soft, self.soft_at) = (seq, at);
        }
    }
}

#[derive(Default)]
pub(super) struct Marks {
    pub(super) all: Mark,
    pub(super) numbers: HashMap<u64, Mark, ahash::RandomState>,
    pub(super) prefixes: Vec<(Prefix, Mark)>,
    /// The step up to which records are forgotten.
    pub(super) forgotten: u64,
}

/// How a stored response stands with the purges there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// None concerns it.
    Untouched,
    /// Stale since this moment, in milliseconds since 1970.
    Soft(u64),
    /// Gone.
    Purged,
}

impl Mark {
    pub(super) fn is_after(&self, step: u64) -> bool {
        self.hard > step || self.soft > step
    }

    /// Step, moment and softness of each purge it stands for.
    pub(super) fn steps(self) -> impl Iterator<Item = (u64, u64, bool)> {
        let steps = [(self.hard, 0, false), (self.soft, self.soft_at, true)];
        steps.into_iter().filter(|(step, ..)| *step > 0)
    }
}

impl Marks {
    pub(super) fn standing(&self, stamp: &Stamp, key: &[u8]) -> Standing {
        let numbers = std::iter::once(&stamp.uri).chain(&stamp.tags);
        let marked = numbers.filter_map(|number| self.numbers.get(number));
        let prefixes = self.prefixes.iter().filter(|(p, _)| p.covers(key));
        let mut soft = None;
        for mark in marked
            .chain(prefixes.map(|(_, mark)| mark))
            .chain(std::iter::once(&self.all))
        {
            if mark.hard > stamp.seq {
                return Standing::Purged;
            }
            if mark.soft > stamp.seq {
                soft = Some(soft.map_or(mark.soft_at, |at: u64| at.min(mark.soft_at)));
            }
        }
        soft.map_or(Standing::Untouched, Standing::Soft)
    }
}
