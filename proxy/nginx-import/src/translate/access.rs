//! Who may come: `allow`, `deny`, and what Dhal cannot ask of visitors.
//!
//! What kept visitors out must not be lost: where it cannot be carried over, the route is closed.

use super::{Scope, Translator, gates, global::is_network, limits::do_overlap};
use crate::{
    toml::{self, Section},
    tree::Directive,
};

/// The list that everybody is on.
const EVERYBODY: &str = "everybody";

impl<'a> Translator<'a> {
    pub(super) fn access(&mut self, scope: &Scope<'a>, out: &mut Section) {
        self.gates_off(scope);
        // What a fallback asks for counts as well, and cannot be said twice.
        let of_fallback = out.has("deny") || out.has("allow");
        let gates = gates::foreign(scope);
        if !gates.is_empty() {
            let rules = gates::rules(scope);
            if let Some(users) = scope.one("auth_basic_user_file") {
                self.missing(users, "Dhal asks for no passwords");
            }
            let any = scope
                .one("satisfy")
                .filter(|satisfy| satisfy.arg(0) == "any")
                .filter(|_| !self.blind && !of_fallback);
            // With `satisfy any` addresses suffice; whom no rule lets in, the other gate would have asked.
            let allow = any.and_then(|satisfy| Some((satisfy, only_allowed(&rules)?)));
            if let Some((satisfy, allow)) = allow {
                for gate in gates {
                    self.missing(gate, format!("{}. Who is in `allow` comes in without it, as with nginx, and nobody else", advice(&gate.name)));
                }
                self.full_all(&rules);
                self.full(satisfy);
                let name = self.list("allowed", &allow);
                out.set("allow", toml::strings(&[name]));
                return;
            }
            if let Some(satisfy) = scope.one("satisfy") {
                self.missing(satisfy, "what it is about could not be carried over");
            }
            self.full_all(&rules);
            for gate in gates {
                self.missing(
                    gate,
                    format!(
                        "{}. Until then nobody may come: take `deny` away",
                        advice(&gate.name)
                    ),
                );
                self.close(gate, out);
            }
            return;
        }
        if let Some(referers) = scope.one("valid_referers") {
            self.missing(
                referers,
                "Dhal does not look at `Referer`, which visitors choose freely",
            );
        }
        let rules = gates::rules(scope);
        if rules.is_empty() {
            return;
        }
        let denies = rules.iter().find(|rule| rule.name == "deny");
        if let Some(rule) = denies
            && (self.blind || of_fallback)
        {
            let why = match self.blind {
                true => {
                    "the visitor's address is not known as nginx knows it, see `set_real_ip_from`"
                }
                false => "both this location and the one of `try_files` say who may come",
            };
            self.full_all(&rules);
            self.missing(
                rule,
                format!("{why}. Until it is mended nobody may come: take `deny` away"),
            );
            self.close(rule, out);
            return;
        }
        match sorted(&rules) {
            Ok((allow, deny)) => {
                for rule in &rules {
                    self.full(rule);
                }
                if deny.iter().any(|n| n == "all") {
                    let name = self.everybody();
                    out.set("deny", toml::strings(&[name]));
                    return;
                }
                if !allow.is_empty() {
                    let name = self.list("allowed", &allow);
                    out.set("allow", toml::strings(&[name]));
                }
                if !deny.is_empty() {
                    let name = self.list("denied", &deny);
                    out.set("deny", toml::strings(&[name]));
                }
            }
            Err((rule, why)) => {
                for other in &rules {
                    self.full(other);
                }
                self.missing(
                    rule,
                    format!("{why}. Until it is mended nobody may come: take `deny` away"),
                );
                self.close(rule, out);
            }
        }
    }

    /// Marks gates that are `off`.
    fn gates_off(&mut self, scope: &Scope<'a>) {
        for directive in scope.0.iter().copied().flatten() {
            if gates::is_foreign(&directive.name) && directive.arg(0) == "off" {
                self.full(directive);
            }
        }
    }

    pub(super) fn list(&mut self, wish: &str, networks: &[String]) -> String {
        let mut section = Section::default();
        section.set("entries", toml::strings(networks));
        self.lists.intern(wish, section)
    }

    fn everybody(&mut self) -> String {
        self.list(EVERYBODY, &["0.0.0.0/0".to_owned(), "::/0".to_owned()])
    }

    /// Nobody may come, until somebody has looked at it.
    pub(super) fn close(&mut self, gate: &Directive, out: &mut Section) {
        let name = self.everybody();
        out.remarked("deny", toml::strings(&[name]), "closed: see above");
        self.tell_closed(gate);
    }

    /// Of a server that listens within: who may come to a route comes from these networks, and from those that it names.
    pub(super) fn within_alone(&mut self, networks: &[String], out: &mut Section) {
        let why = "nginx listens within alone, Dhal's routes are for every address";
        if self.blind {
            return self.shut(out, why);
        }
        let known = out.keys.iter().find(|key| key.name == "allow");
        let own = known.and_then(|key| {
            let mut lists = self.lists.list.iter();
            lists.find(|(name, _)| key.value == toml::strings(&[name]))
        });
        let own: Option<Vec<String>> = own.map(|(_, list)| {
            let entries = list
                .keys
                .iter()
                .map(|key| key.value.clone())
                .collect::<String>();
            let inner = entries.split('"').skip(1).step_by(2);
            inner.map(str::to_owned).collect()
        });
        let common: Vec<String> = match (known, own) {
            (None, _) => networks.to_vec(),
            (Some(_), None) => Vec::new(),
            (Some(_), Some(own)) => {
                let pairs = own
                    .iter()
                    .flat_map(|o| networks.iter().map(move |n| (o, n)));
                pairs
                    .filter_map(|(one, other)| narrower(one, other))
                    .collect()
            }
        };
        if common.is_empty() {
            return self.shut(out, why);
        }
        let name = self.list("inside", &common);
        out.remarked("allow", toml::strings(&[name]), why);
    }

    /// The same for what a site is closed for, of which each route says it.
    pub(super) fn shut(&mut self, out: &mut Section, why: &str) {
        let name = self.everybody();
        out.remarked("deny", toml::strings(&[name]), &format!("closed: {why}"));
    }

    pub(super) fn tell_closed(&mut self, gate: &Directive) {
        let closed = format!("{}: {}", self.tree.place(gate.at), gate.text());
        if self.closed_known.insert(closed.clone()) {
            self.closed.push(closed);
        }
    }
}

/// What to do instead of a gate.
fn advice(name: &str) -> &'static str {
    match name {
        "auth_basic" => {
            "Dhal asks for no passwords: let the shop do so, or name who may come in `allow`"
        }
        "auth_request" => "Dhal asks nobody before it answers: let the shop decide",
        "auth_jwt" => "Dhal checks no tokens: let the shop do so",
        "secure_link" => "Dhal checks no signatures of links: let the shop do so",
        name if name.contains("_by_lua") || name.starts_with("js_") => {
            "Dhal runs no scripts: let the shop decide"
        }
        name if name.starts_with("auth_") => "Dhal asks visitors for nothing: let the shop do so",
        _ => "Dhal has no such gate: let the shop decide",
    }
}

/// Who is let in by rules whose end is `deny all`, whether it is written or not; `None` where that cannot be said.
fn only_allowed(rules: &[&Directive]) -> Option<Vec<String>> {
    let end = rules.iter().position(|rule| rule.arg(0) == "all");
    if end.is_some_and(|at| rules[at].name == "allow") {
        return None;
    }
    let rules = &rules[..end.unwrap_or(rules.len())];
    let networks = rules.iter().map(|rule| {
        let is_plain = rule.name == "allow" && is_network(rule.arg(0));
        is_plain.then(|| rule.arg(0).to_owned())
    });
    let networks: Vec<_> = networks.collect::<Option<_>>()?;
    (!networks.is_empty()).then_some(networks)
}

/// What two networks have in common.
fn narrower(one: &str, other: &str) -> Option<String> {
    let bits = |network: &str| match network.split_once('/') {
        Some((_, bits)) => bits.parse().unwrap_or(128_u32),
        None => 128,
    };
    let narrow = if bits(one) >= bits(other) { one } else { other };
    do_overlap(one, other).then(|| narrow.to_owned())
}

/// Rules in their order, of which the first that fits counts, as two lists of which `deny` goes first. `all`
/// in `deny` stands for everybody; nothing in `allow`, for all who are not denied.
type Lists = (Vec<String>, Vec<String>);

fn sorted<'d>(rules: &[&'d Directive]) -> Result<Lists, (&'d Directive, String)> {
    let (mut allow, mut deny) = (Vec::new(), Vec::new());
    for rule in rules {
        let (is_allow, who) = (rule.name == "allow", rule.arg(0));
        if who == "all" {
            match (is_allow, allow.is_empty()) {
                // Who was let in before stays in; all others are out.
                (false, false) => return Ok((allow, deny)),
                (false, true) => return Ok((Vec::new(), vec!["all".to_owned()])),
                (true, _) => return Ok((Vec::new(), deny)),
            }
        }
        if !is_network(who) {
            return Err((
                rule,
                "an address list holds addresses and networks".to_owned(),
            ));
        }
        match is_allow {
            true => allow.push(who.to_owned()),
            // Somebody let in before might be on it, whom Dhal would turn away.
            false if !allow.is_empty() => {
                return Err((
                    rule,
                    "Dhal's `deny` goes before `allow`, whatever their order".to_owned(),
                ));
            }
            false => deny.push(who.to_owned()),
        }
    }
    // Without `deny all` everybody else may come, so letting in changes nothing.
    Ok((Vec::new(), deny))
}
