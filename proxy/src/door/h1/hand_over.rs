//! Handing a request over to Pingora, with its body and nothing behind it.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::time::timeout;

use http1_wire::{Refusal, chunked::ChunkScanner, request::Head};

use super::{Next, Noted, Session, write};
use crate::{
    door::{
        forward::{Handover, Upload},
        lent::{Lent, Share},
    },
    edge::{Body, Forward, Rejection},
    respond::Reply,
    snapshot::Snapshot,
};

/// A chunked body up to this size is read and checked before anyone else sees a byte of it.
const CHECKED_AHEAD: usize = 64 * 1024;

impl Session<'_> {
    /// Lends the stream to Pingora for this request.
    pub(super) async fn hand_over(
        mut self,
        snapshot: Arc<Snapshot>,
        bytes: BytesMut,
        host: String,
        forward: Forward,
        noted: Noted,
    ) -> Option<(Next, Self)> {
        if write::flush(&mut self.stream).await.is_err() {
            return None;
        }
        let mut body = BytesMut::new();
        let share = match self.take_body(&snapshot, &mut body, &forward).await {
            Ok(share) => share,
            Err(refusal) => {
                let rejection = Rejection {
                    route: Some(Arc::clone(&forward.route)),
                    limit: forward.limit,
                    ..Rejection::closing(refusal.status, refusal.reason)
                };
                let reply = Reply::rejection(&rejection, &self.asked(&bytes, &noted));
                let next = self.reply(&bytes, &reply, &noted, Some(&rejection)).await;
                return self.done(next);
            }
        };
        let sent_target = self.head.target(&bytes).to_owned();
        let mut request = with_target(&self.head, bytes, &forward.target);
        request.unsplit(body);
        let handover = Handover {
            snapshot,
            forward,
            began: noted.now,
            client: noted.client,
            peer: self.connection.peer.ip(),
            trusted: noted.trusted,
            scheme: self.connection.scheme,
            protocol: self.protocol(),
            request_id: noted.request_id,
            host,
            target: sent_target,
            upload: Upload::default(),
        };
        let behind = std::mem::take(&mut self.buf);
        let lent = Lent::new(self.stream, share, behind);
        let back = self
            .hall
            .forwarder
            .http1(Box::new(lent), request, handover)
            .await?;
        let lent = back.into_any().downcast::<Lent>().ok()?;
        let (stream, behind) = lent.take_back()?;
        self.stream = stream;
        self.buf = behind;
        let next = if self.head.close {
            Next::Close
        } else {
            Next::Another
        };
        Some((next, self))
    }

    /// Takes what is here of the body, and says what of the stream is still to come.
    async fn take_body(
        &mut self,
        snapshot: &Snapshot,
        body: &mut BytesMut,
        forward: &Forward,
    ) -> Result<Share, Refusal> {
        if self.head.upgrade {
            body.unsplit(self.buf.split());
            return Ok(Share::Everything);
        }
        match self.head.body {
            Body::None => Ok(Share::Bytes(0)),
            Body::Length(n) => {
                let here = self.buf.len().min(usize::try_from(n).unwrap_or(usize::MAX));
                body.extend_from_slice(&self.buf.split_to(here));
                Ok(Share::Bytes(n - here as u64))
            }
            Body::Unknown => {
                let mut scanner = ChunkScanner::default();
                let mut checked = 0;
                loop {
                    let own = scanner.scan(&self.buf).map_err(|why| Refusal {
                        status: 400,
                        reason: why.0,
                    })?;
                    checked += own;
                    body.extend_from_slice(&self.buf.split_to(own));
                    if scanner.content() > forward.route.max_body {
                        return Err(Refusal {
                            status: 413,
                            reason: "request body exceeds the route's max_body",
                        });
                    }
                    // Who waits for `100 Continue` sends nothing until the upstream has spoken.
                    if scanner.is_done() || checked >= CHECKED_AHEAD || self.head.expects_continue {
                        return Ok(Share::Chunked(scanner));
                    }
                    let read = self.read_some();
                    match timeout(snapshot.bounds.body_timeout, read).await {
                        Err(_) => {
                            return Err(Refusal {
                                status: 408,
                                reason: "request body took too long",
                            });
                        }
                        Ok(Ok(0) | Err(_)) => {
                            return Err(Refusal {
                                status: 400,
                                reason: "request body ends early",
                            });
                        }
                        Ok(Ok(_)) => {}
                    }
                }
            }
        }
    }
}

/// The head as Pingora is to read it: the same field lines under the normalised target.
fn with_target(head: &Head, bytes: BytesMut, target: &str) -> BytesMut {
    if head.target(&bytes) == target && bytes.starts_with(head.method.as_str().as_bytes()) {
        let after_method = &bytes[head.method.as_str().len() + 1..];
        if after_method.starts_with(target.as_bytes()) {
            return bytes;
        }
    }
    let line_end = memchr::memchr(b'\n', &bytes).map_or(0, |at| at + 1);
    let mut out = BytesMut::with_capacity(bytes.len() + target.len());
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(if head.is_http10 {
        b" HTTP/1.0\r\n"
    } else {
        b" HTTP/1.1\r\n"
    });
    out.extend_from_slice(&bytes[line_end..]);
    out
}
