//! The state of the edge at a glance, as the admin endpoint tells it and `dhal status` shows it.

mod shown;
mod upstreams;

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::limits::{AddressListStatus, LimitStatus};
use crate::{
    acme::status::CertificateStatus as AcmeStatus,
    admit::waiting_room::WaitingRoom,
    handover::FailedUpgrade,
    listen::tls::status::{self as certificates, CertificateProblem, CertificateStatus},
    observe::process_log::timestamp,
    sandbox::SandboxStatus,
    server::{Control, Entry},
};

pub use self::upstreams::{ConcurrencyStatus, ConnectionStatus, ServerStatus, UpstreamStatus};

/// The state of the edge.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// Running version.
    pub version: String,
    /// Its process.
    #[serde(default)]
    pub pid: u32,
    /// When that began, in seconds since 1970.
    #[serde(default)]
    pub since: u64,
    /// The process that served before, while it has connections left.
    #[serde(default)]
    pub before: Option<Before>,
    /// Whether it takes visitors.
    pub ready: bool,
    /// Seconds since it began.
    pub uptime_seconds: u64,
    /// Who runs it, and what it cannot do.
    #[serde(default)]
    pub sandbox: SandboxStatus,
    /// The configuration file.
    pub config: String,
    /// Counts up with each reload.
    pub generation: u64,
    /// Whether the last reload took effect.
    pub last_reload_successful: bool,
    /// The present configuration came into force by it.
    #[serde(default)]
    pub last_reload: Option<Entry>,
    /// The last one that was refused, of those that are remembered.
    #[serde(default)]
    pub last_failure: Option<Entry>,
    /// The last upgrade that failed.
    #[serde(default)]
    pub last_failed_upgrade: Option<FailedUpgrade>,
    /// What the files hold is not in force: it was refused or taken back.
    #[serde(default)]
    pub differs_from_file: bool,
    /// How long the present configuration is on probation yet.
    #[serde(default)]
    pub probation_seconds: Option<u64>,
    /// Connections open now.
    pub connections: usize,
    /// Connections that may be open at once: what is configured, or as many as open files suffice for.
    pub max_connections: usize,
    /// What `server.max_connections` says.
    pub configured_connections: usize,
    /// The store.
    pub cache: CacheStatus,
    /// Waiting rooms.
    #[serde(default)]
    pub waiting_rooms: Vec<RoomStatus>,
    /// Servers by upstream.
    pub upstreams: Vec<UpstreamStatus>,
    /// Limits.
    #[serde(default)]
    pub limits: Vec<LimitStatus>,
    /// Address lists.
    #[serde(default)]
    pub address_lists: Vec<AddressListStatus>,
    /// Certificates.
    #[serde(default)]
    pub certificates: Vec<CertificateStatus>,
    /// Files of certificates of which nothing is served.
    #[serde(default)]
    pub certificate_problems: Vec<CertificateProblem>,
    /// Certificates that are ordered.
    #[serde(default)]
    pub acme: Vec<AcmeStatus>,
}

/// The process that served before an upgrade.
#[derive(Debug, Serialize, Deserialize)]
pub struct Before {
    /// Its number.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it began, in seconds since 1970.
    pub since: u64,
    /// Connections it still has.
    pub connections: usize,
    /// Seconds until they are cut off.
    pub left_seconds: u64,
}

impl Before {
    fn of(control: &Control) -> Option<Self> {
        let before = control.life.predecessor.as_ref()?;
        let (connections, left_seconds) = before.leaving()?;
        Some(Self {
            pid: before.pid,
            version: before.version.clone(),
            since: before.since,
            connections,
            left_seconds,
        })
    }
}

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "process {} (dhal {}, since {}) finishes {} connections, for {} s at most",
            self.pid,
            self.version,
            when(self.since),
            self.connections,
            self.left_seconds
        )
    }
}

fn when(since: u64) -> String {
    timestamp(UNIX_EPOCH + Duration::from_secs(since))
}

/// A waiting room.
#[derive(Debug, Serialize, Deserialize)]
pub struct RoomStatus {
    /// Name.
    pub name: String,
    /// Visitors inside.
    pub inside: usize,
    /// Those of them with a cart.
    pub carts: usize,
    /// Visitors that may be inside.
    pub capacity: u32,
    /// Visitors who wait.
    pub waiting: u32,
    /// What one who came now would wait.
    pub expected_wait_seconds: u64,
    /// Visitors let in since the process began.
    pub admitted: u64,
}

impl RoomStatus {
    fn of(room: &WaitingRoom) -> Self {
        let figures = room.figures();
        Self {
            name: room.name.to_owned(),
            inside: figures.inside,
            carts: figures.carts,
            capacity: room.capacity(),
            waiting: figures.waiting,
            expected_wait_seconds: figures.expected_wait.div_ceil(1_000),
            admitted: figures.counts.admitted,
        }
    }
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

impl Status {
    /// Reads it off.
    pub fn of(control: &Control) -> Self {
        let snapshot = control.current.load_full();
        let shared = &control.shared;
        let tick = control.started.elapsed();
        let (responses, bytes) = shared.store.size();
        let (hits, requests) = shared.metrics.hits();
        let reloads = control.history.entries();
        let upstreams = snapshot.upstreams.iter().map(|upstream| UpstreamStatus {
            name: upstream.name().to_owned(),
            connections: ConnectionStatus::of(upstream),
            concurrency: ConcurrencyStatus::of(upstream, tick),
            shop_window_open: upstream.window_is_open(tick),
            servers: upstream
                .servers()
                .iter()
                .map(|server| ServerStatus::of(server, tick))
                .collect(),
        });
        let certificates = snapshot.certificates.as_ref();
        let (certificates, certificate_problems) =
            certificates.map_or_else(Default::default, |known| certificates::of(known));
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            since: shared.since(),
            before: Before::of(control),
            ready: !shared.is_draining(),
            uptime_seconds: tick.as_secs(),
            sandbox: control.sandbox.status(),
            config: control.path.display().to_string(),
            generation: snapshot.generation,
            last_reload_successful: reloads.first().is_none_or(|entry| entry.applied),
            last_reload: reloads.iter().find(|entry| entry.applied).cloned(),
            last_failure: reloads.iter().find(|entry| !entry.applied).cloned(),
            last_failed_upgrade: control.life.failed.get(),
            differs_from_file: control.history.differs_from_file(),
            probation_seconds: control.probation.left(tick).map(|left| left.as_secs()),
            connections: shared.open_connections(),
            max_connections: shared.crowd.max(),
            configured_connections: snapshot.config.server.max_connections,
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
            waiting_rooms: snapshot
                .waiting_rooms
                .iter()
                .map(|room| RoomStatus::of(room))
                .collect(),
            upstreams: upstreams.collect(),
            limits: snapshot.limits.iter().map(|l| LimitStatus::of(l)).collect(),
            address_lists: snapshot
                .lists
                .iter()
                .map(|list| AddressListStatus::of(list))
                .collect(),
            certificates,
            certificate_problems,
            acme: shared.acme.status(),
        }
    }
}
