//! The secrets that sign a room's tickets.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use waiting_room::Keys;

use crate::regular;

/// Octets of a secret: as many as the hash has, at least.
const LEAST: usize = 32;
const MOST: usize = 4_096;

/// Reads the keys of a room; without any it has one of its own.
pub(super) fn load(room: &str, files: &[(String, PathBuf)], own: &[u8]) -> Result<Keys, String> {
    if files.is_empty() {
        return Ok(Keys::new(room, [("", own)]));
    }
    let secrets = files
        .iter()
        .map(|(id, path)| Ok((id.as_str(), secret(path)?)));
    let secrets: Vec<_> = secrets.collect::<Result<_, String>>()?;
    let keys = secrets.iter().map(|(id, secret)| (*id, secret.as_slice()));
    Ok(Keys::new(room, keys))
}

/// Reads the secret of a key; the error is a sentence.
pub(crate) fn secret(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |why| format!("cannot read the key {}: {why}", path.display());
    let mut octets = Vec::new();
    let file = regular::open(path).map_err(cannot)?;
    file.take(MOST as u64 + 2)
        .read_to_end(&mut octets)
        .map_err(cannot)?;
    // Whatever wrote it has most likely ended the line.
    while octets.last().is_some_and(|octet| b"\r\n".contains(octet)) {
        octets.pop();
    }
    if !(LEAST..=MOST).contains(&octets.len()) {
        return Err(format!(
            "the key {} has {} bytes; between {LEAST} and {MOST} make one, such as `openssl rand -hex 32` writes",
            path.display(),
            octets.len()
        ));
    }
    Ok(octets)
}
