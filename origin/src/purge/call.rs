//! One purge: `POST /purge` over a connection of its own.

use std::io;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

use super::endpoint::Endpoint;
use super::inbox::Tags;

/// How long a call may take; the edge has it on its disk when it answers.
const CALL_TIME: Duration = Duration::from_secs(5);

/// What is read of an answer, and of it what is shown.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
const SHOWN_CHARS_MAX: usize = 200;

/// Why an edge has not been told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    #[error("no answer within {} s", CALL_TIME.as_secs())]
    Silent,
    #[error("it answered {0} {1:?}{hint}", hint = hint(*.0))]
    Refused(StatusCode, String),
    #[error("cannot ask: {0}")]
    Request(#[from] axum::http::Error),
}

/// Purges softly all that carries one of these tags. With 200 it is in force and will stay so.
pub(super) async fn purge(
    endpoint: &Endpoint,
    credentials: Option<HeaderValue>,
    tags: &Tags,
) -> Result<(), Failure> {
    let tags: Vec<&String> = tags.keys().collect();
    let mut request = Request::post("/purge").header(header::CONTENT_TYPE, "application/json");
    request = match endpoint {
        Endpoint::Unix(_) => request.header(header::HOST, "localhost"),
        Endpoint::Tcp(authority) => request.header(header::HOST, authority.as_str()),
    };
    if let Some(credentials) = credentials {
        request = request.header(header::AUTHORIZATION, credentials);
    }
    let request = request.body(json!({ "tags": tags, "soft": true }).to_string().into())?;
    let call = async {
        match endpoint {
            Endpoint::Unix(path) => exchange(UnixStream::connect(path).await, request).await,
            Endpoint::Tcp(authority) => {
                exchange(TcpStream::connect(authority.as_str()).await, request).await
            }
        }
    };
    tokio::time::timeout(CALL_TIME, call)
        .await
        .unwrap_or(Err(Failure::Silent))
}

async fn exchange(
    stream: io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    request: Request<Body>,
) -> Result<(), Failure> {
    let stream = stream.map_err(Failure::Unreachable)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends the connection when this function ends, or is cut off.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    // To the end, so that the edge is not hung up on while it speaks.
    let body = to_bytes(Body::new(response.into_body()), ANSWER_BYTES_MAX).await;
    if status == StatusCode::OK {
        return Ok(());
    }
    let body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
    let shown = body.trim().chars().take(SHOWN_CHARS_MAX).collect();
    Err(Failure::Refused(status, shown))
}

/// What an operator can do about an answer.
fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "; is the purge token that of the edge's admin.token_file?",
        StatusCode::FORBIDDEN => "; the edge needs an admin.token_file, or use its unix socket",
        StatusCode::NOT_FOUND => "; is it the admin endpoint of an edge that can purge?",
        _ => "",
    }
}
