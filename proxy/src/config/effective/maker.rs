//! Entries of what was read, with their origins.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use toml::{
    Value as Toml,
    de::{DeTable, DeValue},
};

use super::{Entry, Leaf, Node, Origin};
use crate::config::{
    context::{Context, Value},
    describe::{Key, Section, Shape, Short},
    env,
    secret::{self, HIDDEN},
};

/// How something is written that no shape tells of: as it is.
const ANY: &Shape = &Shape::Moment;

/// Makes entries of what was read.
pub(super) struct Maker<'a, 'b> {
    pub(super) cx: &'a Context<'b>,
    /// Keys of the sections met so far: there are few sections, and each may stand there ten thousand times.
    pub(super) known: RefCell<HashMap<usize, Rc<Known>>>,
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

    pub(super) fn table(
        &self,
        section: fn() -> Section,
        given: Option<&DeTable<'_>>,
    ) -> Vec<Entry> {
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
        if let Node::Leaf(leaf) = &mut node
            && is_to_hide(name, leaf.shown.as_ref(), &leaf.value)
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
            true => Some(Toml::String(secret::without_defaults(text))),
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
                    if is_to_hide(&key, Some(&seen), &value) {
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

/// Whether a value at a key would tell a secret, as it is about to be shown.
fn is_to_hide(name: &str, shown: Option<&Toml>, value: &Toml) -> bool {
    let is_reference = |shown: &Toml| shown.as_str().is_some_and(secret::is_reference);
    let tells = match (shown, value) {
        (Some(Toml::Array(items)), Toml::Array(_)) => !items.iter().all(is_reference),
        (Some(shown), _) => !is_reference(shown),
        (None, _) => true,
    };
    secret::is_key(name) && (value.is_str() || value.is_array()) && tells
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
