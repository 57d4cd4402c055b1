//! A connection to a server.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{io::AsyncWrite, net::TcpStream, time::timeout};

use super::{buffer::Buffer, pool::Care, slots::Slot};
use crate::deadline::Deadline;

/// A connection to a server that speaks HTTP/1.1. What carries the bytes is known only here.
pub struct Connection {
    stream: TcpStream,
    /// Stays with the connection, so that it need not be set anew for each exchange.
    pub deadline: Deadline,
    /// Its place among the server's connections; after the stream, as it is free when that is closed.
    pub(super) slot: Option<Slot>,
}

impl Connection {
    /// Connects within a time limit.
    pub async fn open(address: SocketAddr, limit: Duration) -> io::Result<Self> {
        let stream = timeout(limit, TcpStream::connect(address))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        // A head that is followed by content must not wait for an acknowledgement.
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            deadline: Deadline::default(),
            slot: None,
        })
    }

    /// Whether the server has neither closed the connection nor said anything unasked. Costs no system call
    /// while nothing has happened.
    pub fn is_quiet(&self) -> bool {
        let read = self.stream.try_read(&mut [0; 1]);
        matches!(read, Err(why) if why.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether it may carry another request. Where that must not be repeated the system is asked, as the
    /// runtime may not have heard yet that the server has closed it.
    pub fn is_usable(&self, care: Care) -> bool {
        self.is_quiet()
            && match care {
                Care::Repeatable => true,
                Care::Once => {
                    let seen = SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]);
                    matches!(seen, Err(why) if why.kind() == io::ErrorKind::WouldBlock)
                }
            }
    }

    #[cfg(test)]
    pub(super) async fn stream_readable(&self) {
        self.stream.readable().await.expect("a readable stream");
    }

    /// Reads into a buffer, see [`Buffer::poll_fill`].
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        buffer.poll_fill(&mut self.stream, cx)
    }

    /// Writes some of several pieces.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, pieces))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        Poll::Ready(Ok(written))
    }

    /// Ends our side.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
