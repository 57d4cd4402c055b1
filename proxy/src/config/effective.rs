//! The configuration as it counts: every key with its value, defaults included, and where each comes from.
//!
//! It is made of what was read and of the declarations in [`super::file`], and printed as TOML that means the
//! same when it is read again. A key that does nothing beside the others, or that may not even stand there, is
//! left out: which ones these are is found by compiling what is about to be printed.

mod computed;
mod digests;
mod maker;
mod printer;

use std::{cell::RefCell, fmt, path::Path, sync::Arc};

use toml::{Value as Toml, de::DeValue};

use self::{
    maker::Maker,
    printer::{Printer, in_order, json_table},
};
use super::{
    Surroundings, compile,
    context::{Context, Value},
    model::Config,
    secret::HIDDEN,
};

pub use digests::Key as DigestKey;

/// How often what is to be printed is compiled: what is wrong with a key may hide what is wrong with another.
const ROUNDS_MAX: usize = 8;

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
