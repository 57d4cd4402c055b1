//! `dhal status`

use std::path::Path;

use anyhow::{Context, ensure};
use clap::Args;
use hyper::{Method, StatusCode};

use super::admin_client;
use crate::admin::status::Status;

/// How to show it.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn status(path: &Path, options: &Options) -> anyhow::Result<()> {
    let admin = super::admin(path)?;
    let (code, text) = admin_client::ask(&admin, &Method::GET, "/status")?;
    ensure!(
        code == StatusCode::OK,
        "the admin endpoint answered {code}: {}",
        text.trim_end()
    );
    let status: Status =
        serde_json::from_str(&text).context("the admin endpoint's answer is not understood")?;
    if options.json {
        super::print(format!("{text}\n").as_bytes())?;
    } else {
        super::print(status.to_string().as_bytes())?;
    }
    ensure!(status.ready, "the edge is draining");
    Ok(())
}
