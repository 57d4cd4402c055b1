//! HTTP/1.1: a connection's requests, one after the other.
//!
//! `hits.rs` reads what has arrived and answers, in one write, whatever lies in memory; nothing of that
//! belongs to the connection. Any other request leaves that path as a `Request` and is answered here:
//! fetched, refused, redirected, or forwarded to a shop.

mod delayed;
mod desk;
mod hand_over;
mod hits;
mod stored;
mod visitor;
mod write;

pub use write::hit_head;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use http1_wire::{HeadScanner, Refusal, request::Head};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    time::{Instant, timeout},
};

use self::hits::Turn;
use super::{
    Hall,
    linger::linger,
    pace::{Pace, Patience},
};
use crate::{
    cache::status::Outcome,
    deadline::Deadline,
    edge::{Body, Connection, Decision, decide::Now},
    listen::{
        places::{Place, Standing},
        stream::Stream,
    },
    observe::{Protocol, Record, Told},
    respond::{
        Reply,
        reply::{Asked, hsts, wants_json},
    },
    snapshot::Snapshot,
};

/// What is read at once of a request that is not answered from memory.
const BUFFER: usize = 4 * 1024;

/// An HTTP/1.1 connection. Between requests it holds the stream and little else.
struct Session<'a> {
    hall: &'a Hall,
    connection: &'a Connection,
    stream: Stream,
    /// Bytes that were read and not yet used: the beginning of a request, or a body.
    buf: BytesMut,
    /// How far `buf` was searched for the end of a head.
    scanner: HeadScanner,
    /// An empty line was passed over where a head should begin.
    skipped_line: bool,
    /// The head of the request at hand, where it is not a hit.
    head: Head,
    /// Until when a request must have begun; empty lines do not put it off.
    idle_until: Instant,
    /// Until when the head that has begun must be complete.
    head_until: Option<Instant>,
    /// Until when it may rest although the process ends.
    leaves_idle: Option<Instant>,
    deadline: Deadline,
    /// How slowly the visitor may read.
    patience: Patience,
    place: &'a mut Place,
}

/// What becomes of the connection after a request.
enum Next {
    /// Another request may come.
    Another,
    /// It is over.
    Close,
    /// It is over, and the visitor may still be sending.
    Linger,
}

/// A request that is not answered by a hit.
struct Request {
    snapshot: Arc<Snapshot>,
    decision: Decision,
    /// Its head as it came.
    bytes: BytesMut,
    head: Head,
    host: String,
    noted: Noted,
}

/// The facts of a request that outlast its bytes.
struct Noted {
    now: Now,
    client: std::net::IpAddr,
    trusted: bool,
    request_id: String,
}

/// Serves a connection until it ends. Errors of the connection end it; nobody is left to tell.
pub async fn serve(hall: &Hall, connection: &Connection, stream: Stream, place: &mut Place) {
    let (idle_until, pace) = {
        let bounds = &hall.current.load().bounds;
        let until = Instant::now() + bounds.header_timeout;
        (until, Pace::sending(&bounds.visitors))
    };
    let mut session = Session {
        hall,
        connection,
        stream,
        buf: BytesMut::new(),
        scanner: HeadScanner::default(),
        skipped_line: false,
        head: Head::default(),
        idle_until,
        head_until: None,
        leaves_idle: None,
        deadline: Deadline::default(),
        patience: Patience::new(pace),
        place,
    };
    loop {
        let mut turn = poll_fn(|cx| session.poll_turn(cx)).await;
        // Boxed: what the rare cases need shall not be held by connections that wait.
        if let Turn::Unsent(unsent) = turn {
            session.place.stand(Standing::Working);
            turn = match Box::pin(session.send_rest(*unsent)).await {
                Some(then) => then,
                None => return,
            };
        }
        let next = match turn {
            Turn::Wait | Turn::Unsent(_) => Next::Another,
            Turn::Over => return poll_fn(|cx| session.stream.poll_goodbye(cx)).await,
            Turn::Close => Next::Close,
            // Bytes that nobody reads would become a reset, which some visitors do not take for an end in peace.
            Turn::Leave => Next::Linger,
            Turn::Refuse(refusal) => return Box::pin(session.refuse_unread(refusal)).await,
            Turn::Request(request) => {
                session.place.stand(Standing::Working);
                match Box::pin(session.request(*request)).await {
                    Some(next) => {
                        session.begin_to_wait();
                        next
                    }
                    None => return,
                }
            }
        };
        match next {
            Next::Another => {}
            Next::Close => return Box::pin(session.close()).await,
            Next::Linger => return Box::pin(linger(&mut session.stream, session.place)).await,
        }
    }
}

impl Session<'_> {
    /// Answers a request that is no hit. `None`: the stream is gone.
    async fn request(&mut self, request: Request) -> Option<Next> {
        let Request {
            snapshot,
            decision,
            bytes,
            head,
            host,
            noted,
        } = request;
        self.head = head;
        match decision {
            Decision::Respond(hit) => {
                let next = self.respond(&snapshot, &bytes, &hit, &noted).await;
                next.ok()
            }
            Decision::Delay(delay) => {
                let waited = self.wait_for_turn(&snapshot, &bytes, &host, delay, &noted);
                let decision = Box::pin(waited).await?;
                let request = Request {
                    snapshot,
                    decision,
                    bytes,
                    head: std::mem::take(&mut self.head),
                    host,
                    noted,
                };
                Box::pin(self.request(request)).await
            }
            // Each in a box of its own: who waits for long shall not hold what the other needs.
            Decision::Fetch(fetch) => {
                Box::pin(self.fetch(snapshot, bytes, host, fetch, noted)).await
            }
            Decision::Redirect { status, location } => {
                let asked = self.asked(&snapshot, &bytes, &noted);
                let mut reply = Reply::redirect(status, &location, &asked);
                reply.dress(&snapshot.dress);
                let next = self.reply(&bytes, &reply, &noted, Told::default()).await;
                next.ok()
            }
            Decision::Own(own) => {
                let reply = Reply::own(&own, &self.asked(&snapshot, &bytes, &noted));
                let next = self.reply(&bytes, &reply, &noted, (&own).into()).await;
                next.ok()
            }
            Decision::Challenge(text) => {
                let reply = Reply::challenge(&text, &self.asked(&snapshot, &bytes, &noted));
                let next = self.reply(&bytes, &reply, &noted, Told::default()).await;
                next.ok()
            }
            Decision::Reject(rejection) => {
                let dress = snapshot.dress(rejection.route.as_deref());
                let asked = self.asked(&snapshot, &bytes, &noted);
                let reply = Reply::rejection(&rejection, dress, &asked);
                let told = (&rejection).into();
                let next = self.reply(&bytes, &reply, &noted, told).await;
                next.ok()
            }
            Decision::Wait(wait) => {
                let dress = snapshot.dress(wait.rejection.route.as_deref());
                let asked = self.asked(&snapshot, &bytes, &noted);
                let reply = Reply::notice(&wait, dress, &asked);
                let told = (&wait.rejection).into();
                let next = self.reply(&bytes, &reply, &noted, told).await;
                next.ok()
            }
            Decision::Forward(forward) => {
                Box::pin(self.hand_over(snapshot, bytes, host, forward, noted)).await
            }
        }
    }

    fn asked<'n>(&self, snapshot: &Snapshot, bytes: &[u8], noted: &'n Noted) -> Asked<'n> {
        let scheme = self.connection.scheme;
        Asked {
            request_id: &noted.request_id,
            wants_json: wants_json(&self.head.fields(bytes)),
            scheme,
            hsts: hsts(snapshot, scheme),
        }
    }

    fn protocol(&self) -> Protocol {
        protocol(&self.head)
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
        self.head.close || !body_is_here || self.ends_soon()
    }

    /// Whether the connection ends with the answer at hand, whatever its visitor wants.
    fn ends_soon(&self) -> bool {
        self.hall.shared.is_draining() || self.place.is_leaving()
    }

    /// Writes a response of our own.
    async fn reply(
        &mut self,
        bytes: &[u8],
        reply: &Reply,
        noted: &Noted,
        told: Told<'_>,
    ) -> std::io::Result<Next> {
        let closing = told.close;
        let body_left = self.head.body != Body::None;
        let close = self.closes() || closing;
        let head_only = self.head.method == http::Method::HEAD;
        let sent = write::bytes(
            &mut self.stream,
            &mut self.patience,
            &reply.to_http1(head_only, close),
        )
        .await;
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
                route: told.route,
                limit: told.limit,
                room: told.room,
                reason: told.reason,
                ..self.blank(noted)
            },
        );
        sent?;
        write::flush(&mut self.stream, &mut self.patience).await?;
        Ok(match close {
            true if closing || body_left => Next::Linger,
            true => Next::Close,
            false => Next::Another,
        })
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
            retried: None,
            request_id: &noted.request_id,
            limit: None,
            room: None,
            reason: None,
            fields: None,
            client_cert: self.connection.client_cert(),
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
            scheme: self.connection.scheme,
            hsts: hsts(&self.hall.current.load(), self.connection.scheme),
        };
        let mut reply = Reply::error(refusal.status, &asked);
        reply.dress_failure(&self.hall.current.load().dress, false);
        let (stream, patience) = (&mut self.stream, &mut self.patience);
        let sending = async {
            write::bytes(stream, patience, &reply.to_http1(false, true)).await?;
            write::flush(stream, patience).await
        };
        let sent = self.place.unless_shed(sending).await;
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
            retried: None,
            request_id: &request_id,
            limit: None,
            room: None,
            reason: Some(refusal.reason),
            fields: None,
            client_cert: self.connection.client_cert(),
        });
        if matches!(sent, Some(Ok(()))) {
            linger(&mut self.stream, self.place).await;
        }
    }

    /// Ends the connection behind the last answer.
    async fn close(mut self) {
        // Whoever has asked for more than it gets, or did not know that this is the end, may lose the answer
        // to the reset that unread bytes cause (RFC 9112 §9.6).
        let is_asking = !self.buf.is_empty() || self.ends_soon();
        if is_asking || poll_fn(|cx| self.poll_unread(cx)).await {
            return linger(&mut self.stream, self.place).await;
        }
        // A reader that is not told the end of the connection may wait for it.
        let told = timeout(super::STALLED, self.stream.shutdown());
        self.place.unless_shed(told).await;
    }

    /// Whether something has arrived that nobody reads; ready at once.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut byte);
        Poll::Ready(matches!(read, Poll::Ready(Ok(()))) && !byte.filled().is_empty())
    }

    /// Ends the connection with a reset, where its end in peace would say that the answer is complete.
    fn abort(&self) {
        let _ = SockRef::from(self.stream.tcp()).set_linger(Some(Duration::ZERO));
    }

    /// Reads what is here, or waits for something to come.
    async fn read_some(&mut self) -> std::io::Result<usize> {
        if self.buf.capacity() - self.buf.len() < BUFFER / 4 {
            self.buf.reserve(BUFFER);
        }
        self.stream.read_buf(&mut self.buf).await
    }
}

fn protocol(head: &Head) -> Protocol {
    if head.is_http10 {
        Protocol::Http10
    } else {
        Protocol::Http11
    }
}

/// Our end of the connection, which stands in for the authority that HTTP/1.0 may leave out.
fn local_address(stream: &Stream) -> String {
    let address = stream.tcp().local_addr();
    address.map_or_else(|_| String::new(), |address| address.to_string())
}
