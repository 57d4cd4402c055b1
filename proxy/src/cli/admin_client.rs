//! Talks to the admin endpoint of the running edge, as the configuration file names it.

use std::{future::Future, path::Path, time::Duration};

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::{
    admin::read_token,
    config::model::{Admin, AdminAddress},
};

/// An answer never takes longer, not even to a reload that resolves names.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    /// Sent along, as `application/json`.
    pub(super) json: Option<String>,
    /// How long the answer may take.
    pub(super) patience: Duration,
}

impl<'a> Question<'a> {
    /// Without content, and soon answered.
    pub(super) fn new(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            json: None,
            patience: PATIENCE,
        }
    }
}

/// Asks one question and waits for the answer.
pub(super) fn ask(
    admin: &Admin,
    method: &Method,
    path: &str,
) -> anyhow::Result<(StatusCode, String)> {
    let client = Client::of(admin);
    wait_for(client.ask(&Question::new(method.clone(), path)))
}

/// Runs a verb's exchange with the edge.
pub(super) fn wait_for<T>(exchange: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(exchange)
}

/// Knows where the running edge is to be asked.
pub(super) struct Client {
    /// Unix sockets first, because they allow changes.
    addresses: Vec<AdminAddress>,
    token: Option<String>,
}

impl Client {
    pub(super) fn of(admin: &Admin) -> Self {
        let mut addresses = admin.addresses.clone();
        addresses.sort_by_key(|address| matches!(address, AdminAddress::Tcp(_)));
        let token = admin.token_file.as_deref();
        Self {
            addresses,
            token: token.and_then(|file| read_token(file).ok()),
        }
    }

    /// Asks the first admin address that answers.
    pub(super) async fn ask(
        &self,
        question: &Question<'_>,
    ) -> anyhow::Result<(StatusCode, String)> {
        // Without it some of what can be read is left out.
        let token = self.token.as_deref();
        let mut last = None;
        for address in &self.addresses {
            match timeout(question.patience, ask_at(address, question, token)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(why)) => last = Some(why),
                Err(_) => bail!(
                    "the admin endpoint does not answer within {:?}",
                    question.patience
                ),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no admin address is configured")))
    }
}

async fn ask_at(
    address: &AdminAddress,
    question: &Question<'_>,
    token: Option<&str>,
) -> anyhow::Result<(StatusCode, String)> {
    match address {
        AdminAddress::Tcp(address) => {
            let stream = TcpStream::connect(address)
                .await
                .with_context(|| not_running(address))?;
            exchange(stream, question, token).await
        }
        AdminAddress::Unix(socket) => {
            let stream = UnixStream::connect(socket)
                .await
                .with_context(|| not_running(&show(socket)))?;
            exchange(stream, question, token).await
        }
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

fn not_running(address: &dyn std::fmt::Display) -> String {
    format!("no edge answers at the admin address {address}; is it running?")
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    question: &Question<'_>,
    token: Option<&str>,
) -> anyhow::Result<(StatusCode, String)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(&question.method)
        .uri(question.path)
        .header("host", "admin");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if question.json.is_some() {
        request = request.header("content-type", "application/json");
    }
    let content = Bytes::from(question.json.clone().unwrap_or_default());
    let response = sender
        .send_request(request.body(Full::new(content))?)
        .await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
