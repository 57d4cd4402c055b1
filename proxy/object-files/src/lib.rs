//! The disk tier of a cache: opaque objects under byte keys, each in a file of its own.
//!
//! An object has a *meta* (small, rewritten now and then) and *sections* (the content, and forms of
//! it). It becomes visible by a rename, so that a process killed at any moment leaves whole objects
//! and rubbish in `tmp/`, which the next [`Files::scan`] removes. Nothing is flushed: what a power
//! failure tears is found by its checksums when it is read, and is a miss.
//!
//! Everything blocks, so callers bring threads of their own. Two processes may share a folder while
//! one relieves the other. There is no lock file: whatever the index says, the file decides, and a
//! file that is gone is a miss.
//!
//! The modules, from the outside in: [`Files`] is what callers hold; `object` reads and `writer`
//! writes; `scan` fills the index after a restart; `folder` is the files and the index kept in step;
//! `index` is the order of use; `format` is the bytes. [`journal`] stands alone: small records that
//! are durable before they are acknowledged.

mod files;

mod object;
mod writer;

mod scan;

mod folder;
mod index;

mod format;

pub mod journal;

use std::io;
use std::path::PathBuf;

pub use files::Files;
pub use format::{BLOCK, MAX_KEY, MAX_META, MAX_SECTIONS};
pub use journal::Journal;
pub use object::Object;
pub use writer::{Writer, WriterReader};

/// Where objects are kept, and how much of them.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder, made if it is not there. Nothing in it but ours is touched.
    pub path: PathBuf,
    /// How many bytes all files may take together, each rounded up to 4 KiB.
    pub capacity: u64,
    /// How many bytes the sections of one object may have together.
    pub max_object: u64,
}

/// Why an object was not read or written. All of it is for the log: to a request it is a miss.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The file system refused: full, read-only, out of descriptors, broken.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is not what was written. It has been removed.
    #[error("damaged object: {0}")]
    Damaged(&'static str),
    /// More than an object may have, or than all may have together.
    #[error("object too large")]
    TooLarge,
}

/// Numbers for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Objects in the index.
    pub objects: u64,
    /// Bytes their files take, each rounded up to 4 KiB, and those of writes under way.
    pub bytes: u64,
    /// Objects removed to make room, since the start.
    pub evicted: u64,
    /// Objects found damaged, since the start.
    pub damaged: u64,
    /// Whether the index is complete.
    pub scanned: bool,
}

#[cfg(test)]
mod testing;
