//! The configuration after compilation: typed, complete with defaults, and free of contradictions.
//!
//! `file/` mirrors what people write, `compile.rs` turns it into these types and reports every
//! error at once. Nothing here refers to a name: references are indices that are known to be valid.

mod cache;
mod certificates;
mod limits;
mod listeners;
mod routes;
mod server;
mod upstreams;
mod waiting_rooms;

use std::{path::PathBuf, time::Duration};

pub use self::{
    cache::{Cache, CachePolicy, Disk, SetCookie},
    certificates::{
        AccountBinding, Acme, Certificate, CertificateFiles, CertificateSource, ChallengeKind,
    },
    limits::{AddressList, Limit, LimitAction, LimitCount, LimitKey},
    listeners::{ClientAuth, ClientAuthMode, Hsts, Listener, TlsProfile},
    routes::{Action, HostPattern, PathPattern, Respond, Route, Segment},
    server::{Admin, AdminAddress, ClientNetwork, ForwardedField, Hardening, Server, Visitors},
    upstreams::{
        Backend, BackendAddress, Balance, CheckKind, Connections, Eject, HashKey, HealthCheck,
        Retry, StatusRange, Timeouts, Upstream, UpstreamProtocol, UpstreamTls,
    },
    waiting_rooms::{Covers, WaitingRoom},
};
pub use super::diagnostic::Anchor;

/// Everything the edge needs to know to serve; the snapshot is built from it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Process-wide settings.
    pub server: Server,
    /// The admin endpoint; without it only signals steer the process.
    pub admin: Option<Admin>,
    /// Addresses that accept visitors.
    pub listeners: Vec<Listener>,
    /// Certificates, chosen by SNI; the first is the default.
    pub certificates: Vec<CertificateSource>,
    /// Hosts that routes name, and where: what certificates should cover.
    pub hosts: Vec<(HostPattern, Anchor)>,
    /// Certificates that are ordered.
    pub acme: Option<Acme>,
    /// Groups of servers; routes refer to them by index.
    pub upstreams: Vec<Upstream>,
    /// The store.
    pub cache: Cache,
    /// Caching policies; routes refer to them by index. The built-in `default` is the first.
    pub policies: Vec<CachePolicy>,
    /// Lists of addresses; others refer to them by index.
    pub address_lists: Vec<AddressList>,
    /// Programs that are not shed before persons: indices into `address_lists`.
    pub known_bots: Vec<usize>,
    /// Rate limits; routes refer to them by index.
    pub limits: Vec<Limit>,
    /// Waiting rooms; routes refer to them by index.
    pub waiting_rooms: Vec<WaitingRoom>,
    /// Routes in the order of the file; the router orders them by precedence.
    pub routes: Vec<Route>,
    /// The access log; absent means none is written.
    pub access_log: Option<AccessLog>,
    /// Every key with its value and its origin, to be shown.
    pub effective: super::Effective,
    /// How a configuration that comes into force has to prove itself.
    pub reload: Reload,
}

/// `[reload]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// How long a new configuration is watched; zero means not at all.
    pub probation: Duration,
    /// Percentage points that the share of 5xx may rise by.
    pub max_5xx_percent: u64,
    /// Times as long as before that the slowest of 99 in 100 answers may take; 0 means any time.
    pub max_p99_factor: u64,
    /// Requests before anything is concluded from them.
    pub min_requests: u64,
}

/// `[access_log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Where lines go.
    pub target: LogTarget,
    /// How a line looks.
    pub format: LogFormat,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// A file, opened for appending and reopened at SIGUSR1.
    File(PathBuf),
}

/// How a line of the access log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// NCSA combined.
    Combined,
}
