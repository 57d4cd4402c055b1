//! `[[routes]]`, and what refers to what.

use std::{collections::HashMap, ops::Range};

use adaptive_concurrency::Class;
use toml::Spanned;

use crate::{admit::key::Params, route::methods::Methods};

use super::{
    actions,
    cache::BUILT_IN_POLICY,
    compile::index_of,
    concurrency,
    context::Context,
    diagnostic::{Complaint, Severity, shown},
    file::{self, File},
    headers, hsts, limits,
    model::{HostPattern, PathPattern, Route, Segment, Upstream},
    read::{Field, Named, OneOrMany},
    upstreams::{route_timeouts, timeouts},
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

/// Methods that a route takes, and the place of it.
type Taken = (Methods, Range<usize>);

/// What must differ from route to route, with the place of the first that has it.
#[derive(Default)]
struct Seen {
    patterns: HashMap<(HostPattern, PathPattern), Vec<Taken>>,
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
    let upstream = (route.upstream.given())
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
    let hosts = hosts(&route.host, cx)?;
    let path = path(route, cx)?;
    let params = Params::of(&path);
    limits::parameters(&route.limits, file, &params, cx);
    let by_any_host = hosts
        .iter()
        .find(|host| !matches!(host, HostPattern::Exact(_)));
    if let Some(host) = by_any_host.or_else(|| hosts.first()) {
        limits::evadable(&route.limits, file, host, &params, cx);
    }
    let methods = actions::methods(route, cx);
    unique(section, &hosts, &path, &methods, seen, cx);
    // By name: an upstream whose table could not be read is not among those compiled.
    let theirs = route.upstream.value();
    let theirs = upstreams.iter().find(|u| Some(&u.name) == theirs);
    let timeouts = match (&route.upstream, theirs) {
        (_, Some(u)) => Some(route_timeouts(route.timeouts.value(), &u.timeouts)),
        (Field::Absent, None) => Some(timeouts(None, cx)),
        _ => None,
    };
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
    let action = actions::action(section, upstream, &path, cx);
    let rewrite = actions::rewrite(route, &path, cx);
    let upstream_host = actions::upstream_host(&route.upstream_host, theirs, cx);
    let request_headers = headers::request_headers(&route.request_headers, &path, cx);
    let response_headers = headers::response_headers(&route.response_headers, cx);
    Some(Route {
        name: name(route, &hosts, &path, &methods, seen, cx),
        before_regex: before_regex(route, &path, cx),
        hosts,
        path,
        methods,
        action: action?,
        rewrite,
        upstream_host,
        request_headers,
        response_headers,
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

/// Most hosts of a route.
const HOSTS_MAX: usize = 1_024;

/// The hosts given, or any; nothing where one of them is wrong.
fn hosts(field: &Field<OneOrMany<HostPattern>>, cx: &mut Context<'_>) -> Option<Vec<HostPattern>> {
    let list = match field {
        Field::Absent => return Some(vec![HostPattern::Any]),
        Field::Wrong => return None,
        Field::Given(list) => list,
    };
    let OneOrMany(hosts) = list.get_ref();
    if hosts.written == 0 {
        let complaint = Complaint::new("this route has no host, so it never matches");
        cx.error(list.span(), complaint.help("leave out `host` for any host"));
        return None;
    }
    if let Some(host) = hosts.items.get(HOSTS_MAX) {
        cx.error(
            host.span(),
            format!("a route has at most {HOSTS_MAX} hosts"),
        );
    }
    let mut all: Vec<HostPattern> = Vec::new();
    for host in &hosts.items {
        if all.contains(host.get_ref()) {
            cx.error(host.span(), "this host is listed twice");
            return None;
        }
        all.push(host.get_ref().clone());
    }
    (hosts.written == hosts.items.len()).then_some(all)
}

/// The pattern given, or the one that matches everything; nothing where the one given is wrong.
fn path(route: &file::Route, cx: &mut Context<'_>) -> Option<PathPattern> {
    match (&route.path, &route.path_regex) {
        (Field::Given(path), Field::Given(_)) => {
            cx.error(
                path.span(),
                Complaint::new("`path` and `path_regex` are both given")
                    .help("a route has one pattern; write two routes"),
            );
            None
        }
        (Field::Wrong, _) | (_, Field::Wrong) => None,
        (Field::Given(path), Field::Absent) => Some(path.get_ref().clone()),
        (Field::Absent, Field::Given(regex)) => Some(PathPattern::Regex(regex.get_ref().clone())),
        (Field::Absent, Field::Absent) => Some(PathPattern::Prefix("/".to_owned())),
    }
}

/// Whether a prefix goes before expressions.
fn before_regex(route: &file::Route, path: &PathPattern, cx: &mut Context<'_>) -> bool {
    let Some(given) = route.before_regex.given() else {
        return false;
    };
    let is_prefix = match path {
        PathPattern::Prefix(_) => true,
        PathPattern::Segments(segments) => segments.last() == Some(&Segment::Rest),
        PathPattern::Exact(_) | PathPattern::Regex(_) => false,
    };
    if !is_prefix && *given.get_ref() {
        cx.error(
            given.span(),
            Complaint::new("`before_regex` does nothing here").help(
                "it is for paths that end in `*`; a whole path goes before every expression anyway",
            ),
        );
    }
    *given.get_ref()
}

/// Of two routes for the same requests the second would never be chosen.
fn unique(
    section: &Spanned<file::Route>,
    hosts: &[HostPattern],
    path: &PathPattern,
    methods: &Methods,
    seen: &mut Seen,
    cx: &mut Context<'_>,
) {
    let route = section.get_ref();
    let place = match (&route.path, &route.path_regex, &route.host) {
        (Field::Given(path), _, _) => path.span(),
        (_, Field::Given(regex), _) => regex.span(),
        (_, _, Field::Given(host)) => host.span(),
        _ => section.span(),
    };
    let mut same = None;
    for host in hosts {
        let known = seen.patterns.entry((host.clone(), unnamed(path)));
        let known = known.or_default();
        match known.iter().find(|(other, _)| methods.overlaps(other)) {
            Some((_, first)) => same = same.or_else(|| Some(first.clone())),
            None => known.push((methods.clone(), place.clone())),
        }
    }
    if let Some(first) = same {
        let what = match methods.is_any() {
            true => "host and path",
            false => "host and path, and takes one of its methods",
        };
        let complaint = Complaint::new(format!(
            "this route never matches: {} has the same {what}",
            cx.line(&first)
        ))
        .help("remove one of them, or change its host or path");
        cx.error(place, complaint);
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
    hosts: &[HostPattern],
    path: &PathPattern,
    methods: &Methods,
    seen: &mut Seen,
    cx: &mut Context<'_>,
) -> String {
    let Some(given) = route.name.given() else {
        let mut name = hosts.first().map(host_text).unwrap_or_default();
        if hosts.len() > 1 {
            name += &format!("+{}", hosts.len() - 1);
        }
        name += &path_text(path);
        if !methods.is_any() {
            let mut all = String::new();
            methods.put_allow(&mut all);
            name += &format!("[{}]", all.replace(", ", ","));
        }
        return name;
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
        // A label has neither quotes nor backslashes.
        PathPattern::Regex(regex) => {
            let plain = regex.text().chars();
            let plain = plain.filter(|c| c.is_ascii_graphic() && !matches!(c, '\\' | '"'));
            format!("~{}", plain.take(NAME_MAX).collect::<String>())
        }
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
                && other.hosts != [HostPattern::Any]
                && other.hosts != route.hosts
        };
        let is_several = match &route.hosts[..] {
            // As good as always it is one, or its names lead to one.
            [HostPattern::Any] => false,
            [HostPattern::Exact(_)] => routes[..at].iter().any(|other| differs(&other)),
            _ => true,
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
        if !routes.iter().any(|route| route.upstream() == Some(index)) {
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
