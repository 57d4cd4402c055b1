//! The files and the index, kept in step.
//!
//! Within the process, a lock chosen by the name orders what happens to one object's file together
//! with its entry in the index. Between processes nothing does: the index may name files that are
//! gone, and not know files that are there, until a look-up finds out. Locks are taken in the order
//! evicting, name, index.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::index::{Index, PAGE, pages};
use crate::{Options, Trouble};

/// What an object's file is called: the beginning of the key's BLAKE3 hash.
pub(crate) type Id = [u8; 16];

const NAME_LOCKS: usize = 64;

pub(crate) fn id(key: &[u8]) -> Id {
    let mut id = Id::default();
    id.copy_from_slice(&blake3::hash(key).as_bytes()[..16]);
    id
}

/// Which file it is, whatever its name. Only as long as it is open: a number is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }

    fn is_at(self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|metadata| Self::of(&metadata) == self)
    }
}

pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    capacity_pages: AtomicU64,
    max_object: AtomicU64,
    index: Mutex<Index>,
    names: [Mutex<()>; NAME_LOCKS],
    evicting: Mutex<()>,
    /// Begins the names of this one's drafts.
    pub(crate) writer: String,
    drafts: AtomicU64,
    pub(crate) scanned: AtomicBool,
    pub(crate) evicted: AtomicU64,
    pub(crate) damaged: AtomicU64,
}

impl Folder {
    pub(crate) fn open(options: Options) -> io::Result<Self> {
        // Two processes in containers may have the same number, hence the random one.
        let writer =
            format!("{}-{:016x}-", std::process::id(), RandomState::new().build_hasher().finish());
        let folder = Self {
            path: options.path,
            capacity_pages: AtomicU64::new(options.capacity / PAGE),
            max_object: AtomicU64::new(options.max_object),
            index: Mutex::new(Index::new()),
            names: std::array::from_fn(|_| Mutex::new(())),
            evicting: Mutex::new(()),
            writer,
            drafts: AtomicU64::new(0),
            scanned: AtomicBool::new(false),
            evicted: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
        };
        make_folder(&folder.tmp())?;
        for first in 0..=u8::MAX {
            make_folder(&folder.part(first))?;
        }
        Ok(folder)
    }

    /// Other bounds from now on, in bytes. What is beyond them goes by [`enforce_capacity`](Self::enforce_capacity).
    pub(crate) fn resize(&self, capacity: u64, max_object: u64) {
        self.capacity_pages.store(capacity / PAGE, Relaxed);
        self.max_object.store(max_object, Relaxed);
    }

    /// Bytes of content that an object may have.
    pub(crate) fn max_object(&self) -> u64 {
        self.max_object.load(Relaxed)
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// The folder of the objects whose names begin with this byte.
    pub(crate) fn part(&self, first: u8) -> PathBuf {
        self.path.join(format!("{first:02x}"))
    }

    pub(crate) fn path_of(&self, id: &Id) -> PathBuf {
        let mut name = String::with_capacity(35);
        hex(&id[..1], &mut name);
        name.push('/');
        hex(id, &mut name);
        self.path.join(name)
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        // Whoever panicked has not left it between two states: it changes only where nothing can fail.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, id: &Id) -> MutexGuard<'_, ()> {
        let lock = &self.names[usize::from(id[0]) % NAME_LOCKS];
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file of an object and sees to it that the index knows what was found.
    pub(crate) fn find(&self, id: &Id, used: bool) -> io::Result<Option<(File, Metadata)>> {
        let known = if used { self.index().touch(id) } else { self.index().contains(id) };
        let path = self.path_of(id);
        match File::open(&path) {
            Ok(file) => {
                let metadata = file.metadata()?;
                if !known {
                    let _name = self.name(id);
                    if Identity::of(&metadata).is_at(&path) {
                        self.index().insert(*id, pages(metadata.len()));
                    }
                }
                Ok(Some((file, metadata)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if known {
                    let _name = self.name(id);
                    // It may have been written since.
                    if !fs::exists(&path)? {
                        self.index().remove(id);
                    }
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Removes an object; where `only` is given, only if its file is still that one.
    pub(crate) fn remove(&self, id: &Id, only: Option<Identity>) -> io::Result<bool> {
        let path = self.path_of(id);
        let _name = self.name(id);
        if only.is_some_and(|identity| !identity.is_at(&path)) {
            return Ok(false);
        }
        let removed = remove_file(&path)?;
        self.index().remove(id);
        Ok(removed)
    }

    /// Counts a damaged object and removes it. Where that fails there is nothing else to do: it will
    /// be found damaged again.
    pub(crate) fn discard_damaged(&self, id: &Id, identity: Identity) {
        self.damaged.fetch_add(1, Relaxed);
        let _ = self.remove(id, Some(identity));
    }

    /// Reserves room, and removes the objects used longest ago until there is.
    pub(crate) fn reserve(&self, more: u64) -> Result<(), Trouble> {
        if more > self.capacity_pages.load(Relaxed) {
            return Err(Trouble::TooLarge);
        }
        let room = |index: &mut Index| {
            let fits = index.pages() + more <= self.capacity_pages.load(Relaxed);
            index.reserved += if fits { more } else { 0 };
            fits
        };
        if room(&mut self.index()) {
            return Ok(());
        }
        // Who comes second finds the room that the first has made, and does not remove as much again.
        let _evicting = self.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if room(&mut self.index()) {
                return Ok(());
            }
            if self.evict_oldest()? == 0 {
                // Writes under way take it all.
                return Err(io::Error::from(ErrorKind::StorageFull).into());
            }
        }
    }

    /// Removes objects that take so much, because the file system is full before the capacity is
    /// reached. A cache that stores nothing any more serves nobody, and whoever else has filled the
    /// file system needs the room more.
    fn give_way(&self, pages: u64) {
        let _evicting = self.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut given = 0;
        while given < pages {
            match self.evict_oldest() {
                Ok(0) | Err(_) => break,
                Ok(pages) => given += pages,
            }
        }
    }

    /// Removes the object used longest ago and says how much it took. Only with the lock on evicting.
    fn evict_oldest(&self) -> io::Result<u64> {
        let (id, pages) = {
            let mut index = self.index();
            let Some((id, pages)) = index.pop_oldest() else { return Ok(0) };
            // It takes its room until the file is gone.
            index.reserved += pages;
            (id, pages)
        };
        let _name = self.name(&id);
        // Unless it has been written again since.
        let known = self.index().contains(&id);
        let result = if known { Ok(false) } else { remove_file(&self.path_of(&id)) };
        let mut index = self.index();
        index.reserved -= pages;
        match result {
            Ok(removed) => {
                self.evicted.fetch_add(removed.into(), Relaxed);
                // Never 0, which says that there was none.
                Ok(pages.max(1))
            }
            Err(error) => {
                index.insert_oldest(id, pages);
                Err(error)
            }
        }
    }

    /// Removes what is there beyond the capacity.
    pub(crate) fn enforce_capacity(&self) -> io::Result<()> {
        match self.reserve(0) {
            Err(Trouble::Io(error)) if error.kind() != ErrorKind::StorageFull => Err(error),
            _ => Ok(()),
        }
    }

    /// Begins a file that no one else sees yet.
    pub(crate) fn draft(self: &Arc<Self>) -> io::Result<Draft> {
        let number = self.drafts.fetch_add(1, Relaxed);
        let path = self.tmp().join(format!("{}{number:x}", self.writer));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = match options.open(&path) {
            // Someone has emptied the folder by hand.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make_folder(&self.tmp())?;
                options.open(&path)?
            }
            // Without a free inode.
            Err(error) if is_full(&error) => {
                self.give_way(1);
                return Err(error);
            }
            result => result?,
        };
        let folder = Arc::clone(self);
        Ok(Draft { folder, path, file: Arc::new(file), pages: 0, published: false })
    }
}

/// A file that is being written, and the room reserved for it. Dropped unpublished, it is gone.
pub(crate) struct Draft {
    pub(crate) folder: Arc<Folder>,
    path: PathBuf,
    pub(crate) file: Arc<File>,
    pages: u64,
    published: bool,
}

impl Draft {
    /// Makes room for a file of this size.
    pub(crate) fn reserve(&mut self, size: u64) -> Result<(), Trouble> {
        let needed = pages(size);
        if needed > self.pages {
            self.folder.reserve(needed - self.pages)?;
            self.pages = needed;
        }
        Ok(())
    }

    /// Passes on how a write to the file went; if the file system was full, there is room for the next.
    pub(crate) fn written<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            if is_full(error) {
                self.folder.give_way(self.pages);
            }
        })
    }

    /// Makes it the object of this name; where `replaces` is given, only if it still replaces that
    /// file.
    pub(crate) fn publish(mut self, id: &Id, replaces: Option<Identity>) -> io::Result<bool> {
        let folder = Arc::clone(&self.folder);
        let path = folder.path_of(id);
        let _name = folder.name(id);
        if replaces.is_some_and(|identity| !identity.is_at(&path)) {
            return Ok(false);
        }
        match fs::rename(&self.path, &path) {
            // Someone has emptied the folder by hand.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make_folder(&folder.part(id[0]))?;
                fs::rename(&self.path, &path)?;
            }
            result => result?,
        }
        self.published = true;
        let mut index = folder.index();
        let taken = std::mem::take(&mut self.pages);
        index.reserved -= taken;
        index.insert(*id, taken);
        Ok(true)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.pages > 0 {
            self.folder.index().reserved -= self.pages;
        }
        if !self.published {
            // Where this fails, a scan removes it later.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Removes a file and says whether it was there.
pub(crate) fn remove_file(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn hex(bytes: &[u8], text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests;
