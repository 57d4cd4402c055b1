//! Groups of servers: which one answers, whether it is well, and when to try another.
//!
//! A request begins [`Attempts`]; they choose servers one after the other until one answers, and
//! note what each failure says of its server.

pub mod attempts;
pub mod budget;
pub mod buffer;
pub mod choose;
pub mod connect;
pub mod connection;
pub mod health;
pub mod http1;
pub mod lookup;
pub mod outage;
pub mod pool;
pub mod resolve;
pub mod server;
pub mod slots;
pub mod state;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

pub use attempts::Attempts;
pub use choose::{Choice, Chooser};
pub use connect::{Wanted, connect, release};
pub use pool::{Care, Pool};
pub use server::{AtWork, Server};
pub use state::ServerState;

use crate::{
    config::model::{self, Backend, BackendAddress},
    observe::upstream_metrics::ConnectionCounts,
    shared::Shared,
};
use budget::RetryBudget;
use outage::Outage;

/// A group of servers as one configuration names it.
pub struct Upstream {
    /// What the file says of it.
    pub config: model::Upstream,
    /// Its connections.
    pub counts: ConnectionCounts,
    /// What outlives the configuration.
    pub lasting: Arc<Lasting>,
    servers: ArcSwap<Vec<Arc<Server>>>,
    chooser: Chooser,
}

/// What is known of an upstream whatever its configuration.
#[derive(Default)]
pub struct Lasting {
    /// What retries may add.
    pub budget: RetryBudget,
    /// Times when no server can answer.
    pub outage: Outage,
}

impl Upstream {
    /// Takes over the state of servers and the addresses of names that are known already.
    pub fn new(config: &model::Upstream, shared: &Shared) -> Self {
        let upstream = Self {
            chooser: Chooser::new(config.balance),
            counts: shared.metrics.upstreams.of(&config.name),
            lasting: shared.lasting(&config.name),
            servers: ArcSwap::default(),
            config: config.clone(),
        };
        upstream.place(shared);
        upstream
    }

    /// A name of its servers leads elsewhere.
    pub fn refresh(&self, shared: &Shared) {
        self.place(shared);
        self.set_bounds();
    }

    /// Its servers are where the configuration and the names in it say.
    fn place(&self, shared: &Shared) {
        let mut servers = Vec::new();
        for backend in &self.config.servers {
            match &backend.address {
                BackendAddress::Address(address) => servers.push((backend, *address)),
                BackendAddress::Name { host, port } => {
                    let addresses = shared.names.addresses(host);
                    let each = addresses.iter().map(|ip| SocketAddr::new(*ip, *port));
                    servers.extend(each.map(|address| (backend, address)));
                }
            }
        }
        self.set_servers(servers.into_iter(), shared);
    }

    /// This configuration is in force: connections are bounded as it says.
    pub fn set_bounds(&self) {
        for server in self.servers.load().iter() {
            server.state.slots.set_bound(server.max());
        }
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

    /// Its servers at the moment.
    pub fn servers(&self) -> Arc<Vec<Arc<Server>>> {
        self.servers.load_full()
    }

    /// Replaces the servers. Those that stay keep their place in turn; of two at one address the first
    /// counts.
    pub fn set_servers<'a>(
        &self,
        servers: impl Iterator<Item = (&'a Backend, SocketAddr)>,
        shared: &Shared,
    ) {
        let old = self.servers.load();
        let mut new: Vec<Arc<Server>> = Vec::new();
        for (backend, address) in servers {
            if new.iter().any(|server| server.address == address) {
                continue;
            }
            let stays = old
                .iter()
                .find(|server| server.address == address && server.is_of(backend));
            new.push(match stays {
                Some(server) => Arc::clone(server),
                None => {
                    let state = shared.server_state(&self.config, address);
                    let server = Server::new(backend, address, state);
                    Arc::new(server.with_max(self.config.connections.max))
                }
            });
        }
        self.servers.store(Arc::new(new));
    }

    /// Picks a server that was not tried yet, `None` where nothing can answer.
    ///
    /// `key` keeps a page with its server under consistent hashing; `tick` is the time since start.
    pub fn choose(&self, tried: &[SocketAddr], key: &[u8], tick: Duration) -> Option<Arc<Server>> {
        let servers = self.servers.load();
        let choice = Choice {
            servers: &servers,
            tried,
            key,
            tick,
        };
        self.chooser.choose(&choice).map(Arc::clone)
    }

    /// Notes that a server has begun to answer. Whether it does well shows at the end of its answer
    /// ([`ServerState::succeeded`]).
    pub fn answers(&self, server: &Server, tick: Duration) {
        server.state.heard(tick);
        self.lasting.outage.end();
    }

    /// Notes that a server failed a request; may eject it.
    pub fn failed(&self, server: &Server, tick: Duration) {
        let failures = server.state.count_failure();
        let Some(eject) = &self.config.eject else {
            return;
        };
        if failures < eject.consecutive_failures {
            return;
        }
        let servers = self.servers.load();
        let out = servers.iter().filter(|s| s.state.is_ejected(tick)).count();
        let may_go = (servers.len() * usize::from(eject.max_percent)) / 100;
        // Never the last one that would be asked, whatever the share.
        let others = servers
            .iter()
            .any(|s| s.address != server.address && s.state.is_usable(tick));
        if out < may_go && others && server.state.eject(tick, eject.base_time) {
            tracing::warn!(
                upstream = self.name(),
                server = server.name,
                failures,
                "server ejected"
            );
        }
    }
}
