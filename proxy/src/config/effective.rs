//! The configuration as it counts: every key with its value, defaults included, and where each comes from.
//!
//! It is made of what was read and of the declarations in [`super::file`], and printed as TOML that means the
//! same when it is read again. A key that does nothing beside the others, or that may not even stand there, is
//! left out: which ones these are is found by compiling what is about to be printed.

mod computed;

use std::{cell::RefCell, collections::HashMap, fmt, ops::Range, path::Path, rc::Rc, sync::Arc};

use toml::{
    Value as Toml,
    de::{DeTable, DeValue},
};

use super::{
    Surroundings, compile,
    context::{Context, Value},
    describe::{Key, Section, Shape, Short},
    env,
    model::Config,
    secret::{self, HIDDEN},
};

/// How often what is to be printed is compiled: what is wrong with a key may hide what is wrong with another.
const ROUNDS_MAX: usize = 8;

/// How something is written that no shape tells of: as it is.
const ANY: &Shape = &Shape::Moment;

/// Every key of a configuration with its value and its origin.
#[derive(Clone, Default)]
pub struct Effective {
    root: Arc<Vec<Entry>>,
}

impl fmt::Debug for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It holds what the rest of the configuration says, and maybe a secret.
        f.write_str("Effective")
    }
}

/// A key and what stands at it.
#[derive(Clone)]
struct Entry {
    name: String,
    origin: Origin,
    node: Node,
}

#[derive(Clone)]
enum Node {
    Leaf(Leaf),
    Table(Vec<Entry>),
    /// Tables in a list, each with its origin.
    Tables(Vec<(Origin, Vec<Entry>)>),
}

#[derive(Clone)]
struct Leaf {
    value: Toml,
    /// Printed in its place.
    shown: Option<Toml>,
}

/// Where a value comes from.
#[derive(Clone)]
enum Origin {
    Default,
    /// `dhal.toml:12`, and what it takes from the environment.
    Written(String, Vec<String>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Written(place, names) => {
                f.write_str(place)?;
                for name in names {
                    write!(f, ", {name}")?;
                }
                Ok(())
            }
        }
    }
}

impl Effective {
    /// Of a file that is right, and came to this configuration.
    pub(super) fn of(root: &Value<'_>, config: &Config, cx: &Context<'_>) -> Self {
        let maker = Maker {
            cx,
            known: RefCell::default(),
        };
        let given = match root.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => None,
        };
        let mut root = maker.table(super::file::File::describe, given);
        // What was included stands here itself.
        root.retain(|entry| entry.name != "include");
        computed::put(&mut root, config);
        Self { root: root.into() }
    }

    /// The same for those who may read only what tells no secret, whatever it is called: without what is said to
    /// the shop in fields of requests.
    pub fn for_strangers(&self) -> Self {
        let mut root: Vec<Entry> = (*self.root).clone();
        hide_fields(&mut root, false);
        Self { root: root.into() }
    }

    /// As TOML, a key a line; with `with_origins` each line ends in a comment that says where its value comes from.
    pub fn toml(&self, with_origins: bool) -> String {
        let mut printer = Printer::new(with_origins, true);
        printer.table(&self.settled(), &mut Vec::new());
        printer.text
    }

    /// As JSON; with `with_origins` each value is an object of `value` and `origin`.
    pub fn json(&self, with_origins: bool) -> serde_json::Value {
        json_table(&self.settled(), with_origins)
    }

    /// Without the defaults that something is said against where they are written.
    fn settled(&self) -> Vec<Entry> {
        let mut root: Vec<Entry> = (*self.root).clone();
        let outside = Surroundings {
            folder: Path::new("/"),
            env: &|_| None,
        };
        for _ in 0..ROUNDS_MAX {
            let mut printer = Printer::new(false, false);
            printer.table(&root, &mut Vec::new());
            let compiled = compile::compile("", &printer.text, &outside, false);
            let defaults = &printer.defaults;
            let said = compiled.diagnostics.iter().map(|d| d.span.start);
            let mut idle: Vec<usize> = said
                .filter_map(|at| {
                    let number = defaults.partition_point(|place| place.end <= at);
                    let place = defaults.get(number)?;
                    place.contains(&at).then_some(number)
                })
                .collect();
            idle.dedup();
            if idle.is_empty() {
                break;
            }
            without(&mut root, &idle, &mut 0);
        }
        root
    }
}

/// Hides what stands in `set` and `add` of `request_headers`; `is_within` one of these all that is written.
fn hide_fields(entries: &mut [Entry], is_within: bool) {
    for entry in entries {
        let is_headers = entry.name == "request_headers";
        match &mut entry.node {
            Node::Leaf(leaf) if is_within && matches!(entry.origin, Origin::Written(..)) => {
                leaf.shown = Some(Toml::String(HIDDEN.to_owned()));
            }
            Node::Leaf(_) => {}
            Node::Table(table) if is_headers && !is_within => {
                let fields = table.iter_mut().filter(|entry| entry.name != "remove");
                fields.for_each(|entry| hide_fields(std::slice::from_mut(entry), true));
            }
            Node::Table(table) => hide_fields(table, is_within),
            Node::Tables(tables) => {
                for (_, table) in tables {
                    hide_fields(table, is_within);
                }
            }
        }
    }
}

/// Removes defaults by their number, in the order in which they are printed.
fn without(entries: &mut Vec<Entry>, idle: &[usize], number: &mut usize) {
    let mut gone = Vec::new();
    for at in in_order(entries) {
        match &mut entries[at].node {
            Node::Leaf(_) => {
                if matches!(entries[at].origin, Origin::Default) {
                    if idle.binary_search(number).is_ok() {
                        gone.push(at);
                    }
                    *number += 1;
                }
            }
            Node::Table(table) => without(table, idle, number),
            Node::Tables(tables) => {
                for (_, table) in tables {
                    without(table, idle, number);
                }
            }
        }
    }
    gone.sort_unstable();
    for at in gone.into_iter().rev() {
        entries.remove(at);
    }
}

/// Indices of a table's keys as TOML wants them: the tables come last.
fn in_order(entries: &[Entry]) -> Vec<usize> {
    let is_leaf = |at: &usize| matches!(entries[*at].node, Node::Leaf(_));
    let (leaves, tables): (Vec<usize>, Vec<usize>) = (0..entries.len()).partition(is_leaf);
    leaves.into_iter().chain(tables).collect()
}

/// Makes entries of what was read.
struct Maker<'a, 'b> {
    cx: &'a Context<'b>,
    /// Keys of the sections met so far: there are few sections, and each may stand there ten thousand times.
    known: RefCell<HashMap<usize, Rc<Known>>>,
}

/// Keys with their defaults.
type Known = Vec<(Key, Option<Toml>)>;

impl Maker<'_, '_> {
    fn known(&self, section: fn() -> Section) -> Rc<Known> {
        let mut known = self.known.borrow_mut();
        let prepared = known.entry(section as usize).or_insert_with(|| {
            let keys = section().keys.into_iter().map(|key| {
                let absent = key.absent();
                (key, absent)
            });
            Rc::new(keys.collect())
        });
        Rc::clone(prepared)
    }

    fn table(&self, section: fn() -> Section, given: Option<&DeTable<'_>>) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (key, default) in self.known(section).iter() {
            if let Some(value) = given.and_then(|table| table.get(key.name)) {
                entries.push(self.entry(key.name, &key.shape, value));
            } else if let Some(value) = default {
                entries.push(Entry {
                    name: key.name.to_owned(),
                    origin: Origin::Default,
                    node: self.default(&key.shape, value),
                });
            }
        }
        entries
    }

    /// What a default stands for.
    fn default(&self, shape: &Shape, value: &Toml) -> Node {
        match (shape, value) {
            (Shape::Section(section), Toml::Table(_)) => Node::Table(self.table(*section, None)),
            _ => Node::Leaf(Leaf {
                value: value.clone(),
                shown: None,
            }),
        }
    }

    fn entry(&self, name: &str, shape: &Shape, value: &Value<'_>) -> Entry {
        let mut names = Vec::new();
        let mut node = self.node(shape, value, &mut names);
        if let (Node::Leaf(leaf), true) = (&mut node, secret::is_key(name))
            && (leaf.value.is_str() || leaf.value.is_array())
            && leaf.shown.is_none()
        {
            leaf.shown = Some(Toml::String(HIDDEN.to_owned()));
        }
        Entry {
            name: name.to_owned(),
            origin: self.origin(value, names),
            node,
        }
    }

    fn origin(&self, value: &Value<'_>, names: Vec<String>) -> Origin {
        Origin::Written(self.cx.source.origin(value.span().start), names)
    }

    fn node(&self, shape: &Shape, value: &Value<'_>, names: &mut Vec<String>) -> Node {
        match (shape, value.get_ref()) {
            (Shape::Section(_) | Shape::Short(..) | Shape::Either(_), DeValue::Table(table))
                if let Some(section) = shape.section_maker() =>
            {
                Node::Table(self.table(section, Some(table)))
            }
            (Shape::Named(shape), DeValue::Table(table)) => {
                let mut named: Vec<_> = table.iter().collect();
                named.sort_by_key(|(name, _)| name.span().start);
                let named = named.into_iter();
                Node::Table(
                    named
                        .map(|(name, value)| self.entry(name.get_ref(), shape, value))
                        .collect(),
                )
            }
            (Shape::Short(short, _), _) => self.short(*short, shape, value, names),
            (Shape::List(item) | Shape::OneOrMany(item), DeValue::Array(items))
                if matches!(**item, Shape::Section(_) | Shape::Short(..)) && !items.is_empty() =>
            {
                Node::Tables(items.iter().map(|value| self.item(item, value)).collect())
            }
            (Shape::OneOrMany(item), DeValue::Table(_)) if matches!(**item, Shape::Section(_)) => {
                Node::Tables(vec![self.item(item, value)])
            }
            (Shape::List(item) | Shape::OneOrMany(item), other)
                if !matches!(other, DeValue::Array(_)) =>
            {
                let Leaf { value, shown } = self.leaf(item, value, names);
                Node::Leaf(Leaf {
                    value: Toml::Array(vec![value]),
                    shown: shown.map(|shown| Toml::Array(vec![shown])),
                })
            }
            _ => Node::Leaf(self.leaf(shape, value, names)),
        }
    }

    fn item(&self, shape: &Shape, value: &Value<'_>) -> (Origin, Vec<Entry>) {
        let mut names = Vec::new();
        let table = match self.node(shape, value, &mut names) {
            Node::Table(table) => table,
            // Nothing else is right in a list of sections.
            Node::Leaf(_) | Node::Tables(_) => Vec::new(),
        };
        (self.origin(value, names), table)
    }

    fn short(
        &self,
        short: Short,
        shape: &Shape,
        value: &Value<'_>,
        names: &mut Vec<String>,
    ) -> Node {
        let Some(section) = shape.section_maker() else {
            return Node::Leaf(self.leaf(shape, value, names));
        };
        match short {
            Short::Switch => {
                let leaf = self.leaf(&Shape::Bool, value, names);
                match leaf.value {
                    Toml::Boolean(true) => Node::Table(self.table(section, None)),
                    _ => Node::Leaf(leaf),
                }
            }
            Short::Key(name) => {
                let mut table = self.table(section, None);
                let known = self.known(section);
                if let Some((key, _)) = known.iter().find(|(key, _)| key.name == name) {
                    table.insert(0, self.entry(name, &key.shape, value));
                }
                Node::Table(table)
            }
        }
    }

    fn leaf(&self, shape: &Shape, value: &Value<'_>, names: &mut Vec<String>) -> Leaf {
        let DeValue::String(text) = value.get_ref() else {
            return self.plain(shape, value, names);
        };
        let expanded = env::expand(text, self.cx.outside.env).unwrap_or_else(|_| text.to_string());
        let variables = secret::variables(text);
        let is_secret = variables.iter().any(|name| secret::is_variable(name));
        for name in variables {
            let is_set = (self.cx.outside.env)(name).is_some();
            names.push(match is_set {
                true => format!("${{{name}}} of the environment"),
                false => format!("${{{name}}} is not set"),
            });
        }
        let value = match shape {
            Shape::Whole => expanded.parse().ok().map(Toml::Integer),
            Shape::Bool => expanded.parse().ok().map(Toml::Boolean),
            Shape::Text { resolved, .. } => {
                let folder = self.cx.source.folder(value.span().start);
                Some(Toml::String(resolved(&expanded, folder)))
            }
            _ => None,
        };
        let value = value.unwrap_or(Toml::String(expanded));
        let shown = match is_secret {
            true => Some(Toml::String(text.to_string())),
            false => None,
        };
        Leaf {
            value: escaped(value),
            shown,
        }
    }

    /// A value that is no string.
    fn plain(&self, shape: &Shape, value: &Value<'_>, names: &mut Vec<String>) -> Leaf {
        let mut is_hidden = false;
        let mut inner = |shape: &Shape, value: &Value<'_>| {
            let leaf = self.leaf(shape, value, names);
            is_hidden |= leaf.shown.is_some();
            (leaf.shown.unwrap_or_else(|| leaf.value.clone()), leaf.value)
        };
        let (shown, value) = match value.get_ref() {
            DeValue::Array(items) => {
                let item = match shape {
                    Shape::List(item) | Shape::OneOrMany(item) => item,
                    _ => ANY,
                };
                let (shown, plain) = items.iter().map(|value| inner(item, value)).unzip();
                (Toml::Array(shown), Toml::Array(plain))
            }
            DeValue::Table(table) => {
                let (mut shown, mut plain) = (toml::Table::new(), toml::Table::new());
                for (key, value) in table {
                    let key = key.get_ref().to_string();
                    let (mut seen, value) = inner(ANY, value);
                    if secret::is_key(&key) && value.is_str() && seen == value {
                        seen = Toml::String(HIDDEN.to_owned());
                    }
                    shown.insert(key.clone(), seen);
                    plain.insert(key, value);
                }
                is_hidden |= shown != plain;
                (Toml::Table(shown), Toml::Table(plain))
            }
            other => {
                let value = scalar(other);
                (value.clone(), value)
            }
        };
        Leaf {
            value,
            shown: is_hidden.then_some(shown),
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Toml {
    match value {
        DeValue::Boolean(value) => Toml::Boolean(*value),
        DeValue::Datetime(value) => Toml::Datetime(*value),
        DeValue::Integer(number) => {
            let digits = number.as_str();
            let digits = digits.strip_prefix('+').unwrap_or(digits);
            let number = i64::from_str_radix(digits, number.radix());
            Toml::Integer(number.unwrap_or(i64::MAX))
        }
        DeValue::Float(number) => Toml::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        other => Toml::String(other.type_str().to_owned()),
    }
}

/// As it must be written so that it is not looked up in the environment.
fn escaped(value: Toml) -> Toml {
    match value {
        Toml::String(text) if text.contains("${") => Toml::String(text.replace("${", "$${")),
        other => other,
    }
}

/// Writes entries as TOML.
struct Printer {
    with_origins: bool,
    hides: bool,
    text: String,
    /// Lines of defaults, in their order.
    defaults: Vec<Range<usize>>,
}

impl Printer {
    fn new(with_origins: bool, hides: bool) -> Self {
        Self {
            with_origins,
            hides,
            text: String::new(),
            defaults: Vec::new(),
        }
    }

    /// The keys of a table, whose header is written.
    fn table(&mut self, entries: &[Entry], path: &mut Vec<String>) {
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

fn json(value: &Toml) -> serde_json::Value {
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

fn json_table(entries: &[Entry], with_origins: bool) -> serde_json::Value {
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
