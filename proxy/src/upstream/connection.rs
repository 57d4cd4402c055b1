//! A connection to a server, and the patience of those who wait on it.

use std::{
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::AsyncWrite,
    net::TcpStream,
    time::{Instant, Sleep, sleep_until, timeout},
};

use super::buffer::Buffer;

const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// A connection to a server that speaks HTTP/1.1. What carries the bytes is known only here.
pub struct Connection {
    stream: TcpStream,
    /// Stays with the connection, so that it need not be set anew for each exchange.
    pub deadline: Deadline,
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
            deadline: Deadline::new(),
        })
    }

    /// Whether the server has neither closed the connection nor said anything unasked. Costs no system call
    /// while nothing has happened.
    pub fn is_quiet(&self) -> bool {
        let read = self.stream.try_read(&mut [0; 1]);
        matches!(read, Err(why) if why.kind() == io::ErrorKind::WouldBlock)
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

/// A time limit that is moved often and hardly ever reached. The timer behind it is left where it is until
/// it goes off, and only then set to the limit of that moment.
pub struct Deadline {
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    fn new() -> Self {
        // Further away than any limit, so that the first one sets it.
        Self {
            timer: Box::pin(sleep_until(Instant::now() + FAR)),
        }
    }

    /// Ready once `at` is past.
    pub fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if self.timer.deadline() > at {
            self.timer.as_mut().reset(at);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_move_either_way() {
        let mut deadline = Deadline::new();
        let second = Duration::from_secs(1);
        let began = Instant::now();
        let pending = |deadline: &mut Deadline, cx: &mut Context<'_>, at| {
            assert!(deadline.poll(cx, at).is_pending());
            Poll::Ready(())
        };
        poll_fn(|cx| pending(&mut deadline, cx, began + 15 * second)).await;
        poll_fn(|cx| pending(&mut deadline, cx, began + 30 * second)).await;
        poll_fn(|cx| deadline.poll(cx, began + 20 * second)).await;
        assert_eq!(began.elapsed().as_secs(), 20);
        poll_fn(|cx| pending(&mut deadline, cx, began + 600 * second)).await;
        poll_fn(|cx| deadline.poll(cx, began + 21 * second)).await;
        assert_eq!(began.elapsed().as_secs(), 21);
    }
}
