//! What only the memory of a process has and the next one would miss: orders of operators, clients that are limited,
//! the keys of waiting rooms, and how far purges have come.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    admit::rate::Known, config::model::BackendAddress, shared::Shared, snapshot::Snapshot,
    upstream::orders::shown,
};

/// See the [module](self).
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// The last step of purges.
    pub(super) step: u64,
    /// By upstream the servers that are to take nothing new.
    #[serde(default)]
    orders: HashMap<String, Vec<String>>,
    /// By waiting room the key that signs where none is configured.
    #[serde(default)]
    room_keys: HashMap<String, [u8; 32]>,
    /// By limit the clients that are not fully rested.
    #[serde(default)]
    limits: HashMap<String, Known>,
}

impl State {
    pub(super) fn of(shared: &Shared, snapshot: &Snapshot) -> Self {
        let orders = snapshot.upstreams.iter().filter_map(|upstream| {
            let orders: Vec<_> = upstream.orders().iter().map(shown).collect();
            (!orders.is_empty()).then(|| (upstream.name().to_owned(), orders))
        });
        let now = shared.started().elapsed();
        let limits = snapshot.limits.iter();
        let limits = limits.filter_map(|limit| Some((limit.name.to_owned(), limit.known(now)?)));
        Self {
            limits: limits.collect(),
            step: shared.store.purges.seq(),
            orders: orders.collect(),
            room_keys: shared.waiting_rooms().own_keys(),
        }
    }

    /// Before a configuration is built that has waiting rooms.
    pub(super) fn begin_with(&self, shared: &Shared) {
        shared.store.purges.advance(self.step);
        shared.waiting_rooms().begin_with(self.room_keys.clone());
    }

    /// Gives the orders anew that the other process was given, and remembers the clients that it limits.
    pub(super) fn put_in_force(&self, snapshot: &Snapshot, tick: Duration) {
        for limit in &snapshot.limits {
            if let Some(known) = self.limits.get(limit.name) {
                limit.take_over(known, tick);
            }
        }
        for upstream in &snapshot.upstreams {
            for order in self.orders.get(upstream.name()).into_iter().flatten() {
                if let Some(whom) = meant(order) {
                    upstream.set_drained(&whom, true, tick);
                }
            }
        }
    }
}

/// An address or a name, as [`shown`] writes it.
fn meant(text: &str) -> Option<BackendAddress> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(BackendAddress::Address(address));
    }
    let (host, port) = text.rsplit_once(':')?;
    Some(BackendAddress::Name {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_are_written() {
        for text in ["127.0.0.1:3000", "[::1]:3000", "shop.internal:80"] {
            let whom = meant(text).expect("an order");
            assert_eq!(shown(&whom), text);
        }
        assert_eq!(meant("shop.internal"), None);
        assert_eq!(meant("shop.internal:port"), None);
    }

    #[test]
    fn a_state_of_a_later_version_is_read() {
        let state: State = serde_json::from_str(r#"{"step": 7, "later": true}"#).expect("a state");
        assert_eq!(state.step, 7);
        assert!(state.orders.is_empty() && state.room_keys.is_empty());
    }
}
