//! What a file holds, by the end of its name.

use std::{collections::BTreeMap, path::Path};

use http::HeaderValue;

/// Ends of names with their types, sorted.
const KNOWN: &str = include_str!("media-types.txt");
/// Longest end of a name that is looked at.
pub const LONGEST: usize = 16;

/// Types that a configuration names, over those that are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Types {
    /// By the end of the name, in lower case and without its dot.
    pub own: BTreeMap<String, String>,
    /// Of names that say nothing.
    pub default: String,
    /// What texts are written in.
    pub charset: Option<String>,
}

impl Default for Types {
    fn default() -> Self {
        Self {
            own: BTreeMap::new(),
            default: "application/octet-stream".to_owned(),
            charset: Some("utf-8".to_owned()),
        }
    }
}

impl Types {
    /// `Content-Type` of a file.
    pub fn of(&self, name: &Path) -> HeaderValue {
        let end = name.extension().and_then(|end| end.to_str());
        let end = end.filter(|end| end.len() <= LONGEST).unwrap_or_default();
        let end = end.to_ascii_lowercase();
        let own = self.own.get(&end).map(String::as_str);
        let kind = own.or_else(|| known(&end)).unwrap_or(&self.default);
        let value = match &self.charset {
            Some(charset) if is_text(kind) => {
                HeaderValue::try_from(format!("{kind}; charset={charset}"))
            }
            _ => HeaderValue::try_from(kind),
        };
        // A configuration has checked its own.
        value.unwrap_or(HeaderValue::from_static("application/octet-stream"))
    }
}

fn known(end: &str) -> Option<&'static str> {
    let mut lines = KNOWN.lines();
    lines.find_map(|line| line.strip_prefix(end)?.strip_prefix(' '))
}

/// Whether browsers would guess the charset.
fn is_text(kind: &str) -> bool {
    !kind.contains(';')
        && (kind.starts_with("text/")
            || matches!(kind, "application/javascript" | "application/xml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_types() {
        let types = Types {
            own: [("foo".to_owned(), "text/x-foo".to_owned())].into(),
            ..Types::default()
        };
        for (name, wanted) in [
            ("index.html", "text/html; charset=utf-8"),
            ("INDEX.HTML", "text/html; charset=utf-8"),
            ("a.min.js", "text/javascript; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.svg", "image/svg+xml"),
            ("a.jpg", "image/jpeg"),
            ("a.foo", "text/x-foo; charset=utf-8"),
            ("a.woff2", "font/woff2"),
            ("a", "application/octet-stream"),
            (".html", "application/octet-stream"),
            ("a.", "application/octet-stream"),
            ("a.unknownunknownunknown", "application/octet-stream"),
        ] {
            assert_eq!(types.of(Path::new(name)), wanted, "{name}");
        }
        let plain = Types {
            charset: None,
            ..types
        };
        assert_eq!(plain.of(Path::new("a.html")), "text/html");
    }

    #[test]
    fn the_table_is_sorted_and_plain() {
        let lines: Vec<_> = KNOWN.lines().collect();
        assert!(lines.is_sorted());
        for line in lines {
            let (end, kind) = line.split_once(' ').expect("two words");
            assert!(end.len() <= LONGEST && kind.contains('/'), "{line}");
            assert!(HeaderValue::from_str(kind).is_ok(), "{line}");
        }
    }
}
