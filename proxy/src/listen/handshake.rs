//! TLS handshakes: each within its time, and few at once, so that a flood of them does not stall the
//! connections that are open.

use std::{io, sync::Arc, task::Poll};

use rustls::{ServerConfig, ServerConnection};
use tokio::{net::TcpStream, sync::Semaphore, task::yield_now};

use super::stream::TlsStream;

/// Handshakes of a thread that compute between two looks at its other connections. One takes about a
/// quarter of a millisecond (a signature and a key exchange), so that is what others may wait for.
const AT_ONCE: usize = 4;

/// Where handshakes of a thread take turns.
pub struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

/// Makes a handshake. The caller limits its time.
pub async fn handshake(
    tcp: TcpStream,
    config: &Arc<ServerConfig>,
    turns: &Turns,
) -> io::Result<Box<TlsStream>> {
    let session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut stream = Box::new(TlsStream::new(tcp, session));
    while stream.session().is_handshaking() {
        stream.tcp().readable().await?;
        // The semaphore is never closed.
        let turn = turns.0.acquire().await;
        let taken_in = std::future::poll_fn(|cx| {
            let taken_in = stream.poll_take_in(cx);
            // What cannot go at once goes below.
            let _ = stream.poll_drain(cx);
            match taken_in {
                // It was readable once, and is not any more.
                Poll::Pending => Poll::Ready(Ok(true)),
                done => done,
            }
        });
        if !taken_in.await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The turn lasts until the thread has looked at its other connections.
        yield_now().await;
        drop(turn);
        std::future::poll_fn(|cx| stream.poll_drain(cx)).await?;
    }
    Ok(stream)
}
