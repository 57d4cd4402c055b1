//! Host and path to route: the most specific pattern wins, whatever the order in the file.
//!
//! A host that is named exactly comes before a wildcard, the longer wildcard before the shorter, and
//! routes for any host last; within a host a literal segment comes before a parameter, and that
//! before a prefix. A host whose routes do not match the path falls through to the next.

use std::{collections::HashMap, sync::Arc};

use crate::{
    config::model::{HostPattern, PathPattern, Segment},
    snapshot::Route,
};

type Paths = matchit::Router<Arc<Route>>;

/// Finds the route of a request.
#[derive(Default)]
pub struct Router {
    exact: HashMap<String, Paths, ahash::RandomState>,
    /// Longest suffix first.
    wildcard: Vec<(String, Paths)>,
    any: Paths,
}

impl Router {
    /// Sorts the routes in; an error names the route and says why.
    pub fn build<'a>(
        routes: impl Iterator<Item = (&'a HostPattern, &'a PathPattern, Arc<Route>)>,
    ) -> Result<Self, (String, String)> {
        let mut router = Self::default();
        for (host, path, route) in routes {
            let paths = match host {
                HostPattern::Any => &mut router.any,
                HostPattern::Exact(name) => router.exact.entry(name.clone()).or_default(),
                HostPattern::Wildcard(suffix) => {
                    let at = router.wildcard.iter().position(|(s, _)| s == suffix);
                    let at = at.unwrap_or_else(|| {
                        router.wildcard.push((suffix.clone(), Paths::new()));
                        router.wildcard.len() - 1
                    });
                    &mut router.wildcard[at].1
                }
            };
            for pattern in patterns(path) {
                paths
                    .insert(pattern, Arc::clone(&route))
                    .map_err(|why| (route.name.clone(), why.to_string()))?;
            }
        }
        router
            .wildcard
            .sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        Ok(router)
    }

    /// The route for a normalised host and path.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        let exact = self.exact.get(host).into_iter();
        let wildcard = self
            .wildcard
            .iter()
            .filter(|(suffix, _)| is_below(host, suffix));
        exact
            .chain(wildcard.map(|(_, paths)| paths))
            .chain(std::iter::once(&self.any))
            .find_map(|paths| paths.at(path).ok())
            .map(|found| found.value)
    }
}

/// `a.shop.example` is below `shop.example`, `shop.example` itself is not.
fn is_below(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix)
        .is_some_and(|front| front.len() > 1 && front.ends_with('.'))
}

/// A pattern in matchit's spelling. A prefix needs two: with and without something behind it.
fn patterns(path: &PathPattern) -> Vec<String> {
    let rest = |front: String| vec![front.clone(), front + "{*rest}"];
    match path {
        PathPattern::Exact(path) => vec![escape(path)],
        PathPattern::Prefix(prefix) => rest(escape(prefix)),
        PathPattern::Segments(segments) => {
            let mut front = String::new();
            for segment in segments {
                front.push('/');
                match segment {
                    Segment::Literal(text) => front.push_str(&escape(text)),
                    Segment::Param(name) => front.push_str(&format!("{{{name}}}")),
                    Segment::Rest => return rest(front),
                }
            }
            vec![front]
        }
    }
}

fn escape(literal: &str) -> String {
    literal.replace('{', "{{").replace('}', "}}")
}
