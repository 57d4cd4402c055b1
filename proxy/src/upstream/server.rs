//! A server of a group.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use super::{ServerState, health::refusals::Standing, health::window::Window};
use crate::config::model::{Backend, BackendAddress, Eject};

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
    /// Requests and failures of late, where a share of failures ejects.
    pub(super) window: Option<Window>,
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
            window: None,
            backend: backend.clone(),
            max: None,
            credit: AtomicI64::new(0),
        }
    }

    /// Counts what these rules go by.
    pub fn with_rules(mut self, eject: Option<&Eject>) -> Self {
        let counts = eject.filter(|eject| eject.failure_percent > 0);
        self.window = counts.map(|eject| Window::new(eject.window));
        self
    }

    /// Notes that it has done well: its answer was complete.
    pub fn succeeded(&self, asked: Duration, tick: Duration) {
        self.state.succeeded(asked, tick);
        if let Some(window) = &self.window {
            window.count(tick, false);
        }
    }

    /// Whether this is its address, or the name that led to it.
    pub fn is_meant(&self, whom: &BackendAddress) -> bool {
        match whom {
            BackendAddress::Address(address) => self.address == *address,
            BackendAddress::Name { .. } => self.backend.address == *whom,
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

    /// Whether the file says that it takes nothing new.
    pub fn drains_by_file(&self) -> bool {
        self.backend.drain
    }

    /// Whether it takes nothing new, by the file or by order.
    pub fn is_draining(&self) -> bool {
        self.drains_by_file() || self.state.is_drained()
    }

    /// Whether checks find it well, and nothing else is known.
    pub fn is_back(&self, tick: Duration) -> bool {
        self.state.is_up() && !self.is_draining() && self.state.standing(tick) == Standing::Well
    }

    /// Whether it may be asked: checks find it well, and it is not draining. An ejected one is asked where
    /// nobody else is well.
    pub fn is_willing(&self, tick: Duration) -> bool {
        self.state.is_up() && !self.is_draining() && self.state.standing(tick) != Standing::Refusing
    }
}

/// A server at work for a request; counts as in flight until dropped.
pub struct AtWork {
    /// Who.
    pub server: Arc<Server>,
    /// When it was asked, since the process began.
    pub since: Duration,
    awaits: AtomicBool,
}

impl AtWork {
    /// Counts a request.
    pub fn new(server: Arc<Server>, since: Duration) -> Self {
        server.state.begin();
        Self {
            server,
            since,
            awaits: AtomicBool::new(false),
        }
    }

    /// The whole request is on its way, and an answer owed. Not called for content that its visitor has yet to
    /// send, which may take its time.
    pub fn asks(&self, tick: Duration) {
        if !self.awaits.swap(true, Ordering::Relaxed) {
            self.server.state.owes(tick);
        }
    }

    /// The server owes no answer any more.
    pub(super) fn settle(&self) {
        if self.awaits.swap(false, Ordering::Relaxed) {
            self.server.state.settle();
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.settle();
        self.server.state.end();
    }
}
