//! `dhal config`: what can be written into a configuration file.

use clap::{Args, Subcommand};

use crate::config::{reference, schema};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the JSON Schema of the file, for editors.
    Schema,
    /// Print the page of all keys, in Markdown.
    Reference,
}

pub(super) fn config(options: &Options) -> anyhow::Result<()> {
    let text = match options.verb {
        Verb::Schema => format!("{:#}\n", schema::schema()),
        Verb::Reference => reference::page(),
    };
    super::print(text.as_bytes())
}
