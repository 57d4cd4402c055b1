//! The configuration file: from TOML to [`model::Config`], with every error at once.
//!
//! Text -> `read.rs` and `file.rs` (types, units, unknown keys) -> `compile.rs` and its sections
//! (references, contradictions, dangers) -> `model.rs`. Mistakes in the TOML itself are reported
//! alone: what stands around them cannot be told for sure.

mod cache;
mod compile;
mod concurrency;
mod context;
mod describe;
mod diagnostic;
mod env;
mod file;
mod key_header;
mod limits;
mod listeners;
pub mod model;
mod pattern;
mod read;
pub(crate) mod reference;
mod routes;
mod scalar;
pub mod schema;
mod units;
mod upstreams;
mod visitors;
mod waiting_rooms;

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

pub(crate) use diagnostic::suggest;
pub use diagnostic::{Diagnostic, Severity, render};

/// Largest configuration file: ten thousand routes and their comments.
const FILE_MAX: u64 = 1 << 20;

/// A usable configuration.
#[derive(Debug)]
pub struct Loaded {
    /// What to run.
    pub config: model::Config,
    /// What is legal, but probably not what was meant.
    pub warnings: Vec<Diagnostic>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Errors {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The configuration file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file is wrong; warnings are among the diagnostics.
    #[error("{}", render(.0))]
    Invalid(Vec<Diagnostic>),
}

/// What a configuration depends on besides its text.
pub struct Surroundings<'a> {
    /// Where relative paths start.
    pub folder: &'a Path,
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// Reads and compiles a file.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Errors> {
    let text = read_text(path).map_err(|cause| Errors::Unreadable {
        path: path.to_owned(),
        cause,
    })?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let surroundings = Surroundings { folder, env };
    parse(&path.display().to_string(), &text, &surroundings)
}

/// Compiles a text; `name` stands before every diagnostic.
pub fn parse(name: &str, text: &str, surroundings: &Surroundings<'_>) -> Result<Loaded, Errors> {
    let (config, diagnostics) = compile::compile(name, text, surroundings);
    match config {
        Some(config) => Ok(Loaded {
            config,
            warnings: diagnostics,
        }),
        None => Err(Errors::Invalid(diagnostics)),
    }
}

/// Reads a duration as the file has them, such as `10s`; an error is a sentence.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    units::duration(text).map_err(|why| why.sentence())
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(FILE_MAX + 1)
        .read_to_string(&mut text)?;
    match read as u64 > FILE_MAX {
        true => Err(io::Error::other("it is larger than 1 MiB")),
        false => Ok(text),
    }
}
