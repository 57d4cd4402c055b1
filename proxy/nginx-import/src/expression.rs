//! Regular expressions: what PCRE takes and Dhal's engine does not.

/// Longest expression that Dhal takes, with room for what is put before it.
const TEXT_MAX: usize = 1_000;

/// The expression as Dhal reads it, or why it cannot.
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
    let text = match ignore_case {
        true => format!("(?i){pattern}"),
        false => pattern.to_owned(),
    };
    match regex::Regex::new(&text) {
        Ok(_) => Ok(text),
        Err(_) => Err("the expression is not one that Dhal's engine knows".to_owned()),
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

/// Whether an expression matches a path.
pub(crate) fn matches(pattern: &str, ignore_case: bool, path: &str) -> bool {
    translated(pattern, ignore_case)
        .ok()
        .and_then(|text| regex::Regex::new(&text).ok())
        .is_some_and(|regex| regex.is_match(path))
}

/// An expression for exactly this path, percent-encoded as Dhal sees it; nginx sees it decoded.
pub(crate) fn escaped(path: &str) -> String {
    let mut encoded = String::new();
    for byte in path.bytes() {
        match byte.is_ascii_graphic() && !b"\\\"<>^`{|}%?#".contains(&byte) {
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
        for (pattern, is_fine) in [
            (r"\.php$", true),
            (r"^/p/(?<id>\d+)$", true),
            (r"\.(jpg|png)$", true),
            (r"^/(?!admin)", false),
            (r"(a)\1", false),
            (r"^/a\/b", true),
            (r"(", false),
        ] {
            assert_eq!(translated(pattern, true).is_ok(), is_fine, "{pattern}");
        }
        assert_eq!(translated("a", true).as_deref(), Ok("(?i)a"));
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
