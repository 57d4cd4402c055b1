//! What keeps visitors out in nginx, whether Dhal can carry it over or not.
//!
//! One rule holds for all of the translation: a gate that cannot be carried over exactly closes its route, or its
//! site, and the report names it. Nothing is wider than it was.

use super::{Scope, rewrite::Body};
use crate::tree::Directive;

/// How far a location lets visitors in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shade {
    /// Everybody may come.
    Open,
    /// Some may, or not always.
    Gated,
    /// Nobody may, here as with nginx.
    Shut,
}

/// Beginnings of names that are no gates by themselves.
const PARAMETERS: [&str; 8] = [
    "auth_basic_user_file",
    "auth_request_set",
    "auth_jwt_",
    "auth_digest_",
    "auth_ldap_",
    "auth_gss_",
    "auth_delay",
    "auth_http",
];

/// Gates with other names.
const OTHERS: [&str; 12] = [
    "secure_link",
    "modsecurity",
    "SecRulesEnabled",
    "js_access",
    "perl_access",
    "app_protect_enable",
    "wallarm_mode",
    "testcookie",
    "auth_jwt_require",
    "auth_gss",
    "auth_ldap_servers",
    "auth_digest_user_file",
];

/// Whether a directive of this name keeps visitors out, in a way that Dhal does not know.
pub(super) fn is_foreign(name: &str) -> bool {
    if OTHERS.contains(&name) || name.contains("access_by") || name.contains("rewrite_by") {
        return true;
    }
    name.starts_with("auth_") && !PARAMETERS.iter().any(|start| name.starts_with(start))
}

/// The gates of other kinds that are in force.
pub(super) fn foreign<'a>(scope: &Scope<'a>) -> Vec<&'a Directive> {
    let mut out: Vec<&Directive> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for level in scope.0.iter().rev() {
        for directive in level.iter().filter(|d| is_foreign(&d.name)) {
            if !seen.contains(&directive.name.as_str()) {
                seen.push(&directive.name);
                if directive.arg(0) != "off" {
                    out.push(directive);
                }
            }
        }
    }
    out
}

/// `allow` and `deny` that are in force: a level that has one of them has all of them.
pub(super) fn rules<'a>(scope: &Scope<'a>) -> Vec<&'a Directive> {
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

/// Whether nginx alone leads to a location; what lies within one is so, too.
pub(super) fn is_internal(scope: &Scope<'_>) -> bool {
    let mut around = scope.0.iter().copied().flatten();
    around.any(|d| d.name == "internal")
}

/// The shade of a location alone.
pub(super) fn shade(scope: &Scope<'_>) -> Shade {
    let own = |name: &str| scope.own().iter().find(|d| d.name == name);
    if is_internal(scope) {
        return Shade::Shut;
    }
    let ifs = || scope.own().iter().filter(|d| d.name == "if");
    if ifs().any(|d| Body::of(d) != Body::Harmless) {
        return Shade::Gated;
    }
    // For other methods what is said in its block goes before all this.
    if own("limit_except").is_some() {
        return Shade::Gated;
    }
    if let Some(answer) = own("return") {
        let is_refusal = answer.arg(0).parse::<u16>().is_ok_and(|s| s >= 400);
        return if is_refusal { Shade::Shut } else { Shade::Open };
    }
    let rules = rules(scope);
    if foreign(scope).is_empty()
        && rules
            .first()
            .is_some_and(|d| d.name == "deny" && d.arg(0) == "all")
        && scope.one("satisfy").is_none()
    {
        return Shade::Shut;
    }
    let handlers = ["fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass"];
    // A program's source must not be shown in the place of what it does.
    let is_foreign = scope.own().iter().any(|d| {
        handlers.contains(&d.name.as_str())
            || d.name.starts_with("content_by_lua")
            || matches!(d.name.as_str(), "js_content" | "perl")
    });
    let is_gated = !foreign(scope).is_empty()
        || rules.iter().any(|d| d.name == "deny")
        || !scope.all("limit_req").is_empty()
        || is_foreign;
    match is_gated {
        true => Shade::Gated,
        false => Shade::Open,
    }
}

/// The shade of a location with those within it: the darkest, where not all are shut.
pub(super) fn shade_of_all<'a>(parent: &Scope<'a>, location: &'a Directive) -> Shade {
    let scope = parent.within(location.children());
    let own = shade(&scope);
    let inner = location
        .children()
        .iter()
        .filter(|d| d.name == "location")
        .map(|d| shade_of_all(&scope, d));
    let mut all = own;
    for other in inner {
        if other != all {
            all = Shade::Gated;
        }
    }
    all
}

/// The gates that are in force in a location, by their numbers.
fn in_force(scope: &Scope<'_>) -> Vec<usize> {
    let is_own = |d: &&Directive| {
        matches!(
            d.name.as_str(),
            "internal" | "return" | "limit_except" | "rewrite"
        ) || (d.name == "if" && Body::of(d) != Body::Harmless)
    };
    let mut all: Vec<usize> = scope.own().iter().filter(is_own).map(|d| d.id).collect();
    all.extend(rules(scope).iter().map(|d| d.id));
    all.extend(foreign(scope).iter().map(|d| d.id));
    all.extend(scope.all("limit_req").iter().map(|d| d.id));
    all.extend(scope.one("satisfy").map(|d| d.id));
    all
}

/// Whether a location within this one keeps out other visitors than this one does.
pub(super) fn hides<'a>(scope: &Scope<'a>, location: &'a Directive) -> bool {
    let own = in_force(scope);
    let mut inner = location.children().iter().filter(|d| d.name == "location");
    inner.any(|inner| {
        let within = scope.within(inner.children());
        let leads = inner.children().iter().any(|d| d.name == "rewrite");
        let is_open = shade(&within) == Shade::Open && !leads;
        (!is_open && in_force(&within) != own) || hides(&within, inner)
    })
}

/// The shade of a server with all its locations.
pub(super) fn shade_of_server<'a>(scope: &Scope<'a>, server: &'a Directive) -> Shade {
    let children = server.children();
    if let Some(answer) = children.iter().find(|d| d.name == "return") {
        let is_refusal = answer.arg(0).parse::<u16>().is_ok_and(|s| s >= 400);
        return if is_refusal { Shade::Shut } else { Shade::Open };
    }
    let ifs = children.iter().filter(|d| d.name == "if");
    let mut all = shade(scope);
    if ifs.clone().any(|d| Body::of(d) != Body::Harmless) {
        all = Shade::Gated;
    }
    let verifies = scope
        .one("ssl_verify_client")
        .is_some_and(|d| d.arg(0) != "off");
    if verifies {
        all = Shade::Gated;
    }
    let locations = children.iter().filter(|d| d.name == "location");
    for location in locations {
        if shade_of_all(scope, location) != Shade::Open {
            all = all.max(Shade::Gated);
        }
    }
    all
}
