//! `dhal run`

use std::path::Path;

use crate::{config, observe::process_log, server, snapshot::BuildError};

pub(super) fn run(path: &Path) -> anyhow::Result<()> {
    process_log::start();
    let loaded = super::load(path)?;
    super::warn(&loaded);
    server::run(path, loaded).map_err(|why| match why.is::<BuildError>() {
        true => anyhow::Error::msg(config::located(
            path,
            &|name| std::env::var(name).ok(),
            &why,
        )),
        false => why,
    })
}
