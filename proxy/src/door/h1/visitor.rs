//! Requests that a shop answers in person: the visitor's side over HTTP/1.1.

use std::{
    future::Future,
    io::{self, IoSlice, Write},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use http1_wire::{chunked::ChunkScanner, request::Head};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{
    deadline::Deadline,
    forward::{Announced, AnswerHead, Taken, UploadError, Visitor},
    respond::Reply,
};

/// What is read of a body at once.
const PIECE: usize = 16 * 1024;
/// How long an answer may take to begin for a client that has ended its side. It may still wait for the
/// answer (RFC 9112 §9.6), but mostly it is a visitor who went elsewhere, and the shop works in vain.
pub(super) const HALF_CLOSED: Duration = Duration::from_secs(2);
/// Bytes of later requests that are kept while one is being answered.
pub(super) const MAX_BEHIND: usize = 16 * 1024;

/// What of the stream belongs to the request.
pub(super) enum Share {
    /// So many bytes.
    Length(u64),
    /// Up to the end of a chunked body; content that was taken out of its chunks already.
    Chunked(ChunkScanner, BytesMut),
    /// All of it: the protocol has changed.
    Everything,
}

impl Share {
    /// Whether all of it was read, so that what follows is another request.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(scanner, ahead) => scanner.is_done() && ahead.is_empty(),
            Self::Everything => false,
        }
    }
}

/// How the end of the answer's content is told (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// By the head, or by the end of the connection.
    Known,
    Chunked,
}

/// The visitor at the other end of the stream.
pub(super) struct Client<'a, S> {
    stream: &'a mut S,
    /// What was read and belongs to the body, and to requests behind it.
    buf: &'a mut BytesMut,
    /// Heads, and the framing in front of a chunk.
    out: &'a mut BytesMut,
    /// What of it has gone.
    sent: usize,
    /// All that has gone.
    written: u64,
    pub(super) share: Share,
    framing: Framing,
    /// Bytes of the open chunk that have yet to go.
    chunk: usize,
    /// The open chunk is the last one with content.
    last: bool,
    /// The client has ended its side.
    ended: bool,
    /// When that counts as having left.
    leaves: Option<Instant>,
    leaving: Deadline,
    /// An answer has begun; whether someone takes it shows as it is written.
    begun: bool,
    /// The end of the connection is the end of the answer.
    pub(super) until_close: bool,
    head_only: bool,
    is_http10: bool,
    pub(super) close: bool,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Client<'a, S> {
    pub(super) fn new(
        stream: &'a mut S,
        buf: &'a mut BytesMut,
        out: &'a mut BytesMut,
        head: &Head,
        share: Share,
        close: bool,
    ) -> Self {
        Self {
            stream,
            buf,
            out,
            sent: 0,
            written: 0,
            share,
            framing: Framing::Known,
            chunk: 0,
            last: false,
            ended: false,
            leaves: None,
            leaving: Deadline::default(),
            begun: false,
            until_close: false,
            head_only: head.method == http::Method::HEAD,
            is_http10: head.is_http10,
            close,
        }
    }

    /// Reads what is here, or waits for something to come.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buf.capacity() - self.buf.len() < PIECE / 4 {
            self.buf.reserve(PIECE);
        }
        // Nothing is lost with the future: it keeps no state.
        pin!(self.stream.read_buf(self.buf)).poll(cx)
    }

    /// Writes what is queued, then some of `content` and what follows it; says how much of `content`.
    fn poll_write(&mut self, cx: &mut Context<'_>, content: &[u8]) -> Poll<io::Result<usize>> {
        let tail: &[u8] = match (self.framing, self.last) {
            (Framing::Known, _) => b"",
            (Framing::Chunked, false) => b"\r\n",
            (Framing::Chunked, true) => b"\r\n0\r\n\r\n",
        };
        let tail = if content.is_empty() { b"" } else { tail };
        loop {
            let out = &self.out[self.sent..];
            let parts = [IoSlice::new(out), IoSlice::new(content), IoSlice::new(tail)];
            let written = ready!(Pin::new(&mut *self.stream).poll_write_vectored(cx, &parts))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written as u64;
            let of_out = written.min(out.len());
            self.sent += of_out;
            if self.sent < self.out.len() {
                continue;
            }
            self.out.clear();
            self.sent = 0;
            let taken = (written - of_out).min(content.len());
            if taken == content.len() {
                // What is left of the framing waits for the next write.
                self.out.put_slice(&tail[written - of_out - taken..]);
            }
            if taken > 0 || content.is_empty() {
                return Poll::Ready(Ok(taken));
            }
        }
    }

    fn put_line(&mut self, head: &AnswerHead<'_>) {
        // Writing to memory does not fail.
        let _ = write!((&mut *self.out).writer(), "HTTP/1.1 {} ", head.status());
        self.out.put_slice(head.reason());
        self.out.put_slice(b"\r\n");
    }

    fn put_fields(&mut self, head: &AnswerHead<'_>) {
        head.each(|name, value| {
            self.out.put_slice(name);
            self.out.put_slice(b": ");
            self.out.put_slice(value);
            self.out.put_slice(b"\r\n");
        });
    }

    fn put_length(&mut self, length: u64) {
        self.out.put_slice(b"content-length: ");
        self.out
            .put_slice(itoa::Buffer::new().format(length).as_bytes());
        self.out.put_slice(b"\r\n");
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Visitor for Client<'_, S> {
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, UploadError>> {
        loop {
            match &mut self.share {
                Share::Length(0) => return Poll::Ready(Ok(None)),
                Share::Length(left) => {
                    let here = self
                        .buf
                        .len()
                        .min(usize::try_from(*left).unwrap_or(usize::MAX));
                    if here > 0 {
                        *left -= here as u64;
                        return Poll::Ready(Ok(Some(self.buf.split_to(here).freeze())));
                    }
                }
                Share::Chunked(scanner, ahead) => {
                    if !ahead.is_empty() {
                        return Poll::Ready(Ok(Some(std::mem::take(ahead).freeze())));
                    }
                    if scanner.is_done() {
                        return Poll::Ready(Ok(None));
                    }
                    let decoded = scanner
                        .decode(self.buf)
                        .map_err(|_| UploadError::Malformed)?;
                    let own = self.buf.split_to(decoded.used).freeze();
                    if !decoded.content.is_empty() {
                        return Poll::Ready(Ok(Some(own.slice(decoded.content))));
                    }
                    if scanner.is_done() {
                        continue;
                    }
                }
                Share::Everything if !self.buf.is_empty() => {
                    return Poll::Ready(Ok(Some(self.buf.split().freeze())));
                }
                Share::Everything if self.ended => return Poll::Ready(Ok(None)),
                Share::Everything => {}
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) if matches!(self.share, Share::Everything) => self.ended = true,
                Ok(0) | Err(_) => return Poll::Ready(Err(UploadError::Gone)),
                Ok(_) => {}
            }
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A full buffer is read on when the next request's turn comes.
        while !self.ended && self.buf.len() < MAX_BEHIND {
            // Mostly nothing comes, so nothing is set aside for it.
            let mut chunk = [0; 256];
            let mut room = ReadBuf::new(&mut chunk);
            match ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut room)) {
                Ok(()) if room.filled().is_empty() => self.ended = true,
                Ok(()) => self.buf.extend_from_slice(room.filled()),
                Err(_) => return Poll::Ready(()),
            }
        }
        if self.ended && !self.begun {
            let at = *self
                .leaves
                .get_or_insert_with(|| Instant::now() + HALF_CLOSED);
            return self.leaving.poll(cx, at);
        }
        Poll::Pending
    }

    fn interim(&mut self, head: &AnswerHead<'_>) {
        // HTTP/1.0 knows no interim answers (RFC 9110 §15.2).
        if !self.is_http10 {
            self.put_line(head);
            self.put_fields(head);
            self.out.put_slice(b"\r\n");
        }
    }

    fn go_on(&mut self) {
        if !self.is_http10 {
            self.out.put_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    fn start(&mut self, head: &AnswerHead<'_>, announced: Announced) {
        self.begun = true;
        // Content that is still on its way may never be read.
        self.close |= !self.share.is_complete();
        self.put_line(head);
        self.put_fields(head);
        match announced {
            Announced::Nothing(length) => {
                if let Some(length) = length {
                    self.put_length(length);
                }
            }
            Announced::Length(length) => self.put_length(length),
            // HTTP/1.0 knows no chunks: the end of the connection is the end of the answer.
            Announced::Unknown if self.is_http10 => {
                self.close = true;
                self.until_close = true;
            }
            Announced::Unknown => {
                self.framing = Framing::Chunked;
                self.out.put_slice(b"transfer-encoding: chunked\r\n");
            }
            Announced::Tunnel => {
                self.share = Share::Everything;
                self.close = true;
                self.out.put_slice(b"\r\n");
                return;
            }
        }
        if self.close {
            self.out.put_slice(b"connection: close\r\n");
        } else if self.is_http10 {
            self.out.put_slice(b"connection: keep-alive\r\n");
        }
        self.out.put_slice(b"\r\n");
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        content: &[u8],
        last: bool,
    ) -> Poll<io::Result<usize>> {
        if self.framing == Framing::Chunked && self.chunk == 0 {
            // Writing to memory does not fail.
            let _ = write!((&mut *self.out).writer(), "{:x}\r\n", content.len());
            self.chunk = content.len();
            self.last = last;
        }
        let content = match self.framing {
            Framing::Known => content,
            Framing::Chunked => &content[..content.len().min(self.chunk)],
        };
        let taken = ready!(self.poll_write(cx, content))?;
        self.chunk = self.chunk.saturating_sub(taken);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.out.len() {
            // The head of an open chunk goes with its content.
            if self.chunk > 0 {
                break;
            }
            ready!(self.poll_write(cx, b""))?;
        }
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.framing == Framing::Chunked && !self.last {
            self.out.put_slice(b"0\r\n\r\n");
            self.last = true;
        }
        self.poll_flush(cx)
    }

    fn progress(&self) -> Taken {
        Taken {
            own: self.written,
            shared: None,
        }
    }

    fn reply(&mut self, reply: &Reply) {
        self.close |= self.is_http10 || !self.share.is_complete();
        self.out
            .put_slice(&reply.to_http1(self.head_only, self.close));
    }
}
