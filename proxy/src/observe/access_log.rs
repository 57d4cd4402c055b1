//! The access log: one line a request, written by a thread of its own.
//!
//! A disk that is too slow costs lines, never requests; how many is counted.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::header::{REFERER, USER_AGENT};
use serde::Serialize;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::Record;
use crate::{
    config::model::{AccessLog as Config, LogFormat, LogTarget},
    snapshot::BuildError,
};

/// Lines that may wait for the disk; about 4 MiB.
const MAX_WAITING: usize = 16 * 1024;

/// An open access log.
pub struct AccessLog {
    format: LogFormat,
    writer: NonBlocking,
    reopen: Arc<AtomicBool>,
    /// Flushes when the last holder lets go.
    _guard: WorkerGuard,
}

impl AccessLog {
    /// Opens the target and starts its thread.
    pub fn open(config: &Config) -> Result<Self, BuildError> {
        let reopen = Arc::new(AtomicBool::new(false));
        let target: Box<dyn Write + Send> = match &config.target {
            LogTarget::Stdout => Box::new(BufWriter::new(io::stdout())),
            LogTarget::File(path) => Box::new(Reopening {
                file: BufWriter::new(append(path).map_err(|why| BuildError::File {
                    path: path.clone(),
                    why,
                })?),
                path: path.clone(),
                reopen: Arc::clone(&reopen),
            }),
        };
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(MAX_WAITING)
            .lossy(true)
            .thread_name("access-log")
            .finish(target);
        Ok(Self {
            format: config.format,
            writer,
            reopen,
            _guard: guard,
        })
    }

    /// Opens the file anew before the next line, after it was moved away.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
    }

    /// Lines that were dropped because too many were waiting.
    pub fn dropped(&self) -> usize {
        self.writer.error_counter().dropped_lines()
    }

    /// Writes a request's line.
    pub fn write(&self, record: &Record<'_>) {
        let mut line = Vec::with_capacity(512);
        match self.format {
            LogFormat::Json => json(record, &mut line),
            LogFormat::Combined => combined(record, &mut line),
        }
        line.push(b'\n');
        // A lossy writer never fails; what it drops it counts.
        let _ = self.writer.clone().write(&line);
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// A file that follows its name when it is told to.
struct Reopening {
    file: BufWriter<File>,
    path: PathBuf,
    reopen: Arc<AtomicBool>,
}

impl Write for Reopening {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.reopen.swap(false, Ordering::AcqRel) {
            self.file.flush()?;
            match append(&self.path) {
                Ok(file) => self.file = BufWriter::new(file),
                Err(why) => {
                    tracing::error!(path = %self.path.display(), %why, "access log cannot be reopened")
                }
            }
        }
        self.file.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A line of the JSON format; durations in milliseconds.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    client: std::net::IpAddr,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    status: u16,
    bytes: u64,
    duration_ms: f64,
    route: Option<&'a str>,
    cache: &'a str,
    upstream: Option<&'a str>,
    upstream_ms: Option<f64>,
    attempts: u32,
    request_id: &'a str,
    protocol: &'a str,
    limit: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    user_agent: String,
}

fn millis(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn json(record: &Record<'_>, out: &mut Vec<u8>) {
    let line = Line {
        time: super::process_log::timestamp(record.began.wall),
        client: record.client,
        method: record.method.as_str(),
        host: record.host,
        path: record.target,
        status: record.status,
        bytes: record.bytes,
        duration_ms: millis(record.duration),
        route: record.route.map(|r| r.name.as_str()),
        cache: record.outcome.label(),
        upstream: record.upstream,
        upstream_ms: record.upstream_time.map(millis),
        attempts: record.attempts,
        request_id: record.request_id,
        protocol: record.protocol.as_str(),
        limit: match record.limit {
            None => "none",
            Some(limit) if limit.retry_after > 0 => "rejected",
            Some(_) => "passed",
        },
        limit_rule: record.limit.map(|l| &*l.rule),
        reason: record.reason,
        user_agent: field(record, &USER_AGENT),
    };
    // Strings and numbers always serialise, and memory always takes them.
    let _ = serde_json::to_writer(out, &line);
}

fn field(record: &Record<'_>, name: &http::HeaderName) -> String {
    let mut text = String::new();
    if let Some(fields) = record.fields {
        fields.for_each(name, &mut |value| {
            if text.is_empty() {
                text = String::from_utf8_lossy(value).into_owned();
            }
        });
    }
    text
}

/// `client - - [time] "request" status bytes "referer" "user agent"`
fn combined(record: &Record<'_>, out: &mut Vec<u8>) {
    let quoted = |text: String| match text.as_str() {
        "" => "-".to_owned(),
        text => text
            .chars()
            .flat_map(|c| match c {
                '"' | '\\' => format!("\\x{:02X}", u32::from(c))
                    .chars()
                    .collect::<Vec<_>>(),
                c if c.is_control() => format!("\\x{:02X}", u32::from(c)).chars().collect(),
                c => vec![c],
            })
            .collect(),
    };
    let _ = write!(
        out,
        "{} - - [{}] \"{} {} {}\" {} {} \"{}\" \"{}\"",
        record.client,
        super::process_log::common_log_time(record.began.wall),
        record.method,
        quoted(record.target.to_owned()),
        record.protocol.as_str(),
        record.status,
        record.bytes,
        quoted(field(record, &REFERER)),
        quoted(field(record, &USER_AGENT)),
    );
}
