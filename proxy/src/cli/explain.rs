//! `dhal explain`

use std::{
    io::IsTerminal as _,
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use hyper::{Method, StatusCode};

use super::{
    WrongUsage,
    admin_client::{Client, Question as Ask, wait_for},
    remark,
};
use crate::{
    config::model::{Cache, Config},
    edge::decide::Now,
    explain::{self, Explanation, Question, Scene},
    shared::Shared,
    snapshot::Snapshot,
};

/// Which request, and whom to ask about it.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// What is asked for, as an absolute URL.
    #[arg(value_name = "URL")]
    url: String,
    /// Method of the request.
    #[arg(short = 'X', long, default_value = "GET", value_name = "M")]
    method: String,
    /// Header of the request; may be repeated. `Host` takes the place of the URL's.
    #[arg(short = 'H', long = "header", value_name = "N: V")]
    headers: Vec<String>,
    /// Address that the connection comes from [default: 127.0.0.1].
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// The request comes by plain HTTP whatever the URL says, as behind a balancer that ends TLS.
    #[arg(long)]
    http: bool,
    /// Ask the running edge, and fail where none answers. Else the file is asked then.
    #[arg(long, conflicts_with = "file")]
    running: bool,
    /// Ask the file, even if an edge runs: what would a reload change?
    #[arg(long)]
    file: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn explain(path: &Path, options: &Options) -> anyhow::Result<()> {
    let question = question(options)?;
    let explanation = match options.file {
        true => by_file(super::load(path)?.config, &question)?,
        false => by_either(path, options, &question)?,
    };
    let text = match options.json {
        true => serde_json::to_string_pretty(&explanation)? + "\n",
        false => explanation.text(std::io::stdout().is_terminal() && !no_colour()),
    };
    super::print(text.as_bytes())
}

/// What <https://no-color.org> asks for.
fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

fn question(options: &Options) -> anyhow::Result<Question> {
    let mut headers = Vec::new();
    for header in &options.headers {
        let Some((name, value)) = header.split_once(':') else {
            bail!(WrongUsage("a header is written as --header 'Name: value'"));
        };
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(Question {
        method: options.method.clone(),
        headers,
        client: options.client,
        http: options.http,
        ..Question::new(&options.url)
    })
}

fn by_either(path: &Path, options: &Options, question: &Question) -> anyhow::Result<Explanation> {
    let config = super::load(path)?.config;
    let Some(admin) = &config.admin else {
        ensure!(
            !options.running,
            "{} has no [admin] section to ask at",
            path.display()
        );
        return by_file(config, question);
    };
    let client = Client::of(admin);
    let asked = Ask {
        json: Some(serde_json::to_string(question)?),
        ..Ask::new(Method::POST, "/explain")
    };
    match wait_for(client.ask(&asked)) {
        Ok((StatusCode::OK, text)) => {
            serde_json::from_str(&text).context("the admin endpoint's answer is not understood")
        }
        Ok((StatusCode::UNPROCESSABLE_ENTITY, why)) => bail!("{}", why.trim_end().to_owned()),
        Ok((code, why)) => bail!("the admin endpoint answered {code}: {}", why.trim_end()),
        Err(why) if options.running => Err(why),
        Err(why) => {
            // Said where it does not disturb those who read JSON.
            remark!("{why:#}; this is by the file {}\n", path.display());
            by_file(config, question)
        }
    }
}

fn by_file(config: Config, question: &Question) -> anyhow::Result<Explanation> {
    // The folder is not touched.
    let in_memory = Cache {
        disk: None,
        ..config.cache.clone()
    };
    let (shared, _) = Shared::new(&in_memory, config.server.max_connections);
    let shared = Arc::new(shared);
    let snapshot = Arc::new(Snapshot::build(config, 0, &shared)?);
    let scene = Scene {
        snapshot: &snapshot,
        shared: &shared,
        now: Now {
            wall: SystemTime::now(),
            tick: Duration::ZERO,
        },
        is_running: false,
    };
    Ok(explain::explain(&scene, question)?)
}
