//! `[[routes]]`, and what refers to what.

use std::{collections::HashMap, ops::Range};

use adaptive_concurrency::Class;
use toml::Spanned;

use crate::admit::key::Params;

use super::{
    cache::BUILT_IN_POLICY,
    compile::index_of,
    concurrency,
    context::Context,
    diagnostic::{Complaint, Severity, shown},
    file::{self, File},
    hsts, limits,
    model::{HostPattern, PathPattern, Route, Segment, Upstream},
    read::{Field, Named},
    upstreams::route_timeouts,
};

/// Longest name of a route: it becomes a label of every metric.
const NAME_MAX: usize = 128;

/// What routes can refer to, in the order of the compiled lists.
struct Names<'a> {
    upstreams: Vec<&'a str>,
    policies: Vec<&'a str>,
    limits: Vec<&'a str>,
    waiting_rooms: Vec<&'a str>,
}

/// What must differ from route to route, with the place of the first that has it.
#[derive(Default)]
struct Seen {
    patterns: HashMap<(HostPattern, PathPattern), Range<usize>>,
    names: HashMap<String, Range<usize>>,
}

pub(super) fn routes(file: &File, upstreams: &[Upstream], cx: &mut Context<'_>) -> Vec<Route> {
    let names = Names {
        upstreams: names(&file.upstreams).collect(),
        policies: [BUILT_IN_POLICY]
            .into_iter()
            .chain(
                file.policies()
                    .into_iter()
                    .flat_map(names)
                    .filter(|name| *name != BUILT_IN_POLICY),
            )
            .collect(),
        limits: names(&file.limits).collect(),
        waiting_rooms: names(&file.waiting_rooms).collect(),
    };
    let mut seen = Seen::default();
    let routes: Vec<_> = file
        .routes
        .items()
        .iter()
        .filter_map(|section| route(section, file, upstreams, &names, &mut seen, cx))
        .collect();
    existence(file, cx);
    // After an error the missing use may be the mistake just reported.
    if cx
        .diagnostics
        .iter()
        .all(|d| d.severity == Severity::Warning)
    {
        dangers(file, &routes, cx);
        rooms_of_hosts(file, &routes, cx);
        concurrency::bare_paths(file, &routes, cx);
        unused(file, &routes, cx);
    }
    routes
}

fn names<T>(field: &Field<Named<T>>) -> impl Iterator<Item = &str> {
    field
        .entries()
        .iter()
        .map(|(name, _)| name.get_ref().as_str())
}

fn route(
    section: &Spanned<file::Route>,
    file: &File,
    upstreams: &[Upstream],
    names: &Names<'_>,
    seen: &mut Seen,
    cx: &mut Context<'_>,
) -> Option<Route> {
    let route = section.get_ref();
    let upstream = route
        .upstream
        .require("upstream", section.span(), cx)
        .and_then(|name| index_of(name, "upstream", &file.upstreams, &names.upstreams, cx));
    let cache = route.cache.given().and_then(|name| match file.policies() {
        Some(known) => index_of(name, "cache policy", known, &names.policies, cx),
        None => index_of(name, "cache policy", &file.cache, &names.policies, cx),
    });
    let mut counted = Vec::new();
    for name in route.limits.items() {
        let Some(index) = index_of(name, "limit", &file.limits, &names.limits, cx) else {
            continue;
        };
        if counted.contains(&index) {
            cx.error(
                name.span(),
                format!("the limit {} is listed twice", shown(name.get_ref())),
            );
        }
        counted.push(index);
    }
    let allow = limits::lists(&route.allow, file, cx);
    let deny = limits::lists(&route.deny, file, cx);
    let waiting_room = route.waiting_room.given().and_then(|name| {
        let (known, names) = (&file.waiting_rooms, &names.waiting_rooms);
        index_of(name, "waiting room", known, names, cx)
    });
    let host = pattern(&route.host, HostPattern::Any)?;
    let path = pattern(&route.path, PathPattern::Prefix("/".to_owned()))?;
    let params = Params::of(&path);
    limits::parameters(&route.limits, file, &params, cx);
    limits::evadable(&route.limits, file, &host, &params, cx);
    unique(section, &host, &path, seen, cx);
    // By name: an upstream whose table could not be read is not among those compiled.
    let theirs = route.upstream.value();
    let theirs = upstreams.iter().find(|u| Some(&u.name) == theirs);
    let timeouts = theirs.map(|u| route_timeouts(route.timeouts.value(), &u.timeouts));
    if let (Some(class), Some(Upstream { name, .. })) = (
        route.class.given(),
        theirs.filter(|theirs| theirs.concurrency.is_none()),
    ) {
        cx.warning(
            class.span(),
            Complaint::new(format!(
                "`class` does nothing: the upstream {} sheds no requests",
                shown(name)
            ))
            .help("give it `concurrency = true`"),
        );
    }
    Some(Route {
        name: name(route, &host, &path, seen, cx),
        host,
        path,
        upstream: upstream?,
        cache,
        limits: counted,
        allow,
        deny,
        class: route.class.value().copied().unwrap_or(Class::Browse),
        max_body: route.max_body.value.0,
        timeouts: timeouts?,
        waiting_room,
        hsts: hsts::of_route(&route.hsts, file),
    })
}

/// The pattern given, or the one that matches everything; nothing where the one given is wrong.
fn pattern<T: Clone>(field: &Field<T>, everything: T) -> Option<T> {
    match field {
        Field::Absent => Some(everything),
        Field::Wrong => None,
        Field::Given(pattern) => Some(pattern.get_ref().clone()),
    }
}

/// Of two routes for the same requests the second would never be chosen.
fn unique(
    section: &Spanned<file::Route>,
    host: &HostPattern,
    path: &PathPattern,
    seen: &mut Seen,
    cx: &mut Context<'_>,
) {
    let route = section.get_ref();
    let place = match (&route.path, &route.host) {
        (Field::Given(path), _) => path.span(),
        (_, Field::Given(host)) => host.span(),
        _ => section.span(),
    };
    let key = (host.clone(), unnamed(path));
    if let Some(first) = seen.patterns.get(&key) {
        let complaint = Complaint::new(format!(
            "this route never matches: {} has the same host and path",
            cx.line(first)
        ))
        .help("remove one of them, or change its host or path");
        cx.error(place, complaint);
    } else {
        seen.patterns.insert(key, place);
    }
}

/// A path without the names of its parameters: they do not change what it matches.
fn unnamed(path: &PathPattern) -> PathPattern {
    match path {
        PathPattern::Segments(segments) => PathPattern::Segments(
            segments
                .iter()
                .map(|segment| match segment {
                    Segment::Param(_) => Segment::Param(String::new()),
                    other => other.clone(),
                })
                .collect(),
        ),
        other => other.clone(),
    }
}

/// The name given, or host and path.
fn name(
    route: &file::Route,
    host: &HostPattern,
    path: &PathPattern,
    seen: &mut Seen,
    cx: &mut Context<'_>,
) -> String {
    let Some(given) = route.name.given() else {
        return host_text(host) + &path_text(path);
    };
    let name = given.get_ref();
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    if name.len() > NAME_MAX || !plain {
        cx.error(
            given.span(),
            format!("a route's name has up to {NAME_MAX} visible ASCII characters without quotes and backslashes"),
        );
    }
    if let Some(first) = seen.names.get(name) {
        cx.error(
            given.span(),
            format!(
                "{} is the name of another route, {}",
                shown(name),
                cx.line(first)
            ),
        );
    } else {
        seen.names.insert(name.clone(), given.span());
    }
    name.clone()
}

fn host_text(host: &HostPattern) -> String {
    match host {
        HostPattern::Any => String::new(),
        HostPattern::Exact(host) => host.clone(),
        HostPattern::Wildcard(below) => format!("*.{below}"),
    }
}

fn path_text(path: &PathPattern) -> String {
    match path {
        PathPattern::Exact(path) => path.clone(),
        PathPattern::Prefix(prefix) => format!("{prefix}*"),
        PathPattern::Segments(segments) => segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(text) => format!("/{text}"),
                Segment::Param(name) => format!("/:{name}"),
                Segment::Rest => "/*".to_owned(),
            })
            .collect(),
    }
}

/// Without routes nothing is served; with redirects alone no route is reached.
fn existence(file: &File, cx: &mut Context<'_>) {
    let listeners = file.listeners.items();
    let only_redirects = !listeners.is_empty()
        && listeners
            .iter()
            .all(|listener| listener.get_ref().redirect_to_https.value() == Some(&true));
    let first = file.routes.items().first();
    let none = match &file.routes {
        Field::Absent => true,
        Field::Wrong => false,
        Field::Given(list) => list.get_ref().written == 0,
    };
    match (none, only_redirects) {
        (true, false) => {
            let upstream = file.upstreams.entries().first();
            let place = match (&file.routes, upstream) {
                (Field::Given(list), _) => list.span(),
                (_, Some((name, _))) => name.span(),
                _ => 0..0,
            };
            let name = upstream.map_or("shop", |(name, _)| name.get_ref());
            cx.error(
                place,
                Complaint::new("there is no route, so nothing would be served")
                    .help(format!("add `[[routes]]` with `upstream = \"{name}\"`")),
            );
        }
        (false, true) => {
            if let Some(first) = first {
                cx.warning(
                    first.span(),
                    "routes do nothing: every listener redirects to https",
                );
            }
        }
        _ => {}
    }
}

/// Policies that invent freshness for everything, visitors' own pages included.
fn dangers(file: &File, routes: &[Route], cx: &mut Context<'_>) {
    let Some(policies) = file.policies() else {
        return;
    };
    for (section, route) in file.routes.items().iter().zip(routes) {
        let policy = match (&route.path, route.cache) {
            // The first policy is built in and invents nothing.
            (PathPattern::Prefix(prefix), Some(index @ 1..)) if prefix == "/" => {
                policies.entries()[index - 1].1.value()
            }
            _ => None,
        };
        if let (Some(policy), Some(cache)) = (policy, section.get_ref().cache.given())
            && policy.ttl.value().is_some()
            && policy.bypass_cookies.items().is_empty()
        {
            cx.warning(
                cache.span(),
                Complaint::new(format!(
                    "this route takes every path, and {} stores what the origin says nothing about: carts too",
                    shown(cache.get_ref())
                ))
                .help("name the session cookie in `bypass_cookies`, or use such a policy for chosen paths only"),
            );
        }
    }
}

/// Waiting rooms over several hosts: a cookie is one host's, and so is a place.
fn rooms_of_hosts(file: &File, routes: &[Route], cx: &mut Context<'_>) {
    let mut warned = Vec::new();
    for (at, (section, route)) in file.routes.items().iter().zip(routes).enumerate() {
        let (Some(room), Some(name)) = (route.waiting_room, section.get_ref().waiting_room.given())
        else {
            continue;
        };
        let differs = |other: &&Route| {
            other.waiting_room == Some(room)
                && other.host != HostPattern::Any
                && other.host != route.host
        };
        let is_several = match &route.host {
            // As good as always it is one, or its names lead to one.
            HostPattern::Any => false,
            HostPattern::Exact(_) => routes[..at].iter().any(|other| differs(&other)),
            HostPattern::Wildcard(_) => true,
        };
        if is_several && !warned.contains(&room) {
            warned.push(room);
            cx.warning(
                name.span(),
                Complaint::new(format!(
                    "the waiting room {} has several hosts: who visits two of them counts twice",
                    shown(name.get_ref())
                ))
                .help("browsers keep its cookie for one host: give each host a room, or redirect all to one"),
            );
        }
    }
}

/// What no route refers to does nothing.
fn unused(file: &File, routes: &[Route], cx: &mut Context<'_>) {
    let mut warn = |name: &Spanned<String>, kind: &str| {
        cx.warning(
            name.span(),
            format!("no route uses the {kind} {}", shown(name.get_ref())),
        );
    };
    for (index, (name, _)) in file.upstreams.entries().iter().enumerate() {
        if !routes.iter().any(|route| route.upstream == index) {
            warn(name, "upstream");
        }
    }
    for (index, (name, _)) in file
        .policies()
        .map_or(&[][..], Field::entries)
        .iter()
        .enumerate()
    {
        // The first policy is built in.
        if !routes.iter().any(|route| route.cache == Some(index + 1)) {
            warn(name, "cache policy");
        }
    }
    for (index, (name, _)) in file.limits.entries().iter().enumerate() {
        if !routes.iter().any(|route| route.limits.contains(&index)) {
            warn(name, "limit");
        }
    }
    for (index, (name, _)) in file.waiting_rooms.entries().iter().enumerate() {
        if !routes.iter().any(|route| route.waiting_room == Some(index)) {
            warn(name, "waiting room");
        }
    }
    let used = limits::lists_in_use(file);
    for (name, _) in file.address_lists.entries() {
        if !used.contains(&name.get_ref().as_str()) {
            cx.warning(
                name.span(),
                format!("nothing uses the address list {}", shown(name.get_ref())),
            );
        }
    }
}
