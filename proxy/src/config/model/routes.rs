//! Which requests go where.

use adaptive_concurrency::Class;

use super::{Hsts, Timeouts};
use crate::{
    files::{Fallback, Rules},
    respond::dress::Change,
    route::{
        action::{FixedBody, Redirect, Rewrite},
        headers::RequestHeaders,
        methods::Methods,
        path_regex::PathRegex,
    },
};

/// `[[routes]]`.
#[derive(Debug, Clone)]
pub struct Route {
    /// For metrics and logs: as written, `host` and `path` joined, or `name`.
    pub name: String,
    /// At least one.
    pub hosts: Vec<HostPattern>,
    /// Path pattern.
    pub path: PathPattern,
    /// A prefix that goes before expressions.
    pub before_regex: bool,
    /// Any, or these only.
    pub methods: Methods,
    /// What becomes of its requests.
    pub action: Action,
    /// What an upstream is asked for in the place of the visitor's target.
    pub rewrite: Option<Rewrite>,
    /// `Host` towards the upstream; absent means the visitor's.
    pub upstream_host: Option<String>,
    /// Changes of what an upstream gets.
    pub request_headers: RequestHeaders,
    /// Changes of what visitors get, after those of the server.
    pub response_headers: Vec<Change>,
    /// Index into `policies`; absent means nothing is stored or served from the store.
    pub cache: Option<usize>,
    /// Indices into `limits`.
    pub limits: Vec<usize>,
    /// Who alone may come, where there are any: indices into `address_lists`.
    pub allow: Vec<usize>,
    /// Who may not: indices into `address_lists`.
    pub deny: Vec<usize>,
    /// What its requests matter where not all can be taken.
    pub class: Class,
    /// Largest request body; `413` beyond it.
    pub max_body: u64,
    /// Time limits: the upstream's, but for those that the route has of its own.
    pub timeouts: Timeouts,
    /// Index into `waiting_rooms`.
    pub waiting_room: Option<usize>,
    /// What browsers are told of TLS: the server's, but for a route that has its own.
    pub hsts: Option<Hsts>,
}

impl Route {
    /// Index into `upstreams`, where it has one.
    pub fn upstream(&self) -> Option<usize> {
        match self.action {
            Action::Upstream(index) => Some(index),
            Action::Files(ref rules) => match rules.fallback {
                Fallback::Upstream(index) => Some(index),
                Fallback::NotFound | Fallback::File(_) => None,
            },
            Action::Redirect(_) | Action::Respond(_) => None,
        }
    }
}

/// What becomes of a route's requests.
#[derive(Debug, Clone)]
pub enum Action {
    /// Index into `upstreams`.
    Upstream(usize),
    /// Answered with files.
    Files(Box<Rules>),
    /// Sent elsewhere.
    Redirect(Redirect),
    /// Answered alike.
    Respond(Respond),
}

/// `respond`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// Status code.
    pub status: u16,
    /// Content; files are read when the edge is built.
    pub body: FixedBody,
    /// Of the content.
    pub content_type: http::HeaderValue,
}

/// Hosts a route applies to; lower case, without port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Every host.
    Any,
    /// `shop.example`.
    Exact(String),
    /// `*.shop.example`, kept as `shop.example`: any name below it, however deep.
    Wildcard(String),
}

/// Paths a route applies to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// `/cart`: this path only.
    Exact(String),
    /// `/products/*` kept as `/products/`; `/*` and an absent path as `/`.
    Prefix(String),
    /// `/products/:id/reviews`: a parameter matches one non-empty segment.
    Segments(Vec<Segment>),
    /// `path_regex`: all that an expression matches.
    Regex(PathRegex),
}

/// A part of a path between two slashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Matches itself.
    Literal(String),
    /// `:name`.
    Param(String),
    /// A trailing `*` after parameters: the rest of the path.
    Rest,
}
