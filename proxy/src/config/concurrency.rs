//! `concurrency` of an upstream, and the classes of routes.

use adaptive_concurrency::{Bounds, Class};

use super::{
    context::Context,
    diagnostic::{Complaint, shown},
    file::{ConcurrencyEntry, File},
    model::{HostPattern, PathPattern, Route, Segment},
    read::{Field, Scalar, choice},
};

impl Scalar for Class {
    const WANTED: &'static str = "what a request matters, such as \"checkout\"";

    const CHOICES: &'static [(&'static str, Self)] = &[
        (Self::Checkout.as_str(), Self::Checkout),
        (Self::Cart.as_str(), Self::Cart),
        (Self::Browse.as_str(), Self::Browse),
        (Self::Bot.as_str(), Self::Bot),
    ];

    fn parse(text: &str) -> Result<Self, Complaint> {
        choice(text, Self::CHOICES)
    }
}

/// The limit of an upstream, where it has one.
pub(super) fn concurrency(given: &Field<ConcurrencyEntry>, cx: &mut Context<'_>) -> Option<Bounds> {
    let Some(ConcurrencyEntry::Yes(concurrency)) = given.value() else {
        return None;
    };
    let (min, max) = (&concurrency.min, &concurrency.max);
    if min.value > max.value
        && let Some(span) = max.span.clone().or_else(|| min.span.clone())
    {
        cx.error(span, "`max` is less than `min`");
    }
    if let (0, Some(span)) = (concurrency.queue.value, &concurrency.queue_timeout.span) {
        cx.warning(
            span.clone(),
            Complaint::new("`queue_timeout` does nothing: no request waits")
                .help("say with `queue` how many requests may wait"),
        );
    }
    // Their bounds are far below what a usize holds.
    let whole = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    Some(Bounds {
        min: whole(min.value),
        max: whole(max.value),
        queue: whole(concurrency.queue.value),
        patience: concurrency.queue_timeout.value,
    })
}

/// `/checkout/*` does not have `/checkout` in it, where a shop's form may well go: that is of another class then.
pub(super) fn bare_paths(file: &File, routes: &[Route], cx: &mut Context<'_>) {
    for (section, route) in file.routes.items().iter().zip(routes) {
        let section = section.get_ref();
        let (PathPattern::Prefix(prefix), Some(_), Some(path)) =
            (&route.path, section.class.given(), section.path.given())
        else {
            continue;
        };
        let bare = prefix.trim_end_matches('/');
        let chosen = match (bare, route.hosts.first()) {
            ("", _) | (_, None) => None,
            (bare, Some(host)) => chosen(routes, host, bare),
        };
        if let Some(other) = chosen
            && other.class != route.class
        {
            cx.warning(
                path.span(),
                Complaint::new(format!(
                    "{} is not in this route, and of class `{}` by another, not `{}`",
                    shown(bare),
                    other.class.as_str(),
                    route.class.as_str(),
                ))
                .help(format!(
                    "add a route with `path = \"{bare}\"` and `class = \"{}\"`",
                    route.class.as_str()
                )),
            );
        }
    }
}

/// The route of a path that no parameter is looked for in: of the same host, or of any.
fn chosen<'a>(routes: &'a [Route], host: &HostPattern, path: &str) -> Option<&'a Route> {
    let of = |host: &HostPattern| {
        let here = routes
            .iter()
            .filter(move |route| route.hosts.contains(host));
        here.filter_map(|route| Some((rank(&route.path, path)?, route)))
            .max_by_key(|(rank, _)| *rank)
            .map(|(_, route)| route)
    };
    of(host).or_else(|| of(&HostPattern::Any))
}

/// How closely a pattern says what a path is, if it does: as a whole, by segments, or by how much of it.
fn rank(pattern: &PathPattern, path: &str) -> Option<usize> {
    match pattern {
        PathPattern::Exact(exact) => (exact == path).then_some(usize::MAX),
        PathPattern::Prefix(prefix) => path.starts_with(prefix.as_str()).then_some(prefix.len()),
        // Behind whole paths, and before prefixes that are shorter than any path can be.
        PathPattern::Regex(regex) => regex.matches(path).then_some(usize::MAX - 2),
        PathPattern::Segments(segments) => {
            let mut parts = path.split('/').skip(1);
            let fits = segments.iter().all(|segment| match segment {
                Segment::Literal(text) => parts.next() == Some(text.as_str()),
                Segment::Param(_) => parts.next().is_some_and(|part| !part.is_empty()),
                Segment::Rest => parts.by_ref().count() > 0,
            });
            (fits && parts.next().is_none()).then_some(usize::MAX - 1)
        }
    }
}
