//! A connection to a server, as one exchange sees it.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::HeaderMap;
use socket2::SockRef;
use tokio::io::AsyncWrite;

use crate::deadline::Deadline;
use crate::files::pieces;
use crate::upstream::{
    connect::buffer::Buffer, connect::http2, connect::pool::Care, connect::slots::Slot,
    connect::socket::Socket,
};

/// A connection to a server: one that speaks HTTP/1.1 over TCP or TLS, or a stream of one that speaks HTTP/2,
/// which reads like an answer of HTTP/1.1 whose content has no framing of its own and ends with the stream. Or a file,
/// which reads like an answer of HTTP/1.1 as well.
pub struct Connection {
    carrier: Carrier,
    /// Stays with the connection, so that it need not be set anew for each exchange.
    pub deadline: Deadline,
    /// Its place among the server's connections; after the stream, as it is free when that is closed.
    pub(in crate::upstream) slot: Option<Slot>,
}

enum Carrier {
    Socket(Socket),
    Stream(Box<http2::Stream>),
    File(Box<pieces::Stream>),
}

impl From<Socket> for Connection {
    fn from(socket: Socket) -> Self {
        Self {
            carrier: Carrier::Socket(socket),
            deadline: Deadline::default(),
            slot: None,
        }
    }
}

impl From<http2::Stream> for Connection {
    fn from(stream: http2::Stream) -> Self {
        Self {
            carrier: Carrier::Stream(Box::new(stream)),
            deadline: Deadline::default(),
            slot: None,
        }
    }
}

impl From<pieces::Stream> for Connection {
    fn from(stream: pieces::Stream) -> Self {
        Self {
            carrier: Carrier::File(Box::new(stream)),
            deadline: Deadline::default(),
            slot: None,
        }
    }
}

impl Connection {
    /// Whether it is a stream of HTTP/2, which is there for one exchange.
    pub fn is_stream(&self) -> bool {
        matches!(self.carrier, Carrier::Stream(_))
    }

    /// Whether the server has neither closed the connection nor said anything unasked. Costs no system call
    /// while nothing has happened.
    pub fn is_quiet(&mut self) -> bool {
        match &mut self.carrier {
            Carrier::Socket(socket) => socket.is_quiet(),
            Carrier::Stream(_) | Carrier::File(_) => false,
        }
    }

    #[cfg(test)]
    pub(in crate::upstream) async fn open(
        address: std::net::SocketAddr,
        limit: std::time::Duration,
    ) -> io::Result<Self> {
        let opened = tokio::time::timeout(limit, tokio::net::TcpStream::connect(address)).await?;
        Ok(Socket::Tcp(opened?).into())
    }

    /// Whether it may carry another request. Where that must not be repeated the system is asked, as the
    /// runtime may not have heard yet that the server has closed it.
    pub fn is_usable(&mut self, care: Care) -> bool {
        self.is_quiet()
            && match care {
                Care::Repeatable => true,
                Care::Once => match &self.carrier {
                    Carrier::Socket(socket) => {
                        let seen = SockRef::from(socket.tcp()).peek(&mut [MaybeUninit::uninit()]);
                        matches!(seen, Err(why) if why.kind() == io::ErrorKind::WouldBlock)
                    }
                    Carrier::Stream(_) | Carrier::File(_) => false,
                },
            }
    }

    #[cfg(test)]
    pub(in crate::upstream) async fn stream_readable(&self) {
        if let Carrier::Socket(socket) = &self.carrier {
            socket.tcp().readable().await.expect("a readable stream");
        }
    }

    /// Reads into a buffer, see [`Buffer::poll_fill`].
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Socket(socket) => buffer.poll_fill(socket, cx),
            Carrier::Stream(stream) => buffer.poll_fill(stream, cx),
            Carrier::File(file) => buffer.poll_fill(file, cx),
        }
    }

    /// Writes some of several pieces. A stream's head was sent with [`http2::Sessions::begin`].
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(match &mut self.carrier {
            Carrier::Socket(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Carrier::Stream(stream) => stream.poll_write(cx, pieces),
            // It was asked when it was opened; what else a visitor sends is nothing to a file.
            Carrier::File(_) => Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum())),
        })?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        Poll::Ready(Ok(written))
    }

    /// Sends on what TLS holds back of what was written. `complete`: the request ends here.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, complete: bool) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Socket(socket) => Pin::new(socket).poll_flush(cx),
            Carrier::Stream(stream) => {
                if complete {
                    stream.end();
                }
                Poll::Ready(Ok(()))
            }
            Carrier::File(_) => Poll::Ready(Ok(())),
        }
    }

    /// Ends our side.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Socket(socket) => Pin::new(socket).poll_shutdown(cx),
            Carrier::Stream(stream) => {
                stream.end();
                Poll::Ready(Ok(()))
            }
            Carrier::File(_) => Poll::Ready(Ok(())),
        }
    }

    /// What followed the content of an answer, once its end was read.
    pub fn take_trailers(&mut self) -> Option<HeaderMap> {
        match &mut self.carrier {
            Carrier::Socket(_) | Carrier::File(_) => None,
            Carrier::Stream(stream) => stream.take_trailers(),
        }
    }

    /// The server was silent for too long: no other exchange is to begin on what may be dead.
    pub fn give_up(&self) {
        if let Carrier::Stream(stream) = &self.carrier {
            stream.give_up();
        }
    }
}
