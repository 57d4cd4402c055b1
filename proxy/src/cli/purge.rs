//! `dhal purge`

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use hyper::{Method, StatusCode};
use serde_json::json;

use super::{
    WrongUsage,
    admin_client::{Client, Question, wait_for},
    say,
};
use crate::admin::Purged;

/// A purge is written to disk before it counts, which takes its time on a busy one.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to purge; kinds may be mixed.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Page with all its variants, as an absolute URL.
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// All pages whose URLs begin with this, letter by letter; may be repeated.
    #[arg(long = "prefix", value_name = "URL")]
    prefixes: Vec<String>,
    /// All pages that the shop gave this tag; may be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Everything.
    #[arg(long)]
    all: bool,
    /// Keep the pages as stale: the next request of each is answered with it while one refreshes it.
    #[arg(long)]
    soft: bool,
}

pub(super) fn purge(path: &Path, options: &Options) -> anyhow::Result<()> {
    let Options {
        urls,
        prefixes,
        tags,
        all,
        soft,
    } = options;
    if urls.is_empty() && prefixes.is_empty() && tags.is_empty() && !all {
        bail!(WrongUsage(
            "say what to purge: a URL, --prefix URL, --tag TAG or --all"
        ));
    }
    let order =
        json!({ "urls": urls, "prefixes": prefixes, "tags": tags, "all": all, "soft": soft });
    let client = Client::of(&super::admin(path)?);
    let question = Question {
        json: Some(order.to_string()),
        patience: PATIENCE,
        ..Question::new(Method::POST, "/purge")
    };
    let (code, text) = wait_for(client.ask(&question))?;
    if code != StatusCode::OK {
        bail!("nothing was purged: {}", text.trim_end());
    }
    let purged: Purged =
        serde_json::from_str(&text).context("the admin endpoint's answer is not understood")?;
    let done = if *soft { "made stale" } else { "purged" };
    let named = [("", urls), ("prefix ", prefixes), ("tag ", tags)];
    for (kind, names) in named {
        for name in names {
            say!("{done} {kind}{name}")?;
        }
    }
    if *all {
        say!("{done} everything")?;
    }
    say!("generation {}", purged.generation)
}
