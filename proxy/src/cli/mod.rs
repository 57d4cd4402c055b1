//! The command line: a file per verb. Exit 0 done, 1 refused or failed, 2 wrong usage.

mod acme;
mod admin_client;
mod check;
mod completions;
mod config;
mod demo;
mod dev_cert;
#[cfg(test)]
mod documented;
mod drain;
mod explain;
mod history;
mod import;
mod limits;
mod man;
mod output;
mod process;
mod purge;
mod reload;
mod run;
mod status;
mod upgrade;
mod warm;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{CommandFactory as _, Parser, Subcommand};

use self::output::{print, remark, say};
use crate::config::{self as configuration, model::Admin};

/// Where the configuration is when nobody says otherwise.
const DEFAULT_CONFIG: &str = "/etc/dhal/dhal.toml";

/// Edge reverse proxy and cache that carries a shop through its sale day.
#[derive(Debug, Parser)]
#[command(name = "dhal", version)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Check the configuration and exit, as `dhal check`.
    #[arg(short = 't')]
    check: bool,
    /// Configuration file [default: /etc/dhal/dhal.toml].
    #[arg(short, long, value_name = "FILE", env = "DHAL_CONFIG", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve until told to stop.
    Run,
    /// Check a configuration and everything it refers to.
    Check,
    /// Show what the configuration comes to, how it differs from the one that runs, or what can be written there.
    #[command(subcommand)]
    Config(config::Action),
    /// Start two shops and the edge in front of them on this machine.
    Demo(demo::Options),
    /// Put the configuration file's present content in force.
    Reload(reload::Options),
    /// Show the last reloads and what became of them.
    History(history::Options),
    /// Start another process that takes over from the running edge without a gap.
    Upgrade(upgrade::Options),
    /// Show the state of the running edge; exit 0 while it is ready.
    Status(status::Options),
    /// Show what would become of a request, and why, without making it.
    Explain(explain::Options),
    /// Take pages out of the running edge's store.
    Purge(purge::Options),
    /// Fetch pages into the running edge's store before visitors ask for them.
    Warm(warm::Options),
    /// Let a server finish what it is working on and take nothing new.
    Drain(drain::Options),
    /// Let a server take requests again.
    Undrain(drain::Which),
    /// Propose rate limits by what the access log shows.
    Limits(limits::Options),
    /// Show the certificates that are ordered from an authority, or order one at once.
    #[command(subcommand)]
    Acme(acme::Verb),
    /// Translate a configuration of nginx, or compare both at work.
    Import(Box<import::Options>),
    /// Make a certificate for development.
    DevCert(dev_cert::Options),
    /// Print a script by which a shell completes the command line.
    Completions(completions::Options),
    /// Write manual pages into a folder.
    Man(man::Options),
    /// Print the version.
    Version,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let given = cli.config.as_deref();
    let file = given.unwrap_or_else(|| Path::new(DEFAULT_CONFIG));
    let result = match cli.verb {
        Some(Verb::Run) => run::run(file),
        Some(Verb::Check) => check::check(file),
        Some(Verb::Config(action)) => return config::config(file, &action),
        Some(Verb::Demo(options)) => demo::demo(given, &options),
        Some(Verb::Reload(options)) => reload::reload(file, &options),
        Some(Verb::History(options)) => history::history(file, &options),
        Some(Verb::Upgrade(options)) => upgrade::upgrade(file, &options),
        Some(Verb::Status(options)) => status::status(file, &options),
        Some(Verb::Explain(options)) => explain::explain(file, &options),
        Some(Verb::Purge(options)) => purge::purge(file, &options),
        Some(Verb::Warm(options)) => warm::warm(file, &options),
        Some(Verb::Drain(options)) => drain::drain(file, &options),
        Some(Verb::Undrain(which)) => drain::undrain(file, &which),
        Some(Verb::Limits(options)) => limits::limits(file, &options),
        Some(Verb::Acme(verb)) => acme::acme(file, &verb),
        Some(Verb::Import(options)) => import::import(&options),
        Some(Verb::DevCert(options)) => dev_cert::dev_cert(&options),
        Some(Verb::Completions(options)) => completions::completions(Cli::command(), &options),
        Some(Verb::Man(options)) => man::man(Cli::command(), &options),
        Some(Verb::Version) => say!("dhal {}", env!("CARGO_PKG_VERSION")),
        None if cli.check => check::check(file),
        None => Err(anyhow::Error::new(WrongUsage(
            "say what to do, for example `dhal run -c dhal.toml`; `dhal --help` lists the verbs",
        ))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) if why.is::<WrongUsage>() => {
            remark!("dhal: {why}");
            ExitCode::from(2)
        }
        Err(why) => {
            remark!("{why:#}");
            ExitCode::FAILURE
        }
    }
}

/// A command line that says too little, with a sentence about what it lacks.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUsage(&'static str);

/// Reads a configuration with this process's environment.
fn load(path: &Path) -> anyhow::Result<configuration::Loaded> {
    Ok(configuration::load(path, &|name| std::env::var(name).ok())?)
}

/// Where the running edge of a configuration is to be asked. A file with mistakes is told of, and is no reason not to
/// ask: what runs is what was in force before them.
fn admin(path: &Path) -> anyhow::Result<Admin> {
    let admin = match load(path) {
        Ok(loaded) => loaded.config.admin,
        Err(why) => {
            let Some(admin) = admin_despite_mistakes(path) else {
                return Err(why);
            };
            remark!(
                "warning: {} is broken, and not what runs; `dhal check` says more:\n{why}\n",
                path.display()
            );
            Some(admin)
        }
    };
    admin.with_context(|| format!("{} has no [admin] section to ask at", path.display()))
}

/// The same of a file that cannot be used, where that much of it can be read.
fn admin_despite_mistakes(path: &Path) -> Option<Admin> {
    configuration::admin_despite_mistakes(path, &|name| std::env::var(name).ok())
}

/// Shows what is legal, but probably not what was meant.
fn warn(loaded: &configuration::Loaded) {
    if !loaded.warnings.is_empty() {
        remark!("{}\n", configuration::render(&loaded.warnings));
    }
}
