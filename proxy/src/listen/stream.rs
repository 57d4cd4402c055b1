//! A visitor's connection: plain TCP, or TLS over it.
//!
//! TLS is driven here rather than by a wrapper, because what a connection holds while nothing happens, how
//! long its records are and how many system calls an answer takes are all decided in these lines.

use std::{
    io::{self, IoSlice, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use rustls::ServerConnection;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Plaintext that is encrypted before it is written: one record, and all that a reader that has stopped
/// makes a connection hold.
const RECORD: usize = 16 * 1024;
/// Records at the beginning of a connection and after a pause. A record can be used when all of it has
/// arrived, and what a sender may have under way is little then; short ones are not worth it for answers
/// that fit into the first window anyway.
const SHORT_RECORD: usize = 4 * 1024;
/// Sent in short records, before long ones.
const RAMP: usize = 32 * 1024;
/// Longest answer that leaves in one record from the start: about ten segments, the window that a
/// connection begins with (RFC 6928).
const FIRST_FLIGHT: usize = 14 * 1024;
/// After a pause of so long the sender's window is small again.
const PAUSE: Duration = Duration::from_secs(1);

/// A connection to read requests from and to write answers to.
#[derive(Debug)]
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream>),
}

/// TLS over TCP, after or in its handshake.
pub struct TlsStream {
    tcp: TcpStream,
    session: ServerConnection,
    /// Plaintext sent since the last pause.
    sent: usize,
    last: Option<Instant>,
}

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream").finish_non_exhaustive()
    }
}

/// The socket as rustls wants it: what would wait is an error.
struct Socket<'a, 'b> {
    tcp: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

fn now_or_error<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Read for Socket<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        now_or_error(Pin::new(&mut *self.tcp).poll_read(self.cx, &mut buf))?;
        Ok(buf.filled().len())
    }
}

impl Write for Socket<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        now_or_error(Pin::new(&mut *self.tcp).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        now_or_error(Pin::new(&mut *self.tcp).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TlsStream {
    pub(super) fn new(tcp: TcpStream, session: ServerConnection) -> Self {
        Self {
            tcp,
            session,
            sent: 0,
            last: None,
        }
    }

    /// What was agreed in the handshake.
    pub fn session(&self) -> &ServerConnection {
        &self.session
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Takes in what has arrived; `false` at the end of the connection.
    pub(super) fn poll_take_in(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut socket = Socket {
            tcp: &mut self.tcp,
            cx,
        };
        let read = match self.session.read_tls(&mut socket) {
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            read => read?,
        };
        if let Err(why) = self.session.process_new_packets() {
            // The alert that says so, if there is room for it.
            let _ = self.poll_drain(cx);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        Poll::Ready(Ok(read > 0))
    }

    /// Writes what is encrypted.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut socket = Socket {
                tcp: &mut self.tcp,
                cx,
            };
            match self.session.write_tls(&mut socket) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(why) => return Poll::Ready(Err(why)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Bytes of the next record, of `whole` that are to be written.
    fn record(&self, whole: usize) -> usize {
        if whole > FIRST_FLIGHT && self.sent < RAMP {
            SHORT_RECORD
        } else {
            RECORD
        }
    }

    /// Notes a pause before a write that begins an answer.
    fn note_pause(&mut self) {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last > PAUSE) {
            self.sent = 0;
        }
        self.last = Some(now);
    }

    fn poll_write_plain(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // What was encrypted before goes first: no more than a record is ever held back.
        ready!(self.poll_drain(cx))?;
        let whole: usize = slices.iter().map(|slice| slice.len()).sum();
        if whole == 0 {
            return Poll::Ready(Ok(0));
        }
        self.note_pause();
        let mut taken = 0;
        while taken < whole {
            let most = self.record(whole);
            let written = match taken == 0 && whole <= most {
                // Most answers are one record as they are.
                true => self.session.writer().write_vectored(slices)?,
                false => write_some(&mut self.session, slices, taken, most)?,
            };
            taken += written;
            self.sent = self.sent.saturating_add(written);
            match self.poll_drain(cx) {
                Poll::Ready(done) => done?,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(taken))
    }
}

/// Encrypts up to `most` bytes of the slices, from `from` on, as one record.
fn write_some(
    session: &mut ServerConnection,
    slices: &[IoSlice<'_>],
    mut from: usize,
    most: usize,
) -> io::Result<usize> {
    /// Parts that go into one record: what a door gathers at once.
    const PARTS: usize = 64;
    let mut parts = [IoSlice::new(&[]); PARTS];
    let (mut count, mut left) = (0, most);
    for slice in slices {
        if from >= slice.len() {
            from -= slice.len();
            continue;
        }
        let part = &slice[from..];
        from = 0;
        let part = &part[..part.len().min(left)];
        left -= part.len();
        parts[count] = IoSlice::new(part);
        count += 1;
        if left == 0 || count == PARTS {
            break;
        }
    }
    let written = session.writer().write_vectored(&parts[..count])?;
    if written == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(written)
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.session.reader().read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                // The end without a word: whoever reads sees that something is missing, or does not mind.
                Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(()));
                }
                Err(why) => return Poll::Ready(Err(why)),
            }
            ready!(self.poll_take_in(cx))?;
            if self.session.wants_write() {
                // An answer to a key update: it goes now, or with what is written next.
                let _ = self.poll_drain(cx)?;
            }
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_plain(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_plain(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drain(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.send_close_notify();
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl Stream {
    /// Says that nothing more comes, as far as that can be said at once; ready in any case. Without a word the
    /// end of TLS looks like a cut (RFC 8446 §6.1), while that of TCP says what there is to say.
    pub fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Tls(tls) = self {
            tls.session.send_close_notify();
            // Who takes nothing is not told.
            let _ = tls.poll_drain(cx);
        }
        Poll::Ready(())
    }

    /// Whether HTTP/2 was agreed on (ALPN).
    pub fn is_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.session.alpn_protocol() == Some(b"h2"),
        }
    }

    /// The connection below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.tcp(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            // Nothing is held back.
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
        }
    }
}
