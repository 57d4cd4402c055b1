//! One check of a server: connect, ask, and read the answer to its end, all within the time limit.

use std::{future::pending, io, net::SocketAddr, pin::pin, sync::Arc};

use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Server, Upstream, changes::Why, check_tls::server_name};
use crate::{
    config::model::{CheckKind, HealthCheck},
    respond::fault::is_ours,
};

/// A health page is short; more is not read.
const BODY_MAX: usize = 64 * 1024;

/// Why a check did not pass.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) why: Why,
    /// We lack what it takes, which says nothing of the server.
    pub(super) is_ours: bool,
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
pub(super) async fn probe(
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
    match check.kind {
        CheckKind::Tcp => Ok(()),
        CheckKind::Http => ask(stream, &host, check).await,
        CheckKind::Https => {
            let config = upstream
                .check_tls()
                .map_err(|why| Failed::new("tls", why))?;
            let name = server_name(upstream.config.tls.as_ref(), server).ok_or_else(|| {
                Failed::new("tls", "it has no name that a certificate could have")
            })?;
            let stream = encrypt(stream, config, name).await?;
            ask(stream, &host, check).await
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

async fn encrypt(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<TlsStream<TcpStream>, Failed> {
    let connected = TlsConnector::from(config).connect(name, stream).await;
    connected.map_err(|why| Failed::new("tls", format!("TLS: {why}")))
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    host: &str,
    check: &HealthCheck,
) -> Result<(), Failed> {
    let broken = |why: hyper::Error| Failed::new("bad_answer", chain(&why));
    let request = Request::get(check.path.as_str())
        .header("host", host)
        .header("user-agent", "dhal-health-check")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|why| Failed::new("bad_answer", why.to_string()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // Its end is in what the answer says; it ends with this check, whatever becomes of it.
    let mut connection = pin!(connection);
    let drive = async {
        let _ = connection.as_mut().await;
        pending::<()>().await;
    };
    let answer = async { judge(sender.send_request(request).await.map_err(broken)?, check).await };
    tokio::select! {
        biased;
        judged = answer => judged,
        () = drive => Ok(()),
    }
}

/// Whether an answer is a healthy one. It is read to its end, so that one that breaks off is none.
async fn judge(answer: Response<Incoming>, check: &HealthCheck) -> Result<(), Failed> {
    let status = answer.status().as_u16();
    let mut content = Vec::new();
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|why| Failed::new("bad_answer", chain(&why)))?;
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
