//! `if`: what it asks, and what it does with those whom it fits.

use std::rc::Rc;

use crate::{
    toml::{self, Section},
    translate::{
        Scope, Translator, gates,
        location::Matcher,
        order,
        server::{Site, is_name},
    },
    tree::Directive,
};

/// The hosts that an `if` of a server leads elsewhere.
pub(in crate::translate) fn led_hosts(server: &Directive) -> Vec<String> {
    let rules = server.children().iter();
    let ifs = rules
        .take_while(|d| d.name != "return")
        .filter(|d| d.name == "if");
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

impl<'a> Translator<'a> {
    pub(super) fn server_if(&mut self, site: &Site<'a>, directive: &'a Directive) {
        let condition = Condition::of(directive);
        let answer = directive
            .children()
            .iter()
            .find(|d| matches!(d.name.as_str(), "return" | "rewrite"));
        let (Some(condition), Some(answer), 1) = (condition, answer, directive.children().len())
        else {
            return self.condition_of_site(site, directive);
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
                    expressions: Rc::clone(&site.expressions),
                    shades: Rc::clone(&site.shades),
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
            _ => self.condition_of_site(site, directive),
        }
    }

    /// A condition that cannot be carried over. One that keeps visitors out closes the whole site.
    fn condition_of_site(&mut self, site: &Site<'a>, directive: &'a Directive) {
        let body = match leads_to_gate(site, directive) {
            true => Body::Gate,
            false => Body::of(directive),
        };
        match body {
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

    /// `if` in a location: some say which methods there are. One that keeps visitors out and cannot be carried over
    /// closes the route.
    pub(in crate::translate) fn location_ifs(
        &mut self,
        site: &Site<'a>,
        scope: &Scope<'a>,
        out: &mut Section,
    ) {
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
                _ if Body::of(directive) == Body::Gate || leads_to_gate(site, directive) => {
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
    pub(in crate::translate) fn only_methods(&mut self, methods: Vec<String>, out: &mut Section) {
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

/// Whether a condition leads to a location that may keep visitors out.
fn leads_to_gate(site: &Site<'_>, directive: &Directive) -> bool {
    let mut inner = directive.children().iter().filter(|d| d.name == "rewrite");
    inner.any(|rewrite| {
        Translator::outside(rewrite).is_none() && order::may_be_guarded(site, rewrite.arg(1), None)
    })
}

/// What both lists have.
fn common(one: Option<Vec<String>>, other: Vec<String>) -> Vec<String> {
    match one {
        None => other,
        Some(one) => one.into_iter().filter(|m| other.contains(m)).collect(),
    }
}

/// A condition of an `if`, of the kinds that have a counterpart.
pub(super) enum Condition {
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
pub(in crate::translate) enum Body {
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
    pub(in crate::translate) fn of(directive: &Directive) -> Self {
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

    pub(super) fn of(directive: &Directive) -> Option<Self> {
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
