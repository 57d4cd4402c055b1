//! The locations of a server, flat.

use crate::{
    translate::{
        Scope,
        gates::{self, Shade},
        location::{Kind, kind},
    },
    tree::Directive,
};

/// A location, flat.
pub(super) struct Item<'a> {
    pub(super) location: &'a Directive,
    pub(super) parent: Scope<'a>,
    pub(super) kind: Kind<'a>,
    /// The prefix that it lies in.
    pub(super) within: Option<usize>,
    /// It lies in an expression.
    pub(super) in_regex: bool,
    /// Outer expressions do not go before it.
    pub(super) is_final: bool,
    pub(super) shade: Shade,
}

impl Item<'_> {
    /// The text of a prefix.
    pub(super) fn prefix(&self) -> Option<&str> {
        match self.kind {
            Kind::Prefix(text) | Kind::Final(text) => Some(text),
            _ => None,
        }
    }
}

/// Whether another outer location than the one around it is chosen for all that it takes.
pub(super) fn is_hidden(items: &[Item<'_>], item: &Item<'_>) -> bool {
    let (Kind::Exact(text) | Kind::Prefix(text) | Kind::Final(text)) = item.kind else {
        return false;
    };
    let mut top = item.within;
    let Some(mut at) = top else {
        return false;
    };
    while let Some(outer) = items[at].within {
        at = outer;
        top = Some(outer);
    }
    let around = top.and_then(|t| items[t].prefix()).unwrap_or_default();
    items.iter().any(|other| {
        other.within.is_none()
            && match other.kind {
                Kind::Exact(path) => matches!(item.kind, Kind::Exact(_)) && path == text,
                Kind::Prefix(path) | Kind::Final(path) => {
                    path.len() > around.len() && text.starts_with(path)
                }
                _ => false,
            }
    })
}

pub(super) fn flatten<'a>(
    items: &mut Vec<Item<'a>>,
    parent: &Scope<'a>,
    block: &'a Directive,
    within: Option<usize>,
    in_regex: bool,
    is_final: bool,
) {
    for location in block.children().iter().filter(|d| d.name == "location") {
        let kind = kind(location);
        let at = items.len();
        let is_outer = within.is_none() && !in_regex;
        items.push(Item {
            location,
            parent: parent.clone(),
            kind,
            within,
            in_regex,
            is_final: match is_outer {
                true => matches!(kind, Kind::Final(_)),
                false => is_final,
            },
            shade: gates::shade_of_all(parent, location),
        });
        let is_final = items[at].is_final;
        let scope = parent.within(location.children());
        match kind {
            Kind::Prefix(_) | Kind::Final(_) => {
                flatten(items, &scope, location, Some(at), in_regex, is_final);
            }
            Kind::Regex { .. } => flatten(items, &scope, location, within, true, is_final),
            _ => {}
        }
    }
}
