//! The bytes of an answer: its head, and pieces of a file as they are read.
//!
//! What the system has at hand is read at once and into the place where it goes. Everything else is read a piece at a
//! time off the serving threads, so that a slow disk keeps nobody but its own readers waiting, and a reader that
//! stopped makes us hold one piece.

use std::{
    collections::VecDeque,
    fs::{File, Metadata},
    io::{self, IoSliceMut},
    os::unix::fs::{FileExt, MetadataExt},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};

/// What is read at once off the serving threads.
const PIECE: u64 = 64 * 1024;
/// Reads that wait for a disk at once, in the whole process: more would only queue up there.
static READS: Semaphore = Semaphore::const_new(64);

/// An open file and what it was when it was opened.
pub struct Opened {
    /// The file.
    pub file: File,
    /// What the system said of it.
    pub meta: Metadata,
    /// Its place among the files that may be open.
    pub permit: Option<OwnedSemaphorePermit>,
}

impl Opened {
    /// Whether it still is what it was, as far as the system tells.
    fn stands(&self) -> bool {
        self.file.metadata().is_ok_and(|now| {
            let of = |m: &Metadata| (m.size(), m.mtime(), m.mtime_nsec());
            of(&now) == of(&self.meta)
        })
    }
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// These bytes.
    Bytes(Bytes),
    /// So many bytes of the file from a place on.
    File {
        /// The place.
        at: u64,
        /// How many.
        left: u64,
    },
}

/// An answer as it goes over the wire.
pub struct Stream {
    parts: VecDeque<Part>,
    file: Option<Arc<Opened>>,
    /// Of the file, read ahead.
    piece: Bytes,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

/// Why the bytes of a file break off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file changed while it was sent")]
pub struct Changed;

impl From<Changed> for io::Error {
    fn from(why: Changed) -> Self {
        Self::other(why)
    }
}

impl Stream {
    /// An answer of these parts.
    pub fn new(parts: impl IntoIterator<Item = Part>, file: Option<Opened>) -> Self {
        Self {
            parts: parts.into_iter().collect(),
            file: file.map(Arc::new),
            piece: Bytes::new(),
            reading: None,
        }
    }

    fn put(bytes: &mut Bytes, buf: &mut ReadBuf<'_>) -> usize {
        let length = bytes.len().min(buf.remaining());
        buf.put_slice(&bytes[..length]);
        bytes.advance(length);
        length
    }

    /// Some of the file from a place on. Nothing of what is last goes out before the file is looked at once more:
    /// one that was changed meanwhile never looks whole.
    fn poll_file(
        &mut self,
        cx: &mut Context<'_>,
        at: u64,
        left: u64,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let Some(file) = &self.file else {
            return Poll::Ready(Err(io::ErrorKind::NotFound.into()));
        };
        if self.piece.is_empty() && self.reading.is_none() {
            match at_once(file, at, left, buf) {
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
            let file = Arc::clone(file);
            self.reading = Some(tokio::spawn(piece(file, at, left)));
        }
        if let Some(reading) = &mut self.reading {
            let read = ready!(Pin::new(reading).poll(cx));
            self.reading = None;
            self.piece = read.map_err(io::Error::other)??;
        }
        Poll::Ready(Ok(Self::put(&mut self.piece, buf)))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            let Some(mut part) = this.parts.pop_front() else {
                break;
            };
            match &mut part {
                Part::Bytes(bytes) => {
                    Self::put(bytes, buf);
                    if !bytes.is_empty() {
                        this.parts.push_front(part);
                    }
                }
                Part::File { left: 0, .. } => {}
                Part::File { at, left } => match this.poll_file(cx, *at, *left, buf) {
                    Poll::Ready(Ok(read)) => {
                        *at += read as u64;
                        *left -= read as u64;
                        this.parts.push_front(part);
                    }
                    other => {
                        this.parts.push_front(part);
                        // What is here goes out first.
                        if buf.filled().len() > before {
                            break;
                        }
                        return other.map_ok(drop);
                    }
                },
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What the system has in its memory.
fn at_once(file: &Opened, at: u64, left: u64, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
    let room = buf.initialize_unfilled();
    let most = usize::try_from(left).unwrap_or(usize::MAX).min(room.len());
    let mut rooms = [IoSliceMut::new(&mut room[..most])];
    let read = match preadv2(&file.file, &mut rooms, at, ReadWriteFlags::NOWAIT) {
        Ok(read) => read,
        // Not every file system can tell.
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::INTR) => {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Err(why) => return Err(why.into()),
    };
    checked(file, read, left)?;
    buf.advance(read);
    Ok(read)
}

/// A piece from a disk.
async fn piece(file: Arc<Opened>, at: u64, left: u64) -> io::Result<Bytes> {
    off_the_thread(move || {
        let length = usize::try_from(left.min(PIECE)).unwrap_or_default();
        let mut bytes = vec![0; length];
        let read = loop {
            match file.file.read_at(&mut bytes, at) {
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        checked(&file, read, left)?;
        bytes.truncate(read);
        Ok(Bytes::from(bytes))
    })
    .await
}

/// Does what may wait for a disk, when its turn comes.
pub(super) async fn off_the_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let permit = READS.acquire().await.map_err(io::Error::other)?;
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    done.await.map_err(io::Error::other)?
}

/// Whether what was read belongs to the file as it was.
fn checked(file: &Opened, read: usize, left: u64) -> io::Result<()> {
    let is_last = read as u64 >= left;
    match read > 0 && (!is_last || file.stands()) {
        true => Ok(()),
        false => Err(Changed.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Seek, Write},
        time::{Duration, SystemTime},
    };

    use tokio::io::AsyncReadExt;

    use super::*;

    fn opened(content: &[u8]) -> (Opened, File) {
        let path = std::env::temp_dir().join(format!(
            "dhal-pieces-{}-{}",
            std::process::id(),
            crate::random::next()
        ));
        std::fs::write(&path, content).expect("written");
        let file = File::open(&path).expect("opened");
        let own = File::options().write(true).open(&path).expect("opened");
        std::fs::remove_file(&path).expect("removed");
        let meta = file.metadata().expect("known");
        let opened = Opened {
            file,
            meta,
            permit: None,
        };
        (opened, own)
    }

    fn whole(length: u64) -> Part {
        Part::File {
            at: 0,
            left: length,
        }
    }

    #[tokio::test]
    async fn parts_come_in_order() {
        let content: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
        let (file, _) = opened(&content);
        let parts = [
            Part::Bytes(Bytes::from_static(b"head")),
            Part::File { at: 100, left: 5 },
            Part::Bytes(Bytes::from_static(b"-")),
            whole(200_000),
        ];
        let mut out = Vec::new();
        let mut stream = Stream::new(parts, Some(file));
        stream.read_to_end(&mut out).await.expect("read");
        let wanted = [b"head", &content[100..105], b"-", &content].concat();
        assert!(out == wanted);
    }

    #[tokio::test]
    async fn pieces_off_the_thread_are_the_same() {
        let content: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
        let (file, _) = opened(&content);
        let file = Arc::new(file);
        let mut out = Vec::new();
        while out.len() < content.len() {
            let (at, left) = (out.len() as u64, (content.len() - out.len()) as u64);
            let piece = piece(Arc::clone(&file), at, left).await.expect("a piece");
            assert!(piece.len() as u64 <= PIECE);
            out.extend_from_slice(&piece);
        }
        assert!(out == content);
    }

    #[tokio::test]
    async fn what_changes_breaks_off() {
        let content = vec![b'x'; 300_000];
        type Change = (&'static str, fn(&mut File));
        let changes: [Change; 3] = [
            ("truncated", |file| file.set_len(1_000).expect("cut")),
            ("written over", |file| {
                file.rewind().expect("rewound");
                file.write_all(b"y").expect("written");
                // The clock that files go by is coarse.
                let later = SystemTime::now() + Duration::from_secs(1);
                file.set_modified(later).expect("dated");
            }),
            ("longer", |file| file.set_len(400_000).expect("longer")),
        ];
        for (what, change) in changes {
            let (file, mut own) = opened(&content);
            let mut stream = Stream::new([whole(300_000)], Some(file));
            let mut first = vec![0; 100_000];
            stream.read_exact(&mut first).await.expect("the beginning");
            change(&mut own);
            let mut rest = Vec::new();
            let ended = stream.read_to_end(&mut rest).await;
            let why = ended.expect_err(what);
            assert!(
                why.get_ref().is_some_and(|why| why.is::<Changed>()),
                "{what}: {why}"
            );
            assert!(rest.len() < 200_000, "{what}");
        }
    }
}
