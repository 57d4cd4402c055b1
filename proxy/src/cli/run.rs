//! `dhal run`

use std::path::Path;

use crate::{config, observe::process_log, server};

pub(super) fn run(path: &Path) -> anyhow::Result<()> {
    process_log::start();
    let loaded = super::load(path)?;
    eprint!("{}", config::render(&loaded.warnings));
    server::run(path, loaded.config)
}
