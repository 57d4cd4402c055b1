//! What can fail outside of the files, with the place of the key that asks for it.

use std::path::Path;

use crate::{
    admin::{Change as AdminChange, Endpoints},
    config::{
        self, Severity,
        model::{Admin, Config},
    },
    handover::Inherited,
    listen::sockets::{Change, Sockets},
    sandbox::{self, Identity},
    server::pid_file::PidFile,
};

/// Writes the pid file; the error has the place of its key.
pub(in crate::server) fn write_pid(path: &Path, file: Option<&Path>) -> Result<PidFile, String> {
    let written = PidFile::write(path);
    written.map_err(|why| {
        let why = format!("cannot write the pid file {}: {why}", path.display());
        at_key(file, (&["server", "pid_file"], None), &why)
    })
}

/// Binds what a configuration listens on; the error has the place of the address.
pub(in crate::server) fn listeners(sockets: &Sockets, config: &Config) -> Result<Change, String> {
    let change = sockets.prepare(&config.listeners).map_err(|why| {
        let mut listeners = config.listeners.iter();
        match listeners.find(|listener| listener.address == why.address) {
            Some(listener) => {
                let help = sandbox::low_port(listener.address.port(), &why.why);
                let complaint = (listener.place).complain(Severity::Error, why.to_string(), help);
                complaint.to_string()
            }
            None => why.to_string(),
        }
    })?;
    for address in &change.added {
        tracing::info!(%address, "listening");
    }
    Ok(change)
}

/// What is wrong with a key, with its place, where the configuration is that of a file. Blocks.
pub(in crate::server) fn at_key(
    file: Option<&Path>,
    key: config::KeyPath<'_>,
    why: &str,
) -> String {
    match file {
        Some(file) => config::at_key(file, &|name| std::env::var(name).ok(), key, why),
        None => why.to_owned(),
    }
}

/// Reads the token and binds what is new of the admin endpoint; the error has the place of the key.
pub(in crate::server) fn admin(
    endpoints: &Endpoints,
    admin: Option<&Admin>,
    inherited: Option<&mut Inherited>,
    owner: Option<&Identity>,
    file: Option<&Path>,
) -> Result<AdminChange, String> {
    let prepared = endpoints.prepare(admin, inherited, owner);
    prepared.map_err(|(item, why)| {
        let key: &[&str] = match item {
            Some(_) => &["admin", "address"],
            None if why.to_string().starts_with("admin.group") => &["admin", "group"],
            None => &["admin", "token_file"],
        };
        at_key(file, (key, item), &format!("{why:#}"))
    })
}
