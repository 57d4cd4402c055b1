//! Opening files beneath a folder, so that neither `..` nor a link leads out of it, whoever renames what meanwhile.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2},
    io::Errno,
};

/// So long is a folder taken for the one that its path names: a release that is put in force by changing a link is
/// seen no later.
const HELD: Duration = Duration::from_secs(1);
/// Times that a path is resolved anew because something was renamed meanwhile.
const ROUNDS: usize = 4;

/// Which links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symlinks {
    /// None.
    None,
    /// Those that stay in the folder; absolute ones do not.
    Within,
    /// All.
    All,
}

/// A folder with files.
pub struct Folder {
    path: PathBuf,
    symlinks: Symlinks,
    held: Mutex<Option<(Instant, Arc<OwnedFd>)>>,
}

/// Whether opening may wait for a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It may not: what the system does not know by heart is [`io::ErrorKind::WouldBlock`].
    None,
    /// It may.
    Disk,
}

impl Folder {
    /// A folder that is opened when it is needed.
    pub fn new(path: &Path, symlinks: Symlinks) -> Self {
        Self {
            path: path.to_owned(),
            symlinks,
            held: Mutex::default(),
        }
    }

    /// Whether it is there; may wait for a disk.
    pub fn look(&self) -> io::Result<()> {
        self.handle(Patience::Disk).map(drop)
    }

    fn handle(&self, patience: Patience) -> io::Result<Arc<OwnedFd>> {
        let now = Instant::now();
        let held = |held: &Option<(Instant, Arc<OwnedFd>)>| match held {
            Some((since, handle)) if now.saturating_duration_since(*since) < HELD => {
                Some(Arc::clone(handle))
            }
            _ => None,
        };
        if let Some(handle) = held(&self.held.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(handle);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match patience {
            Patience::None => openat2(CWD, &self.path, flags, Mode::empty(), ResolveFlags::CACHED)
                .map_err(without_cache)?,
            Patience::Disk => openat(CWD, &self.path, flags, Mode::empty())?,
        };
        let handle = Arc::new(opened);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some((now, Arc::clone(&handle)));
        Ok(handle)
    }

    /// Opens something beneath it for reading. `path` is relative, of segments that are no dots.
    pub fn open(&self, path: &Path, patience: Patience) -> io::Result<File> {
        let root = self.handle(patience)?;
        // A pipe must not keep us waiting for a writer, and a terminal must not become ours.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut resolve = match self.symlinks {
            Symlinks::None => {
                ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS
            }
            Symlinks::Within => ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
            Symlinks::All => ResolveFlags::NO_MAGICLINKS,
        };
        if patience == Patience::None {
            resolve |= ResolveFlags::CACHED;
        }
        for _ in 0..ROUNDS {
            match openat2(&root, path, flags, Mode::empty(), resolve) {
                Ok(file) => return Ok(file.into()),
                Err(Errno::AGAIN) if patience == Patience::Disk => {}
                Err(why) if patience == Patience::None => return Err(without_cache(why)),
                // A system before Linux 5.6, or a sandbox that does not know the call.
                Err(Errno::NOSYS | Errno::PERM) => return self.walk(&root, path, flags),
                Err(why) => return Err(why.into()),
            }
        }
        Err(Errno::NOENT.into())
    }

    /// The same step by step. It follows no link, unless all may be followed.
    fn walk(&self, root: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<File> {
        if self.symlinks == Symlinks::All {
            return Ok(openat(root, path, flags, Mode::empty())?.into());
        }
        let mut steps = path.iter().peekable();
        let mut folder: Option<OwnedFd> = None;
        while let Some(step) = steps.next() {
            let at = folder.as_ref().map_or_else(|| root.as_fd(), AsFd::as_fd);
            if steps.peek().is_none() {
                let flags = flags | OFlags::NOFOLLOW;
                return Ok(openat(at, step, flags, Mode::empty())?.into());
            }
            let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = Some(openat(at, step, through, Mode::empty())?);
        }
        Ok(openat(root, ".", flags, Mode::empty())?.into())
    }
}

/// What a system that cannot answer without waiting says in its several ways.
fn without_cache(why: Errno) -> io::Error {
    match why {
        Errno::AGAIN | Errno::NOSYS | Errno::PERM | Errno::INVAL => {
            io::ErrorKind::WouldBlock.into()
        }
        why => why.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, os::unix::fs::symlink};

    use super::*;

    /// A folder for a test, which goes with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let id = std::process::id();
            let path = std::env::temp_dir().join(format!("dhal-beneath-{name}-{id}"));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("www/sub")).expect("made");
            fs::write(path.join("secret"), "secret").expect("written");
            fs::write(path.join("www/a"), "a").expect("written");
            fs::write(path.join("www/sub/b"), "b").expect("written");
            for (link, to) in [
                ("www/in", "sub/b".to_owned()),
                ("www/sub/up", "../a".to_owned()),
                ("www/out", "../secret".to_owned()),
                ("www/away", path.display().to_string()),
                ("www/absolute", path.join("www/a").display().to_string()),
                ("www/loop", "loop".to_owned()),
            ] {
                symlink(to, path.join(link)).expect("linked");
            }
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn content(file: io::Result<File>) -> Option<String> {
        let mut text = String::new();
        file.ok()?.read_to_string(&mut text).ok()?;
        Some(text)
    }

    #[test]
    fn nothing_leads_out() {
        let place = Place::new("links");
        let root = place.0.join("www");
        for (path, none, within, all) in [
            ("a", Some("a"), Some("a"), Some("a")),
            ("sub/b", Some("b"), Some("b"), Some("b")),
            ("in", None, Some("b"), Some("b")),
            ("sub/up", None, Some("a"), Some("a")),
            ("out", None, None, Some("secret")),
            ("away/secret", None, None, Some("secret")),
            ("absolute", None, None, Some("a")),
            ("loop", None, None, None),
            ("none", None, None, None),
            ("a/b", None, None, None),
            // Nobody asks so, but if.
            ("../secret", None, None, Some("secret")),
        ] {
            for (symlinks, wanted) in [
                (Symlinks::None, none),
                (Symlinks::Within, within),
                (Symlinks::All, all),
            ] {
                let folder = Folder::new(&root, symlinks);
                let opened = content(folder.open(Path::new(path), Patience::Disk));
                assert_eq!(opened.as_deref(), wanted, "{path} {symlinks:?}");
                // What the system knows by heart by now is the same.
                let quick = folder.open(Path::new(path), Patience::None);
                if !matches!(&quick, Err(why) if why.kind() == io::ErrorKind::WouldBlock) {
                    assert_eq!(content(quick).as_deref(), wanted, "{path} {symlinks:?}");
                }
            }
        }
    }

    #[test]
    fn a_system_without_the_call_follows_no_link() {
        let place = Place::new("walk");
        let folder = Folder::new(&place.0.join("www"), Symlinks::Within);
        let root = folder.handle(Patience::Disk).expect("a folder");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        for (path, wanted) in [
            ("a", Some("a")),
            ("sub/b", Some("b")),
            ("in", None),
            ("sub/up", None),
            ("out", None),
            ("away/secret", None),
        ] {
            let opened = content(folder.walk(&root, Path::new(path), flags));
            assert_eq!(opened.as_deref(), wanted, "{path}");
        }
    }

    #[test]
    fn another_release_is_seen() {
        let place = Place::new("release");
        let other = place.0.join("other");
        fs::create_dir(&other).expect("made");
        fs::write(other.join("a"), "new").expect("written");
        let link = place.0.join("current");
        symlink(place.0.join("www"), &link).expect("linked");
        let folder = Folder::new(&link, Symlinks::Within);
        let a = || content(folder.open(Path::new("a"), Patience::Disk));
        assert_eq!(a().as_deref(), Some("a"));
        let next = place.0.join("next");
        symlink(&other, &next).expect("linked");
        fs::rename(&next, &link).expect("renamed");
        let until = Instant::now() + HELD * 5;
        while a().as_deref() != Some("new") {
            assert!(Instant::now() < until, "the old release stays");
            std::thread::yield_now();
        }
    }
}
