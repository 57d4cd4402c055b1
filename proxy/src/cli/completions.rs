//! `dhal completions`: what a shell needs to complete the command line.

use clap::{Args, Command};
use clap_complete::Shell;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The shell that is to complete.
    shell: Shell,
}

pub(super) fn completions(mut command: Command, options: &Options) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "dhal", &mut script);
    super::print(&script)
}
