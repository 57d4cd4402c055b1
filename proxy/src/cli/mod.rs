//! The command line: a file per verb. Exit 0 done, 1 refused or failed, 2 wrong usage.

mod admin_client;
mod check;
mod demo;
mod dev_cert;
mod reload;
mod run;
mod status;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::config;

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
    /// Start two shops and the edge in front of them on this machine.
    Demo(demo::Options),
    /// Put the configuration file's present content in force.
    Reload,
    /// Show the state of the running edge; exit 0 while it is ready.
    Status(status::Options),
    /// Make a certificate for development.
    DevCert(dev_cert::Options),
    /// Print the version.
    Version,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let given = cli.config.as_deref();
    let file = given.unwrap_or(Path::new(DEFAULT_CONFIG));
    let result = match cli.verb {
        Some(Verb::Run) => run::run(file),
        Some(Verb::Check) => check::check(file),
        Some(Verb::Demo(options)) => demo::demo(given, &options),
        Some(Verb::Reload) => reload::reload(file),
        Some(Verb::Status(options)) => status::status(file, &options),
        Some(Verb::DevCert(options)) => dev_cert::dev_cert(&options),
        Some(Verb::Version) => {
            println!("dhal {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        None if cli.check => check::check(file),
        None => {
            eprintln!(
                "dhal: say what to do, for example `dhal run -c dhal.toml`; `dhal --help` lists the verbs"
            );
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why:#}");
            ExitCode::FAILURE
        }
    }
}

/// Reads a configuration with this process's environment.
fn load(path: &Path) -> anyhow::Result<config::Loaded> {
    Ok(config::load(path, &|name| std::env::var(name).ok())?)
}

/// Shows what is legal, but probably not what was meant.
fn warn(loaded: &config::Loaded) {
    if !loaded.warnings.is_empty() {
        eprintln!("{}\n", config::render(&loaded.warnings));
    }
}
