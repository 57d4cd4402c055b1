//! A message as Pingora reads it, from a connection in memory that gives its bytes in pieces.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pingora_core::Result;
use pingora_core::protocols::http::v1::server::HttpSession;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, Ssl, UniqueID, UniqueIDType,
};
use pingora_http::RequestHeader;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::pieces::Pieces;

/// What Pingora made of a message.
pub struct Reading {
    /// Bytes of the head.
    pub head_len: usize,
    pub header: RequestHeader,
    /// The head announces no content.
    pub is_empty: bool,
    pub keeps_alive: bool,
    /// The content, as far as it came.
    pub content: Vec<u8>,
    /// Bytes behind the message, where its end was found.
    pub behind: Option<Vec<u8>>,
}

/// Reads a message; `here` bytes of it have been read already by someone who hands them over.
pub fn read(message: &[u8], here: usize) -> Result<Reading> {
    let mut session = HttpSession::new(Box::new(Connection::new(&message[here..])));
    session.set_pipelining_enabled(true);
    session.set_pipelined_prefix(BytesMut::from(&message[..here]));
    let head_len = at_once(session.read_request())?.expect("a head that is not nothing");
    let header = session.req_header().clone();
    let (is_empty, keeps_alive) = (session.is_body_empty(), session.will_keepalive());
    let mut content = Vec::new();
    let mut rounds = 0;
    let is_complete = loop {
        match at_once(session.read_body_bytes()) {
            Ok(Some(bytes)) => content.extend_from_slice(&bytes),
            Ok(None) => break true,
            Err(_) => break false,
        }
        rounds += 1;
        assert!(rounds <= 2 * message.len() + 8, "Pingora reads without end");
    };
    // Only a connection that stays gives its rest back.
    session.req_header_mut().remove_header(&http::header::CONNECTION);
    session.req_header_mut().set_version(http::Version::HTTP_11);
    session.respect_keepalive();
    let behind = is_complete.then(|| left_behind(session));
    Ok(Reading { head_len, header, is_empty, keeps_alive, content, behind })
}

fn left_behind(session: HttpSession) -> Vec<u8> {
    let reused = at_once(session.reuse()).expect("a body that was read").expect("kept alive");
    let (stream, overread) = reused.into_parts();
    let connection = stream.into_any().downcast::<Connection>().expect("the one it got");
    let mut behind = overread.unwrap_or_default();
    behind.extend_from_slice(&connection.bytes);
    behind.to_vec()
}

/// Nothing here waits, so no runtime is needed.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("waits for a connection in memory"),
    }
}

/// Bytes to come, and then the end.
#[derive(Debug)]
struct Connection {
    bytes: Bytes,
    pieces: Pieces,
}

impl Connection {
    fn new(bytes: &[u8]) -> Self {
        Self { bytes: Bytes::copy_from_slice(bytes), pieces: Pieces::new(bytes) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let piece = self.pieces.next().unwrap_or(1);
        let room = piece.min(buf.remaining()).min(self.bytes.len());
        buf.put_slice(&self.bytes.split_to(room));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {}
}

impl UniqueID for Connection {
    fn id(&self) -> UniqueIDType {
        0
    }
}

impl Ssl for Connection {}
impl Peek for Connection {}
impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<pingora_core::protocols::TimingDigest>> {
        Vec::new()
    }
}
impl GetProxyDigest for Connection {
    fn get_proxy_digest(
        &self,
    ) -> Option<std::sync::Arc<pingora_core::protocols::raw_connect::ProxyDigest>> {
        None
    }
}
impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<std::sync::Arc<pingora_core::protocols::SocketDigest>> {
        None
    }
}
