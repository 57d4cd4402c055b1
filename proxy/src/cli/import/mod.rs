//! `dhal import`: a configuration of nginx as one of ours, and whether both answer alike.

mod ask;
mod compare;
mod requests;

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use nginx_import::Files;

use super::{WrongUsage, print, remark};
use crate::config;

/// Largest file that is read; a list of addresses may be long.
const FILE_MAX: u64 = 32 << 20;

/// What to read, or what to compare.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// nginx's configuration.
    #[arg(
        value_name = "NGINX.CONF",
        required_unless_present = "compare",
        conflicts_with = "compare"
    )]
    file: Option<PathBuf>,
    /// Where the configuration is written; to standard output where absent.
    #[arg(short, long, value_name = "FILE", conflicts_with = "compare")]
    output: Option<PathBuf>,
    /// Write over a file that is there.
    #[arg(long, requires = "output")]
    force: bool,
    /// Report in JSON.
    #[arg(long)]
    json: bool,
    /// Ask a running nginx and a running Dhal the same, and show where they differ.
    #[arg(long)]
    compare: bool,
    #[command(flatten)]
    comparing: compare::Options,
}

pub(super) fn import(options: &Options) -> anyhow::Result<()> {
    match &options.file {
        Some(file) => translate(file, options),
        None => compare::compare(&options.comparing, options.json),
    }
}

fn translate(file: &Path, options: &Options) -> anyhow::Result<()> {
    let Some(name) = file.to_str() else {
        bail!(WrongUsage("the name of nginx's configuration is not UTF-8"));
    };
    let import = nginx_import::import(&OnDisk, name)?;
    match &options.output {
        None => print(import.toml.as_bytes())?,
        Some(output) => write(output, &import.toml, options.force)?,
    }
    match options.json {
        true => remark!("{}", serde_json::to_string_pretty(&import.report)?),
        false => remark!("{}", import.report),
    }
    checked(&import.toml, options.output.as_deref())
}

/// Looks at what was written as `dhal check` does.
fn checked(text: &str, output: Option<&Path>) -> anyhow::Result<()> {
    let env = |name: &str| std::env::var(name).ok();
    let folder = output
        .and_then(Path::parent)
        .unwrap_or_else(|| Path::new(""));
    let surroundings = config::Surroundings { folder, env: &env };
    let name = output
        .unwrap_or_else(|| Path::new("dhal.toml"))
        .display()
        .to_string();
    config::check_text(&name, text, &surroundings)
        .map(|_| ())
        .with_context(|| format!("{name}: `dhal check` does not take this yet"))
}

fn write(output: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new();
    file.write(true);
    match force {
        true => file.create(true).truncate(true),
        false => file.create_new(true),
    };
    file.open(output)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| match output.exists() && !force {
            true => format!(
                "{} is there already; --force writes over it",
                output.display()
            ),
            false => format!("{} cannot be written", output.display()),
        })
}

/// The files of this host.
struct OnDisk;

impl Files for OnDisk {
    fn read(&self, path: &str) -> Result<String, String> {
        let mut bytes = Vec::new();
        // A pipe would be waited for.
        let kind = fs::metadata(path).map_err(|why| why.to_string())?;
        if !kind.is_file() {
            return Err("it is no regular file".to_owned());
        }
        let file = fs::File::open(path).map_err(|why| why.to_string())?;
        file.take(FILE_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|why| why.to_string())?;
        if bytes.len() as u64 > FILE_MAX {
            return Err(format!("it has more than {} MiB", FILE_MAX >> 20));
        }
        // Comments may be in any encoding.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        let options = glob::MatchOptions {
            require_literal_separator: true,
            require_literal_leading_dot: true,
            ..glob::MatchOptions::new()
        };
        let paths = glob::glob_with(pattern, options).map_err(|why| why.to_string())?;
        let mut names = Vec::new();
        for path in paths {
            let path = path.map_err(|why| why.to_string())?;
            let name = path.into_os_string().into_string();
            names.push(name.map_err(|_| "a name that is not UTF-8".to_owned())?);
        }
        Ok(names)
    }
}
