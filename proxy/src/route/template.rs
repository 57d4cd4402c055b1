//! Texts with placeholders: where a redirect leads, what a shop is asked for, what a field says.
//!
//! A template is read once, with the configuration. What a visitor puts into it is the normalised path, parts of it as
//! routes read it, the query, and a host that was checked, so that no control character and no space can come from there,
//! and nothing is decoded on the way that a path could not say as it is.

use std::{borrow::Cow, net::IpAddr};

use regex::Regex;

use super::path_regex::PathRegex;
use crate::{
    config::model::{PathPattern, Segment},
    edge::path::{self, EncodedSlashes},
};

/// Longest template.
const TEXT_MAX: usize = 8 * 1024;
/// Placeholders of one template. A target has up to 64 KiB, and may stand in for each of them.
const PLACEHOLDERS_MAX: usize = 16;
/// Longest result, in bytes. Twice what visitors may ask for where nobody changed it.
const RESULT_MAX: usize = 16 * 1024;

/// A text with placeholders.
#[derive(Debug, Clone)]
pub struct Template {
    parts: Box<[Part]>,
    /// What the captures are of, where there are any.
    regex: Option<Regex>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Scheme,
    Host,
    Path,
    Query,
    /// With its `?`, or nothing.
    MarkedQuery,
    /// Behind another parameter: with a `&`, or nothing.
    FurtherQuery,
    Rest(Rest),
    /// The segment of this number, from 0.
    Segment(usize),
    /// The group of this number, from 1.
    Capture(usize),
    ClientIp,
    RequestId,
}

/// Where the part of the matched path begins that the `*` of a pattern stands for, with the `/` before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Bytes(usize),
    Segments(usize),
}

/// What a template may name.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Paths of the route.
    pub path: &'a PathPattern,
    /// Whose groups are meant, where it is another expression than the route's.
    pub regex: Option<&'a PathRegex>,
    /// The visitor and the request's id may be named.
    pub visitor: bool,
}

/// What a request puts in the place of placeholders.
#[derive(Clone)]
pub struct Values<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Normalised, without a port.
    pub host: &'a str,
    /// Normalised, as the visitor spelt it.
    pub path: &'a str,
    /// The same as routes read it, of which patterns name parts.
    pub matched: Cow<'a, str>,
    /// Without its `?`.
    pub query: Option<&'a str>,
    /// The visitor.
    pub client: IpAddr,
    /// `X-Request-ID`.
    pub request_id: &'a str,
}

impl<'a> Values<'a> {
    /// Those of a normalised target and authority.
    pub fn new(
        scheme: &'a str,
        authority: &'a str,
        target: &'a str,
        slashes: EncodedSlashes,
    ) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        // The brackets of an IPv6 address stay.
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        };
        Self {
            scheme,
            host,
            path,
            matched: path::matched(path, slashes),
            query,
            client: IpAddr::from([0, 0, 0, 0]),
            request_id: "",
        }
    }
}

/// The result is longer than any that is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl Template {
    /// Reads a text. `{{` and `}}` are braces. An error says what is wrong, and what to do.
    pub fn parse(text: &str, known: &Known<'_>) -> Result<Self, (String, Option<String>)> {
        if text.len() > TEXT_MAX {
            return Err((format!("it is longer than {TEXT_MAX} bytes"), None));
        }
        let regex = known.regex.or(match known.path {
            PathPattern::Regex(regex) => Some(regex),
            _ => None,
        });
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let behind = &rest[at + 1..];
            if let Some(behind) = behind.strip_prefix(brace) {
                literal.push_str(brace);
                rest = behind;
                continue;
            }
            let Some((name, behind)) = behind.split_once('}').filter(|_| brace == "{") else {
                let help = "write `{{` and `}}` for braces that are meant as such";
                return Err(("a brace is open".to_owned(), Some(help.to_owned())));
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal).into()));
            }
            parts.push(part(name, known, regex)?);
            rest = behind;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        let placeholders = parts.iter().filter(|part| !matches!(part, Part::Text(_)));
        if placeholders.count() > PLACEHOLDERS_MAX {
            let why = format!("it has more than {PLACEHOLDERS_MAX} placeholders");
            return Err((why, None));
        }
        let captures = parts.iter().any(|part| matches!(part, Part::Capture(_)));
        Ok(Self {
            parts: parts.into(),
            regex: regex
                .filter(|_| captures)
                .map(|regex| regex.regex().clone()),
        })
    }

    /// Whether what it says differs from visitor to visitor, or from request to request, of one URL.
    pub fn is_personal(&self) -> bool {
        let personal = |part: &Part| matches!(part, Part::ClientIp | Part::RequestId);
        self.parts.iter().any(personal)
    }

    /// Whether it says anything of the query itself.
    pub fn has_query(&self) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Text(text) => text.contains('?'),
            part => matches!(part, Part::Query | Part::MarkedQuery | Part::FurtherQuery),
        })
    }

    /// Whether it ends in a `?`, which says that there is no query.
    fn drops_query(&self) -> bool {
        matches!(self.parts.last(), Some(Part::Text(text)) if text.ends_with('?'))
    }

    /// What is wrong with it as a URL or a target: characters that none may have, or a query in the wrong place.
    pub fn objection_to_url(&self) -> Option<(&'static str, &'static str)> {
        let mut in_query = false;
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Text(text) => {
                    if !text
                        .bytes()
                        .all(|b| b.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&b))
                    {
                        return Some((
                            "it has characters that no URL has",
                            "write them percent-encoded",
                        ));
                    }
                    in_query |= text.contains('?');
                }
                Part::Query | Part::FurtherQuery if !in_query => {
                    return Some((
                        "the query stands in a path",
                        "write `{?query}`, which brings its `?` along where there is a query",
                    ));
                }
                Part::MarkedQuery if in_query => {
                    return Some((
                        "`{?query}` stands behind a `?`",
                        "write `{&query}`, which brings a `&` along where there is a query",
                    ));
                }
                Part::MarkedQuery => {
                    let ends = match self.parts.get(at + 1) {
                        None => true,
                        Some(Part::Text(text)) => text.starts_with('#'),
                        Some(_) => false,
                    };
                    if !ends {
                        return Some((
                            "something stands behind `{?query}`, which may be nothing",
                            "put it before, as in \"?a=b{&query}\"",
                        ));
                    }
                    in_query = true;
                }
                _ => {}
            }
        }
        None
    }

    /// As a URL or target: what stands in a query does not end the parameter that it is the value of, and a `?` at the
    /// end goes.
    pub fn url(&self, values: &Values<'_>) -> Result<String, TooLong> {
        let mut url = self.expand(values, true)?;
        if self.drops_query() {
            url.pop();
        }
        Ok(url)
    }

    /// As a text.
    pub fn text(&self, values: &Values<'_>) -> Result<String, TooLong> {
        self.expand(values, false)
    }

    fn expand(&self, values: &Values<'_>, is_url: bool) -> Result<String, TooLong> {
        let captures = self
            .regex
            .as_ref()
            .map(|regex| regex.captures(&values.matched));
        let capture = |at: usize| {
            let captures = captures.as_ref().and_then(Option::as_ref);
            captures
                .and_then(|captures| captures.get(at))
                .map_or("", |group| group.as_str())
        };
        let mut out = String::with_capacity(128);
        let mut in_query = false;
        for part in &self.parts {
            let (text, is_path): (Cow<'_, str>, bool) = match part {
                Part::Text(text) => {
                    in_query |= text.contains('?');
                    (Cow::Borrowed(text), false)
                }
                Part::Scheme => (values.scheme.into(), false),
                Part::Host => (values.host.into(), false),
                Part::Path => (values.path.into(), true),
                Part::Query => (values.query.unwrap_or_default().into(), false),
                Part::MarkedQuery => {
                    if let Some(query) = values.query {
                        out.push('?');
                        out.push_str(query);
                    }
                    continue;
                }
                Part::FurtherQuery => {
                    if let Some(query) = values.query.filter(|query| !query.is_empty()) {
                        out.push('&');
                        out.push_str(query);
                    }
                    continue;
                }
                Part::Rest(rest) => (rest.of(&values.matched).into(), true),
                Part::Segment(at) => {
                    let segment = values.matched.split('/').nth(at + 1);
                    (segment.unwrap_or_default().into(), true)
                }
                Part::Capture(at) => (capture(*at).into(), true),
                Part::ClientIp => (values.client.to_string().into(), false),
                Part::RequestId => (values.request_id.into(), false),
            };
            if is_url && is_path && in_query {
                push_as_value(&mut out, &text);
            } else {
                out.push_str(&text);
            }
            if out.len() > RESULT_MAX {
                return Err(TooLong);
            }
        }
        match out.len() > RESULT_MAX {
            true => Err(TooLong),
            false => Ok(out),
        }
    }
}

/// What a path may have and a parameter's value may not.
fn push_as_value(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("%26"),
            '+' => out.push_str("%2B"),
            ';' => out.push_str("%3B"),
            c => out.push(c),
        }
    }
}

impl Rest {
    fn of(self, path: &str) -> &str {
        match self {
            Self::Bytes(at) => path.get(at..).unwrap_or_default(),
            Self::Segments(count) => {
                let mut slashes = memchr::memchr_iter(b'/', path.as_bytes());
                slashes.nth(count).map_or("", |at| &path[at..])
            }
        }
    }

    fn in_pattern(pattern: &PathPattern) -> Option<Self> {
        match pattern {
            PathPattern::Prefix(prefix) => Some(Self::Bytes(prefix.len().saturating_sub(1))),
            PathPattern::Segments(segments) => (segments.last() == Some(&Segment::Rest))
                .then(|| Self::Segments(segments.len().saturating_sub(1))),
            PathPattern::Exact(_) | PathPattern::Regex(_) => None,
        }
    }
}

fn part(
    name: &str,
    known: &Known<'_>,
    regex: Option<&PathRegex>,
) -> Result<Part, (String, Option<String>)> {
    let own = match name {
        "scheme" => Some(Part::Scheme),
        "host" => Some(Part::Host),
        "path" => Some(Part::Path),
        "query" => Some(Part::Query),
        "?query" => Some(Part::MarkedQuery),
        "&query" => Some(Part::FurtherQuery),
        "client_ip" if known.visitor => Some(Part::ClientIp),
        "request_id" if known.visitor => Some(Part::RequestId),
        _ => None,
    };
    if let Some(part) = own {
        return Ok(part);
    }
    if name == "rest" {
        return match Rest::in_pattern(known.path) {
            Some(rest) => Ok(Part::Rest(rest)),
            None => Err((
                "`{rest}` is what the `*` of a path stands for, and this path has none".to_owned(),
                Some("write `{path}` for all of it".to_owned()),
            )),
        };
    }
    if let Ok(at) = name.parse::<usize>()
        && at > 0
    {
        let groups = regex.map_or(0, |regex| regex.regex().captures_len() - 1);
        return match at <= groups {
            true => Ok(Part::Capture(at)),
            false => Err((
                format!("`{{{at}}}` is a group, and there are {groups}"),
                Some("groups stand in parentheses, in `path_regex` or in `pattern`".to_owned()),
            )),
        };
    }
    let mut names: Vec<Option<&str>> = Vec::new();
    if let Some(regex) = regex {
        names = regex.regex().capture_names().collect();
    }
    if let Some(at) = names.iter().position(|known| *known == Some(name)) {
        return Ok(Part::Capture(at));
    }
    if let PathPattern::Segments(segments) = known.path {
        let is_it = |segment: &Segment| matches!(segment, Segment::Param(param) if param == name);
        if let Some(at) = segments.iter().position(is_it) {
            return Ok(Part::Segment(at));
        }
    }
    let visitor: &[&str] = match known.visitor {
        true => &["client_ip", "request_id"],
        false => &[],
    };
    let general = ["scheme", "host", "path", "query", "?query", "&query"];
    let rest = Rest::in_pattern(known.path).map(|_| "rest");
    let all: Vec<_> = general
        .iter()
        .chain(visitor)
        .copied()
        .chain(rest)
        .chain(names.into_iter().flatten())
        .map(|name| format!("{{{name}}}"))
        .collect();
    Err((
        format!("there is no placeholder `{{{name}}}` here"),
        Some(format!("there are {}", all.join(", "))),
    ))
}

#[cfg(test)]
mod tests;
