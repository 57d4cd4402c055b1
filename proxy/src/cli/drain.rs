//! `dhal drain` and `dhal undrain`

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;
use hyper::{Method, StatusCode};

use super::{
    admin_client::{Client, Question, wait_for},
    say,
};
use crate::{
    admin::{
        Drained,
        status::{ServerStatus, Status},
    },
    config,
};

/// How often the edge is asked how much is left.
const LOOK: Duration = Duration::from_millis(100);

/// Which server.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Name of its upstream.
    #[arg(value_name = "UPSTREAM")]
    upstream: String,
    /// Its address as `dhal status` has it, or as the file has it: a name means all its addresses, also
    /// those that it leads to later.
    #[arg(value_name = "SERVER")]
    server: String,
}

/// What to drain.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    which: Which,
    /// Wait so long at most until it has finished what it is working on, such as 30s.
    #[arg(long, value_name = "TIME", value_parser = config::duration)]
    wait: Option<Duration>,
}

pub(super) fn drain(path: &Path, options: &Options) -> anyhow::Result<()> {
    let client = Client::of(&super::admin(path)?);
    let drained = wait_for(order(&client, "/drain", &options.which))?;
    for server in &drained.servers {
        say!(
            "{} takes nothing new, {}",
            server.name,
            left(server.in_flight)
        )?;
    }
    if drained.servers.is_empty() {
        let server = &options.which.server;
        say!("{server} takes nothing new, at the moment it leads to no server")?;
        return Ok(());
    }
    let Some(patience) = options.wait else {
        return Ok(());
    };
    let names = drained.servers.iter().map(|server| server.name.as_str());
    let names: Vec<_> = names.collect();
    wait_for(finish(&client, &options.which.upstream, &names, patience))
}

pub(super) fn undrain(path: &Path, which: &Which) -> anyhow::Result<()> {
    let client = Client::of(&super::admin(path)?);
    let drained = wait_for(order(&client, "/undrain", which))?;
    for server in &drained.servers {
        say!(
            "{} takes requests again, it is {}",
            server.name,
            server.state
        )?;
    }
    if drained.servers.is_empty() {
        let server = &which.server;
        say!("{server} takes requests again, at the moment it leads to no server")?;
    }
    Ok(())
}

async fn order(client: &Client, path: &str, which: &Which) -> anyhow::Result<Drained> {
    let (upstream, server) = (encoded(&which.upstream), encoded(&which.server));
    let path = format!("{path}?upstream={upstream}&server={server}");
    let (code, text) = client.ask(&Question::new(Method::POST, &path)).await?;
    if code != StatusCode::OK {
        bail!("nothing has changed: {}", text.trim_end());
    }
    serde_json::from_str(&text).context("the admin endpoint's answer is not understood")
}

/// Waits until the servers have nothing in flight.
async fn finish(
    client: &Client,
    upstream: &str,
    names: &[&str],
    patience: Duration,
) -> anyhow::Result<()> {
    let until = Instant::now() + patience;
    // A request may have been given to a server at the very moment of the order, and begin after the first look.
    let mut looks_without = 0;
    loop {
        let (_, text) = client.ask(&Question::new(Method::GET, "/status")).await?;
        let status: Status =
            serde_json::from_str(&text).context("the admin endpoint's answer is not understood")?;
        let upstreams = status.upstreams.into_iter();
        let servers = upstreams
            .filter(|known| known.name == upstream)
            .flat_map(|known| known.servers);
        let servers: Vec<ServerStatus> = servers
            .filter(|server| names.contains(&server.name.as_str()))
            .collect();
        let is_there = |name: &&&str| servers.iter().any(|server| server.name == **name);
        if let Some(gone) = names.iter().find(|name| !is_there(name)) {
            bail!(
                "{gone} is no server of `{upstream}` any more, so nobody can tell whether it has finished"
            );
        }
        if let Some(server) = servers.iter().find(|server| server.state != "draining") {
            bail!("{} was told to take requests again", server.name);
        }
        let in_flight: usize = servers.iter().map(|server| server.in_flight).sum();
        looks_without = match in_flight {
            0 => looks_without + 1,
            _ => 0,
        };
        if looks_without == 2 {
            say!("nothing is in flight any more")?;
            return Ok(());
        }
        if Instant::now() >= until && in_flight > 0 {
            bail!(
                "{} after {patience:?}: {} takes nothing new, and what it is working on goes on",
                left(in_flight),
                names.join(", ")
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn left(in_flight: usize) -> String {
    match in_flight {
        1 => "1 request is in flight".to_owned(),
        n => format!("{n} requests are in flight"),
    }
}

/// Text for a query (RFC 3986 §2.1).
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
