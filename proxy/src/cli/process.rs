//! The running process, where only its pid file says which one it is.

use std::path::Path;

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::config::model::Server;

/// Sends a signal to the process that the pid file names, and returns its number.
pub(super) fn send(signal: Signal, server: &Server) -> anyhow::Result<Pid> {
    let Some(file) = &server.pid_file else {
        bail!(
            "without [admin] or server.pid_file the running edge cannot be found; send it {signal} instead"
        );
    };
    let pid = named(file)?;
    kill(pid, signal).with_context(|| format!("cannot signal process {pid}"))?;
    Ok(pid)
}

/// The process that a pid file names. Numbers that stand for many processes are none.
fn named(file: &Path) -> anyhow::Result<Pid> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the pid file {}", file.display()))?;
    let number = text.trim().parse().ok().filter(|number| *number > 1);
    let number = number.with_context(|| format!("{} holds no process id", file.display()))?;
    Ok(Pid::from_raw(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_one_process() {
        let file = std::env::temp_dir().join(format!("dhal-pid-{}", std::process::id()));
        for (text, number) in [
            ("4711\n", Some(4711)),
            (" 2 ", Some(2)),
            ("1\n", None),
            ("0\n", None),
            ("-1\n", None),
            ("-4711\n", None),
            ("99999999999\n", None),
            ("4711 4712\n", None),
            ("", None),
            ("nobody\n", None),
        ] {
            std::fs::write(&file, text).expect("written");
            let found = named(&file).ok().map(Pid::as_raw);
            assert_eq!(found, number, "{text:?}");
        }
        std::fs::remove_file(&file).expect("removed");
        let why = named(&file).expect_err("no file").to_string();
        assert!(why.contains("cannot read the pid file"), "{why}");
    }
}
