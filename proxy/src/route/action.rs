//! What a route does with its requests.

use std::{borrow::Cow, path::PathBuf, sync::Arc};

use bytes::Bytes;
use http::HeaderValue;

use super::{
    path_regex::PathRegex,
    template::{Template, Values},
};
use crate::{
    edge::path::{self, EncodedSlashes},
    upstream::Upstream,
};

/// What a route does with its requests.
pub enum Action {
    /// An upstream answers, or the store in its place.
    Upstream(Arc<Upstream>),
    /// They are sent elsewhere.
    Redirect(Redirect),
    /// All get the same.
    Respond(Fixed),
}

/// To another URL.
#[derive(Debug, Clone)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// A path, or an absolute URL whose host no visitor can choose but by the host that it asks.
    pub to: Template,
}

impl Redirect {
    /// `Location`; `None` where it would be too long.
    pub fn location(&self, values: &Values<'_>) -> Option<String> {
        let mut location = self.to.url(values).ok()?;
        // `//name` would be another host, and browsers take further slashes for two.
        if location.starts_with("//") {
            let path = location.trim_start_matches('/').len();
            location.drain(..location.len() - path - 1);
        }
        Some(location)
    }
}

/// The same answer to everybody.
#[derive(Debug, Clone)]
pub struct Fixed {
    /// Status code.
    pub status: u16,
    /// Content; `None`: the page that belongs to the status, where it is a failure.
    pub body: Option<Bytes>,
    /// Of the content.
    pub content_type: HeaderValue,
}

/// The content of a fixed answer as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FixedBody {
    /// None.
    Absent,
    /// This text.
    Inline(String),
    /// What stands in a file when the edge is built.
    File(PathBuf),
}

/// What a shop is asked for in the place of the visitor's target.
#[derive(Debug, Clone)]
pub enum Rewrite {
    /// Without so many bytes at the beginning.
    Strip(usize),
    /// By a template; the query goes along, where the template says nothing of one.
    To(Template),
    /// The same for paths that match, whose groups it may name. Others stay.
    Matching(PathRegex, Template),
    /// The path as routes read it: files have no other.
    Matched,
}

impl Rewrite {
    /// The target that a shop is asked for, normalised like those of visitors. An error says why there is none.
    pub fn apply<'a>(&self, values: &Values<'a>, target: &'a str) -> Result<Cow<'a, str>, Refused> {
        let template = match self {
            Self::Strip(length) => return Ok(stripped(matched(values, target), *length)),
            Self::Matched => return Ok(matched(values, target)),
            Self::Matching(regex, _) if !regex.matches(&values.matched) => {
                return Ok(Cow::Borrowed(target));
            }
            Self::To(template) | Self::Matching(_, template) => template,
        };
        let mut sent = template
            .url(values)
            .map_err(|_| Refused("the rewritten target is too long"))?;
        if let Some(query) = values.query.filter(|_| !template.has_query()) {
            sent.push('?');
            sent.push_str(query);
        }
        // A group may hold a piece of a segment, and two pieces can come together as `..`.
        match path::normalise(&sent, EncodedSlashes::Keep) {
            Ok(target) => Ok(Cow::Owned(target.whole.into_owned())),
            Err(_) => Err(Refused("the rewritten target is no target")),
        }
    }
}

/// A target without so many bytes at its beginning.
fn stripped(target: Cow<'_, str>, length: usize) -> Cow<'_, str> {
    match target.get(length..) {
        None => target,
        Some(rest) if !rest.starts_with('/') => Cow::Owned(["/", rest].concat()),
        Some(_) => match target {
            Cow::Borrowed(target) => Cow::Borrowed(&target[length..]),
            Cow::Owned(mut target) => {
                target.drain(..length);
                Cow::Owned(target)
            }
        },
    }
}

/// The target with its path as routes read it.
fn matched<'a>(values: &Values<'a>, target: &'a str) -> Cow<'a, str> {
    match (&values.matched, values.query) {
        (Cow::Borrowed(_), _) => Cow::Borrowed(target),
        (Cow::Owned(path), Some(query)) => Cow::Owned([path, "?", query].concat()),
        (Cow::Owned(path), None) => Cow::Owned(path.clone()),
    }
}

/// Why a target is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub &'static str);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::model::PathPattern, route::template::Known};

    fn template(text: &str, path: &PathPattern, regex: Option<&PathRegex>) -> Template {
        let known = Known {
            path,
            regex,
            visitor: false,
        };
        Template::parse(text, &known).expect("a template")
    }

    #[test]
    fn no_redirect_leads_to_a_host_that_a_visitor_chose() {
        for (path, to, target, wanted) in [
            ("/old/*", "{rest}", "/old//evil.example", "/evil.example"),
            ("/*", "{path}", "//evil.example/x", "/evil.example/x"),
            ("/*", "{path}", "////evil.example", "/evil.example"),
            ("/*", "{path}", "//", "/"),
            ("~^/go/(.*)$", "/{1}", "/go//evil.example", "/evil.example"),
            ("~^/go/(.*)$", "/{1}", "/go/evil.example", "/evil.example"),
            (
                "/old/*",
                "https://www.shop.example{rest}",
                "/old//evil.example",
                "https://www.shop.example/evil.example",
            ),
            // Nothing is decoded on the way.
            ("/*", "/x{path}", "/%0D%0Aa", "/x/%0D%0Aa"),
            (
                "/*",
                "/x{?query}",
                "/?a=%0d%0aset-cookie:%20b",
                "/x?a=%0d%0aset-cookie:%20b",
            ),
        ] {
            let path = PathPattern::parse_for_tests(path);
            let redirect = Redirect {
                status: 302,
                to: template(to, &path, None),
            };
            let values = Values::new("https", "shop.example", target, EncodedSlashes::Decode);
            let location = redirect.location(&values);
            assert_eq!(location.as_deref(), Some(wanted), "{to} {target}");
        }
    }

    #[test]
    fn what_shops_are_asked_for() {
        let any = PathPattern::parse_for_tests("/*");
        let to = |text: &str| Rewrite::To(template(text, &any, None));
        let matching = |text: &str, to: &str| {
            let regex = PathRegex::new(text).expect("an expression");
            let template = template(to, &any, Some(&regex));
            Rewrite::Matching(regex, template)
        };
        for (rewrite, target, wanted) in [
            (Rewrite::Strip(4), "/api/x?y", Ok("/x?y")),
            (Rewrite::Strip(4), "/api", Ok("/")),
            (Rewrite::Strip(4), "/api?x", Ok("/?x")),
            (Rewrite::Strip(4), "/api//x", Ok("/x")),
            (Rewrite::Strip(4), "//api//x?//y", Ok("/x?//y")),
            (Rewrite::Strip(4), "//api", Ok("/")),
            (Rewrite::Strip(4), "/%2Fapi%2Fx", Ok("/x")),
            (Rewrite::Matched, "/a/b?c", Ok("/a/b?c")),
            (Rewrite::Matched, "//a%2Fb?c//d", Ok("/a/b?c//d")),
            (to("/product?"), "/a?b=c", Ok("/product")),
            (to("/product?"), "/a", Ok("/product")),
            (to("/i?p={path}?"), "/a?b=c", Ok("/i?p=/a")),
            (to("/i{?query}"), "/a?", Ok("/i?")),
            (to("/internal{path}"), "/a", Ok("/internal/a")),
            (to("/internal{path}"), "/a?b=c", Ok("/internal/a?b=c")),
            (to("/internal{path}"), "/a?", Ok("/internal/a?")),
            (to("/i?p={path}"), "/a?b=c", Ok("/i?p=/a")),
            (to("/i?p={path}&{query}"), "/a?b=c", Ok("/i?p=/a&b=c")),
            (to("/i{?query}"), "/a?b=c", Ok("/i?b=c")),
            (
                matching("^/p/([0-9]+)$", "/product?id={1}"),
                "/p/7",
                Ok("/product?id=7"),
            ),
            (
                matching("^/p/([0-9]+)$", "/product?id={1}"),
                "/p/x?y",
                Ok("/p/x?y"),
            ),
            // Pieces that come together are looked at anew.
            (matching("^/x(..)$", "/a/{1}/b"), "/x..", Ok("/b")),
            (
                matching("^/x(..)$", "/{1}/b"),
                "/x..",
                Err("the rewritten target is no target"),
            ),
            (matching("^/(.)(.*)$", "/%{2}"), "/x7e", Ok("/~")),
            (
                matching("^/(.)(.*)$", "/%{2}"),
                "/x0d",
                Err("the rewritten target is no target"),
            ),
            (
                to("{path}{path}{path}"),
                &format!("/{}", "a".repeat(8_000)),
                Err("the rewritten target is too long"),
            ),
        ] {
            let values = Values::new("https", "shop.example", target, EncodedSlashes::Decode);
            let sent = rewrite.apply(&values, target);
            let sent = sent.as_deref().map_err(|why| why.0);
            assert_eq!(sent, wanted, "{rewrite:?} {target}");
        }
    }
}
