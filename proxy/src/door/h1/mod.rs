//! HTTP/1.1: a connection's requests, one after the other.
//!
//! Read a head, decide, answer. A hit is written here, head and body together. What needs an upstream
//! is handed over with the stream, and the stream comes back when Pingora is done with the request.

pub mod chunked;
mod hand_over;
pub mod parse;
mod read;
pub mod scan;
mod stored;
mod write;

pub use write::hit_head;

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use pingora::protocols::Stream;
use tokio::{io::AsyncReadExt, time::timeout};

use self::parse::{Head, Refusal};
use super::Hall;
use crate::{
    admit::client,
    cache::status::Outcome,
    edge::{self, Body, Connection, Decision, Rejection, RequestView, decide::Now},
    observe::{Protocol, Record},
    respond::{Reply, reply::Asked, reply::wants_json},
    snapshot::Snapshot,
};

/// After a refusal the client's bytes are read and dropped for this long, so that it sees the answer
/// instead of a reset.
const LINGER: Duration = Duration::from_secs(1);
/// And no more than this many bytes.
const LINGER_BYTES: usize = 256 * 1024;

/// An HTTP/1.1 connection.
struct Session<'a> {
    hall: &'a Hall,
    connection: &'a Connection,
    stream: Stream,
    /// Bytes that were read and not yet used.
    buf: BytesMut,
    /// Reused for the fields that differ from answer to answer.
    out: BytesMut,
    head: Head,
}

/// What becomes of the connection after a request.
enum Next {
    /// Another request may come.
    Another,
    /// It is over.
    Close,
}

/// The facts of a request that outlast its bytes.
struct Noted {
    now: Now,
    client: std::net::IpAddr,
    trusted: bool,
    request_id: String,
}

/// Serves a connection until it ends. Errors of the connection end it; nobody is left to tell.
pub async fn serve(hall: &Hall, connection: &Connection, stream: Stream) {
    let mut session = Session {
        hall,
        connection,
        stream,
        buf: BytesMut::new(),
        out: BytesMut::new(),
        head: Head::default(),
    };
    let mut first = true;
    loop {
        let snapshot = hall.current.load_full();
        let length = match session.read_head(&snapshot, first).await {
            Ok(Some(length)) => length,
            Ok(None) => return,
            Err(refusal) => return session.refuse_unread(refusal).await,
        };
        first = false;
        let Some((next, back)) = session.request(snapshot, length).await else {
            return;
        };
        session = back;
        if matches!(next, Next::Close) {
            // A reader that is not told the end of the connection may wait for it.
            let _ = timeout(super::STALLED, session.stream.shutdown()).await;
            return;
        }
    }
}

impl<'a> Session<'a> {
    /// Answers the request whose head is at the front of the buffer. `None`: the stream is gone.
    async fn request(mut self, snapshot: Arc<Snapshot>, length: usize) -> Option<(Next, Self)> {
        let now = self.hall.now();
        let bytes = self.buf.split_to(length);
        if let Err(refusal) = self.head.parse(&bytes, snapshot.bounds.max_target) {
            self.refuse_unread(refusal).await;
            return None;
        }
        let (host, noted, decision) = self.judge(&snapshot, &bytes, now);
        match decision {
            Decision::Respond(hit) => {
                let next = self.respond(&snapshot, &bytes, &hit, &noted).await;
                self.done(next)
            }
            Decision::Fetch(fetch) => self.fetch(snapshot, bytes, host, fetch, noted).await,
            Decision::Redirect { status, location } => {
                let reply = Reply::redirect(status, &location, &self.asked(&bytes, &noted));
                let next = self.reply(&bytes, &reply, &noted, None).await;
                self.done(next)
            }
            Decision::Reject(rejection) => {
                let reply = Reply::rejection(&rejection, &self.asked(&bytes, &noted));
                let next = self.reply(&bytes, &reply, &noted, Some(&rejection)).await;
                self.done(next)
            }
            Decision::Forward(forward) => {
                self.hand_over(snapshot, bytes, host, forward, noted).await
            }
        }
    }

    /// Puts the request before the decision.
    fn judge(&self, snapshot: &Snapshot, bytes: &[u8], now: Now) -> (String, Noted, Decision) {
        let authority = match self.head.host(bytes) {
            "" => self.connection.local.to_string(),
            host => host.to_owned(),
        };
        let fields = self.head.fields(bytes);
        let trusted_proxies = &snapshot.bounds.trusted_proxies;
        let peer = self.connection.peer.ip();
        let trusted = client::is_trusted(peer, trusted_proxies);
        let client = client::client_address(peer, &fields, trusted_proxies);
        let request_id = super::request_id(&fields, trusted);
        let view = RequestView {
            method: &self.head.method,
            authority: &authority,
            target: self.head.target(bytes),
            fields: &fields,
            body: self.head.body,
            client,
            connection: self.connection,
        };
        let decision = edge::decide(snapshot, &self.hall.shared, &view, now);
        (
            authority,
            Noted {
                now,
                client,
                trusted,
                request_id,
            },
            decision,
        )
    }

    fn done(self, next: Result<Next, std::io::Error>) -> Option<(Next, Self)> {
        next.ok().map(|next| (next, self))
    }

    fn asked<'n>(&self, bytes: &[u8], noted: &'n Noted) -> Asked<'n> {
        Asked {
            request_id: &noted.request_id,
            wants_json: wants_json(&self.head.fields(bytes)),
        }
    }

    fn protocol(&self) -> Protocol {
        if self.head.is_http10 {
            Protocol::Http10
        } else {
            Protocol::Http11
        }
    }

    /// Whether the connection ends after an answer that left the request's body unread.
    fn closes(&mut self) -> bool {
        let body_is_here = match self.head.body {
            Body::None => true,
            Body::Length(n) if n <= self.buf.len() as u64 => {
                self.buf.advance(n as usize);
                true
            }
            _ => false,
        };
        self.head.close || !body_is_here || self.hall.shared.is_draining()
    }

    /// Writes a response of our own.
    async fn reply(
        &mut self,
        bytes: &[u8],
        reply: &Reply,
        noted: &Noted,
        rejection: Option<&Rejection>,
    ) -> std::io::Result<Next> {
        let closing = rejection.is_some_and(|r| r.close);
        let body_left = self.head.body != Body::None;
        let close = self.closes() || closing;
        let head_only = self.head.method == http::Method::HEAD;
        let sent = write::bytes(&mut self.stream, &reply.to_http1(head_only, close)).await;
        self.tell(
            bytes,
            noted,
            &Record {
                status: reply.status,
                bytes: if head_only {
                    0
                } else {
                    reply.body.len() as u64
                },
                route: rejection.and_then(|r| r.route.as_deref()),
                limit: rejection.and_then(|r| r.limit.as_ref()),
                reason: rejection.map(|r| r.reason),
                ..self.blank(noted)
            },
        );
        sent?;
        if close && (closing || body_left) {
            self.linger().await;
        }
        Ok(if close { Next::Close } else { Next::Another })
    }

    fn blank<'n>(&'n self, noted: &'n Noted) -> Record<'n> {
        Record {
            began: noted.now,
            duration: Duration::ZERO,
            client: noted.client,
            protocol: self.protocol(),
            method: &self.head.method,
            host: "",
            target: "",
            status: 0,
            bytes: 0,
            route: None,
            outcome: Outcome::None,
            upstream: None,
            upstream_time: None,
            attempts: 0,
            request_id: &noted.request_id,
            limit: None,
            reason: None,
            fields: None,
        }
    }

    fn tell(&self, bytes: &[u8], noted: &Noted, record: &Record<'_>) {
        let fields = self.head.fields(bytes);
        self.hall.shared.finish(&Record {
            duration: self.hall.started.elapsed().saturating_sub(noted.now.tick),
            host: self.head.host(bytes),
            target: self.head.target(bytes),
            fields: Some(&fields),
            ..*record
        });
    }

    /// Refuses what cannot be trusted any further: the answer goes out and the connection ends.
    async fn refuse_unread(mut self, refusal: Refusal) {
        let request_id = super::new_request_id();
        let asked = Asked {
            request_id: &request_id,
            wants_json: false,
        };
        let reply = Reply::error(refusal.status, &asked);
        let sent = write::bytes(&mut self.stream, &reply.to_http1(false, true)).await;
        let now = self.hall.now();
        self.hall.shared.finish(&Record {
            began: now,
            duration: Duration::ZERO,
            client: self.connection.peer.ip().to_canonical(),
            protocol: Protocol::Http11,
            method: &http::Method::GET,
            host: "",
            target: "",
            status: refusal.status,
            bytes: reply.body.len() as u64,
            route: None,
            outcome: Outcome::None,
            upstream: None,
            upstream_time: None,
            attempts: 0,
            request_id: &request_id,
            limit: None,
            reason: Some(refusal.reason),
            fields: None,
        });
        if sent.is_ok() && write::flush(&mut self.stream).await.is_ok() {
            self.linger().await;
        }
    }

    /// Ends our side and drops what the client still sends, for a short while.
    async fn linger(&mut self) {
        use tokio::io::AsyncWriteExt;
        let _ = timeout(LINGER, async {
            if self.stream.flush().await.is_err()
                || AsyncWriteExt::shutdown(&mut self.stream).await.is_err()
            {
                return;
            }
            let mut left = LINGER_BYTES;
            let mut sink = [0; 4096];
            while let Ok(n @ 1..) = self.stream.read(&mut sink).await {
                left = left.saturating_sub(n);
                if left == 0 {
                    return;
                }
            }
        })
        .await;
    }
}
