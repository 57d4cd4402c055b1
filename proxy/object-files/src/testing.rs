//! What several tests need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::folder::id;
use crate::{Files, Options, Trouble};

pub(crate) const KIB: u64 = 1024;

/// What is stored under a key: the meta and the sections.
pub(crate) type Stored = (Vec<u8>, Vec<Vec<u8>>);

/// A folder in memory where there is one: each test makes hundreds of folders and files.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn open(path: &Path, capacity: u64) -> Files {
    Files::open(Options { path: path.to_owned(), capacity, max_object: capacity }).unwrap()
}

pub(crate) fn read(files: &Files, key: &[u8]) -> Result<Option<Stored>, Trouble> {
    let Some(object) = files.get(key)? else { return Ok(None) };
    let lengths = object.section_lengths().iter().enumerate();
    let sections = lengths.map(|(section, length)| {
        let bytes = object.read_at(section, 0, *length as usize)?;
        assert_eq!(bytes.len() as u64, *length);
        Ok(bytes.to_vec())
    });
    let sections = sections.collect::<Result<_, Trouble>>()?;
    Ok(Some((object.meta().to_vec(), sections)))
}

/// Bytes of which no two blocks are alike, nor those of two seeds.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) fn path_of(folder: &Path, key: &[u8]) -> PathBuf {
    let name: String = id(key).iter().map(|byte| format!("{byte:02x}")).collect();
    folder.join(&name[..2]).join(name)
}

/// All files in the folders of a folder.
pub(crate) fn all(folder: &Path) -> Vec<PathBuf> {
    let entries = |path: &Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries(folder).flat_map(|folder| entries(&folder).collect::<Vec<_>>()).collect()
}

/// The bytes that the files take, rounded as the capacity counts them.
pub(crate) fn taken(folder: &Path) -> u64 {
    all(folder).iter().map(|path| fs::metadata(path).unwrap().len().next_multiple_of(4 * KIB)).sum()
}

/// A small file system of its own, for those who may mount one.
pub(crate) struct Tmpfs(pub(crate) TempDir);

impl Tmpfs {
    /// `None`, said loudly: the test cannot run here.
    pub(crate) fn mount(options: &str) -> Option<Self> {
        let folder = folder();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("SKIPPED: no file system can be mounted here, which takes root");
        None
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        let status = mount.args(["-o", &format!("remount,{options}")]).arg(self.path()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
