//! From a listening socket to a door.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use nix::errno::Errno;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep, timeout_at},
};

use super::{
    handshake::{Refused, handshake},
    places::Place,
    proxy_header,
    sockets::{Line, Settings},
    stream::Stream,
};
use crate::{
    acme::challenge::ALPN,
    admit::client::is_trusted,
    door::{Hall, h1, h2},
    edge::{Connection, Scheme},
    observe::visitor_metrics::VisitorMetrics,
};

/// Pause after the system refused a connection for want of descriptors or memory.
const EXHAUSTED: Duration = Duration::from_millis(50);
/// The same where a connection is on its way out.
const MAKING_ROOM: Duration = Duration::from_millis(1);

/// Connections that are taken from a queue at most when nothing more is to be accepted: as many as wait in it.
const LAST: usize = 4096;

/// Accepts until the process drains or the line closes, and takes what waits then. At the bound on connections
/// those go that do nothing; while all are at work, one new one per loop waits here and all others in the kernel.
pub async fn accept(hall: Arc<Hall>, listener: TcpListener, line: Arc<Line>) {
    let mut drain = hall.shared.drain_signal();
    let mut closing = line.closing();
    loop {
        let accepted = tokio::select! {
            biased;
            () = drained(&mut drain) => break,
            _ = closing.wait_for(|closing| *closing) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => enter(&hall, &line, stream, peer).await,
            Err(why) => make_room(&hall, &line, &why).await,
        }
    }
    // Where another process accepts, what waits is for that one.
    if !is_taken_over(&hall, &line)
        && let Ok(listener) = listener.into_std()
    {
        take_rest(&hall, &line, &listener).await;
    }
    let is_draining = *drain.borrow();
    if is_draining {
        hall.places.wake();
    }
}

fn is_taken_over(hall: &Hall, line: &Line) -> bool {
    let shared = &hall.shared;
    shared.is_draining()
        && !shared.closes_idle()
        && !shared.is_given_up(line.settings().listener.address)
}

/// Takes what waits in a queue. The system is asked itself: the runtime may say that nothing is there because it
/// has not looked, or because others should have their turn.
async fn take_rest(hall: &Arc<Hall>, line: &Line, listener: &StdListener) {
    for _ in 0..LAST {
        let accepted = listener.accept().and_then(|(stream, peer)| {
            stream.set_nonblocking(true)?;
            Ok((TcpStream::from_std(stream)?, peer))
        });
        match accepted {
            Ok((stream, peer)) => enter(hall, line, stream, peer).await,
            // That one has gone meanwhile, the next may be here.
            Err(why) if why.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => return,
            Err(why) => make_room(hall, line, &why).await,
        }
    }
}

/// Lets a connection in, when there is room.
async fn enter(hall: &Arc<Hall>, line: &Line, stream: TcpStream, peer: SocketAddr) {
    let crowd = &hall.shared.crowd;
    let settings = line.settings();
    hall.shared.metrics.accepted.inc();
    let mut member = None;
    if !settings.listener.proxy_protocol {
        // Who is not let in takes no room from others.
        let visitors = hall.current.load().bounds.visitors;
        member = crowd.join(peer.ip(), &visitors);
        if member.is_none() {
            return hall.shared.metrics.visitors.refused("per_client").inc();
        }
    }
    let mut drain = hall.shared.drain_signal();
    let slot = tokio::select! {
        biased;
        slot = crowd.slot() => slot,
        () = drained(&mut drain) => None,
    };
    let is_in_the_way = slot.is_none() && is_taken_over(hall, line);
    let hall = Arc::clone(hall);
    let enters = async move {
        let slot = match slot {
            Some(slot) => slot,
            None => slot_in_time(&hall).await?,
        };
        let mut place = hall.places.enter();
        if let Some(member) = member {
            place.belongs_to(member);
        }
        place.came_under(Arc::clone(&settings));
        Some(async move {
            connection(&hall, stream, peer, &settings, place).await;
            drop(slot);
        })
    };
    if is_in_the_way {
        // Its socket closes: should the other process crash, the address is to be had at once.
        tokio::spawn(async move {
            if let Some(connection) = enters.await {
                connection.await;
            }
        });
    } else if let Some(connection) = enters.await {
        tokio::spawn(connection);
    }
}

/// A slot of a process that drains; `None` where it ends before it has one.
async fn slot_in_time(hall: &Hall) -> Option<OwnedSemaphorePermit> {
    let mut drain = hall.shared.drain_signal();
    tokio::select! {
        biased;
        slot = hall.shared.crowd.slot() => slot,
        () = has_no_time(hall, &mut drain) => None,
    }
}

async fn drained(drain: &mut watch::Receiver<bool>) {
    let _ = drain.wait_for(|draining| *draining).await;
}

/// Returns when the process ends without another one that serves: whoever is accepted by then is not answered.
async fn has_no_time(hall: &Hall, drain: &mut watch::Receiver<bool>) {
    drained(drain).await;
    if !hall.shared.closes_idle() {
        hall.shared.hurries().await;
    }
}

/// The system has no connection for us. If it has no descriptors, one that does nothing gives up its own.
async fn make_room(hall: &Hall, line: &Line, why: &io::Error) {
    let crowd = &hall.shared.crowd;
    let code = why.raw_os_error().map(Errno::from_raw);
    if matches!(code, Some(Errno::EMFILE | Errno::ENFILE)) && crowd.shed() {
        return sleep(MAKING_ROOM).await;
    }
    if crowd.may_say() {
        tracing::warn!(address = %line.bound, %why, "cannot accept");
    }
    sleep(EXHAUSTED).await;
}

async fn connection(
    hall: &Arc<Hall>,
    mut stream: TcpStream,
    mut peer: SocketAddr,
    settings: &Settings,
    mut place: Place,
) {
    let metrics = &hall.shared.metrics.visitors;
    let listener = &settings.listener;
    // Where there is TLS; without anything where no certificate is known any more. Held for no longer than the handshake.
    let tls = listener.tls.then(|| {
        let snapshot = hall.current.load();
        match &snapshot.certificates {
            Some(known) => Some(known.terms(listener)),
            None => {
                let left = hall.shared.certificates_left.load();
                left.as_ref().map(|known| known.terms(listener))
            }
        }
    });
    let until = Instant::now() + hall.current.load().bounds.handshake_timeout;
    if listener.proxy_protocol {
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
        redirect_to_https: listener.redirect_to_https.then_some(listener.https_port),
        sni: None,
        listener: listener.address,
        proof: None,
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
    let Some(tls) = tls else {
        return hall.shared.metrics.handshake_failures.inc();
    };
    let shaken = place
        .unless_shed(Box::pin(timeout_at(
            until,
            handshake(stream, &tls, &hall.turns),
        )))
        .await;
    let (stream, proof) = match shaken {
        Some(Ok(Ok(shaken))) => shaken,
        Some(Ok(Err(why))) => {
            hall.shared.metrics.handshake_failures.inc();
            if let Some(why) = why.get_ref().and_then(|why| why.downcast_ref::<Refused>()) {
                tracing::debug!(peer = %connection.peer, why = why.0, "client certificate refused");
                hall.shared.metrics.certificates.refused(why.0);
            }
            return;
        }
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
    connection.proof = proof.map(Box::new);
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
