//! From a listening socket to a door.

use std::{net::SocketAddr, os::fd::AsRawFd, sync::Arc, time::Duration};

use pingora::{
    listeners::tls::Acceptor,
    protocols::{
        ALPN, GetSocketDigest, SocketDigest, Ssl, Stream,
        l4::{socket::SocketAddr as AnyAddr, stream::Stream as L4Stream},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use crate::{
    config::model::Listener,
    door::{Hall, h1, h2},
    edge::{Connection, Scheme},
};

/// Pause after the system refused a connection for want of descriptors or memory.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Accepts until the process drains. At the bound on connections, one new one per loop waits here and
/// all others in the kernel.
pub async fn accept(
    hall: Arc<Hall>,
    listener: TcpListener,
    config: Listener,
    tls: Option<Arc<Acceptor>>,
) {
    let mut drain = hall.shared.drain_signal();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = drain.wait_for(|draining| *draining) => return,
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
    tls: Option<Arc<Acceptor>>,
) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    // Small answers must not wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    let _ = digest.peer_addr.set(Some(AnyAddr::Inet(peer)));
    let mut stream = L4Stream::from(stream);
    stream.set_socket_digest(digest);

    let scheme = if tls.is_some() {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let mut connection = Connection {
        peer,
        local,
        scheme,
        redirect_to_https,
        sni: None,
    };
    let Some(tls) = tls else {
        return h1::serve(hall, &connection, Box::new(stream)).await;
    };
    let limit = hall.current.load().bounds.handshake_timeout;
    let Ok(Ok(stream)) = timeout(limit, tls.tls_handshake(stream)).await else {
        hall.shared.metrics.handshake_failures.inc();
        return;
    };
    connection.sni = stream
        .get_ssl()
        .and_then(|tls| tls.server_name())
        .map(Into::into);
    let h2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
    let stream: Stream = Box::new(stream);
    if h2 {
        h2::serve(hall, &connection, stream).await;
    } else {
        h1::serve(hall, &connection, stream).await;
    }
}
