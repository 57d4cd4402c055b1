//! A connection that is lent for exactly one request.
//!
//! Pingora reads from a connection what it finds. This wrapper shows it the body of the request at
//! hand and nothing behind it; what arrives behind it is kept for the door, and the stream comes back
//! out when Pingora is done.

use std::{
    future::Future,
    io,
    os::fd::AsRawFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType, raw_connect::ProxyDigest,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Sleep, sleep, timeout},
};

use http1_wire::chunked::ChunkScanner;

use super::STALLED;
use crate::listen::stream::Stream;

/// Bytes of later requests that are kept while one is being answered.
const MAX_BEHIND: usize = 16 * 1024;

/// How much of the stream belongs to the request.
#[derive(Debug)]
pub enum Share {
    /// So many bytes.
    Bytes(u64),
    /// Up to the end of a chunked body.
    Chunked(ChunkScanner),
    /// All of it: the protocol may change.
    Everything,
}

/// A stream, and what of it may be read.
#[derive(Debug)]
pub struct Lent {
    stream: Stream,
    share: Share,
    behind: BytesMut,
    malformed: bool,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Lent {
    /// Lends `stream`; `behind` are bytes that were read already and belong to later requests.
    pub fn new(stream: Stream, share: Share, behind: BytesMut) -> Self {
        Self {
            stream,
            share,
            behind,
            malformed: false,
            stalled: None,
        }
    }

    /// Takes it back, with what has arrived for later requests. The body must have been read.
    pub fn take_back(self) -> Option<(Stream, BytesMut)> {
        let finished = match &self.share {
            Share::Bytes(left) => *left == 0,
            Share::Chunked(scanner) => scanner.is_done(),
            Share::Everything => false,
        };
        (finished && !self.malformed).then_some((self.stream, self.behind))
    }

    /// Watches a connection whose request is complete: only its end is told, bytes are kept.
    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0; 1024];
        while self.behind.len() < MAX_BEHIND {
            let mut buf = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.behind.extend_from_slice(buf.filled());
        }
        // Full: the client has to wait for its answers. The next read begins when the door is back.
        Poll::Pending
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.share {
            Share::Everything => Pin::new(&mut this.stream).poll_read(cx, buf),
            Share::Bytes(0) => this.poll_behind(cx),
            Share::Bytes(left) => {
                let room = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(buf.remaining());
                let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
                ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
                let read = part.filled().len();
                *left -= read as u64;
                buf.advance(read);
                Poll::Ready(Ok(()))
            }
            Share::Chunked(scanner) if scanner.is_done() => this.poll_behind(cx),
            Share::Chunked(scanner) => {
                let mut chunk = vec![0; buf.remaining().min(16 * 1024)];
                let mut part = ReadBuf::new(&mut chunk);
                ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
                let bytes = part.filled();
                match scanner.scan(bytes) {
                    Ok(own) => {
                        buf.put_slice(&bytes[..own]);
                        this.behind.extend_from_slice(&bytes[own..]);
                        Poll::Ready(Ok(()))
                    }
                    Err(why) => {
                        this.malformed = true;
                        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why.0)))
                    }
                }
            }
        }
    }
}

impl Lent {
    /// Ends a write whose client has taken nothing for too long: not all of Pingora's have a limit.
    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stalled = None;
            return progress;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "client does not read",
        )))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bounded(cx, progress)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(cx, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.bounded(cx, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.bounded(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Lent {
    async fn shutdown(&mut self) {
        let _ = timeout(STALLED, AsyncWriteExt::shutdown(&mut self.stream)).await;
    }
}

impl UniqueID for Lent {
    fn id(&self) -> UniqueIDType {
        self.stream.tcp().as_raw_fd()
    }
}

impl Ssl for Lent {}

impl GetTimingDigest for Lent {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Lent {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Lent {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Peek for Lent {}
