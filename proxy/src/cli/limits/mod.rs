//! `dhal limits suggest`: what the access log says about rates, and the limits that follow from it.
//!
//! The log is read once, in its order of lines, and written down anew in twelve bytes a request, in the order in
//! which requests came (`spool.rs`). What is asked of it then is counted over that copy, several times (`demand.rs`):
//! rates first, then the bursts that they need, then whom both together would have refused.

mod demand;
mod keys;
mod lines;
mod report;
mod spool;

use std::{
    fs::File,
    io::{BufRead, BufReader, stdin},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use flate2::bufread::MultiGzDecoder;

use self::{keys::Keys, lines::Line, report::Report, spool::Writer};
use crate::config::model::{AccessLog, LogFormat, LogTarget};

/// How a compressed file begins (RFC 1952 §2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What to do with limits.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Propose rates and bursts by what the access log shows of each route's clients.
    Suggest(Suggest),
}

/// What to read, and how strict to be.
#[derive(Debug, Args)]
struct Suggest {
    /// Access log in JSON, plain or gzip, `-` for standard input; may be repeated, oldest first [default: the
    /// configuration's].
    #[arg(long = "log", value_name = "FILE")]
    logs: Vec<PathBuf>,
    /// Share of the clients that the proposed limits would never have refused.
    #[arg(long, value_name = "PERCENT", default_value_t = 99.9, value_parser = percentile)]
    percentile: f64,
    /// How much more than they asked for is granted.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.5, value_parser = headroom)]
    headroom: f64,
    /// What one client is.
    #[arg(long, value_enum, default_value_t = Key::ClientIp)]
    key: Key,
    /// Clients, counted once for each route, that are kept apart; some 200 bytes each.
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    max_keys: u32,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What limits can count by, as far as the log tells it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Key {
    /// An IPv4 address, or the /64 of an IPv6 one.
    ClientIp,
    /// The authority that was asked for.
    Host,
}

impl Key {
    fn name(self) -> &'static str {
        match self {
            Self::ClientIp => "client-ip",
            Self::Host => "host",
        }
    }
}

fn percentile(text: &str) -> Result<f64, String> {
    let percent: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match percent > 0.0 && percent <= 100.0 {
        true => Ok(percent),
        false => Err("a percentile is above 0 and at most 100".into()),
    }
}

fn headroom(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match (1.0..=100.0).contains(&factor) {
        true => Ok(factor),
        false => Err("headroom is a factor between 1 and 100".into()),
    }
}

pub(super) fn limits(path: &Path, options: &Options) -> anyhow::Result<()> {
    let Verb::Suggest(suggest) = &options.verb;
    let logs = match suggest.logs.is_empty() {
        true => vec![configured_log(path)?],
        false => suggest.logs.clone(),
    };
    let mut reading = Reading::new(suggest)?;
    for log in &logs {
        read(log, &mut reading).with_context(|| format!("{} cannot be read", log.display()))?;
    }
    let report = reading.report(suggest)?;
    let text = match suggest.json {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => report.to_string(),
    };
    super::print(text.as_bytes())
}

/// Where the configured edge writes its access log.
fn configured_log(path: &Path) -> anyhow::Result<PathBuf> {
    let log = super::load(path)?.config.access_log;
    if let Some(AccessLog {
        format: LogFormat::Combined,
        ..
    }) = log
    {
        bail!(
            "the access log of {} is in the combined format, which tells neither routes nor limits; write \
             format = \"json\" under [access_log], and come again when it has a day's requests",
            path.display()
        );
    }
    match log.map(|log| log.target) {
        Some(LogTarget::File(file)) => Ok(file),
        Some(LogTarget::Stdout) => bail!(
            "the access log of {} goes to standard output; say where it is kept with --log FILE, or --log - to read \
             standard input",
            path.display()
        ),
        None => bail!(
            "{} names no access log; say where it is with --log FILE",
            path.display()
        ),
    }
}

/// Reads a file to its end, or standard input.
fn read(log: &Path, reading: &mut Reading) -> anyhow::Result<()> {
    let mut reader: Box<dyn BufRead> = match log.as_os_str() == "-" {
        true => Box::new(stdin().lock()),
        false => Box::new(BufReader::new(File::open(log)?)),
    };
    if reader.fill_buf()?.starts_with(&GZIP) {
        reader = Box::new(BufReader::new(MultiGzDecoder::new(reader)));
    }
    lines::for_each(&mut reader, |line| reading.line(line))
}

/// What has been read so far.
struct Reading {
    key: Key,
    keys: Keys,
    spool: Writer,
    verdicts: report::Verdicts,
    broken: u64,
    no_route: u64,
    left_out: u64,
}

impl Reading {
    fn new(options: &Suggest) -> anyhow::Result<Self> {
        let max = options.max_keys as usize;
        Ok(Self {
            key: options.key,
            keys: Keys::new(max),
            spool: Writer::new()
                .context("no temporary file can be made; TMPDIR says in which folder")?,
            verdicts: report::Verdicts::new(max),
            broken: 0,
            no_route: 0,
            left_out: 0,
        })
    }

    fn line(&mut self, line: Option<Line<'_>>) -> anyhow::Result<()> {
        let Some(line) = line else {
            self.broken += 1;
            return Ok(());
        };
        let Some(route) = &line.route else {
            self.no_route += 1;
            return Ok(());
        };
        let client = match self.key {
            Key::ClientIp => Some(line.client.into()),
            Key::Host => self.keys.host(&line.host),
        };
        let Some(client) = client else {
            self.left_out += 1;
            return Ok(());
        };
        if let (Some(rule), Some(verdict)) = (&line.limit_rule, &line.limit_decision) {
            self.verdicts.count(rule, verdict, client);
        }
        match self.keys.number(route, client) {
            Some(key) => self
                .spool
                .push(line.time_ms, key, line.status)
                .context("the temporary file cannot be written; TMPDIR says in which folder it is"),
            None => {
                self.left_out += 1;
                Ok(())
            }
        }
    }

    fn report(self, options: &Suggest) -> anyhow::Result<Report> {
        let spool = self
            .spool
            .finish()
            .context("the temporary file cannot be written; TMPDIR says in which folder it is")?;
        ensure!(
            spool.len() > 0,
            "there is no request of a route in it ({} lines are no JSON of an access log, {} without a route)",
            self.broken,
            self.no_route
        );
        let asked = report::Asked {
            percentile: options.percentile,
            headroom: options.headroom,
            key: self.key.name(),
            max_keys: options.max_keys,
        };
        let passed_over = report::PassedOver {
            broken_lines: self.broken + spool.broken(),
            late_lines: spool.late(),
            requests_without_route: self.no_route,
            requests_beyond_max_keys: self.left_out,
        };
        Report::of(&self.keys, &spool, &self.verdicts, passed_over, asked)
            .context("the temporary file cannot be read")
    }
}

#[cfg(test)]
mod tests;
