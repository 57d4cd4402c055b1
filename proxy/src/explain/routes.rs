//! Which routes fit a request, and why one of them takes it.

use http::Method;

use super::Step;
use crate::config::{
    model::{Action, Config, HostPattern, PathPattern, Route, Segment},
    nearest,
};
use crate::files::Fallback;

/// Routes that fit besides, as many as a screen takes.
const LISTED_MAX: usize = 12;

/// How a host is named, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HostRank {
    Exact,
    /// By length of the suffix, the longer one first.
    Wildcard(std::cmp::Reverse<usize>),
    Any,
}

/// The route that takes a request, those that fit besides, and why they do not take it.
pub(super) fn step(config: &Config, name: &str, method: &Method, host: &str, path: &str) -> Step {
    let fits = fitting(config, host, path);
    let Some((route, rank)) = fits.iter().find(|(route, _)| route.name == name) else {
        return Step::new("route", format!("{name:?}")).with("route", name);
    };
    let said = format!("{name:?}: {}, {}", host_told(route, host), path_told(route));
    let mut step = Step::new("route", said)
        .with("route", name)
        .with("path", pattern(&route.path));
    let others: Vec<_> = fits
        .iter()
        .filter(|(other, _)| other.name != name)
        .collect();
    let names: Vec<_> = others.iter().map(|(other, _)| other.name.clone()).collect();
    step = step.with("also_fit", names);
    for (other, other_rank) in others.iter().take(LISTED_MAX) {
        let why = why_not(method, (route, *rank), (other, *other_rank));
        step = step.line(format!("{:?} fits too: {why}", other.name));
    }
    if others.len() > LISTED_MAX {
        step = step.line(format!("{} more fit", others.len() - LISTED_MAX));
    }
    match *rank == HostRank::Any {
        true => near(config, host).map_or(step.clone(), |near| {
            step.line(format!(
                "no route names the host {host:?}; did you mean {near:?}?"
            ))
        }),
        false => step,
    }
}

/// Why no route takes it.
pub(super) fn none(config: &Config, host: &str, path: &str) -> Step {
    let knows_host = config
        .routes
        .iter()
        .any(|route| host_rank(route, host).is_some());
    let mut step = match knows_host {
        true => Step::new("route", format!("none: no path of {host:?} fits {path:?}")),
        false => Step::new("route", format!("none: no route is for the host {host:?}")),
    };
    if !knows_host && let Some(near) = near(config, host) {
        step = step
            .line(format!("did you mean {near:?}?"))
            .with("near", near);
    }
    step
}

/// Where the routes of a path take other methods.
pub(super) fn other_methods(config: &Config, host: &str, path: &str, allow: &str) -> Step {
    let mut step = Step::new(
        "route",
        format!("none takes this method; this path takes {allow}"),
    );
    for (route, _) in fitting(config, host, path).iter().take(LISTED_MAX) {
        step = step.line(format!(
            "{:?} fits the path: {}",
            route.name,
            path_told(route)
        ));
    }
    step.with("allow", allow)
}

fn near<'c>(config: &'c Config, host: &str) -> Option<&'c str> {
    let hosts = config.routes.iter().flat_map(|route| &route.hosts);
    nearest(
        host,
        hosts.filter_map(|host| match host {
            HostPattern::Exact(name) => Some(name.as_str()),
            HostPattern::Any | HostPattern::Wildcard(_) => None,
        }),
    )
}

fn fitting<'c>(config: &'c Config, host: &str, path: &str) -> Vec<(&'c Route, HostRank)> {
    let routes = config.routes.iter().filter(|route| fits(&route.path, path));
    let mut fits: Vec<_> = routes
        .filter_map(|route| Some((route, host_rank(route, host)?)))
        .collect();
    fits.sort_by_key(|(_, rank)| *rank);
    fits
}

fn host_rank(route: &Route, host: &str) -> Option<HostRank> {
    let ranks = route.hosts.iter().filter_map(|pattern| match pattern {
        HostPattern::Any => Some(HostRank::Any),
        HostPattern::Exact(name) => (name == host).then_some(HostRank::Exact),
        HostPattern::Wildcard(suffix) => {
            let front = host.strip_suffix(suffix.as_str())?;
            let is_below = front.len() > 1 && front.ends_with('.');
            is_below.then_some(HostRank::Wildcard(std::cmp::Reverse(suffix.len())))
        }
    });
    ranks.min()
}

fn fits(pattern: &PathPattern, path: &str) -> bool {
    match pattern {
        PathPattern::Exact(exact) => exact == path,
        PathPattern::Prefix(prefix) => path.starts_with(prefix.as_str()),
        PathPattern::Regex(regex) => regex.matches(path),
        PathPattern::Segments(segments) => {
            let mut parts = path.strip_prefix('/').unwrap_or(path).split('/');
            for segment in segments {
                let part = parts.next();
                let is_one = match segment {
                    Segment::Rest => return part.is_some(),
                    Segment::Literal(text) => part == Some(text.as_str()),
                    Segment::Param(_) => part.is_some_and(|part| !part.is_empty()),
                };
                if !is_one {
                    return false;
                }
            }
            parts.next().is_none()
        }
    }
}

/// A pattern as it is written.
pub(super) fn pattern(pattern: &PathPattern) -> String {
    match pattern {
        PathPattern::Exact(path) => path.clone(),
        PathPattern::Prefix(prefix) => format!("{prefix}*"),
        PathPattern::Regex(regex) => format!("~ {}", regex.text()),
        PathPattern::Segments(segments) => segments.iter().fold(String::new(), |out, segment| {
            out + &match segment {
                Segment::Literal(text) => format!("/{text}"),
                Segment::Param(name) => format!("/:{name}"),
                Segment::Rest => "/*".to_owned(),
            }
        }),
    }
}

fn host_told(route: &Route, host: &str) -> String {
    let rank = host_rank(route, host);
    let of_rank = route
        .hosts
        .iter()
        .find_map(|pattern| match (pattern, rank) {
            (HostPattern::Exact(name), Some(HostRank::Exact)) if name == host => {
                Some(format!("host {name}"))
            }
            (HostPattern::Wildcard(suffix), Some(HostRank::Wildcard(length)))
                if length.0 == suffix.len() =>
            {
                Some(format!("host *.{suffix}"))
            }
            _ => None,
        });
    of_rank.unwrap_or_else(|| "any host".to_owned())
}

fn path_told(route: &Route) -> String {
    let path = pattern(&route.path);
    match route.methods.is_any() {
        true => format!("path {path}"),
        false => format!("path {path}, methods {}", methods(route)),
    }
}

fn methods(route: &Route) -> String {
    let mut out = String::new();
    route.methods.put_allow(&mut out);
    out
}

fn why_not(method: &Method, winner: (&Route, HostRank), other: (&Route, HostRank)) -> String {
    let ((route, rank), (other, other_rank)) = (winner, other);
    if other_rank > rank {
        return "the host of this one is more specific".to_owned();
    }
    if !other.methods.is_any() && !other.methods.names(method) {
        return format!("it takes {} only", methods(other));
    }
    if pattern(&route.path) == pattern(&other.path) {
        return "this one names the method".to_owned();
    }
    let other_path = path_told(other);
    match (&route.path, &other.path) {
        (PathPattern::Exact(_), _) => format!("{other_path}, and this one names the whole path"),
        (PathPattern::Segments(_), PathPattern::Regex(_)) => {
            format!("{other_path}, and whole paths go before expressions")
        }
        (PathPattern::Segments(_), _) => format!("{other_path}, and this one is more specific"),
        (PathPattern::Regex(_), PathPattern::Regex(_)) => {
            format!("{other_path}, and this one stands before it in the file")
        }
        (PathPattern::Regex(_), _) => format!("{other_path}, and expressions go before prefixes"),
        (PathPattern::Prefix(_), PathPattern::Regex(_)) => {
            format!("{other_path}, and this one has before_regex")
        }
        (PathPattern::Prefix(_), _) => format!("{other_path}, and this prefix is longer"),
    }
}

/// What a route does, in a few words. Whatever routes may do besides is to be said here.
pub(super) fn serves(config: &Config, route: &Route) -> String {
    match &route.action {
        Action::Upstream(at) => {
            let name = config
                .upstreams
                .get(*at)
                .map_or("", |upstream| &upstream.name);
            format!("upstream {name:?}")
        }
        Action::Files(rules) => {
            let folder = rules.folder.display();
            let otherwise = match &rules.fallback {
                Fallback::Upstream(at) => {
                    let name = config
                        .upstreams
                        .get(*at)
                        .map_or("", |upstream| &upstream.name);
                    format!("upstream {name:?}")
                }
                Fallback::File(file) => format!("the file {file}"),
                Fallback::NotFound => "404".to_owned(),
            };
            format!("files of {folder}; where there is none, {otherwise}")
        }
        Action::Redirect(redirect) => format!("redirects with {}", redirect.status),
        Action::Respond(respond) => format!("answers {} by itself", respond.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, shared::Shared, snapshot::Snapshot};

    #[test]
    fn the_route_that_wins_is_one_that_fits_and_so_are_the_others() {
        let mut text = String::from(
            "[[listeners]]\naddress = \"127.0.0.1:0\"\n[upstreams.u]\nservers = [\"127.0.0.1:1\"]\n",
        );
        let hosts = ["", "a.example", "*.example", "*.b.example"];
        let paths = [
            "path = '/*'",
            "path = '/x/*'",
            "path = '/x/:id'",
            "path = '/x/y'",
            "path = '/x/:id/*'",
            "path_regex = '[.]php$'",
            "path = '/img/*'\nbefore_regex = true",
            "path = '/x/y'\nmethods = ['POST']",
        ];
        for (h, host) in hosts.iter().enumerate() {
            for (p, path) in paths
                .iter()
                .enumerate()
                .filter(|(p, _)| h != 1 || p % 2 == 1)
            {
                text += &format!("[[routes]]\nname = 'r{h}{p}'\nupstream = 'u'\n{path}\n");
                if !host.is_empty() {
                    text += &format!("host = '{host}'\n");
                }
            }
        }
        let surroundings = config::Surroundings {
            folder: std::path::Path::new(""),
            env: &|_| None,
        };
        let config = config::parse("test", &text, &surroundings)
            .expect("valid")
            .config;
        let (shared, _) = Shared::new(&config.cache, 1);
        let snapshot = Snapshot::build(config, 1, &shared).map_err(|why| why.to_string());
        let snapshot = snapshot.expect("built");
        let mut seen = 0;
        for host in [
            "other",
            "a.example",
            "x.example",
            "x.b.example",
            "b.example",
            "example",
        ] {
            for path in [
                "/",
                "/x",
                "/x/",
                "/x/y",
                "/x/z",
                "/x/z/",
                "/x/z/1",
                "/a.php",
                "/x/a.php",
                "/img/a.php",
            ] {
                for method in [Method::GET, Method::POST] {
                    let Ok(route) = snapshot.router.route(&method, host, path) else {
                        continue;
                    };
                    let fits = fitting(&snapshot.config, host, path);
                    let what = format!("{method} {host} {path}: {}", route.name);
                    let (_, rank) = fits
                        .iter()
                        .find(|(one, _)| one.name == route.name)
                        .unwrap_or_else(|| panic!("{what}"));
                    assert_eq!(fits[0].1, *rank, "{what}");
                    let step = step(&snapshot.config, &route.name, &method, host, path);
                    assert_eq!(
                        step.facts["also_fit"].as_array().map(Vec::len),
                        Some(fits.len() - 1),
                        "{what}"
                    );
                    let told = step.more.iter().filter(|line| line.contains("fits too"));
                    assert_eq!(told.count(), (fits.len() - 1).min(LISTED_MAX), "{what}");
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 6 * 10 * 2);
    }
}
