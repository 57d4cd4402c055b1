//! Entries as TOML and as JSON.

use std::ops::Range;

use toml::Value as Toml;

use super::{Entry, Node, Origin};

/// Indices of a table's keys as TOML wants them: the tables come last.
pub(super) fn in_order(entries: &[Entry]) -> Vec<usize> {
    let is_leaf = |at: &usize| matches!(entries[*at].node, Node::Leaf(_));
    let (leaves, tables): (Vec<usize>, Vec<usize>) = (0..entries.len()).partition(is_leaf);
    leaves.into_iter().chain(tables).collect()
}

/// Writes entries as TOML.
pub(super) struct Printer {
    with_origins: bool,
    hides: bool,
    pub(super) text: String,
    /// Lines of defaults, in their order.
    pub(super) defaults: Vec<Range<usize>>,
}

impl Printer {
    pub(super) fn new(with_origins: bool, hides: bool) -> Self {
        Self {
            with_origins,
            hides,
            text: String::new(),
            defaults: Vec::new(),
        }
    }

    /// The keys of a table, whose header is written.
    pub(super) fn table(&mut self, entries: &[Entry], path: &mut Vec<String>) {
        for at in in_order(entries) {
            let entry = &entries[at];
            match &entry.node {
                Node::Leaf(leaf) => {
                    let start = self.text.len();
                    let value = match (&leaf.shown, self.hides) {
                        (Some(shown), true) => shown,
                        _ => &leaf.value,
                    };
                    let value = on_one_line(value);
                    self.line(&format!("{} = {value}", quoted(&entry.name)), &entry.origin);
                    if matches!(entry.origin, Origin::Default) {
                        self.defaults.push(start..self.text.len());
                    }
                }
                Node::Table(table) => {
                    path.push(quoted(&entry.name));
                    // Names alone need no header above them.
                    if table.is_empty() || table.iter().any(|e| matches!(e.node, Node::Leaf(_))) {
                        self.header(&format!("[{}]", path.join(".")), &entry.origin);
                    }
                    self.table(table, path);
                    path.pop();
                }
                Node::Tables(tables) => {
                    path.push(quoted(&entry.name));
                    for (origin, table) in tables {
                        self.header(&format!("[[{}]]", path.join(".")), origin);
                        self.table(table, path);
                    }
                    path.pop();
                }
            }
        }
    }

    fn header(&mut self, header: &str, origin: &Origin) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.line(header, origin);
    }

    fn line(&mut self, text: &str, origin: &Origin) {
        self.text += text;
        if self.with_origins {
            self.text += &format!("  # {origin}");
        }
        self.text.push('\n');
    }
}

/// A value as it is written, without line breaks.
fn on_one_line(value: &Toml) -> String {
    let text = value.to_string();
    if !text.contains('\n') {
        return text;
    }
    match value {
        // What JSON escapes TOML escapes alike, but for this one.
        Toml::String(text) => serde_json::Value::from(text.as_str())
            .to_string()
            .replace('\u{7f}', "\\u007F"),
        Toml::Array(items) => {
            let items: Vec<String> = items.iter().map(on_one_line).collect();
            format!("[{}]", items.join(", "))
        }
        Toml::Table(table) => {
            let keys = table.iter();
            let keys: Vec<String> = keys
                .map(|(key, value)| format!("{} = {}", quoted(key), on_one_line(value)))
                .collect();
            format!("{{ {} }}", keys.join(", "))
        }
        _ => text,
    }
}

/// A key as it is written.
fn quoted(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    match !key.is_empty() && key.bytes().all(bare) {
        true => key.to_owned(),
        false => Toml::String(key.to_owned()).to_string(),
    }
}

pub(super) fn json(value: &Toml) -> serde_json::Value {
    match value {
        Toml::Datetime(moment) => moment.to_string().into(),
        Toml::Array(items) => items.iter().map(json).collect(),
        Toml::Table(table) => {
            let keys = table.iter().map(|(key, value)| (key.clone(), json(value)));
            serde_json::Value::Object(keys.collect())
        }
        Toml::String(text) => text.as_str().into(),
        Toml::Integer(number) => (*number).into(),
        Toml::Float(number) => (*number).into(),
        Toml::Boolean(value) => (*value).into(),
    }
}

pub(super) fn json_table(entries: &[Entry], with_origins: bool) -> serde_json::Value {
    let keys = entries.iter().map(|entry| {
        let value = match &entry.node {
            Node::Leaf(leaf) => {
                let value = leaf.shown.as_ref().unwrap_or(&leaf.value);
                let value = json(value);
                match with_origins {
                    true => serde_json::json!({
                        "value": value,
                        "origin": entry.origin.to_string(),
                    }),
                    false => value,
                }
            }
            Node::Table(table) => json_table(table, with_origins),
            Node::Tables(tables) => tables
                .iter()
                .map(|(_, table)| json_table(table, with_origins))
                .collect(),
        };
        (entry.name.clone(), value)
    });
    serde_json::Value::Object(keys.collect())
}
