//! Whether a rewrite leads to where visitors are kept out.

use crate::{
    expression,
    translate::{
        Translator, ends,
        gates::{self, Shade},
        location::{Kind, kind},
        server::Site,
    },
    tree::Directive,
};

/// Whether a rewrite in a location, or in a condition or location within it, leads to where visitors may be kept out.
pub(super) fn leads_to_gate(site: &Site<'_>, block: &Directive) -> bool {
    block.children().iter().any(|d| match d.name.as_str() {
        "rewrite" => {
            Translator::outside(d).is_none()
                && may_be_guarded_beyond(site, d.arg(1), None, &|gate| {
                    ends::of(site, block, d, gate).is_some()
                })
        }
        "if" | "location" => leads_to_gate(site, d),
        _ => false,
    })
}

/// Whether a rewritten path, of which the part before its first variable is fixed, may be one that a location keeps
/// visitors out of. `own`: a location whose gates are asked anyway.
pub(in crate::translate) fn may_be_guarded(
    site: &Site<'_>,
    to: &str,
    own: Option<&Directive>,
) -> bool {
    may_be_guarded_beyond(site, to, own, &|_| false)
}

/// The same, but for locations whose gates are `kept` in another way.
pub(in crate::translate) fn may_be_guarded_beyond(
    site: &Site<'_>,
    to: &str,
    own: Option<&Directive>,
    kept: &dyn Fn(&Directive) -> bool,
) -> bool {
    let path = to.split('?').next().unwrap_or_default();
    let fixed = path.split('$').next().unwrap_or_default();
    let is_fixed = fixed.len() == path.len();
    let is_dark = |location: &Directive| {
        own.is_none_or(|own| own.id != location.id) && site.shade_of(location) != Shade::Open
    };
    let chosen = site.location_of(fixed);
    if chosen.is_some_and(is_dark) {
        return true;
    }
    // What no location takes is the server's own.
    let takes_all =
        |location: &Directive| matches!(kind(location), Kind::Prefix("/") | Kind::Final("/"));
    if gates::shade(&site.scope) != Shade::Open
        && !(is_fixed && chosen.is_some())
        && !site.locations().any(takes_all)
    {
        return true;
    }
    site.locations().any(|location| {
        is_dark(location)
            && match kind(location) {
                Kind::Exact(text) | Kind::Prefix(text) | Kind::Final(text) => {
                    !is_fixed && text.starts_with(fixed)
                }
                // One that Dhal can read has been looked at.
                Kind::Regex { text, ignore_case } if is_fixed => {
                    let compiled = site.expressions.get(text, ignore_case);
                    compiled.own.is_err() && compiled.may_match(fixed)
                }
                Kind::Regex { .. } if kept(location) => false,
                // What a variable brings may be anything.
                Kind::Regex { text, ignore_case } => {
                    let literal = expression::literal_start(text).filter(|_| !ignore_case);
                    literal.is_none_or(|l| l.starts_with(fixed) || fixed.starts_with(&l))
                }
                Kind::Named(_) => false,
            }
    })
}
