//! The access log: one line a request, written to the file by a thread of its own.
//!
//! Every serving thread appends its lines to a buffer of its own, and the log's thread exchanges the buffers for
//! empty ones some times a second, or when one has become large. Nobody waits for anybody: a disk that is too slow
//! costs lines, never requests; how many is counted.

use std::{
    fs::{File, Metadata, OpenOptions, remove_file, symlink_metadata},
    io,
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use crossbeam_utils::atomic::AtomicCell;
use nix::{errno::Errno, fcntl::OFlag};

use super::{
    Record,
    log_line::{self, Second},
    log_writer::Writer,
    per_thread::{Count, PerThread, Place},
};
use crate::{
    config::model::{AccessLog as Config, LogFormat, LogTarget},
    snapshot::BuildError,
};

/// Bytes of lines that may wait for the disk, besides those it has just been given.
const MAX_WAITING: usize = 4 * 1024 * 1024;
/// The least that a thread gets of them, some hundred lines, however many threads there are.
const MIN_BUFFER: usize = 64 * 1024;
/// A buffer that has grown to this is collected at once: some hundred lines pay for one wake-up, and the disk gets
/// them in one write.
const LARGE: usize = 128 * 1024;

/// What is wrong with a pipe that would be waited for.
pub(crate) const UNREAD: &str = "it is a pipe or a socket that nobody reads";

/// An open access log.
pub struct AccessLog {
    format: LogFormat,
    desk: Arc<Desk>,
    writer: thread::Thread,
    /// Says when the last line is written.
    done: Mutex<Receiver<()>>,
    /// The file that was not there before.
    made: Option<Made>,
}

/// A file that a log has made: where it is, and its number.
pub(crate) struct Made(PathBuf, (u64, u64));

impl Made {
    /// Removes it, as long as nothing stands in it. Blocks.
    pub(crate) fn remove(self) {
        let is_it = |about: &Metadata| (about.dev(), about.ino()) == self.1;
        if symlink_metadata(&self.0).is_ok_and(|about| is_it(&about) && about.len() == 0) {
            // Where nothing can be removed it stays, which does no harm.
            let _ = remove_file(&self.0);
        }
    }
}

/// What serving threads and the log's thread share.
pub(super) struct Desk {
    pub(super) trays: PerThread<Tray>,
    /// Bytes a buffer may have.
    capacity: usize,
    /// The log's thread sleeps for long and wants to be woken by the next line.
    pub(super) is_asleep: AtomicBool,
    /// The file is to be opened anew.
    pub(super) reopen: AtomicBool,
    /// No line comes after those that are here.
    pub(super) is_closing: AtomicBool,
    /// Lines that were collected and could not be written.
    pub(super) lost: AtomicU64,
}

/// Where a thread's buffer lies while neither the thread nor the log's thread has it in hand.
#[derive(Default)]
pub(super) struct Tray {
    pub(super) buffer: AtomicCell<Option<Box<Buffer>>>,
    dropped: Count,
    /// For threads that share a tray.
    turn: Mutex<()>,
}

/// Lines that wait.
#[derive(Default)]
pub(super) struct Buffer {
    pub(super) lines: Vec<u8>,
    second: Second,
    /// A line did not fit: none fits until these are written.
    is_full: bool,
}

impl Buffer {
    /// An empty one with room for what is usually collected.
    pub(super) fn new(desk: &Desk) -> Self {
        Self {
            lines: Vec::with_capacity(desk.capacity.min(2 * LARGE)),
            ..Self::default()
        }
    }

    /// Takes all lines out.
    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.is_full = false;
    }

    /// Appends a line unless the buffer would grow beyond `capacity`; whether it did.
    fn append(&mut self, record: &Record<'_>, format: LogFormat, capacity: usize) -> bool {
        if self.is_full {
            return false;
        }
        let before = self.lines.len();
        match format {
            LogFormat::Json => log_line::json(record, &mut self.second, &mut self.lines),
            LogFormat::Combined => log_line::combined(record, &mut self.second, &mut self.lines),
        }
        self.lines.push(b'\n');
        if self.lines.len() > capacity {
            self.lines.truncate(before);
            self.lines.shrink_to(capacity);
            self.is_full = true;
        }
        !self.is_full
    }
}

impl AccessLog {
    /// Opens the target and starts its thread; `threads` are those that will write.
    pub fn open(config: &Config, threads: usize) -> Result<Self, BuildError> {
        let (file, path, made) = match &config.target {
            // Unbuffered: what is collected is written whole.
            LogTarget::Stdout => (
                io::stdout().as_fd().try_clone_to_owned().map(File::from),
                None,
                None,
            ),
            LogTarget::File(path) => match append_or_make(path) {
                Ok((file, made)) => (Ok(file), Some(path.clone()), made),
                Err(why) => (Err(why), Some(path.clone()), None),
            },
        };
        let fails = |why: io::Error| BuildError::File {
            path: path.clone().unwrap_or_else(|| PathBuf::from("stdout")),
            why,
        };
        let file = file.map_err(fails)?;
        let capacity = (MAX_WAITING / threads.max(1)).max(MIN_BUFFER);
        let desk = Arc::new(Desk {
            trays: PerThread::default(),
            capacity,
            is_asleep: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        });
        let (tell, done) = channel();
        let writer = Writer::new(Arc::clone(&desk), file, path.clone());
        let writer = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                writer.run();
                // Nobody may be waiting for it.
                let _ = tell.send(());
            })
            .map_err(fails)?;
        Ok(Self {
            format: config.format,
            desk,
            writer: writer.thread().clone(),
            done: Mutex::new(done),
            made,
        })
    }

    /// The file, where opening the log has made it: to be removed again where the log comes to no use.
    pub(crate) fn take_made(&mut self) -> Option<Made> {
        self.made.take()
    }

    /// Writes a request's line.
    pub fn write(&self, record: &Record<'_>) {
        let place = Place::mine();
        let tray = self.desk.trays.at(place);
        let _turn = place
            .is_shared()
            .then(|| tray.turn.lock().unwrap_or_else(PoisonError::into_inner));
        // There is none before the thread's first line.
        let mut buffer = tray.buffer.take().unwrap_or_default();
        let before = buffer.lines.len();
        if !buffer.append(record, self.format, self.desk.capacity) {
            tray.dropped.add(1, place);
        }
        let large = LARGE.min(self.desk.capacity / 2);
        let has_become_large = before < large && buffer.lines.len() >= large;
        // What may have been put there in the meantime is empty.
        tray.buffer.store(Some(buffer));
        if has_become_large || self.desk.is_asleep.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    fn wake(&self) {
        self.desk.is_asleep.store(false, Ordering::Relaxed);
        self.writer.unpark();
    }

    /// Opens the file anew once the lines that are waiting are written, after it was moved away.
    pub fn reopen(&self) {
        self.desk.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// Lines that were dropped because too many were waiting, or because they could not be written.
    pub fn dropped(&self) -> u64 {
        let dropped = self.desk.trays.all().map(|tray| tray.dropped.get());
        dropped.sum::<u64>() + self.desk.lost.load(Ordering::Relaxed)
    }

    /// Ends the log when nobody writes any more; waits for the disk up to `limit`, and says whether all is
    /// written.
    pub fn finish(&self, limit: Duration) -> bool {
        self.close();
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.recv_timeout(limit).is_ok()
    }

    fn close(&self) {
        self.desk.is_closing.store(true, Ordering::Release);
        self.wake();
    }
}

impl Drop for AccessLog {
    /// The last holder is gone, so all lines are here; the log's thread writes them and ends. Nobody waits for
    /// it, since after a reload the last holder may be a thread that serves visitors.
    fn drop(&mut self) {
        self.close();
    }
}

/// Opens a log for appending; waits for nobody who might read from a pipe.
pub(super) fn append(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().create(true))
}

/// The same, and says whether there was none.
fn append_or_make(path: &Path) -> io::Result<(File, Option<Made>)> {
    if let Ok(file) = open(path, OpenOptions::new().create_new(true)) {
        let about = file.metadata()?;
        let made = Made(path.to_owned(), (about.dev(), about.ino()));
        return Ok((file, Some(made)));
    }
    // It is there, or a link leads to where it is to be.
    Ok((append(path)?, None))
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let opened = options
        .append(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path);
    opened.map_err(|why| match why.raw_os_error() {
        Some(number) if number == Errno::ENXIO as i32 => io::Error::new(why.kind(), UNREAD),
        _ => why,
    })
}

#[cfg(test)]
mod tests;
