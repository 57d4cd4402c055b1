//! The file that holds the process id.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::handover::life;

/// The file, removed when this is dropped, unless another process has written its own number there.
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it.
    pub(super) fn write(path: &Path) -> io::Result<Self> {
        life::write_pid(path)?;
        Ok(Self(path.to_owned()))
    }

    /// Writes it again where somebody has removed it.
    pub(super) fn restore(&self) {
        let is_lost = fs::symlink_metadata(&self.0);
        if is_lost.is_err_and(|why| why.kind() == io::ErrorKind::NotFound)
            && let Err(why) = life::write_pid(&self.0)
        {
            tracing::warn!(path = %self.0.display(), %why, "cannot write the pid file again");
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if fs::read_to_string(&self.0).is_ok_and(|text| text == number()) {
            // In a folder that is not ours nothing can be removed; a file without a number names no stranger.
            if fs::remove_file(&self.0).is_err() {
                let _ = fs::write(&self.0, "");
            }
        }
    }
}

fn number() -> String {
    format!("{}\n", std::process::id())
}
