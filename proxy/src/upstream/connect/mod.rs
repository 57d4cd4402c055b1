//! The way to a connection: one that waits for a request, or a new one, within the server's bounds.

pub mod buffer;
pub mod connection;
pub mod http1;
pub mod http2;
pub mod pool;
pub mod slots;
pub mod socket;
pub mod tls;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::upstream::{
    Pool, Server, Upstream,
    connect::connection::Connection,
    connect::http2::To,
    connect::pool::{Care, Idle},
    connect::slots::{Got, Slot, Wish},
};
use crate::{random, respond::fault::Fault};

/// What a request asks of its connection.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// It must not have been used before.
    pub fresh: bool,
    /// How sure it must be that the server has not closed it.
    pub care: Care,
    /// The time since the process began.
    pub now: Duration,
    /// How long a new one may take.
    pub limit: Duration,
    /// When the request's own time is over.
    pub until: Option<Instant>,
    /// The head of the request where it is sent over HTTP/2, whose stream begins with it, and whether that is
    /// all of it.
    pub stream: Option<(&'a http::Request<()>, bool)>,
}

/// A connection to a server, and whether it was used before. Where the server may have no more of them, waits
/// in its queue; what that takes is not part of the time for connecting.
pub async fn connect(
    pool: &Pool,
    upstream: &Arc<Upstream>,
    server: &Arc<Server>,
    wanted: &Wanted<'_>,
) -> Result<(Connection, bool), Fault> {
    if let Some(files) = &upstream.files {
        let Some((request, _)) = wanted.stream else {
            return Err(Fault::UNREADABLE);
        };
        return Ok((Connection::from(files.ask(request).await?), false));
    }
    let counts = &upstream.counts;
    let mut slot = match admitted(pool, upstream, server, wanted).await? {
        Got::Reused(connection) => {
            counts.reused.inc();
            return Ok((connection, true));
        }
        Got::New(slot) => slot,
    };
    let left = wanted
        .until
        .map_or(Duration::MAX, |until| until - Instant::now());
    let limit = wanted.limit.min(left);
    let late = |fault| match fault {
        Fault::CONNECTING_LATE if left < wanted.limit => Fault::TOO_LONG,
        fault => fault,
    };
    if let Some((head, complete)) = wanted.stream {
        let to = To {
            upstream,
            server,
            now: wanted.now,
            limit,
        };
        let begun = pool.sessions.begin(to, head, complete).await;
        let begun = begun.map_err(late)?;
        let count = match begun.is_used {
            true => &counts.reused,
            false => &counts.opened,
        };
        count.inc();
        let mut connection = Connection::from(begun.stream);
        // Of requests at once: the connections below have bounds of their own.
        connection.slot = Some(slot).filter(Slot::is_bounded);
        // With other streams at work the end of a connection is no matter of reuse.
        let reused = begun.is_used && begun.is_quiet;
        return Ok((connection, reused && !wanted.fresh));
    }
    let socket = upstream.transport.connect(server, limit).await;
    let mut connection = Connection::from(socket.map_err(late)?);
    counts.opened.inc();
    slot.ends = wanted.now + somewhat_less(upstream.config.connections.lifetime);
    connection.slot = Some(slot);
    Ok((connection, false))
}

/// A connection that waits for a request, or the right to open one.
async fn admitted(
    pool: &Pool,
    upstream: &Upstream,
    server: &Server,
    wanted: &Wanted<'_>,
) -> Result<Got, Fault> {
    let fresh = wanted.fresh || wanted.stream.is_some();
    let Some(max) = server.max() else {
        let pooled = match fresh {
            true => None,
            false => pool.take(server, wanted.now, wanted.care),
        };
        // The connection below a stream is counted where it is made, so that streams need no lock.
        let new = || match wanted.stream {
            Some(_) => Got::New(Slot::of_stream()),
            None => Got::New(server.state.slots.unbounded()),
        };
        return Ok(pooled.map_or_else(new, Got::Reused));
    };
    let bounds = &upstream.config.connections;
    let patience = Instant::now() + bounds.queue_timeout;
    let wish = Wish {
        fresh,
        care: wanted.care,
        now: wanted.now,
        until: wanted.until.map_or(patience, |own| own.min(patience)),
    };
    let got = server.state.slots.acquire(max, bounds, &wish).await;
    got.map_err(|_| {
        upstream.counts.rejected.inc();
        Fault::CROWDED
    })
}

/// The exchange is complete: the connection waits for another request.
pub fn release(
    pool: &Pool,
    upstream: &Upstream,
    server: &Arc<Server>,
    connection: Connection,
    now: Duration,
) {
    let ends = connection.slot.as_ref().map_or(Duration::MAX, |s| s.ends);
    let until = (now + upstream.config.timeouts.idle).min(ends);
    if until <= now {
        return;
    }
    let idle = Idle { connection, until };
    if server.state.slots.is_bounded() {
        server.state.slots.put(idle);
    } else {
        pool.put(server, idle);
    }
}

/// Up to a tenth less, so that connections that were opened together do not all end together.
fn somewhat_less(time: Duration) -> Duration {
    time.mul_f64(1.0 - random::below(101) as f64 / 1000.0)
}
