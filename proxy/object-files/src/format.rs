//! The bytes of a file: a header of fixed size, the sections one after the other, and a trailer with
//! the lengths of the sections, a checksum for each of their blocks, the key and the meta.
//!
//! The header comes first because every reader wants it, the trailer last because only the end of a
//! stream tells its length. The header's checksum covers the header, the checksum in it the trailer
//! and those in the trailer the sections: every byte is covered once. All numbers are little-endian.

use crate::Trouble;
use crate::folder::Id;

/// How many bytes of a section one checksum covers. Reads that begin and end at multiples of it
/// waste nothing.
pub const BLOCK: usize = 64 * 1024;
/// The longest key.
pub const MAX_KEY: usize = 64 * 1024;
/// The longest meta.
pub const MAX_META: usize = 1024 * 1024;
/// The most sections an object may have.
pub const MAX_SECTIONS: usize = 8;

pub(crate) const HEADER: usize = 64;

const MAGIC: [u8; 8] = *b"DhalObj\n";
const VERSION: u32 = 1;

/// What the first bytes of a file say about the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    sections: u32,
    key: u32,
    meta: u32,
    content: u64,
    trailer: u64,
    id: Id,
    trailer_crc: u32,
}

impl Header {
    /// Reads and verifies a header. `None`: another version of this format, of a process that is
    /// newer or older than this one.
    pub(crate) fn decode(bytes: &[u8; HEADER]) -> Result<Option<Self>, Trouble> {
        if bytes[..8] != MAGIC {
            return Err(Trouble::Damaged("not an object"));
        }
        if u32_at(bytes, 8) != VERSION {
            return Ok(None);
        }
        if u32_at(bytes, 60) != crc32fast::hash(&bytes[..60]) {
            return Err(Trouble::Damaged("checksum of the header"));
        }
        let mut id = Id::default();
        id.copy_from_slice(&bytes[40..56]);
        Ok(Some(Self {
            sections: u32_at(bytes, 12),
            key: u32_at(bytes, 16),
            meta: u32_at(bytes, 20),
            content: u64_at(bytes, 24),
            trailer: u64_at(bytes, 32),
            id,
            trailer_crc: u32_at(bytes, 56),
        }))
    }

    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.sections.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.key.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.meta.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.content.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.trailer.to_le_bytes());
        bytes[40..56].copy_from_slice(&self.id);
        bytes[56..60].copy_from_slice(&self.trailer_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Where the trailer is in a file of this size, or why the file cannot be this object.
    pub(crate) fn trailer_range(&self, id: &Id, file: u64) -> Result<(u64, usize), Trouble> {
        if self.id != *id {
            return Err(Trouble::Damaged("under another's name"));
        }
        let begin = self.content.checked_add(HEADER as u64);
        let end = begin.and_then(|begin| begin.checked_add(self.trailer));
        match (begin, end) {
            // The trailer is no longer than the file, so what is allocated for it is bounded.
            (Some(begin), Some(end)) if end == file => Ok((begin, self.trailer as usize)),
            _ => Err(Trouble::Damaged("length of the file")),
        }
    }
}

/// The trailer, verified, with its parts found in its bytes.
#[derive(Debug)]
pub(crate) struct Trailer {
    pub(crate) lengths: Vec<u64>,
    /// Where the block checksums of all sections are.
    pub(crate) checksums: (usize, usize),
    pub(crate) key: (usize, usize),
    pub(crate) meta: (usize, usize),
}

impl Trailer {
    pub(crate) fn decode(header: &Header, bytes: &[u8]) -> Result<Self, Trouble> {
        const INCONSISTENT: Trouble = Trouble::Damaged("lengths in the trailer");
        if header.trailer_crc != crc32fast::hash(bytes) {
            return Err(Trouble::Damaged("checksum of the trailer"));
        }
        let sections = header.sections as usize;
        if sections > MAX_SECTIONS || bytes.len() < sections * 8 {
            return Err(INCONSISTENT);
        }
        let lengths: Vec<u64> = (0..sections).map(|section| u64_at(bytes, section * 8)).collect();
        let content = lengths.iter().try_fold(0u64, |sum, length| sum.checked_add(*length));
        if content != Some(header.content) {
            return Err(INCONSISTENT);
        }
        let blocks: u64 = lengths.iter().map(|length| blocks(*length)).sum();
        let checksums = (sections * 8, sections * 8 + blocks as usize * 4);
        let key = (checksums.1, checksums.1 + header.key as usize);
        let meta = (key.1, key.1 + header.meta as usize);
        if meta.1 != bytes.len() {
            return Err(INCONSISTENT);
        }
        Ok(Self { lengths, checksums, key, meta })
    }
}

/// The parts of a file that stand around its sections.
pub(crate) struct Frame {
    pub(crate) header: [u8; HEADER],
    pub(crate) trailer: Vec<u8>,
}

impl Frame {
    /// `checksums` are those of all blocks of all sections, as [`Checksums`] collects them.
    pub(crate) fn new(
        id: &Id,
        key: &[u8],
        meta: &[u8],
        lengths: &[u64],
        checksums: &[u8],
    ) -> Result<Self, Trouble> {
        if key.len() > MAX_KEY || meta.len() > MAX_META || lengths.len() > MAX_SECTIONS {
            return Err(Trouble::TooLarge);
        }
        let size = lengths.len() * 8 + checksums.len() + key.len() + meta.len();
        let mut trailer = Vec::with_capacity(size);
        lengths.iter().for_each(|length| trailer.extend_from_slice(&length.to_le_bytes()));
        trailer.extend_from_slice(checksums);
        trailer.extend_from_slice(key);
        trailer.extend_from_slice(meta);
        let header = Header {
            sections: lengths.len() as u32,
            key: key.len() as u32,
            meta: meta.len() as u32,
            content: lengths.iter().sum(),
            trailer: trailer.len() as u64,
            id: *id,
            trailer_crc: crc32fast::hash(&trailer),
        };
        Ok(Self { header: header.encode(), trailer })
    }

    /// The size of the file around this much content.
    pub(crate) fn file_size(&self, content: u64) -> u64 {
        content.saturating_add((HEADER + self.trailer.len()) as u64)
    }
}

/// Collects the checksums of the blocks of a section that arrives piece by piece.
#[derive(Default)]
pub(crate) struct Checksums {
    done: Vec<u8>,
    block: crc32fast::Hasher,
    filled: usize,
}

impl Checksums {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            self.block.update(piece);
            self.filled += piece.len();
            if self.filled == BLOCK {
                self.end_section();
            }
            bytes = rest;
        }
    }

    /// Ends the block that is under way: the next section begins one of its own.
    pub(crate) fn end_section(&mut self) {
        if self.filled > 0 {
            let crc = std::mem::take(&mut self.block).finalize();
            self.done.extend_from_slice(&crc.to_le_bytes());
            self.filled = 0;
        }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.end_section();
        self.done
    }
}

/// How many checksums a section of this length has.
pub(crate) fn blocks(length: u64) -> u64 {
    length.div_ceil(BLOCK as u64)
}

/// Compares whole blocks with their checksums, beginning at the `first`.
pub(crate) fn verify(content: &[u8], checksums: &[u8], first: u64) -> Result<(), Trouble> {
    let expected = checksums.chunks_exact(4).skip(first as usize);
    for (block, expected) in content.chunks(BLOCK).zip(expected) {
        if crc32fast::hash(block).to_le_bytes() != expected {
            return Err(Trouble::Damaged("checksum of a block"));
        }
    }
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
