//! What verbs say: results to standard output, remarks to standard error, both by one way.
//!
//! Whoever reads may have read enough, as `head` does, and be gone. A verb goes on then and ends as it would have ended:
//! its exit tells what it has done, not who listened to it. A result that cannot be written for another reason, such as
//! a full disk, is a failure.

use std::{
    fmt,
    io::{self, ErrorKind, Write as _},
};

use anyhow::Context as _;

/// Says a line of a result.
macro_rules! say {
    ($($line:tt)*) => { $crate::cli::output::line(format_args!($($line)*)) };
}

/// Says a line beside the result, to whoever looks on.
macro_rules! remark {
    ($($line:tt)*) => { $crate::cli::output::aside(format_args!($($line)*)) };
}

pub(super) use {remark, say};

/// Writes a result, or a piece of one.
pub(super) fn print(text: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

pub(super) fn line(line: fmt::Arguments<'_>) -> anyhow::Result<()> {
    print(format!("{line}\n").as_bytes())
}

/// There is nobody left to tell where this fails.
pub(super) fn aside(line: fmt::Arguments<'_>) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
