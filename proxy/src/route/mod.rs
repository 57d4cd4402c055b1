//! Host, path and method to route: the most specific pattern wins, whatever the order in the file.
//!
//! A host that is named exactly comes before a wildcard, the longer wildcard before the shorter, and
//! routes for any host last; within a host a literal segment comes before a parameter, and that
//! before a prefix. A host whose routes do not match the path falls through to the next.
//!
//! Expressions stand between patterns of whole paths and prefixes, in the order of the file; a prefix may be told to go
//! before them. Where the routes of a path take other methods, the path is refused, and no other pattern is looked for.

pub mod action;
pub mod headers;
pub mod methods;
pub mod path_regex;
mod paths;
pub mod template;

use std::{collections::HashMap, sync::Arc};

use http::Method;

use self::{
    methods::Methods,
    path_regex::PathRegex,
    paths::{Found, Paths},
};
use crate::{
    config::model::{self, HostPattern, PathPattern},
    snapshot::Route,
};

/// Finds the route of a request.
#[derive(Default)]
pub struct Router {
    exact: HashMap<String, Host, ahash::RandomState>,
    /// Longest suffix first.
    wildcard: Vec<(String, Host)>,
    any: Host,
}

/// Why there is no route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// No pattern fits.
    Path,
    /// The routes of this path take other methods: those that stand here, as `Allow` has them.
    Method(String),
}

/// The routes of a host.
#[derive(Default)]
struct Host {
    paths: Paths<Place>,
    /// In the order of the file.
    regexes: Vec<(PathRegex, Place)>,
}

/// The routes of a pattern.
#[derive(Default)]
struct Place {
    /// Those for chosen methods.
    chosen: Vec<(Methods, Arc<Route>)>,
    /// The one for all others.
    any: Option<Arc<Route>>,
    before_regex: bool,
}

impl Router {
    /// Sorts the routes in. No two of them are for the same host, path and method.
    pub fn build<'a>(routes: impl Iterator<Item = (&'a model::Route, Arc<Route>)>) -> Self {
        let mut router = Self::default();
        for (config, route) in routes {
            for host in &config.hosts {
                let place = router.host(host).place(&config.path);
                place.before_regex |= config.before_regex;
                match config.methods.is_any() {
                    true => place.any = Some(Arc::clone(&route)),
                    false => {
                        let methods = config.methods.clone();
                        place.chosen.push((methods, Arc::clone(&route)));
                    }
                }
            }
        }
        router
            .wildcard
            .sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        router
    }

    fn host(&mut self, host: &HostPattern) -> &mut Host {
        match host {
            HostPattern::Any => &mut self.any,
            HostPattern::Exact(name) => self.exact.entry(name.clone()).or_default(),
            HostPattern::Wildcard(suffix) => {
                let at = self.wildcard.iter().position(|(s, _)| s == suffix);
                let at = at.unwrap_or_else(|| {
                    self.wildcard.push((suffix.clone(), Host::default()));
                    self.wildcard.len() - 1
                });
                &mut self.wildcard[at].1
            }
        }
    }

    /// The route for GET.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        self.route(&Method::GET, host, path).ok()
    }

    /// The route for a method, a normalised host and a normalised path.
    pub fn route(&self, method: &Method, host: &str, path: &str) -> Result<&Arc<Route>, Missing> {
        let exact = self.exact.get(host).map(|host| host.find(method, path));
        if let Some(found @ (Ok(_) | Err(Missing::Method(_)))) = exact {
            return found;
        }
        let mut below = self
            .wildcard
            .iter()
            .filter(|(suffix, _)| is_below(host, suffix))
            .map(|(_, host)| host.find(method, path));
        below
            .find(|found| !matches!(found, Err(Missing::Path)))
            .unwrap_or_else(|| self.any.find(method, path))
    }
}

impl Host {
    fn place(&mut self, pattern: &PathPattern) -> &mut Place {
        let place = match pattern {
            PathPattern::Exact(path) => self.paths.exact(path),
            PathPattern::Prefix(prefix) => self.paths.prefix(prefix),
            PathPattern::Segments(segments) => self.paths.segments(segments),
            PathPattern::Regex(regex) => {
                let regexes = &mut self.regexes;
                let at = regexes.iter().position(|(known, _)| known == regex);
                let at = at.unwrap_or_else(|| {
                    regexes.push((regex.clone(), Place::default()));
                    regexes.len() - 1
                });
                return &mut regexes[at].1;
            }
        };
        place.get_or_insert_default()
    }

    fn find(&self, method: &Method, path: &str) -> Result<&Arc<Route>, Missing> {
        let prefix = match self.paths.find(path) {
            Some(Found::Whole(place)) => return place.find(method),
            Some(Found::Prefix(place)) if place.before_regex || self.regexes.is_empty() => {
                return place.find(method);
            }
            Some(Found::Prefix(place)) => Some(place),
            None => None,
        };
        let mut allow = String::new();
        for (regex, place) in &self.regexes {
            if !regex.matches(path) {
                continue;
            }
            if let Some(route) = place.of(method) {
                return Ok(route);
            }
            place.put_allow(&mut allow);
        }
        match prefix {
            _ if !allow.is_empty() => Err(Missing::Method(allow)),
            Some(place) => place.find(method),
            None => Err(Missing::Path),
        }
    }
}

impl Place {
    fn of(&self, method: &Method) -> Option<&Arc<Route>> {
        let mut chosen = self.chosen.iter();
        let named = chosen.find(|(methods, _)| methods.names(method));
        named.map(|(_, route)| route).or(self.any.as_ref())
    }

    fn find(&self, method: &Method) -> Result<&Arc<Route>, Missing> {
        self.of(method).ok_or_else(|| {
            let mut allow = String::new();
            self.put_allow(&mut allow);
            Missing::Method(allow)
        })
    }

    fn put_allow(&self, out: &mut String) {
        for (methods, _) in &self.chosen {
            methods.put_allow(out);
        }
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

    fn of(text: &str) -> Router {
        let text = format!(
            "[[listeners]]\naddress = \"127.0.0.1:0\"\n[upstreams.u]\nservers = [\"127.0.0.1:1\"]\n{text}"
        );
        let surroundings = config::Surroundings {
            folder: std::path::Path::new(""),
            env: &|_| None,
        };
        let config = config::parse("test", &text, &surroundings).expect("valid");
        let (shared, _) = Shared::new(&config.config.cache, 1);
        Snapshot::build(config.config, 1, &shared)
            .map_err(|why| why.to_string())
            .expect("built")
            .router
    }

    fn name<'a>(
        router: &'a Router,
        method: &str,
        host: &str,
        path: &str,
    ) -> Result<&'a str, Missing> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        router
            .route(&method, host, path)
            .map(|route| route.name.as_str())
    }

    #[test]
    fn expressions_stand_between_whole_paths_and_prefixes() {
        let mut text = String::new();
        for (name, path) in [
            ("all", "path = '/*'"),
            ("first", "path_regex = '\\.php$'"),
            ("second", "path_regex = '^/shop/'"),
            ("images", "path = '/images/*'\nbefore_regex = true"),
            ("exact", "path = '/index.php'"),
            ("param", "path = '/shop/:id'"),
            ("prefix", "path = '/shop/*'"),
        ] {
            text += &format!("[[routes]]\nname = '{name}'\nupstream = 'u'\n{path}\n");
        }
        text += "[[routes]]\nname = 'host'\nhost = ['a.example', '*.b.example']\n\
                 upstream = 'u'\npath_regex = '^/only'\n";
        let router = of(&text);
        for (host, path, wanted) in [
            ("x", "/", "all"),
            ("x", "/a.php", "first"),
            ("x", "/index.php", "exact"),
            ("x", "/shop/a/b.php", "first"),
            ("x", "/shop/a/b", "second"),
            ("x", "/shop/a", "param"),
            ("x", "/shop/", "second"),
            ("x", "/images/a.php", "images"),
            ("a.example", "/only/a.php", "host"),
            ("z.b.example", "/only/a.php", "host"),
            ("b.example", "/only/a.php", "first"),
            ("a.example", "/a.php", "first"),
        ] {
            assert_eq!(
                name(&router, "GET", host, path),
                Ok(wanted),
                "{host} {path}"
            );
        }
    }

    #[test]
    fn routes_of_a_path_share_its_methods() {
        let mut text = String::new();
        for (name, rest) in [
            ("read", "path = '/a'\nmethods = ['GET']"),
            ("write", "path = '/a'\nmethods = ['POST', 'PUT']"),
            ("post", "path = '/b'\nmethods = ['POST']"),
            ("rest", "path = '/b'"),
            ("regex", "path_regex = '^/c'\nmethods = ['POST']"),
            ("later", "path_regex = '^/c/'\nmethods = ['GET']"),
            ("own", "host = 'a.example'\npath = '/d'\nmethods = ['POST']"),
            ("all", "path = '/*'"),
        ] {
            text += &format!("[[routes]]\nname = '{name}'\nupstream = 'u'\n{rest}\n");
        }
        let router = of(&text);
        let only = |allow: &str| Err(Missing::Method(allow.to_owned()));
        for (method, host, path, wanted) in [
            ("GET", "x", "/a", Ok("read")),
            ("HEAD", "x", "/a", Ok("read")),
            ("PUT", "x", "/a", Ok("write")),
            ("DELETE", "x", "/a", only("GET, HEAD, POST, PUT")),
            ("POST", "x", "/b", Ok("post")),
            ("GET", "x", "/b", Ok("rest")),
            ("GET", "x", "/c/x", Ok("later")),
            ("POST", "x", "/c/x", Ok("regex")),
            ("PUT", "x", "/c/x", only("POST, GET, HEAD")),
            ("GET", "x", "/c", only("POST")),
            // Not that of another host.
            ("GET", "a.example", "/d", only("POST")),
            ("GET", "x", "/d", Ok("all")),
        ] {
            assert_eq!(name(&router, method, host, path), wanted, "{method} {path}");
        }
    }

    #[test]
    fn no_route_is_no_route() {
        let router = router(&[("shop.example", "/cart")]);
        assert!(router.find("shop.example", "/").is_none());
        assert!(router.find("other", "/cart").is_none());
    }
}
