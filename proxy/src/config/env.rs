//! `${NAME}` and `${NAME:-default}` in strings.
//!
//! Expansion happens after the file is parsed, in string values only: positions stay those of the
//! file, and no value of the environment can add a key or a section. What is put in is not
//! expanded again.

use std::ops::Range;

use super::diagnostic::{Complaint, shown};

/// Expands all references; the complaints carry the bytes of `text` they are about.
///
/// `$${` stands for `${`; a `$` before anything else is itself. The default applies where the
/// variable is unset or empty, as in a shell.
pub(super) fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Vec<(Range<usize>, Complaint)>> {
    let mut expanded = String::with_capacity(text.len());
    let mut complaints = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("${") {
        let start = at + found;
        if let Some(before) = text[at..start].strip_suffix('$') {
            expanded += before;
            expanded += "${";
            at = start + 2;
            continue;
        }
        expanded += &text[at..start];
        let Some(length) = text[start..].find('}') else {
            let complaint = Complaint::new("`${` without its `}`")
                .help("write `$${` where the characters themselves are meant");
            complaints.push((start..text.len(), complaint));
            return Err(complaints);
        };
        let end = start + length + 1;
        match variable(&text[start + 2..end - 1], env) {
            Ok(value) => expanded += &value,
            Err(complaint) => complaints.push((start..end, complaint)),
        }
        at = end;
    }
    expanded += &text[at..];
    match complaints.is_empty() {
        true => Ok(expanded),
        false => Err(complaints),
    }
}

/// The value for what stands between the braces.
fn variable(inner: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Complaint> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let valid = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if !valid {
        return Err(
            Complaint::new(format!("{} is no name of a variable", shown(name))).help(
                "write `${NAME}` or `${NAME:-default}`, with letters, digits and `_` in the name",
            ),
        );
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Complaint::new(format!(
            "the environment variable {} is not set",
            shown(name)
        ))
        .help(format!("set it, or give a default: `${{{name}:-…}}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "PORT" => Some("8080".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${PORT}".to_owned()),
            "_x1" => Some("ok".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn expands() {
        for (text, expected) in [
            ("", ""),
            ("plain $ and $PORT and }", "plain $ and $PORT and }"),
            ("${PORT}", "8080"),
            ("127.0.0.1:${PORT}/${_x1}", "127.0.0.1:8080/ok"),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${UNSET:-}", ""),
            ("${UNSET:-a:-b}", "a:-b"),
            ("${PORT:-1}", "8080"),
            ("${NESTED}", "${PORT}"),
            ("$${PORT}", "${PORT}"),
            ("$$${PORT}", "$${PORT}"),
            ("ঢ${PORT}াল", "ঢ8080াল"),
        ] {
            assert_eq!(expand(text, &env).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn complains_with_positions() {
        let spans = |text| -> Vec<_> {
            let complaints = expand(text, &env).unwrap_err();
            complaints
                .into_iter()
                .map(|(span, _)| (span.start, span.end))
                .collect()
        };
        for (text, expected) in [
            ("a${UNSET}b${ALSO}", &[(1, 9), (10, 17)][..]),
            ("a${}", &[(1, 4)]),
            ("${1A}", &[(0, 5)]),
            ("${A B}", &[(0, 6)]),
            ("x${PORT", &[(1, 7)]),
            ("${UNSET}${PORT", &[(0, 8), (8, 14)]),
        ] {
            assert_eq!(spans(text), expected, "{text}");
        }
    }
}
