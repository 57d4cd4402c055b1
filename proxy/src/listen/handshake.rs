//! TLS handshakes: each within its time, and few at once, so that a flood of them does not stall the
//! connections that are open.

use std::{io, net::Shutdown, sync::Arc, task::Poll, time::Duration};

use rustls::{
    Error, ServerConnection,
    server::{Accepted, AcceptedAlert, Acceptor},
};
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    task::yield_now,
    time::{Instant, timeout_at},
};

use super::{
    stream::TlsStream,
    tls::{Proof, Terms, refusal},
};

/// Handshakes of a thread that compute between two looks at its other connections. One takes about a
/// quarter of a millisecond (a signature and a key exchange), so that is what others may wait for.
const AT_ONCE: usize = 4;

/// How long a refused visitor may take to hear of it.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Longest beginning of a handshake, up to the end of its first message.
const HELLO_MAX: usize = 64 * 1024;

/// Where handshakes of a thread take turns.
pub struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

/// Why a visitor was refused who was asked for a certificate, in a word.
#[derive(Debug, thiserror::Error)]
#[error("client certificate refused: {0}")]
pub struct Refused(pub &'static str);

/// A finished handshake, and what the visitor has shown where it was asked for a certificate.
pub type Shaken = (Box<TlsStream>, Option<Proof>);

/// Makes a handshake. The caller limits its time.
pub async fn handshake(tcp: TcpStream, terms: &Terms, turns: &Turns) -> io::Result<Shaken> {
    let nobody = || io::Error::other("no certificate is served here");
    if !terms.is_by_hello() {
        let (config, asked) = terms.choose(None).ok_or_else(nobody)?;
        let session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        let stream = shake(
            Box::new(TlsStream::new(tcp, session)),
            asked.is_some(),
            turns,
        )
        .await?;
        let proof = asked.map(|asked| {
            let listener = terms.listener_auth().cloned();
            Proof::of(stream.session(), Arc::clone(asked), listener)
        });
        return Ok((stream, proof));
    }
    let accepted = hello(&tcp).await?;
    let (config, asked) = terms
        .choose_for(&accepted.client_hello())
        .ok_or_else(nobody)?;
    let turn = turns.0.acquire().await;
    let session = match accepted.into_connection(Arc::clone(config)) {
        Ok(session) => session,
        Err((why, alert)) => return Err(refuse(&tcp, why, alert).await),
    };
    yield_now().await;
    drop(turn);
    let mut stream = Box::new(TlsStream::new(tcp, session));
    std::future::poll_fn(|cx| stream.poll_drain(cx)).await?;
    let stream = shake(stream, asked.is_some(), turns).await?;
    let proof = asked.map(|asked| {
        let listener = terms.listener_auth().cloned();
        Proof::of(stream.session(), Arc::clone(asked), listener)
    });
    Ok((stream, proof))
}

async fn shake(
    mut stream: Box<TlsStream>,
    is_asked: bool,
    turns: &Turns,
) -> io::Result<Box<TlsStream>> {
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
        match taken_in.await {
            Ok(true) => {}
            Ok(false) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(why) => {
                drop(turn);
                return Err(match reason(&why).filter(|_| is_asked) {
                    Some(reason) => {
                        last_word(stream.tcp()).await;
                        io::Error::other(Refused(reason))
                    }
                    None => why,
                });
            }
        }
        // The turn lasts until the thread has looked at its other connections.
        yield_now().await;
        drop(turn);
        std::future::poll_fn(|cx| stream.poll_drain(cx)).await?;
    }
    Ok(stream)
}

fn reason(why: &io::Error) -> Option<&'static str> {
    refusal(why.get_ref()?.downcast_ref::<Error>()?)
}

/// Reads the first message.
async fn hello(tcp: &TcpStream) -> io::Result<Accepted> {
    let mut acceptor = Acceptor::default();
    let mut taken = 0;
    loop {
        tcp.readable().await?;
        let mut chunk = [0; 4096];
        let read = match tcp.try_read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => continue,
            Err(why) => return Err(why),
        };
        taken += read;
        if taken > HELLO_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut arrived = &chunk[..read];
        while !arrived.is_empty() {
            acceptor.read_tls(&mut arrived)?;
            match acceptor.accept() {
                Ok(None) => {}
                // What follows the first message, of which a visitor may have sent more, is with it.
                Ok(Some(accepted)) if arrived.is_empty() => return Ok(accepted),
                Ok(Some(_)) => return Err(io::ErrorKind::InvalidData.into()),
                Err((why, alert)) => return Err(refuse(tcp, why, alert).await),
            }
        }
    }
}

/// Sends an alert.
async fn refuse(tcp: &TcpStream, why: Error, mut alert: AcceptedAlert) -> io::Error {
    let mut bytes = Vec::new();
    if alert.write_all(&mut bytes).is_ok() {
        // It fits, or nobody reads.
        let _ = tcp.try_write(&bytes);
    }
    last_word(tcp).await;
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Ends our side and drops what still comes: bytes that nobody reads would make the system reset the connection,
/// and take the alert with it.
async fn last_word(tcp: &TcpStream) {
    if SockRef::from(tcp).shutdown(Shutdown::Write).is_err() {
        return;
    }
    let until = Instant::now() + LAST_WORD;
    let mut sink = [0; 4096];
    while let Ok(Ok(())) = timeout_at(until, tcp.readable()).await {
        match tcp.try_read(&mut sink) {
            Ok(0) => return,
            Ok(_) => {}
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
