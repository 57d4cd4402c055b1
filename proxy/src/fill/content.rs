//! Content of an answer, wherever it lies: in memory, on disk, or on its way.

use std::sync::Arc;

use bytes::Bytes;
use object_files::Object;

use super::flight::{Broken, Reader};

/// What is read of the disk at once.
const READ: u64 = 128 * 1024;

/// Content that is read piece by piece.
pub enum Content {
    /// All of it is here.
    Memory(Bytes),
    /// From one byte to before another.
    Disk(Arc<Object>, u64, u64),
    /// As it arrives.
    Arriving(Reader),
}

impl Content {
    /// None.
    pub fn empty() -> Self {
        Self::Memory(Bytes::new())
    }

    /// Only the bytes from `first` to `last`, both included and within the content.
    pub fn limit(&mut self, first: u64, last: u64) {
        match self {
            Self::Memory(bytes) => {
                let end = usize::try_from(last)
                    .unwrap_or(usize::MAX)
                    .saturating_add(1);
                let start = usize::try_from(first).unwrap_or(usize::MAX);
                let end = end.min(bytes.len());
                *bytes = bytes.slice(start.min(end)..end);
            }
            Self::Disk(_, at, until) => {
                *until = (*until).min(last.saturating_add(1));
                *at = first.min(*until);
            }
            Self::Arriving(reader) => reader.limit(first, last),
        }
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        match self {
            Self::Memory(bytes) if bytes.is_empty() => Ok(None),
            Self::Memory(bytes) => Ok(Some(std::mem::take(bytes))),
            Self::Disk(_, at, until) if *at >= *until => Ok(None),
            Self::Disk(object, at, until) => {
                let (object, from) = (Arc::clone(object), *at);
                let take = usize::try_from((*until - *at).min(READ)).unwrap_or(usize::MAX);
                let read = move || object.read_at(0, from, take);
                match tokio::task::spawn_blocking(read).await {
                    Ok(Ok(piece)) if !piece.is_empty() => {
                        *at += piece.len() as u64;
                        Ok(Some(piece))
                    }
                    _ => Err(Broken),
                }
            }
            Self::Arriving(reader) => reader.next().await,
        }
    }
}
