//! Which server answers.

use std::{
    hash::{BuildHasher, Hasher},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::Server;
use crate::config::model::Balance;

/// Chooses servers by one of the three ways.
pub struct Chooser {
    balance: Balance,
    /// Current weights of the smooth weighted round-robin.
    current: Mutex<Vec<i64>>,
    /// The same in every process, so that a restart and a second edge choose alike.
    hash: ahash::RandomState,
}

/// A question to the chooser.
pub struct Choice<'a> {
    /// All servers.
    pub servers: &'a [Server],
    /// Those that failed this request already.
    pub tried: &'a [usize],
    /// What consistent hashing goes by.
    pub key: &'a [u8],
    /// Time since the process began.
    pub tick: Duration,
}

impl Chooser {
    /// A chooser for so many servers.
    pub fn new(balance: Balance, servers: usize) -> Self {
        Self {
            balance,
            current: Mutex::new(vec![0; servers]),
            hash: ahash::RandomState::with_seeds(1, 2, 3, 4),
        }
    }

    /// Picks from the best tier that has anyone: well and willing, then those that refused a
    /// connection just now, each first among the servers proper and then among the backups. A server
    /// that is down or ejected is not asked.
    pub fn choose(&self, choice: &Choice<'_>) -> Option<usize> {
        for (backup, refused) in [(false, false), (true, false), (false, true), (true, true)] {
            let candidates = |&i: &usize| {
                let server = &choice.servers[i];
                server.backup == backup
                    && server.state.is_usable(choice.tick)
                    && server.state.refused_lately(choice.tick) == refused
                    && !choice.tried.contains(&i)
            };
            let mut tier = (0..choice.servers.len()).filter(candidates);
            // Mostly there is one, or none.
            match (tier.next(), tier.next()) {
                (None, _) => {}
                (Some(only), None) => return Some(only),
                (Some(first), Some(second)) => {
                    let several: Vec<usize> = [first, second].into_iter().chain(tier).collect();
                    return self.among(&several, choice);
                }
            }
        }
        None
    }

    fn among(&self, tier: &[usize], choice: &Choice<'_>) -> Option<usize> {
        match self.balance {
            Balance::RoundRobin => self.in_turn(tier, choice.servers),
            Balance::LeastRequests => Some(self.less_loaded(tier, choice.servers)),
            Balance::ConsistentHash => self.by_key(tier, choice),
        }
    }

    /// Smooth weighted round-robin: everyone gains its weight, the richest is chosen and pays for all.
    fn in_turn(&self, tier: &[usize], servers: &[Server]) -> Option<usize> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = 0;
        for &i in tier {
            current[i] += i64::from(servers[i].weight);
            total += i64::from(servers[i].weight);
        }
        let chosen = *tier
            .iter()
            .max_by_key(|&&i| (current[i], std::cmp::Reverse(i)))?;
        current[chosen] -= total;
        Some(chosen)
    }

    /// Two drawn at random, the one with fewer requests per weight (power of two choices).
    fn less_loaded(&self, tier: &[usize], servers: &[Server]) -> usize {
        let first = crate::random::below(tier.len());
        let second = (first + 1 + crate::random::below(tier.len() - 1)) % tier.len();
        let (a, b) = (tier[first], tier[second]);
        // a/wa <= b/wb without division; one more request each, so that an idle pair is told apart
        // by weight.
        let load = |i: usize, other: usize| {
            (servers[i].state.in_flight() as u64 + 1) * u64::from(servers[other].weight)
        };
        if load(a, b) <= load(b, a) { a } else { b }
    }

    /// Rendezvous hashing: everyone bids for the key, and only the keys of a server that leaves move.
    fn by_key(&self, tier: &[usize], choice: &Choice<'_>) -> Option<usize> {
        let bid = |&i: &usize| {
            let mut hasher = self.hash.build_hasher();
            hasher.write(choice.key);
            hasher.write(choice.servers[i].name.as_bytes());
            // A uniform draw in (0, 1], weighted by -w / ln(u).
            let u = (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64;
            -f64::from(choice.servers[i].weight) / u.max(f64::MIN_POSITIVE).ln()
        };
        tier.iter()
            .copied()
            .max_by(|a, b| bid(a).total_cmp(&bid(b)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::upstream::ServerState;

    fn servers(weights: &[u32]) -> Vec<Server> {
        weights
            .iter()
            .enumerate()
            .map(|(i, weight)| Server {
                name: format!("s{i}"),
                address: ([127, 0, 0, 1], 3000 + i as u16).into(),
                weight: *weight,
                backup: false,
                state: Arc::new(ServerState::default()),
            })
            .collect()
    }

    fn counts(chooser: &Chooser, servers: &[Server], draws: usize) -> Vec<usize> {
        let mut counts = vec![0; servers.len()];
        for i in 0..draws {
            let key = i.to_be_bytes();
            let choice = Choice {
                servers,
                tried: &[],
                key: &key,
                tick: Duration::ZERO,
            };
            counts[chooser.choose(&choice).expect("someone")] += 1;
        }
        counts
    }

    #[test]
    fn round_robin_is_smooth_and_weighted() {
        let servers = servers(&[5, 1, 1]);
        let chooser = Chooser::new(Balance::RoundRobin, 3);
        let choice = Choice {
            servers: &servers,
            tried: &[],
            key: b"",
            tick: Duration::ZERO,
        };
        let order: Vec<usize> = (0..7).filter_map(|_| chooser.choose(&choice)).collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn hashing_is_weighted_and_moves_only_the_keys_of_who_leaves() {
        let servers = servers(&[1, 1, 2]);
        let chooser = Chooser::new(Balance::ConsistentHash, 3);
        let counts = counts(&chooser, &servers, 8000);
        assert!(
            (1700..2300).contains(&counts[0]) && (3600..4400).contains(&counts[2]),
            "{counts:?}"
        );
        let at = |key: u32| {
            let key = key.to_be_bytes();
            chooser.choose(&Choice {
                servers: &servers,
                tried: &[],
                key: &key,
                tick: Duration::ZERO,
            })
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
        let servers = servers(&[1, 1]);
        (0..5).for_each(|_| servers[0].state.begin());
        let chooser = Chooser::new(Balance::LeastRequests, 2);
        assert_eq!(counts(&chooser, &servers, 100), [0, 100]);
    }

    #[test]
    fn tiers_come_in_order() {
        let mut servers = servers(&[1, 1, 1]);
        servers[2].backup = true;
        let chooser = Chooser::new(Balance::RoundRobin, 3);
        let at = |servers: &[Server], tried: &[usize]| {
            chooser.choose(&Choice {
                servers,
                tried,
                key: b"",
                tick: Duration::from_secs(5),
            })
        };
        servers[0].state.set_up(false);
        assert_eq!(at(&servers, &[]), Some(1));
        assert_eq!(at(&servers, &[1]), Some(2), "then the backup");
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
