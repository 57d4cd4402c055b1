//! The command line and the environment variables that stand for its flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::purge::Endpoints;

/// The DhakaCart shop.
#[derive(Parser)]
#[command(
    name = "dhakacart-origin",
    after_help = "DHAKACART_SECRET, or the file named by DHAKACART_SECRET_FILE, signs cookies and form tokens: at \
                  least 32 bytes. Without either the shop makes a secret and keeps it in the database.",
    version,
    about,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub serve: Serve,
}

/// What the program can do besides serving the shop.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask a running shop for its health: exit 0 when it is well, 1 otherwise
    Healthcheck(Healthcheck),
}

/// Options of the server.
#[derive(Clone, Args)]
pub struct Serve {
    /// Address to listen on; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "DHAKACART_LISTEN",
        default_value = "127.0.0.1:3000"
    )]
    pub listen: SocketAddr,

    /// Database file, created and filled on first start; several instances may share it
    #[arg(
        long,
        value_name = "PATH",
        env = "DHAKACART_DATABASE",
        default_value = "dhakacart.sqlite3"
    )]
    pub database: PathBuf,

    /// Name of this instance in the X-Served-By field [default: the listen address]
    #[arg(long, env = "DHAKACART_NAME", value_parser = instance_name)]
    pub name: Option<String>,

    /// Take this many milliseconds more for each page and each answer of the API, to make caching visible; files and
    /// health checks are answered at once
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=10_000))]
    pub delay: u64,

    /// Requests at work at once; up to 511 more wait for their turn. With --delay D that is N / D answers a second
    /// [default: as many as come]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,

    /// Admin endpoints of the edges to tell when a price or a stock changes, separated by commas: unix:PATH or
    /// http://HOST:PORT [default: none]
    #[arg(
        long,
        value_name = "ENDPOINTS",
        env = "DHAKACART_PURGE",
        default_value = "",
        hide_default_value = true
    )]
    pub purge: Endpoints,

    /// File that holds the edges' admin token, which endpoints over TCP ask for
    #[arg(
        long,
        value_name = "PATH",
        env = "DHAKACART_PURGE_TOKEN_FILE",
        default_value = "",
        hide_default_value = true,
        value_parser = path_or_empty
    )]
    pub purge_token_file: PathBuf,

    /// Secret that signs cookies and tokens, at least 32 bytes [default: generated, kept in the database]
    // Only from the environment: arguments are visible to every user of the host.
    #[arg(skip = secret_from_environment("DHAKACART_SECRET"))]
    pub secret: Option<String>,

    /// File that holds the secret
    #[arg(skip = secret_from_environment("DHAKACART_SECRET_FILE"))]
    pub secret_file: Option<String>,
}

/// Options of the health check.
#[derive(Debug, Args)]
pub struct Healthcheck {
    /// What to ask [default: /healthz at the listen address]
    #[arg(long)]
    pub url: Option<String>,

    /// Where the shop listens
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "DHAKACART_LISTEN",
        default_value = "127.0.0.1:3000"
    )]
    pub listen: SocketAddr,
}

/// An unset and an empty variable mean the same: compose files pass empty ones.
fn secret_from_environment(variable: &str) -> Option<String> {
    std::env::var(variable)
        .ok()
        .filter(|value| !value.is_empty())
}

/// An empty path is none, as an empty variable is an unset one.
fn path_or_empty(path: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(path.into())
}

/// A name must be fit for a header field.
fn instance_name(name: &str) -> Result<String, String> {
    let fits =
        !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| name.to_owned())
        .ok_or_else(|| "use 1 to 64 visible ASCII characters".to_owned())
}
