//! Regular expressions: what PCRE takes and Dhal's engine does not.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

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
mod tests {
    use super::*;

    #[test]
    fn what_carries_over() {
        for (pattern, expected) in [
            (r"\.php$", r"\.php$"),
            (r"^/old/(.*)$", r"^/old/(.*)$"),
            (r"^/p/([^/]+)/x", r"^/p/([^/]+)/x"),
            (r"\.(jpg|png)$", r"\.(jpg|png)$"),
            ("^/(a|b)/", "^/(a|b)/"),
            ("(/a|/b)c", "(/a|/b)c"),
            ("admin", "admin"),
        ] {
            assert_eq!(translated(pattern, false).as_deref(), Ok(expected));
        }
        for (pattern, is_fine) in [
            (r"\.php$", true),
            (r"^/p/(?<id>\d+)$", true),
            (r"\.(jpg|png)$", true),
            (r"^/(?!admin)", false),
            (r"(a)\1", false),
            (r"a*\bx", false),
            (r"^/a\/b", true),
            (r"(", false),
        ] {
            assert_eq!(translated(pattern, true).is_ok(), is_fine, "{pattern}");
        }
        assert_eq!(translated("/a", true).as_deref(), Ok("(?i)/a"));
    }

    #[test]
    fn what_is_encoded_in_paths() {
        for (pattern, path, expected) in [
            ("^/sp x", "/sp%20x", true),
            ("^/é", "/%C3%A9", true),
            ("#hash", "/%23hash", true),
            ("^/[a&&b]z", "/az", true),
            ("^/[a&&b]z", "/&z", true),
            ("^/a.b$", "/a%20b", true),
            ("^/a[^/]b$", "/a%20b", true),
            ("^/a[^/]b$", "/a/b", false),
            (r"^/a\{b", "/a%7Bb", true),
            // Both spellings are read as this one.
            (r"^/a\|b", "/a|b", true),
            // What is encoded is one byte, and none of a word.
            (r"^/a\Wb", "/a%20b", true),
            (r"^/a\Db", "/a%20b", true),
            (r"^/\D+$", "/%20x", true),
            ("^/[^0-9]+x$", "/%20x", true),
            (r"^/[^\d]*b", "/%20b", true),
            (r"\badmin\b", "/%20admin%20", true),
            (r"\badmin\b", "/xadmin", false),
            ("20", "/%20x", false),
            ("20", "/%20", false),
            ("20", "/a20", true),
            ("(2|0x)", "/%20x", false),
            ("(x)?0y", "/%20y", false),
            ("(?i)a$", "/x%EA", false),
            ("(?i)a$", "/x%EAa", true),
            ("^/.*0", "/%20", false),
            ("^/.*0", "/%200", true),
            ("^/(.*)0x", "/%20x", false),
            (r"[a-z]+\.p$", "/%C3.p", false),
            ("^/a{2}$", "/aa", true),
        ] {
            assert_eq!(
                Compiled::of(pattern, false).matches(path),
                expected,
                "{pattern} {path}"
            );
        }
        assert!(translated("^/[a-c--b]", false).is_err());
        assert!(translated("^/[ a]", false).is_err());
        assert!(translated("^/a++b", false).is_err());
    }

    #[test]
    fn what_takes_more_where_no_other_can_be_said() {
        for (pattern, expected) in [
            ("^/(?!pub)secret", Some("^/secret")),
            (r"/end\Z", Some("/end$")),
            (r"\.php(?!x)$", Some(r"\.php$")),
            ("^/a(?#why)b", Some("^/ab")),
            (r"^/abc\Qd\E", Some("^/abc")),
            (r"\Rx", None),
            ("(?!a)*x", None),
            (r"/x\Bb", Some("/xb")),
        ] {
            assert_eq!(superset(pattern, false).as_deref(), expected, "{pattern}");
        }
    }

    #[test]
    fn expressions_below_a_prefix() {
        use Within::{Exactly, Mostly, No};
        for (prefix, own, expected) in [
            ("/", r"\.php$", Exactly(r"\.php$".to_owned())),
            ("/b/", r"\.php$", Exactly(r"^/b/.*\.php$".to_owned())),
            (
                "/b/",
                r"(?i)\.php$",
                Exactly(r"^/b/.*(?i)\.php$".to_owned()),
            ),
            ("/b/", "/wp", Exactly("^(?:/b/.*|/b)/wp".to_owned())),
            ("/b/", "^/b/x", Exactly("^/b/x".to_owned())),
            ("/b/", "^/(b|c)/x", No),
            ("/b/", "(a|b)", Mostly("^/b/.*(a|b)".to_owned())),
            ("/b/", "a|b", Mostly("^/b/.*(?:a|b)".to_owned())),
        ] {
            assert_eq!(within(prefix, own), expected, "{prefix} {own}");
        }
    }

    #[test]
    fn single_paths() {
        for (pattern, expected) in [
            (r"^/old\.html$", Some("/old.html")),
            ("^/old$", Some("/old")),
            ("^/old.html$", None),
            ("^/old/?$", None),
            ("/old$", None),
            (r"^/a\d$", None),
        ] {
            assert_eq!(only_path(pattern).as_deref(), expected, "{pattern}");
        }
    }
}
