//! The configuration file: from TOML to [`model::Config`], with every error at once.
//!
//! Text -> `read.rs` and `file/` (types, units, unknown keys) -> `compile.rs` and its sections
//! (references, contradictions) -> `model/`. Included files are joined to the text first
//! (`include.rs`); what is legal but dangerous is told by `dangers.rs`, and what is wrong with the files that are
//! named by `inspect.rs`. Of a file that is no TOML only that is reported: what stands around the mistake cannot
//! be told for sure.

mod acme;
mod actions;
mod cache;
mod compile;
mod concurrency;
mod context;
mod dangers;
mod describe;
mod despite;
mod diagnostic;
mod difference;
mod effective;
mod env;
mod file;
mod files;
mod hardening;
mod headers;
mod hsts;
mod include;
mod inspect;
mod key_header;
mod limits;
mod listeners;
mod literals;
pub(crate) mod mapped;
mod masking;
pub mod model;
pub mod named;
mod paths;
mod pattern;
mod read;
pub(crate) mod reference;
mod routes;
mod scalar;
pub mod schema;
mod secret;
mod units;
mod unmatchable;
mod upstreams;
mod visitors;
mod waiting_rooms;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use despite::{KeyPath, admin_despite_mistakes, at_key};
pub use diagnostic::{Anchor, Diagnostic, Severity, render};
pub(crate) use diagnostic::{nearest, suggest};
pub use difference::difference;
pub use effective::{DigestKey, Effective};
pub(crate) use secret::HIDDEN;

use self::masking::Secrets;
use crate::regular;

/// A usable configuration.
#[derive(Debug)]
pub struct Loaded {
    /// What to run.
    pub config: model::Config,
    /// What is legal, but probably not what was meant.
    pub warnings: Vec<Diagnostic>,
    /// The files it was read from: its own first, then those that it includes.
    pub files: Vec<PathBuf>,
    /// Folders in which included files were looked for by a pattern: a new file there may change it.
    pub folders: Vec<PathBuf>,
    /// What stood in these files when they were read.
    pub text: Arc<str>,
    /// What is not to be repeated from the environment.
    secrets: Secrets,
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

/// Reads and compiles a file and what it includes.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Errors> {
    read(path, env, false).0
}

/// The same, with the text that was read, whatever became of it.
pub fn load_with_text(
    path: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> (Result<Loaded, Errors>, Option<Arc<str>>) {
    read(path, env, false)
}

/// The same, and looks at everything that it names: certificates, keys, lists, pages. What is wrong with them is
/// among the diagnostics, at the keys that name them.
pub fn check(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Errors> {
    read(path, env, true).0
}

/// Why a configuration could not be put in force: with places, where it is because of a file that it names.
pub fn located(
    path: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    why: &dyn std::fmt::Display,
) -> String {
    // What came by a pipe cannot be read again.
    if regular::open(path).is_err() {
        return why.to_string();
    }
    match check(path, env) {
        Err(Errors::Invalid(said)) => {
            let why = said
                .first()
                .map_or_else(|| why.to_string(), |one| one.masked(why.to_string()));
            format!("{}\n\n{why}", render(&said))
        }
        Ok(loaded) => loaded.secrets.masked(why.to_string()),
        Err(Errors::Unreadable { .. }) => why.to_string(),
    }
}

fn read(
    path: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    is_thorough: bool,
) -> (Result<Loaded, Errors>, Option<Arc<str>>) {
    let text = match include::read_text(path) {
        Ok(text) => text,
        Err(cause) => {
            let path = path.to_owned();
            return (Err(Errors::Unreadable { path, cause }), None);
        }
    };
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let surroundings = Surroundings { folder, env };
    let name = path.display().to_string();
    let compiled = compile::compile(&name, &text, &surroundings, is_thorough);
    let text = Arc::clone(&compiled.text);
    let loaded = usable(compiled).map(|mut loaded| {
        loaded.files.insert(0, path.to_owned());
        loaded
    });
    (loaded, Some(text))
}

/// Compiles a text and what it includes; `name` stands before every diagnostic.
pub fn parse(name: &str, text: &str, surroundings: &Surroundings<'_>) -> Result<Loaded, Errors> {
    usable(compile::compile(name, text, surroundings, false))
}

/// The same, and looks at everything that it names, as [`check`] does.
pub fn check_text(
    name: &str,
    text: &str,
    surroundings: &Surroundings<'_>,
) -> Result<Loaded, Errors> {
    usable(compile::compile(name, text, surroundings, true))
}

fn usable(compiled: compile::Compiled) -> Result<Loaded, Errors> {
    match compiled.config {
        Some(config) => Ok(Loaded {
            config,
            warnings: compiled.diagnostics,
            files: compiled.files,
            folders: compiled.folders,
            text: compiled.text,
            secrets: compiled.secrets,
        }),
        None => Err(Errors::Invalid(compiled.diagnostics)),
    }
}

/// Reads a duration as the file has them, such as `10s`; an error is a sentence.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    units::duration(text).map_err(|why| why.sentence())
}
