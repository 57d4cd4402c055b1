//! Locations: which requests they take, and what answers them.
//!
//! nginx looks for `=`, then for the longest prefix; unless that one is `^~` the first expression that
//! matches goes before it. Dhal: exact paths, prefixes that are `final`, expressions in their order, prefixes.

use super::{
    Block, Scope, Translator, gates,
    order::{self, Step},
    server::Site,
};
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
    /// Everything that begins so, by an expression.
    Begins(String),
}

impl Matcher {
    /// One path; an expression where a path of Dhal cannot say it.
    pub(super) fn exact(path: &str) -> Self {
        match is_path(path) {
            true => Self::Exact(path.to_owned()),
            false => Self::Regex(format!("^{}$", expression::escaped(path))),
        }
    }

    pub(super) fn is_expression(&self) -> bool {
        matches!(self, Self::Regex(_) | Self::Begins(_))
    }

    fn key(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Any => None,
            Self::Exact(path) => Some(("path", toml::string(path))),
            Self::Prefix(path) => Some(("path", toml::string(&format!("{path}*")))),
            Self::Regex(text) => Some((dialect::PATH_REGEX, toml::string(text))),
            Self::Begins(path) => Some((
                dialect::PATH_REGEX,
                toml::string(&format!("^{}", expression::escaped(path))),
            )),
        }
    }
}

/// Whether `path` of a route can say it.
pub(super) fn is_path(path: &str) -> bool {
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
pub(super) enum Kind<'a> {
    Exact(&'a str),
    Prefix(&'a str),
    Final(&'a str),
    Regex { text: &'a str, ignore_case: bool },
    Named(&'a str),
}

pub(super) fn kind(location: &Directive) -> Kind<'_> {
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
    pub(super) fn locations(&self) -> impl Iterator<Item = &'a Directive> {
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
                    if found.is_none() && self.expressions.get(text, ignore_case).matches(path) {
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
        let plan = order::plan(site);
        if let Some(location) = plan.shut_for {
            self.missing(location, "its paths cannot be told from others. Until then nobody may come to any route of this server: take `deny` away");
            self.shut = Some(format!("see {}", self.tree.place(location.at)));
            self.tell_closed(location);
        }
        self.server_rules(site, true);
        // What stands before the rule for which the site is closed is closed with it.
        if let Some(why) = self.shut.clone() {
            for mut block in self.routes.split_off(from) {
                if let Block::Section(section) = &mut block {
                    self.shut(section, &why);
                }
                self.routes.push(block);
            }
        }
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
        for step in plan.steps {
            self.location(site, step);
        }
        let any = self.routes[from..].iter().any(|block| match block {
            Block::Section(section) => {
                let own = section.keys.iter().any(|k| k.name == "host") != site.hosts.is_empty();
                let is_all = |k: &toml::Key| k.name == "path" && k.value == "\"/*\"";
                let has_path = section.has("path") || section.has(dialect::PATH_REGEX);
                own && (!has_path || section.keys.iter().any(is_all))
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

    fn location(&mut self, site: &Site<'a>, step: Step<'a>) {
        let location = step.location;
        if let Some(why) = step.missing {
            self.missing(location, why);
            self.with_block(location);
            return;
        }
        let scope = step.parent.within(location.children());
        match step.differs {
            Some(why) => self.differs(location, why),
            None => self.full(location),
        }
        let alone = step.matchers.len() == 1;
        for (matcher, is_final) in &step.matchers {
            let mut out = Section::default();
            if gates::is_internal(&scope) {
                let own = location.children().iter().find(|d| d.name == "internal");
                self.full_all(own.as_slice());
                out.set("respond", toml::table(&[("status", "404".to_owned())]));
            } else {
                self.content(site, &scope, matcher, &mut out);
            }
            self.leftovers(location.children(), &|name| name != "location");
            if let Some(why) = &step.closed {
                self.missing(
                    location,
                    format!("{why}. Until then nobody may come: take `deny` away"),
                );
                self.close(location, &mut out);
            }
            if let (Matcher::Prefix(path), true) =
                (matcher, alone && out.has("upstream") && !out.has("files"))
            {
                self.slashed(site, path);
            }
            self.hidden_slash(site, &step.parent, location, &out);
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
        let to = format!("{}{}", dialect::literal(path), dialect::QUERY);
        out.set(
            "redirect",
            toml::table(&[("to", toml::string(&to)), ("status", "301".to_owned())]),
        );
        self.route(site, &Matcher::Exact(bare.to_owned()), false, out);
        self.pending = notes;
    }

    /// nginx looks at `/api/` for who asks for `/api`, where it has an upstream, and hides both where that is internal.
    fn hidden_slash(
        &mut self,
        site: &Site<'a>,
        parent: &Scope<'a>,
        location: &'a Directive,
        out: &Section,
    ) {
        let bare = |location: &'a Directive| match kind(location) {
            Kind::Exact(text) | Kind::Prefix(text) | Kind::Final(text) => Some(text),
            _ => None,
        };
        let Some(path) = bare(location).and_then(|text| text.strip_suffix('/')) else {
            return;
        };
        let scope = parent.within(location.children());
        let has_upstream = scope.own().iter().any(|d| d.name == "proxy_pass");
        let mut beside = parent.own().iter().filter(|d| d.name == "location");
        if path.is_empty()
            || !has_upstream
            || !gates::is_internal(&scope)
            || beside.any(|d| bare(d) == Some(path))
        {
            return;
        }
        let notes = self.notes();
        self.route(site, &Matcher::exact(path), false, out.clone());
        self.pending = notes;
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
        self.location_ifs(site, scope, out);
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
        // A condition may have closed it.
        let shut = out
            .keys
            .iter()
            .find(|key| key.name == "deny" && key.remark.starts_with("closed"))
            .cloned();
        // `return` and redirects go before who may come and how often, as with nginx.
        if out.has("upstream") || out.has("files") {
            self.access(scope, out);
            self.limits(scope, out);
            self.body(scope, out);
        }
        if let Some(shut) = shut {
            out.remarked(&shut.name, shut.value, &shut.remark);
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
                self.only_methods(methods, out);
                self.differs(directive, "405 with `Allow`; nginx says 403");
                for child in directive.children() {
                    self.full(child);
                }
            }
            false => {
                self.only_methods(methods, out);
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

    /// Writes a route, with the notes that wait above it.
    pub(super) fn route(
        &mut self,
        site: &Site<'a>,
        matcher: &Matcher,
        is_final: bool,
        mut out: Section,
    ) {
        if let Some(methods) = self.methods.clone() {
            self.only_methods(methods, &mut out);
        }
        if let Some(networks) = self.only_from.clone() {
            self.within_alone(&networks, &mut out);
        }
        if let Some(why) = self.shut.clone() {
            self.shut(&mut out, &why);
        }
        // A prefix may be written as another location's expression, and a host may have been led elsewhere; the first of
        // them counts, whatever the methods.
        let any = [String::new()];
        let hosts = if site.hosts.is_empty() {
            &any[..]
        } else {
            &site.hosts[..]
        };
        let key = matcher
            .key()
            .filter(|_| *matcher != Matcher::Prefix("/".to_owned()));
        let mut left = hosts.to_vec();
        left.retain(|host| self.route_names.insert(format!("{host} {key:?}")));
        if left.is_empty() {
            let notes = self.notes();
            if !notes.is_empty() {
                self.routes.push(Block::Comment(notes.join("\n")));
            }
            return;
        }
        let mut section = Section::new("[[routes]]");
        section.notes = self.notes();
        match &left[..] {
            [one] if one.is_empty() => {}
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
        // Dhal goes on to other expressions with other methods, nginx does not.
        let others = (matcher.is_expression() && section.has("methods")).then(|| {
            let mut others = Section::new("[[routes]]");
            let is_where = |name: &str| matches!(name, "host" | dialect::PATH_REGEX);
            others.keys = section
                .keys
                .iter()
                .filter(|k| is_where(&k.name))
                .cloned()
                .collect();
            others.set("respond", toml::table(&[("status", "405".to_owned())]));
            others
        });
        self.routes.push(Block::Section(section));
        self.routes.extend(others.map(Block::Section));
    }
}
