//! From a listening socket to a door.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use nix::errno::Errno;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout_at},
};

use super::{handshake::handshake, places::Place, proxy_header, stream::Stream};
use crate::{
    acme::challenge::ALPN,
    admit::client::is_trusted,
    config::model::Listener,
    door::{Hall, h1, h2},
    edge::{Connection, Scheme},
    observe::visitor_metrics::VisitorMetrics,
};

/// Pause after the system refused a connection for want of descriptors or memory.
const EXHAUSTED: Duration = Duration::from_millis(50);
/// The same where a connection is on its way out.
const MAKING_ROOM: Duration = Duration::from_millis(1);

/// Accepts until the process drains. At the bound on connections those go that do nothing; while all are at
/// work, one new one per loop waits here and all others in the kernel.
pub async fn accept(
    hall: Arc<Hall>,
    listener: TcpListener,
    config: Listener,
    tls: Option<Arc<ServerConfig>>,
) {
    let mut drain = hall.shared.drain_signal();
    let crowd = &hall.shared.crowd;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = drain.wait_for(|draining| *draining) => return hall.places.wake(),
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(why) => {
                make_room(&hall, &config, &why).await;
                continue;
            }
        };
        hall.shared.metrics.accepted.inc();
        let mut member = None;
        if !config.proxy_protocol {
            // Who is not let in takes no room from others.
            let visitors = hall.current.load().bounds.visitors;
            member = crowd.join(peer.ip(), &visitors);
            if member.is_none() {
                hall.shared.metrics.visitors.refused("per_client").inc();
                continue;
            }
        }
        let slot = tokio::select! {
            biased;
            _ = drain.wait_for(|draining| *draining) => return hall.places.wake(),
            slot = crowd.slot() => slot,
        };
        let place = hall.places.enter();
        if let Some(member) = member {
            place.belongs_to(member);
        }
        let arrival = Arrival {
            peer,
            redirect_to_https: config.redirect_to_https.then_some(config.https_port),
            has_header: config.proxy_protocol,
            tls: tls.clone(),
        };
        let hall = Arc::clone(&hall);
        tokio::spawn(async move {
            connection(&hall, stream, arrival, place).await;
            drop(slot);
        });
    }
}

/// The system has no connection for us. If it has no descriptors, one that does nothing gives up its own.
async fn make_room(hall: &Hall, config: &Listener, why: &io::Error) {
    let crowd = &hall.shared.crowd;
    let code = why.raw_os_error().map(Errno::from_raw);
    if matches!(code, Some(Errno::EMFILE | Errno::ENFILE)) && crowd.shed() {
        return sleep(MAKING_ROOM).await;
    }
    if crowd.may_say() {
        tracing::warn!(address = %config.address, %why, "cannot accept");
    }
    sleep(EXHAUSTED).await;
}

/// A connection that has just come.
struct Arrival {
    peer: SocketAddr,
    redirect_to_https: Option<u16>,
    /// It begins with a PROXY header.
    has_header: bool,
    tls: Option<Arc<ServerConfig>>,
}

async fn connection(hall: &Arc<Hall>, mut stream: TcpStream, arrival: Arrival, mut place: Place) {
    let metrics = &hall.shared.metrics.visitors;
    let Arrival {
        mut peer,
        redirect_to_https,
        has_header,
        tls,
    } = arrival;
    let until = Instant::now() + hall.current.load().bounds.handshake_timeout;
    if has_header {
        let told = place
            .unless_shed(Box::pin(timeout_at(until, source(hall, &mut stream, peer))))
            .await;
        peer = match told {
            Some(Ok(Ok(source))) => source,
            Some(Ok(Err(why))) => return metrics.refused(why).inc(),
            Some(Err(_)) => return slow_handshake(metrics),
            None => return,
        };
        let visitors = hall.current.load().bounds.visitors;
        match hall.shared.crowd.join(peer.ip(), &visitors) {
            Some(member) => place.belongs_to(member),
            None => return metrics.refused("per_client").inc(),
        }
    }
    let scheme = if tls.is_some() {
        Scheme::Https
    } else {
        Scheme::Http
    };
    // Behind a socket of IPv6, and in a PROXY header, an IPv4 address may be mapped into IPv6. Everybody after
    // this compares it with networks of IPv4.
    peer.set_ip(peer.ip().to_canonical());
    let mut connection = Connection {
        peer,
        scheme,
        redirect_to_https,
        sni: None,
    };
    let Some(tls) = tls else {
        return Box::pin(h1::serve(
            hall,
            &connection,
            Stream::Plain(stream),
            &mut place,
        ))
        .await;
    };
    let shaken = place
        .unless_shed(Box::pin(timeout_at(
            until,
            handshake(stream, &tls, &hall.turns),
        )))
        .await;
    let stream = match shaken {
        Some(Ok(Ok(stream))) => stream,
        Some(Ok(Err(_))) => return hall.shared.metrics.handshake_failures.inc(),
        Some(Err(_)) => {
            hall.shared.metrics.handshake_failures.inc();
            return slow_handshake(metrics);
        }
        None => return,
    };
    drop(tls);
    if stream.session().alpn_protocol() == Some(ALPN) {
        // The handshake is all that is asked for (RFC 8737 §3).
        let mut stream = Stream::Tls(stream);
        return std::future::poll_fn(|cx| stream.poll_goodbye(cx)).await;
    }
    connection.sni = stream.session().server_name().map(Into::into);
    let stream = Stream::Tls(stream);
    if stream.is_http2() {
        Box::pin(h2::serve(hall, &connection, stream, &mut place)).await;
    } else {
        Box::pin(h1::serve(hall, &connection, stream, &mut place)).await;
    }
}

fn slow_handshake(metrics: &VisitorMetrics) {
    metrics.shed("slow_handshake").inc();
}

/// Whose a connection is, by its PROXY header; an error is why it is not let in.
async fn source(
    hall: &Hall,
    stream: &mut TcpStream,
    peer: SocketAddr,
) -> Result<SocketAddr, &'static str> {
    let trusted = is_trusted(
        peer.ip().to_canonical(),
        &hall.current.load().bounds.trusted_proxies,
    );
    if !trusted {
        return Err("proxy_untrusted");
    }
    match proxy_header::read(stream).await {
        Ok(source) => Ok(source.unwrap_or(peer)),
        Err(why) => {
            tracing::debug!(%peer, %why, "no sound PROXY header");
            Err("proxy_header")
        }
    }
}
