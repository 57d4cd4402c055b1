//! Groups of servers: which one answers, whether it is well, and when to try another.

pub mod budget;
pub mod buffer;
pub mod choose;
pub mod connection;
pub mod health;
pub mod http1;
pub mod pool;
pub mod state;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    config::model::{self, Eject, HealthCheck, Retry, Timeouts},
    shared::Shared,
};
use budget::RetryBudget;
pub use choose::{Choice, Chooser};
pub use pool::Pool;
pub use state::ServerState;

/// A group of servers as one configuration names it.
pub struct Upstream {
    /// Name in the file.
    pub name: String,
    /// At least one.
    pub servers: Vec<Server>,
    /// Active checks.
    pub health_check: Option<HealthCheck>,
    /// Passive ejection.
    pub eject: Option<Eject>,
    /// Trying again.
    pub retry: Retry,
    /// Time limits.
    pub timeouts: Timeouts,
    /// What retries may add.
    pub budget: RetryBudget,
    chooser: Chooser,
}

/// A server of a group.
pub struct Server {
    /// As written.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Share of the requests.
    pub weight: u32,
    /// Second tier.
    pub backup: bool,
    /// Health and load; outlives the configuration.
    pub state: Arc<ServerState>,
}

/// A server at work for a request; counts as in flight until dropped.
pub struct Asked {
    /// Which of the group.
    pub index: usize,
    /// When it was asked, since the process began.
    pub since: Duration,
    /// As written.
    pub name: String,
    state: Arc<ServerState>,
}

impl Asked {
    /// Counts a request.
    pub fn new(index: usize, server: &Server, since: Duration) -> Self {
        server.state.begin();
        Self {
            index,
            since,
            name: server.name.clone(),
            state: Arc::clone(&server.state),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.state.end();
    }
}

/// The same, borrowed.
pub struct Busy<'a>(&'a ServerState);

impl Server {
    /// Counts a request until dropped.
    pub fn busy(&self) -> Busy<'_> {
        self.state.begin();
        Busy(&self.state)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Upstream {
    /// Takes over the state of servers that are known already.
    pub fn new(config: &model::Upstream, shared: &Shared) -> Self {
        let servers: Vec<Server> = config
            .servers
            .iter()
            .map(|server| Server {
                name: server.name.clone(),
                address: server.address,
                weight: server.weight.get(),
                backup: server.backup,
                state: shared.server_state(&config.name, server.address),
            })
            .collect();
        Self {
            name: config.name.clone(),
            chooser: Chooser::new(config.balance, servers.len()),
            budget: RetryBudget::new(config.retry.budget_percent),
            servers,
            health_check: config.health_check.clone(),
            eject: config.eject.clone(),
            retry: config.retry.clone(),
            timeouts: config.timeouts.clone(),
        }
    }

    /// Picks a server that was not tried yet, `None` where nothing can answer.
    ///
    /// `key` keeps a page with its server under consistent hashing; `tick` is the time since start.
    pub fn choose(&self, tried: &[usize], key: &[u8], tick: Duration) -> Option<usize> {
        self.chooser.choose(&Choice {
            servers: &self.servers,
            tried,
            key,
            tick,
        })
    }

    /// Notes that a server failed a request; may eject it.
    pub fn failed(&self, index: usize, tick: Duration) {
        let Some(server) = self.servers.get(index) else {
            return;
        };
        let failures = server.state.count_failure();
        let Some(eject) = &self.eject else { return };
        if failures < eject.consecutive_failures {
            return;
        }
        let out = self
            .servers
            .iter()
            .filter(|s| s.state.is_ejected(tick))
            .count();
        let may_go = (self.servers.len() * usize::from(eject.max_percent)) / 100;
        // Never the last one that would be asked, whatever the share.
        let others = self
            .servers
            .iter()
            .enumerate()
            .any(|(i, s)| i != index && s.state.is_usable(tick));
        if out < may_go && others && server.state.eject(tick, eject.base_time) {
            tracing::warn!(
                upstream = self.name,
                server = server.name,
                failures,
                "server ejected"
            );
        }
    }
}
