//! Writing answers: a stored response leaves as one vectored write.

use std::io::{self, IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pingora::protocols::Stream;
use tokio::{io::AsyncWriteExt, time::timeout};

use super::super::STALLED;
use crate::{
    cache::{status::Outcome, stored::goes_with_not_modified, stored::put_field},
    edge::{Answer, Hit},
    respond::fields::put_hit_fields,
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

/// Status and content bytes of the answer that a hit becomes.
pub(super) fn outline(hit: &Hit, head_only: bool) -> (u16, u64) {
    let body = |n: u64| if head_only { 0 } else { n };
    match hit.answer {
        Answer::Whole => (hit.stored.status(), body(hit.stored.body.len() as u64)),
        Answer::Part { first, last } => (206, body(last - first + 1)),
        Answer::NotModified => (304, 0),
        Answer::RangeNotSatisfiable => (416, 0),
    }
}

/// Writes a stored response, or the part of it that was asked for.
pub(super) async fn hit(
    stream: &mut Stream,
    out: &mut BytesMut,
    hit: &Hit,
    manner: Manner<'_>,
) -> io::Result<()> {
    out.clear();
    let stored = &hit.stored;
    let (head, body) = match hit.answer {
        Answer::Whole if manner.head_only => (stored.head.clone(), Bytes::new()),
        Answer::Whole => (stored.head.clone(), stored.body.clone()),
        other => {
            put_special_head(out, hit, other);
            (out.split().freeze(), special_body(hit, other))
        }
    };
    let status = Outcome::Hit.field_value().unwrap_or_default();
    put_hit_fields(out, hit.age, status, manner.request_id, hit.limit.as_ref());
    if manner.close {
        out.put_slice(b"connection: close\r\n");
    } else if manner.is_http10 {
        out.put_slice(b"connection: keep-alive\r\n");
    }
    out.put_slice(b"\r\n");
    all(stream, [&head, out, &body]).await
}

/// Heads other than the prebuilt one: they share its fields, but say something else of the content.
fn put_special_head(out: &mut BytesMut, hit: &Hit, answer: Answer) {
    let fields = hit.stored.fields();
    let length = hit.stored.body.len();
    let line: &[u8] = match answer {
        Answer::Whole | Answer::Part { .. } => b"HTTP/1.1 206 Partial Content\r\n",
        Answer::NotModified => b"HTTP/1.1 304 Not Modified\r\n",
        Answer::RangeNotSatisfiable => b"HTTP/1.1 416 Range Not Satisfiable\r\n",
    };
    out.put_slice(line);
    let whole = matches!(answer, Answer::Part { .. } | Answer::Whole);
    for (name, value) in fields {
        let kept = if whole {
            *name != http::header::CONTENT_LENGTH
        } else {
            goes_with_not_modified(name)
        };
        if kept {
            put_field(out, name.as_str(), value.as_bytes());
        }
    }
    put_field(out, "via", crate::cache::stored::VIA_SELF.as_bytes());
    match answer {
        Answer::Part { first, last } => {
            put_field(
                out,
                "content-range",
                format!("bytes {first}-{last}/{length}").as_bytes(),
            );
            put_field(
                out,
                "content-length",
                (last - first + 1).to_string().as_bytes(),
            );
        }
        Answer::RangeNotSatisfiable => {
            put_field(out, "content-range", format!("bytes */{length}").as_bytes());
            put_field(out, "content-length", b"0");
        }
        Answer::NotModified | Answer::Whole => {}
    }
}

fn special_body(hit: &Hit, answer: Answer) -> Bytes {
    match answer {
        // `decide` has checked the range against this very body.
        Answer::Part { first, last } => hit.stored.body.slice(first as usize..=last as usize),
        _ => Bytes::new(),
    }
}

/// Writes one piece.
pub(super) async fn bytes(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    all(stream, [bytes, &[], &[]]).await
}

/// Sends what is still buffered.
pub(super) async fn flush(stream: &mut Stream) -> io::Result<()> {
    timeout(STALLED, stream.flush())
        .await
        .map_err(|_| stalled())?
}

fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "client does not read")
}

async fn all(stream: &mut Stream, mut parts: [&[u8]; 3]) -> io::Result<()> {
    let mut left: usize = parts.iter().map(|p| p.len()).sum();
    while left > 0 {
        let slices = parts.map(IoSlice::new);
        let written = timeout(STALLED, stream.write_vectored(&slices))
            .await
            .map_err(|_| stalled())??;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        left -= written;
        let mut skip = written;
        for part in &mut parts {
            let n = skip.min(part.len());
            part.advance(n);
            skip -= n;
        }
    }
    Ok(())
}
