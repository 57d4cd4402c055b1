//! HTTP/2: streams of a connection, each decided for itself.

mod stored;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Method, header::COOKIE};
use pingora::protocols::{
    Digest,
    http::{
        ServerSession,
        v2::server::{H2Accept, H2Options, HttpSession, default_h2_options, handshake},
    },
};
use tokio::{sync::Notify, time::timeout};

use super::{
    Hall, RequestId, STALLED,
    forward::{Handover, Upload},
    lent::Lent,
};
use crate::{
    admit::client,
    cache::status::Outcome,
    edge::{self, Body, Connection, Decision, Forward, Rejection, RequestView, decide::Now},
    listen::stream::Stream,
    observe::{Protocol, Record},
    respond::{
        Reply,
        reply::{Asked, wants_json},
    },
    snapshot::Snapshot,
};

/// What a client may send on a stream before it is asked for more.
const STREAM_WINDOW: u32 = 256 * 1024;
/// And on all streams of a connection together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What is buffered for a stream whose client does not read.
const SEND_BUFFER: usize = 64 * 1024;
/// Malformed requests on a connection, after which it ends.
const MAX_REJECTED: u32 = 32;
/// Requests on a connection at once.
const MAX_STREAMS: u32 = 128;

/// Streams at work on a connection.
#[derive(Default)]
struct Streams {
    count: AtomicUsize,
    ended: Notify,
}

/// Counts a stream until dropped.
struct Stay(Arc<Streams>);

impl Drop for Stay {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.ended.notify_one();
        }
    }
}

/// A request and the facts of it that doors share.
struct Request<'a> {
    hall: &'a Hall,
    connection: &'a Connection,
    session: HttpSession,
    now: Now,
    client: std::net::IpAddr,
    trusted: bool,
    request_id: String,
    authority: String,
    target: String,
}

/// Serves a connection until it ends.
pub async fn serve(hall: &Arc<Hall>, connection: &Connection, stream: Stream) {
    let bounds = hall.current.load().bounds.clone();
    let digest = Arc::new(Digest::default());
    let lent = Lent::new(stream);
    let preface = handshake(Box::new(lent), Some(options(bounds.max_header)));
    let Ok(Ok(mut conn)) = timeout(bounds.handshake_timeout, preface).await else {
        return;
    };
    let streams = Arc::new(Streams::default());
    let mut drain = hall.shared.drain_signal();
    let mut draining = false;
    let mut rejected = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = drain.wait_for(|draining| *draining), if !draining => {
                conn.graceful_shutdown();
                draining = true;
                continue;
            }
            accepted = HttpSession::from_h2_conn(&mut conn, Arc::clone(&digest)) => accepted,
            () = idle(&streams, bounds.keepalive_timeout) => {
                if draining {
                    return;
                }
                conn.graceful_shutdown();
                draining = true;
                continue;
            }
        };
        match accepted {
            Err(_) | Ok(None) => return,
            Ok(Some(H2Accept::Rejected)) => {
                rejected += 1;
                if rejected == MAX_REJECTED {
                    return;
                }
            }
            Ok(Some(H2Accept::Session(session))) => {
                streams.count.fetch_add(1, Ordering::AcqRel);
                let stay = Stay(Arc::clone(&streams));
                let (hall, connection) = (Arc::clone(hall), connection.clone());
                tokio::spawn(async move {
                    Box::pin(serve_stream(&hall, &connection, session)).await;
                    drop(stay);
                });
            }
        }
    }
}

fn options(max_header: usize) -> H2Options {
    let mut options = default_h2_options();
    options
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(max_header).unwrap_or(u32::MAX));
    options
}

/// Ends after a connection has been without streams for so long.
async fn idle(streams: &Streams, limit: Duration) {
    loop {
        while streams.count.load(Ordering::Acquire) != 0 {
            streams.ended.notified().await;
        }
        tokio::time::sleep(limit).await;
        if streams.count.load(Ordering::Acquire) == 0 {
            return;
        }
    }
}

async fn serve_stream(hall: &Hall, connection: &Connection, mut session: HttpSession) {
    let snapshot = hall.current.load_full();
    join_cookies(session.req_header_mut());
    let head = session.req_header();
    let trusted_proxies = &snapshot.bounds.trusted_proxies;
    let peer = connection.peer.ip();
    let trusted = client::is_trusted(peer, trusted_proxies);
    let mut request = Request {
        hall,
        connection,
        now: hall.now(),
        client: client::client_address(peer, &head.headers, trusted_proxies),
        trusted,
        request_id: RequestId::of(&head.headers, trusted).as_str().to_owned(),
        authority: authority(head),
        target: String::from_utf8_lossy(head.raw_path()).into_owned(),
        session,
    };
    request.session.set_write_timeout(Some(STALLED));
    match request.decide(&snapshot) {
        Decision::Respond(hit) => request.respond(&snapshot, &hit).await,
        Decision::Fetch(fetch) => request.fetch(snapshot, fetch).await,
        Decision::Redirect { status, location } => {
            let reply = Reply::redirect(status, &location, &request.asked());
            request.reply(&reply, None).await;
        }
        Decision::Reject(rejection) => {
            let reply = Reply::rejection(&rejection, &request.asked());
            request.reply(&reply, Some(&rejection)).await;
        }
        Decision::Forward(forward) => request.hand_over(snapshot, forward).await,
    }
}

/// HTTP/2 may split a cookie into lines; whatever is behind this door knows one (RFC 9113 §8.2.3).
fn join_cookies(head: &mut pingora::http::RequestHeader) {
    let lines = head.headers.get_all(COOKIE).iter();
    let lines: Vec<_> = lines.map(HeaderValue::as_bytes).collect();
    if lines.len() > 1 {
        // Values, and a separator, are a value.
        if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
            let _ = head.insert_header(COOKIE, joined);
        }
    }
}

/// `:authority`, else `Host`; both were checked to agree.
fn authority(head: &pingora::http::RequestHeader) -> String {
    let host = || {
        head.headers
            .get(http::header::HOST)
            .and_then(|host| host.to_str().ok())
    };
    head.uri
        .authority()
        .map(http::uri::Authority::as_str)
        .or_else(host)
        .unwrap_or_default()
        .to_owned()
}

impl Request<'_> {
    fn decide(&mut self, snapshot: &Snapshot) -> Decision {
        if self.target.len() > snapshot.bounds.max_target {
            return Decision::Reject(Rejection::new(414, "request target too long"));
        }
        let ended = self.session.is_body_done();
        let head = self.session.req_header();
        if head.headers.len() > http1_wire::request::MAX_FIELDS {
            return Decision::Reject(Rejection::new(431, "too many field lines"));
        }
        let length = head.headers.get(http::header::CONTENT_LENGTH);
        let body = match length.and_then(|l| l.to_str().ok()?.parse().ok()) {
            _ if ended => Body::None,
            Some(0) => Body::None,
            Some(n) => Body::Length(n),
            None => Body::Unknown,
        };
        let view = RequestView {
            method: &head.method,
            authority: &self.authority,
            target: &self.target,
            fields: &head.headers,
            body,
            client: self.client,
            connection: self.connection,
        };
        edge::decide(snapshot, &self.hall.shared, &view, self.now)
    }

    fn asked(&self) -> Asked<'_> {
        let fields = &self.session.req_header().headers;
        Asked {
            request_id: &self.request_id,
            wants_json: wants_json(fields),
        }
    }

    /// Writes a response of our own, and tells of it.
    async fn reply(&mut self, reply: &Reply, rejection: Option<&Rejection>) {
        let (bytes, sent) = self.write_reply(reply).await;
        self.tell(&Record {
            status: reply.status,
            bytes,
            route: rejection.and_then(|r| r.route.as_deref()),
            limit: rejection.and_then(|r| r.limit.as_ref()),
            reason: sent
                .err()
                .map(|_| "client_gone")
                .or_else(|| rejection.map(|r| r.reason)),
            ..self.blank()
        });
    }

    async fn write_reply(&mut self, reply: &Reply) -> (u64, pingora::Result<()>) {
        let head_only = self.session.req_header().method == Method::HEAD;
        let Some(header) = reply.to_header() else {
            return (0, Ok(()));
        };
        let end = head_only || reply.body.is_empty();
        let mut sent = self.session.write_response_header(header, end);
        if sent.is_ok() && !end {
            sent = self.session.write_body(reply.body.clone(), true).await;
        }
        (if end { 0 } else { reply.body.len() as u64 }, sent)
    }

    async fn hand_over(mut self, snapshot: Arc<Snapshot>, forward: Forward) {
        if self.target != forward.target
            && self
                .session
                .req_header_mut()
                .set_raw_path(forward.target.as_bytes())
                .is_err()
        {
            return;
        }
        let body_timeout = snapshot.bounds.body_timeout;
        let uploads = !self.session.is_body_done();
        let handover = Arc::new(Handover {
            snapshot,
            forward,
            began: self.now,
            client: self.client,
            peer: self.connection.peer.ip(),
            trusted: self.trusted,
            scheme: self.connection.scheme,
            protocol: Protocol::Http2,
            request_id: self.request_id,
            host: self.authority,
            target: self.target,
            upload: Upload::default(),
        });
        let forwarder = &self.hall.forwarder;
        let session = ServerSession::new_http2(self.session);
        if !uploads {
            return forwarder.http2(session, handover).await;
        }
        tokio::select! {
            () = forwarder.http2(session, Arc::clone(&handover)) => {}
            // The stream is reset with the exchange that is dropped.
            () = handover.upload_stalled(self.hall.started, body_timeout) => {
                forwarder.cut_short(&handover, 408, "request body took too long");
            }
        }
    }

    fn blank(&self) -> Record<'_> {
        Record {
            began: self.now,
            duration: self.hall.started.elapsed().saturating_sub(self.now.tick),
            client: self.client,
            protocol: Protocol::Http2,
            method: &self.session.req_header().method,
            host: &self.authority,
            target: &self.target,
            status: 0,
            bytes: 0,
            route: None,
            outcome: Outcome::None,
            upstream: None,
            upstream_time: None,
            attempts: 0,
            request_id: &self.request_id,
            limit: None,
            reason: None,
            fields: Some(&self.session.req_header().headers),
        }
    }

    fn tell(&self, record: &Record<'_>) {
        self.hall.shared.finish(record);
    }
}
