//! `dhal check`, `dhal -t`: everything that a start would find, without starting.

use std::path::Path;

use nix::{
    errno::Errno,
    unistd::{AccessFlags, access},
};

use crate::{
    acme, admin,
    config::model::{Cache, Config},
    shared::Shared,
    snapshot::Snapshot,
};

pub(super) fn check(path: &Path) -> anyhow::Result<()> {
    let loaded = super::load(path)?;
    super::warn(&loaded);
    let config = loaded.config;
    if let Some(token) = config
        .admin
        .as_ref()
        .and_then(|admin| admin.token_file.as_deref())
    {
        admin::read_token(token)?;
    }
    if let Some(disk) = &config.cache.disk
        && let Err(why) = writable(&disk.path)
    {
        // Whoever checks is not always who runs it, so this is no error.
        eprintln!(
            "{}: warning: the disk store's folder {} cannot be written by this user: {}\n",
            path.display(),
            disk.path.display(),
            why.desc()
        );
    }
    // The folder is not touched by a check.
    let in_memory = Cache {
        disk: None,
        ..config.cache.clone()
    };
    let (shared, _) = Shared::new(&in_memory, config.server.max_connections);
    let snapshot = Snapshot::build(config, 0, &shared)?;
    let config = &snapshot.config;
    for line in plan(config)? {
        println!("acme: {line}");
    }
    for name in config
        .acme
        .iter()
        .flat_map(|acme| acme.certificates.iter().flatten())
    {
        if snapshot
            .certificates
            .as_ref()
            .is_some_and(|files| files.named(name).is_some())
        {
            println!(
                "acme: {name}: visitors see the certificate of [[certificates]], which goes first"
            );
        }
    }
    println!(
        "{}: valid, {} listeners, {} upstreams, {} routes",
        path.display(),
        config.listeners.len(),
        config.upstreams.len(),
        config.routes.len()
    );
    Ok(())
}

/// What would be ordered.
fn plan(config: &Config) -> anyhow::Result<Vec<String>> {
    let Some(acme) = &config.acme else {
        return Ok(Vec::new());
    };
    if let Err(why) = writable(&acme.storage) {
        eprintln!(
            "warning: the folder {} of acme.storage cannot be written by this user: {}\n",
            acme.storage.display(),
            why.desc()
        );
    }
    acme::planned(acme).map_err(anyhow::Error::msg)
}

/// Whether the folder can be written, or made where it is not there yet.
fn writable(folder: &Path) -> Result<(), Errno> {
    for folder in folder.ancestors() {
        // A relative path ends with an empty one, which stands for the present folder.
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        match access(folder, AccessFlags::W_OK | AccessFlags::X_OK) {
            Err(Errno::ENOENT) => {}
            Ok(()) if !folder.is_dir() => return Err(Errno::ENOTDIR),
            outcome => return outcome,
        }
    }
    Err(Errno::ENOENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_can_be_written_or_made() {
        let own = std::env::temp_dir();
        assert_eq!(writable(&own), Ok(()));
        assert_eq!(writable(&own.join("none/of/these")), Ok(()));
        let file = std::env::current_exe().unwrap();
        assert_eq!(writable(&file), Err(Errno::ENOTDIR));
        assert_eq!(writable(&file.join("store")), Err(Errno::ENOTDIR));
    }
}
