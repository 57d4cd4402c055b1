//! `dhal man`: manual pages, one for the command and one for each verb.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, Command};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder to write them into, such as /usr/local/share/man/man1; made where it is not there.
    folder: PathBuf,
}

pub(super) fn man(command: Command, options: &Options) -> anyhow::Result<()> {
    let folder = &options.folder;
    let wanted = || format!("cannot write manual pages into {}", folder.display());
    fs::create_dir_all(folder).with_context(wanted)?;
    clap_mangen::generate_to(command, folder).with_context(wanted)
}
