//! `return`, `rewrite` and `if`.

use super::{
    Scope, Translator,
    gates::{self, Shade},
    location::Matcher,
    order,
    server::{Names, Site, is_name},
};
use crate::{
    dialect, expression,
    toml::{self, Section},
    tree::Directive,
    variables::{self, Use},
};

/// Longest text of a `return` that is carried over.
const BODY_MAX: usize = 64 << 10;

/// Whether a server only leads to https with the same host and path; the port there.
pub(super) fn to_https(server: &Directive, names: &Names) -> Option<u16> {
    let mut port = None;
    let mut others = false;
    for child in server.children() {
        match child.name.as_str() {
            "return" => match leads(child, names) {
                Some(to) => port = port.or(Some(to)),
                // What certbot writes: whom no `if` leads to https gets 404.
                None => others |= port.is_none() || child.arg(0) != "404",
            },
            "rewrite" => match child.arg(0) {
                "^" | ".*" | "^.*$" | "^(.*)$" | "^(.*)" | "^/(.*)$" => {
                    port = port.or_else(|| https(child.arg(1), names))
                }
                _ => others = true,
            },
            "if" => {
                let inner = child.children().iter().find(|d| d.name == "return");
                let to = match (Condition::of(child), inner) {
                    // Such a name is led to itself.
                    (Some(Condition::Host(host)), Some(answer)) => {
                        let first = host.clone();
                        let hosts = vec![host];
                        leads(
                            answer,
                            &Names {
                                hosts,
                                first,
                                has_odd: false,
                            },
                        )
                    }
                    (Some(Condition::Scheme), Some(answer)) => leads(answer, names),
                    _ => None,
                };
                match to {
                    Some(to) => port = port.or(Some(to)),
                    None => others = true,
                }
            }
            "location" => {
                let path = child.words().last().unwrap_or_default();
                let inner = child.children();
                let to = inner
                    .iter()
                    .find(|d| d.name == "return")
                    .and_then(|d| leads(d, names));
                let rewritten = inner
                    .iter()
                    .find(|d| d.name == "rewrite")
                    .and_then(|d| https(d.arg(1), names));
                match to.or(rewritten) {
                    Some(to) if path == "/" => port = port.or(Some(to)),
                    _ if path.contains("acme-challenge") => {}
                    _ => others = true,
                }
            }
            _ => {}
        }
    }
    port.filter(|_| !others)
}

fn leads(directive: &Directive, names: &Names) -> Option<u16> {
    let status = matches!(directive.arg(0), "301" | "302" | "303" | "307" | "308");
    status.then(|| https(directive.arg(1), names)).flatten()
}

/// The port of `https://$host$request_uri` and the like.
fn https(target: &str, names: &Names) -> Option<u16> {
    let rest = target.strip_prefix("https://")?;
    let rest = rest
        .strip_suffix("$request_uri?")
        .or_else(|| rest.strip_suffix("$request_uri"))
        .or_else(|| rest.strip_suffix("$uri$is_args$args"))
        .or_else(|| rest.strip_suffix("/$1"))
        .or_else(|| rest.strip_suffix("$1"))?;
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (rest, 443),
    };
    let same = matches!(
        host,
        "$host" | "$http_host" | "$server_name" | "${host}" | "${server_name}"
    ) || names.hosts == [host];
    same.then_some(port)
}

/// The hosts that an `if` of a server leads elsewhere.
pub(super) fn led_hosts(server: &Directive) -> Vec<String> {
    let ifs = server.children().iter().filter(|d| d.name == "if");
    ifs.filter_map(
        |directive| match (Condition::of(directive)?, directive.children()) {
            (Condition::Host(host), [answer])
                if answer.name == "return" || Translator::outside(answer).is_some() =>
            {
                Some(host)
            }
            _ => None,
        },
    )
    .collect()
}

/// A target with what nginx makes of the query: it goes along behind another, unless the target ends in `?`.
fn with_query(to: &str) -> String {
    match to.strip_suffix('?') {
        Some(alone) if alone.contains('?') => alone.to_owned(),
        Some(_) => to.to_owned(),
        None if !to.contains('?') || to.contains("$args") || to.contains("$query_string") => {
            to.to_owned()
        }
        None => format!("{}&$args", to.trim_end_matches('&')),
    }
}

/// What is wrong with a target, as Dhal checks it.
pub(super) fn objection(to: &str) -> Option<&'static str> {
    let to = to.strip_suffix('?').unwrap_or(to);
    if let Some(at) = to.find(dialect::QUERY) {
        let behind = &to[at + dialect::QUERY.len()..];
        if !behind.is_empty() && !behind.starts_with('#') {
            return Some("something behind the query");
        }
        if to[..at].contains('?') {
            return Some("a query behind another");
        }
    }
    if let Some(at) = to.find(dialect::QUERY_TOO) {
        let behind = &to[at + dialect::QUERY_TOO.len()..];
        if !to[..at].contains('?') || !(behind.is_empty() || behind.starts_with('#')) {
            return Some("a query in the path");
        }
    }
    if let Some(at) = to.find("{query}")
        && !to[..at].contains('?')
    {
        return Some("a query in the path");
    }
    if to.contains("{{") || to.contains("}}") {
        return Some("braces, which no URL has");
    }
    let graphic = |b: u8| b.is_ascii_graphic() && !b"\\\"<>^`|".contains(&b);
    (!to.bytes().all(graphic)).then_some("characters that no URL has")
}

/// The same for where a redirect leads.
fn objection_to_destination(to: &str) -> Option<&'static str> {
    let rest = ["https://", "http://", "{scheme}://"]
        .iter()
        .find_map(|scheme| to.strip_prefix(scheme));
    match rest {
        None => {
            let is_path =
                (to.starts_with('/') && !to.starts_with("//")) || to.starts_with("{path}");
            if !is_path {
                return Some("a destination that is neither a path nor a URL");
            }
        }
        Some(rest) => {
            let ends = ["/", "?", "#", "{path}", "{?query}"];
            let end = ends.iter().filter_map(|end| rest.find(end)).min();
            let host = rest[..end.unwrap_or(rest.len())].replace("{host}", "h");
            if host.is_empty() || host.contains(['{', '}']) {
                return Some("a host that visitors could choose");
            }
        }
    }
    objection(to)
}

impl<'a> Translator<'a> {
    /// `return`, as an action.
    pub(super) fn returns(
        &mut self,
        site: &Site<'a>,
        scope: &Scope<'a>,
        directive: &Directive,
        out: &mut Section,
    ) {
        let first = directive.arg(0);
        let (status, rest) = match first.parse::<u16>() {
            Ok(status) => (status, directive.args.get(1).map(|a| a.text.as_str())),
            Err(_) => (302, Some(first)),
        };
        match (status, rest) {
            (301 | 302 | 303 | 307 | 308, Some(to)) => {
                match self.redirect(to, status, &site.server_name) {
                    Ok(value) => {
                        out.set("redirect", value);
                        self.full(directive);
                    }
                    Err(why) => self.unanswerable(
                        directive,
                        &format!("Dhal has no placeholder for {why}"),
                        out,
                    ),
                }
            }
            (444, _) => {
                out.set("respond", toml::table(&[("status", "403".to_owned())]));
                self.differs(
                    directive,
                    "Dhal does not close the connection without a word; 403",
                );
            }
            (300..=399 | 206 | 416, _) => {
                self.unanswerable(directive, "this status needs more than a text", out)
            }
            (200..=599, body) => {
                let mut keys = vec![("status", status.to_string())];
                let body = body.filter(|body| !body.is_empty() && !matches!(status, 204 | 205));
                if let Some(body) = body {
                    if variables::has_any(body) || body.len() > BODY_MAX {
                        self.unanswerable(directive, "the text of `respond` has no variables", out);
                        return;
                    }
                    let kind = scope.one("default_type");
                    if let Some(kind) = kind {
                        self.full(kind);
                    }
                    let kind = kind.map_or("text/plain", |d| d.arg(0));
                    keys.push(("body", toml::string(body)));
                    keys.push(("content_type", toml::string(kind)));
                    self.full(directive);
                } else if status >= 400 {
                    self.differs(directive, "with Dhal's page in the place of nginx's");
                } else {
                    self.full(directive);
                }
                out.set("respond", toml::table(&keys));
            }
            _ => self.unanswerable(directive, "Dhal answers with a status from 200 to 599", out),
        }
    }

    /// A route whose answer cannot be carried over must not fall to another route.
    pub(super) fn unanswerable(&mut self, directive: &Directive, why: &str, out: &mut Section) {
        self.missing(
            directive,
            format!("{why}; until it is mended this route answers 502"),
        );
        out.set("respond", toml::table(&[("status", "502".to_owned())]));
    }

    fn redirect(&self, to: &str, status: u16, server_name: &str) -> Result<String, String> {
        let to = variables::placeholders(to, Use::Target, server_name)?;
        // Where it was asked, with whatever port.
        let own = "{scheme}://{host}";
        let to = match to.strip_prefix(own) {
            Some(path) if path.starts_with('/') && !path.starts_with("//") => path.to_owned(),
            _ => to,
        };
        if let Some(why) = objection_to_destination(&to) {
            return Err(why.to_owned());
        }
        Ok(toml::table(&[
            ("to", toml::string(&to)),
            ("status", status.to_string()),
        ]))
    }

    /// `rewrite` that leads visitors elsewhere: status and target, without the mark that keeps the query away.
    pub(super) fn outside(directive: &Directive) -> Option<(u16, String)> {
        let to = directive.arg(1);
        let status = match directive.arg(2) {
            "permanent" => 301,
            "redirect" => 302,
            _ if to.starts_with("http://")
                || to.starts_with("https://")
                || to.starts_with("$scheme") =>
            {
                302
            }
            _ => return None,
        };
        // The query goes along, unless the target ends in `?`.
        let to = match to.strip_suffix('?') {
            Some(alone) => alone.to_owned(),
            None if to.contains("$request_uri") || to.contains("$args") => to.to_owned(),
            None if to.contains('?') => format!("{}&$args", to.trim_end_matches('&')),
            None => format!("{to}$is_args$args"),
        };
        Some((status, to))
    }

    /// The rules of a server, which come before its locations.
    pub(super) fn server_rules(&mut self, site: &Site<'a>, has_ifs: bool) {
        let directives = site.directive.children();
        for directive in directives {
            match directive.name.as_str() {
                "rewrite" => self.server_rewrite(site, directive),
                "if" if has_ifs => self.server_if(site, directive),
                _ => {}
            }
        }
    }

    fn server_rewrite(&mut self, site: &Site<'a>, directive: &'a Directive) {
        let Some((status, to)) = Self::outside(directive) else {
            self.inner_rewrite(site, directive);
            return;
        };
        let pattern = match self.pattern(directive.arg(0)) {
            Ok(pattern) => pattern,
            Err(why) => return self.missing(directive, why),
        };
        match self.redirect(&to, status, &site.server_name) {
            Ok(value) => {
                let mut out = Section::default();
                out.set("redirect", value);
                self.full(directive);
                self.route(site, &pattern, false, out);
            }
            Err(why) => self.missing(directive, format!("Dhal has no placeholder for {why}")),
        }
    }

    fn pattern(&self, text: &str) -> Result<Matcher, String> {
        if matches!(text, "^" | ".*" | "^.*$") {
            return Ok(Matcher::Any);
        }
        if let Some(path) = expression::only_path(text) {
            return Ok(Matcher::exact(&path));
        }
        expression::translated(text, false).map(Matcher::Regex)
    }

    /// A rewrite within the server: the location that its target leads to answers.
    fn inner_rewrite(&mut self, site: &Site<'a>, directive: &'a Directive) {
        let to = directive.arg(1);
        let fixed = to.split(['$', '?']).next().unwrap_or_default();
        let target = site.location_of(fixed);
        let is_dark =
            |location: &Directive| gates::shade_of_all(&site.scope, location) != Shade::Open;
        // Where it is lost, those must not come whom nginx would have led to a closed door.
        let is_guarded = match target {
            Some(target) => is_dark(target) || order::may_be_guarded(site, to, Some(target)),
            None => site.locations().any(is_dark),
        };
        let pattern = match self.pattern(directive.arg(0)) {
            Ok(pattern) => pattern,
            Err(why) => return self.lost_rewrite(site, directive, &why, is_guarded),
        };
        let Some(target) = target else {
            return self.lost_rewrite(site, directive, "the importer does not see which location answers; write a route with `path_regex` and `rewrite`", is_guarded);
        };
        if order::may_be_guarded(site, to, Some(target)) {
            return self.lost_rewrite(
                site,
                directive,
                "what it leads to may be a location that keeps visitors out",
                true,
            );
        }
        let to = match variables::placeholders(&with_query(to), Use::Target, &site.server_name) {
            Ok(to) => to,
            Err(why) => {
                let why = format!("Dhal has no placeholder for {why}");
                return self.lost_rewrite(site, directive, &why, is_guarded);
            }
        };
        let scope = site.scope.within(target.children());
        let mut out = Section::default();
        self.content(site, &scope, &pattern, &mut out);
        let why = if !out.has("upstream") {
            Some("files and fixed answers are not rewritten; write a route with `path_regex`")
        } else if out.has("rewrite") {
            Some("the location that answers rewrites too, and Dhal does so once")
        } else if objection(&to).is_some() {
            Some("Dhal has no placeholder for its target")
        } else {
            None
        };
        if let Some(why) = why {
            return self.lost_rewrite(site, directive, why, is_guarded);
        }
        out.set("rewrite", toml::string(&to));
        self.full(directive);
        self.route(site, &pattern, false, out);
    }

    /// A rewrite that is not carried over: its paths go to other routes, or to none where that could let somebody in.
    fn lost_rewrite(
        &mut self,
        site: &Site<'a>,
        directive: &'a Directive,
        why: &str,
        is_guarded: bool,
    ) {
        if !is_guarded {
            return self.missing(directive, why);
        }
        self.missing(
            directive,
            format!("{why}. Until then nobody may come: take `deny` away"),
        );
        let matcher = match self.pattern(directive.arg(0)) {
            Ok(matcher) => Some(matcher),
            Err(_) => expression::superset(directive.arg(0), false).map(Matcher::Regex),
        };
        let Some(matcher) = matcher else {
            self.shut = Some(format!("see {}", self.tree.place(directive.at)));
            return self.tell_closed(directive);
        };
        let mut out = Section::default();
        out.set("respond", toml::table(&[("status", "403".to_owned())]));
        self.close(directive, &mut out);
        self.route(site, &matcher, false, out);
    }

    fn server_if(&mut self, site: &Site<'a>, directive: &'a Directive) {
        let condition = Condition::of(directive);
        let answer = directive
            .children()
            .iter()
            .find(|d| matches!(d.name.as_str(), "return" | "rewrite"));
        let (Some(condition), Some(answer), 1) = (condition, answer, directive.children().len())
        else {
            return self.condition_of_site(directive);
        };
        let refuses = answer.name == "return"
            && answer
                .arg(0)
                .parse::<u16>()
                .is_ok_and(|status| status >= 400);
        match condition {
            Condition::NotMethods(methods) if refuses => {
                let methods = common(self.methods.take(), methods);
                self.head_goes_along(directive, &methods);
                self.methods = Some(methods);
                self.full(directive);
                match answer.arg(0) {
                    "405" => self.full(answer),
                    _ => self.differs(answer, "405, with `Allow`"),
                }
            }
            // The routes are for this host alone.
            Condition::NotHost(host) if refuses && site.hosts == [host.as_str()] => {
                self.full(directive);
                self.differs(answer, "hosts that have no route get 404");
            }
            Condition::Host(host)
                if is_name(&host)
                    && (answer.name == "return" || Self::outside(answer).is_some()) =>
            {
                let inner = Site {
                    hosts: vec![host],
                    scope: site.scope.clone(),
                    server_name: site.server_name.clone(),
                    directive: site.directive,
                    tls: site.tls,
                };
                self.full(directive);
                let mut out = Section::default();
                match Self::outside(answer) {
                    Some((status, to)) if answer.name == "rewrite" => {
                        match self.redirect(&to, status, &site.server_name) {
                            Ok(value) => {
                                out.set("redirect", value);
                                self.full(answer);
                            }
                            Err(why) => self.unanswerable(answer, &why, &mut out),
                        }
                    }
                    _ => self.returns(&inner, &site.scope, answer, &mut out),
                }
                self.route(&inner, &Matcher::Any, false, out);
            }
            Condition::Scheme if site.tls => {
                self.missing(directive, "Dhal's routes are for every address: set `redirect_to_https = true` at the listener without TLS");
                self.with_block(directive);
            }
            _ => self.condition_of_site(directive),
        }
    }

    /// A condition that cannot be carried over. One that keeps visitors out closes the whole site.
    fn condition_of_site(&mut self, directive: &'a Directive) {
        match Body::of(directive) {
            Body::Harmless => self.missing(
                directive,
                "Dhal has no conditions; write a route for the case",
            ),
            Body::Gate => {
                self.missing(directive, "Dhal has no conditions; let the shop decide. Until then nobody may come to any route of this server: take `deny` away");
                let place = self.tree.place(directive.at);
                self.shut = Some(format!("see the condition of {place}"));
                self.tell_closed(directive);
            }
        }
        self.with_block(directive);
    }

    fn head_goes_along(&mut self, directive: &Directive, methods: &[String]) {
        let has = |name: &str| methods.iter().any(|m| m == name);
        if has("GET") && !has("HEAD") {
            self.differs(directive, "HEAD goes along with GET");
        }
    }

    /// `rewrite` in a location that an upstream answers.
    pub(super) fn location_rewrite(
        &mut self,
        site: &Site<'a>,
        scope: &Scope<'a>,
        out: &mut Section,
    ) {
        let mut done = out.has("rewrite");
        // Whoever `break`s stays here.
        let leads = |d: &&Directive| d.name == "rewrite" && d.arg(2) != "break";
        for directive in scope.own().iter().filter(leads) {
            let own = site.locations().find(|l| {
                let children = l.children();
                std::ptr::eq(children, scope.own())
            });
            if Self::outside(directive).is_none()
                && order::may_be_guarded(site, directive.arg(1), own)
            {
                self.missing(directive, "what it leads to may be a location that keeps visitors out, and Dhal chooses no other one. Until then nobody may come: take `deny` away");
                self.close(directive, out);
            }
        }
        for directive in scope.own().iter().filter(|d| d.name == "rewrite") {
            if Self::outside(directive).is_some() {
                continue;
            }
            if done {
                self.missing(
                    directive,
                    "Dhal rewrites once; write a route with `path_regex` for each case",
                );
                continue;
            }
            let pattern = match expression::translated(directive.arg(0), false) {
                Ok(pattern) => pattern,
                Err(why) => {
                    self.missing(directive, why);
                    continue;
                }
            };
            let to = directive.arg(1);
            match variables::placeholders(&with_query(to), Use::Target, &site.server_name) {
                Ok(to) if objection(&to).is_some() => {
                    self.missing(directive, "Dhal has no placeholder for its target");
                }
                Ok(to) => {
                    let keys = [
                        ("pattern", toml::string(&pattern)),
                        ("to", toml::string(&to)),
                    ];
                    out.set("rewrite", toml::table(&keys));
                    done = true;
                    match directive.arg(2) {
                        "break" => self.full(directive),
                        _ => self.differs(directive, "Dhal rewrites what the upstream is asked for, and chooses no other location for it"),
                    }
                }
                Err(why) => self.missing(directive, format!("Dhal has no placeholder for {why}")),
            }
        }
    }

    /// `rewrite … permanent` in a location: a redirect before it.
    pub(super) fn location_redirects(
        &mut self,
        site: &Site<'a>,
        scope: &Scope<'a>,
        out: &mut Section,
    ) {
        for directive in scope.own().iter().filter(|d| d.name == "rewrite") {
            let Some((status, to)) = Self::outside(directive) else {
                continue;
            };
            let pattern = directive.arg(0);
            let Ok(value) = self.redirect(&to, status, &site.server_name) else {
                self.missing(
                    directive,
                    "Dhal has no placeholder for one of its variables",
                );
                continue;
            };
            if matches!(pattern, "^" | ".*" | "^.*$" | "^(.*)$" | "^(.*)") && !to.contains("$1") {
                out.set("redirect", value);
                self.full(directive);
                continue;
            }
            match self.pattern(pattern) {
                Ok(matcher) => {
                    let mut route = Section::default();
                    route.set("redirect", value);
                    self.full(directive);
                    self.route(site, &matcher, false, route);
                }
                Err(why) => self.missing(directive, why),
            }
        }
    }

    /// `if` in a location: some say which methods there are. One that keeps visitors out and cannot be carried over
    /// closes the route.
    pub(super) fn location_ifs(&mut self, scope: &Scope<'a>, out: &mut Section) {
        for directive in scope.own().iter().filter(|d| d.name == "if") {
            let only = directive.children().first().filter(|d| d.name == "return");
            match (Condition::of(directive), only) {
                (Some(Condition::NotMethods(methods)), Some(answer))
                    if directive.children().len() == 1
                        && answer.arg(0).parse::<u16>().is_ok_and(|s| s >= 400) =>
                {
                    self.head_goes_along(directive, &methods);
                    self.only_methods(methods, out);
                    self.full(directive);
                    match answer.arg(0) {
                        "405" => self.full(answer),
                        _ => self.differs(answer, "405, with `Allow`"),
                    }
                }
                _ if Body::of(directive) == Body::Gate => {
                    self.missing(directive, "Dhal has no conditions; let the shop decide. Until then nobody may come: take `deny` away");
                    self.with_block(directive);
                    self.close(directive, out);
                }
                _ => {
                    self.missing(
                        directive,
                        "Dhal has no conditions; write a route for the case",
                    );
                    self.with_block(directive);
                }
            }
        }
    }

    /// Restricts a route to methods, besides what was said of them before.
    pub(super) fn only_methods(&mut self, methods: Vec<String>, out: &mut Section) {
        let known = out.keys.iter().find(|key| key.name == "methods");
        let methods = match known {
            None => methods,
            Some(known) => {
                let known = known.value.clone();
                let both = |m: &String| known.contains(&format!("\"{m}\""));
                methods.into_iter().filter(both).collect()
            }
        };
        if methods.is_empty() {
            // Nothing fits both.
            let why = "no method is allowed by both conditions";
            self.shut(out, why);
            return;
        }
        out.set("methods", toml::strings(&methods));
    }
}

/// What both lists have.
fn common(one: Option<Vec<String>>, other: Vec<String>) -> Vec<String> {
    match one {
        None => other,
        Some(one) => one.into_iter().filter(|m| other.contains(m)).collect(),
    }
}

/// A condition of an `if`, of the kinds that have a counterpart.
enum Condition {
    /// `$host = name`
    Host(String),
    /// The scheme is `http`.
    Scheme,
    /// `$request_method !~ ^(GET|HEAD)$`
    NotMethods(Vec<String>),
    /// `$host != name`
    NotHost(String),
}

/// What an `if` does with those whom it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// It is about fields and the like, or leads visitors elsewhere by where they are.
    Harmless,
    /// It keeps visitors out, or leads them away by what they show.
    Gate,
}

/// What a condition may ask so that a redirect is no gate.
const PLACES: [&str; 22] = [
    "$scheme",
    "$https",
    "$host",
    "$http_host",
    "$server_name",
    "$server_port",
    "$request_uri",
    "$uri",
    "$document_uri",
    "$args",
    "$query_string",
    "$is_args",
    "$request_method",
    "$request_filename",
    "$document_root",
    "$http_user_agent",
    "$http_x_forwarded_proto",
    "$http_accept_language",
    "-f",
    "-d",
    "-e",
    "!-",
];

impl Body {
    pub(super) fn of(directive: &Directive) -> Self {
        let words: Vec<_> = directive.words().collect();
        let joined = words.join(" ");
        let asked = joined.trim_start_matches(['(', ' ', '"', '\'']);
        let is_place = PLACES.iter().any(|place| {
            asked.strip_prefix(place).is_some_and(|rest| {
                !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            }) || (place.starts_with(['-', '!']) && asked.starts_with(place))
        }) || asked.starts_with("$arg_");
        let is_file = asked.starts_with(['-', '!']);
        for inner in directive.children() {
            let gates = match inner.name.as_str() {
                "return" => match inner.arg(0).parse::<u16>() {
                    // The usual switch for maintenance.
                    Ok(503) if is_file => false,
                    Ok(400..) => true,
                    _ => !is_place,
                },
                "rewrite" => !is_place || Condition::is_of_methods(asked),
                "deny" | "allow" | "internal" => true,
                "proxy_pass" | "fastcgi_pass" | "uwsgi_pass" | "root" | "alias" => !is_place,
                name => gates::is_foreign(name),
            };
            if gates {
                return Self::Gate;
            }
        }
        Self::Harmless
    }
}

impl Condition {
    fn is_of_methods(asked: &str) -> bool {
        asked.starts_with("$request_method")
    }

    fn of(directive: &Directive) -> Option<Self> {
        let words: Vec<_> = directive.words().collect();
        let joined = words.join(" ");
        let inner = joined.trim().strip_prefix('(')?.strip_suffix(')')?.trim();
        let mut words = inner.splitn(3, ' ');
        let (variable, operator) = (words.next()?, words.next()?);
        let value = words.next()?.trim().trim_matches('"');
        match (variable, operator) {
            ("$host" | "$http_host", "=") => Some(Self::Host(value.to_ascii_lowercase())),
            ("$scheme", "=") if value == "http" => Some(Self::Scheme),
            ("$scheme", "!=") if value == "https" => Some(Self::Scheme),
            ("$https", "!=") if value == "on" => Some(Self::Scheme),
            ("$request_method", "!~" | "!~*") => {
                let list = value.trim_start_matches('^').trim_end_matches('$');
                let list = list.trim_start_matches('(').trim_end_matches(')');
                let methods: Vec<_> = list.split('|').map(str::to_owned).collect();
                let plain = |m: &String| !m.is_empty() && m.bytes().all(|b| b.is_ascii_uppercase());
                methods
                    .iter()
                    .all(plain)
                    .then_some(Self::NotMethods(methods))
            }
            ("$host" | "$http_host", "!=") => Some(Self::NotHost(value.to_ascii_lowercase())),
            ("$request_method", "!=") => Some(Self::NotMethods(vec![value.to_owned()])),
            _ => None,
        }
    }
}

/// A target under a prefix, with what the prefix left.
pub(super) fn under(prefix: &str, target: &str) -> String {
    // `/v1/` and `/a/b`: what Dhal calls the rest begins with the slash before it.
    match target.strip_suffix('/') {
        Some(base) => toml::string(&format!("{}{}", dialect::literal(base), dialect::REST)),
        None => {
            let pattern = format!("^{}(.*)$", expression::escaped(prefix));
            let to = format!("{}{{1}}", dialect::literal(target));
            toml::table(&[
                ("pattern", toml::string(&pattern)),
                ("to", toml::string(&to)),
            ])
        }
    }
}
