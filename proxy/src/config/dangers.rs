//! What is legal, but dangerous: said only where everything else is right, since after an error the mistake just
//! reported may be the cause.

use std::collections::HashSet;

use adaptive_concurrency::Class;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use toml::Spanned;

use super::{
    context::Context,
    diagnostic::{Complaint, Severity, shown},
    file::{self, File},
    model::{Config, HostPattern, PathPattern, Route, Segment},
    read::{Field, List},
    unmatchable::Looks,
};

/// First segments of paths behind which a shop keeps what thieves try by machine: passwords, cards, carts full of
/// what is scarce.
const GUARDED: [&str; 14] = [
    "account",
    "admin",
    "basket",
    "cart",
    "checkout",
    "login",
    "orders",
    "password",
    "pay",
    "payment",
    "register",
    "sign-in",
    "signin",
    "wp-login.php",
];

pub(super) fn dangers(file: &File, config: Option<&Config>, cx: &mut Context<'_>) {
    let is_right = |d: &super::Diagnostic| d.severity == Severity::Warning;
    let Some(config) = config.filter(|_| cx.diagnostics.iter().all(is_right)) else {
        return;
    };
    let sections = file.routes.items().iter().map(Spanned::get_ref);
    let all: Paths<'_> = config
        .routes
        .iter()
        .filter(|r| r.methods.is_any())
        .filter_map(|r| Some((&r.hosts, plain(&r.path)?)))
        .flat_map(|(hosts, path)| hosts.iter().map(move |host| (host, path.clone())))
        .collect();
    let mut looks = Looks::new(config.server.encoded_slashes);
    for (section, route) in sections.zip(&config.routes) {
        unlimited(section, route, cx);
        private_pages(section, route, config, cx);
        never_chosen(section, route, &all, cx);
        never_matching(section, &mut looks, cx);
        nobody(section, file, cx);
    }
    everybody(file, cx);
    in_the_clear(file, cx);
}

/// Hosts and paths of all routes.
type Paths<'a> = HashSet<(&'a HostPattern, Vec<Segment>)>;

/// The word of a path that says that it is guarded.
fn guarded(path: &PathPattern) -> Option<&str> {
    let first = match path {
        PathPattern::Exact(path) | PathPattern::Prefix(path) => path.split('/').nth(1),
        PathPattern::Segments(segments) => match segments.first() {
            Some(Segment::Literal(text)) => Some(text.as_str()),
            _ => None,
        },
        PathPattern::Regex(regex) => {
            let text = regex.text().strip_prefix("^/");
            text.and_then(|text| text.split(['/', '$']).next())
        }
    };
    first.filter(|first| GUARDED.contains(&first.to_ascii_lowercase().as_str()))
}

/// Where a route says what it is for.
fn place(section: &file::Route) -> Option<std::ops::Range<usize>> {
    let path = section.path.given().map(Spanned::span);
    let regex = || section.path_regex.given().map(Spanned::span);
    path.or_else(regex)
        .or_else(|| section.class.given().map(Spanned::span))
}

/// A route that is worth a robber's while, and that nobody counts.
fn unlimited(section: &file::Route, route: &Route, cx: &mut Context<'_>) {
    // Whom `allow` lets in is known, and what is answered here asks no shop.
    if !route.limits.is_empty() || !route.allow.is_empty() || route.upstream().is_none() {
        return;
    }
    let what = match (route.class, guarded(&route.path)) {
        (Class::Checkout, _) => "of class `checkout`".to_owned(),
        (_, Some(word)) => format!("for {}", shown(&format!("/{word}"))),
        _ => return,
    };
    if let Some(place) = place(section) {
        cx.warning(
            place,
            Complaint::new(format!("this route is {what} and has no limit"))
                .help("machines try passwords and cards here first: name a limit in `limits`"),
        );
    }
}

/// Pages of one visitor that a policy makes fresh of its own accord.
fn private_pages(section: &file::Route, route: &Route, config: &Config, cx: &mut Context<'_>) {
    let (Some(index), Some(cache)) = (route.cache, section.cache.given()) else {
        return;
    };
    let policy = &config.policies[index];
    let word =
        guarded(&route.path).or_else(|| (route.class == Class::Checkout).then_some("checkout"));
    if let (Some(word), Some(_), true) = (word, policy.ttl, policy.bypass_cookies.is_empty()) {
        cx.warning(
            cache.span(),
            Complaint::new(format!(
                "{} stores what the shop says nothing about, and pages of {} are one visitor's",
                shown(cache.get_ref()),
                shown(&format!("/{word}")),
            ))
            .help("leave `cache` out, or name the session cookie in `bypass_cookies`"),
        );
    }
}

/// An expression over something else than the paths that routes are chosen by.
fn never_matching(section: &file::Route, looks: &mut Looks, cx: &mut Context<'_>) {
    let Some(regex) = section.path_regex.given() else {
        return;
    };
    let text = regex.get_ref().text();
    if let Some(why) = looks.why(text) {
        let complaint = Complaint::new(format!(
            "this route never matches: no path that routes are chosen by fits {}",
            shown(text)
        ));
        cx.warning(regex.span(), complaint.help(why));
    }
}

/// A prefix of which each path is another route's, which says more.
fn never_chosen(section: &file::Route, route: &Route, all: &Paths<'_>, cx: &mut Context<'_>) {
    let base = match &route.path {
        PathPattern::Prefix(prefix) => literals(prefix.trim_end_matches('/')),
        PathPattern::Segments(segments) if segments.last() == Some(&Segment::Rest) => {
            segments[..segments.len() - 1].to_vec()
        }
        PathPattern::Exact(_) | PathPattern::Segments(_) | PathPattern::Regex(_) => return,
    };
    let has = |tail: &[Segment]| {
        let wanted: Vec<Segment> = base.iter().chain(tail).cloned().collect();
        let mut hosts = route.hosts.iter();
        hosts.all(|host| all.contains(&(host, wanted.clone())))
    };
    let param = || Segment::Param(String::new());
    // The folder itself, what lies in it, and what lies below.
    let is_covered = has(&[Segment::Literal(String::new())])
        && has(&[param()])
        && has(&[param(), Segment::Rest]);
    if let (true, Some(path)) = (is_covered, section.path.given().map(Spanned::span)) {
        cx.warning(
            path,
            Complaint::new(
                "this route never matches: others with parameters take all of its paths",
            )
            .help("remove it, or one of those"),
        );
    }
}

fn literals(path: &str) -> Vec<Segment> {
    let segments = path.split('/').skip(1);
    segments
        .map(|text| Segment::Literal(text.to_owned()))
        .collect()
}

/// A path as segments whose parameters have no names; none of an expression.
fn plain(path: &PathPattern) -> Option<Vec<Segment>> {
    Some(match path {
        PathPattern::Regex(_) => return None,
        PathPattern::Exact(path) => literals(path),
        PathPattern::Prefix(prefix) => {
            let mut segments = literals(prefix.trim_end_matches('/'));
            segments.push(Segment::Rest);
            segments
        }
        PathPattern::Segments(segments) => segments
            .iter()
            .map(|segment| match segment {
                Segment::Param(_) => Segment::Param(String::new()),
                other => other.clone(),
            })
            .collect(),
    })
}

fn list<'a>(name: &str, file: &'a File) -> Option<&'a file::AddressList> {
    let mut lists = file.address_lists.entries().iter();
    lists.find(|(known, _)| known.get_ref() == name)?.1.value()
}

/// A route that lets nobody in.
fn nobody(section: &file::Route, file: &File, cx: &mut Context<'_>) {
    let allowed = section.allow.items();
    let Some(first) = allowed.first() else {
        return;
    };
    let denied = section.deny.items();
    let server = file.server.value().map(|server| server.deny.items());
    let is_denied = |name: &Spanned<String>| {
        let mut all = denied.iter().chain(server.unwrap_or_default());
        all.any(|other| other.get_ref() == name.get_ref())
    };
    let is_empty = |name: &Spanned<String>| {
        let list = list(name.get_ref(), file);
        list.is_some_and(|list| {
            list.entries.items().is_empty() && matches!(list.file, Field::Absent)
        })
    };
    if allowed.iter().all(|name| is_empty(name) || is_denied(name)) {
        let why = match allowed.iter().all(is_empty) {
            true => "nobody is on the lists of `allow`",
            false => "who is on a list of `allow` is kept out by `deny`",
        };
        cx.warning(
            first.span(),
            Complaint::new(format!("this route answers everyone with 403: {why}"))
                .help("put an address on a list of `allow`, or leave `allow` out"),
        );
    }
}

/// Lists that have everybody on them.
fn everybody(file: &File, cx: &mut Context<'_>) {
    let mut warn = |names: &Field<List<String>>, what: &str, help: &str| {
        for name in names.items() {
            let Some((all, network)) = list(name.get_ref(), file).and_then(whole) else {
                continue;
            };
            cx.warning(
                name.span(),
                Complaint::new(format!(
                    "{} has {all} on it ({}): {what}",
                    shown(name.get_ref()),
                    cx.source.place(network.start),
                ))
                .help(help),
            );
        }
    };
    if let Some(server) = file.server.value() {
        warn(
            &server.deny,
            "they are refused on every route",
            "name the networks that are meant",
        );
    }
    for section in file.routes.items() {
        let route = section.get_ref();
        warn(
            &route.allow,
            "`allow` keeps nobody out",
            "name the networks that are meant, or leave `allow` out",
        );
        warn(
            &route.deny,
            "this route refuses them all",
            "name the networks that are meant",
        );
    }
    for (_, limit) in file.limits.entries() {
        if let Some(limit) = limit.value() {
            warn(
                &limit.exempt,
                "this limit counts none of them",
                "name the networks that are meant",
            );
        }
    }
}

/// Whether the entries of a list have every address of a kind among them, and where the first of them stands.
fn whole(list: &file::AddressList) -> Option<(&'static str, std::ops::Range<usize>)> {
    let items = list.entries.items();
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for item in items {
        match item.get_ref().0.trunc() {
            IpNet::V4(network) => v4.push(network),
            IpNet::V6(network) => v6.push(network),
        }
    }
    let all_v4 = Ipv4Net::aggregate(&v4).iter().any(|n| n.prefix_len() == 0);
    let all_v6 = Ipv6Net::aggregate(&v6).iter().any(|n| n.prefix_len() == 0);
    let all = match (all_v4, all_v6) {
        (true, true) => "every address",
        (true, false) => "every IPv4 address",
        (false, true) => "every IPv6 address",
        (false, false) => return None,
    };
    let widest = items
        .iter()
        .min_by_key(|item| item.get_ref().0.prefix_len())?;
    Some((all, widest.span()))
}

/// A listener that strangers reach, and that serves without TLS what others serve with it.
fn in_the_clear(file: &File, cx: &mut Context<'_>) {
    let is_on = |field: &Field<bool>| field.value() == Some(&true);
    let listeners = file.listeners.items();
    if !listeners.iter().any(|l| is_on(&l.get_ref().tls)) {
        return;
    }
    for section in listeners {
        let listener = section.get_ref();
        let is_plain = !is_on(&listener.tls) && !is_on(&listener.redirect_to_https);
        let Some(address) = listener.address.given().filter(|_| is_plain) else {
            continue;
        };
        // A balancer in front may have ended TLS.
        if address.get_ref().ip().is_loopback() || is_on(&listener.proxy_protocol) {
            continue;
        }
        cx.warning(
            address.span(),
            Complaint::new("this listener serves in the clear what others serve by TLS: sessions can be read on the way")
                .help("write `redirect_to_https = true`, or listen on an address that strangers do not reach"),
        );
    }
}

#[cfg(test)]
mod tests;
