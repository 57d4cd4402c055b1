//! What outlives a configuration: the store, the counters, the health of servers, the limits' memory.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use pingora::cache::lock::{CacheKeyLockImpl, CacheLock};
use tokio::sync::{Semaphore, watch};

use crate::{
    admit::rate::RateLimit,
    cache::Store,
    config::model::{Cache, Limit},
    observe::{access_log::AccessLog, metrics::Metrics},
    snapshot::Snapshot,
    upstream::ServerState,
};

/// State of the process. The store and the lock are `'static` because Pingora asks for that.
pub struct Shared {
    /// Stored responses.
    pub store: &'static Store,
    /// Collapses requests for the same response.
    pub cache_lock: &'static CacheKeyLockImpl,
    /// All counters.
    pub metrics: Metrics,
    /// Where finished requests are written to.
    pub access_log: ArcSwapOption<AccessLog>,
    /// One for each connection that may be open.
    pub slots: Arc<Semaphore>,
    max_connections: u32,
    servers: Mutex<HashMap<(String, SocketAddr), Arc<ServerState>>>,
    limiters: Mutex<HashMap<String, (Limit, Arc<RateLimit>)>>,
    draining: AtomicBool,
    drain: watch::Sender<bool>,
    stop: watch::Sender<bool>,
}

/// The configuration in force, for doors and tasks.
pub type Current = Arc<ArcSwap<Snapshot>>;

impl Shared {
    /// Makes the state of a process that is about to start.
    pub fn new(cache: &Cache, max_connections: usize) -> Self {
        let max_connections = u32::try_from(max_connections).unwrap_or(u32::MAX);
        Self {
            store: Box::leak(Box::new(Store::new(cache))),
            cache_lock: Box::leak(CacheLock::new_boxed(cache.lock_timeout)),
            metrics: Metrics::new(),
            access_log: ArcSwapOption::empty(),
            slots: Arc::new(Semaphore::new(max_connections as usize)),
            max_connections,
            servers: Mutex::default(),
            limiters: Mutex::default(),
            draining: AtomicBool::new(false),
            drain: watch::Sender::new(false),
            stop: watch::Sender::new(false),
        }
    }

    /// The state of a server, the same across reloads.
    pub fn server_state(&self, upstream: &str, address: SocketAddr) -> Arc<ServerState> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(servers.entry((upstream.to_owned(), address)).or_default())
    }

    /// The limiter of a rule; a rule that has not changed keeps its memory across reloads. A new one
    /// is remembered only by [`adopt`](Self::adopt), when its configuration takes effect.
    pub fn limiter(&self, limit: &Limit) -> Arc<RateLimit> {
        let limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        match limiters.get(&limit.name) {
            Some((known, limiter))
                if (known.rate, known.period, known.burst, known.max_keys)
                    == (limit.rate, limit.period, limit.burst, limit.max_keys) =>
            {
                Arc::clone(limiter)
            }
            _ => Arc::new(RateLimit::new(limit)),
        }
    }

    /// Remembers what a configuration that takes effect brings along.
    pub fn adopt(&self, snapshot: &Snapshot) {
        let rules = snapshot.config.limits.iter().cloned();
        let adopted = rules.zip(snapshot.limits.iter().cloned());
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        *limiters = adopted
            .map(|(rule, limiter)| (rule.name.clone(), (rule, limiter)))
            .collect();
        for upstream in snapshot
            .upstreams
            .iter()
            .filter(|u| u.health_check.is_none())
        {
            for server in &upstream.servers {
                // Nobody would find it well again.
                server.state.set_up(true);
            }
        }
    }

    /// Forgets clients that have been quiet, and what no configuration refers to any more.
    pub fn tidy(&self, now: Duration) {
        let limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, limiter) in limiters.values() {
            limiter.forget_idle(now);
        }
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|_, state| Arc::strong_count(state) > 1);
    }

    /// Begins the end: listeners close, idle connections go, running requests finish.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
        self.drain.send_replace(true);
    }

    /// Whether the end has begun.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Becomes `true` when the end begins.
    pub fn drain_signal(&self) -> watch::Receiver<bool> {
        self.drain.subscribe()
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        (self.max_connections as usize).saturating_sub(self.slots.available_permits())
    }

    /// Returns when the last connection is closed.
    pub async fn all_closed(&self) {
        // The semaphore is never closed, so all slots are free when this returns.
        let _ = self.slots.acquire_many(self.max_connections).await;
    }

    /// Ends the threads, whatever is still open.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Returns when the threads are to end.
    pub async fn stopped(&self) {
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }
}
