//! HTTP/2 towards servers (RFC 9113): the connections of a thread, and one exchange on a stream of one.
//!
//! Every server has one connection per thread, and further ones while its streams are all in use. A task drives
//! each. A stream is used through [`Connection`](super::connection::Connection), like a connection that speaks
//! HTTP/1.1: its answer's head is written out in that form and parsed by the same strict rules.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    io::{self, IoSlice, Write},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use http::{
    HeaderMap, Method, Request, Response, StatusCode, Uri, Version, header::CONTENT_LENGTH,
};
use http1_wire::response::MAX_HEAD;
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::respond::fault::Fault;
use crate::upstream::{Server, Upstream};

/// What a server may send on a stream before we have passed it on: all that a visitor who does not read makes
/// us hold, besides a frame and a buffer.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Streams of a connection at once, where its server takes so many.
const MAX_STREAMS: usize = 256;
/// Wide enough for all streams at once: visitors who do not read hold up no other.
const CONNECTION_WINDOW: u32 = MAX_STREAMS as u32 * STREAM_WINDOW;
/// Connections to one server from one thread. When their streams are all in use, requests wait in the
/// connection that has the fewest.
const MAX_CONNECTIONS: usize = 8;
/// Streams that were reset by us and are remembered for a while, so that what still comes for them is no error.
const MAX_RESET: usize = 4 * MAX_STREAMS;
/// What is handed to a connection at once, and waits there to be written.
const PIECE: usize = 16 * 1024;
const MAX_UNSENT: usize = 64 * 1024;
/// Times that a request begins a stream: the connection may have ended just then.
const ROUNDS: usize = 3;
/// Times that it looks for a connection: others who waited as well may have taken all streams of a new one.
const LOOKS: usize = MAX_CONNECTIONS + 1;

/// Connections of a thread to servers that speak HTTP/2.
#[derive(Default)]
pub struct Sessions {
    /// By the number of a server's state.
    known: Mutex<HashMap<u64, Known, ahash::RandomState>>,
}

/// What there is of one server.
#[derive(Default)]
struct Known {
    sessions: Vec<Session>,
    /// One is being made; says how that came out.
    opening: Option<Opening>,
}

type Opening = watch::Receiver<Option<Result<(), Fault>>>;

/// A connection.
struct Session {
    sender: SendRequest<Bytes>,
    load: Arc<Load>,
    /// Takes nothing new from then on, since the process began.
    until: Duration,
    /// How long it may be without streams.
    idle: Duration,
    idle_since: Option<Duration>,
    /// It has had a stream.
    is_used: bool,
}

/// What a connection's streams share.
#[derive(Default)]
struct Load {
    streams: AtomicUsize,
    /// Nothing new: it has ended, or its server says nothing.
    is_over: AtomicBool,
    /// What has been heard on any of them, for whether anything is.
    heard: AtomicUsize,
}

/// A stream's place in its connection's count.
struct Place(Arc<Load>);

impl Place {
    fn of(load: &Arc<Load>) -> Self {
        load.streams.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Session {
    fn is_good(&self, now: Duration) -> bool {
        self.until > now && !self.load.is_over.load(Ordering::Relaxed)
    }

    fn streams(&self) -> usize {
        self.load.streams.load(Ordering::Relaxed)
    }

    fn has_room(&self) -> bool {
        self.streams() < self.sender.current_max_send_streams().min(MAX_STREAMS)
    }

    /// Whether it has been without streams for too long.
    fn is_stale(&mut self, now: Duration) -> bool {
        if self.streams() > 0 {
            self.idle_since = None;
            return false;
        }
        now.saturating_sub(*self.idle_since.get_or_insert(now)) >= self.idle
    }

    fn take(&mut self) -> Taken {
        self.idle_since = None;
        // With other streams at work its end is no matter of a moment.
        let is_quiet = self.streams() == 0;
        Taken {
            sender: self.sender.clone(),
            place: Place::of(&self.load),
            is_used: std::mem::replace(&mut self.is_used, true),
            is_quiet,
        }
    }
}

/// A place on a connection.
struct Taken {
    sender: SendRequest<Bytes>,
    place: Place,
    is_used: bool,
    /// It was without streams just before.
    is_quiet: bool,
}

/// An exchange that has begun.
pub struct Begun {
    /// Its stream.
    pub stream: Stream,
    /// The connection had a stream before.
    pub is_used: bool,
    /// It had none just then.
    pub is_quiet: bool,
}

/// Where a request goes, and when.
#[derive(Clone, Copy)]
pub struct To<'a> {
    /// The group, for how its servers are reached.
    pub upstream: &'a Arc<Upstream>,
    /// The server.
    pub server: &'a Arc<Server>,
    /// Time since the process began.
    pub now: Duration,
    /// For a connection to come about.
    pub limit: Duration,
}

impl Sessions {
    fn known(&self) -> MutexGuard<'_, HashMap<u64, Known, ahash::RandomState>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an exchange: sends the head of a request, which is all of it where that is `complete`.
    pub async fn begin(
        self: &Arc<Self>,
        to: To<'_>,
        head: &Request<()>,
        complete: bool,
    ) -> Result<Begun, Fault> {
        for _ in 0..ROUNDS {
            let mut taken = self.take(to).await?;
            match taken.sender.send_request(head.clone(), complete) {
                Ok((response, send)) => {
                    let stream = Stream {
                        response,
                        send,
                        answer: None,
                        here: Bytes::new(),
                        trailers: None,
                        has_ended: complete,
                        to_head: head.method() == Method::HEAD,
                        heard_before: taken.place.0.heard.load(Ordering::Relaxed),
                        place: taken.place,
                    };
                    let begun = Begun {
                        stream,
                        is_used: taken.is_used,
                        is_quiet: taken.is_quiet,
                    };
                    return Ok(begun);
                }
                // It has ended meanwhile, or has had all the streams that it can have. Nothing was sent.
                Err(why) => {
                    tracing::debug!(error = %why, server = to.server.name, "no stream");
                    taken.place.0.is_over.store(true, Ordering::Relaxed);
                }
            }
        }
        Err(Fault::CLOSED)
    }

    /// A place on a connection that has one, or on a new one.
    async fn take(self: &Arc<Self>, to: To<'_>) -> Result<Taken, Fault> {
        let until = Instant::now() + to.limit;
        let mut fault = Fault::CLOSED;
        for _ in 0..LOOKS {
            let mut opening = match self.look(to) {
                Ok(taken) => return Ok(taken),
                Err(opening) => opening,
            };
            let opened = timeout_at(until, opening.wait_for(Option::is_some)).await;
            fault = match opened {
                Ok(Ok(outcome)) => match *outcome {
                    Some(Ok(())) => continue,
                    Some(Err(fault)) => fault,
                    None => Fault::CLOSED,
                },
                Ok(Err(_)) => Fault::CLOSED,
                Err(_) => Fault::CONNECTING_LATE,
            };
            break;
        }
        // No further one comes about. Where there is one already, its server is well, and the request waits there.
        let mut known = self.known();
        let sessions = known.get_mut(&to.server.state.id());
        let sessions = sessions.map(|known| &mut known.sessions);
        let least = sessions.and_then(|sessions| {
            let good = sessions.iter_mut().filter(|s| s.is_good(to.now));
            good.min_by_key(|session| session.streams())
        });
        least.map(Session::take).ok_or(fault)
    }

    /// A place, or word of the connection that is being made.
    fn look(self: &Arc<Self>, to: To<'_>) -> Result<Taken, Opening> {
        let mut known = self.known();
        let known = known.entry(to.server.state.id()).or_default();
        known.sessions.retain(|session| session.is_good(to.now));
        if let Some(session) = known.sessions.iter_mut().find(|s| s.has_room()) {
            return Ok(session.take());
        }
        if let Some(opening) = &known.opening {
            return Err(opening.clone());
        }
        if known.sessions.len() >= MAX_CONNECTIONS {
            let sessions = known.sessions.iter_mut();
            if let Some(least) = sessions.min_by_key(|session| session.streams()) {
                return Ok(least.take());
            }
        }
        let opening = self.open(to);
        known.opening = Some(opening.clone());
        Err(opening)
    }

    /// Makes a connection, in a task: it is for all who wait, even if the first of them leaves.
    fn open(self: &Arc<Self>, to: To<'_>) -> Opening {
        let (tell, told) = watch::channel(None);
        let sessions = Arc::clone(self);
        let (upstream, server) = (Arc::clone(to.upstream), Arc::clone(to.server));
        // Others wait for it as well: one request's own time is not theirs.
        let (now, limit) = (to.now, to.upstream.config.timeouts.connect);
        tokio::spawn(async move {
            let opened = open(&upstream, &server, limit).await;
            let outcome = opened.as_ref().map(|_| ()).map_err(|fault| *fault);
            {
                let mut known = sessions.known();
                let known = known.entry(server.state.id()).or_default();
                known.opening = None;
                if let Ok((sender, load)) = opened {
                    known.sessions.push(Session {
                        sender,
                        load,
                        until: now + upstream.config.connections.lifetime,
                        idle: upstream.config.timeouts.idle,
                        idle_since: None,
                        is_used: false,
                    });
                }
            }
            tell.send_replace(Some(outcome));
        });
        told
    }

    /// Lets go of connections that have ended, are too old, or have been without streams for too long. They
    /// close when their last stream has ended.
    pub fn tidy(&self, now: Duration) {
        self.known().retain(|_, known| {
            let sessions = &mut known.sessions;
            sessions.retain_mut(|session| session.is_good(now) && !session.is_stale(now));
            !sessions.is_empty() || known.opening.is_some()
        });
    }
}

/// Makes a connection and waits for the server's preface, which says how many streams it takes (RFC 9113 §3.4).
async fn open(
    upstream: &Upstream,
    server: &Server,
    limit: Duration,
) -> Result<(SendRequest<Bytes>, Arc<Load>), Fault> {
    let until = Instant::now() + limit;
    let counted = server.state.slots.session();
    let socket = upstream.transport.connect(server, limit).await?;
    let handshake = async {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD as u32)
            .max_send_buffer_size(MAX_UNSENT)
            // Answers that cross our resets: visitors leave as they like, and none may end the connection of the
            // others by it.
            .max_concurrent_reset_streams(MAX_RESET)
            .max_local_error_reset_streams(None)
            // None until the server has spoken, which shows that it has.
            .initial_max_send_streams(0);
        let (sender, connection) = builder.handshake::<_, Bytes>(socket).await?;
        let mut connection = Box::pin(connection);
        poll_fn(|cx| match connection.as_mut().poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Err(h2::Error::from(h2::Reason::NO_ERROR))),
            Poll::Ready(Err(why)) => Poll::Ready(Err(why)),
            Poll::Pending if sender.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        Ok((sender, connection))
    };
    let opened = timeout_at(until, handshake).await;
    let spoken = opened.map_err(|_| Fault::CONNECTING_LATE)?;
    let (sender, connection) = spoken.map_err(|why: h2::Error| {
        // TLS that is refused shows here as well, and what was said then is told by this error alone.
        tracing::warn!(server = server.name, error = %why, "no HTTP/2 with a server");
        Fault::bad_answer("the connection ended before the server spoke HTTP/2")
    })?;
    let load = Arc::<Load>::default();
    let over = Arc::clone(&load);
    tokio::spawn(async move {
        if let Err(why) = connection.await {
            tracing::debug!(error = %why, "a connection to a server ended");
        }
        over.is_over.store(true, Ordering::Relaxed);
        // It is closed.
        drop(counted);
    });
    Ok((sender, load))
}

/// One exchange. Dropped before its end, the stream is reset with CANCEL.
pub struct Stream {
    response: ResponseFuture,
    send: SendStream<Bytes>,
    /// Its content, once the head is here.
    answer: Option<RecvStream>,
    /// What has come and was not read yet.
    here: Bytes,
    trailers: Option<HeaderMap>,
    /// Our side is at its end.
    has_ended: bool,
    /// It is asked for no content.
    to_head: bool,
    /// What its connection had heard when it began.
    heard_before: usize,
    place: Place,
}

impl Stream {
    /// Sends some content, as much as the windows let through.
    pub(in crate::upstream) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let whole: usize = pieces.iter().map(|piece| piece.len()).sum();
        let most = whole.min(PIECE);
        self.send.reserve_capacity(most);
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(capacity) => capacity.map_err(io::Error::other)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let mut room = most.min(self.send.capacity());
        let mut content = BytesMut::with_capacity(room);
        for piece in pieces {
            let part = &piece[..piece.len().min(room)];
            content.put_slice(part);
            room -= part.len();
        }
        let taken = content.len();
        let sent = self.send.send_data(content.freeze(), false);
        Poll::Ready(sent.map(|()| taken).map_err(io::Error::other))
    }

    /// Nothing of the request follows.
    pub(in crate::upstream) fn end(&mut self) {
        if !self.has_ended {
            self.has_ended = true;
            // Who has answered already may take nothing more.
            let _ = self.send.send_data(Bytes::new(), true);
        }
    }

    pub(in crate::upstream) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }

    /// A request waits in vain. Where nothing else was heard meanwhile, the connection is taken for dead.
    pub(in crate::upstream) fn give_up(&self) {
        let load = &self.place.0;
        if load.heard.load(Ordering::Relaxed) == self.heard_before {
            load.is_over.store(true, Ordering::Relaxed);
        }
    }

    fn hear(&self) {
        self.place.0.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes in the next head.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        if let Some(interim) = ready!(self.response.poll_informational(cx)) {
            self.hear();
            self.here = head(&interim?, Ending::Open);
            return Poll::Ready(Ok(()));
        }
        let (parts, answer) = ready!(pin!(&mut self.response).poll(cx))?.into_parts();
        self.hear();
        let ending = match answer.is_end_stream() {
            _ if self.to_head => Ending::None,
            true => Ending::Here,
            false => Ending::Open,
        };
        self.here = head(&Response::from_parts(parts, ()), ending);
        self.answer = Some(answer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &mut *self;
        while stream.here.is_empty() {
            let Some(answer) = &mut stream.answer else {
                ready!(stream.poll_head(cx)).map_err(io::Error::other)?;
                continue;
            };
            match ready!(answer.poll_data(cx)) {
                Some(content) => {
                    let content = content.map_err(io::Error::other)?;
                    stream.place.0.heard.fetch_add(1, Ordering::Relaxed);
                    // Who reads has passed on all that came before, so that the window opens no sooner.
                    let released = answer.flow_control().release_capacity(content.len());
                    released.map_err(io::Error::other)?;
                    stream.here = content;
                }
                None => {
                    let trailers = ready!(answer.poll_trailers(cx));
                    stream.trailers = trailers.map_err(io::Error::other)?;
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let some = stream.here.len().min(buf.remaining());
        buf.put_slice(&stream.here[..some]);
        stream.here.advance(some);
        Poll::Ready(Ok(()))
    }
}

/// A request's head without fields. Without an authority, as HTTP/1.0 may have come, none is told. The scheme
/// is that of the connection: what the visitor used is told by `X-Forwarded-Proto`.
pub fn request_head(
    method: &Method,
    over_tls: bool,
    authority: &str,
    target: &str,
) -> Option<Request<()>> {
    let mut uri = Uri::builder();
    if !authority.is_empty() {
        let scheme = if over_tls { "https" } else { "http" };
        uri = uri.scheme(scheme).authority(authority);
    }
    let version = match authority.is_empty() {
        true => Version::HTTP_11,
        false => Version::HTTP_2,
    };
    Request::builder()
        .method(method)
        .version(version)
        .uri(uri.path_and_query(target).build().ok()?)
        .body(())
        .ok()
}

/// What follows a head.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// No content, whatever it tells.
    None,
    /// Nothing: the answer ends with it.
    Here,
    /// Content, or another head.
    Open,
}

/// A head as a server that speaks HTTP/1.1 writes it. Content whose length it does not tell comes with an end
/// that shows.
fn head(response: &Response<()>, ending: Ending) -> Bytes {
    let status = response.status();
    let fields = response.headers();
    let mut out = BytesMut::with_capacity(512);
    let reason = status.canonical_reason().unwrap_or_default();
    // Writing to memory does not fail.
    let _ = write!(
        (&mut out).writer(),
        "HTTP/1.1 {} {reason}\r\n",
        status.as_u16()
    );
    for (name, value) in fields {
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    let has_none = ending == Ending::None
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !has_none && !fields.contains_key(CONTENT_LENGTH) {
        out.put_slice(match ending {
            Ending::Here => b"content-length: 0\r\n",
            Ending::None | Ending::Open => b"transfer-encoding: chunked\r\n",
        });
    }
    out.put_slice(b"\r\n");
    out.freeze()
}
