//! Numbers for clients: those whom a limit would keep apart.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

type Map<K> = std::collections::HashMap<K, u32, ahash::RandomState>;

/// Names are few; more of them than this are invented.
const NAMES_MAX: usize = 100_000;

/// A client as limits know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Client {
    V4(u32),
    /// The first 64 bits: a visitor commands all addresses that share them.
    V6(u64),
    /// A number of `Keys::hosts`.
    Host(u32),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

/// Clients of routes, by numbers from 0 upwards.
pub(super) struct Keys {
    numbers: Map<(u32, Client)>,
    /// By number.
    all: Vec<(u32, Client)>,
    max: usize,
    routes: Names,
    hosts: Names,
}

#[derive(Default)]
struct Names {
    numbers: Map<String>,
    all: Vec<String>,
}

impl Names {
    fn number(&mut self, name: &str) -> Option<u32> {
        if let Some(known) = self.numbers.get(name) {
            return Some(*known);
        }
        if self.all.len() == NAMES_MAX {
            return None;
        }
        let number = self.all.len() as u32;
        self.numbers.insert(name.to_owned(), number);
        self.all.push(name.to_owned());
        Some(number)
    }
}

impl Keys {
    pub(super) fn new(max: usize) -> Self {
        Self {
            numbers: Map::default(),
            all: Vec::new(),
            max,
            routes: Names::default(),
            hosts: Names::default(),
        }
    }

    /// A host; none if there are too many already.
    pub(super) fn host(&mut self, host: &str) -> Option<Client> {
        self.hosts.number(host).map(Client::Host)
    }

    /// The number of a client of a route; none if there are too many already.
    pub(super) fn number(&mut self, route: &str, client: Client) -> Option<u32> {
        let key = (self.routes.number(route)?, client);
        if let Some(known) = self.numbers.get(&key) {
            return Some(*known);
        }
        if self.all.len() == self.max {
            return None;
        }
        let number = self.all.len() as u32;
        self.numbers.insert(key, number);
        self.all.push(key);
        Some(number)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn routes(&self) -> &[String] {
        &self.routes.all
    }

    pub(super) fn route_of(&self, key: u32) -> usize {
        self.all[key as usize].0 as usize
    }

    pub(super) fn client_of(&self, key: u32) -> Client {
        self.all[key as usize].1
    }

    /// Clients, each counted once, however many routes it asked for.
    pub(super) fn clients(&self) -> usize {
        let mut clients: Vec<Client> = self.all.iter().map(|(_, client)| *client).collect();
        clients.sort_unstable();
        clients.dedup();
        clients.len()
    }

    /// As it is shown.
    pub(super) fn shown(&self, client: Client) -> String {
        match client {
            Client::V4(bits) => Ipv4Addr::from_bits(bits).to_string(),
            Client::V6(bits) => {
                let first = Ipv6Addr::from_bits(u128::from(bits) << 64);
                format!("{first}/64")
            }
            Client::Host(number) => self.hosts.all[number as usize].clone(),
        }
    }
}
