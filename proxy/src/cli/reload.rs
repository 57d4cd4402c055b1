//! `dhal reload`

use std::path::Path;

use anyhow::{Context, bail};
use hyper::{Method, StatusCode};

use super::admin_client;

/// Checks the file first, so that a mistake is shown even when nothing runs; then the running edge
/// reads it and says what came of it.
pub(super) fn reload(path: &Path) -> anyhow::Result<()> {
    let config = super::load(path)?.config;
    if let Some(admin) = &config.admin {
        let (status, text) = admin_client::ask(admin, &Method::POST, "/reload")?;
        if status == StatusCode::OK {
            print!("{text}");
            return Ok(());
        }
        bail!(
            "reload refused, the old configuration stays in force:\n{}",
            text.trim_end()
        );
    }
    let Some(pid_file) = &config.server.pid_file else {
        bail!(
            "without [admin] or server.pid_file the running edge cannot be found; send it SIGHUP instead"
        );
    };
    let pid = std::fs::read_to_string(pid_file)
        .with_context(|| format!("cannot read the pid file {}", pid_file.display()))?;
    let pid: i32 = pid
        .trim()
        .parse()
        .with_context(|| format!("{} holds no process id", pid_file.display()))?;
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP)
        .with_context(|| format!("cannot signal process {pid}"))?;
    println!("process {pid} was told to reload; its log says what came of it");
    Ok(())
}
