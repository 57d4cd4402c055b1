//! Reads a configuration of nginx and writes what it says as a configuration of Dhal.
//!
//! ```text
//! nginx.conf, includes -> tree::parse -> Tree -> translate -> Import { toml, report }
//! ```
//!
//! What could not be carried over stands in the text as a comment, with its file and line and a word on
//! what to do instead, and in the report. Nothing is dropped in silence, and a rule that keeps visitors
//! out is never lost on the way: its route is closed until somebody has looked at it.
//!
//! No I/O happens here: files are read through [`Files`].

mod dialect;
mod expression;
mod lex;
mod report;
mod toml;
mod translate;
mod tree;
mod units;
mod variables;

#[cfg(test)]
mod testing;

pub use report::{Outcome, Report, Row};
pub use tree::{Arg, Directive, Error, Files, Place, Tree, parse};

/// What became of a configuration.
#[derive(Debug)]
pub struct Import {
    /// The text of a `dhal.toml`.
    pub toml: String,
    /// What was translated, and what was not.
    pub report: Report,
}

/// Reads the configuration at `path` with everything it includes, and translates it.
///
/// # Errors
///
/// Where a file cannot be read, or its text is not what nginx would take.
pub fn import(files: &dyn Files, path: &str) -> Result<Import, Error> {
    let tree = parse(files, path)?;
    Ok(translate::translate(&tree))
}
