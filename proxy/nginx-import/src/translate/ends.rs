//! Rewrites that leave the end of a path as it is, beside locations that keep visitors out by that end.
//!
//! Versioned names of static files are rewritten, and scripts refused, whatever their folder:
//!
//! ```nginx
//! location ~ ^/static/version { rewrite ^/static/version\d*/(.*)$ /static/$1 last; }
//! location ~* \.php$ { deny all; }
//! ```
//!
//! nginx chooses anew for the rewritten path, and Dhal does not. But a name that the second expression is about is the
//! same before and after, so that what is asked for tells who is kept out: by the second location's own route, where that
//! goes before the one that rewrites (see [`super::order`]), else by one more ahead of it.

use super::{
    Scope, Translator,
    gates::{self, Shade},
    location::{Kind, Matcher, kind},
    server::Site,
};
use crate::{
    toml::{self, Section},
    tree::Directive,
};

/// The expression of what a rewrite in `location` leads to `gate`, where that can be told from what is asked for.
pub(super) fn of(
    site: &Site<'_>,
    location: &Directive,
    rewrite: &Directive,
    gate: &Directive,
) -> Option<String> {
    let Kind::Regex { text: around, .. } = kind(location) else {
        return None;
    };
    let Kind::Regex { text, ignore_case } = kind(gate) else {
        return None;
    };
    let before = rewrite.arg(0).strip_suffix("(.*)$")?;
    let fixed = rewrite.arg(1).strip_suffix("$1")?;
    let is_end = before.starts_with("^/") && before.ends_with('/') && !before.contains(['(', '|']);
    // All that is rewritten is this location's: no other route loses anything.
    let is_within = before.starts_with(around) && around.starts_with("^/");
    let is_fixed = fixed.starts_with('/') && fixed.ends_with('/') && !fixed.contains(['$', '?']);
    if !(is_end && is_within && is_fixed && is_about_names(text)) {
        return None;
    }
    let gate = site.expressions.get(text, ignore_case);
    if gate.matches(fixed) {
        return None;
    }
    // One that begins at the start of a path cannot stand behind another.
    let name = gate.own.as_ref().ok().filter(|own| !own.contains('^'))?;
    let before = site.expressions.get(before, false);
    let before = before.own.as_ref().ok()?;
    Some(format!("{before}.*(?:{name})"))
}

/// Whether an expression matches within one segment, wherever that stands.
fn is_about_names(text: &str) -> bool {
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let is_plain = match c {
            '\\' => rest
                .next()
                .is_some_and(|c| c.is_ascii_punctuation() && c != '/'),
            '(' => !rest.as_str().starts_with('?'),
            ')' | '|' | '$' | '-' | '_' => true,
            c => c.is_ascii_alphanumeric(),
        };
        if !is_plain {
            return false;
        }
    }
    true
}

impl<'a> Translator<'a> {
    /// Routes ahead of that of a location which rewrites, for what it would lead to where nobody may come.
    pub(super) fn kept_by_ends(
        &mut self,
        site: &Site<'a>,
        scope: &Scope<'a>,
        rewrite: &'a Directive,
    ) {
        // Where everybody may come, the expressions that keep visitors out go before it.
        let is_behind = gates::shade(scope) == Shade::Open;
        let Some(location) = around(site.directive, scope).filter(|_| !is_behind) else {
            return;
        };
        let is_dark = |l: &&Directive| site.shade_of(l) != Shade::Open;
        let gates = site.locations().filter(is_dark);
        let ends: Vec<String> = gates
            .filter_map(|gate| of(site, location, rewrite, gate))
            .collect();
        for end in ends {
            let notes = self.notes();
            let mut out = Section::default();
            out.set("respond", toml::table(&[("status", "403".to_owned())]));
            self.route(site, &Matcher::Regex(end), false, out);
            self.pending = notes;
        }
    }
}

/// The location of which these are the directives.
pub(super) fn around<'a>(block: &'a Directive, scope: &Scope<'a>) -> Option<&'a Directive> {
    let mut inner = block.children().iter().filter(|d| d.name == "location");
    inner.find_map(|d| match std::ptr::eq(d.children(), scope.own()) {
        true => Some(d),
        false => around(d, scope),
    })
}
