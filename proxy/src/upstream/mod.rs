//! Groups of servers: which one answers, whether it is well, and when to try another.
//!
//! A request begins [`Attempts`]; they choose servers one after the other until one answers, and
//! note what each failure says of its server.

pub mod attempts;
pub mod budget;
pub mod buffer;
pub mod choose;
pub mod connection;
pub mod health;
pub mod http1;
pub mod http2;
pub mod outage;
pub mod pool;
pub mod server;
pub mod socket;
pub mod state;
pub mod tls;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

pub use attempts::Attempts;
pub use choose::{Choice, Chooser};
pub use pool::Pool;
pub use server::{AtWork, Server};
pub use state::ServerState;
pub use tls::Transport;

use crate::{
    config::model::{self, Backend, BackendAddress},
    shared::Shared,
};
use budget::RetryBudget;
use outage::Outage;

/// A group of servers as one configuration names it.
pub struct Upstream {
    /// What the file says of it.
    pub config: model::Upstream,
    /// What outlives the configuration.
    pub lasting: Arc<Lasting>,
    /// How its servers are reached.
    pub transport: Transport,
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
    /// Takes over the state of servers that are known already. Servers that are given by name are there
    /// when the name is resolved. An error is a sentence about a file that cannot be used.
    pub fn new(config: &model::Upstream, shared: &Shared) -> Result<Self, String> {
        let known = config.servers.iter().filter_map(|backend| {
            let BackendAddress::Address(address) = backend.address else {
                return None;
            };
            Some((backend, address))
        });
        let upstream = Self {
            chooser: Chooser::new(config.balance),
            lasting: shared.lasting(&config.name),
            transport: Transport::new(config)?,
            servers: ArcSwap::default(),
            config: config.clone(),
        };
        upstream.set_servers(known, shared);
        Ok(upstream)
    }

    /// Name in the file.
    pub fn name(&self) -> &str {
        &self.config.name
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
                    Arc::new(Server::new(backend, address, state))
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
