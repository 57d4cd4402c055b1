//! Talks to the admin endpoint of the running edge, as the configuration file names it.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty};
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
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the first admin address that answers; unix sockets first, because they allow changes.
pub(super) fn ask(
    admin: &Admin,
    method: &Method,
    path: &str,
) -> anyhow::Result<(StatusCode, String)> {
    let mut addresses: Vec<&AdminAddress> = admin.addresses.iter().collect();
    addresses.sort_by_key(|address| matches!(address, AdminAddress::Tcp(_)));
    let token = match &admin.token_file {
        Some(file) if *method != Method::GET => read_token(file).ok(),
        _ => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut last = None;
        for address in addresses {
            match timeout(PATIENCE, ask_at(address, method, path, token.as_deref())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(why)) => last = Some(why),
                Err(_) => bail!("the admin endpoint does not answer within {PATIENCE:?}"),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no admin address is configured")))
    })
}

async fn ask_at(
    address: &AdminAddress,
    method: &Method,
    path: &str,
    token: Option<&str>,
) -> anyhow::Result<(StatusCode, String)> {
    match address {
        AdminAddress::Tcp(address) => {
            let stream = TcpStream::connect(address)
                .await
                .with_context(|| not_running(address))?;
            exchange(stream, method, path, token).await
        }
        AdminAddress::Unix(socket) => {
            let stream = UnixStream::connect(socket)
                .await
                .with_context(|| not_running(&show(socket)))?;
            exchange(stream, method, path, token).await
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
    method: &Method,
    path: &str,
    token: Option<&str>,
) -> anyhow::Result<(StatusCode, String)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "admin");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let response = sender
        .send_request(request.body(Empty::<Bytes>::new())?)
        .await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
