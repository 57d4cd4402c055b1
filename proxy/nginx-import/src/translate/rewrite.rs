//! `return`, `rewrite` and `if`.

mod conditions;
mod https;
mod returns;

use super::{
    Scope, Translator, ends,
    gates::{self, Shade},
    location::{Kind, Matcher, kind},
    order,
    server::Site,
};
use crate::{
    dialect, expression,
    report::Outcome,
    toml::{self, Section},
    tree::Directive,
    variables::{self, Use},
};

pub(super) use self::{
    conditions::{Body, led_hosts},
    https::to_https,
};

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
        // Nobody comes as far as what stands behind a `return`.
        let rules = site.directive.children().iter();
        for directive in rules.skip_while(|d| d.name != "return").skip(1) {
            if matches!(directive.name.as_str(), "if" | "rewrite" | "return") {
                self.mark(directive, Outcome::Idle, None);
                self.with_block(directive);
            }
        }
        let named = |name: &'static str| {
            let all = site.directive.children().iter();
            all.take_while(|d| d.name != "return")
                .filter(move |d| d.name == name)
        };
        // What a condition restricts it restricts for rewritten paths, too.
        if has_ifs {
            for directive in named("if") {
                self.server_if(site, directive);
            }
        }
        for directive in named("rewrite") {
            self.server_rewrite(site, directive);
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

    /// The same for what is asked of the paths of a location alone.
    fn pattern_within(
        &self,
        site: &Site<'a>,
        scope: &Scope<'a>,
        text: &str,
    ) -> Result<Matcher, String> {
        let own = self.pattern(text)?;
        let region = match ends::around(site.directive, scope).map(kind) {
            Some(Kind::Prefix(path) | Kind::Final(path)) => path,
            Some(Kind::Regex { text: around, .. }) if text.starts_with(around) => "/",
            _ => return Err("it is asked of the paths of its location alone; write a route with `path_regex` and `redirect`".to_owned()),
        };
        let text = match own {
            Matcher::Exact(path) if path.starts_with(region) => return Ok(Matcher::Exact(path)),
            Matcher::Regex(text) => text,
            _ => return Err(format!("it fits no path that begins with {region}")),
        };
        match expression::within(region, &text) {
            expression::Within::Exactly(text) => Ok(Matcher::Regex(text)),
            _ => Err(format!(
                "it is asked of paths that begin with {region} alone; write a route with `path_regex` and `redirect`"
            )),
        }
    }

    /// A rewrite within the server: the location that its target leads to answers.
    fn inner_rewrite(&mut self, site: &Site<'a>, directive: &'a Directive) {
        let to = directive.arg(1);
        let fixed = to.split(['$', '?']).next().unwrap_or_default();
        let target = site.location_of(fixed);
        let is_dark = |location: &Directive| site.shade_of(location) != Shade::Open;
        // Where it is lost, those must not come whom nginx would have led to a closed door.
        let is_guarded = match target {
            Some(target) => is_dark(target) || order::may_be_guarded(site, to, Some(target)),
            None => site.locations().any(is_dark) || gates::shade(&site.scope) != Shade::Open,
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
        let has_inner = target.children().iter().any(|d| d.name == "location");
        if is_dark(target) && (has_inner || !is_kept(site, &pattern)) {
            let why = "what it leads to keeps visitors out, and other routes go before this one";
            return self.lost_rewrite(site, directive, why, true);
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
        let is_kept = |matcher: &Matcher| is_kept(site, matcher);
        let Some(matcher) = matcher.filter(is_kept) else {
            self.shut = Some(format!("see {}", self.tree.place(directive.at)));
            return self.tell_closed(directive);
        };
        let mut out = Section::default();
        out.set("respond", toml::table(&[("status", "403".to_owned())]));
        self.close(directive, &mut out);
        self.route(site, &matcher, false, out);
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
            if Self::outside(directive).is_some() {
                continue;
            }
            let around = ends::around(site.directive, scope);
            // Gates of the location itself are asked anyway.
            let own = around.filter(|around| site.locations().any(|l| l.id == around.id));
            let kept = |gate: &Directive| {
                around.is_some_and(|around| ends::of(site, around, directive, gate).is_some())
            };
            if order::may_be_guarded_beyond(site, directive.arg(1), own, &kept) {
                self.missing(directive, "what it leads to may be a location that keeps visitors out, and Dhal chooses no other one. Until then nobody may come: take `deny` away");
                self.close(directive, out);
            } else {
                self.kept_by_ends(site, scope, directive);
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
            // What is the whole path has a name of its own.
            let to = match pattern {
                "^(.*)$" | "^(.*)" => to.replace("$1", "$uri"),
                "^/(.*)$" | "^/(.*)" => to.replace("/$1", "$uri"),
                _ => to,
            };
            let Ok(value) = self.redirect(&to, status, &site.server_name) else {
                self.missing(
                    directive,
                    "Dhal has no placeholder for one of its variables",
                );
                continue;
            };
            let is_one = ends::around(site.directive, scope).is_some_and(|l| match kind(l) {
                Kind::Exact(path) => site.expressions.get(pattern, false).matches(path),
                _ => false,
            });
            let is_all = matches!(
                pattern,
                "^" | ".*" | "^.*$" | "^(.*)$" | "^(.*)" | "^/(.*)$" | "^/(.*)"
            );
            if (is_all || is_one) && !to.contains("$1") {
                out.set("redirect", value);
                self.full(directive);
                continue;
            }
            match self.pattern_within(site, scope, pattern) {
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
}

/// Whether a route that is written before those of locations is asked before all of them.
fn is_kept(site: &Site<'_>, matcher: &Matcher) -> bool {
    match matcher {
        Matcher::Exact(_) => true,
        Matcher::Any => false,
        // Whole paths and `^~` go before it.
        _ => goes_before_locations(site.directive),
    }
}

fn goes_before_locations(block: &Directive) -> bool {
    let mut inner = block.children().iter().filter(|d| d.name == "location");
    inner.all(|location| {
        let is_behind = match kind(location) {
            Kind::Exact(_) | Kind::Final(_) => false,
            Kind::Prefix(text) => text.ends_with('/'),
            Kind::Regex { .. } | Kind::Named(_) => true,
        };
        is_behind && goes_before_locations(location)
    })
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
