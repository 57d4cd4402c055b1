//! Who may come: `allow`, `deny`, and what Dhal cannot ask of visitors.
//!
//! What kept visitors out must not be lost: where it cannot be carried over, the route is closed.

use super::{Scope, Translator, global::is_network};
use crate::{
    toml::{self, Section},
    tree::Directive,
};

/// What Dhal cannot ask of visitors, and what to do instead.
const GATES: [(&str, &str); 5] = [
    (
        "auth_basic",
        "Dhal asks for no passwords: let the shop do so, or name who may come in `allow`",
    ),
    (
        "auth_request",
        "Dhal asks nobody before it answers: let the shop decide",
    ),
    ("auth_jwt", "Dhal checks no tokens: let the shop do so"),
    (
        "secure_link",
        "Dhal checks no signatures of links: let the shop do so",
    ),
    (
        "access_by_lua_block",
        "Dhal runs no scripts: let the shop decide",
    ),
];

/// The list that everybody is on.
const EVERYBODY: &str = "everybody";

impl<'a> Translator<'a> {
    pub(super) fn access(&mut self, scope: &Scope<'a>, out: &mut Section) {
        for (name, why) in GATES {
            let gate = scope.one(name).filter(|d| d.arg(0) != "off");
            if let Some(off) = scope.one(name).filter(|d| d.arg(0) == "off") {
                self.full(off);
            }
            if let Some(gate) = gate {
                self.missing(
                    gate,
                    format!("{why}. Until then nobody may come: take `deny` away"),
                );
                if let Some(users) = scope.one("auth_basic_user_file") {
                    self.missing(users, "Dhal asks for no passwords");
                }
                if let Some(satisfy) = scope.one("satisfy") {
                    self.missing(satisfy, "what it is about could not be carried over");
                }
                let rules = scope.all("allow");
                // With `satisfy any` addresses suffice.
                let any = scope.one("satisfy").is_some_and(|d| d.arg(0) == "any");
                if any && !rules.is_empty() {
                    break;
                }
                for rule in self.rules(scope) {
                    self.full(rule);
                }
                self.close(gate, out);
                return;
            }
        }
        if let Some(referers) = scope.one("valid_referers") {
            self.missing(
                referers,
                "Dhal does not look at `Referer`, which visitors choose freely",
            );
        }
        let rules = self.rules(scope);
        if rules.is_empty() {
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

    /// `allow` and `deny` that are in force: a level that has one of them has all of them.
    fn rules(&self, scope: &Scope<'a>) -> Vec<&'a Directive> {
        for level in scope.0.iter().rev() {
            let found: Vec<_> = level
                .iter()
                .filter(|d| matches!(d.name.as_str(), "allow" | "deny"))
                .collect();
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }

    fn list(&mut self, wish: &str, networks: &[String]) -> String {
        let mut section = Section::default();
        section.set("entries", toml::strings(networks));
        self.lists.intern(wish, section)
    }

    fn everybody(&mut self) -> String {
        self.list(EVERYBODY, &["0.0.0.0/0".to_owned(), "::/0".to_owned()])
    }

    /// Nobody may come, until somebody has looked at it.
    fn close(&mut self, gate: &Directive, out: &mut Section) {
        let name = self.everybody();
        out.remarked("deny", toml::strings(&[name]), "closed: see above");
        let closed = format!("{}: {}", self.tree.place(gate.at), gate.text());
        if !self.closed.contains(&closed) {
            self.closed.push(closed);
        }
    }
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
