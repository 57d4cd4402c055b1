//! Orders of operators: servers that take nothing new, whatever DNS and reloads do meanwhile.
//!
//! An order is for a name in the file, with all addresses that it leads to now and later, or for an address. It is
//! kept with what outlives the upstream's configurations. That a request need not look for it, the state of a server
//! says whether there is one; it is set when an order changes and before a server is put in its place.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Server, Upstream, health::changes::Why};
use crate::config::model::BackendAddress;

/// Orders of an upstream. One for a server that is there is never dropped; of others, such as addresses that a
/// name will hardly have again, so many are more than anyone remembers.
const MAX: usize = 1024;

/// Who takes nothing new by order; the newest last.
#[derive(Default)]
pub struct Orders(Mutex<Vec<BackendAddress>>);

impl Orders {
    fn lock(&self) -> MutexGuard<'_, Vec<BackendAddress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name or an address with its port.
pub fn shown(whom: &BackendAddress) -> String {
    match whom {
        BackendAddress::Address(address) => address.to_string(),
        BackendAddress::Name { host, port } => format!("{host}:{port}"),
    }
}

fn mark(servers: &[Arc<Server>], orders: &[BackendAddress]) {
    for server in servers {
        let drained = orders.iter().any(|whom| server.is_meant(whom));
        server.state.set_drained(drained);
    }
}

impl Upstream {
    /// Whom a text means: a name in the file, the address of a server, or whom there is an order for though it is
    /// no server at the moment.
    pub fn meant(&self, text: &str) -> Option<BackendAddress> {
        let mut entries = self.config.servers.iter();
        let entry = entries.find(|entry| {
            matches!(entry.address, BackendAddress::Name { .. })
                && (entry.name == text || shown(&entry.address) == text)
        });
        if let Some(entry) = entry {
            return Some(entry.address.clone());
        }
        let servers = self.servers.load();
        let mut servers = servers.iter();
        let server = servers.find(|s| s.name == text || s.address.to_string() == text);
        if let Some(server) = server {
            return Some(BackendAddress::Address(server.address));
        }
        let orders = self.lasting.orders.lock();
        orders.iter().find(|whom| shown(whom) == text).cloned()
    }

    /// All orders.
    pub fn orders(&self) -> Vec<BackendAddress> {
        self.lasting.orders.lock().clone()
    }

    /// The servers that an order is about at the moment.
    pub fn servers_meant(&self, whom: &BackendAddress) -> Vec<Arc<Server>> {
        let servers = self.servers.load();
        let meant = servers.iter().filter(|server| server.is_meant(whom));
        meant.cloned().collect()
    }

    /// The name by whose order a server takes nothing new.
    pub fn drained_name(&self, server: &Server) -> Option<BackendAddress> {
        let orders = self.lasting.orders.lock();
        let mut names = orders
            .iter()
            .filter(|whom| matches!(whom, BackendAddress::Name { .. }));
        names.find(|whom| server.is_meant(whom)).cloned()
    }

    /// Orders that a name or an address takes nothing new, or does again; returns the servers that this is about
    /// at the moment. With a name its addresses do again, whatever was ordered for one of them; an address does
    /// not while there is an order for its name, and a server that drains by the file does not either.
    pub fn set_drained(
        &self,
        whom: &BackendAddress,
        drained: bool,
        tick: Duration,
    ) -> Vec<Arc<Server>> {
        let meant = self.servers_meant(whom);
        {
            let mut orders = self.lasting.orders.lock();
            let servers = self.servers.load();
            let is_at = |order: &BackendAddress| match order {
                BackendAddress::Address(address) => meant.iter().any(|s| s.address == *address),
                BackendAddress::Name { .. } => false,
            };
            orders.retain(|order| order != whom && (drained || !is_at(order)));
            if drained {
                orders.push(whom.clone());
            }
            let is_idle = |order: &BackendAddress| {
                order != whom && !servers.iter().any(|server| server.is_meant(order))
            };
            if orders.len() > MAX
                && let Some(idle) = orders.iter().position(is_idle)
            {
                orders.remove(idle);
            }
            mark(&servers, &orders);
        }
        for server in &meant {
            self.note_drain(server, tick, &Why::new("order", "by order"));
        }
        meant
    }

    /// Replaces the servers, of whom none is asked before it is known whether there is an order for it.
    pub(super) fn set_servers(&self, servers: Vec<Arc<Server>>) {
        let orders = self.lasting.orders.lock();
        mark(&servers, &orders);
        let named = servers.iter().filter(|server| server.host().is_some());
        let named = named.map(|server| server.address).collect();
        let mut departed = self.lasting.departed();
        departed.note(named);
        self.servers.store(Arc::new(servers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::{SECOND, upstream};

    #[test]
    fn orders_for_servers_that_are_there_outlast_any_number_of_others() {
        let upstream = upstream(2, |_| {});
        let servers = upstream.servers();
        let first = BackendAddress::Address(servers[0].address);
        assert_eq!(upstream.meant("127.0.0.1:3000"), Some(first.clone()));
        assert_eq!(upstream.set_drained(&first, true, SECOND).len(), 1);
        let other = |n: usize| BackendAddress::Name {
            host: format!("shop-{n}.internal"),
            port: 3000,
        };
        for n in 0..MAX + 10 {
            assert!(upstream.set_drained(&other(n), true, SECOND).is_empty());
            assert_eq!(upstream.meant(&shown(&other(n))), Some(other(n)));
        }
        assert_eq!(upstream.lasting.orders.lock().len(), MAX);
        assert_eq!(upstream.meant(&shown(&other(0))), None, "the oldest");
        assert!(servers[0].is_draining() && !servers[1].is_draining());
        upstream.set_drained(&first, false, SECOND);
        assert!(!servers[0].is_draining());
    }
}
