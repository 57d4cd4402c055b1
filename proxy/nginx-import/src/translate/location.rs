//! Locations: which requests they take, and what answers them.
//!
//! nginx looks for `=`, then for the longest prefix; unless that one is `^~` the first expression that
//! matches goes before it. Dhal: exact paths, prefixes that are `final`, expressions in their order, prefixes.

use super::{Block, Scope, Translator, server::Site};
use crate::{
    dialect, expression,
    toml::{self, Section},
    tree::Directive,
    units,
};

/// Which paths a route takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Matcher {
    Any,
    Exact(String),
    /// Everything that begins so; it ends in `/`.
    Prefix(String),
    Regex(String),
}

impl Matcher {
    /// One path; an expression where a path of Dhal cannot say it.
    pub(super) fn exact(path: &str) -> Self {
        match is_path(path) {
            true => Self::Exact(path.to_owned()),
            false => Self::Regex(format!("^{}$", expression::escaped(path))),
        }
    }

    fn key(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Any => None,
            Self::Exact(path) => Some(("path", toml::string(path))),
            Self::Prefix(path) => Some(("path", toml::string(&format!("{path}*")))),
            Self::Regex(text) => Some((dialect::PATH_REGEX, toml::string(text))),
        }
    }
}

/// Whether `path` of a route can say it.
fn is_path(path: &str) -> bool {
    let inner = path.strip_prefix('/').unwrap_or("//");
    let parts: Vec<_> = inner.split('/').collect();
    let empty = parts.iter().rev().skip(1).any(|part| part.is_empty());
    !empty
        && !parts
            .iter()
            .any(|part| part.starts_with(':') || matches!(*part, "." | ".."))
        && path
            .chars()
            .all(|c| c.is_ascii_graphic() && !"\\\"<>^`{|}*?#%".contains(c))
}

/// How a location says what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind<'a> {
    Exact(&'a str),
    Prefix(&'a str),
    Final(&'a str),
    Regex { text: &'a str, ignore_case: bool },
    Named(&'a str),
}

fn kind(location: &Directive) -> Kind<'_> {
    let (modifier, text) = match location.args.len() {
        0 | 1 => {
            let word = location.arg(0);
            let modifier = ["~*", "^~", "=", "~"]
                .into_iter()
                .find(|m| word.starts_with(m));
            let modifier = modifier.unwrap_or("");
            (modifier, &word[modifier.len()..])
        }
        _ => (location.arg(0), location.arg(1)),
    };
    match modifier {
        "=" => Kind::Exact(text),
        "^~" => Kind::Final(text),
        "~" => Kind::Regex {
            text,
            ignore_case: false,
        },
        "~*" => Kind::Regex {
            text,
            ignore_case: true,
        },
        _ if text.starts_with('@') => Kind::Named(text),
        _ => Kind::Prefix(text),
    }
}

impl<'a> Site<'a> {
    fn locations(&self) -> impl Iterator<Item = &'a Directive> {
        self.directive
            .children()
            .iter()
            .filter(|d| d.name == "location")
    }

    /// The location that nginx would choose for a path, as far as that can be seen.
    pub(super) fn location_of(&self, path: &str) -> Option<&'a Directive> {
        if !path.starts_with('/') {
            return None;
        }
        let mut best: Option<(usize, bool, &Directive)> = None;
        let mut found = None;
        for location in self.locations() {
            let (length, is_final) = match kind(location) {
                Kind::Exact(text) if text == path => return Some(location),
                Kind::Prefix(text) if path.starts_with(text) => (text.len(), false),
                Kind::Final(text) if path.starts_with(text) => (text.len(), true),
                Kind::Regex { text, ignore_case } => {
                    if found.is_none() && expression::matches(text, ignore_case, path) {
                        found = Some(location);
                    }
                    continue;
                }
                _ => continue,
            };
            if best.is_none_or(|(known, _, _)| length > known) {
                best = Some((length, is_final, location));
            }
        }
        match (best, found) {
            (Some((_, true, location)), _) => Some(location),
            (_, Some(location)) => Some(location),
            (best, None) => best.map(|(_, _, location)| location),
        }
    }

    /// A location by its name, such as `@shop`.
    pub(super) fn named(&self, name: &str) -> Option<&'a Directive> {
        self.locations()
            .find(|location| kind(location) == Kind::Named(name))
    }
}

impl<'a> Translator<'a> {
    /// All routes of a server.
    pub(super) fn site(&mut self, site: &Site<'a>) {
        let children = site.directive.children();
        let from = self.routes.len();
        let all = children.iter().find(|d| d.name == "return");
        self.server_rules(site, true);
        if let Some(answer) = all {
            if answer.arg(0) == "444" && site.hosts.is_empty() {
                self.differs(
                    answer,
                    "no route, so that Dhal answers 404 to hosts that have none",
                );
                return;
            }
            let mut out = Section::default();
            self.returns(site, &site.scope, answer, &mut out);
            self.headers(site, &site.scope, &mut out);
            self.route(site, &Matcher::Any, false, out);
            return;
        }
        for location in site.locations() {
            self.location(site, &site.scope, location);
        }
        let any = self.routes[from..].iter().any(|block| match block {
            Block::Section(section) => {
                let own = section.keys.iter().any(|k| k.name == "host") != site.hosts.is_empty();
                own && !section.has("path") && !section.has(dialect::PATH_REGEX)
            }
            Block::Comment(_) => false,
        });
        if any {
            return;
        }
        // Without it the routes for any host would answer.
        let mut out = Section::default();
        if site.scope.one("root").is_some() {
            self.content(site, &site.scope, &Matcher::Any, &mut out);
        } else if site.hosts.is_empty() {
            return;
        } else {
            out.set("respond", toml::table(&[("status", "404".to_owned())]));
        }
        self.route(site, &Matcher::Any, false, out);
    }

    fn location(&mut self, site: &Site<'a>, parent: &Scope<'a>, location: &'a Directive) {
        let scope = parent.within(location.children());
        let matchers = match kind(location) {
            // They are read where something leads to them.
            Kind::Named(_) => return,
            Kind::Exact(path) => vec![(Matcher::exact(path), false)],
            Kind::Prefix(path) => self.prefix(site, location, path, false),
            Kind::Final(path) => self.prefix(site, location, path, true),
            Kind::Regex { text, ignore_case } => match expression::translated(text, ignore_case) {
                Ok(text) => {
                    let is_nested = parent.0.len() > site.scope.0.len();
                    if is_nested && !text.contains('^') {
                        self.differs(location, "as if it stood outside: it takes such paths under other locations too, unless these are `final`");
                    }
                    vec![(Matcher::Regex(text), false)]
                }
                Err(why) => {
                    self.missing(
                        location,
                        format!("{why}; write a route with another expression"),
                    );
                    self.with_block(location);
                    self.closed(site, location);
                    return;
                }
            },
        };
        self.full(location);
        // Expressions within go before those outside.
        for inner in location.children().iter().filter(|d| d.name == "location") {
            self.location(site, &scope, inner);
        }
        for (matcher, is_final) in &matchers {
            let mut out = Section::default();
            if let Some(internal) = location.children().iter().find(|d| d.name == "internal") {
                self.full(internal);
                out.set("respond", toml::table(&[("status", "404".to_owned())]));
            } else {
                self.content(site, &scope, matcher, &mut out);
            }
            self.leftovers(location.children(), &|name| name != "location");
            if let (Matcher::Prefix(path), true) = (
                matcher,
                matchers.len() == 1 && out.has("upstream") && !out.has("files"),
            ) {
                self.slashed(site, path);
            }
            self.route(site, matcher, *is_final, out);
        }
    }

    /// A request for `/api` is led to `/api/`, where that is a location with an upstream.
    fn slashed(&mut self, site: &Site<'a>, path: &str) {
        let Some(bare) = path.strip_suffix('/').filter(|p| !p.is_empty()) else {
            return;
        };
        let known = site.locations().any(
            |l| matches!(kind(l), Kind::Exact(p) | Kind::Prefix(p) | Kind::Final(p) if p == bare),
        );
        if known || !is_path(bare) {
            return;
        }
        let notes = self.notes();
        let mut out = Section::default();
        let to = format!(
            "{{scheme}}://{{host}}{}{}",
            dialect::literal(path),
            dialect::QUERY
        );
        out.set(
            "redirect",
            toml::table(&[("to", toml::string(&to)), ("status", "301".to_owned())]),
        );
        self.route(site, &Matcher::Exact(bare.to_owned()), false, out);
        self.pending = notes;
    }

    /// What takes everything that begins with a text.
    fn prefix(
        &mut self,
        site: &Site<'a>,
        location: &Directive,
        path: &str,
        is_final: bool,
    ) -> Vec<(Matcher, bool)> {
        if path == "/" && !is_final {
            return vec![(Matcher::Any, false)];
        }
        if path.ends_with('/') && is_path(path) {
            return vec![(Matcher::Prefix(path.to_owned()), is_final)];
        }
        let whole_word = path
            .bytes()
            .last()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        if !whole_word || !is_path(path) {
            self.differs(location, "as an expression, which goes before prefixes");
            return vec![(
                Matcher::Regex(format!("^{}", expression::escaped(path))),
                false,
            )];
        }
        let last = path.rsplit('/').next().unwrap_or_default();
        if last.contains('.') {
            self.differs(location, "this path alone, which seems to be a file; nginx takes everything that begins with it");
            return vec![(Matcher::Exact(path.to_owned()), false)];
        }
        let below = format!("{path}/");
        self.differs(
            location,
            format!("`{path}` and everything below `{below}`; nginx takes `{path}x` too"),
        );
        // Locations that say more than this one take their part of it.
        let has = |wanted: &dyn Fn(Kind<'_>) -> bool| site.locations().any(|l| wanted(kind(l)));
        let is_exact = has(&|kind| kind == Kind::Exact(path));
        let is_below = has(&|kind| kind == Kind::Prefix(&below) || kind == Kind::Final(&below));
        let mut out = Vec::new();
        if !is_exact {
            out.push((Matcher::Exact(path.to_owned()), false));
        }
        if !is_below {
            out.push((Matcher::Prefix(below.clone()), is_final));
        }
        out
    }

    /// What answers, and on which terms.
    pub(super) fn content(
        &mut self,
        site: &Site<'a>,
        scope: &Scope<'a>,
        matcher: &Matcher,
        out: &mut Section,
    ) {
        self.location_redirects(site, scope, out);
        self.location_ifs(scope, out);
        let own = |name: &str| scope.own().iter().find(|d| d.name == name);
        if out.has("redirect") {
        } else if let Some(answer) = own("return") {
            self.returns(site, scope, answer, out);
        } else if let Some(pass) = own("proxy_pass") {
            self.proxy_pass(site, scope, pass, matcher, out);
            if let Some(files) = own("try_files") {
                self.missing(files, "the upstream is asked for everything here; give files a route of their own with `files`");
            }
        } else if let Some(pass) = own("grpc_pass") {
            self.grpc_pass(scope, pass, out);
        } else if let Some(pass) = ["fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass"]
            .into_iter()
            .find_map(own)
        {
            self.unanswerable(pass, "Dhal speaks HTTP to its upstreams; put a server that speaks HTTP in front of the application", out);
        } else if let Some(status) = own("stub_status") {
            self.missing(
                status,
                "ask `dhal status`, or `/metrics` of the admin endpoint",
            );
            out.set("respond", toml::table(&[("status", "404".to_owned())]));
        } else if let Some(lua) = [
            "content_by_lua_block",
            "content_by_lua_file",
            "content_by_lua",
            "js_content",
            "perl",
        ]
        .into_iter()
        .find_map(own)
        {
            self.unanswerable(lua, "Dhal runs no scripts; let the shop answer", out);
        } else {
            self.statics(site, scope, matcher, out);
        }
        if let Some(methods) = own("limit_except") {
            self.limit_except(methods, out);
        }
        // `return` and redirects go before who may come and how often, as with nginx.
        if out.has("upstream") || out.has("files") {
            self.access(scope, out);
            self.limits(scope, out);
            self.body(scope, out);
        }
        self.headers(site, scope, out);
        if let Some(gzip) = own("gzip") {
            self.gzip(gzip);
        }
    }

    fn limit_except(&mut self, directive: &Directive, out: &mut Section) {
        let methods: Vec<_> = directive.words().map(str::to_owned).collect();
        let denies_all = directive
            .children()
            .iter()
            .all(|d| d.name == "deny" && d.arg(0) == "all");
        match denies_all {
            true => {
                out.set("methods", toml::strings(&methods));
                self.differs(directive, "405 with `Allow`; nginx says 403");
                for child in directive.children() {
                    self.full(child);
                }
            }
            false => {
                out.set("methods", toml::strings(&methods));
                self.missing(directive, "these methods alone: who may use the others cannot be said for methods; write a second route for them with `methods` and `allow`");
                self.with_block(directive);
            }
        }
    }

    fn body(&mut self, scope: &Scope<'a>, out: &mut Section) {
        let Some(size) = scope.one("client_max_body_size") else {
            return;
        };
        match units::bytes(size.arg(0)) {
            Some(0) => {
                out.set("max_body", toml::string("1TiB"));
                self.full(size);
            }
            Some(bytes) => {
                if bytes != 1 << 20 {
                    out.set("max_body", toml::string(&units::size(bytes.min(1 << 40))));
                }
                self.full(size);
            }
            None => self.missing(size, "this is no size"),
        }
    }

    /// Notes that a route which would have kept visitors out could not be made.
    fn closed(&mut self, site: &Site<'a>, location: &Directive) {
        let restricts = |d: &Directive| {
            matches!(
                d.name.as_str(),
                "deny" | "auth_basic" | "auth_request" | "internal" | "return"
            )
        };
        if location.children().iter().any(restricts) {
            let host = site.hosts.first().cloned().unwrap_or_default();
            self.closed.push(format!(
                "{}: {host} {} is NOT closed: its paths go to other routes",
                self.tree.place(location.at),
                location.text()
            ));
        }
    }

    /// Writes a route, with the notes that wait above it.
    pub(super) fn route(
        &mut self,
        site: &Site<'a>,
        matcher: &Matcher,
        is_final: bool,
        out: Section,
    ) {
        let identity = format!(
            "{:?} {matcher:?} {:?}",
            site.hosts,
            out.keys.iter().find(|k| k.name == "methods")
        );
        if !self.route_names.insert(identity) {
            let notes = self.notes();
            if !notes.is_empty() {
                self.routes.push(Block::Comment(notes.join("\n")));
            }
            return;
        }
        let mut section = Section::new("[[routes]]");
        section.notes = self.notes();
        match &site.hosts[..] {
            [] => {}
            [one] => section.set("host", toml::string(one)),
            several => section.set("host", toml::strings(several)),
        }
        if let Some((name, value)) = matcher.key() {
            section.set(name, value);
        }
        if is_final {
            section.set(dialect::FINAL, "true");
        }
        section.keys.extend(out.keys);
        self.routes.push(Block::Section(section));
    }
}
