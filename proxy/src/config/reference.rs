//! The reference page, `docs/configuration.md`, from the description of the file.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    describe::{Key, Section, Shape, header, inside, within},
    file::File,
};

/// What people should know before they read of single keys.
const INTRODUCTION: &str = include_str!("reference.md");

/// Where examples are taken from, the best first.
const EXAMPLES: [&str; 4] = [
    include_str!("../../../config/production.toml"),
    include_str!("../../../config/demo.toml"),
    include_str!("../../../docs/waiting-room.md"),
    include_str!("../../../docs/limits.md"),
];

/// Lines of an example: beyond it nobody reads them here.
const EXAMPLE_MAX: usize = 24;

/// Columns of the page's source.
const WIDTH: usize = 118;

/// The page, in Markdown.
pub(crate) fn page() -> String {
    let mut tables = vec![Table {
        path: String::new(),
        header: "The file".to_owned(),
        doc: String::new(),
        section: File::describe(),
    }];
    collect(&File::describe(), "", &mut tables);
    let index = Index::of(&tables);
    let mut page = INTRODUCTION.to_owned();
    page += "\n## All tables\n\n";
    for table in &tables[1..] {
        let depth = table.path.replace(".NAME", "").matches('.').count();
        page += &format!(
            "{}- [`{}`](#{})\n",
            "  ".repeat(depth),
            table.header,
            anchor(&table.path)
        );
    }
    for table in &tables {
        page += &table.shown(&index);
    }
    page
}

/// A table of the file, and where it stands.
struct Table {
    path: String,
    header: String,
    /// What the key says that it stands at.
    doc: String,
    section: Section,
}

/// All tables in a section, those in them included, in the order of the file.
fn collect(section: &Section, path: &str, tables: &mut Vec<Table>) {
    for key in &section.keys {
        let Some(section) = key.shape.section() else {
            continue;
        };
        let path = inside(path, key.name);
        let header = header(&path, &key.shape);
        let path = within(&path, &key.shape);
        tables.push(Table {
            path: path.clone(),
            header,
            doc: key.doc.clone(),
            section: section.clone(),
        });
        collect(&section, &path, tables);
    }
}

/// All paths that have an anchor.
struct Index {
    keys: HashSet<String>,
}

impl Index {
    fn of(tables: &[Table]) -> Self {
        let keys = tables.iter().flat_map(|table| {
            let keys = table.section.keys.iter();
            keys.map(|key| inside(&table.path, key.name))
        });
        Self {
            keys: keys.collect(),
        }
    }

    /// Which key a word means in the text about another: one of the same table, a full path, or the
    /// only one in the file that ends so.
    fn find(&self, word: &str, path: &str) -> Option<String> {
        let beside = inside(path, word);
        if self.keys.contains(&beside) {
            return Some(beside);
        }
        if self.keys.contains(word) {
            return Some(word.to_owned());
        }
        // `NAME.key` is a file.
        if word.starts_with("NAME.") {
            return None;
        }
        let end = format!(".{word}");
        let mut ending = self.keys.iter().filter(|key| key.ends_with(&end));
        match (ending.next(), ending.next()) {
            (Some(only), None) => Some(only.clone()),
            _ => None,
        }
    }

    /// The text with links where it names other keys, or pages of the documentation.
    fn linked(&self, text: &str, path: &str, own: &str) -> String {
        let mut linked = String::new();
        for (at, part) in text.split('`').enumerate() {
            if at % 2 == 0 {
                linked += part;
                continue;
            }
            let target = match part.strip_prefix("docs/") {
                Some(page) => Some(page.to_owned()),
                None => self
                    .find(part, path)
                    .filter(|found| *found != inside(path, own))
                    .map(|found| format!("#{}", anchor(&found))),
            };
            linked += &match target {
                Some(target) => format!("[`{part}`]({target})"),
                None => format!("`{part}`"),
            };
        }
        linked
    }
}

fn anchor(path: &str) -> String {
    path.replace(".NAME", "").replace('.', "-")
}

impl Table {
    fn shown(&self, index: &Index) -> String {
        let mut text = match self.path.as_str() {
            "" => {
                "\n## The file\n\nWhat stands at the top, each in a table of its own.\n".to_owned()
            }
            path => {
                let parent = path.trim_end_matches(".NAME");
                let (parent, own) = parent.rsplit_once('.').unwrap_or(("", parent));
                let doc = index.linked(&self.doc, parent, own);
                format!(
                    "\n<a id=\"{}\"></a>\n\n## `{}`\n\n{}\n",
                    anchor(path),
                    self.header,
                    paragraphs(&doc, "")
                )
            }
        };
        if let Some(example) = example(&self.path, &self.header) {
            text += &format!("\n```toml\n{example}```\n");
        }
        for key in &self.section.keys {
            let path = inside(&self.path, key.name);
            // A table has its own anchor, of the same name.
            let own = match key.shape.section() {
                Some(_) => String::new(),
                None => format!("<a id=\"{}\"></a>", anchor(&path)),
            };
            let line = format!("{own}**`{}`**: {}", key.name, facts(key, &path));
            let doc = index.linked(&key.doc, &self.path, key.name);
            text += &format!("\n- {}\n\n  {}\n", line, paragraphs(&doc, "  "));
        }
        text
    }
}

/// What is to be known of a key in a line: what it takes, from where to where, and what it is where it is absent.
fn facts(key: &Key, path: &str) -> String {
    let mut facts = takes(&key.shape, path);
    // Where bounds or a default show how it is written, an example only makes the line longer.
    let ends = [" with its", ", such as"].iter();
    let ends = ends.filter_map(|end| facts.find(end));
    if let (Some(end), Shape::Text { .. }, true) = (ends.min(), &key.shape, key.bounds.is_some()) {
        facts.truncate(end);
    }
    match (&key.only[..], &key.bounds) {
        ([], None) => {}
        ([], Some((least, most))) => {
            facts += &format!(", from {} to {}", number(least), number(most));
        }
        (only, _) => {
            let only: Vec<_> = only.iter().map(|number| format!("`{number}`")).collect();
            facts += &format!(", {}", only.join(" or "));
        }
    }
    if key.required {
        facts += ", **required**";
    }
    match &key.default {
        Some(Value::String(text)) => facts += &format!(", default `\"{text}\"`"),
        Some(Value::Number(count)) => facts += &format!(", default {}", number(&count.to_string())),
        Some(value) => facts += &format!(", default `{value}`"),
        None => {}
    }
    facts
}

/// A number as the file may have it, `20_000`; a quantity with its unit as it is.
fn number(text: &str) -> String {
    if text.len() < 5 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return format!("`{text}`");
    }
    let mut grouped = String::new();
    for (at, digit) in text.char_indices() {
        if at > 0 && (text.len() - at).is_multiple_of(3) {
            grouped.push('_');
        }
        grouped.push(digit);
    }
    format!("`{grouped}`")
}

fn takes(shape: &Shape, path: &str) -> String {
    let table = |words: &str| format!("[{words}](#{})", anchor(path));
    match shape {
        Shape::Whole => "a whole number".to_owned(),
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::Moment => "a date and time with its offset".to_owned(),
        Shape::Text {
            wanted, choices, ..
        } => match &choices[..] {
            [] => quoted(wanted),
            choices => {
                let choices: Vec<_> = choices.iter().map(|word| format!("`\"{word}\"`")).collect();
                match &choices[..] {
                    [all @ .., last] => format!("{} or {last}", all.join(", ")),
                    [] => String::new(),
                }
            }
        },
        Shape::List(of) if matches!(**of, Shape::Section(_)) => table("a list of tables"),
        Shape::List(of) => format!("a list, each item {}", takes(of, path)),
        Shape::OneOrMany(of) => format!("{}, or a list of them", takes(of, path)),
        Shape::Named(of) if of.section_maker().is_some() => table("tables by name"),
        Shape::Named(of) => format!("a table, each value {}", takes(of, path)),
        Shape::Section(_) => table("a table"),
        Shape::Either(shapes) | Shape::Short(_, shapes) => {
            let shapes: Vec<_> = shapes.iter().map(|of| takes(of, path)).collect();
            shapes.join(", or ")
        }
    }
}

/// What a message says is wanted, with its examples set as code.
fn quoted(wanted: &str) -> String {
    if wanted.contains('`') {
        return wanted.to_owned();
    }
    let parts = wanted.split('"').enumerate();
    let parts = parts.map(|(at, part)| match at % 2 {
        0 => part.to_owned(),
        _ => format!("`\"{part}\"`"),
    });
    parts.collect()
}

/// Paragraphs, each broken into lines behind `indent`.
fn paragraphs(text: &str, indent: &str) -> String {
    let paragraphs: Vec<_> = text.lines().map(|line| wrapped(line, indent)).collect();
    paragraphs.join(&format!("\n\n{indent}"))
}

fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = String::new();
    let mut room = WIDTH - indent.len();
    for word in text.split(' ') {
        let width = word.chars().count();
        if !lines.is_empty() {
            // What begins a list or a heading may not begin a line.
            let marker = ["-", "+", "*", "#"].contains(&word);
            match room > width || marker {
                true => {
                    lines.push(' ');
                    room = room.saturating_sub(1);
                }
                false => {
                    lines += "\n";
                    lines += indent;
                    room = WIDTH - indent.len();
                }
            }
        }
        lines += word;
        room = room.saturating_sub(width);
    }
    lines
}

/// How a table is written in the first example that has it; `None` where none has.
fn example(path: &str, header: &str) -> Option<String> {
    EXAMPLES.iter().find_map(|text| {
        block(text, header).or_else(|| {
            // Within another table, as `key = …`.
            let path = path.trim_end_matches(".NAME");
            let (parent, key) = path.rsplit_once('.')?;
            let name = format!("{key} = ");
            let block = blocks(text).find(|block| {
                let (head, body) = block.split_once('\n').unwrap_or((block, ""));
                is_header(head, &format!("[{parent}]"))
                    && body.lines().any(|line| line.starts_with(&name))
            })?;
            let head = block.lines().next()?;
            let body = block.find(&format!("\n{name}"))? + 1;
            Some(format!("{head}\n{}", value(&block[body..])))
        })
    })
}

/// The first table with such a header.
fn block(text: &str, header: &str) -> Option<String> {
    let block = blocks(text).find(|block| is_header(block.lines().next().unwrap_or(""), header))?;
    let mut lines: Vec<_> = block.lines().take(EXAMPLE_MAX).collect();
    // A comment at the end is about what follows.
    while lines
        .last()
        .is_some_and(|line| line.trim().is_empty() || line.starts_with('#'))
    {
        lines.pop();
    }
    Some(lines.join("\n") + "\n")
}

/// The tables of a text, each from its header up to the next, or to the end of a snippet.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    let starts = text.match_indices("\n[").map(|(at, _)| at + 1);
    starts.map(|start| {
        let rest = &text[start..];
        let end = ["\n[", "\n```"].iter().filter_map(|end| rest.find(end));
        &rest[..end.min().map_or(rest.len(), |end| end + 1)]
    })
}

/// Whether a line is such a header; `NAME` stands for any name.
fn is_header(line: &str, header: &str) -> bool {
    match header.split_once("NAME") {
        None => line == header,
        Some((before, after)) => line
            .strip_prefix(before)
            .and_then(|line| line.strip_suffix(after))
            .is_some_and(|name| !name.is_empty() && !name.contains(['.', '[', ']'])),
    }
}

/// The lines of a value, up to where its brackets are closed.
fn value(text: &str) -> String {
    let mut open = 0_i32;
    let mut lines = String::new();
    for line in text.lines() {
        lines += line;
        lines.push('\n');
        for c in line.split('#').next().unwrap_or_default().chars() {
            open += match c {
                '[' | '{' => 1,
                ']' | '}' => -1,
                _ => 0,
            };
        }
        if open <= 0 {
            break;
        }
    }
    lines
}
