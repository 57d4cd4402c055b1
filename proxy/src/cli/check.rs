//! `dhal check`, `dhal -t`: everything that a start would find, without starting.

use std::path::Path;

use crate::{admin, shared::Shared, snapshot::Snapshot};

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
    let shared = Shared::new(&config.cache, config.server.max_connections);
    let snapshot = Snapshot::build(config, 0, &shared)?;
    let config = &snapshot.config;
    println!(
        "{}: valid, {} listeners, {} upstreams, {} routes",
        path.display(),
        config.listeners.len(),
        config.upstreams.len(),
        config.routes.len()
    );
    Ok(())
}
