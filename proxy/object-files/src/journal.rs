//! An append-only file of small records that are durable before they are acknowledged: what must
//! not be forgotten, such as purges.
//!
//! A record is preceded by its length and a checksum of both. Two processes may append while one
//! relieves the other: each call holds a lock on the file itself, which dies with its process, looks
//! at what the other has appended and cuts off what it has left half-written. A compacted journal is
//! another file under the same name, which the other process notices before it appends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Keeps us from cutting a file that is something else.
const MAGIC: [u8; 8] = *b"DhalJnl\n";
/// Length and checksum.
const PREFIX: usize = 8;
/// The longest record.
pub const MAX_RECORD: usize = 1024 * 1024;

/// See the [module](self).
pub struct Journal {
    path: PathBuf,
    file: File,
    /// The end of the last good record we know.
    end: u64,
    cut: u64,
    others: Vec<Vec<u8>>,
    /// A flush has failed. The kernel has then dropped what it could not write and reports success
    /// the next time, so nothing counts as durable before the journal is rewritten.
    lost: bool,
}

impl Journal {
    /// Opens a journal, or begins one, and returns the records so far. From the first record that is
    /// torn or corrupt on, the file is cut off.
    pub fn open(path: &Path) -> io::Result<(Self, Vec<Vec<u8>>)> {
        let file = open_file(path)?;
        let path = path.to_owned();
        let mut journal = Self { path, file, end: 0, cut: 0, others: Vec::new(), lost: false };
        journal.with_lock(|_| Ok(()))?;
        let records = std::mem::take(&mut journal.others);
        Ok((journal, records))
    }

    /// Appends a record. It counts once [`sync`](Self::sync) has returned. After an error it is not
    /// there.
    pub fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let framed = frame(record)?;
        self.with_lock(|journal| {
            if let Err(error) = journal.file.write_all(&framed) {
                // Half a record would hide all that follow. Where this fails too, the next to append
                // cuts it off before it does.
                let _ = journal.file.set_len(journal.end);
                return Err(error);
            }
            journal.end += framed.len() as u64;
            Ok(())
        })
    }

    /// Makes all that was appended durable. After an error only [`rewrite`](Self::rewrite) can.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.lost {
            return Err(io::Error::other("an earlier flush of the journal failed"));
        }
        let result = self.file.sync_data();
        self.lost = result.is_err();
        result
    }

    /// Replaces all records, durably and at once: compaction. What another process has appended and
    /// [`others`](Self::others) has not returned stays behind them.
    pub fn rewrite(&mut self, records: &[Vec<u8>]) -> io::Result<()> {
        self.with_lock(|journal| {
            let mut contents = MAGIC.to_vec();
            for record in records.iter().chain(&journal.others) {
                contents.extend_from_slice(&frame(record)?);
            }
            let draft = Draft::write(&journal.path, &contents)?;
            fs::rename(&draft.path, &journal.path)?;
            sync_folder(&journal.path)?;
            // Those who wait for the lock on the file replaced see that it is not the journal any more.
            journal.file = open_file(&journal.path)?;
            journal.end = contents.len() as u64;
            journal.lost = false;
            Ok(())
        })
    }

    /// The records that another process has appended since the last call. After it has compacted the
    /// journal they may be ones that were seen before.
    pub fn others(&mut self) -> io::Result<Vec<Vec<u8>>> {
        self.with_lock(|journal| Ok(std::mem::take(&mut journal.others)))
    }

    /// Whether a flush has failed, so that nothing becomes durable before the journal is rewritten.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// How long the journal is, in bytes.
    pub fn len(&self) -> u64 {
        self.end
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.end <= MAGIC.len() as u64
    }

    /// How many bytes have been cut off because they were no records.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Does something while no other process can, on the file that is the journal now and ends with a
    /// good record.
    fn with_lock<T>(&mut self, work: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        loop {
            lock(&self.file)?;
            if is_at(&self.file, &self.path)? {
                break;
            }
            // Dropping the file unlocks it.
            self.file = open_file(&self.path)?;
            self.end = 0;
        }
        let locked = self.file.try_clone()?;
        let result = self.catch_up().and_then(|()| work(self));
        unlock(&locked)?;
        result
    }

    /// Reads what follows the last good record we know and cuts off what is not one.
    fn catch_up(&mut self) -> io::Result<()> {
        let size = self.file.metadata()?.len();
        if size < self.end {
            // Cut short by hand: there is no telling what is there now.
            self.end = 0;
        }
        if self.end == 0 {
            self.begin(size)?;
        }
        if size <= self.end {
            return Ok(());
        }
        let mut bytes = vec![0; (size - self.end) as usize];
        self.file.read_exact_at(&mut bytes, self.end)?;
        let mut rest = &bytes[..];
        while let Some((record, after)) = split(rest) {
            self.others.push(record.to_vec());
            rest = after;
        }
        self.end += (bytes.len() - rest.len()) as u64;
        if !rest.is_empty() {
            self.file.set_len(self.end)?;
            self.cut += rest.len() as u64;
        }
        Ok(())
    }

    /// Makes sure that the file begins like a journal.
    fn begin(&mut self, size: u64) -> io::Result<()> {
        let mut magic = vec![0; MAGIC.len().min(size as usize)];
        self.file.read_exact_at(&mut magic, 0)?;
        if !MAGIC.starts_with(&magic) {
            return Err(io::Error::new(ErrorKind::InvalidData, "not a journal"));
        }
        if magic.len() < MAGIC.len() {
            self.file.set_len(0)?;
            self.file.write_all(&MAGIC)?;
            self.file.sync_all()?;
            sync_folder(&self.path)?;
            self.cut += magic.len() as u64;
        }
        self.end = MAGIC.len() as u64;
        Ok(())
    }
}

fn frame(record: &[u8]) -> io::Result<Vec<u8>> {
    if record.len() > MAX_RECORD {
        return Err(io::Error::new(ErrorKind::InvalidInput, "record too long"));
    }
    let length = (record.len() as u32).to_le_bytes();
    let mut framed = Vec::with_capacity(PREFIX + record.len());
    framed.extend_from_slice(&length);
    framed.extend_from_slice(&checksum(length, record).to_le_bytes());
    framed.extend_from_slice(record);
    Ok(framed)
}

/// The record that the bytes begin with, and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let size = u32::from_le_bytes(*length) as usize;
    let (record, rest) = rest.split_at_checked(size).filter(|_| size <= MAX_RECORD)?;
    (checksum(*length, record) == u32::from_le_bytes(*crc)).then_some((record, rest))
}

/// Covers the length too, so that no run of zeros is a record.
fn checksum(length: [u8; 4], record: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&length);
    crc.update(record);
    crc.finalize()
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(metadata) => Ok((metadata.dev(), metadata.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where the file system has no locks, two processes must not append at once.
fn lock(file: &File) -> io::Result<()> {
    file.lock()
        .or_else(|error| if error.kind() == ErrorKind::Unsupported { Ok(()) } else { Err(error) })
}

fn unlock(file: &File) -> io::Result<()> {
    file.unlock()
        .or_else(|error| if error.kind() == ErrorKind::Unsupported { Ok(()) } else { Err(error) })
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// A file that will become the journal, written and flushed. Its name is always the same, so one that
/// was left behind is used up by the next; the lock on the journal keeps others away from it.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn write(journal: &Path, contents: &[u8]) -> io::Result<Self> {
        let mut name = journal.as_os_str().to_owned();
        name.push(".tmp");
        let draft = Self { path: name.into() };
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&draft.path)?;
        file.write_all(contents)?;
        file.sync_all()?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Nothing is left under this name after a success.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests;
