//! Expressions for paths that begin with a prefix.

use super::{BYTE, FROM_A_BYTE, escaped};

/// The text that all paths of an expression begin with: `/p/` of `^/p/[0-9]`.
pub(crate) fn literal_start(pattern: &str) -> Option<String> {
    let inner = pattern.strip_prefix('^')?;
    let start = literal_run(inner)?;
    start.starts_with('/').then_some(start)
}

/// The text that an expression begins with; `None` where it has branches outside of groups.
fn literal_run(pattern: &str) -> Option<String> {
    let mut depth = 0_i32;
    let mut escaped = false;
    for c in pattern.chars() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match c {
            '\\' => escaped = true,
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '|' if depth <= 0 => return None,
            _ => {}
        }
    }
    let mut out = String::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        let c = match c {
            '\\' => match rest.next() {
                Some(c) if c.is_ascii_punctuation() => c,
                _ => break,
            },
            c if c.is_ascii_alphanumeric() || "/-_~,:;=@!&'".contains(c) => c,
            _ => break,
        };
        // What is repeated may be absent.
        if rest.as_str().starts_with(['*', '+', '?', '{']) {
            break;
        }
        out.push(c);
    }
    Some(out)
}

/// What an expression is, for paths that begin with a prefix alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// All of them, and no others.
    Exactly(String),
    /// None but these, and perhaps not all.
    Mostly(String),
    /// That cannot be said.
    No,
}

/// An expression of Dhal's for paths below a prefix.
pub(crate) fn within(prefix: &str, own: &str) -> Within {
    if prefix == "/" {
        return Within::Exactly(own.to_owned());
    }
    let bare = own.strip_prefix("(?i)").unwrap_or(own);
    let ignores_case = bare.len() != own.len();
    if let Some(inner) = bare.strip_prefix(FROM_A_BYTE) {
        let region = escaped(prefix);
        return Within::Mostly(match ignores_case {
            true => format!("^{region}(?i:{BYTE}*?{inner})"),
            false => format!("^{region}{BYTE}*?{inner}"),
        });
    }
    if let Some(inner) = bare.strip_prefix('^') {
        let is_below =
            !ignores_case && literal_run(inner).is_some_and(|run| run.starts_with(prefix));
        return match is_below {
            true => Within::Exactly(own.to_owned()),
            false => Within::No,
        };
    }
    let region = escaped(prefix);
    let Some(run) = literal_run(bare) else {
        return Within::Mostly(format!("^{region}.*(?:{own})"));
    };
    let like = |one: &str, other: &str| match ignores_case {
        true => one
            .to_ascii_lowercase()
            .starts_with(&other.to_ascii_lowercase()),
        false => one.starts_with(other),
    };
    // It may begin within the prefix.
    let mut starts = Vec::new();
    let mut sure = !run.is_empty() && !bare.contains('^') && !bare.contains("\\B");
    for (at, _) in prefix.char_indices() {
        let end = &prefix[at..];
        if like(&run, end) {
            starts.push(escaped(&prefix[..at]));
        } else if like(end, &run) {
            sure = false;
        }
    }
    // Case matters in the prefix.
    sure &= !ignores_case || starts.is_empty();
    let text = match starts.is_empty() {
        true => format!("^{region}.*{own}"),
        false => format!("^(?:{region}.*|{}){own}", starts.join("|")),
    };
    match sure {
        true => Within::Exactly(text),
        false => Within::Mostly(text),
    }
}
