//! What outlives a configuration: the store, the counters, the health of servers, the limits' memory.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::HeaderMap;
use tokio::sync::watch;

use crate::{
    acme,
    admit::{
        lists::{AddressList, BadFile},
        rate::RateLimit,
        waiting_room::{Rooms, WaitingRoom},
    },
    cache::{
        Disk, Purges, Store, Stored,
        keeper::{Job, Keeper, Work},
        purge::{self, Stamp},
        store::Variation,
    },
    config::model::{self, Cache, Limit, Upstream, UpstreamProtocol, UpstreamTls},
    edge::Fetch,
    fill::flight::Flights,
    listen::{crowd::Crowd, tls},
    observe::{access_log::AccessLog, metrics::Metrics},
    snapshot::Snapshot,
    upstream::{Lasting, Pool, ServerState, health::changes::Why, names::Names},
};

/// State of the process.
pub struct Shared {
    /// Stored responses in memory.
    pub store: Store,
    /// Stored responses on disk.
    pub disk: Option<Arc<Disk>>,
    /// What is being fetched for the store.
    pub flights: Flights,
    keeper: Keeper,
    /// All counters.
    pub metrics: Metrics,
    /// Where finished requests are written to.
    pub access_log: ArcSwapOption<AccessLog>,
    /// The connections of visitors.
    pub crowd: Arc<Crowd>,
    /// Where the names of servers lead.
    pub names: Names,
    /// What was read of the files of certificates.
    pub certificate_files: Arc<tls::Files>,
    /// Keys of session tickets.
    pub tickets: tls::Tickets,
    /// The certificates of a configuration that had TLS listeners, for a while after one without any: whoever was let
    /// in before makes a handshake by them. They ask nothing of anybody else.
    pub certificates_left: ArcSwapOption<tls::Certificates>,
    /// Certificates that are ordered.
    pub acme: Arc<acme::Issued>,
    pools: Mutex<Vec<Arc<Pool>>>,
    servers: Mutex<HashMap<ServerKey, Arc<ServerState>>>,
    upstreams: Mutex<HashMap<String, Arc<Lasting>>>,
    limiters: Mutex<HashMap<String, (Limit, Arc<RateLimit>)>>,
    lists: Mutex<Vec<Arc<AddressList>>>,
    waiting_rooms: Rooms,
    /// When the process began.
    started: Instant,
    draining: AtomicBool,
    drain: watch::Sender<bool>,
    /// Another process serves: whoever is connected may ask once more.
    leaving: AtomicBool,
    hurry: watch::Sender<bool>,
    /// Addresses that nobody else listens on.
    unwanted: ArcSwap<Vec<SocketAddr>>,
    stop: watch::Sender<bool>,
}

/// What tells servers apart.
#[derive(PartialEq, Eq, Hash)]
struct ServerKey {
    upstream: String,
    address: SocketAddr,
    protocol: UpstreamProtocol,
    tls: Option<UpstreamTls>,
}

/// The configuration in force, for doors and tasks.
pub type Current = Arc<ArcSwap<Snapshot>>;

fn open_disk(config: &model::Disk) -> std::io::Result<(Disk, Purges)> {
    let disk = Disk::open(config)?;
    let purges = Purges::with_journal(&Disk::journal(config))?;
    Ok((disk, purges))
}

impl Shared {
    /// Makes the state of a process that is about to start. Where the disk tier cannot be used it starts
    /// without: a broken disk costs hits, not the shop. The work that comes along is for a thread.
    pub fn new(cache: &Cache, max_connections: usize) -> (Self, Work) {
        Self::begun(cache, max_connections, Instant::now())
    }

    /// The same for a process that counts its time from `started`.
    pub fn begun(cache: &Cache, max_connections: usize, started: Instant) -> (Self, Work) {
        let metrics = Metrics::new();
        let crowd = Arc::new(Crowd::new(max_connections, started, &metrics.visitors));
        metrics
            .visitors
            .max
            .set(i64::try_from(crowd.max()).unwrap_or(i64::MAX));
        let (disk, purges) = match cache.disk.as_ref().map(open_disk) {
            None => (None, Purges::in_memory()),
            Some(Ok((disk, purges))) => (Some(Arc::new(disk)), purges),
            Some(Err(why)) => {
                tracing::error!(
                    %why,
                    "the folder of cache.disk cannot be used; serving goes on without the disk tier \
                     until the next start"
                );
                metrics.cache.disk_errors.set(1);
                (None, Purges::without_journal())
            }
        };
        let (keeper, work) = Keeper::new(cache.memory);
        let shared = Self {
            store: Store::new(cache, purges),
            disk,
            flights: Flights::default(),
            keeper,
            metrics,
            access_log: ArcSwapOption::empty(),
            crowd,
            names: Names::default(),
            certificate_files: Arc::default(),
            tickets: tls::Tickets::default(),
            certificates_left: ArcSwapOption::empty(),
            acme: Arc::default(),
            pools: Mutex::default(),
            servers: Mutex::default(),
            upstreams: Mutex::default(),
            limiters: Mutex::default(),
            lists: Mutex::default(),
            waiting_rooms: Rooms::default(),
            started,
            draining: AtomicBool::new(false),
            drain: watch::Sender::new(false),
            leaving: AtomicBool::new(false),
            hurry: watch::Sender::new(false),
            unwanted: ArcSwap::default(),
            stop: watch::Sender::new(false),
        };
        (shared, work)
    }

    /// Bytes of content beyond which a response is not stored at all.
    pub fn max_object(&self) -> u64 {
        let on_disk = self.disk.as_ref().map_or(0, |disk| disk.max_object());
        self.store.max_object().max(on_disk)
    }

    /// What a response to a fetch is purged by; `None` where it has more tags than anyone can mean.
    pub fn stamp(&self, fetch: &Fetch, seq: u64, response: &HeaderMap) -> Option<Stamp> {
        let mut tags = Vec::new();
        http_caching::tags(response, &mut |tag| tags.push(purge::tag_number(tag))).ok()?;
        let uri = fetch.key.get(..fetch.uri_length).unwrap_or(&fetch.key);
        Some(Stamp {
            seq,
            uri: purge::uri_number(uri),
            tags: tags.into_boxed_slice(),
        })
    }

    /// What is to be done with a new response.
    pub fn keep(&self, stored: &Stored, compress: bool, variation: Option<Arc<Variation>>) {
        let compresses = compress && self.keeper.compress(stored);
        if !compresses && self.disk.is_some() {
            self.keeper.hand(Job::New(stored.clone()));
        }
        self.keep_variation(variation);
    }

    /// What is to be done with a response whose fields have changed.
    pub fn keep_meta(&self, stored: &Stored) {
        if self.disk.is_some() {
            self.keeper.hand(Job::Meta(stored.clone()));
        }
    }

    /// Keeps what responses vary on.
    pub fn keep_variation(&self, variation: Option<Arc<Variation>>) {
        if let Some(variation) = variation
            && self.disk.is_some()
        {
            self.keeper.hand(Job::Variation(variation));
        }
    }

    /// What lies on disk under a key is of no use any more.
    pub fn forget_on_disk(&self, key: &[u8]) {
        if self.disk.is_some() {
            self.keeper.hand(Job::Forget(key.into()));
        }
    }

    /// The way to the thread that keeps the store.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Sweeps out what was purged when the records of purges become many.
    fn sweep_if_due(&self) {
        // What nobody has seen yet cannot be swept out.
        let is_read = self.disk.as_ref().is_none_or(|disk| disk.is_read());
        if !is_read || !self.store.purges.are_many() {
            return;
        }
        // A fetch that began before a purge is still to meet its record.
        let oldest = self.flights.oldest_step();
        let up_to = oldest.unwrap_or(u64::MAX).min(self.store.purges.seq());
        self.keeper.order_sweep(up_to);
    }

    /// The state of a server, the same across reloads.
    pub fn server_state(&self, upstream: &Upstream, address: SocketAddr) -> Arc<ServerState> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = ServerKey {
            upstream: upstream.name.clone(),
            address,
            // Another way to speak to it is another server: what is known, and connections, are of the old one.
            protocol: upstream.protocol,
            tls: upstream.tls.clone(),
        };
        let born = || Arc::new(ServerState::born(self.started.elapsed()));
        Arc::clone(servers.entry(key).or_insert_with(born))
    }

    /// The pool of a thread that begins.
    pub fn new_pool(&self) -> Arc<Pool> {
        let pool = Arc::<Pool>::default();
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.push(Arc::clone(&pool));
        pool
    }

    /// What outlives the configuration of an upstream.
    pub fn lasting(&self, upstream: &str) -> Arc<Lasting> {
        let mut known = self
            .upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(upstream.to_owned()).or_default())
    }

    /// The limiter of a rule; one that counts as before keeps its memory across reloads. A new memory is
    /// kept only by [`adopt`](Self::adopt), when its configuration takes effect.
    pub fn limiter(&self, limit: &Limit, exempt: Vec<Arc<AddressList>>) -> Arc<RateLimit> {
        let limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        let known = limiters.get(&limit.name);
        let memory = known.and_then(|(known, limiter)| {
            let counts_as_before = known.counts_as(limit);
            counts_as_before.then(|| limiter.memory())
        });
        let counts = self.metrics.limits.limit(&limit.name);
        Arc::new(RateLimit::new(limit, memory, exempt, counts))
    }

    /// An address list: the one in force, which keeps up with its file by itself, or a new one, whose file is read.
    ///
    /// # Errors
    /// The file of a new one cannot be used.
    pub fn address_list(&self, list: &model::AddressList) -> Result<Arc<AddressList>, BadFile> {
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lists.iter().find(|known| known.is_as(list)).cloned();
        drop(lists);
        known.map_or_else(
            || {
                let counts = self.metrics.limits.list(&list.name);
                AddressList::new(list).map(|new| Arc::new(new.counted(counts)))
            },
            Ok,
        )
    }

    /// A waiting room; one of the same name goes on where it is. The error says which file cannot be used.
    pub fn waiting_room(&self, config: &model::WaitingRoom) -> Result<WaitingRoom, String> {
        self.waiting_rooms.room(config, self.started.elapsed())
    }

    /// Remembers what a configuration that takes effect brings along.
    pub fn adopt(&self, snapshot: &Snapshot) {
        let rules = snapshot.config.limits.iter().cloned();
        let adopted = rules.zip(snapshot.limits.iter().cloned());
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        for limiter in &snapshot.limits {
            if let Some((_, before)) = limiters.get(limiter.name) {
                limiter.go_on_from(before, self.started.elapsed());
            }
        }
        *limiters = adopted
            .map(|(rule, limiter)| (rule.name.clone(), (rule, limiter)))
            .collect();
        drop(limiters);
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.clone_from(&snapshot.lists);
        drop(lists);
        self.metrics.adopt(snapshot);
        self.waiting_rooms.adopt(&snapshot.waiting_rooms);
        self.acme.adopt(snapshot.config.acme.as_ref());
        self.names.retain(&snapshot.hosts());
        for upstream in &snapshot.upstreams {
            upstream.put_in_force(self);
        }
        // What a thread keeps for itself is nothing that others could use.
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.iter().for_each(|pool| pool.close_bounded());
        for upstream in snapshot
            .upstreams
            .iter()
            .filter(|u| u.config.health_check.is_none())
        {
            for server in upstream.servers().iter() {
                // Nobody would find it well again.
                let why = Why::new("unchecked", "it is not checked any more");
                upstream.set_up(server, true, self.started.elapsed(), &why);
            }
        }
    }

    /// Ends what is told of names that neither the configuration in force has, nor one that still answers somebody.
    pub fn forget_names(&self) {
        self.metrics.forget(&self.names);
    }

    /// Forgets clients that have been quiet, and what no configuration refers to any more.
    pub fn tidy(&self, now: Duration) {
        self.store.tidy();
        self.sweep_if_due();
        let limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, limiter) in limiters.values() {
            limiter.forget_idle(now);
        }
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        for state in servers.values() {
            state.slots.tidy(now);
        }
        servers.retain(|_, state| {
            Arc::strong_count(state) > 1 || state.slots.open() + state.slots.sessions() > 0
        });
        let mut upstreams = self
            .upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        upstreams.retain(|_, lasting| Arc::strong_count(lasting) > 1);
        drop(upstreams);
        drop(servers);
        drop(limiters);
        self.forget_names();
    }

    /// The waiting rooms' memory.
    pub fn waiting_rooms(&self) -> &Rooms {
        &self.waiting_rooms
    }

    /// When the process began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The same in seconds since 1970, by today's clock.
    pub fn since(&self) -> u64 {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        now.saturating_sub(self.started.elapsed()).as_secs()
    }

    /// Begins to leave, because another process serves: listeners close, and whoever is connected gets an answer
    /// more, with which the connection ends. What waits at an address that the other does not listen on is still
    /// accepted.
    pub fn start_leaving(&self, unwanted: Vec<SocketAddr>) {
        self.unwanted.store(Arc::new(unwanted));
        self.leaving.store(true, Ordering::Release);
        self.draining.store(true, Ordering::Release);
        self.drain.send_replace(true);
    }

    /// Whether an address is given up with this process, so that nobody accepts what waits there.
    pub fn is_given_up(&self, address: SocketAddr) -> bool {
        self.unwanted.load().contains(&address)
    }

    /// Whether a connection without a request at hand is to end. One that is left to itself may be sent a request
    /// at this very moment, which nobody would answer.
    pub fn closes_idle(&self) -> bool {
        self.is_draining() && !self.leaving.load(Ordering::Acquire)
    }

    /// Returns when those who are idle are to go although they were left to themselves before.
    pub async fn hurries(&self) {
        let _ = self.hurry.subscribe().wait_for(|hurry| *hurry).await;
    }

    /// Begins the end: listeners close, idle connections go, running requests finish.
    pub fn start_draining(&self) {
        self.leaving.store(false, Ordering::Release);
        self.draining.store(true, Ordering::Release);
        self.drain.send_replace(true);
        self.hurry.send_replace(true);
    }

    /// Takes [`start_leaving`](Self::start_leaving) back: the other process is gone. Not after `start_draining`.
    pub fn stop_leaving(&self) {
        self.unwanted.store(Arc::default());
        self.draining.store(false, Ordering::Release);
        self.leaving.store(false, Ordering::Release);
        self.drain.send_replace(false);
    }

    /// Returns when leaving was taken back.
    pub async fn stays(&self) {
        let _ = self.drain.subscribe().wait_for(|drain| !*drain).await;
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
        self.crowd.open()
    }

    /// Returns when the last connection is closed.
    pub async fn all_closed(&self) {
        self.crowd.all_closed().await;
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
