//! Content of an answer, wherever it lies: in memory, on disk, or on its way.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use object_files::Object;

use super::flight::{Broken, Reader};

/// What is read of the disk at once.
const READ: u64 = 128 * 1024;

/// Content that is read piece by piece.
pub enum Content {
    /// All of it is here.
    Memory(Bytes),
    /// The same in several pieces.
    Pieces(VecDeque<Bytes>),
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
            Self::Pieces(pieces) => limit_pieces(pieces, first, last),
            Self::Disk(_, at, until) => {
                *until = (*until).min(last.saturating_add(1));
                *at = first.min(*until);
            }
            Self::Arriving(reader) => reader.limit(first, last),
        }
    }

    /// Takes what is arriving until it has ended, and tells how much it was; or until there is more of it
    /// than `most`, which leaves it as it is.
    pub async fn gather(&mut self, most: u64) -> Result<Option<u64>, Broken> {
        let Self::Arriving(reader) = self else {
            return Ok(None);
        };
        let (mut pieces, mut length) = (VecDeque::new(), 0);
        while length <= most {
            let Some(piece) = reader.next().await? else {
                *self = Self::Pieces(pieces);
                return Ok(Some(length));
            };
            length += piece.len() as u64;
            pieces.push_back(piece);
        }
        reader.put_back(pieces);
        Ok(None)
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        match self {
            Self::Memory(bytes) if bytes.is_empty() => Ok(None),
            Self::Memory(bytes) => Ok(Some(std::mem::take(bytes))),
            Self::Pieces(pieces) => Ok(pieces.pop_front()),
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

fn limit_pieces(pieces: &mut VecDeque<Bytes>, first: u64, last: u64) {
    let mut at = 0;
    pieces.retain_mut(|piece| {
        let (start, end) = (at, at + piece.len() as u64);
        at = end;
        // Within the piece, and so within what memory can hold.
        let from = first.clamp(start, end) - start;
        let to = last.saturating_add(1).clamp(start, end) - start;
        *piece = piece.slice(from as usize..to.max(from) as usize);
        !piece.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fill::flight::Flight;

    async fn all(mut content: Content) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = content.next().await.expect("all of it is here") {
            assert!(!piece.is_empty());
            all.extend_from_slice(&piece);
        }
        all
    }

    fn forms() -> [Content; 2] {
        let pieces = [&b"abc"[..], b"d", b"efgh"].map(Bytes::from_static);
        [
            Content::Memory(Bytes::from_static(b"abcdefgh")),
            Content::Pieces(pieces.into()),
        ]
    }

    /// Ten thousand bytes on their way, in two pieces.
    fn arriving(end: Result<(), Broken>) -> Content {
        let flight = Arc::new(Flight::new(b"key", 0));
        let reader = Reader::new(&flight).expect("nothing is dropped");
        flight.push_now(Bytes::from(vec![b'x'; 5_000]));
        flight.push_now(Bytes::from(vec![b'y'; 5_000]));
        flight.end(end);
        Content::Arriving(reader)
    }

    #[tokio::test]
    async fn gathered_as_far_as_it_goes() {
        let mut short = arriving(Ok(()));
        assert_eq!(short.gather(10_000).await, Ok(Some(10_000)));
        assert!(matches!(short, Content::Pieces(_)));
        assert_eq!(all(short).await.len(), 10_000);
        for most in [0, 4_999, 9_999] {
            let mut long = arriving(Ok(()));
            assert_eq!(long.gather(most).await, Ok(None));
            let all = all(long).await;
            assert!(all.len() == 10_000 && all[..5_000].iter().all(|b| *b == b'x'));
        }
        assert_eq!(arriving(Err(Broken)).gather(10_000).await, Err(Broken));
        let mut memory = Content::Memory(Bytes::from_static(b"abc"));
        assert_eq!(memory.gather(10).await, Ok(None));
        assert_eq!(all(memory).await, b"abc");
    }

    #[tokio::test]
    async fn whole_and_in_part() {
        for content in forms() {
            assert_eq!(all(content).await, b"abcdefgh");
        }
        for (first, last, wanted) in [
            (0, 7, &b"abcdefgh"[..]),
            (0, 0, b"a"),
            (2, 4, b"cde"),
            (3, 3, b"d"),
            (5, u64::MAX, b"fgh"),
            (8, 9, b""),
        ] {
            for mut content in forms() {
                content.limit(first, last);
                assert_eq!(all(content).await, wanted, "{first}-{last}");
            }
        }
        assert!(all(Content::empty()).await.is_empty());
    }
}
