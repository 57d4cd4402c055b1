//! `dhal run`

use std::path::Path;

use crate::{observe::process_log, server};

pub(super) fn run(path: &Path) -> anyhow::Result<()> {
    process_log::start();
    let loaded = super::load(path)?;
    super::warn(&loaded);
    server::run(path, loaded)
}
