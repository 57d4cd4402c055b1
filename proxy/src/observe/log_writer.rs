//! The thread that writes the access log.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use super::access_log::{Buffer, Desk, append};

/// How often lines are collected while some come: who follows the log sees them soon.
const POLL: Duration = Duration::from_millis(50);
/// After so many rounds without a line the next one wakes the thread: five seconds.
const QUIET_ROUNDS: u32 = 100;
/// Even then it looks at times, because a line may come just when it falls asleep.
const SLEEP: Duration = Duration::from_secs(1);
/// How long a pipe that takes nothing just now is left alone.
const CLOGGED: Duration = Duration::from_millis(10);

/// Collects lines and writes them.
pub(super) struct Writer {
    desk: Arc<Desk>,
    file: File,
    /// Absent for standard output.
    path: Option<PathBuf>,
    /// Goes where the next full buffer is taken.
    spare: Option<Box<Buffer>>,
    /// The file ends within a line that could not be written to its end.
    is_torn: bool,
    /// The last write failed; it is told once.
    fails: bool,
}

impl Writer {
    pub(super) fn new(desk: Arc<Desk>, file: File, path: Option<PathBuf>) -> Self {
        Self {
            desk,
            file,
            path,
            spare: None,
            is_torn: false,
            fails: false,
        }
    }

    /// Writes until the log is closed and all lines are written.
    pub(super) fn run(mut self) {
        let mut quiet = 0;
        loop {
            // Both are read before the lines are collected, so none that came before them is left.
            let is_closing = self.desk.is_closing.load(Ordering::Acquire);
            let reopen = self.desk.reopen.swap(false, Ordering::AcqRel);
            let found = self.collect();
            if reopen {
                self.reopen();
            }
            if is_closing {
                return;
            }
            quiet = if found { 0 } else { quiet + 1 };
            if quiet < QUIET_ROUNDS {
                thread::park_timeout(POLL);
            } else {
                self.desk.is_asleep.store(true, Ordering::SeqCst);
                thread::park_timeout(SLEEP);
                self.desk.is_asleep.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Writes all that waits; whether there was anything.
    fn collect(&mut self) -> bool {
        let mut found = false;
        let desk = Arc::clone(&self.desk);
        for tray in desk.trays.all() {
            let empty = self
                .spare
                .take()
                .unwrap_or_else(|| Box::new(Buffer::new(&desk)));
            // `None` while its thread has it in hand: it will be here in the next round. The empty one is
            // dropped when the thread puts its own back.
            let Some(mut buffer) = tray.buffer.swap(Some(empty)) else {
                continue;
            };
            if !buffer.lines.is_empty() {
                found = true;
                self.write(&buffer.lines);
                buffer.clear();
            }
            self.spare = Some(buffer);
        }
        found
    }

    /// Writes whole lines. What cannot be written is lost and counted: it must not grow while the disk is full.
    fn write(&mut self, mut lines: &[u8]) {
        let outcome = self.mend().and_then(|()| {
            while !lines.is_empty() {
                let written = self.write_some(lines)?;
                self.is_torn = lines[..written].last() != Some(&b'\n');
                lines = &lines[written..];
            }
            Ok(())
        });
        if let Err(why) = &outcome {
            let lost = memchr::memchr_iter(b'\n', lines).count() as u64;
            self.desk.lost.fetch_add(lost, Ordering::Relaxed);
            if !self.fails {
                tracing::error!(%why, "the access log cannot be written, its lines are lost");
            }
        } else if self.fails {
            tracing::info!("the access log is written again");
        }
        self.fails = outcome.is_err();
    }

    /// Ends a torn line, so that the next one begins on its own.
    fn mend(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.write_some(b"\n")?;
            self.is_torn = false;
        }
        Ok(())
    }

    /// Writes at least a byte.
    fn write_some(&mut self, lines: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(lines) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => return Ok(written),
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => thread::sleep(CLOGGED),
                Err(why) => return Err(why),
            }
        }
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match append(path) {
            Ok(file) => (self.file, self.is_torn) = (file, false),
            Err(why) => {
                tracing::error!(path = %path.display(), %why, "access log cannot be reopened")
            }
        }
    }
}
