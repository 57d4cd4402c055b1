//! Which location is chosen.

use nginx_import::Directive;

use super::visit::matches;

pub(super) enum Static {
    Exact,
    Slash,
    Prefix { is_final: bool },
    Nothing,
}

/// The modifier of a location, and its text.
pub(in crate::import_model) fn split(location: &Directive) -> (&str, &str) {
    match location.args.len() {
        1 => ("", location.arg(0)),
        _ => (location.arg(0), location.arg(1)),
    }
}

/// Goes down to the location of a path.
pub(super) fn find<'a>(levels: &mut Vec<&'a [Directive]>, uri: &str) -> Static {
    let depth = levels.len();
    let block: &'a [Directive] = levels[depth - 1];
    let locations = || block.iter().filter(|d| d.name == "location");
    let mut found = find_static(levels, uri);
    let mut search = true;
    if let Static::Prefix { is_final } = found {
        search = !is_final;
        found = match find(levels, uri) {
            // What has no location of its own stays where it is.
            Static::Nothing => Static::Prefix { is_final },
            other => other,
        };
    }
    if matches!(found, Static::Exact | Static::Slash) || !search {
        return match found {
            Static::Exact | Static::Slash => found,
            _ => Static::Prefix { is_final: false },
        };
    }
    for location in locations() {
        let (modifier, text) = split(location);
        if matches!(modifier, "~" | "~*") && matches(text, modifier == "~*", uri) {
            levels.truncate(depth);
            levels.push(location.children());
            find(levels, uri);
            return Static::Exact;
        }
    }
    found
}

fn find_static<'a>(levels: &mut Vec<&'a [Directive]>, uri: &str) -> Static {
    let block: &'a [Directive] = levels.last().copied().unwrap_or_default();
    let fixed = || {
        let all = block.iter().filter(|d| d.name == "location");
        all.filter(|d| matches!(split(d).0, "" | "=" | "^~"))
    };
    if let Some(exact) = fixed().find(|d| split(d) == ("=", uri)) {
        levels.push(exact.children());
        return Static::Exact;
    }
    let equal = fixed().any(|d| split(d).0 != "=" && split(d).1 == uri);
    let slash = fixed().find(|d| {
        split(d).1.strip_suffix('/') == Some(uri)
            && d.children().iter().any(|c| c.name == "proxy_pass")
    });
    if let Some(slash) = slash
        && !equal
    {
        // The exact one of two goes first.
        let text = split(slash).1;
        let exact = fixed().find(|d| *d.arg(0) == *"=" && split(d).1 == text);
        levels.push(exact.unwrap_or(slash).children());
        return Static::Slash;
    }
    let longest = fixed()
        .filter(|d| split(d).0 != "=" && uri.starts_with(split(d).1))
        .max_by_key(|d| split(d).1.len());
    match longest {
        Some(location) => {
            levels.push(location.children());
            let is_final = split(location).0 == "^~";
            Static::Prefix { is_final }
        }
        None => Static::Nothing,
    }
}
