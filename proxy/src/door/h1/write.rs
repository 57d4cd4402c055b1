//! Writing answers: a stored response leaves as one vectored write.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::StatusCode;
use tokio::io::AsyncWrite;

use super::super::{outgoing::Outgoing, pace::Patience};
use crate::{
    admit::waiting_room::Pass,
    cache::head::{HeadFields, put_field, put_status_line},
    edge::Hit,
    fill::content::Content,
    listen::stream::Stream,
    respond::{
        fields::put_request_fields,
        room::{CDN_CACHE_CONTROL, PRIVATE},
    },
};

/// How an answer is to be written.
pub(super) struct Manner<'a> {
    /// For HEAD.
    pub(super) head_only: bool,
    /// The connection ends afterwards.
    pub(super) close: bool,
    /// The client must be told that the connection stays.
    pub(super) is_http10: bool,
    /// `X-Request-ID`.
    pub(super) request_id: &'a [u8],
}

/// Writes an answer of the store that lies in memory: one vectored write. `sent` tells how many bytes of
/// content went out, whatever came of it.
pub(super) async fn hit(
    stream: &mut Stream,
    patience: &mut Patience,
    out: &mut BytesMut,
    outgoing: &Outgoing<'_>,
    manner: &Manner<'_>,
    sent: &mut u64,
) -> io::Result<()> {
    let content = match &outgoing.content {
        Content::Memory(content) if !manner.head_only => content.clone(),
        _ => Bytes::new(),
    };
    if !manner.head_only && outgoing.announced() != Some(content.len() as u64) {
        return Err(broken());
    }
    let whole = outgoing.has_stored_head();
    out.clear();
    put_head(out, outgoing, manner, Framing::Known);
    let head: &[u8] = if whole { &outgoing.head } else { b"" };
    let mut written = 0;
    let done = all(stream, patience, [head, out, &content], &mut written).await;
    *sent = written.saturating_sub(head.len() + out.len()) as u64;
    done
}

/// Writes an answer whose content comes piece by piece. `sent` tells how many bytes of it went out. An error
/// leaves the connection unusable, which tells the client that the content is not complete.
pub(super) async fn stream(
    stream: &mut Stream,
    patience: &mut Patience,
    out: &mut BytesMut,
    outgoing: &mut Outgoing<'_>,
    manner: &Manner<'_>,
    sent: &mut u64,
) -> io::Result<()> {
    let framing = match outgoing.has_known_end() {
        true => Framing::Known,
        false if manner.is_http10 => Framing::Close,
        false => Framing::Chunked,
    };
    out.clear();
    put_head(out, outgoing, manner, framing);
    let stored = match outgoing.has_stored_head() {
        true => outgoing.head.clone(),
        false => Bytes::new(),
    };
    // The head does not wait for the first piece of content.
    all(stream, patience, [&stored, out, b""], &mut 0).await?;
    if manner.head_only {
        return Ok(());
    }
    flush(stream, patience).await?;
    // All of it is here: the pieces need not leave one by one.
    let gathers = matches!(outgoing.content, Content::Pieces(_));
    let mut left = outgoing.announced();
    while let Some(piece) = outgoing.content.next().await.map_err(|_| broken())? {
        if let Some(left) = &mut left {
            // Whatever is written beyond the end would be taken for the next answer.
            *left = left.checked_sub(piece.len() as u64).ok_or_else(broken)?;
        }
        out.clear();
        let mut end: &[u8] = b"";
        if framing == Framing::Chunked {
            put_hex(out, piece.len());
            out.put_slice(b"\r\n");
            end = b"\r\n";
        }
        let mut written = 0;
        let done = all(stream, patience, [out, &piece, end], &mut written).await;
        *sent += written.saturating_sub(out.len()).min(piece.len()) as u64;
        done?;
        if !gathers {
            flush(stream, patience).await?;
        }
    }
    if left.is_some_and(|left| left > 0) {
        return Err(broken());
    }
    if framing == Framing::Chunked {
        all(stream, patience, [b"0\r\n\r\n", b"", b""], &mut 0).await?;
    }
    Ok(())
}

/// The content is not what was announced.
fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "content broke off")
}

fn put_hex(out: &mut BytesMut, number: usize) {
    use std::fmt::Write;
    // Writing to memory does not fail.
    let _ = write!(out, "{number:x}");
}

/// How the end of the content is told (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Known,
    Chunked,
    Close,
}

/// The fields that a hit's head has beyond the stored one, on a connection that stays: the step that
/// micro-benchmarks can run without a socket.
pub fn hit_head(hit: &Hit, request_id: &[u8], out: &mut BytesMut) {
    let mut outgoing = Outgoing::of_hit(hit);
    outgoing.narrow(&hit.route.dress);
    let manner = Manner {
        head_only: false,
        close: false,
        is_http10: false,
        request_id,
    };
    out.clear();
    put_head(out, &outgoing, &manner, Framing::Known);
}

/// Appends all of the head but the stored one, which goes in front where the whole is sent.
pub(super) fn put_head(
    out: &mut BytesMut,
    outgoing: &Outgoing<'_>,
    manner: &Manner<'_>,
    framing: Framing,
) {
    if !outgoing.has_stored_head() {
        put_special_head(out, outgoing);
    }
    if let Some(hsts) = outgoing.hsts() {
        out.put_slice(hsts.line());
    }
    if let Some(age) = outgoing.age {
        out.put_slice(b"age: ");
        out.put_slice(itoa::Buffer::new().format(age).as_bytes());
        out.put_slice(b"\r\n");
    }
    out.put_slice(b"cache-status: ");
    outgoing
        .outcome
        .put(outgoing.ttl, outgoing.key.as_deref(), out);
    out.put_slice(b"\r\n");
    put_request_fields(out, manner.request_id, outgoing.limit);
    if let Some(lines) = outgoing.lines {
        out.put_slice(lines.http1());
    }
    if let Some(cookie) = outgoing.room.and_then(Pass::cookie) {
        put_field(out, "set-cookie", cookie.as_bytes());
        put_field(out, "cache-control", PRIVATE.as_bytes());
        put_field(out, CDN_CACHE_CONTROL, PRIVATE.as_bytes());
    }
    if let Some(length) = outgoing.counted {
        out.put_slice(b"content-length: ");
        out.put_slice(itoa::Buffer::new().format(length).as_bytes());
        out.put_slice(b"\r\n");
    }
    match framing {
        Framing::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Known | Framing::Close => {}
    }
    if manner.close || framing == Framing::Close {
        out.put_slice(b"connection: close\r\n");
    } else if manner.is_http10 {
        out.put_slice(b"connection: keep-alive\r\n");
    }
    out.put_slice(b"\r\n");
}

/// Heads other than the stored one: they share its fields, but say something else of the content.
fn put_special_head(out: &mut BytesMut, outgoing: &Outgoing<'_>) {
    put_status_line(
        out,
        StatusCode::from_u16(outgoing.status()).unwrap_or_default(),
    );
    for (name, value) in HeadFields(&outgoing.head).lines() {
        if outgoing.keeps(name) {
            put_field(out, std::str::from_utf8(name).unwrap_or_default(), value);
        }
    }
    for (name, value) in outgoing.added() {
        put_field(out, name, value.as_bytes());
    }
}

/// Writes one piece.
pub(super) async fn bytes(
    stream: &mut Stream,
    patience: &mut Patience,
    bytes: &[u8],
) -> io::Result<()> {
    all(stream, patience, [bytes, &[], &[]], &mut 0).await
}

/// Sends what is still buffered.
pub(super) async fn flush(stream: &mut Stream, patience: &mut Patience) -> io::Result<()> {
    poll_fn(|cx| match Pin::new(&mut *stream).poll_flush(cx) {
        Poll::Ready(done) => {
            patience.moved(0);
            Poll::Ready(done)
        }
        Poll::Pending => poll_stalled(patience, cx),
    })
    .await
}

/// Ready when the client has been too slow.
fn poll_stalled<T>(patience: &mut Patience, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
    let stalled = || io::Error::new(io::ErrorKind::TimedOut, "client reads too slowly");
    patience.poll_over(cx).map(|()| Err(stalled()))
}

/// Writes all of it, and counts what went out.
async fn all(
    stream: &mut Stream,
    patience: &mut Patience,
    mut parts: [&[u8]; 3],
    written: &mut usize,
) -> io::Result<()> {
    let mut left: usize = parts.iter().map(|p| p.len()).sum();
    while left > 0 {
        let slices = parts.map(IoSlice::new);
        let write = poll_fn(
            |cx| match Pin::new(&mut *stream).poll_write_vectored(cx, &slices) {
                Poll::Ready(done) => Poll::Ready(done),
                Poll::Pending => poll_stalled(patience, cx),
            },
        );
        let mut skip = write.await?;
        if skip == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        patience.moved(skip as u64);
        left -= skip;
        *written += skip;
        for part in &mut parts {
            let n = skip.min(part.len());
            part.advance(n);
            skip -= n;
        }
    }
    Ok(())
}
