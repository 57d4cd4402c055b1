//! What a route does with its requests: pass them on, send them elsewhere, or answer them.

mod redirect;
mod respond;
mod rewrite;

use std::ops::Range;

use http::Method;
use toml::{Spanned, de::DeValue};

use self::{redirect::redirect, respond::respond};
use super::{
    context::{Context, Value},
    describe::Shape,
    diagnostic::{Complaint, shown},
    file,
    model::{Action, PathPattern},
    read::{Field, Read, Scalar},
    scalar::FilePath,
};
use crate::route::{
    methods::Methods,
    template::{Known, Template},
};

pub(super) use self::{
    respond::content_type,
    rewrite::{RewriteEntry, UpstreamHost, rewrite, upstream_host},
};

/// A method that a route takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MethodName(pub(super) Method);

impl Scalar for MethodName {
    const WANTED: &'static str = "a method such as \"GET\"";

    fn pattern() -> Option<String> {
        Some("^[!#$%&'*+.^_`|~0-9A-Z-]+$".to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let upper = text.to_ascii_uppercase();
        match Method::from_bytes(text.as_bytes()) {
            Ok(Method::TRACE | Method::CONNECT) => {
                Err(format!("{} never reaches a route", shown(text)).into())
            }
            Ok(_) if upper != text => Err(Complaint::new(format!(
                "{} is no method: their names are told apart by case",
                shown(text)
            ))
            .help(format!("write \"{upper}\""))),
            Ok(method) => Ok(Self(method)),
            Err(_) => Err(Complaint::new(format!("{} is no method", shown(text)))
                .help("write one such as \"GET\" or \"POST\"")),
        }
    }
}

/// Pages by their statuses.
#[derive(Debug)]
pub(super) struct ErrorPages(pub(super) Vec<(u16, Spanned<FilePath>)>);

impl Read for ErrorPages {
    fn shape() -> Shape {
        Shape::Named(Box::new(FilePath::shape()))
    }

    fn wanted() -> String {
        "a table of statuses, each with the path of a file".to_owned()
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            cx.wrong_type(value, &Self::wanted());
            return None;
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut pages = Vec::new();
        for (name, value) in entries {
            let status = name.get_ref().parse::<u16>().ok();
            let Some(status) = status.filter(|status| (400..=599).contains(status)) else {
                cx.error(
                    name.span(),
                    Complaint::new(format!(
                        "{} is no status of a failure",
                        shown(name.get_ref())
                    ))
                    .help("write one from 400 to 599, such as `404 = \"404.html\"`"),
                );
                continue;
            };
            if let Some(file) = FilePath::read(value, cx) {
                pages.push((status, Spanned::new(value.span(), file)));
            }
        }
        Some(Self(pages))
    }
}

/// What a route does; exactly one thing. `upstream` is the index of the one it names, where that is known.
pub(super) fn action(
    section: &Spanned<file::Route>,
    upstream: Option<usize>,
    path: &PathPattern,
    cx: &mut Context<'_>,
) -> Option<Action> {
    let route = section.get_ref();
    let named = match route.files {
        // It may be what answers where there is no file.
        Field::Given(_) => ("files", span(&route.files)),
        _ => ("upstream", span(&route.upstream)),
    };
    let given: Vec<(&str, Range<usize>)> = [
        named,
        ("redirect", span(&route.redirect)),
        ("respond", span(&route.respond)),
    ]
    .into_iter()
    .filter_map(|(key, span)| Some((key, span?)))
    .collect();
    if let [(first, _), (second, place), ..] = &given[..] {
        let complaint = Complaint::new(format!(
            "this route has `{first}` as well: it does one thing, and `{second}` would be another"
        ));
        cx.error(place.clone(), complaint.help("remove one of them"));
        return None;
    }
    if let Some(files) = route.files.given() {
        let rules = super::files::files(files, route, upstream, path, cx);
        if matches!(route.upstream, Field::Absent) {
            nobody_else(route, cx);
        }
        return rules.map(|rules| Action::Files(Box::new(rules)));
    }
    if matches!(route.files, Field::Wrong) {
        return None;
    }
    if !matches!(route.upstream, Field::Absent) {
        return upstream.map(Action::Upstream);
    }
    let own = match (&route.redirect, &route.respond) {
        (Field::Given(to), _) => ("redirect", redirect(to, path, cx).map(Action::Redirect)),
        (_, Field::Given(with)) => ("respond", respond(with, cx).map(Action::Respond)),
        (Field::Absent, Field::Absent) => {
            cx.error(
                section.span(),
                Complaint::new("`upstream` is missing").help(
                    "name an upstream, or write `files = { root = … }`, `redirect = { to = … }` or `respond = { status = … }`",
                ),
            );
            return None;
        }
        _ => return None,
    };
    needs_upstream(route, own.0, cx);
    own.1
}

fn span<T>(field: &Field<T>) -> Option<Range<usize>> {
    field.given().map(Spanned::span)
}

/// Keys that are about a server do nothing where files alone answer.
fn nobody_else(route: &file::Route, cx: &mut Context<'_>) {
    for (key, place) in [
        ("class", span(&route.class)),
        ("timeouts", span(&route.timeouts)),
        ("upstream_host", span(&route.upstream_host)),
        ("request_headers", span(&route.request_headers)),
    ] {
        if let Some(place) = place {
            cx.error(
                place,
                format!("`{key}` does nothing: only files answer, and no upstream is asked"),
            );
        }
    }
}

/// Keys that are about an upstream do nothing on a route without one.
fn needs_upstream(route: &file::Route, action: &str, cx: &mut Context<'_>) {
    for (key, place) in [
        ("cache", span(&route.cache)),
        ("class", span(&route.class)),
        ("timeouts", span(&route.timeouts)),
        ("waiting_room", span(&route.waiting_room)),
        ("rewrite", span(&route.rewrite)),
        ("strip_prefix", span(&route.strip_prefix)),
        ("upstream_host", span(&route.upstream_host)),
        ("request_headers", span(&route.request_headers)),
    ] {
        if let Some(place) = place {
            cx.error(
                place,
                format!("`{key}` does nothing: a route with `{action}` asks no upstream"),
            );
        }
    }
}

/// Reads a template, with what is wrong with it as a URL.
fn template(text: &Spanned<String>, known: &Known<'_>, cx: &mut Context<'_>) -> Option<Template> {
    let (why, help) = match Template::parse(text.get_ref(), known) {
        Ok(template) => match template.objection_to_url() {
            None => return Some(template),
            Some((why, help)) => (why.to_owned(), Some(help.to_owned())),
        },
        Err(wrong) => wrong,
    };
    let complaint = Complaint::new(format!("{} cannot be used: {why}", shown(text.get_ref())));
    cx.error(
        text.span(),
        match help {
            Some(help) => complaint.help(help),
            None => complaint,
        },
    );
    None
}

/// The methods that a route takes.
pub(super) fn methods(route: &file::Route, cx: &mut Context<'_>) -> Methods {
    if let Some(list) = route.methods.given()
        && list.get_ref().written == 0
    {
        cx.error(
            list.span(),
            Complaint::new("this route takes no method at all")
                .help("leave out `methods` for all methods"),
        );
    }
    let items = route.methods.items();
    let mut methods: Vec<Method> = Vec::new();
    for item in items {
        let method = &item.get_ref().0;
        if methods.contains(method) {
            cx.error(item.span(), "this method is listed twice");
        }
        methods.push(method.clone());
    }
    if methods.contains(&Method::HEAD) && !methods.contains(&Method::GET) {
        let head = items.iter().find(|item| item.get_ref().0 == Method::HEAD);
        cx.error(
            head.map(Spanned::span).unwrap_or_default(),
            Complaint::new("HEAD goes where GET goes").help("add \"GET\""),
        );
    }
    Methods::new(methods)
}

#[cfg(test)]
mod tests;
