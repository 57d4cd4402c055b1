//! In which order the locations of a server become routes, so that Dhal chooses as nginx does.
//!
//! nginx looks for the longest prefix of the outer locations, then for expressions within it, then for the outer
//! expressions in their order; `^~` ends the search before these. Dhal knows prefixes of whole segments only, so what
//! takes less or more than that is an expression, `^/api`, and expressions go by their order:
//!
//! 1. prefixes that nothing may go before, and expressions within prefixes, the longer prefix first;
//! 2. outer expressions, as they stand;
//! 3. expressions within prefixes that let everybody in, where an outer one keeps visitors out;
//! 4. prefixes that are expressions, the longest first.
//!
//! Where no order is right, the one that could let somebody in is closed.

mod guarded;
mod items;

use std::cmp::Reverse;

use super::{
    Scope,
    gates::{self, Shade},
    location::{Kind, Matcher, is_path},
    server::Site,
};
use crate::{expression, tree::Directive};

use self::{
    guarded::leads_to_gate,
    items::{Item, flatten, is_hidden},
};

pub(super) use self::guarded::{may_be_guarded, may_be_guarded_beyond};

/// A location with where its route stands, and what becomes of it.
pub(super) struct Step<'a> {
    pub(super) location: &'a Directive,
    pub(super) parent: Scope<'a>,
    pub(super) matchers: Vec<(Matcher, bool)>,
    /// Why nobody may come.
    pub(super) closed: Option<String>,
    /// What is to be said.
    pub(super) differs: Option<String>,
    /// Why there is no route.
    pub(super) missing: Option<String>,
    /// The group, the length of the prefix for which it stands there, whether it is no expression within it, and its own
    /// length.
    rank: (u8, Reverse<usize>, u8, Reverse<usize>),
}

/// What the locations of a server become, and whether all of it has to be closed, and for which location.
pub(super) struct Plan<'a> {
    pub(super) steps: Vec<Step<'a>>,
    pub(super) shut_for: Option<&'a Directive>,
}

pub(super) fn plan<'a>(site: &Site<'a>) -> Plan<'a> {
    let mut items = Vec::new();
    flatten(&mut items, &site.scope, site.directive, None, false, false);
    // Where the rewrite is lost, so is the gate that it leads to.
    for item in &mut items {
        if item.shade == Shade::Open && leads_to_gate(site, item.location) {
            item.shade = Shade::Gated;
        }
    }
    let compiled: Vec<_> = items
        .iter()
        .filter_map(|item| match item.kind {
            Kind::Regex { text, ignore_case } => Some(site.expressions.get(text, ignore_case)),
            _ => None,
        })
        .collect();
    let is_matched = |path: &str| compiled.iter().any(|regex| regex.may_match(path));
    let is_outer = |item: &Item<'_>| item.within.is_none() && !item.in_regex;
    let is_regex = |item: &Item<'_>| matches!(item.kind, Kind::Regex { .. });
    let outer: Vec<usize> = (0..items.len())
        .filter(|i| is_outer(&items[*i]) && is_regex(&items[*i]))
        .collect();
    let outer_open = outer.iter().all(|i| items[*i].shade == Shade::Open);
    let prefixes: Vec<usize> = (0..items.len())
        .filter(|i| items[*i].prefix().is_some())
        .collect();
    let text = |i: usize| items[i].prefix().unwrap_or_default();
    let extends = |long: usize, short: usize| {
        long != short && text(long).len() > text(short).len() && text(long).starts_with(text(short))
    };
    let nested: Vec<usize> = (0..items.len())
        .filter(|i| items[*i].within.is_some() && is_regex(&items[*i]))
        .collect();

    // The outermost prefix around a location in which expressions stand beside it.
    let beside = |i: usize| -> Option<usize> {
        let mut found = None;
        let mut at = i;
        while let Some(outer) = items[at].within {
            let is_final = matches!(items[at].kind, Kind::Final(_));
            let is_here = |n: &usize| *n != i && items[*n].within == Some(outer);
            match is_final {
                true => found = None,
                false if nested.iter().any(is_here) => found = Some(outer),
                false => {}
            }
            at = outer;
        }
        found
    };
    // A whole path that is written as an expression goes before it.
    let has_written_exact = |i: usize| {
        items.iter().any(|other| match other.kind {
            Kind::Exact(path) => path.starts_with(text(i)) && !is_path(path),
            _ => false,
        })
    };
    // Whether a location is chosen behind the expressions of a prefix around it.
    let lies_in = |mut at: usize, around: usize| {
        while let Some(outer) = items[at].within {
            if outer == around {
                return !matches!(items[at].kind, Kind::Final(_));
            }
            at = outer;
        }
        false
    };

    // Which prefixes are expressions, and which of them go first.
    let mut odd = vec![false; items.len()];
    let mut first = vec![false; items.len()];
    let simple = |i: usize| {
        // What lies within `^~` has expressions of its own beside it.
        let is_alone = items[i].is_final && items[i].within.is_none();
        simple(
            text(i),
            items[i].shade,
            items[i].is_final,
            is_alone,
            &is_matched,
        )
    };
    for i in &prefixes {
        let has_inner = nested.iter().any(|n| items[*n].within == Some(*i));
        // `^~ /` would take `/bx`, which this one leaves.
        let leaves_some = !items[*i].is_final
            && !text(*i).ends_with('/')
            && items.iter().any(|l| l.shade != Shade::Open && is_regex(l))
            && prefixes
                .iter()
                .any(|p| matches!(items[*p].kind, Kind::Final(_)) && extends(*i, *p));
        odd[*i] = simple(*i).is_none()
            || leaves_some
            || (items[*i].is_final && (has_inner || beside(*i).is_some() || has_written_exact(*i)));
    }
    // What lies in a prefix, but is chosen by a longer one.
    let mut siblings: Vec<Vec<usize>> = vec![Vec::new(); items.len()];
    for n in &nested {
        if let Some(p) = items[*n].within {
            siblings[*n] = prefixes
                .iter()
                .copied()
                .filter(|q| extends(*q, p) && !lies_in(*q, p))
                .collect();
            for q in siblings[*n].clone() {
                // It must go before the expression, or visitors came by that.
                if items[q].shade != Shade::Open && items[*n].shade != Shade::Shut {
                    odd[q] = true;
                    first[q] = true;
                }
            }
        }
    }
    loop {
        let mut changed = false;
        for q in &prefixes {
            if odd[*q] {
                // Whatever is odd and goes first takes along what is longer.
                let behind = prefixes
                    .iter()
                    .any(|p| odd[*p] && (first[*p] || items[*p].is_final) && extends(*q, *p));
                if behind && !first[*q] && !items[*q].is_final {
                    first[*q] = true;
                    changed = true;
                }
                continue;
            }
            let is_behind =
                !items[*q].is_final && prefixes.iter().any(|p| odd[*p] && extends(*q, *p));
            let is_before =
                items[*q].is_final && prefixes.iter().any(|p| odd[*p] && extends(*p, *q));
            if is_behind || is_before {
                odd[*q] = true;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }

    let mut steps = Vec::new();
    let mut shut_for = None;
    for (i, item) in items.iter().enumerate() {
        // `/é` is hidden along with it, and no route can say so before all expressions.
        let path = match item.kind {
            Kind::Exact(path) | Kind::Prefix(path) | Kind::Final(path) => path,
            _ => "",
        };
        if path.len() > 1
            && path.ends_with('/')
            && !is_path(path)
            && gates::is_internal(&item.parent.within(item.location.children()))
        {
            shut_for = shut_for.or(Some(item.location));
        }
        let mut step = Step {
            location: item.location,
            parent: item.parent.clone(),
            matchers: Vec::new(),
            closed: None,
            differs: None,
            missing: None,
            rank: (2, Reverse(0), 0, Reverse(0)),
        };
        if is_hidden(&items, item) {
            step.missing = Some(
                "nginx never chooses it: a longer prefix goes before the one around it".to_owned(),
            );
            steps.push(step);
            continue;
        }
        match item.kind {
            // They are read where something leads to them.
            Kind::Named(_) => continue,
            _ if item.in_regex => {
                step.missing = Some("Dhal has no expressions within expressions".to_owned());
                // Those around it are closed for it.
            }
            Kind::Exact(path) => {
                let matcher = Matcher::exact(path);
                if matches!(matcher, Matcher::Regex(_)) {
                    step.rank.0 = 0;
                }
                step.matchers = vec![(matcher, false)];
            }
            Kind::Prefix(path) | Kind::Final(path) => {
                if odd[i] {
                    step.matchers = vec![(Matcher::Begins(path.to_owned()), false)];
                    let goes_first = first[i] || item.is_final;
                    // Expressions beside it go before it, as nginx looks for them behind the longest prefix.
                    let place = beside(i).map_or(path.len(), |p| text(p).len());
                    step.rank = match goes_first {
                        true => (1, Reverse(place), 1, Reverse(path.len())),
                        false => (4, Reverse(path.len()), 1, Reverse(0)),
                    };
                    if first[i] && !item.is_final && item.shade != Shade::Shut && !outer_open {
                        step.closed = Some(
                            "nginx looks for expressions before it, and Dhal cannot in this order"
                                .to_owned(),
                        );
                    }
                } else {
                    step.matchers = simple(i).unwrap_or_default();
                    let below = format!("{path}/");
                    let is = |kind: Kind<'_>, text: &str| {
                        items.iter().any(|other| {
                            other.kind == kind
                                || (other.prefix() == Some(text) && other.within == item.within)
                        })
                    };
                    let has_exact = items.iter().any(|other| other.kind == Kind::Exact(path));
                    if !path.ends_with('/') && step.matchers.len() == 2 {
                        step.differs = Some(format!(
                            "`{path}` and everything below `{below}`; nginx takes `{path}x` too"
                        ));
                        // Locations that say more than this one take their part of it.
                        let has_below = is(Kind::Prefix(&below), &below);
                        step.matchers.retain(|(matcher, _)| match matcher {
                            Matcher::Exact(_) => !has_exact,
                            Matcher::Prefix(_) => !has_below,
                            _ => true,
                        });
                    } else if !path.ends_with('/') && has_exact {
                        step.missing = Some("it seems to be a file, which `=` takes; write a route for what else begins with it".to_owned());
                    } else if !path.ends_with('/') {
                        step.differs = Some("this path alone, which seems to be a file; nginx takes everything that begins with it".to_owned());
                    }
                }
                let inner = items
                    .iter()
                    .any(|n| n.in_regex && n.within == Some(i) && n.shade != Shade::Open);
                if inner {
                    step.closed =
                        Some("an expression within another keeps visitors out".to_owned());
                }
            }
            Kind::Regex {
                text: pattern,
                ignore_case,
            } => {
                let inner = item
                    .location
                    .children()
                    .iter()
                    .any(|d| d.name == "location");
                let hides = inner && {
                    let scope = item.parent.within(item.location.children());
                    gates::shade(&scope) != Shade::Shut && gates::hides(&scope, item.location)
                };
                if hides {
                    step.closed = Some("an expression within it keeps visitors out".to_owned());
                }
                let region = item.within.map(text);
                if region.is_some() {
                    step.rank = (1, Reverse(region.map_or(0, str::len)), 0, Reverse(0));
                }
                let own = site.expressions.get(pattern, ignore_case).own.clone();
                let within = match &own {
                    Ok(own) => expression::within(region.unwrap_or("/"), own),
                    Err(_) => expression::Within::No,
                };
                match (own, within, item.shade) {
                    (Ok(_), expression::Within::Exactly(text), _) => {
                        step.matchers = vec![(Matcher::Regex(text), false)];
                    }
                    (Ok(_), expression::Within::Mostly(text), Shade::Open) => {
                        step.matchers = vec![(Matcher::Regex(text), false)];
                        step.rank.0 = 3;
                    }
                    (Err(why), _, Shade::Open) => {
                        step.missing =
                            Some(format!("{why}; write a route with another expression"));
                    }
                    (Ok(_), _, Shade::Open) => {
                        step.missing = Some("an expression that names other paths than those of the location around it; write a route for it".to_owned());
                    }
                    (own, _, _) => {
                        let why = own.err().unwrap_or_else(|| {
                            "it takes other paths than those of the location around it".to_owned()
                        });
                        match expression::superset(pattern, ignore_case) {
                            Some(text) => {
                                step.matchers = vec![(Matcher::Regex(text), false)];
                                step.closed =
                                    Some(format!("{why}; write a route with another expression"));
                            }
                            None => {
                                step.missing =
                                    Some(format!("{why}; write a route with another expression"));
                                shut_for = shut_for.or(Some(item.location));
                            }
                        }
                    }
                }
                let leads = leads_elsewhere(item.location);
                let has_siblings = !siblings[i].is_empty();
                match item.shade {
                    Shade::Open if !outer_open && ((has_siblings && region.is_some()) || leads) => {
                        step.rank.0 = 3;
                    }
                    Shade::Gated if has_siblings && !outer_open => {
                        step.closed = Some("other locations go before it for some of its paths, and Dhal cannot in this order".to_owned());
                    }
                    _ => {}
                }
            }
        }
        steps.push(step);
    }
    // What looks alike to Dhal keeps the order of nginx.
    steps.sort_by_key(|step| step.rank);
    Plan { steps, shut_for }
}

/// A location that leads to another by a rewrite.
fn leads_elsewhere(location: &Directive) -> bool {
    location
        .children()
        .iter()
        .any(|d| d.name == "rewrite" && d.arg(2) != "break")
}

/// The routes of a prefix, where these say what nginx says, or less of what everybody may have.
fn simple(
    path: &str,
    shade: Shade,
    is_final: bool,
    is_alone: bool,
    is_matched: &dyn Fn(&str) -> bool,
) -> Option<Vec<(Matcher, bool)>> {
    if path == "/" && !is_final {
        return Some(vec![(Matcher::Any, false)]);
    }
    if !is_path(path) {
        return None;
    }
    if path.ends_with('/') {
        return Some(vec![(Matcher::Prefix(path.to_owned()), is_final)]);
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    let is_word = path
        .bytes()
        .last()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    if !is_word || shade != Shade::Open || (!is_alone && is_matched(path)) {
        return None;
    }
    if last.contains('.') {
        return Some(vec![(Matcher::Exact(path.to_owned()), false)]);
    }
    Some(vec![
        (Matcher::Exact(path.to_owned()), false),
        (Matcher::Prefix(format!("{path}/")), is_final),
    ])
}
