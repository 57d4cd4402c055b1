//! `dhal acme`: how the certificates stand that the running edge orders, and ordering one at once.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use hyper::{Method, StatusCode};
use serde_json::json;

use super::{
    admin_client::{Client, Question, wait_for},
    say,
};
use crate::admin::status::Status;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show the certificates that are ordered; exit 0 while every one is valid.
    Status,
    /// Order the certificate of a name anew, at once.
    Renew {
        /// One of its names.
        name: String,
    },
}

pub(super) fn acme(path: &Path, verb: &Verb) -> anyhow::Result<()> {
    let client = Client::of(&super::admin(path)?);
    match verb {
        Verb::Status => status(&client),
        Verb::Renew { name } => renew(&client, name),
    }
}

fn status(client: &Client) -> anyhow::Result<()> {
    let (code, text) = wait_for(client.ask(&Question::new(Method::GET, "/status")))?;
    ensure!(
        code == StatusCode::OK,
        "the admin endpoint answered {code}: {}",
        text.trim_end()
    );
    let status: Status =
        serde_json::from_str(&text).context("the admin endpoint's answer is not understood")?;
    if status.acme.is_empty() {
        bail!("the running edge orders no certificates: it has no [acme] section");
    }
    let lines = status.acme.iter().map(|line| format!("{line}\n"));
    super::print(lines.collect::<String>().as_bytes())?;
    let bad = status.acme.iter().filter(|c| c.state != "valid").count();
    ensure!(bad == 0, "{bad} of {} are not valid", status.acme.len());
    Ok(())
}

fn renew(client: &Client, name: &str) -> anyhow::Result<()> {
    let question = Question {
        json: Some(json!({ "name": name }).to_string()),
        ..Question::new(Method::POST, "/acme/renew")
    };
    let (code, text) = wait_for(client.ask(&question))?;
    ensure!(
        code == StatusCode::OK,
        "nothing is ordered: {}",
        text.trim_end()
    );
    say!("{}", text.trim_end())
}
