//! What a route does with its requests: pass them on, send them elsewhere, or answer them.

use std::ops::Range;

use http::{HeaderValue, Method};
use toml::{Spanned, de::DeValue};

use super::{
    context::{Context, Value},
    describe::Shape,
    diagnostic::{Complaint, shown},
    file,
    model::{Action, PathPattern, Respond, Segment, Upstream},
    pattern::HeaderHost,
    read::{Field, Read, Scalar},
    scalar::{FilePath, RequestPath},
    units::Size,
};
use crate::{
    edge::{Scheme, authority, path},
    route::{
        action::{FixedBody, Redirect, Rewrite},
        methods::Methods,
        path_regex::PathRegex,
        template::{Known, Template},
    },
};

/// Longest content that stands in the configuration itself.
const BODY_MAX: Size = Size(64 * 1024);

impl Scalar for PathRegex {
    const WANTED: &'static str = "a regular expression such as \"^/p/([0-9]+)$\"";

    fn parse(text: &str) -> Result<Self, Complaint> {
        Self::new(text).map_err(|why| {
            Complaint::new(format!(
                "{} is no regular expression for paths: {why}",
                shown(text)
            ))
            .help("the syntax is that of Rust's `regex`: no look-around, no back-references")
        })
    }
}

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

/// `Host` towards an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UpstreamHost {
    Visitor,
    Upstream,
    Name(String),
}

impl Scalar for UpstreamHost {
    const WANTED: &'static str = "\"visitor\", \"upstream\" or a host such as \"shop.example\"";

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "visitor" => Ok(Self::Visitor),
            "upstream" => Ok(Self::Upstream),
            _ => HeaderHost::parse(text).map(|host| Self::Name(host.0)),
        }
    }
}

/// `rewrite`: a template, or a table with an expression.
#[derive(Debug)]
pub(super) enum RewriteEntry {
    To(String),
    Matching(file::Rewrite),
}

impl Read for RewriteEntry {
    fn wanted() -> String {
        "a target such as \"/internal{path}\", or a table with `pattern` and `to`".to_owned()
    }

    fn shape() -> Shape {
        Shape::Either(vec![String::shape(), file::Rewrite::shape()])
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        if let DeValue::Table(_) = value.get_ref() {
            return file::Rewrite::read(value, cx).map(Self::Matching);
        }
        let wanted = Self::wanted();
        cx.text(value, &wanted).map(Self::To)
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

fn redirect(
    given: &Spanned<file::Redirect>,
    path: &PathPattern,
    cx: &mut Context<'_>,
) -> Option<Redirect> {
    let redirect = given.get_ref();
    let status = redirect.status.value;
    if let (false, Some(place)) = (
        matches!(status, 301 | 302 | 303 | 307 | 308),
        &redirect.status.span,
    ) {
        cx.error(
            place.clone(),
            Complaint::new(format!("{status} is no status of a redirect")).help(
                "write 301 or 302; 303 to ask with GET from there on; 307 or 308 to keep the method",
            ),
        );
    }
    let to = redirect.to.require("to", given.span(), cx)?;
    if let Err(complaint) = destination(to.get_ref()) {
        cx.error(to.span(), complaint);
        return None;
    }
    let known = Known {
        path,
        regex: None,
        visitor: false,
    };
    Some(Redirect {
        status: u16::try_from(status).ok()?,
        to: template(to, &known, cx)?,
    })
}

/// Where a redirect leads must be clear from the configuration, but for the host that was asked.
fn destination(to: &str) -> Result<(), Complaint> {
    let wrong = |why: &str| Complaint::new(format!("{} is no destination: {why}", shown(to)));
    if to.starts_with("//") {
        return Err(wrong("`//` would lead to another host")
            .help("write the scheme as well, as in \"https://www.shop.example/\""));
    }
    if to.starts_with('/') || to.starts_with("{path}") || to.starts_with("{rest}") {
        return Ok(());
    }
    let schemes = ["https://", "http://", "{scheme}://"];
    let Some(rest) = schemes.iter().find_map(|scheme| to.strip_prefix(scheme)) else {
        return Err(
            wrong("it begins neither with `/` nor with a scheme").help(
                "write a path such as \"/new{rest}\", or a URL such as \"https://www.shop.example{path}{?query}\"",
            ),
        );
    };
    let ends = ["/", "?", "#", "{path}", "{rest}", "{?query}"];
    let end = ends.iter().filter_map(|end| rest.find(end)).min();
    let host = rest[..end.unwrap_or(rest.len())].replace("{host}", "host.example");
    if host.contains('{') {
        return Err(wrong("a visitor could choose the host")
            .help("of a host only `{host}` may be a placeholder; a path begins with `/`, `{path}` or `{rest}`"));
    }
    match authority::normalise(&host, Scheme::Https) {
        Some(_) => Ok(()),
        None => Err(wrong("the host is malformed")),
    }
}

fn respond(given: &Spanned<file::Respond>, cx: &mut Context<'_>) -> Option<Respond> {
    let respond = given.get_ref();
    let status = respond.status.value;
    let status_place = || respond.status.span.clone().unwrap_or_else(|| given.span());
    let help = match status {
        206 | 304 | 416 => Some("it answers a range or a condition, and this answer has none"),
        300..=399 => Some("write `redirect = { to = …, status = … }`"),
        _ => None,
    };
    if let Some(help) = help {
        let complaint = Complaint::new(format!("{status} cannot be the answer to everything"));
        cx.error(status_place(), complaint.help(help));
    }
    let has_content = !matches!(status, 204 | 205);
    if let (false, Some(place)) = (
        has_content,
        span(&respond.body).or_else(|| span(&respond.body_file)),
    ) {
        cx.error(
            place,
            format!("an answer with status {status} has no content"),
        );
    }
    let body = match (&respond.body, &respond.body_file) {
        (Field::Given(_), Field::Given(file)) => {
            cx.error(file.span(), "`body` and `body_file` are both given");
            return None;
        }
        (Field::Wrong, _) | (_, Field::Wrong) => return None,
        (Field::Given(text), Field::Absent) => {
            if text.get_ref().len() as u64 > BODY_MAX.0 {
                cx.error(
                    text.span(),
                    Complaint::new("`body` has more than 64 KiB")
                        .help("put it into a file, and name that as `body_file`"),
                );
            }
            FixedBody::Inline(text.get_ref().clone())
        }
        (Field::Absent, Field::Given(file)) => FixedBody::File(cx.path(file.get_ref())),
        (Field::Absent, Field::Absent) => FixedBody::Absent,
    };
    let content_type = match (&respond.content_type, &body) {
        (Field::Wrong, _) => return None,
        (Field::Given(given), FixedBody::Absent) => {
            cx.error(
                given.span(),
                "`content_type` does nothing: there is no content",
            );
            HeaderValue::from_static("text/plain; charset=utf-8")
        }
        (Field::Given(given), _) => match content_type(given.get_ref()) {
            Some(value) => value,
            None => {
                let complaint = format!("{} is no type of content", shown(given.get_ref()));
                cx.error(
                    given.span(),
                    Complaint::new(complaint)
                        .help("write one such as \"text/html; charset=utf-8\""),
                );
                return None;
            }
        },
        (Field::Absent, body) => HeaderValue::from_static(type_of(body)),
    };
    Some(Respond {
        status: u16::try_from(status).ok()?,
        body,
        content_type,
    })
}

pub(super) fn content_type(text: &str) -> Option<HeaderValue> {
    let essence = text.split(';').next().unwrap_or_default().trim();
    let token = |text: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
        !text.is_empty() && text.bytes().all(plain)
    };
    let (kind, sub) = essence.split_once('/')?;
    let visible = text.bytes().all(|b| (b' '..=b'~').contains(&b));
    (token(kind) && token(sub) && visible && text.trim() == text)
        .then(|| HeaderValue::from_str(text).ok())?
}

/// What the name of a file says of its content.
fn type_of(body: &FixedBody) -> &'static str {
    let FixedBody::File(path) = body else {
        return "text/plain; charset=utf-8";
    };
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.unwrap_or_default() {
        "html" | "htm" => "text/html; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        _ => "application/octet-stream",
    }
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

/// What an upstream is asked for in the place of the visitor's target.
pub(super) fn rewrite(
    route: &file::Route,
    path: &PathPattern,
    cx: &mut Context<'_>,
) -> Option<Rewrite> {
    if let (Some(_), Some(strip)) = (route.rewrite.given(), route.strip_prefix.given()) {
        cx.error(
            strip.span(),
            Complaint::new("`rewrite` and `strip_prefix` are both given")
                .help("`rewrite = \"{rest}\"` is what stands behind a prefix"),
        );
        return None;
    }
    if let Some(prefix) = route.strip_prefix.given() {
        return strip(prefix, path, cx);
    }
    let entry = route.rewrite.given()?;
    match entry.get_ref() {
        RewriteEntry::To(text) => {
            let text = Spanned::new(entry.span(), text.clone());
            target(&text, path, None, cx).map(Rewrite::To)
        }
        RewriteEntry::Matching(table) => {
            let regex = table.pattern.require("pattern", entry.span(), cx);
            let to = table.to.require("to", entry.span(), cx);
            let regex = regex?.get_ref();
            let template = target(to?, path, Some(regex), cx)?;
            Some(Rewrite::Matching(regex.clone(), template))
        }
    }
}

fn target(
    text: &Spanned<String>,
    path: &PathPattern,
    regex: Option<&PathRegex>,
    cx: &mut Context<'_>,
) -> Option<Template> {
    let to = text.get_ref();
    let begins = to.starts_with('/') || to.starts_with("{path}") || to.starts_with("{rest}");
    if !begins || to.contains('#') {
        let complaint = Complaint::new(format!("{} is no target to ask for", shown(to)));
        cx.error(
            text.span(),
            complaint.help("it begins with `/`, `{path}` or `{rest}`, and has no fragment"),
        );
        return None;
    }
    let known = Known {
        path,
        regex,
        visitor: false,
    };
    template(text, &known, cx)
}

fn strip(
    given: &Spanned<RequestPath>,
    path: &PathPattern,
    cx: &mut Context<'_>,
) -> Option<Rewrite> {
    let prefix = given.get_ref().0.as_str();
    let wrong = |why: &str| Complaint::new(format!("{} cannot be stripped: {why}", shown(prefix)));
    if prefix.ends_with('/') || prefix.contains('?') {
        let plain = prefix.split('?').next().unwrap_or_default();
        let complaint = wrong("the `/` behind it stays");
        cx.error(
            given.span(),
            match plain.trim_end_matches('/') {
                "" => complaint,
                plain => complaint.help(format!("write \"{plain}\"")),
            },
        );
        return None;
    }
    // As the paths of routes are spelt.
    let plain = path::literal(prefix).unwrap_or_else(|| prefix.to_owned());
    let is_within = |literal: &str| {
        let rest = literal.strip_prefix(plain.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let fits = match path {
        PathPattern::Exact(path) | PathPattern::Prefix(path) => is_within(path),
        PathPattern::Segments(segments) => {
            let literals = segments.iter().map_while(|segment| match segment {
                Segment::Literal(text) => Some(text.as_str()),
                Segment::Param(_) | Segment::Rest => None,
            });
            is_within(&literals.fold(String::new(), |path, text| path + "/" + text))
        }
        PathPattern::Regex(_) => false,
    };
    if !fits {
        cx.error(
            given.span(),
            wrong("this route's paths need not begin so").help(match path {
                PathPattern::Regex(_) => {
                    "write `rewrite` with a group of the expression, such as \"/{1}\"".to_owned()
                }
                _ => format!("write `path = \"{prefix}/*\"`, or `rewrite`"),
            }),
        );
        return None;
    }
    Some(Rewrite::Strip(plain.len()))
}

/// `Host` towards the servers, where it is not the visitor's.
pub(super) fn upstream_host(
    given: &Field<UpstreamHost>,
    upstream: Option<&Upstream>,
    cx: &mut Context<'_>,
) -> Option<String> {
    let given = given.given()?;
    match (given.get_ref(), upstream) {
        (UpstreamHost::Visitor, _) | (UpstreamHost::Upstream, None) => None,
        (UpstreamHost::Name(name), _) => Some(name.to_ascii_lowercase()),
        (UpstreamHost::Upstream, Some(upstream)) => {
            let is_tls = upstream.tls.is_some();
            let mut names = upstream.servers.iter().map(|server| {
                let default = if is_tls { ":443" } else { ":80" };
                let name = server.name.as_str();
                name.strip_suffix(default).unwrap_or(name)
            });
            let first = names.next().unwrap_or_default();
            if let Some(other) = names.find(|name| *name != first) {
                cx.error(
                    given.span(),
                    Complaint::new(format!(
                        "the servers of {} have several names: {} and {}",
                        shown(&upstream.name),
                        shown(first),
                        shown(other)
                    ))
                    .help("write the name that they answer to"),
                );
                return None;
            }
            Some(first.to_ascii_lowercase())
        }
    }
}

#[cfg(test)]
mod tests;
