//! From a listening socket to a door.

use std::{net::SocketAddr, sync::Arc};

use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use super::{handshake::handshake, stream::Stream};
use crate::{
    config::model::Listener,
    door::{Hall, h1, h2},
    edge::{Connection, Scheme},
};

/// Pause after the system refused a connection for want of descriptors or memory.
const EXHAUSTED: std::time::Duration = std::time::Duration::from_millis(50);

/// Accepts until the process drains. At the bound on connections, one new one per loop waits here and
/// all others in the kernel.
pub async fn accept(
    hall: Arc<Hall>,
    listener: TcpListener,
    config: Listener,
    tls: Option<Arc<ServerConfig>>,
) {
    let mut drain = hall.shared.drain_signal();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = drain.wait_for(|draining| *draining) => return hall.waiting.wake(),
            accepted = async {
                // The slot comes second: loops that wait for visitors must not hold any.
                let accepted = listener.accept().await;
                // The semaphore is never closed.
                let slot = Arc::clone(&hall.shared.slots).acquire_owned().await.ok();
                (slot, accepted)
            } => accepted,
        };
        let (slot, accepted) = accepted;
        match accepted {
            Ok((stream, peer)) => {
                hall.shared.metrics.accepted.inc();
                let (hall, tls) = (Arc::clone(&hall), tls.clone());
                let redirect = config.redirect_to_https.then_some(config.https_port);
                tokio::spawn(async move {
                    connection(&hall, stream, peer, redirect, tls).await;
                    drop(slot);
                });
            }
            Err(why) => {
                tracing::warn!(address = %config.address, %why, "cannot accept");
                sleep(EXHAUSTED).await;
            }
        }
    }
}

async fn connection(
    hall: &Arc<Hall>,
    stream: TcpStream,
    peer: SocketAddr,
    redirect_to_https: Option<u16>,
    tls: Option<Arc<ServerConfig>>,
) {
    let scheme = if tls.is_some() {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let mut connection = Connection {
        peer,
        scheme,
        redirect_to_https,
        sni: None,
    };
    let Some(tls) = tls else {
        return Box::pin(h1::serve(hall, &connection, Stream::Plain(stream))).await;
    };
    let limit = hall.current.load().bounds.handshake_timeout;
    let shaken = Box::pin(timeout(limit, handshake(stream, &tls, &hall.turns))).await;
    let Ok(Ok(stream)) = shaken else {
        hall.shared.metrics.handshake_failures.inc();
        return;
    };
    drop(tls);
    connection.sni = stream.session().server_name().map(Into::into);
    if stream.session().alpn_protocol() == Some(b"h2") {
        Box::pin(h2::serve(hall, &connection, Stream::Tls(stream))).await;
    } else {
        Box::pin(h1::serve(hall, &connection, Stream::Tls(stream))).await;
    }
}
