//! What an upstream is asked for in the place of what the visitor asked for: target and host.

use toml::{Spanned, de::DeValue};

use super::template;
use crate::{
    config::{
        context::{Context, Value},
        describe::Shape,
        diagnostic::{Complaint, shown},
        file,
        model::{PathPattern, Segment, Upstream},
        pattern::HeaderHost,
        read::{Field, Read, Scalar},
        scalar::RequestPath,
    },
    edge::path,
    route::{
        action::Rewrite,
        path_regex::PathRegex,
        template::{Known, Template},
    },
};

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

/// `Host` towards an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum UpstreamHost {
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
pub(in crate::config) enum RewriteEntry {
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

/// What an upstream is asked for in the place of the visitor's target.
pub(in crate::config) fn rewrite(
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
pub(in crate::config) fn upstream_host(
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
