//! Reading heads, each within its time and size.

use bytes::{Buf, BytesMut};
use tokio::{
    io::AsyncReadExt,
    time::{Instant, timeout_at},
};

use http1_wire::{HeadScanner, Refusal};

use super::{Session, write};
use crate::{listen::stream::Stream, snapshot::Snapshot};

/// What a connection's buffer holds while it has something to hold.
const BUFFER: usize = 4 * 1024;

impl Session<'_> {
    /// Reads until a head is complete. `None` where the connection ends between requests.
    pub(super) async fn read_head(
        &mut self,
        snapshot: &Snapshot,
        first: bool,
    ) -> Result<Option<usize>, Refusal> {
        let bounds = &snapshot.bounds;
        let mut scanner = HeadScanner::default();
        let idle = if first {
            bounds.header_timeout
        } else {
            bounds.keepalive_timeout
        };
        // Set once: empty lines before a request must not keep a connection for ever.
        let idle_until = Instant::now() + idle;
        let mut deadline = None;
        loop {
            // A client may end the last body with one line too many (RFC 9112 §2.2).
            if self.buf.starts_with(b"\r\n") && deadline.is_none() {
                self.buf.advance(2);
            }
            if let Some(length) = scanner.scan(&self.buf)? {
                if length > bounds.max_header {
                    return Err(Refusal {
                        status: 431,
                        reason: "request head too large",
                    });
                }
                return Ok(Some(length));
            }
            if self.buf.len() > bounds.max_header {
                let in_line = memchr::memchr(b'\n', &self.buf).is_none();
                return Err(if in_line {
                    Refusal {
                        status: 414,
                        reason: "request target too long",
                    }
                } else {
                    Refusal {
                        status: 431,
                        reason: "request head too large",
                    }
                });
            }
            if write::flush(&mut self.stream).await.is_err() {
                return Ok(None);
            }
            let read = if self.buf.is_empty() {
                let mut drain = self.hall.shared.drain_signal();
                tokio::select! {
                    biased;
                    read = timeout_at(idle_until, read_some(&mut self.stream, &mut self.buf)) => {
                        let Ok(read) = read else { return Ok(None) };
                        read
                    }
                    // A connection without a request at hand goes when the process does.
                    _ = drain.wait_for(|draining| *draining) => return Ok(None),
                }
            } else {
                let deadline =
                    *deadline.get_or_insert_with(|| Instant::now() + bounds.header_timeout);
                match timeout_at(deadline, read_some(&mut self.stream, &mut self.buf)).await {
                    Ok(read) => read,
                    Err(_) => {
                        return Err(Refusal {
                            status: 408,
                            reason: "request head took too long",
                        });
                    }
                }
            };
            match read {
                Ok(0) | Err(_) => return Ok(None),
                Ok(_) => {}
            }
        }
    }
}

/// Reads what is here, or waits for something to come.
pub(super) async fn read_some(stream: &mut Stream, buf: &mut BytesMut) -> std::io::Result<usize> {
    if buf.capacity() - buf.len() < BUFFER / 4 {
        buf.reserve(BUFFER);
    }
    stream.read_buf(buf).await
}
