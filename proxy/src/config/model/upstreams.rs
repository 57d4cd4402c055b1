//! Groups of servers, and how they are asked.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use adaptive_concurrency::Bounds;

use super::Certificate;

/// `[upstreams.NAME]`.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The name in the file.
    pub name: String,
    /// At least one server.
    pub servers: Vec<Backend>,
    /// How a server is chosen.
    pub balance: Balance,
    /// What consistent hashing goes by.
    pub hash_key: HashKey,
    /// Over how long a server that comes back gets its share.
    pub slow_start: Duration,
    /// What its servers speak.
    pub protocol: UpstreamProtocol,
    /// TLS towards the servers; absent means none.
    pub tls: Option<UpstreamTls>,
    /// Bounds on the connections to each server.
    pub connections: Connections,
    /// Active checks; without them a server is taken to be up.
    pub health_check: Option<HealthCheck>,
    /// Passive ejection of servers that fail requests.
    pub eject: Option<Eject>,
    /// The limit on requests at work, and on those that wait; `None` for any number.
    pub concurrency: Option<Bounds>,
    /// How often a safe request is tried again on another server.
    pub retry: Retry,
    /// Time limits of the exchange with a server.
    pub timeouts: Timeouts,
    /// How long past their freshness stored responses answer while no server can.
    pub shop_window: Option<Duration>,
}

/// One server of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// As written, for logs and metrics.
    pub name: String,
    /// Where it is.
    pub address: BackendAddress,
    /// Share of requests relative to its peers, 1..=1000.
    pub weight: NonZeroU32,
    /// Used only while no other server is up.
    pub backup: bool,
    /// Takes nothing new.
    pub drain: bool,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendAddress {
    /// At this address.
    Address(SocketAddr),
    /// Wherever its name leads at the time; lower case, without a dot at the end.
    Name {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
}

/// How a server is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// Fewest requests in flight of two drawn at random, weighted.
    LeastRequests,
    /// In turn, weighted.
    RoundRobin,
    /// By a key of the request, so that a page or a visitor stays with its server.
    ConsistentHash,
}

/// What consistent hashing goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// Path and query.
    Target,
    /// The client's address.
    ClientIp,
    /// A field of the request.
    Header(http::HeaderName),
    /// A cookie of the request.
    Cookie(String),
}

/// What servers speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2.
    Http2,
}

/// `tls` of an upstream: paths only, the files are read when the edge is built.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// PEM file of the authorities that are believed; absent means the system's.
    pub ca: Option<PathBuf>,
    /// PEM chain and key that we show.
    pub identity: Option<Certificate>,
    /// The name that is asked for and verified; absent means the server's own.
    pub name: Option<String>,
    /// Whether the certificate must be right.
    pub verify: bool,
}

/// `connections` of an upstream, for each server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connections {
    /// Connections at once over all threads, idle ones included; `None` for no bound.
    pub max: Option<usize>,
    /// Requests that wait for one.
    pub queue: usize,
    /// How long they wait.
    pub queue_timeout: Duration,
    /// An older connection is not used again.
    pub lifetime: Duration,
}

/// Active check.
#[derive(Debug, Clone)]
pub struct HealthCheck {
    /// How a server is asked.
    pub kind: CheckKind,
    /// Requested with GET; empty for TCP.
    pub path: String,
    /// `Host` of the check.
    pub host: Option<String>,
    /// Port of the check, where it is not the server's.
    pub port: Option<u16>,
    /// Pause between checks.
    pub interval: Duration,
    /// Whole exchange.
    pub timeout: Duration,
    /// Successes in a row that bring a server back.
    pub healthy: u32,
    /// Failures in a row that take it out.
    pub unhealthy: u32,
    /// Statuses that are healthy.
    pub status: Vec<StatusRange>,
    /// Text that the answer must have in it.
    pub body: Option<String>,
}

/// How a check asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckKind {
    /// A GET.
    Http,
    /// A GET over TLS.
    Https,
    /// A connection.
    Tcp,
}

/// Statuses from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// Passive ejection.
#[derive(Debug, Clone)]
pub struct Eject {
    /// Failures in a row that eject a server.
    pub consecutive_failures: u32,
    /// Share of failures that ejects a server; `0` for none.
    pub failure_percent: u8,
    /// The share counts from so many requests on.
    pub min_requests: u32,
    /// Over which the share is counted.
    pub window: Duration,
    /// First ejection; each further one lasts that much longer.
    pub base_time: Duration,
    /// The longest ejection.
    pub max_time: Duration,
    /// Greatest share of the servers that may be ejected at once.
    pub max_percent: u8,
}

/// Trying again.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Further attempts after the first, on other servers while there are any.
    pub attempts: u32,
    /// Retries may add at most this share to an upstream's requests.
    pub budget_percent: u8,
    /// Content up to this size is kept to be sent once more.
    pub body: usize,
    /// How long a request waits for a server where the last one has just gone.
    pub wait: Duration,
}

/// Time limits towards a server.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// TCP connect and TLS handshake.
    pub connect: Duration,
    /// From the request until the response head.
    pub response: Duration,
    /// Between two reads of the response body.
    pub read: Duration,
    /// The whole exchange, further attempts included.
    pub total: Duration,
    /// Silence of a connection that changed its protocol.
    pub tunnel: Duration,
    /// How long an unused connection stays in the pool.
    pub idle: Duration,
}
