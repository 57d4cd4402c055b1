//! `dhal reload`

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use hyper::{Method, StatusCode};
use nix::sys::signal::Signal;

use super::{admin_client, admin_despite_mistakes, process, say};
use crate::config::model::{Admin, AdminAddress};

/// How.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Put the configuration before the present one in force again, from the running edge's memory.
    #[arg(long)]
    rollback: bool,
    /// Where the running edge is asked, such as unix:/run/dhal/admin.sock: for when the file says something else
    /// already.
    #[arg(long, value_name = "ADDRESS", value_parser = admin_address)]
    admin: Option<AdminAddress>,
}

fn admin_address(text: &str) -> Result<AdminAddress, String> {
    match text.strip_prefix("unix:") {
        Some(path) => Ok(AdminAddress::Unix(PathBuf::from(path))),
        None => text
            .parse()
            .map(AdminAddress::Tcp)
            .map_err(|_| "expected unix:/path/of.sock, or an IP address and a port".to_owned()),
    }
}

pub(super) fn reload(path: &Path, options: &Options) -> anyhow::Result<()> {
    match options.rollback {
        true => roll_back(path, options),
        false => put_in_force(path, options),
    }
}

/// The file may be broken: it is what is to be taken back.
fn roll_back(path: &Path, options: &Options) -> anyhow::Result<()> {
    let written = super::load(path)
        .ok()
        .and_then(|loaded| loaded.config.admin);
    let written = written.or_else(|| admin_despite_mistakes(path));
    let admin = asked_at(written, options);
    let admin = admin.with_context(|| {
        format!(
            "{} has no [admin] section to ask at; name the address with --admin",
            path.display()
        )
    })?;
    let (status, text) = admin_client::ask(&admin, &Method::POST, "/rollback")?;
    if status != StatusCode::OK {
        bail!("nothing was taken back: {}", text.trim_end());
    }
    super::print(text.as_bytes())
}

/// Where the running edge is asked.
fn asked_at(written: Option<Admin>, options: &Options) -> Option<Admin> {
    let Some(address) = &options.admin else {
        return written;
    };
    Some(Admin {
        addresses: vec![address.clone()],
        token_file: written.and_then(|admin| admin.token_file),
        mode: 0o600,
        group: None,
    })
}

/// Checks the file first, so that a mistake is shown with its place even when nothing runs; then the
/// running edge reads it and says what came of it.
fn put_in_force(path: &Path, options: &Options) -> anyhow::Result<()> {
    let config = match super::load(path) {
        Ok(loaded) => loaded.config,
        Err(why) => {
            // The edge is to know, and its metrics to show, that a reload was tried and refused.
            if let Some(admin) = asked_at(admin_despite_mistakes(path), options) {
                let _ = admin_client::ask(&admin, &Method::POST, "/reload");
            }
            return Err(why);
        }
    };
    if let Some(admin) = &asked_at(config.admin, options) {
        let asked = admin_client::ask(admin, &Method::POST, "/reload");
        let (status, text) = asked.map_err(|why| match options.admin {
            Some(_) => why,
            None => why.context(
                "the edge cannot be asked at the address in this file; where the file is about to change it, name \
                 the one in force with --admin, or send SIGHUP",
            ),
        })?;
        if status == StatusCode::OK {
            return super::print(text.as_bytes());
        }
        bail!(
            "reload refused, the old configuration stays in force:\n{}",
            text.trim_end()
        );
    }
    let pid = process::send(Signal::SIGHUP, &config.server)?;
    say!("process {pid} was told to reload; its log says what came of it")
}
