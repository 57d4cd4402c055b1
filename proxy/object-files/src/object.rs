//! Reading an object.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use crate::Trouble;
use crate::folder::{Folder, Id, Identity};
use crate::format::{BLOCK, HEADER, Header, Trailer, blocks, verify};

/// A file up to this size is read with one call and kept in memory while its object is in use.
const SMALL: u64 = 64 * 1024;

/// What stands around the sections of a file, verified.
pub(crate) struct Contents {
    pub(crate) lengths: Vec<u64>,
    pub(crate) checksums: Bytes,
    pub(crate) key: Bytes,
    pub(crate) meta: Bytes,
    /// The sections, verified, if the file is small.
    pub(crate) sections: Option<Bytes>,
}

impl Contents {
    /// Reads and verifies a file. `None`: it is of another version.
    pub(crate) fn read(file: &File, metadata: &Metadata, id: &Id) -> Result<Option<Self>, Trouble> {
        let size = metadata.len();
        if size < HEADER as u64 {
            return Err(Trouble::Damaged("no header"));
        }
        let (header, whole) = if size <= SMALL {
            let whole = Bytes::from(read(file, 0, size as usize)?);
            (whole.slice(..HEADER), Some(whole))
        } else {
            (Bytes::from(read(file, 0, HEADER)?), None)
        };
        let mut fixed = [0; HEADER];
        fixed.copy_from_slice(&header);
        let Some(header) = Header::decode(&fixed)? else { return Ok(None) };
        let (begin, length) = header.trailer_range(id, size)?;
        let bytes = match &whole {
            Some(whole) => whole.slice(begin as usize..),
            None => Bytes::from(read(file, begin, length)?),
        };
        let trailer = Trailer::decode(&header, &bytes)?;
        let part = |(begin, end): (usize, usize)| bytes.slice(begin..end);
        let checksums = part(trailer.checksums);
        let sections = whole.map(|whole| whole.slice(HEADER..begin as usize));
        if let Some(sections) = &sections {
            let mut rest = &sections[..];
            let mut first = 0;
            for length in &trailer.lengths {
                let (section, after) = rest.split_at(*length as usize);
                verify(section, &checksums, first)?;
                first += blocks(*length);
                rest = after;
            }
        }
        let (key, meta) = (part(trailer.key), part(trailer.meta));
        Ok(Some(Self { lengths: trailer.lengths, checksums, key, meta, sections }))
    }

    pub(crate) fn content(&self) -> u64 {
        self.lengths.iter().sum()
    }
}

/// An object that was found. It stays whole while it is in use, whatever happens to its file.
pub struct Object {
    meta: Bytes,
    lengths: Vec<u64>,
    sections: Sections,
}

enum Sections {
    /// Verified.
    Memory(Bytes),
    File(Source),
}

struct Source {
    folder: Arc<Folder>,
    id: Id,
    file: File,
    identity: Identity,
    checksums: Bytes,
}

impl Object {
    pub(crate) fn new(
        folder: &Arc<Folder>,
        id: Id,
        file: File,
        identity: Identity,
        contents: Contents,
    ) -> Self {
        let Contents { lengths, checksums, meta, sections, .. } = contents;
        let folder = || Arc::clone(folder);
        let sections = match sections {
            Some(sections) => Sections::Memory(sections),
            None => Sections::File(Source { folder: folder(), id, file, identity, checksums }),
        };
        Self { meta, lengths, sections }
    }

    /// What was stored beside the sections.
    pub fn meta(&self) -> &[u8] {
        &self.meta
    }

    /// How many sections there are, and how long each is.
    pub fn section_lengths(&self) -> &[u64] {
        &self.lengths
    }

    /// Reads bytes of a section; fewer than asked for only at its end. Whole blocks of
    /// [`BLOCK`](crate::BLOCK) bytes are read and verified underneath. A damaged object is removed,
    /// unless it has been replaced meanwhile.
    pub fn read_at(&self, section: usize, offset: u64, len: usize) -> Result<Bytes, Trouble> {
        let Some(&length) = self.lengths.get(section) else {
            return Err(io::Error::new(ErrorKind::InvalidInput, "no such section").into());
        };
        let end = offset.saturating_add(len as u64).min(length);
        if offset >= end {
            return Ok(Bytes::new());
        }
        let before = &self.lengths[..section];
        let begin = before.iter().sum::<u64>();
        match &self.sections {
            Sections::Memory(sections) => {
                Ok(sections.slice((begin + offset) as usize..(begin + end) as usize))
            }
            Sections::File(source) => {
                let first_block = before.iter().map(|length| blocks(*length)).sum();
                source.read(&Part { begin, length, first_block }, offset..end)
            }
        }
    }
}

/// Where a section is in the content, and which of the checksums is its first.
struct Part {
    begin: u64,
    length: u64,
    first_block: u64,
}

impl Source {
    fn read(&self, section: &Part, range: Range<u64>) -> Result<Bytes, Trouble> {
        let begin = range.start - range.start % BLOCK as u64;
        let end = range.end.next_multiple_of(BLOCK as u64).min(section.length);
        let at = HEADER as u64 + section.begin + begin;
        let first = section.first_block + begin / BLOCK as u64;
        let result = read(&self.file, at, (end - begin) as usize).and_then(|blocks| {
            verify(&blocks, &self.checksums, first).map(|()| Bytes::from(blocks))
        });
        if let Err(Trouble::Damaged(_)) = result {
            self.folder.discard_damaged(&self.id, self.identity);
        }
        let (from, to) = (range.start - begin, range.end - begin);
        result.map(|blocks| blocks.slice(from as usize..to as usize))
    }
}

fn read(file: &File, offset: u64, len: usize) -> Result<Vec<u8>, Trouble> {
    let mut bytes = vec![0; len];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(Trouble::Damaged("cut short"))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
