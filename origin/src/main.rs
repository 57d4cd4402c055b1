//! Parses the command line, builds the shop and serves it.

#![warn(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic when nobody reads any more; `writeln!` does not"
)]

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use axum::http::HeaderValue;
use clap::Parser;
use dhakacart_origin::app::{self, Shop};
use dhakacart_origin::cli::{Cli, Command, Serve};
use dhakacart_origin::secret::{self, Keys};
use dhakacart_origin::workers::Workers;
use dhakacart_origin::{cart, db, format, healthcheck, purge, serve};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// Threads for SQLite and for drawing: as many as there are connections, with some to spare.
const BLOCKING_THREADS: usize = 24;

/// How often abandoned carts are looked for.
const CLEANING_INTERVAL: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Healthcheck(options)) => {
            healthcheck::run(&options).map_err(anyhow::Error::msg)
        }
        None => run(cli.serve),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "dhakacart-origin: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Serve) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would be said on the same standard error, and panic where nobody reads that any more.
        .log_internal_errors(false)
        .init();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("cannot start")?
        .block_on(shop(options))
}

async fn shop(options: Serve) -> anyhow::Result<()> {
    let stop = serve::stop_signal().context("cannot listen for signals")?;
    let configured = secret::configured(&options).map_err(anyhow::Error::msg)?;
    let purge = purge::Settings::read(&options).map_err(anyhow::Error::msg)?;
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    let address = listener.local_addr().context("cannot listen")?;

    let (purges, messengers) = purge::start(purge);
    let path = options.database.clone();
    let (database, kept) = tokio::task::spawn_blocking(move || db::open::open(&path, purges))
        .await
        .context("cannot start")??;
    let keys = Keys::derive(&configured.unwrap_or(kept));
    let name = options.name.unwrap_or_else(|| address.to_string());
    let name = HeaderValue::try_from(name).context("the name does not fit a header field")?;
    tokio::spawn(clean(database.clone()));
    let workers = Workers::new(
        options.workers.map(usize::from),
        Duration::from_millis(options.delay),
    );
    let shop = Shop::new(database, keys, name, workers);

    // Whoever started us may have closed the other end; the shop is open all the same.
    let _ = writeln!(
        std::io::stdout(),
        "dhakacart-origin listens on http://{address}"
    );
    serve::run(listener, app::router(shop), stop).await;
    messengers.finish().await;
    Ok(())
}

/// Forgets abandoned carts for as long as the shop is open.
async fn clean(database: db::Database) {
    let mut interval = tokio::time::interval(CLEANING_INTERVAL);
    loop {
        interval.tick().await;
        while let Ok(1..) = database
            .write(|tx| cart::forget_abandoned(tx, format::now()))
            .await
        {}
    }
}
