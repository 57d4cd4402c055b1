//! `dhal-load`: open-loop load on a shop behind an edge.
//!
//! Visitors come when chance says, not when the server is ready for them, and each of their requests is timed from
//! the moment it was due. [`scenario`] says who comes, [`arrivals`] when, [`plan`] what one of them will do; [`visit`]
//! does it over the connections of a [`browser`], [`judge`] says whether an answer was the right one, and [`record`]
//! keeps the books.

mod arrivals;
mod attack;
mod browser;
mod catalog;
mod clock;
mod connect;
mod cookies;
mod crowd;
mod fate;
mod hold;
mod html;
mod judge;
mod machine;
mod plan;
mod random;
mod record;
mod report;
mod room;
mod run;
mod scenario;
mod svg;
mod table;
mod units;
mod visit;
mod warm;

use std::{fs, net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::Parser;

use crate::{
    connect::{Target, Trust},
    report::Report,
    run::Settings,
    scenario::{Phase, Scenario},
};

/// Sends visitors to a shop behind an edge, whether it keeps up or not, and judges every answer.
///
/// Exits with 0 when it ran, with 1 when it could not, and with `--fail-on-errors` with 3 when a request failed.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Who comes and what they do.
    #[arg(long, value_name = "FILE")]
    scenario: PathBuf,
    /// Where HTTP is spoken.
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Where HTTP over TLS is spoken.
    #[arg(long, value_name = "ADDRESS")]
    https: Option<SocketAddr>,
    /// Authority of all requests.
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    host: String,
    /// Certificates that are trusted, in PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Trust any certificate.
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// Another seed than the scenario's.
    #[arg(long)]
    seed: Option<u64>,
    /// So many times the scenario's rates.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    scale: f64,
    /// Other phases than the scenario's: seconds and rate of each, or both its rates: `10x5,15x5-60,60x60`.
    #[arg(long, value_name = "PHASES", value_delimiter = ',')]
    phases: Vec<Phase>,
    /// Leave the attackers out: what the visitors meet without them.
    #[arg(long)]
    calm: bool,
    /// End the arrivals after so many seconds.
    #[arg(long)]
    seconds: Option<f64>,
    /// Write all that was found.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw it.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the numbers of acknowledged orders, one a line.
    #[arg(long, value_name = "FILE")]
    orders: Option<PathBuf>,
    /// Set the run beside an older one's `--json`.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Exit with 3 if a request of a welcome visitor failed or was refused.
    #[arg(long)]
    fail_on_errors: bool,
    /// No line each second.
    #[arg(long)]
    quiet: bool,
}

fn main() -> ExitCode {
    match play(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(options: &Options) -> anyhow::Result<ExitCode> {
    let mut scenario = Scenario::read(&options.scenario)?;
    if options.calm {
        scenario.attackers.clear();
    }
    if !(options.scale.is_finite() && options.scale > 0.0) {
        bail!("--scale must be above 0");
    }
    if options
        .seconds
        .is_some_and(|seconds| !(seconds.is_finite() && seconds > 0.0))
    {
        bail!("--seconds must be above 0");
    }
    let trust = match &options.ca {
        Some(file) => Trust::Authority(file),
        None if options.insecure || options.https.is_none() => Trust::Anybody,
        None => bail!("--https needs --ca FILE or --insecure"),
    };
    if options.http.is_none() && options.https.is_none() {
        bail!("there is nowhere to go: give --http, --https or both");
    }
    // Before the load, so that a file that cannot be read does not cost a run.
    let older: Option<Report> = options.compare.as_ref().map(read_report).transpose()?;
    let target = Target::new(options.http, options.https, &options.host, &trust)?;
    let settings = Settings {
        phases: options.phases.clone(),
        seed: options.seed.unwrap_or(scenario.seed),
        scale: options.scale,
        seconds: options.seconds,
        quiet: options.quiet,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tasks = tokio::task::LocalSet::new();
    let done = tasks.block_on(&runtime, run::run(scenario, target, &settings))?;
    let report = done.report;
    print!("{}", table::of(&report));
    if let Some(older) = older {
        print!("\n{}", table::compare(&older, &report));
    }
    if let Some(file) = &options.json {
        write(
            file,
            &format!("{}\n", serde_json::to_string_pretty(&report)?),
        )?;
    }
    if let Some(file) = &options.svg {
        write(file, &svg::of(&report))?;
    }
    if let Some(file) = &options.orders {
        write(
            file,
            &done
                .orders
                .iter()
                .map(|number| format!("{number}\n"))
                .collect::<String>(),
        )?;
    }
    let [safe, changing] = [&report.safe, &report.changing];
    let failed = safe.failed + safe.refused + changing.failed + changing.refused;
    Ok(match options.fail_on_errors && failed > 0 {
        true => ExitCode::from(3),
        false => ExitCode::SUCCESS,
    })
}

fn read_report(file: &PathBuf) -> anyhow::Result<Report> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no report", file.display()))
}

fn write(file: &PathBuf, text: &str) -> anyhow::Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
