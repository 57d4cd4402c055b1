//! What can be written into the file, as data: the schema and the reference page are made of it, files are joined
//! and printed by it.
//!
//! It comes from the same lines of `file/` as the readers ([`super::read::section`]), so that a
//! key cannot be read without being described.

use std::{ops::RangeInclusive, path::Path};

use serde_json::{Value, json};

use super::{read::Scalar, units::Shown};

/// A table of the file.
#[derive(Debug, Clone)]
pub(super) struct Section {
    /// In the order in which people read about them.
    pub(super) keys: Vec<Key>,
}

/// A key of a table.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// Its purpose, in Markdown, a paragraph to a line.
    pub(super) doc: String,
    pub(super) shape: Shape,
    pub(super) required: bool,
    /// What its absence means, where a value says so: as it is shown to people.
    pub(super) default: Option<Value>,
    /// What stands in its place where it is absent and nothing else is known; what other keys make of it is put
    /// in by `effective/computed.rs`.
    stand_in: Option<Value>,
    /// The least and the greatest value, as they are written.
    pub(super) bounds: Option<(String, String)>,
    /// The only whole numbers that are meant.
    pub(super) only: Vec<u64>,
}

impl Key {
    pub(super) fn new(name: &'static str, doc: &[&str], shape: Shape) -> Self {
        Self {
            name,
            doc: paragraphs(doc),
            shape,
            required: false,
            default: None,
            stand_in: None,
            bounds: None,
            only: Vec::new(),
        }
    }

    /// It has a default and bounds.
    pub(super) fn setting<T: Shown>(mut self, default: T, bounds: RangeInclusive<T>) -> Self {
        let default = default.shown();
        self.default = Some(match (&self.shape, default.parse::<u64>()) {
            (Shape::Whole, Ok(number)) => number.into(),
            _ => default.into(),
        });
        self.within(bounds)
    }

    /// It has bounds.
    pub(super) fn within<T: Shown>(mut self, bounds: RangeInclusive<T>) -> Self {
        self.bounds = Some((bounds.start().shown(), bounds.end().shown()));
        self
    }

    /// It must be written.
    pub(super) fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// What its absence means.
    pub(super) fn or(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// Its absence means the same as an empty list or table.
    pub(super) fn empty(mut self) -> Self {
        self.default = Some(match self.shape {
            Shape::List(_) | Shape::OneOrMany(_) => json!([]),
            _ => json!({}),
        });
        self
    }

    /// What its absence means depends on other keys; such a value is possible.
    pub(super) fn computed(mut self, value: impl Into<Value>) -> Self {
        self.stand_in = Some(value.into());
        self
    }

    /// What counts where it is absent, as it would be written; `None`: nothing.
    pub(super) fn absent(&self) -> Option<toml::Value> {
        let value = self.default.as_ref().or(self.stand_in.as_ref())?;
        toml::Value::try_from(value).ok()
    }

    /// Not all whole numbers within its bounds are meant.
    pub(super) fn only(mut self, numbers: impl Into<Vec<u64>>) -> Self {
        self.only = numbers.into();
        self
    }
}

/// The lines of a documentation comment, joined where they belong together.
fn paragraphs(lines: &[&str]) -> String {
    let lines = lines.iter().map(|line| line.trim());
    let text = lines.collect::<Vec<_>>().join(" ");
    text.trim().replace("  ", "\n")
}

/// What may stand at a key.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    Whole,
    Bool,
    /// A date and time of TOML's own.
    Moment,
    /// A string.
    Text {
        /// What it means, with its article.
        wanted: &'static str,
        /// The only ones; any where there are none.
        choices: Vec<&'static str>,
        pattern: Option<String>,
        /// Makes a path in it absolute.
        resolved: fn(&str, &Path) -> String,
    },
    List(Box<Self>),
    /// A list, or its only item alone.
    OneOrMany(Box<Self>),
    /// Tables by names that people choose.
    Named(Box<Self>),
    Section(fn() -> Section),
    /// One of several.
    Either(Vec<Self>),
    /// A section, or something short for it.
    Short(Short, Vec<Self>),
}

/// What stands for a section.
#[derive(Debug, Clone, Copy)]
pub(super) enum Short {
    /// The value of this key alone.
    Key(&'static str),
    /// `true` for all defaults, `false` for none.
    Switch,
}

impl Shape {
    pub(super) fn scalar<T: Scalar>() -> Self {
        Self::Text {
            wanted: T::WANTED,
            choices: T::CHOICES.iter().map(|(word, _)| *word).collect(),
            pattern: T::pattern(),
            resolved: T::resolved,
        }
    }

    /// The section in it, where there is one.
    pub(super) fn section(&self) -> Option<Section> {
        self.section_maker().map(|section| section())
    }

    /// What describes it: it is the same for the same section.
    pub(super) fn section_maker(&self) -> Option<fn() -> Section> {
        match self {
            Self::Section(section) => Some(*section),
            Self::List(of) | Self::OneOrMany(of) | Self::Named(of) => of.section_maker(),
            Self::Either(shapes) | Self::Short(_, shapes) => {
                shapes.iter().find_map(Self::section_maker)
            }
            Self::Whole | Self::Bool | Self::Moment | Self::Text { .. } => None,
        }
    }
}

/// The path of a key: `upstreams.NAME.retry`.
pub(super) fn inside(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    }
}

/// The path of the keys in a table that stands at `path`.
pub(super) fn within(path: &str, shape: &Shape) -> String {
    match shape {
        Shape::Named(_) => inside(path, "NAME"),
        _ => path.to_owned(),
    }
}

/// The header that such a table has in the file: `[server]`, `[[routes]]`, `[limits.NAME]`.
pub(super) fn header(path: &str, shape: &Shape) -> String {
    match shape {
        Shape::List(_) | Shape::OneOrMany(_) => format!("[[{path}]]"),
        _ => format!("[{}]", within(path, shape)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_comment_become_paragraphs() {
        for (lines, text) in [
            (&[][..], ""),
            (&[" One", " line."], "One line."),
            (&[" One.", "", " Two."], "One.\nTwo."),
        ] {
            assert_eq!(paragraphs(lines), text);
        }
    }
}
