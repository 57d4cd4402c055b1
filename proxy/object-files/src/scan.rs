//! Filling the index after a restart.

use std::cmp::Reverse;
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use crate::folder::{Folder, Id, remove_file};
use crate::format::HEADER;
use crate::index::{PAGE, pages};

/// How long a draft of another process may rest before it counts as left behind.
const DRAFT_AGE_MAX: Duration = Duration::from_secs(60);
/// How many objects enter the index at once, while others wait for it.
const INDEXED_AT_ONCE: usize = 1024;

struct Seen {
    used: SystemTime,
    id: Id,
    pages: u64,
}

/// See [`Files::scan`](crate::Files::scan). Reads names, sizes and times, but no file: one that is
/// not what its name says is found out when it is looked up.
pub(crate) fn scan(folder: &Folder) -> io::Result<(u64, u64)> {
    remove_leftovers(folder)?;
    let mut seen = Vec::new();
    for first in 0..=u8::MAX {
        for entry in entries(fs::read_dir(folder.part(first)))? {
            seen.extend(look(&entry?, first)?);
        }
    }
    // Used last comes first, and each goes behind those before it: what has been used since the scan
    // began is in the index already and stays ahead.
    seen.sort_unstable_by_key(|seen| Reverse(seen.used));
    for seen in seen.chunks(INDEXED_AT_ONCE) {
        let mut index = folder.index();
        seen.iter().for_each(|seen| index.insert_oldest(seen.id, seen.pages));
    }
    folder.scanned.store(true, Relaxed);
    folder.enforce_capacity()?;
    let index = folder.index();
    Ok((index.objects(), index.pages() * PAGE))
}

fn remove_leftovers(folder: &Folder) -> io::Result<()> {
    let now = SystemTime::now();
    for entry in entries(fs::read_dir(folder.tmp()))? {
        let entry = entry?;
        let own = entry.file_name().as_encoded_bytes().starts_with(folder.writer.as_bytes());
        let Some(metadata) = unless_gone(entry.metadata())? else { continue };
        let age = now.duration_since(metadata.modified()?).unwrap_or_default();
        if !own && metadata.is_file() && age > DRAFT_AGE_MAX {
            // On a read-only file system the objects can still be used.
            let _ = remove_file(&entry.path());
        }
    }
    Ok(())
}

/// What an entry of the folder for names that begin with `first` says about an object. Files that do
/// not bear such a name are someone else's and stay; one that is too short to be an object goes.
fn look(entry: &DirEntry, first: u8) -> io::Result<Option<Seen>> {
    let Some(id) = parse(entry.file_name().as_encoded_bytes()).filter(|id| id[0] == first) else {
        return Ok(None);
    };
    let Some(metadata) = unless_gone(entry.metadata())? else { return Ok(None) };
    if !metadata.is_file() {
        return Ok(None);
    }
    if metadata.len() < HEADER as u64 {
        let _ = remove_file(&entry.path());
        return Ok(None);
    }
    Ok(Some(Seen { used: metadata.modified()?, id, pages: pages(metadata.len()) }))
}

fn parse(name: &[u8]) -> Option<Id> {
    let mut id = Id::default();
    if name.len() != id.len() * 2 {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    for (byte, pair) in id.iter_mut().zip(name.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(id)
}

/// A folder removed by hand is an empty one.
fn entries(
    folder: io::Result<fs::ReadDir>,
) -> io::Result<impl Iterator<Item = io::Result<DirEntry>>> {
    Ok(unless_gone(folder)?.into_iter().flatten())
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
