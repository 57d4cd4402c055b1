//! The state of the edge at a glance, as the admin endpoint tells it and `dhal status` shows it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{server::Control, upstream::Upstream};

/// The state of the edge.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// Running version.
    pub version: String,
    /// Whether it takes visitors.
    pub ready: bool,
    /// Seconds since it began.
    pub uptime_seconds: u64,
    /// The configuration file.
    pub config: String,
    /// Counts up with each reload.
    pub generation: u64,
    /// Whether the last reload took effect.
    pub last_reload_successful: bool,
    /// Connections open now.
    pub connections: usize,
    /// The store.
    pub cache: CacheStatus,
    /// Servers by upstream.
    pub upstreams: Vec<UpstreamStatus>,
}

/// The store.
#[derive(Debug, Serialize, Deserialize)]
pub struct CacheStatus {
    /// Entries.
    pub responses: u64,
    /// Bytes.
    pub bytes: u64,
    /// Bound on the bytes.
    pub capacity: u64,
    /// The tier on disk, where there is one.
    pub disk: Option<DiskStatus>,
    /// Requests answered from the store.
    pub hits: u64,
    /// Requests on cached routes.
    pub requests: u64,
}

/// The store's tier on disk.
#[derive(Debug, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Objects.
    pub objects: u64,
    /// Bytes.
    pub bytes: u64,
    /// Bound on the bytes.
    pub capacity: u64,
    /// Reads and writes that failed, and objects that were found damaged.
    pub errors: u64,
}

/// An upstream.
#[derive(Debug, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Name.
    pub name: String,
    /// Whether stored responses answer in its place, because no server can.
    pub shop_window_open: bool,
    /// Its servers.
    pub servers: Vec<ServerStatus>,
    /// Connections to them.
    pub connections: ConnectionStatus,
}

/// The connections to an upstream's servers.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConnectionStatus {
    /// Open now, idle ones included.
    pub open: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// Opened since the process began.
    pub opened: u64,
    /// Requests since then on one that was open already.
    pub reused: u64,
}

/// A server.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerStatus {
    /// As written.
    pub name: String,
    /// `up`, `down` or `ejected`.
    pub state: String,
    /// Requests it is working on.
    pub in_flight: usize,
}

impl ConnectionStatus {
    fn of(upstream: &Upstream) -> Self {
        let servers = upstream.servers();
        let all = || servers.iter().map(|server| &server.state.slots);
        Self {
            open: all().map(|slots| slots.open()).sum(),
            waiting: all().map(|slots| slots.waiting()).sum(),
            opened: upstream.counts.opened.get(),
            reused: upstream.counts.reused.get(),
        }
    }
}

impl Status {
    /// Reads it off.
    pub fn of(control: &Control) -> Self {
        let snapshot = control.current.load_full();
        let shared = &control.shared;
        let tick = control.started.elapsed();
        let (responses, bytes) = shared.store.size();
        let (hits, requests) = shared.metrics.hits();
        let upstreams = snapshot.upstreams.iter().map(|upstream| UpstreamStatus {
            name: upstream.name().to_owned(),
            connections: ConnectionStatus::of(upstream),
            shop_window_open: upstream.window_is_open(tick),
            servers: upstream
                .servers()
                .iter()
                .map(|server| ServerStatus {
                    name: server.name.clone(),
                    state: match (server.state.is_up(), server.state.is_ejected(tick)) {
                        (false, _) => "down",
                        (true, true) => "ejected",
                        (true, false) => "up",
                    }
                    .to_owned(),
                    in_flight: server.state.in_flight(),
                })
                .collect(),
        });
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: !shared.is_draining(),
            uptime_seconds: tick.as_secs(),
            config: control.path.display().to_string(),
            generation: snapshot.generation,
            last_reload_successful: shared.metrics.reload_successful.get() == 1,
            connections: shared.open_connections(),
            cache: CacheStatus {
                responses,
                bytes,
                capacity: snapshot.config.cache.memory,
                disk: shared.disk.as_ref().map(|disk| {
                    let stats = disk.stats();
                    DiskStatus {
                        objects: stats.objects,
                        bytes: stats.bytes,
                        capacity: snapshot.config.cache.disk.as_ref().map_or(0, |d| d.size),
                        errors: disk.errors() + stats.damaged,
                    }
                }),
                hits,
                requests,
            },
            upstreams: upstreams.collect(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.ready { "ready" } else { "draining" };
        writeln!(
            f,
            "dhal {} is {state}, up {} s, {} connections",
            self.version, self.uptime_seconds, self.connections
        )?;
        let last = if self.last_reload_successful {
            ""
        } else {
            " (the last reload was refused)"
        };
        writeln!(
            f,
            "config    {} generation {}{last}",
            self.config, self.generation
        )?;
        let cache = &self.cache;
        let share = if cache.requests == 0 {
            0.0
        } else {
            100.0 * cache.hits as f64 / cache.requests as f64
        };
        writeln!(
            f,
            "cache     {} entries, {:.1} of {:.0} MiB, {} of {} requests answered from it ({share:.1} %)",
            cache.responses,
            cache.bytes as f64 / 1_048_576.0,
            cache.capacity as f64 / 1_048_576.0,
            cache.hits,
            cache.requests,
        )?;
        if let Some(disk) = &cache.disk {
            writeln!(
                f,
                "disk      {} objects, {:.1} of {:.0} MiB, {} errors",
                disk.objects,
                disk.bytes as f64 / 1_048_576.0,
                disk.capacity as f64 / 1_048_576.0,
                disk.errors,
            )?;
        }
        for upstream in &self.upstreams {
            if upstream.shop_window_open {
                writeln!(
                    f,
                    "upstream  {:<12} shop window open: no server can answer, stored pages do",
                    upstream.name
                )?;
            }
            for server in &upstream.servers {
                writeln!(
                    f,
                    "upstream  {:<12} {:<22} {:<8} {} in flight",
                    upstream.name, server.name, server.state, server.in_flight
                )?;
            }
            let ConnectionStatus {
                open,
                waiting,
                opened,
                reused,
            } = upstream.connections;
            writeln!(
                f,
                "upstream  {:<12} {open} connections, {waiting} requests wait for one; {reused} of {} \
                 requests so far on one that was open",
                upstream.name,
                reused + opened,
            )?;
        }
        Ok(())
    }
}
