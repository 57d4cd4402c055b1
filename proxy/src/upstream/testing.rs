//! Upstreams for tests.

use std::{num::NonZeroU32, path::Path, sync::Arc, time::Duration};

use super::{Server, Upstream};
use crate::{
    config::{
        self, Surroundings,
        model::{self, Backend, BackendAddress},
    },
    shared::Shared,
};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MILLI: Duration = Duration::from_millis(1);

/// Servers on ports 3000 and up, of these weights; the last `backups` are backups.
pub(super) fn servers(weights: &[u32], backups: usize) -> Vec<Arc<Server>> {
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

/// An upstream of so many servers, on ports 3000 and up.
pub(super) fn upstream(servers: usize, change: impl FnOnce(&mut model::Upstream)) -> Upstream {
    let servers: Vec<_> = (0..servers)
        .map(|i| format!("\"127.0.0.1:{}\"", 3000 + i))
        .collect();
    let text = format!(
        "[[listeners]]\naddress = \"127.0.0.1:8080\"\n[upstreams.shop]\nservers = [{}]\n[[routes]]\nupstream = \"shop\"\n",
        servers.join(", ")
    );
    let surroundings = Surroundings {
        folder: Path::new("/"),
        env: &|_| None,
    };
    let loaded = config::parse("test", &text, &surroundings);
    let mut config = loaded.expect("a valid configuration").config;
    let mut upstream = config.upstreams.remove(0);
    change(&mut upstream);
    let (shared, _) = Shared::new(&config.cache, 1);
    Upstream::new(&upstream, &shared).expect("no files")
}
