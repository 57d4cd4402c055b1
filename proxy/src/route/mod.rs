//! Host and path to route: the most specific pattern wins, whatever the order in the file.
//!
//! A host that is named exactly comes before a wildcard, the longer wildcard before the shorter, and
//! routes for any host last; within a host a literal segment comes before a parameter, and that
//! before a prefix. A host whose routes do not match the path falls through to the next.

mod paths;

use std::{collections::HashMap, sync::Arc};

use self::paths::Paths;
use crate::{
    config::model::{HostPattern, PathPattern},
    snapshot::Route,
};

/// Finds the route of a request.
#[derive(Default)]
pub struct Router {
    exact: HashMap<String, Paths<Arc<Route>>, ahash::RandomState>,
    /// Longest suffix first.
    wildcard: Vec<(String, Paths<Arc<Route>>)>,
    any: Paths<Arc<Route>>,
}

impl Router {
    /// Sorts the routes in. No two of them are for the same host and path.
    pub fn build<'a>(
        routes: impl Iterator<Item = (&'a HostPattern, &'a PathPattern, Arc<Route>)>,
    ) -> Self {
        let mut router = Self::default();
        for (host, path, route) in routes {
            router.paths(host).insert(path, route);
        }
        router
            .wildcard
            .sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        router
    }

    fn paths(&mut self, host: &HostPattern) -> &mut Paths<Arc<Route>> {
        match host {
            HostPattern::Any => &mut self.any,
            HostPattern::Exact(name) => self.exact.entry(name.clone()).or_default(),
            HostPattern::Wildcard(suffix) => {
                let at = self.wildcard.iter().position(|(s, _)| s == suffix);
                let at = at.unwrap_or_else(|| {
                    self.wildcard.push((suffix.clone(), Paths::default()));
                    self.wildcard.len() - 1
                });
                &mut self.wildcard[at].1
            }
        }
    }

    /// The route for a normalised host and path.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        if let Some(found) = self.exact.get(host).and_then(|paths| paths.find(path)) {
            return Some(found);
        }
        self.wildcard
            .iter()
            .filter(|(suffix, _)| is_below(host, suffix))
            .find_map(|(_, paths)| paths.find(path))
            .or_else(|| self.any.find(path))
    }
}

/// `a.shop.example` is below `shop.example`, `shop.example` itself is not.
fn is_below(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix)
        .is_some_and(|front| front.len() > 1 && front.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{self, model::Config},
        shared::Shared,
        snapshot::Snapshot,
    };

    fn router(routes: &[(&str, &str)]) -> Router {
        let mut text = String::from(
            "[[listeners]]\naddress = \"127.0.0.1:0\"\n[upstreams.u]\nservers = [\"127.0.0.1:1\"]\n",
        );
        for (host, path) in routes {
            text += &format!(
                "[[routes]]\nname = \"{host}|{path}\"\nupstream = \"u\"\npath = \"{path}\"\n"
            );
            if !host.is_empty() {
                text += &format!("host = \"{host}\"\n");
            }
        }
        let surroundings = config::Surroundings {
            folder: std::path::Path::new(""),
            env: &|_| None,
        };
        let config: Config = config::parse("test", &text, &surroundings)
            .expect("valid")
            .config;
        let (shared, _) = Shared::new(&config.cache, 1);
        Snapshot::build(config, 1, &shared)
            .map_err(|why| why.to_string())
            .expect("built")
            .router
    }

    #[test]
    fn the_most_specific_route_wins() {
        let router = router(&[
            ("", "/*"),
            ("", "/"),
            ("", "/products/*"),
            ("", "/products/:id/reviews"),
            ("", "/products/:slug"),
            ("", "/products/special"),
            ("shop.example", "/cart"),
            ("shop.example", "/products/*"),
            ("*.example", "/*"),
            ("*.shop.example", "/*"),
        ]);
        for (host, path, wanted) in [
            ("other", "/", "|/"),
            ("other", "/x", "|/*"),
            ("other", "/products", "|/*"),
            ("other", "/products/", "|/products/*"),
            ("other", "/products/1", "|/products/:slug"),
            ("other", "/products/special", "|/products/special"),
            ("other", "/products/1/reviews", "|/products/:id/reviews"),
            ("other", "/products/1/reviews/2", "|/products/*"),
            ("shop.example", "/cart", "shop.example|/cart"),
            ("shop.example", "/products/1", "shop.example|/products/*"),
            ("shop.example", "/x", "*.example|/*"),
            ("a.shop.example", "/x", "*.shop.example|/*"),
            ("a.b.shop.example", "/x", "*.shop.example|/*"),
            ("example", "/x", "|/*"),
            ("badexample", "/x", "|/*"),
        ] {
            let found = router.find(host, path).map(|route| route.name.as_str());
            assert_eq!(found, Some(wanted), "{host} {path}");
        }
    }

    #[test]
    fn no_route_is_no_route() {
        let router = router(&[("shop.example", "/cart")]);
        assert!(router.find("shop.example", "/").is_none());
        assert!(router.find("other", "/cart").is_none());
    }
}
