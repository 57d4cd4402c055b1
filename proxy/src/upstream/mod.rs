//! Groups of servers: which one answers, whether it is well, and when to try another.
//!
//! A request begins [`Attempts`]; they choose servers one after the other until one answers, and
//! note what each failure says of its server.

pub mod attempts;
pub mod budget;
pub mod buffer;
pub mod changes;
mod check_tls;
pub mod choose;
pub mod connection;
mod eject;
pub mod health;
pub mod http1;
mod key;
pub mod outage;
pub mod pool;
mod probe;
pub mod refusals;
pub mod server;
pub mod state;
#[cfg(test)]
mod testing;
pub mod window;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use prometheus::IntCounterVec;
use rustls::ClientConfig;

pub use attempts::Attempts;
pub use choose::{Choice, Chooser, Chosen};
pub use pool::Pool;
pub use server::{AtWork, Server};
pub use state::ServerState;

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
    servers: ArcSwap<Vec<Arc<Server>>>,
    chooser: Chooser,
    /// Changes of its servers.
    changes: IntCounterVec,
    /// Settings of checks over TLS.
    check_tls: OnceLock<Result<Arc<ClientConfig>, String>>,
}

/// What is known of an upstream whatever its configuration.
#[derive(Default)]
pub struct Lasting {
    /// What retries may add.
    pub budget: RetryBudget,
    /// Times when no server can answer.
    pub outage: Outage,
    /// Held by who ejects a server, so that two threads do not eject the last two.
    ejecting: Mutex<()>,
}

impl Upstream {
    /// Takes over the state of servers that are known already. Servers that are given by name are there
    /// when the name is resolved.
    pub fn new(config: &model::Upstream, shared: &Shared) -> Self {
        let known = config.servers.iter().filter_map(|backend| {
            let BackendAddress::Address(address) = backend.address else {
                return None;
            };
            Some((backend, address))
        });
        let upstream = Self {
            chooser: Chooser::new(config.balance, config.slow_start),
            changes: shared.metrics.upstream_changes.clone(),
            lasting: shared.lasting(&config.name),
            servers: ArcSwap::default(),
            check_tls: OnceLock::new(),
            config: config.clone(),
        };
        upstream.set_servers(known, shared);
        upstream
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
                    let server = Server::new(backend, address, state);
                    Arc::new(server.with_rules(self.config.eject.as_ref()))
                }
            });
        }
        self.servers.store(Arc::new(new));
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

    fn check_tls(&self) -> Result<Arc<ClientConfig>, String> {
        let make = || check_tls::client_config(self.config.tls.as_ref());
        self.check_tls.get_or_init(make).clone()
    }

    /// Notes that a server has begun to answer, and what the status says of it: those of a gateway count
    /// against it. Whether it does well shows at the end of its answer ([`Server::succeeded`]).
    pub fn answered(&self, at_work: &AtWork, status: u16, tick: Duration) {
        at_work.settle();
        at_work.server.state.heard(tick);
        if matches!(status, 502..=504) {
            self.failed(&at_work.server, tick);
        } else {
            self.lasting.outage.end();
        }
    }
}
