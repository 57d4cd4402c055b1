//! The names of Dhal's keys that the translation writes, where they might have other ones one day.
//!
//! Keys that everybody knows (`path`, `upstream`) stand where they are used.

/// The query with its `?`, or nothing.
pub(crate) const QUERY: &str = "{?query}";

/// The query behind another, with its `&`, or nothing.
pub(crate) const QUERY_TOO: &str = "{&query}";

/// What nginx calls `$request_uri`.
pub(crate) const PATH_AND_QUERY: &str = "{path}{?query}";

/// What the `*` of a path stands for, with the slash before it.
pub(crate) const REST: &str = "{rest}";

/// A path expression of a route.
pub(crate) const PATH_REGEX: &str = "path_regex";

/// A prefix goes before expressions.
pub(crate) const FINAL: &str = "before_regex";

/// Changes to fields towards the upstream, and towards visitors.
pub(crate) const REQUEST_HEADERS: &str = "request_headers";
pub(crate) const RESPONSE_HEADERS: &str = "response_headers";

/// The answers of which `add_header` without `always` speaks: those of some statuses below 400.
pub(crate) const SUCCESS: (&str, &str) = ("on", "\"success\"");

/// `Host` towards an upstream.
pub(crate) const UPSTREAM_HOST: &str = "upstream_host";

/// A text in which braces are braces.
pub(crate) fn literal(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}
