//! Files that are read anew when they change, and what was last read of them that could be used.
//!
//! They are looked at rather than told of: what a rename, a symbolic link that leads elsewhere, a shared
//! file system or a secret of a container's do to a file all show in what the system says of it.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::regular;

/// Largest file of certificates: a bundle of authorities has some 250 KiB, a list of a hundred thousand
/// revocations some 4 MiB.
pub(super) const FILE_MAX: u64 = 16 << 20;
/// A file that was written so lately may be written once more without a change that the system tells.
const YOUNG: Duration = Duration::from_secs(3);

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// It moves even where a copy keeps the time of its original.
    changed: (i64, i64),
}

impl Seen {
    fn of(path: &Path) -> io::Result<Self> {
        let told = std::fs::metadata(path)?;
        if !told.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        Ok(Self {
            device: told.dev(),
            inode: told.ino(),
            size: told.size(),
            modified: (told.mtime(), told.mtime_nsec()),
            changed: (told.ctime(), told.ctime_nsec()),
        })
    }

    fn is_young(&self) -> bool {
        let seconds = u64::try_from(self.changed.0.max(self.modified.0)).unwrap_or_default();
        let changed = UNIX_EPOCH + Duration::from_secs(seconds);
        // One from the future stays young; the time is not to be relied on then.
        SystemTime::now()
            .duration_since(changed)
            .is_ok_and(|age| age < YOUNG)
    }
}

/// What a look has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// All is as it was.
    None,
    /// The files hold something else, which can be used.
    Replaced,
    /// The files hold something else, which cannot; what there was before stays.
    Failed,
}

/// What was read of some files together.
#[derive(Debug)]
pub(super) struct Watched<T> {
    paths: Vec<PathBuf>,
    /// `None` where the content has to be looked at in any case.
    seen: Option<Vec<Seen>>,
    digest: Option<blake3::Hash>,
    good: Option<Arc<T>>,
    error: Option<Arc<str>>,
}

impl<T> Watched<T> {
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            seen: None,
            digest: None,
            good: None,
            error: None,
        }
    }

    /// The last content that could be used.
    pub(super) fn good(&self) -> Option<&Arc<T>> {
        self.good.as_ref()
    }

    /// Why the present content cannot.
    pub(super) fn error(&self) -> Option<&Arc<str>> {
        self.error.as_ref()
    }

    /// Reads what has changed since the last look. `parse` is given the content of the files in their order.
    pub(super) fn look(&mut self, parse: impl FnOnce(&[Vec<u8>]) -> Result<T, String>) -> News {
        let seen: Option<Vec<Seen>> = self.paths.iter().map(|path| Seen::of(path).ok()).collect();
        if seen.is_some() && seen == self.seen {
            return News::None;
        }
        let read: Result<Vec<_>, String> = self.paths.iter().map(|path| read(path)).collect();
        let digest = digest(&read);
        let is_same = self.digest == Some(digest);
        self.digest = Some(digest);
        // What is broken, or may be in the middle of being written, is looked at again next time.
        self.seen = seen.filter(|seen| read.is_ok() && !seen.iter().any(Seen::is_young));
        if is_same {
            return News::None;
        }
        match read.and_then(|contents| parse(&contents)) {
            Ok(parsed) => {
                self.good = Some(Arc::new(parsed));
                self.error = None;
                News::Replaced
            }
            Err(why) => {
                self.error = Some(why.into());
                News::Failed
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    regular::read(path, FILE_MAX).map_err(|why| format!("{}: {why}", path.display()))
}

fn digest(read: &Result<Vec<Vec<u8>>, String>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    match read {
        Ok(contents) => {
            for content in contents {
                hasher.update(&(content.len() as u64).to_le_bytes());
                hasher.update(content);
            }
        }
        Err(why) => {
            hasher.update(why.as_bytes());
        }
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both files must say the same.
    fn twins(contents: &[Vec<u8>]) -> Result<String, String> {
        match contents {
            [one, other] if one == other => Ok(String::from_utf8_lossy(one).into()),
            _ => Err("they differ".to_owned()),
        }
    }

    #[test]
    fn what_fits_is_taken_and_stays() {
        let folder = std::env::temp_dir().join(format!("dhal-watched-{}", crate::random::next()));
        std::fs::create_dir_all(&folder).unwrap();
        let (one, other) = (folder.join("one"), folder.join("other"));
        let mut watched = Watched::new(vec![one.clone(), other.clone()]);
        let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
        assert_eq!(watched.look(twins), News::Failed, "there is nothing");
        assert_eq!(watched.look(twins), News::None, "it is told once");
        write(&one, "a");
        write(&other, "a");
        assert_eq!(watched.look(twins), News::Replaced);
        assert_eq!(watched.look(twins), News::None);
        assert_eq!(watched.good().map(|s| s.as_str()), Some("a"));
        // One after the other, in the same moment and of the same length.
        write(&one, "b");
        assert_eq!(watched.look(twins), News::Failed);
        assert_eq!(watched.look(twins), News::None);
        assert_eq!(watched.good().map(|s| s.as_str()), Some("a"));
        assert_eq!(watched.error().map(|why| &**why), Some("they differ"));
        write(&other, "b");
        assert_eq!(watched.look(twins), News::Replaced);
        assert_eq!(watched.error(), None);
        std::fs::remove_file(&one).unwrap();
        assert_eq!(watched.look(twins), News::Failed);
        assert_eq!(watched.good().map(|s| s.as_str()), Some("b"));
        // A link to another content.
        write(&folder.join("third"), "b");
        std::os::unix::fs::symlink(folder.join("third"), &one).unwrap();
        assert_eq!(watched.look(twins), News::Replaced, "it fits again");
        // Long ago written, and by a copy that keeps the times.
        let long_ago = SystemTime::now() - Duration::from_secs(86_400);
        for (text, news) in [("c", News::Replaced), ("d", News::Replaced)] {
            for path in [&folder.join("third"), &other] {
                write(path, text);
                let file = std::fs::File::options().write(true).open(path).unwrap();
                file.set_modified(long_ago).unwrap();
            }
            assert_eq!(watched.look(twins), news, "{text}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
