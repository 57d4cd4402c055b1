//! Connections by the network that they come from.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::config::model::ClientNetwork;

/// Parts with a lock of their own, so that threads that accept seldom meet.
const PARTS: usize = 16;

/// An address without the bits that do not tell clients apart.
pub(super) fn network(address: IpAddr, bits: ClientNetwork) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.ipv4.min(32)));
            IpAddr::V4((v4.to_bits() & mask.unwrap_or(0)).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.ipv6.min(128)));
            IpAddr::V6((v6.to_bits() & mask.unwrap_or(0)).into())
        }
    }
}

type Part = Mutex<HashMap<IpAddr, Arc<AtomicUsize>, ahash::RandomState>>;

/// How many connections each network has. There are never more entries than open connections.
#[derive(Default)]
pub(super) struct Networks {
    parts: Arc<[Part; PARTS]>,
    hasher: ahash::RandomState,
}

impl Networks {
    /// Counts a connection, unless its network has `most` already; `0` means no bound.
    pub(super) fn enter(&self, network: IpAddr, most: usize) -> Option<Arc<Member>> {
        let part = self.hasher.hash_one(network) as usize % PARTS;
        let mut counts = self.parts[part]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = Arc::clone(counts.entry(network).or_default());
        if most > 0 && count.load(Relaxed) >= most {
            return None;
        }
        count.fetch_add(1, Relaxed);
        drop(counts);
        Some(Arc::new(Member {
            parts: Arc::clone(&self.parts),
            part,
            network,
            count,
        }))
    }
}

/// One connection of a network, as long as it is counted.
pub(super) struct Member {
    parts: Arc<[Part; PARTS]>,
    part: usize,
    network: IpAddr,
    count: Arc<AtomicUsize>,
}

impl Member {
    /// Connections of its network.
    pub(super) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut counts = self.parts[self.part]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.count.fetch_sub(1, Relaxed) == 1 {
            counts.remove(&self.network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_one_client() {
        for (address, ipv4, ipv6, wanted) in [
            ("192.0.2.7", 32, 64, "192.0.2.7"),
            ("192.0.2.7", 24, 64, "192.0.2.0"),
            ("::ffff:192.0.2.7", 24, 64, "192.0.2.0"),
            ("2001:db8:1:2:3:4:5:6", 32, 64, "2001:db8:1:2::"),
            ("2001:db8:1:2:3:4:5:6", 32, 128, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:6", 32, 48, "2001:db8:1::"),
        ] {
            let network = network(
                address.parse().expect("address"),
                ClientNetwork { ipv4, ipv6 },
            );
            assert_eq!(network, wanted.parse::<IpAddr>().expect("address"));
        }
    }

    #[test]
    fn a_network_has_so_many_and_is_forgotten_with_the_last() {
        let networks = Networks::default();
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut held: Vec<_> = (0..3).filter_map(|_| networks.enter(one, 2)).collect();
        assert_eq!((held.len(), held[0].count()), (2, 2));
        assert!(networks.enter(other, 2).is_some());
        held.pop();
        held.extend(networks.enter(one, 2));
        assert!(networks.enter(one, 2).is_none());
        held.clear();
        let known = |part: &Part| part.lock().expect("lock").len();
        assert_eq!(networks.parts.iter().map(known).sum::<usize>(), 0);
    }
}
