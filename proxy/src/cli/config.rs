//! `dhal config`: what a configuration comes to, how it differs from the one that runs, and what can be written there.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use hyper::{Method, StatusCode};

use super::{
    admin_client::{self, Client, Question, wait_for},
    remark,
};
use crate::{
    admin::{Compared, Secrets},
    config::{self, DigestKey, Effective, model::Admin, reference, schema},
};

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
    let mut lines = config::difference(&running, &config.effective.toml(false))
        .map_err(anyhow::Error::msg)
        .context("the admin endpoint's answer is not understood")?;
    let (key, digests) = digests(&config.effective)?;
    // Without the token there may be nothing to ask about, either.
    let has_none = digests.is_empty() && !running.contains(config::HIDDEN);
    let mut compared = compare_secrets(admin, key, digests);
    if has_none && compared.is_err() {
        compared = Ok(Compared::default());
    }
    let is_known = compared.is_ok();
    match compared {
        Ok(Compared { differ, files }) => {
            lines.extend(untold(&lines, differ));
            let files = files.iter().map(|file| file.display());
            lines.extend(files.map(|file| format!("~ {file}: another content")));
        }
        Err(why) => remark!("what is not shown is not compared: {why:#}"),
    }
    for line in &lines {
        show(&format!("{line}\n"))?;
    }
    ensure!(is_known || !lines.is_empty(), "nothing else differs");
    Ok(!lines.is_empty())
}

/// Lines of secrets that differ. Where another variable is written, or other fields, that is told already.
fn untold(lines: &[String], differ: Vec<String>) -> Vec<String> {
    let keys = lines.iter().filter_map(|line| line.get(2..));
    // In a name in quotes there may be such a sign, too.
    let told: HashSet<&str> = keys
        .flat_map(|line| line.match_indices(" = ").map(|(end, _)| &line[..end]))
        .collect();
    let differ = differ.into_iter();
    differ
        .filter(|path| !told.contains(path.as_str()))
        .map(|path| format!("~ {path}: another secret"))
        .collect()
}

/// Digests of all that is not shown, and what they are keyed with.
fn digests(effective: &Effective) -> anyhow::Result<(DigestKey, BTreeMap<String, String>)> {
    let mut key = DigestKey::default();
    aws_lc_rs::rand::fill(&mut key).context("no random number can be had")?;
    let digests = effective.digests(&key);
    Ok((key, digests))
}

/// Which secrets differ from those of the running edge; neither side tells the other what they are.
fn compare_secrets(
    admin: &Admin,
    key: DigestKey,
    digests: BTreeMap<String, String>,
) -> anyhow::Result<Compared> {
    let question = Question {
        json: Some(serde_json::to_string(&Secrets { key, digests })?),
        ..Question::new(Method::POST, "/config/compare")
    };
    let (status, text) = wait_for(Client::of(admin).ask(&question))?;
    ensure!(
        status == StatusCode::OK,
        "the admin endpoint answered {status}: {}",
        text.trim_end()
    );
    serde_json::from_str(&text).context("the admin endpoint's answer is not understood")
}

fn show(text: &str) -> anyhow::Result<()> {
    super::print(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_told_once() {
        let lines = ["- a.b = \"x\"", "+ a.b = \"y\"", "- a.\"c = d\" = 1"].map(str::to_owned);
        let differ = ["a.b", "a.bc", "a.\"c = d\"", "z"].map(str::to_owned);
        assert_eq!(
            untold(&lines, differ.into()),
            ["~ a.bc: another secret", "~ z: another secret"]
        );
        // Ten thousand of each are no reason to wait.
        let name = |n: usize| format!("routes[/p{n}/*].request_headers.set.X-Token");
        let lines: Vec<String> = (0..10_000).map(|n| format!("+ {} = 1", name(n))).collect();
        let began = std::time::Instant::now();
        let found = untold(&lines, (5_000..15_000).map(name).collect());
        assert_eq!(found.len(), 5_000);
        assert!(began.elapsed() < std::time::Duration::from_secs(5));
    }
}
