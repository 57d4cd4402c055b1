//! The way to a connection: one that waits for a request, or a new one, within the server's bounds.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Pool, Server, Upstream,
    connection::Connection,
    pool::{Care, Idle},
    slots::{Got, Wish},
};
use crate::{random, respond::fault::Fault};

/// What a request asks of its connection.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
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
}

/// A connection to a server, and whether it was used before. Where the server may have no more of them, waits
/// in its queue; what that takes is not part of the time for connecting.
pub async fn connect(
    pool: &Pool,
    upstream: &Upstream,
    server: &Server,
    wanted: &Wanted,
) -> Result<(Connection, bool), Fault> {
    let counts = &upstream.counts;
    let bounds = &upstream.config.connections;
    let got = match server.max() {
        None => {
            let pooled = if wanted.fresh {
                None
            } else {
                pool.take(server, wanted.now, wanted.care)
            };
            match pooled {
                Some(connection) => Got::Reused(connection),
                None => Got::New(server.state.slots.unbounded()),
            }
        }
        Some(max) => {
            let patience = Instant::now() + bounds.queue_timeout;
            let wish = Wish {
                fresh: wanted.fresh,
                care: wanted.care,
                now: wanted.now,
                until: wanted.until.map_or(patience, |own| own.min(patience)),
            };
            let got = server.state.slots.acquire(max, bounds, &wish).await;
            got.map_err(|_| {
                counts.rejected.inc();
                Fault::CROWDED
            })?
        }
    };
    let mut slot = match got {
        Got::Reused(connection) => {
            counts.reused.inc();
            return Ok((connection, true));
        }
        Got::New(slot) => slot,
    };
    let left = wanted
        .until
        .map_or(Duration::MAX, |until| until - Instant::now());
    let opened = Connection::open(server.address, wanted.limit.min(left)).await;
    let mut connection = opened.map_err(|why| match why.kind() {
        ErrorKind::TimedOut if left < wanted.limit => Fault::TOO_LONG,
        _ => Fault::connecting(&why),
    })?;
    counts.opened.inc();
    slot.ends = wanted.now + somewhat_less(bounds.lifetime);
    connection.slot = Some(slot);
    Ok((connection, false))
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
