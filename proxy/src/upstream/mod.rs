//! Groups of servers: which one answers, whether it is well, and when to try another.
//!
//! A request begins [`Attempts`]; they choose servers one after the other until one answers, and
//! note what each failure says of its server.

pub mod attempts;
pub mod budget;
pub mod choose;
pub mod concurrency;
pub mod connect;
mod departed;
pub mod health;
pub mod names;
pub mod orders;
pub mod outage;
mod pressure;
pub mod server;
#[cfg(test)]
mod testing;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use prometheus::IntCounterVec;

pub use attempts::Attempts;
pub use choose::{Choice, Chooser, Chosen};
pub use connect::{Wanted, connect, release};
pub use connect::{
    pool::{Care, Pool},
    tls::Transport,
};
pub use health::state::ServerState;
pub use server::{AtWork, Server};

use crate::{
    config::model::{self, Backend, BackendAddress, UpstreamProtocol},
    files::{self, Files},
    observe::upstream_metrics::ConnectionCounts,
    shared::Shared,
};
use budget::RetryBudget;
use concurrency::Concurrency;
use departed::Departed;
use orders::Orders;
use outage::Outage;

/// A group of servers as one configuration names it.
pub struct Upstream {
    /// What the file says of it.
    pub config: model::Upstream,
    /// Its connections.
    pub counts: Arc<ConnectionCounts>,
    /// What outlives the configuration.
    pub lasting: Arc<Lasting>,
    /// How its servers are reached.
    pub transport: Transport,
    /// Files that answer in the place of servers.
    pub files: Option<Files>,
    servers: ArcSwap<Vec<Arc<Server>>>,
    /// Its configuration has taken effect.
    is_in_force: AtomicBool,
    chooser: Chooser,
    /// Changes of its servers.
    changes: IntCounterVec,
}

/// What is known of an upstream whatever its configuration.
#[derive(Default)]
pub struct Lasting {
    /// What retries may add.
    pub budget: RetryBudget,
    /// Times when no server can answer.
    pub outage: Outage,
    /// Servers that take nothing new.
    pub orders: Orders,
    /// Requests at work, and those that wait.
    pub concurrency: Arc<Concurrency>,
    /// Addresses that names of servers led to lately.
    departed: Mutex<Departed>,
    /// Held by who ejects a server, so that two threads do not eject the last two.
    ejecting: Mutex<()>,
}

impl Lasting {
    fn departed(&self) -> MutexGuard<'_, Departed> {
        self.departed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upstream {
    /// Takes over the state of servers and the addresses of names that are known already. An error is a
    /// sentence about a file that cannot be used.
    pub fn new(config: &model::Upstream, shared: &Shared) -> Result<Self, String> {
        let upstream = Self {
            chooser: Chooser::new(config.balance, config.slow_start),
            changes: shared.metrics.upstream_changes.clone(),
            counts: shared.metrics.upstreams.of(&config.name),
            lasting: shared.lasting(&config.name),
            transport: Transport::new(config)?,
            files: None,
            servers: ArcSwap::default(),
            is_in_force: AtomicBool::new(false),
            config: config.clone(),
        };
        // Orders are looked at once it is sure that this configuration is to be in force: the state of a server is
        // also that of the configuration before.
        upstream.servers.store(Arc::new(upstream.placed(shared)));
        Ok(upstream)
    }

    /// A folder that is asked like a server.
    pub fn of_files(files: Files, shared: &Shared) -> Result<Self, String> {
        let upstream = Self::new(&files::as_upstream(), shared)?;
        Ok(Self {
            files: Some(files),
            ..upstream
        })
    }

    /// A name of its servers leads elsewhere. Before its configuration is in force that changes nothing of what the one
    /// before it has, too.
    pub fn refresh(&self, shared: &Shared) {
        let servers = self.placed(shared);
        if !self.is_in_force.load(Ordering::Acquire) {
            self.servers.store(Arc::new(servers));
            return;
        }
        self.set_servers(servers);
        self.set_bounds();
    }

    /// Its configuration takes effect: orders are looked at, connections are bounded as it says, and from here on
    /// that is kept up with. While names were waited for, those who watched for the configuration before may have taken
    /// an answer for themselves.
    pub fn put_in_force(&self, shared: &Shared) {
        self.is_in_force.store(true, Ordering::Release);
        self.refresh(shared);
    }

    /// Servers where the configuration and the names in it say. Those that stay keep their place in turn; of two
    /// at one address the first counts.
    fn placed(&self, shared: &Shared) -> Vec<Arc<Server>> {
        let old = self.servers.load();
        let mut new: Vec<Arc<Server>> = Vec::new();
        let mut place = |backend: &Backend, address: SocketAddr| {
            if new.iter().any(|server| server.address == address) {
                return;
            }
            let mut old = old.iter();
            let stays = old.find(|server| server.address == address && server.is_of(backend));
            new.push(match stays {
                Some(server) => Arc::clone(server),
                None => {
                    let state = shared.server_state(&self.config, address);
                    let server = Server::new(backend, address, state);
                    let server = server.with_rules(self.config.eject.as_ref());
                    Arc::new(server.with_max(self.config.connections.max))
                }
            });
        };
        for backend in &self.config.servers {
            match &backend.address {
                BackendAddress::Address(address) => place(backend, *address),
                BackendAddress::Name { host, port } => {
                    for ip in shared.names.addresses(host).iter() {
                        place(backend, SocketAddr::new(*ip, *port));
                    }
                }
            }
        }
        new
    }

    /// Connections are bounded as this configuration says.
    fn set_bounds(&self) {
        for server in self.servers.load().iter() {
            server.state.slots.set_bound(server.max());
        }
        let concurrency = self.config.concurrency;
        self.lasting.concurrency.set_bounds(concurrency);
    }

    /// Name in the file.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Names of its servers, those that are no addresses.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let servers = self.config.servers.iter();
        servers.filter_map(|backend| match &backend.address {
            BackendAddress::Address(_) => None,
            BackendAddress::Name { host, .. } => Some(host.as_str()),
        })
    }

    /// Connections to a server that are open now, idle ones included. Over HTTP/2 those that carry the streams:
    /// a bound there is one of requests.
    pub fn open_connections(&self, server: &Server) -> usize {
        let slots = &server.state.slots;
        match self.config.protocol {
            UpstreamProtocol::Http1 => slots.open(),
            UpstreamProtocol::Http2 => slots.sessions(),
        }
    }

    /// Its servers at the moment.
    pub fn servers(&self) -> Arc<Vec<Arc<Server>>> {
        self.servers.load_full()
    }

    /// Servers of whom there is something to tell: those of the moment, and addresses that its names led to lately.
    pub fn servers_told(&self) -> Vec<String> {
        // Held, so that none leaves or comes back between the two.
        let departed = self.lasting.departed();
        let servers = self.servers.load();
        let now = servers.iter().map(|server| server.name.clone());
        let has_names = self.hosts().next().is_some();
        let left = departed.left().filter(|_| has_names);
        now.chain(left.map(SocketAddr::to_string)).collect()
    }

    /// Picks a server that was not tried yet, `None` where nothing can answer.
    ///
    /// `key` keeps a page with its server under consistent hashing; `tick` is the time since start.
    pub fn choose(&self, tried: &[SocketAddr], key: &[u8], tick: Duration) -> Option<Chosen> {
        let servers = self.servers.load();
        let choice = Choice {
            servers: &servers,
            tried,
            key,
            tick,
        };
        self.chooser.choose(&choice)
    }

    /// Notes that a server has begun to answer, and what the status says of it: those of a gateway count
    /// against it. Whether it does well shows at the end of its answer ([`Server::succeeded`]).
    pub fn answered(&self, at_work: &AtWork, status: u16, tick: Duration) {
        at_work.settle();
        at_work.server.state.heard(at_work.since, tick);
        if matches!(status, 502..=504) {
            self.failed(&at_work.server, tick);
        } else {
            self.lasting.outage.end(at_work.since);
        }
    }
}
