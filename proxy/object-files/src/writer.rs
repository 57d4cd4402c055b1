//! Writing an object whose content arrives piece by piece, and reading it meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::Trouble;
use crate::folder::{self, Draft};
use crate::format::{Checksums, Frame, HEADER};

/// An object that is being written. Dropped before it is finished, it leaves nothing behind.
pub struct Writer {
    draft: Draft,
    checksums: Checksums,
    len: Arc<AtomicU64>,
    /// A piece is missing, so it must not be finished.
    broken: bool,
}

impl Writer {
    pub(crate) fn new(draft: Draft) -> Self {
        let len = Arc::new(AtomicU64::new(0));
        Self { draft, checksums: Checksums::default(), len, broken: false }
    }

    /// Adds to the content. After an error the object cannot be finished any more.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.usable()?;
        let result = self.write(bytes);
        self.broken = result.is_err();
        result
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let before = self.len();
        let after = before + bytes.len() as u64;
        if after > self.draft.folder.max_object() {
            return Err(Trouble::TooLarge);
        }
        self.draft.reserve(HEADER as u64 + after)?;
        self.draft.written(self.draft.file.write_all_at(bytes, HEADER as u64 + before))?;
        self.checksums.update(bytes);
        self.len.store(after, Ordering::Release);
        Ok(())
    }

    fn usable(&self) -> Result<(), Trouble> {
        if self.broken {
            return Err(io::Error::other("a piece of the object could not be written").into());
        }
        Ok(())
    }

    /// How long the content is so far.
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// Whether there is no content so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A reader of what has been appended.
    pub fn reader(&self) -> WriterReader {
        WriterReader { file: Arc::clone(&self.draft.file), len: Arc::clone(&self.len) }
    }

    /// Makes it an object that others find, with one section.
    pub fn finish(mut self, key: &[u8], meta: &[u8]) -> Result<(), Trouble> {
        self.usable()?;
        let len = self.len();
        let id = folder::id(key);
        let frame = Frame::new(&id, key, meta, &[len], &self.checksums.finish())?;
        self.draft.reserve(frame.file_size(len))?;
        let file = &self.draft.file;
        let write = || {
            file.write_all_at(&frame.trailer, HEADER as u64 + len)?;
            file.write_all_at(&frame.header, 0)
        };
        self.draft.written(write())?;
        self.draft.publish(&id, None)?;
        Ok(())
    }
}

/// Reads what a [`Writer`] has written, while it goes on, after it has finished and after it has been
/// dropped. Which of these has happened it does not know.
#[derive(Clone)]
pub struct WriterReader {
    file: Arc<File>,
    len: Arc<AtomicU64>,
}

impl WriterReader {
    /// How long the content is so far.
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// Whether there is no content so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads bytes of the content; fewer than asked for only at its present end.
    pub fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, Trouble> {
        let end = offset.saturating_add(len as u64).min(self.len());
        if offset >= end {
            return Ok(Bytes::new());
        }
        let mut bytes = vec![0; (end - offset) as usize];
        self.file.read_exact_at(&mut bytes, HEADER as u64 + offset)?;
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests;
