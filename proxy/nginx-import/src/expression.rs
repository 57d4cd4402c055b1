//! Regular expressions: what PCRE takes and Dhal's engine does not.

mod below;

use std::{cell::RefCell, collections::HashMap, rc::Rc};

pub(crate) use self::below::{Within, literal_start, within};

/// Longest expression that Dhal takes, with room for what is put before it.
const TEXT_MAX: usize = 1_000;

/// One byte of a path as nginx sees it, which Dhal sees encoded where it has to be.
const BYTE: &str = "(?:[^%]|%[0-9A-F]{2})";

/// What goes before an expression that could begin within an encoded byte: `20`, of which `%20` has nothing.
const FROM_A_BYTE: &str = "^(?:[^%]|%[0-9A-F]{2})*?";

/// The expression as Dhal reads it, or why it cannot.
///
/// nginx's `$` also matches before a line break at the end, and its `.` matches none. Dhal answers 400 to encoded
/// control bytes, so that no path has one.
pub(crate) fn translated(pattern: &str, ignore_case: bool) -> Result<String, String> {
    if pattern.len() > TEXT_MAX {
        return Err(format!("an expression of more than {TEXT_MAX} bytes"));
    }
    for (construct, what) in [
        ("(?=", "looks ahead"),
        ("(?!", "looks ahead"),
        ("(?<=", "looks behind"),
        ("(?<!", "looks behind"),
        ("(?>", "has an atomic group"),
    ] {
        if pattern.contains(construct) {
            return Err(format!(
                "the expression {what} (`{construct}`), which cannot be done in linear time"
            ));
        }
    }
    let unknown = || "the expression is not one that Dhal's engine knows".to_owned();
    let is_safe = starts_safely(pattern, ignore_case);
    let mut pattern = encoded(pattern).ok_or_else(unknown)?;
    if !is_safe {
        pattern = format!("{FROM_A_BYTE}(?:{pattern})");
    }
    let text = match ignore_case {
        true => format!("(?i){pattern}"),
        false => pattern,
    };
    match text.len() <= TEXT_MAX && regex::Regex::new(&text).is_ok() {
        true => Ok(text),
        false => Err(unknown()),
    }
}

/// Whether no match of an expression begins within an encoded byte, as far as that can be seen.
fn starts_safely(pattern: &str, ignore_case: bool) -> bool {
    if let Some(inner) = pattern.strip_prefix("(?i)") {
        return starts_safely(inner, true);
    }
    let mut branches = Vec::new();
    let mut rest = pattern;
    while let Some((branch, behind)) = split(rest, '|') {
        branches.push(branch);
        rest = behind;
    }
    branches.push(rest);
    branches
        .into_iter()
        .all(|branch| match branch.strip_prefix('(') {
            Some(group) => split(group, ')').is_some_and(|(inner, behind)| {
                let inner = inner.strip_prefix("?:").unwrap_or(inner);
                starts_safely(inner, ignore_case) && !behind.starts_with(['*', '?', '{'])
            }),
            None => branch.starts_with('^') || is_apart(branch, ignore_case),
        })
}

/// What stands before and behind the first of these characters that is outside of groups and classes.
fn split(pattern: &str, at: char) -> Option<(&str, &str)> {
    let (mut depth, mut in_class, mut escaped) = (0_u32, false, false);
    let found = pattern.char_indices().find(|(_, c)| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match c {
            '\\' => escaped = true,
            ']' => in_class = false,
            _ if in_class => {}
            c if *c == at && depth == 0 => return true,
            '[' => in_class = true,
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        false
    });
    found.map(|(found, c)| (&pattern[..found], &pattern[found + c.len_utf8()..]))
}

/// Whether an expression begins with a character that no encoded byte has behind its `%`.
fn is_apart(pattern: &str, ignore_case: bool) -> bool {
    let mut rest = pattern.chars();
    let is_apart = match rest.next() {
        Some('\\') => rest.next().is_some_and(|c| c.is_ascii_punctuation()),
        Some(c) if c.is_ascii_alphanumeric() => {
            !(c.is_ascii_digit()
                || matches!(c, 'A'..='F')
                || (ignore_case && matches!(c, 'a'..='f')))
        }
        Some(c) => !"^$.[](){}|*+?".contains(c),
        None => false,
    };
    is_apart && !rest.as_str().starts_with(['*', '?', '{'])
}

/// The expression over paths as Dhal sees them: what has to be percent-encoded is so, and what means something else to
/// Dhal's engine is written in another way. `None` where that cannot be said.
fn encoded(pattern: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = pattern.chars().peekable();
    // A literal character of a word stands before.
    let mut in_word = false;
    while let Some(c) = rest.next() {
        let was_in_word = std::mem::replace(&mut in_word, c.is_ascii_alphanumeric() || c == '_');
        match c {
            '\\' => match rest.next()? {
                c if c.is_ascii_punctuation() && !is_encoded(c) => {
                    out.push('\\');
                    out.push(c);
                }
                c if is_encoded(c) => out += &literal(c),
                // Encoded bytes are none of them.
                c if "dw".contains(c) => {
                    out.push('\\');
                    out.push(c);
                }
                'D' => out += r"(?:[^%\d]|%[0-9A-F]{2})",
                'W' => out += r"(?:[^%\w]|%[0-9A-F]{2})",
                // Behind a word the edge is the same; ahead of it the last digit of what is encoded looks like a word.
                'b' if was_in_word => out += r"\b",
                'b' if out.is_empty() && rest.peek().is_some_and(char::is_ascii_alphanumeric) => {
                    out += r"(?:\b|%[0-9A-F]{2})";
                }
                _ => return None,
            },
            '[' => {
                let (class, is_negated) = class(&mut rest)?;
                let is_plain = class.chars().all(|c| "/.-_&=:;,\\".contains(c));
                match is_negated {
                    true if is_plain && may_split(&rest) => out += &format!("[^{class}]"),
                    true => out += &format!("(?:[^%{class}]|%[0-9A-F]{{2}})"),
                    false => out += &format!("[{class}]"),
                }
            }
            '.' if may_split(&rest) => out.push('.'),
            '.' => out += BYTE,
            '(' if rest.peek() == Some(&'?') => {
                out.push('(');
                // `(?:`, `(?<name>`, `(?i)`
                for c in rest.by_ref() {
                    let is_fine = c.is_ascii_alphanumeric() || "?:<>P_-".contains(c);
                    if !is_fine {
                        match c {
                            ')' => {}
                            _ => return None,
                        }
                    }
                    out.push(c);
                    if matches!(c, ':' | '>' | ')') {
                        break;
                    }
                }
            }
            // Repetitions that take no step back mean something else there.
            '*' | '+' | '?' | '}' => {
                out.push(c);
                if rest.peek() == Some(&'+') {
                    return None;
                }
            }
            '(' | ')' | '|' | '^' | '$' | '{' => out.push(c),
            c if is_encoded(c) => out += &literal(c),
            c => out.push(c),
        }
    }
    Some(out)
}

/// Whether what is repeated here may end within an encoded byte, because what follows does not begin there.
fn may_split(rest: &std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    let rest: String = rest.clone().collect();
    let Some(behind) = rest.strip_prefix(['*', '+']) else {
        return false;
    };
    let behind = behind.strip_prefix('?').unwrap_or(behind);
    let behind = behind.trim_start_matches(')');
    behind.is_empty() || behind == "$" || is_apart(behind, true)
}

/// Whether a character of a path is percent-encoded when Dhal sees it.
fn is_encoded(c: char) -> bool {
    !c.is_ascii_graphic() || "\"<>^`{}%?#\\".contains(c)
}

fn literal(c: char) -> String {
    let mut bytes = [0; 4];
    let encoded: String = c
        .encode_utf8(&mut bytes)
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    match encoded.len() {
        3 => format!("(?:{encoded})"),
        // A repetition behind it is about its last byte, as nginx reads it.
        _ => format!(
            "{}(?:{})",
            &encoded[..encoded.len() - 3],
            &encoded[encoded.len() - 3..]
        ),
    }
}

/// The inner text of a class, up to its end, and whether it is a negated one.
fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<(String, bool)> {
    let is_negated = rest.next_if_eq(&'^').is_some();
    let mut out = String::new();
    let mut is_first = true;
    loop {
        let c = rest.next()?;
        match c {
            ']' if !is_first => break,
            // A range to or from it, or the difference of two classes.
            '-' if matches!(rest.peek(), Some('-')) => return None,
            '[' if rest.peek() == Some(&':') => {
                out.push('[');
                for c in rest.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '\\' => match rest.next()? {
                c if c.is_ascii_punctuation() && (is_negated || !is_encoded(c)) => {
                    out.push('\\');
                    out.push(c);
                }
                c if "dw".contains(c) => {
                    out.push('\\');
                    out.push(c);
                }
                _ => return None,
            },
            // Encoded it is three characters.
            c if is_encoded(c) && !is_negated => return None,
            c if !c.is_ascii() => return None,
            '[' | ']' | '&' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
        is_first = false;
    }
    Some((out, is_negated))
}

/// An expression for these paths and perhaps others: what only restricts it is left out. `None` where that cannot be said.
pub(crate) fn superset(pattern: &str, ignore_case: bool) -> Option<String> {
    if let Ok(text) = translated(pattern, ignore_case) {
        return Some(text);
    }
    let text = pattern
        .replace("(?>", "(?:")
        .replace("\\Z", "$")
        .replace("\\z", "$")
        .replace("\\A", "^")
        .replace("\\/", "/");
    // Edges of words restrict only.
    let text = match text.contains(r"\\") {
        true => text,
        false => text.replace(r"\b", "").replace(r"\B", ""),
    };
    let simpler = without_groups(&text).and_then(|text| translated(&text, ignore_case).ok());
    simpler.or_else(|| {
        let start = literal_start(pattern).filter(|start| start.len() > 1)?;
        let text = format!("^{}", escaped(&start));
        Some(match ignore_case {
            true => format!("(?i){text}"),
            false => text,
        })
    })
}

/// An expression without what looks ahead or behind, and without its comments.
fn without_groups(pattern: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = pattern;
    loop {
        let starts = ["(?=", "(?!", "(?<=", "(?<!", "(?#"];
        let Some(at) = starts.iter().filter_map(|start| rest.find(start)).min() else {
            out += rest;
            return Some(out);
        };
        out += &rest[..at];
        let mut depth = 0_usize;
        let mut escaped = false;
        let end = rest[at..].char_indices().find(|(_, c)| {
            if std::mem::take(&mut escaped) {
                return false;
            }
            match c {
                '\\' => escaped = true,
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0
        });
        let (end, _) = end?;
        rest = &rest[at + end + 1..];
        // Repeating it would repeat what stands before.
        if rest.starts_with(['*', '+', '?', '{']) {
            return None;
        }
    }
}

/// The one path that an expression stands for: `^/old\.html$`.
pub(crate) fn only_path(pattern: &str) -> Option<String> {
    let inner = pattern.strip_prefix('^')?.strip_suffix('$')?;
    plain(inner)
}

/// The text that an expression of characters alone stands for.
fn plain(pattern: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next()? {
                c if c.is_ascii_punctuation() => out.push(c),
                _ => return None,
            },
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => {
                return None;
            }
            c => out.push(c),
        }
    }
    out.starts_with('/').then_some(out)
}

/// An expression that has been read.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// As [`translated`] has it.
    pub(crate) own: Result<String, String>,
    /// As [`superset`] has it; `None` where nobody can read it.
    all: Option<regex::Regex>,
}

impl Compiled {
    fn of(pattern: &str, ignore_case: bool) -> Self {
        let own = translated(pattern, ignore_case);
        let all = match &own {
            Ok(text) => Some(text.clone()),
            Err(_) => superset(pattern, ignore_case),
        };
        Self {
            all: all.and_then(|text| regex::Regex::new(&text).ok()),
            own,
        }
    }

    /// Whether it matches a path; one that Dhal cannot take does not.
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.own.is_ok() && self.all.as_ref().is_some_and(|all| all.is_match(path))
    }

    /// Whether it matches a path, or could: one that nobody can read may match everything.
    pub(crate) fn may_match(&self, path: &str) -> bool {
        self.all.as_ref().is_none_or(|all| all.is_match(path))
    }
}

/// Expressions by their texts and whether case is ignored. To compile one takes far longer than to match it, and each
/// rewrite asks those of all locations. There is one for a server, so that its directives bound it.
#[derive(Debug, Default)]
pub(crate) struct Expressions(RefCell<HashMap<(String, bool), Rc<Compiled>>>);

impl Expressions {
    /// The expression, compiled the first time alone.
    pub(crate) fn get(&self, pattern: &str, ignore_case: bool) -> Rc<Compiled> {
        let mut known = self.0.borrow_mut();
        let compiled = known
            .entry((pattern.to_owned(), ignore_case))
            .or_insert_with(|| Rc::new(Compiled::of(pattern, ignore_case)));
        Rc::clone(compiled)
    }
}

/// An expression for exactly this path, percent-encoded as Dhal sees it; nginx sees it decoded.
pub(crate) fn escaped(path: &str) -> String {
    let mut encoded = String::new();
    for byte in path.bytes() {
        match byte.is_ascii_graphic() && !b"\\\"<>^`{}%?#".contains(&byte) {
            true => encoded.push(byte as char),
            false => encoded += &format!("%{byte:02X}"),
        }
    }
    regex::escape(&encoded)
}

#[cfg(test)]
mod tests;
