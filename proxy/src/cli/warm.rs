//! `dhal warm`

use std::{
    collections::{HashSet, VecDeque},
    io::{IsTerminal, stderr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use hyper::{Method, StatusCode};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    WrongUsage,
    admin_client::{Client, Question, wait_for},
    remark, say,
};
use crate::admin::{Pages, Warmed};

/// Time for one page, a large download included.
const PAGE_PATIENCE: Duration = Duration::from_secs(300);

/// Time for all files of a sitemap.
const SITEMAP_PATIENCE: Duration = Duration::from_secs(600);

/// Failures that are listed one by one; where there are more, one cause is behind most.
const LISTED_MAX: usize = 100;

/// What to fetch, and how hard.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Page, as an absolute URL.
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// Sitemap whose pages are fetched, or an index of sitemaps; may be repeated.
    #[arg(long = "sitemap", value_name = "URL")]
    sitemaps: Vec<String>,
    /// Pages fetched at once.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    concurrency: u16,
}

pub(super) fn warm(path: &Path, options: &Options) -> anyhow::Result<()> {
    if options.urls.is_empty() && options.sitemaps.is_empty() {
        bail!(WrongUsage("say what to warm: a URL or --sitemap URL"));
    }
    let client = Arc::new(Client::of(&super::admin(path)?));
    let tally = wait_for(async {
        let mut urls = options.urls.clone();
        for sitemap in &options.sitemaps {
            urls.extend(pages(&client, sitemap).await?);
        }
        let mut known = HashSet::new();
        urls.retain(|url| known.insert(url.clone()));
        fetch(client, urls, usize::from(options.concurrency)).await
    })?;
    say!(
        "{} stored, {} already there, {} not storable, {} failed",
        tally.stored,
        tally.fresh,
        tally.not_storable,
        tally.failures.len()
    )?;
    for (url, why) in tally.failures.iter().take(LISTED_MAX) {
        remark!("{url}: {why}");
    }
    match tally.failures.len() {
        0 => Ok(()),
        n if n > LISTED_MAX => bail!("{} more failed", n - LISTED_MAX),
        n => bail!("{n} of {} failed", tally.all()),
    }
}

/// Has the edge read a sitemap: it knows how to reach the shop.
async fn pages(client: &Client, sitemap: &str) -> anyhow::Result<Vec<String>> {
    let question = Question {
        json: Some(json!({ "sitemap": sitemap }).to_string()),
        patience: SITEMAP_PATIENCE,
        ..Question::new(Method::POST, "/warm")
    };
    let (code, text) = client.ask(&question).await?;
    ensure!(
        code == StatusCode::OK,
        "the sitemap {sitemap} cannot be used: {}",
        text.trim_end()
    );
    let pages: Pages =
        serde_json::from_str(&text).context("the admin endpoint's answer is not understood")?;
    Ok(pages.urls)
}

/// What came of all pages.
#[derive(Default)]
struct Tally {
    stored: usize,
    fresh: usize,
    not_storable: usize,
    failures: Vec<(String, String)>,
}

impl Tally {
    fn all(&self) -> usize {
        self.stored + self.fresh + self.not_storable + self.failures.len()
    }

    /// Counts a page, and says in a few words what came of it.
    fn count(&mut self, url: &str, outcome: anyhow::Result<Warmed>) -> String {
        let why = match outcome {
            Ok(warmed) => {
                let counter = match warmed.outcome.as_str() {
                    "stored" => Some(&mut self.stored),
                    "fresh" => Some(&mut self.fresh),
                    "not-storable" => Some(&mut self.not_storable),
                    _ => None,
                };
                if let Some(counter) = counter {
                    *counter += 1;
                    return format!(
                        "{}, status {}, {} bytes",
                        warmed.outcome, warmed.status, warmed.bytes
                    );
                }
                format!("status {}", warmed.status)
            }
            Err(why) => format!("{why:#}"),
        };
        let said = format!("failed, {why}");
        self.failures.push((url.to_owned(), why));
        said
    }
}

/// Fetches all pages, so many at once.
async fn fetch(
    client: Arc<Client>,
    urls: Vec<String>,
    concurrency: usize,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut progress = Progress::of(urls.len())?;
    let mut waiting = VecDeque::from(urls);
    let mut running = JoinSet::new();
    loop {
        while running.len() < concurrency
            && let Some(url) = waiting.pop_front()
        {
            let client = Arc::clone(&client);
            running.spawn(async move {
                let outcome = page(&client, &url).await;
                (url, outcome)
            });
        }
        let Some(done) = running.join_next().await else {
            break;
        };
        let (url, outcome) = done?;
        let said = tally.count(&url, outcome);
        progress.tell(&url, &said);
    }
    progress.end();
    Ok(tally)
}

async fn page(client: &Client, url: &str) -> anyhow::Result<Warmed> {
    let question = Question {
        json: Some(json!({ "url": url }).to_string()),
        patience: PAGE_PATIENCE,
        ..Question::new(Method::POST, "/warm")
    };
    let (code, text) = client.ask(&question).await?;
    if code != StatusCode::OK {
        bail!("{}", text.trim_end().to_owned());
    }
    serde_json::from_str(&text).context("the admin endpoint's answer is not understood")
}

/// Shows how far it is: a bar on a terminal, else a line for each page.
enum Progress {
    Bar(ProgressBar),
    Lines { done: usize, all: usize },
}

impl Progress {
    fn of(all: usize) -> anyhow::Result<Self> {
        if !stderr().is_terminal() {
            return Ok(Self::Lines { done: 0, all });
        }
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta} left\n{wide_msg}")?;
        Ok(Self::Bar(ProgressBar::new(all as u64).with_style(style)))
    }

    fn tell(&mut self, url: &str, said: &str) {
        match self {
            Self::Bar(bar) => {
                bar.set_message(format!("{url}: {said}"));
                bar.inc(1);
            }
            Self::Lines { done, all } => {
                *done += 1;
                remark!("{done}/{all} {url}: {said}");
            }
        }
    }

    fn end(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted() {
        let mut tally = Tally::default();
        let warmed = |outcome: &str, status| {
            Ok(Warmed {
                status,
                outcome: outcome.to_owned(),
                bytes: 5,
            })
        };
        for (outcome, said) in [
            (warmed("stored", 200), "stored, status 200, 5 bytes"),
            (warmed("fresh", 404), "fresh, status 404, 5 bytes"),
            (
                warmed("not-storable", 200),
                "not-storable, status 200, 5 bytes",
            ),
            (warmed("failed", 503), "failed, status 503"),
            (
                Err(anyhow::anyhow!("no route takes it")),
                "failed, no route takes it",
            ),
        ] {
            assert_eq!(tally.count("/", outcome), said);
        }
        assert_eq!((tally.stored, tally.fresh, tally.not_storable), (1, 1, 1));
        assert_eq!((tally.failures.len(), tally.all()), (2, 5));
    }
}
