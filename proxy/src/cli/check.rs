//! `dhal check`, `dhal -t`: everything that a start would find, without starting.

use std::path::Path;

use super::{remark, say};
use crate::{
    acme,
    config::{
        self,
        model::{Cache, Config},
    },
    sandbox,
    shared::Shared,
    snapshot::Snapshot,
};

pub(super) fn check(path: &Path) -> anyhow::Result<()> {
    let loaded = config::check(path, &|name| std::env::var(name).ok())?;
    super::warn(&loaded);
    for what in sandbox::check(&loaded.config, &loaded.files, &loaded.folders)? {
        remark!("warning: {what}");
    }
    let files = loaded.files.len();
    let config = loaded.config;
    // The folder is not touched by a check.
    let in_memory = Cache {
        disk: None,
        ..config.cache.clone()
    };
    let (shared, _) = Shared::new(&in_memory, config.server.max_connections);
    let snapshot = Snapshot::build(config, 0, &shared)?;
    let config = &snapshot.config;
    let files = match files {
        1 => String::new(),
        files => format!(" in {files} files"),
    };
    for line in plan(config)? {
        say!("acme: {line}")?;
    }
    for name in config
        .acme
        .iter()
        .flat_map(|acme| acme.certificates.iter().flatten())
    {
        if snapshot
            .certificates
            .as_ref()
            .is_some_and(|files| files.table().named(name).is_some())
        {
            say!(
                "acme: {name}: visitors see the certificate of [[certificates]], which goes first"
            )?;
        }
    }
    say!(
        "{}: valid, {} listeners, {} upstreams, {} routes{files}",
        path.display(),
        config.listeners.len(),
        config.upstreams.len(),
        config.routes.len()
    )
}

/// What would be ordered.
fn plan(config: &Config) -> anyhow::Result<Vec<String>> {
    let planned = config.acme.as_ref().map(acme::planned);
    planned
        .unwrap_or(Ok(Vec::new()))
        .map_err(anyhow::Error::msg)
}
