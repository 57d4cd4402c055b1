//! Which server answers.

use std::{
    cmp::Reverse,
    hash::{BuildHasher, Hasher},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use super::Server;
use crate::config::model::Balance;

/// Chooses servers by one of the three ways.
pub struct Chooser {
    balance: Balance,
    /// Held while the servers' credits change.
    turn: Mutex<()>,
    /// The same in every process, so that a restart and a second edge choose alike.
    hash: ahash::RandomState,
}

/// A question to the chooser.
pub struct Choice<'a> {
    /// All servers.
    pub servers: &'a [Arc<Server>],
    /// Those that failed this request already.
    pub tried: &'a [SocketAddr],
    /// What consistent hashing goes by.
    pub key: &'a [u8],
    /// Time since the process began.
    pub tick: Duration,
}

impl Chooser {
    /// A chooser.
    pub fn new(balance: Balance) -> Self {
        Self {
            balance,
            turn: Mutex::default(),
            hash: ahash::RandomState::with_seeds(1, 2, 3, 4),
        }
    }

    /// Picks from the best tier that has anyone: well and willing, then those that refused a
    /// connection just now, each first among the servers proper and then among the backups. A server
    /// that is down or ejected is not asked.
    pub fn choose<'s>(&self, choice: &Choice<'s>) -> Option<&'s Arc<Server>> {
        for (backup, refused) in [(false, false), (true, false), (false, true), (true, true)] {
            let candidates = |server: &&Arc<Server>| {
                server.backup == backup
                    && server.state.is_usable(choice.tick)
                    && server.state.refused_lately(choice.tick) == refused
                    && !choice.tried.contains(&server.address)
            };
            let mut tier = choice.servers.iter().filter(candidates);
            // Mostly there is one, or none.
            match (tier.next(), tier.next()) {
                (None, _) => {}
                (Some(only), None) => return Some(only),
                (Some(first), Some(second)) => {
                    let several: Vec<_> = [first, second].into_iter().chain(tier).collect();
                    return self.among(&several, choice);
                }
            }
        }
        None
    }

    fn among<'s>(&self, tier: &[&'s Arc<Server>], choice: &Choice<'_>) -> Option<&'s Arc<Server>> {
        match self.balance {
            Balance::RoundRobin => self.in_turn(tier),
            Balance::LeastRequests => Some(less_loaded(tier)),
            Balance::ConsistentHash => self.by_key(tier, choice.key),
        }
    }

    /// Smooth weighted round-robin: everyone gains its weight, the richest is chosen and pays for all.
    fn in_turn<'s>(&self, tier: &[&'s Arc<Server>]) -> Option<&'s Arc<Server>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = 0;
        let mut richest: Option<(i64, Reverse<usize>)> = None;
        for (i, server) in tier.iter().enumerate() {
            let weight = i64::from(server.weight);
            let credit = server.credit.fetch_add(weight, Ordering::Relaxed) + weight;
            total += weight;
            richest = richest.max(Some((credit, Reverse(i))));
        }
        let (_, Reverse(chosen)) = richest?;
        tier[chosen].credit.fetch_sub(total, Ordering::Relaxed);
        Some(tier[chosen])
    }

    /// Rendezvous hashing: everyone bids for the key, and only the keys of a server that leaves move.
    fn by_key<'s>(&self, tier: &[&'s Arc<Server>], key: &[u8]) -> Option<&'s Arc<Server>> {
        let bid = |server: &Server| {
            let mut hasher = self.hash.build_hasher();
            hasher.write(key);
            hasher.write(server.name.as_bytes());
            // A uniform draw in (0, 1], weighted by -w / ln(u).
            let u = (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64;
            -f64::from(server.weight) / u.max(f64::MIN_POSITIVE).ln()
        };
        tier.iter()
            .copied()
            .max_by(|a, b| bid(a).total_cmp(&bid(b)))
    }
}

/// Two drawn at random, the one with fewer requests per weight (power of two choices).
fn less_loaded<'s>(tier: &[&'s Arc<Server>]) -> &'s Arc<Server> {
    let first = crate::random::below(tier.len());
    let second = (first + 1 + crate::random::below(tier.len() - 1)) % tier.len();
    let (a, b) = (tier[first], tier[second]);
    // a/wa <= b/wb without division; one more request each, so that an idle pair is told apart
    // by weight.
    let load = |server: &Server, other: &Server| {
        (server.state.in_flight() as u64 + 1) * u64::from(other.weight)
    };
    if load(a, b) <= load(b, a) { a } else { b }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::config::model::{Backend, BackendAddress};

    /// Servers on ports 3000 and up, of these weights; the last `backups` are backups.
    fn servers(weights: &[u32], backups: usize) -> Vec<Arc<Server>> {
        let server = |(i, weight): (usize, &u32)| {
            let address = ([127, 0, 0, 1], 3000 + i as u16).into();
            let backend = Backend {
                name: format!("s{i}"),
                address: BackendAddress::Address(address),
                weight: NonZeroU32::new(*weight).expect("a weight"),
                backup: i + backups >= weights.len(),
                drain: false,
            };
            Arc::new(Server::new(&backend, address, Arc::default()))
        };
        weights.iter().enumerate().map(server).collect()
    }

    fn index(server: Option<&Arc<Server>>) -> Option<usize> {
        server.map(|server| usize::from(server.address.port()) - 3000)
    }

    fn counts(chooser: &Chooser, servers: &[Arc<Server>], draws: usize) -> Vec<usize> {
        let mut counts = vec![0; servers.len()];
        for i in 0..draws {
            let key = i.to_be_bytes();
            let choice = Choice {
                servers,
                tried: &[],
                key: &key,
                tick: Duration::ZERO,
            };
            counts[index(chooser.choose(&choice)).expect("someone")] += 1;
        }
        counts
    }

    #[test]
    fn round_robin_is_smooth_and_weighted() {
        let servers = servers(&[5, 1, 1], 0);
        let chooser = Chooser::new(Balance::RoundRobin);
        let choice = Choice {
            servers: &servers,
            tried: &[],
            key: b"",
            tick: Duration::ZERO,
        };
        let order: Vec<usize> = (0..7)
            .filter_map(|_| index(chooser.choose(&choice)))
            .collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn hashing_is_weighted_and_moves_only_the_keys_of_who_leaves() {
        let servers = servers(&[1, 1, 2], 0);
        let chooser = Chooser::new(Balance::ConsistentHash);
        let counts = counts(&chooser, &servers, 8000);
        assert!(
            (1700..2300).contains(&counts[0]) && (3600..4400).contains(&counts[2]),
            "{counts:?}"
        );
        let at = |key: u32| {
            let key = key.to_be_bytes();
            index(chooser.choose(&Choice {
                servers: &servers,
                tried: &[],
                key: &key,
                tick: Duration::ZERO,
            }))
        };
        let before: Vec<_> = (0..500).map(at).collect();
        servers[0].state.set_up(false);
        for (key, was) in (0..500).zip(before) {
            let is = at(key);
            assert!(
                is == was || was == Some(0),
                "key {key} moved from {was:?} to {is:?}"
            );
        }
    }

    #[test]
    fn least_requests_prefers_the_idle() {
        let servers = servers(&[1, 1], 0);
        (0..5).for_each(|_| servers[0].state.begin());
        let chooser = Chooser::new(Balance::LeastRequests);
        assert_eq!(counts(&chooser, &servers, 100), [0, 100]);
    }

    #[test]
    fn tiers_come_in_order() {
        let servers = servers(&[1, 1, 1], 1);
        let chooser = Chooser::new(Balance::RoundRobin);
        let at = |servers: &[Arc<Server>], tried: &[SocketAddr]| {
            index(chooser.choose(&Choice {
                servers,
                tried,
                key: b"",
                tick: Duration::from_secs(5),
            }))
        };
        servers[0].state.set_up(false);
        assert_eq!(at(&servers, &[]), Some(1));
        assert_eq!(
            at(&servers, &[servers[1].address]),
            Some(2),
            "then the backup"
        );
        servers[1].state.refused(Duration::from_millis(4500));
        assert_eq!(
            at(&servers, &[]),
            Some(2),
            "a backup before one that refused just now"
        );
        servers[2]
            .state
            .eject(Duration::from_secs(5), Duration::from_secs(10));
        assert_eq!(at(&servers, &[]), Some(1), "who refused before nobody");
        servers[1].state.set_up(false);
        assert_eq!(at(&servers, &[]), None);
    }
}
