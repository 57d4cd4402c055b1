//! `dhal history`

use std::path::Path;

use anyhow::{Context, ensure};
use clap::Args;
use hyper::{Method, StatusCode};

use super::admin_client;
use crate::server::Entry;

/// What to show.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// The configuration itself, as the reload of this number read it.
    #[arg(long, value_name = "NUMBER", conflicts_with = "json")]
    text: Option<u64>,
}

pub(super) fn history(path: &Path, options: &Options) -> anyhow::Result<()> {
    let admin = super::admin(path)?;
    let (method, asked) = match options.text {
        // Not for everyone who may read, so the token goes along.
        Some(number) => (Method::POST, format!("/reloads/text/{number}")),
        None => (Method::GET, "/reloads".to_owned()),
    };
    let (code, text) = admin_client::ask(&admin, &method, &asked)?;
    ensure!(
        code == StatusCode::OK,
        "the admin endpoint answered {code}: {}",
        text.trim_end()
    );
    if options.text.is_some() || options.json {
        let end = if options.json { "\n" } else { "" };
        return super::print(format!("{text}{end}").as_bytes());
    }
    let entries: Vec<Entry> =
        serde_json::from_str(&text).context("the admin endpoint's answer is not understood")?;
    let lines: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
    super::print(lines.as_bytes())
}
