//! `dhal reload`

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use hyper::{Method, StatusCode};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::admin_client;
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
    print!("{text}");
    Ok(())
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
        .ok()
        .filter(|pid| *pid > 1)
        .with_context(|| format!("{} holds no process id", pid_file.display()))?;
    kill(Pid::from_raw(pid), Signal::SIGHUP)
        .with_context(|| format!("cannot signal process {pid}"))?;
    println!("process {pid} was told to reload; its log says what came of it");
    Ok(())
}

/// The `[admin]` section by itself, where the file as a whole is of no use.
pub(super) fn admin_despite_mistakes(path: &Path) -> Option<Admin> {
    let text = std::fs::read_to_string(path).ok()?;
    let section: String = text
        .lines()
        .skip_while(|line| line.trim() != "[admin]")
        .skip(1)
        .take_while(|line| !line.trim_start().starts_with('['))
        .flat_map(|line| [line, "\n"])
        .collect();
    let section: toml::Table = section.parse().ok()?;
    let written: Vec<&str> = match section.get("address")? {
        toml::Value::String(address) => vec![address],
        toml::Value::Array(list) => list.iter().filter_map(toml::Value::as_str).collect(),
        _ => return None,
    };
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let addresses = written
        .into_iter()
        .filter_map(|address| match address.strip_prefix("unix:") {
            Some(socket) => Some(AdminAddress::Unix(folder.join(socket))),
            None => address.parse().ok().map(AdminAddress::Tcp),
        })
        .collect();
    let token_file = section.get("token_file").and_then(toml::Value::as_str);
    Some(Admin {
        addresses,
        token_file: token_file.map(|file| folder.join(file)),
        mode: 0o600,
        group: None,
    })
}
