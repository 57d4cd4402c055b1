//! Idle connections to servers, and the memory of exchanges; one pool per thread.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::upstream::{
    Server, connect::buffer::Buffers, connect::connection::Connection, connect::http2::Sessions,
    connect::slots::Slot,
};

/// Idle connections of a thread, to all servers together.
const MAX_IDLE: usize = 512;
/// Memory that is kept for later exchanges: 1 MiB of buffers.
const MAX_SPARE: usize = 64;

/// Connections that wait for another request. A thread's own, so that nobody contends for it and each
/// connection stays with the runtime that watches it.
#[derive(Default)]
pub struct Pool {
    /// Those that speak HTTP/2, which are never idle in this sense.
    pub sessions: Arc<Sessions>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By the number of a server's state.
    idle: ahash::HashMap<u64, VecDeque<Idle>>,
    count: usize,
    spare: Vec<Buffers>,
}

/// A connection that waits for another request.
pub struct Idle {
    /// Itself.
    pub connection: Connection,
    /// How long it may, since the process began.
    pub until: Duration,
}

impl Idle {
    /// Whether it may carry another request.
    pub fn is_good(&mut self, now: Duration, care: Care) -> bool {
        self.until > now && self.connection.is_usable(care)
    }
}

/// How sure a request must be that a connection is still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// It can be repeated on another.
    Repeatable,
    /// It must not be sent twice.
    Once,
}

impl Kept {
    fn retain(&mut self, mut is_good: impl FnMut(&mut Idle) -> bool) {
        self.idle.retain(|_, idle| {
            idle.retain_mut(&mut is_good);
            !idle.is_empty()
        });
        self.count = self.idle.values().map(VecDeque::len).sum();
    }
}

impl Pool {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that was used last, of those that are still good. `now` is the time since the process
    /// began.
    pub fn take(&self, server: &Server, now: Duration, care: Care) -> Option<Connection> {
        let mut kept = self.kept();
        let idle = kept.idle.get_mut(&server.state.id())?;
        let mut gone = 0;
        let mut found = None;
        while let Some(mut newest) = idle.pop_back() {
            gone += 1;
            if newest.is_good(now, care) {
                found = Some(newest.connection);
                break;
            }
        }
        kept.count -= gone;
        found
    }

    /// Keeps a connection for another request until a moment. Where there is no room the oldest to the same
    /// server goes, or this one.
    pub fn put(&self, server: &Server, idle: Idle) {
        let mut kept = self.kept();
        let full = kept.count >= MAX_IDLE;
        let others = kept.idle.entry(server.state.id()).or_default();
        if full && others.pop_front().is_none() {
            return;
        }
        others.push_back(idle);
        if !full {
            kept.count += 1;
        }
    }

    /// Closes what is past its time, what was closed by its server, and what is not for this thread alone any
    /// more.
    pub fn tidy(&self, now: Duration) {
        self.sessions.tidy(now);
        let mut kept = self.kept();
        kept.retain(|idle| {
            let is_bounded = idle.connection.slot.as_ref().is_some_and(Slot::is_bounded);
            !is_bounded && idle.is_good(now, Care::Repeatable)
        });
        // What a rush needed is given back bit by bit.
        let half = kept.spare.len().div_ceil(2);
        kept.spare.truncate(half);
    }

    /// Closes what a bound has made everyone's.
    pub fn close_bounded(&self) {
        self.kept().retain(|idle| {
            let slot = idle.connection.slot.as_ref();
            !slot.is_some_and(Slot::is_bounded)
        });
    }

    /// Memory for an exchange.
    pub fn buffers(&self) -> Buffers {
        self.kept().spare.pop().unwrap_or_default()
    }

    /// Gives it back.
    pub fn give_back(&self, mut buffers: Buffers) {
        if buffers.clear() {
            let mut kept = self.kept();
            if kept.spare.len() < MAX_SPARE {
                kept.spare.push(buffers);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::config::model::{Backend, BackendAddress};

    const SECOND: Duration = Duration::from_secs(1);

    async fn pair(listener: &TcpListener) -> (Connection, TcpStream) {
        let address = listener.local_addr().expect("its address");
        let connection = Connection::open(address, SECOND).await.expect("connected");
        let (server, _) = listener.accept().await.expect("accepted");
        (connection, server)
    }

    async fn listener() -> (TcpListener, Server) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("free");
        let address = listener.local_addr().expect("its address");
        let backend = Backend {
            name: "s".to_owned(),
            address: BackendAddress::Address(address),
            weight: NonZeroU32::MIN,
            backup: false,
            drain: false,
        };
        (listener, Server::new(&backend, address, Arc::default()))
    }

    #[tokio::test]
    async fn the_newest_comes_first_and_old_ones_go() {
        let (listener, server) = listener().await;
        let pool = Pool::default();
        assert!(pool.take(&server, SECOND, Care::Repeatable).is_none());
        let mut ends = Vec::new();
        for n in 1..=3 {
            let (connection, end) = pair(&listener).await;
            ends.push(end);
            let until = n * SECOND;
            pool.put(&server, Idle { connection, until });
        }
        assert!(
            pool.take(&server, Duration::ZERO, Care::Repeatable)
                .is_some()
        );
        assert!(
            pool.take(&server, 2 * SECOND, Care::Repeatable).is_none(),
            "past their time"
        );
        assert_eq!(pool.kept().count, 0);
    }

    #[tokio::test]
    async fn what_its_server_closed_or_spoke_on_is_not_used_again() {
        let (listener, server) = listener().await;
        let pool = Pool::default();
        let (closed, end) = pair(&listener).await;
        drop(end);
        let (spoken, mut end) = pair(&listener).await;
        end.write_all(b"HTTP/1.1 408").await.expect("sent");
        for connection in [closed, spoken] {
            connection.stream_readable().await;
            let until = SECOND;
            pool.put(&server, Idle { connection, until });
        }
        assert!(
            pool.take(&server, Duration::ZERO, Care::Repeatable)
                .is_none()
        );
    }

    #[tokio::test]
    async fn a_request_that_must_not_be_repeated_asks_the_system() {
        let (listener, server) = listener().await;
        let pool = Pool::default();
        for (care, is_taken) in [(Care::Repeatable, true), (Care::Once, false)] {
            let (mut connection, end) = pair(&listener).await;
            assert!(connection.is_usable(care), "while it is open");
            drop(end);
            // Nothing is awaited, so the runtime has not heard of it.
            let until = SECOND;
            pool.put(&server, Idle { connection, until });
            let taken = pool.take(&server, Duration::ZERO, care);
            assert_eq!(taken.is_some(), is_taken, "{care:?}");
        }
    }

    #[tokio::test]
    async fn there_is_a_bound_and_tidying() {
        let (listener, server) = listener().await;
        let pool = Pool::default();
        let mut ends = Vec::new();
        for _ in 0..MAX_IDLE + 3 {
            let (connection, end) = pair(&listener).await;
            ends.push(end);
            let until = SECOND;
            pool.put(&server, Idle { connection, until });
        }
        assert_eq!(pool.kept().count, MAX_IDLE);
        assert_eq!(pool.kept().idle[&server.state.id()].len(), MAX_IDLE);
        pool.tidy(Duration::ZERO);
        assert_eq!(pool.kept().count, MAX_IDLE);
        pool.tidy(SECOND);
        assert_eq!(pool.kept().count, 0);
        assert!(pool.kept().idle.is_empty());
    }

    #[test]
    fn memory_is_used_again_within_a_bound() {
        let pool = Pool::default();
        let rush: Vec<_> = (0..2 * MAX_SPARE).map(|_| pool.buffers()).collect();
        rush.into_iter().for_each(|buffers| pool.give_back(buffers));
        assert_eq!(pool.kept().spare.len(), MAX_SPARE);
        pool.tidy(Duration::ZERO);
        assert_eq!(pool.kept().spare.len(), MAX_SPARE / 2);
    }
}
