//! `dhal upgrade`

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use hyper::{Method, StatusCode};
use nix::sys::signal::Signal;

use super::{
    admin_client::{Client, Question, wait_for},
    process, say,
};
use crate::admin::UpgradeOrder;

/// What takes over.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Start this program; where absent, whatever lies by now where the running one was started from.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

/// The edge that runs starts the other process, with its own arguments and environment, and says what came of it. A
/// mistake in the file is told by the new process, which is the one that has to understand it.
pub(super) fn upgrade(path: &Path, options: &Options) -> anyhow::Result<()> {
    let loaded = super::load(path);
    let Ok(loaded) = loaded else {
        // The running edge has nothing to lose, and its metrics are to show that it was tried.
        return ask_despite_mistakes(path, options, loaded);
    };
    let server = &loaded.config.server;
    if let Some(admin) = &loaded.config.admin {
        let patience = server.upgrade_timeout + super::admin_client::PATIENCE;
        return ask(&Client::of(admin), options, patience);
    }
    if options.binary.is_some() {
        bail!("--binary needs the [admin] section: a signal cannot name a program");
    }
    let pid = process::send(Signal::SIGQUIT, server)?;
    say!("process {pid} was told to upgrade; its log says what came of it")
}

fn ask(client: &Client, options: &Options, patience: std::time::Duration) -> anyhow::Result<()> {
    let binary = options.binary.as_deref().map(std::path::absolute);
    let order = UpgradeOrder {
        binary: binary.transpose()?,
    };
    let question = Question {
        json: Some(serde_json::to_string(&order)?),
        patience,
        ..Question::new(Method::POST, "/upgrade")
    };
    let (status, text) = wait_for(client.ask(&question))?;
    if status == StatusCode::OK {
        return super::print(text.as_bytes());
    }
    bail!(
        "no upgrade, the running process goes on:\n{}",
        text.trim_end()
    );
}

fn ask_despite_mistakes(
    path: &Path,
    options: &Options,
    loaded: anyhow::Result<crate::config::Loaded>,
) -> anyhow::Result<()> {
    if let Some(admin) = super::admin_despite_mistakes(path) {
        let _ = ask(&Client::of(&admin), options, super::admin_client::PATIENCE);
    }
    loaded.map(drop)
}
