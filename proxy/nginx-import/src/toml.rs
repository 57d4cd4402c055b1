//! The text of a `dhal.toml`: sections with keys, and comments above them.

use std::fmt::Write;

/// Longest line of a comment, where words allow it.
const COMMENT_WIDTH: usize = 110;

/// A section: a header, keys, and comments above.
#[derive(Debug, Clone, Default)]
pub(crate) struct Section {
    /// `[server]`, `[[routes]]`
    pub(crate) header: String,
    /// Comments, without `#`.
    pub(crate) notes: Vec<String>,
    /// Names and values, both as they are written.
    pub(crate) keys: Vec<Key>,
}

/// A line of a section.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) value: String,
    /// A word on it, at the end of the line.
    pub(crate) remark: String,
}

impl Section {
    pub(crate) fn new(header: impl Into<String>) -> Self {
        Self {
            header: header.into(),
            ..Self::default()
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remarked(name, value, "");
    }

    /// Puts a key in the place of one of the same name, or at the end.
    pub(crate) fn remarked(&mut self, name: &str, value: impl Into<String>, remark: &str) {
        let key = Key {
            name: name.to_owned(),
            value: value.into(),
            remark: remark.to_owned(),
        };
        match self.keys.iter_mut().find(|key| key.name == name) {
            Some(known) => *known = key,
            None => self.keys.push(key),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key.name == name)
    }

    pub(crate) fn write(&self, out: &mut String) {
        for note in &self.notes {
            comment(out, note);
        }
        if !self.header.is_empty() {
            let _ = writeln!(out, "{}", self.header);
        }
        for key in &self.keys {
            let _ = write!(out, "{} = {}", key.name, key.value);
            if !key.remark.is_empty() {
                let _ = write!(out, "   # {}", key.remark);
            }
            out.push('\n');
        }
        out.push('\n');
    }
}

/// Writes a comment, in as many lines as it needs; further lines of one note are set in.
pub(crate) fn comment(out: &mut String, note: &str) {
    for (index, line) in note.lines().enumerate() {
        let indent = if index == 0 { "" } else { "  " };
        let mut width = 0;
        for word in line.split(' ') {
            // What nginx read stays in one line, so that it can be copied.
            if width > 0 && index > 0 && width + word.len() >= COMMENT_WIDTH {
                out.push('\n');
                width = 0;
            }
            if width == 0 {
                let _ = write!(out, "# {indent}{word}");
                width = 2 + indent.len() + word.len();
            } else {
                let _ = write!(out, " {word}");
                width += 1 + word.len();
            }
        }
        out.push('\n');
    }
}

/// A string, quoted. `${` would read the environment, so it is written `$${`.
pub(crate) fn string(text: &str) -> String {
    let text = text.replace("${", "$${");
    let control = text.chars().any(|c| c.is_control());
    if text.contains(['\\', '"']) && !text.contains('\'') && !control {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\t' => out += "\\t",
            '\r' => out += "\\r",
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A list of strings.
pub(crate) fn strings<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(|item| string(item.as_ref())).collect();
    list(&items)
}

/// A list of values that are written already; a long one has a line for each.
pub(crate) fn list(items: &[String]) -> String {
    let width: usize = items.iter().map(|item| item.len() + 2).sum();
    match width > 96 {
        true => format!("[\n    {},\n]", items.join(",\n    ")),
        false => format!("[{}]", items.join(", ")),
    }
}

/// An inline table.
pub(crate) fn table(keys: &[(&str, String)]) -> String {
    let keys: Vec<_> = keys
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    format!("{{ {} }}", keys.join(", "))
}

/// A key that may need quotes.
pub(crate) fn key(name: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    match !name.is_empty() && name.bytes().all(bare) {
        true => name.to_owned(),
        false => string(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted() {
        for (text, expected) in [
            ("a", "\"a\""),
            (r"\.php$", r"'\.php$'"),
            (r"it's \d", r#""it's \\d""#),
            ("a\"b", "'a\"b'"),
            ("a\nb\u{1}", "\"a\\nb\\u0001\""),
            ("${HOME}", "\"$${HOME}\""),
        ] {
            assert_eq!(string(text), expected);
        }
        assert_eq!((key("a-b"), key("a.b")), ("a-b".into(), "\"a.b\"".into()));
    }

    #[test]
    fn comments_are_folded() {
        let mut out = String::new();
        comment(
            &mut out,
            &format!("nginx.conf:1: x;\n{}", "word ".repeat(40).trim()),
        );
        assert!(
            out.lines().count() == 3 && out.lines().all(|l| l.starts_with('#') && l.len() < 120)
        );
    }
}
