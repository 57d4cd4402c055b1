//! One check of a server: connect, ask, and read the answer to its end, all within the time limit.

use std::{
    future::{Future, pending},
    io,
    net::SocketAddr,
};

use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time,
};

use crate::upstream::{Server, Upstream, health::changes::Why};
use crate::{
    config::model::{CheckKind, HealthCheck, UpstreamProtocol},
    respond::fault::is_ours,
};

/// A health page is short; more is not read.
const BODY_MAX: usize = 64 * 1024;

/// Why a check did not pass.
#[derive(Debug)]
pub(in crate::upstream) struct Failed {
    pub(in crate::upstream) why: Why,
    /// We lack what it takes, which says nothing of the server.
    pub(in crate::upstream) is_ours: bool,
}

impl Failed {
    fn new(word: &'static str, details: impl Into<String>) -> Self {
        Self {
            why: Why::new(word, details),
            is_ours: false,
        }
    }

    fn connecting(why: &io::Error) -> Self {
        let failed = match why.kind() {
            io::ErrorKind::ConnectionRefused => {
                Self::new("connection_refused", "connection refused")
            }
            _ => Self::new("connection_failed", why.to_string()),
        };
        Self {
            is_ours: is_ours(why),
            ..failed
        }
    }
}

/// Checks a server.
pub(in crate::upstream) async fn probe(
    upstream: &Upstream,
    server: &Server,
    check: &HealthCheck,
) -> Result<(), Failed> {
    let limit = check.timeout;
    let late = || Failed::new("timeout", format!("no answer within {limit:?}"));
    let exchange = exchange(upstream, server, check);
    time::timeout(limit, exchange)
        .await
        .unwrap_or_else(|_| Err(late()))
}

async fn exchange(upstream: &Upstream, server: &Server, check: &HealthCheck) -> Result<(), Failed> {
    let mut address = server.address;
    if let Some(port) = check.port {
        address.set_port(port);
    }
    let connected = TcpStream::connect(address).await;
    let stream = connected.map_err(|why| Failed::connecting(&why))?;
    let host = match &check.host {
        Some(host) => host.clone(),
        None => host(server, address),
    };
    // What listens at another port is rarely the shop itself.
    let protocol = match check.port {
        None => upstream.config.protocol,
        Some(_) => UpstreamProtocol::Http1,
    };
    match check.kind {
        CheckKind::Tcp => Ok(()),
        CheckKind::Http => ask(stream, &host, check, protocol).await,
        CheckKind::Https => {
            let transport = &upstream.transport;
            let encrypted = transport.check(stream, server, protocol).await;
            let stream = encrypted.map_err(|why| Failed::new("tls", why))?;
            ask(stream, &host, check, protocol).await
        }
    }
}

/// What the `Host` of a check says where the file does not.
fn host(server: &Server, address: SocketAddr) -> String {
    match server.host() {
        Some(name) => format!("{name}:{}", address.port()),
        None => address.to_string(),
    }
}

/// What `:scheme` says (RFC 9113 §8.3.1).
fn scheme(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::Https => "https",
        CheckKind::Http | CheckKind::Tcp => "http",
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    check: &HealthCheck,
    protocol: UpstreamProtocol,
) -> Result<(), Failed> {
    let broken = |why: hyper::Error| Failed::new("bad_answer", chain(&why));
    let stream = TokioIo::new(stream);
    let request = Request::get(match protocol {
        UpstreamProtocol::Http1 => check.path.clone(),
        UpstreamProtocol::Http2 => format!("{}://{host}{}", scheme(check.kind), check.path),
    });
    let request = request.header("user-agent", "dhal-health-check");
    let request = match protocol {
        UpstreamProtocol::Http1 => request.header("host", host).header("connection", "close"),
        UpstreamProtocol::Http2 => request,
    };
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|why| Failed::new("bad_answer", why.to_string()))?;
    match protocol {
        UpstreamProtocol::Http1 => {
            let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
            let answer = sender.send_request(request);
            driven(connection, judge(answer, check)).await
        }
        UpstreamProtocol::Http2 => {
            let handshake = http2::handshake(TokioExecutor::new(), stream);
            let (mut sender, connection) = handshake.await.map_err(broken)?;
            let answer = sender.send_request(request);
            driven(connection, judge(answer, check)).await
        }
    }
}

/// The connection works while the answer is read, and ends with it whatever becomes of it. What went wrong on it is
/// in what the answer says.
async fn driven(
    connection: impl Future,
    judged: impl Future<Output = Result<(), Failed>>,
) -> Result<(), Failed> {
    let drive = async {
        connection.await;
        pending().await
    };
    tokio::select! {
        biased;
        judged = judged => judged,
        ended = drive => ended,
    }
}

/// Whether an answer is a healthy one. It is read to its end, so that one that breaks off is none.
async fn judge(
    answer: impl Future<Output = hyper::Result<Response<Incoming>>>,
    check: &HealthCheck,
) -> Result<(), Failed> {
    let broken = |why: hyper::Error| Failed::new("bad_answer", chain(&why));
    let answer = answer.await.map_err(broken)?;
    let status = answer.status().as_u16();
    let mut content = Vec::new();
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(broken)?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        let room = BODY_MAX - content.len();
        content.extend_from_slice(&data[..data.len().min(room)]);
        if content.len() == BODY_MAX {
            break;
        }
    }
    if !check
        .status
        .iter()
        .any(|range| (range.first..=range.last).contains(&status))
    {
        return Err(Failed::new("status", format!("status {status}")));
    }
    match &check.body {
        Some(text) if memchr::memmem::find(&content, text.as_bytes()).is_none() => Err(
            Failed::new("body", "the expected text is not in the answer"),
        ),
        _ => Ok(()),
    }
}

/// An error with its causes.
fn chain(why: &dyn std::error::Error) -> String {
    let mut text = why.to_string();
    let mut cause = why.source();
    while let Some(why) = cause {
        text = format!("{text}: {why}");
        cause = why.source();
    }
    text
}
