//! One request to one of the two, over a connection of its own.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use super::requests::Asked;
use crate::upstream::connect::tls::any_certificate;

/// Time for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Larger content is not compared.
const CONTENT_MAX: u64 = 256 << 20;

/// How much of a text is kept to look at.
const HEAD: usize = 4096;

/// Where one of the two is asked.
pub(super) struct Origin {
    pub(super) authority: String,
    tls: Option<tokio_rustls::TlsConnector>,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case, with their values in order.
    pub(super) fields: BTreeMap<String, Vec<String>>,
    pub(super) bytes: u64,
    pub(super) hash: String,
    /// The beginning of the content.
    pub(super) head: Vec<u8>,
}

impl Origin {
    /// Of its URLs.
    pub(super) fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    pub(super) fn of(url: &str) -> anyhow::Result<Self> {
        let (tls, authority) = super::requests::origin(url)?;
        // Both are ours, and often have certificates for other names than their addresses.
        let tls = match tls {
            true => Some(any_certificate()?),
            false => None,
        };
        Ok(Self { authority, tls })
    }

    /// Asks, and reads the answer to its end.
    pub(super) async fn ask(&self, asked: &Asked) -> anyhow::Result<Answer> {
        match timeout(PATIENCE, self.exchange(asked)).await {
            Ok(answer) => answer.with_context(|| self.authority.clone()),
            Err(_) => bail!("{}: no answer within {PATIENCE:?}", self.authority),
        }
    }

    async fn exchange(&self, asked: &Asked) -> anyhow::Result<Answer> {
        let tcp = TcpStream::connect(&self.authority).await?;
        tcp.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return exchange(tcp, asked, &self.authority).await;
        };
        let host = match asked.host.is_empty() {
            true => &self.authority,
            false => &asked.host,
        };
        let name = host
            .rsplit_once(':')
            .map_or(host.as_str(), |(name, _)| name);
        let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())?;
        exchange(tls.connect(name, tcp).await?, asked, &self.authority).await
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    asked: &Asked,
    authority: &str,
) -> anyhow::Result<Answer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let host = match asked.host.is_empty() {
        true => authority,
        false => &asked.host,
    };
    let mut request = Request::builder()
        .method(&asked.method)
        .uri(&asked.target)
        .header("host", host)
        .header(
            "user-agent",
            concat!("dhal-import/", env!("CARGO_PKG_VERSION")),
        )
        .header("accept", "*/*");
    for (name, value) in &asked.fields {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let mut answer = Answer {
        status: response.status().as_u16(),
        ..Answer::default()
    };
    for (name, value) in response.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
        answer
            .fields
            .entry(name.as_str().to_owned())
            .or_default()
            .push(value);
    }
    let mut hash = blake3::Hasher::new();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        answer.bytes += data.len() as u64;
        if answer.bytes > CONTENT_MAX {
            bail!("more than {} MiB", CONTENT_MAX >> 20);
        }
        hash.update(&data);
        let room = HEAD.saturating_sub(answer.head.len()).min(data.len());
        answer.head.extend_from_slice(&data[..room]);
    }
    if asked.method == Method::HEAD {
        answer.bytes = 0;
    }
    answer.hash = hash.finalize().to_hex()[..16].to_owned();
    connection.abort();
    Ok(answer)
}
