use std::{
    fs::OpenOptions,
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Barrier, atomic::AtomicBool},
};

use nix::{libc::O_NONBLOCK, sys::stat::Mode, unistd::mkfifo};

use super::*;
use crate::observe::testing::{Folder, eventually, record};

const PATIENCE: Duration = Duration::from_secs(20);

fn open(path: &Path, threads: usize) -> AccessLog {
    let config = Config {
        target: LogTarget::File(path.to_owned()),
        format: LogFormat::Json,
    };
    AccessLog::open(&config, threads).expect("opened")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Thread and number of each line.
fn numbers(text: &str) -> Vec<(u64, u64)> {
    let number = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a whole line");
        let parse = |key: &str| line[key].as_str().and_then(|n| n.parse().ok());
        (
            parse("path").expect("a thread"),
            parse("request_id").expect("a number"),
        )
    };
    text.lines().map(number).collect()
}

#[test]
fn lines_are_seen_soon_and_the_rest_at_the_end() {
    let folder = Folder::new("log-soon");
    let path = folder.path("access.log");
    let log = open(&path, 1);
    for n in 0..3 {
        log.write(&record("0", &n.to_string()));
        eventually("the line is there", || {
            numbers(&read(&path)).last() == Some(&(0, n))
        });
    }
    log.write(&record("0", "3"));
    assert!(log.finish(PATIENCE));
    assert_eq!(numbers(&read(&path)).len(), 4);
    assert_eq!(log.dropped(), 0);
}

#[test]
fn a_log_that_is_let_go_is_written_to_its_end() {
    let folder = Folder::new("log-drop");
    let path = folder.path("access.log");
    let log = open(&path, 1);
    for n in 0..1_000 {
        log.write(&record("0", &n.to_string()));
    }
    drop(log);
    eventually("all lines are there", || {
        read(&path).lines().count() == 1_000
    });
}

#[test]
fn nothing_is_lost_or_out_of_order_while_the_file_is_changed() {
    const THREADS: u64 = 3;
    const CHANGES: u64 = 8;
    let folder = Folder::new("log-reopen");
    let path = folder.path("access.log");
    let moved = |n: u64| folder.path(&format!("access.log.{n}"));
    let log = open(&path, 3);
    let is_over = AtomicBool::new(false);
    let start = Barrier::new(THREADS as usize + 1);
    let mut written = [0; THREADS as usize];
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (log, is_over, start) = (&log, &is_over, &start);
                scope.spawn(move || {
                    start.wait();
                    let (name, mut n) = (thread.to_string(), 0u64);
                    while !is_over.load(Ordering::Relaxed) {
                        log.write(&record(&name, &n.to_string()));
                        n += 1;
                        if n.is_multiple_of(10) {
                            // At the pace of visitors, or the disk is what is tested.
                            thread::park_timeout(Duration::from_millis(1));
                        }
                    }
                    n
                })
            })
            .collect();
        start.wait();
        for n in 0..CHANGES {
            eventually("the file has lines", || read(&path).lines().count() > 100);
            std::fs::rename(&path, moved(n)).expect("moved");
            log.reopen();
            eventually("there is a new file", || path.exists());
        }
        is_over.store(true, Ordering::Relaxed);
        for (thread, written) in threads.into_iter().zip(&mut written) {
            *written = thread.join().expect("it ends");
        }
    });
    assert!(log.finish(PATIENCE));
    assert_eq!(log.dropped(), 0);
    let files = (0..CHANGES).map(moved).chain([path.clone()]);
    let lines: Vec<_> = files.flat_map(|path| numbers(&read(&path))).collect();
    for thread in 0..THREADS {
        let own = lines
            .iter()
            .filter(|(by, _)| *by == thread)
            .map(|(_, n)| *n);
        assert!(own.eq(0..written[thread as usize]), "of thread {thread}");
    }
}

#[test]
fn more_threads_than_buffers_lose_nothing() {
    const THREADS: usize = 100;
    let folder = Folder::new("log-threads");
    let path = folder.path("access.log");
    let log = open(&path, 2);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                for n in 0..100 {
                    log.write(&record(&thread.to_string(), &n.to_string()));
                }
            });
        }
    });
    assert!(log.finish(PATIENCE));
    assert_eq!(log.dropped(), 0);
    let lines = numbers(&read(&path));
    for thread in 0..THREADS as u64 {
        let own = lines
            .iter()
            .filter(|(by, _)| *by == thread)
            .map(|(_, n)| *n);
        assert!(own.eq(0..100), "of thread {thread}");
    }
}

#[test]
fn a_writer_that_is_stuck_costs_whole_lines_and_no_time() {
    let folder = Folder::new("log-stuck");
    let path = folder.path("pipe");
    mkfifo(&path, Mode::S_IRWXU).expect("a pipe");
    // Open at both ends, so that nobody waits for the other end.
    let mut pipe = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(O_NONBLOCK)
        .open(&path)
        .expect("open");
    // So many threads that each has the smallest buffer.
    let log = open(&path, 1_000);
    let mut line = Vec::new();
    log_line::json(&record("0", "0"), &mut Second::default(), &mut line);
    let mut written = 0;
    let mut write = |lines: u64| {
        for _ in 0..lines {
            log.write(&record("0", &written.to_string()));
            written += 1;
        }
        written
    };
    // A pipe takes no more than this, so the log's thread waits for it and the buffer fills up.
    let in_pipe = (64 * 1024 / line.len()) as u64;
    eventually("it is stuck", || {
        let written = write(20);
        let dropped = log.dropped();
        dropped > 0 && written - dropped > in_pipe
    });
    let written = write(2_000);
    assert!(log.dropped() > 1_000);
    let tray = log.desk.trays.at(Place::mine());
    let buffer = tray.buffer.take().expect("it is there");
    assert!(buffer.lines.capacity() <= MIN_BUFFER);
    tray.buffer.store(Some(buffer));
    assert!(!log.finish(Duration::ZERO), "it cannot end yet");
    let mut text = Vec::new();
    eventually("the rest is written", || {
        let _ = pipe.read_to_end(&mut text);
        log.finish(Duration::ZERO)
    });
    let _ = pipe.read_to_end(&mut text);
    let lines = numbers(std::str::from_utf8(&text).expect("text"));
    assert!(lines.is_sorted());
    assert_eq!(lines.len() as u64 + log.dropped(), written);
}

#[test]
fn what_cannot_be_written_is_counted() {
    // Every write fails for want of space.
    let log = open(Path::new("/dev/full"), 1);
    for n in 0..10 {
        log.write(&record("0", &n.to_string()));
    }
    assert!(log.finish(PATIENCE));
    assert_eq!(log.dropped(), 10);
}

#[test]
fn buffers_change_hands_without_a_lock() {
    assert!(AtomicCell::<Option<Box<Buffer>>>::is_lock_free());
}
