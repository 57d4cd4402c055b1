//! Whether the files of the configuration have changed.
//!
//! Files are looked at, not listened to: a look sees through symbolic links that are swapped as a whole, files that
//! are moved into place, network and container file systems alike. What has changed counts when two looks in a row
//! find the same, so that nobody reads what is half written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::regular;

/// Bytes of a file that are looked at: more than any file of a configuration may have.
const FILE_MAX: u64 = 16 << 20;
/// Files of a folder that are looked at: more than may be included.
const NAMES_MAX: usize = 1_024;

/// What a file holds; `None` where there is none, or none that can be read.
type Content = Option<blake3::Hash>;

/// What the files hold.
pub(super) type Contents = BTreeMap<PathBuf, Content>;

/// Tells without reading whether a file may have changed: device, number, size, and the times of content and entry.
type Identity = (u64, u64, u64, [i64; 4]);

/// Looks at files.
#[derive(Default, Clone)]
pub(super) struct Watcher {
    known: BTreeMap<PathBuf, (Identity, Content)>,
    /// What was found by the look before, where it was something new.
    pending: Option<Contents>,
}

impl Watcher {
    /// Reads what has changed of these files, and of those that may be read from these folders.
    pub(super) fn contents(&mut self, files: &[PathBuf], folders: &[PathBuf]) -> Contents {
        let found = folders.iter().flat_map(|folder| in_folder(folder));
        let all: BTreeSet<_> = files.iter().cloned().chain(found).collect();
        self.known.retain(|path, _| all.contains(path));
        let content = |path: PathBuf| {
            let content = self.content(&path);
            (path, content)
        };
        all.into_iter().map(content).collect()
    }

    fn content(&mut self, path: &Path) -> Content {
        let Ok(metadata) = fs::metadata(path) else {
            self.known.remove(path);
            return None;
        };
        let identity = identity(&metadata);
        if let Some((known, content)) = self.known.get(path)
            && *known == identity
        {
            return *content;
        }
        let content = read(path);
        // What could not be read is tried again, whatever its times say.
        if content.is_some() {
            self.known.insert(path.to_owned(), (identity, content));
        }
        content
    }

    /// Whether it is time to take up what was found, given what was taken up last.
    pub(super) fn is_due(&mut self, taken_up: &Contents, found: Contents) -> bool {
        if found == *taken_up {
            self.pending = None;
            return false;
        }
        if self.pending.as_ref() == Some(&found) {
            self.pending = None;
            return true;
        }
        self.pending = Some(found);
        false
    }
}

fn identity(metadata: &Metadata) -> Identity {
    let times = [
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ];
    (metadata.dev(), metadata.ino(), metadata.size(), times)
}

fn read(path: &Path) -> Content {
    Some(blake3::hash(&regular::read(path, FILE_MAX).ok()?))
}

/// The files in a folder that may belong to a configuration.
fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let belongs = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        name.ends_with(b".toml") && !name.starts_with(b".")
    };
    paths.filter(belongs).take(NAMES_MAX).collect()
}

#[cfg(test)]
mod tests;
