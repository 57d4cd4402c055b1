//! What callers hold.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use crate::folder::{self, Folder, Id, Identity};
use crate::format::{Checksums, Frame, HEADER};
use crate::index::PAGE;
use crate::object::{Contents, Object};
use crate::writer::Writer;
use crate::{Options, Stats, Trouble, scan};

/// How old the mark of use on a file may become before a look-up renews it. The order of use after a
/// restart is as exact as this.
const MARK_AGE_MAX: Duration = Duration::from_secs(600);
/// A file up to this size is put together in memory and written with one call.
const WRITTEN_AT_ONCE: u64 = 64 * 1024;

/// Objects under byte keys, in files.
///
/// [`open`](Self::open) it, have one thread [`scan`](Self::scan) it, and use it meanwhile:
/// [`get`](Self::get) what is there, and add to it whole by [`put`](Self::put) or piece by piece by
/// [`create`](Self::create).
pub struct Files {
    folder: Arc<Folder>,
}

impl Files {
    /// Makes the folders where they are missing. Objects are found at once, by the name that follows
    /// from the key; the index comes with [`scan`](Self::scan).
    pub fn open(options: Options) -> io::Result<Self> {
        Ok(Self { folder: Arc::new(Folder::open(options)?) })
    }

    /// Fills the index from the folder, in the order of use, removes what interrupted writes left
    /// behind more than a minute ago, and what is beyond the capacity. Says how many objects there
    /// are and how many bytes they take.
    ///
    /// Once is enough for a process that is alone. One that has relieved another does it again when
    /// that has ended: what the other wrote last counts only then, unless it was looked up.
    pub fn scan(&self) -> io::Result<(u64, u64)> {
        scan::scan(&self.folder)
    }

    /// Sets other bounds, and removes what is beyond them: the objects used longest ago. Objects that are larger than
    /// `max_object` stay until it is their turn. Blocks for as long as removing takes.
    pub fn resize(&self, capacity: u64, max_object: u64) -> io::Result<()> {
        self.folder.resize(capacity, max_object);
        self.folder.enforce_capacity()
    }

    /// Saves a look-up: false only if the index is complete and does not have the object.
    pub fn may_hold(&self, key: &[u8]) -> bool {
        !self.folder.scanned.load(Relaxed) || self.folder.index().contains(&folder::id(key))
    }

    /// Looks an object up, which counts as use. A damaged one has been removed.
    pub fn get(&self, key: &[u8]) -> Result<Option<Object>, Trouble> {
        let id = folder::id(key);
        let Some(found) = self.find(&id, true)? else { return Ok(None) };
        // Two keys with one name: practically, someone has copied files about.
        if found.contents.key != key {
            return Ok(None);
        }
        let Found { file, identity, used, contents } = found;
        let now = SystemTime::now();
        let age = now.duration_since(used).unwrap_or_else(|ahead| ahead.duration());
        if age > MARK_AGE_MAX {
            // On a read-only file system this fails, and the order does not matter.
            let _ = file.set_modified(now);
        }
        Ok(Some(Object::new(&self.folder, id, file, identity, contents)))
    }

    /// The meta of an object and the lengths of its sections, for somebody who only wants to know: that does not count
    /// as use, and what is damaged stays for others to find.
    pub fn look(&self, key: &[u8]) -> Option<(bytes::Bytes, Vec<u64>)> {
        let id = folder::id(key);
        let (file, metadata) = self.folder.find(&id, false).ok()??;
        let contents = Contents::read(&file, &metadata, &id).ok()??;
        (contents.key == key).then_some((contents.meta, contents.lengths))
    }

    /// Stores an object: by convention section 0 is the content, and others are forms of it.
    pub fn put(&self, key: &[u8], meta: &[u8], sections: &[&[u8]]) -> Result<(), Trouble> {
        let lengths: Vec<u64> = sections.iter().map(|section| section.len() as u64).collect();
        let content: u64 = lengths.iter().sum();
        if content > self.folder.max_object() {
            return Err(Trouble::TooLarge);
        }
        let mut checksums = Checksums::default();
        for section in sections {
            checksums.update(section);
            checksums.end_section();
        }
        let id = folder::id(key);
        let frame = Frame::new(&id, key, meta, &lengths, &checksums.finish())?;
        let mut draft = self.folder.draft()?;
        let size = frame.file_size(content);
        draft.reserve(size)?;
        draft.written(write(&draft.file, size, &frame, sections))?;
        draft.publish(&id, None)?;
        Ok(())
    }

    /// Begins an object whose content arrives piece by piece.
    pub fn create(&self) -> Result<Writer, Trouble> {
        Ok(Writer::new(self.folder.draft()?))
    }

    /// Replaces the meta of an object and keeps its sections. False if there is no such object, or
    /// another one has taken its place meanwhile.
    pub fn replace_meta(&self, key: &[u8], meta: &[u8]) -> Result<bool, Trouble> {
        self.replace_meta_if(key, meta, &|_| true)
    }

    /// The same, only if `fits` says yes to the meta that is there. False if it does not.
    pub fn replace_meta_if(
        &self,
        key: &[u8],
        meta: &[u8],
        fits: &dyn Fn(&[u8]) -> bool,
    ) -> Result<bool, Trouble> {
        let id = folder::id(key);
        let Some(Found { file, identity, contents, .. }) = self.find(&id, true)? else {
            return Ok(false);
        };
        if contents.key != key || !fits(&contents.meta) {
            return Ok(false);
        }
        let frame = Frame::new(&id, key, meta, &contents.lengths, &contents.checksums)?;
        let mut draft = self.folder.draft()?;
        draft.reserve(frame.file_size(contents.content()))?;
        let mut to = &*draft.file;
        let mut write = || {
            to.write_all(&frame.header)?;
            match &contents.sections {
                Some(sections) => to.write_all(sections)?,
                None => copy_sections(&file, to, contents.content())?,
            }
            to.write_all(&frame.trailer)
        };
        draft.written(write())?;
        Ok(draft.publish(&id, Some(identity))?)
    }

    /// Removes an object and says whether it did. On a read-only file system nothing can be removed:
    /// what must not be served any more has to be remembered elsewhere.
    pub fn remove(&self, key: &[u8]) -> bool {
        self.folder.remove(&folder::id(key), None).unwrap_or(false)
    }

    /// Shows `keep` the key and the meta of each object in the index and removes those it does not
    /// want. What is stored while this goes on may be passed over. Says how many were removed; an
    /// object that cannot be read is removed as well, and where it cannot be, that does not end the
    /// sweep, but is the error at its end.
    pub fn sweep(&self, keep: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> io::Result<u64> {
        let mut removed = 0;
        let mut result = Ok(());
        let mut ids = Vec::new();
        for chunk in 0.. {
            ids.clear();
            if !self.folder.index().ids(chunk, &mut ids) {
                break;
            }
            for id in &ids {
                match self.find(id, false) {
                    Ok(Some(found)) if !keep(&found.contents.key, &found.contents.meta) => {
                        match self.folder.remove(id, Some(found.identity)) {
                            Ok(gone) => removed += u64::from(gone),
                            Err(error) => result = Err(error),
                        }
                    }
                    // Of no use to anyone, and it would be in the way of every sweep.
                    Err(Trouble::Io(error))
                        if is_unreadable(&error) && self.folder.remove(id, None).is_ok() =>
                    {
                        removed += 1;
                    }
                    Err(Trouble::Io(error)) => result = Err(error),
                    // Kept, gone meanwhile, or found damaged and removed.
                    _ => {}
                }
            }
        }
        result.map(|()| removed)
    }

    /// Numbers for the metrics.
    pub fn stats(&self) -> Stats {
        let index = self.folder.index();
        Stats {
            objects: index.objects(),
            bytes: index.pages() * PAGE,
            evicted: self.folder.evicted.load(Relaxed),
            damaged: self.folder.damaged.load(Relaxed),
            scanned: self.folder.scanned.load(Relaxed),
        }
    }

    #[cfg(test)]
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Opens and verifies an object; a damaged one is removed.
    fn find(&self, id: &Id, used: bool) -> Result<Option<Found>, Trouble> {
        let Some((file, metadata)) = self.folder.find(id, used)? else { return Ok(None) };
        let identity = Identity::of(&metadata);
        match Contents::read(&file, &metadata, id) {
            Ok(Some(contents)) => {
                Ok(Some(Found { file, identity, used: metadata.modified()?, contents }))
            }
            Ok(None) => Ok(None),
            Err(trouble) => {
                if matches!(trouble, Trouble::Damaged(_)) {
                    self.folder.discard_damaged(id, identity);
                }
                Err(trouble)
            }
        }
    }
}

/// Whether it is this file that cannot be read, rather than any file just now.
fn is_unreadable(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.kind() == io::ErrorKind::PermissionDenied || error.raw_os_error() == Some(EIO)
}

/// A file that is an object. Open, so that its identity holds.
struct Found {
    file: File,
    identity: Identity,
    used: SystemTime,
    contents: Contents,
}

fn write(mut file: &File, size: u64, frame: &Frame, sections: &[&[u8]]) -> io::Result<()> {
    let pieces =
        [&frame.header[..]].into_iter().chain(sections.iter().copied()).chain([&frame.trailer[..]]);
    if size <= WRITTEN_AT_ONCE {
        let mut whole = Vec::with_capacity(size as usize);
        pieces.for_each(|piece| whole.extend_from_slice(piece));
        return file.write_all(&whole);
    }
    pieces.into_iter().try_for_each(|piece| file.write_all(piece))
}

/// Copies the sections within the kernel. They keep their checksums, so damage stays damage.
fn copy_sections(mut from: &File, mut to: &File, content: u64) -> io::Result<()> {
    from.seek(SeekFrom::Start(HEADER as u64))?;
    if io::copy(&mut from.take(content), &mut to)? != content {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

#[cfg(test)]
mod killed;
#[cfg(test)]
mod tests;
