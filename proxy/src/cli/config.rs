//! `dhal config`: what a configuration comes to, how it differs from the one that runs, and what can be written there.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use hyper::{Method, StatusCode};

use super::{admin_client, remark};
use crate::config::{self, reference, schema};

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Print the configuration as it counts, defaults included.
    Print(Print),
    /// Show what differs between the running edge and the file; exit 0 nothing, 1 something, 2 trouble.
    Diff,
    /// Print the JSON Schema of the file, for editors.
    Schema,
    /// Print the page of all keys, in Markdown.
    Reference,
}

/// How to print it.
#[derive(Debug, Args)]
pub(super) struct Print {
    /// Say behind each value where it comes from.
    #[arg(long)]
    origin: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// The exit tells differences from trouble, as that of `diff` does.
const TROUBLE: u8 = 2;

pub(super) fn config(file: &Path, action: &Action) -> ExitCode {
    let (result, failure) = match action {
        Action::Print(how) => (print(file, how).map(|()| false), ExitCode::FAILURE),
        Action::Diff => (diff(file), ExitCode::from(TROUBLE)),
        Action::Schema => (
            show(&format!("{:#}\n", schema::schema())).map(|()| false),
            ExitCode::FAILURE,
        ),
        Action::Reference => (show(&reference::page()).map(|()| false), ExitCode::FAILURE),
    };
    match result {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::FAILURE,
        Err(why) => {
            remark!("{why:#}");
            failure
        }
    }
}

fn print(file: &Path, how: &Print) -> anyhow::Result<()> {
    let effective = super::load(file)?.config.effective;
    match how.json {
        true => show(&format!(
            "{}\n",
            serde_json::to_string_pretty(&effective.json(how.origin))?
        )),
        false => show(&effective.toml(how.origin)),
    }
}

/// Whether there are differences.
fn diff(file: &Path) -> anyhow::Result<bool> {
    let config = super::load(file)?.config;
    let admin = config
        .admin
        .as_ref()
        .with_context(|| format!("{} has no [admin] section to ask at", file.display()))?;
    let (status, running) = admin_client::ask(admin, &Method::GET, "/config")?;
    ensure!(
        status == StatusCode::OK,
        "the admin endpoint answered {status}: {}",
        running.trim_end()
    );
    let lines = config::difference(&running, &config.effective.toml(false))
        .map_err(anyhow::Error::msg)
        .context("the admin endpoint's answer is not understood")?;
    for line in &lines {
        show(&format!("{line}\n"))?;
    }
    Ok(!lines.is_empty())
}

fn show(text: &str) -> anyhow::Result<()> {
    super::print(text.as_bytes())
}
