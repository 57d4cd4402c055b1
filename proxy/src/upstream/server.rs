//! A server of a group.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use super::ServerState;
use crate::config::model::{Backend, BackendAddress};

/// A server of a group.
pub struct Server {
    /// For logs and metrics: as written, or the address that a name has led to.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Share of the requests.
    pub weight: u32,
    /// Second tier.
    pub backup: bool,
    /// Health and load; outlives the configuration.
    pub state: Arc<ServerState>,
    backend: Backend,
    /// Connections at once.
    max: Option<usize>,
    /// Its credit in the smooth weighted round-robin; changed under the chooser's lock.
    pub(super) credit: AtomicI64,
}

impl Server {
    /// A server at one of the addresses of an entry in the file.
    pub fn new(backend: &Backend, address: SocketAddr, state: Arc<ServerState>) -> Self {
        Self {
            name: match &backend.address {
                BackendAddress::Address(_) => backend.name.clone(),
                BackendAddress::Name { .. } => address.to_string(),
            },
            address,
            weight: backend.weight.get(),
            backup: backend.backup,
            state,
            backend: backend.clone(),
            max: None,
            credit: AtomicI64::new(0),
        }
    }

    /// The same with a bound on its connections.
    pub fn with_max(self, max: Option<usize>) -> Self {
        Self { max, ..self }
    }

    /// Connections at once that it may have, `None` for any number.
    pub fn max(&self) -> Option<usize> {
        self.max
    }

    /// Whether a request would get a connection without waiting for one.
    pub fn has_room(&self) -> bool {
        self.max.is_none_or(|max| self.state.slots.has_room(max))
    }

    /// Whether it came from an entry just like this one.
    pub fn is_of(&self, backend: &Backend) -> bool {
        self.backend == *backend
    }

    /// The name that led to it, where the file gives one.
    pub fn host(&self) -> Option<&str> {
        match &self.backend.address {
            BackendAddress::Address(_) => None,
            BackendAddress::Name { host, .. } => Some(host),
        }
    }

    /// Whether it is to be asked before all else fails: well, and it has not just refused a connection.
    pub fn is_willing(&self, tick: Duration) -> bool {
        self.state.is_usable(tick) && !self.state.refused_lately(tick)
    }

    /// Whether the file says that it takes nothing new.
    pub fn drains_by_file(&self) -> bool {
        self.backend.drain
    }
}

/// A server at work for a request; counts as in flight until dropped.
pub struct AtWork {
    /// Who.
    pub server: Arc<Server>,
    /// When it was asked, since the process began.
    pub since: Duration,
}

impl AtWork {
    /// Counts a request.
    pub fn new(server: Arc<Server>, since: Duration) -> Self {
        server.state.begin();
        Self { server, since }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.server.state.end();
    }
}
