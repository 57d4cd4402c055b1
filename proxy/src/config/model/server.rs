//! The process, and whom it listens to for orders.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::Hsts;
use crate::{edge::path::EncodedSlashes, respond::dress::Change};

/// `[server]`.
#[derive(Debug, Clone)]
pub struct Server {
    /// Worker threads, each with its own runtime and listeners; `0` means one per core.
    pub threads: usize,
    /// How long running requests may take to finish after SIGTERM.
    pub shutdown_grace: Duration,
    /// How long a new process may take to serve.
    pub upgrade_timeout: Duration,
    /// How long this process lives on once another serves.
    pub upgrade_grace: Duration,
    /// Bytes of stored responses that go along to a new process.
    pub upgrade_handover: u64,
    /// Where the process id is written, for `dhal reload` without an admin endpoint.
    pub pid_file: Option<PathBuf>,
    /// Total time for a request head to arrive, however it drips; `408` beyond it.
    pub header_timeout: Duration,
    /// Longest pause within a request body; `408` beyond it.
    pub body_timeout: Duration,
    /// How long an idle connection is kept open between requests.
    pub keepalive_timeout: Duration,
    /// Time for a TLS handshake.
    pub handshake_timeout: Duration,
    /// Connections open at once over all listeners; further ones wait in the listen queue.
    pub max_connections: usize,
    /// Bytes of the request target; `414` beyond it.
    pub max_target_bytes: usize,
    /// Bytes of a request head; `431` beyond it.
    pub max_header_bytes: usize,
    /// What encoded slashes are to routes.
    pub encoded_slashes: EncodedSlashes,
    /// Networks whose `X-Forwarded-*` and `X-Request-ID` fields are believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// What is asked of visitors' connections.
    pub visitors: Visitors,
    /// DNS servers; none means the system's.
    pub resolvers: Vec<SocketAddr>,
    /// Whom nothing is answered but `403`: indices into `address_lists`.
    pub deny: Vec<usize>,
    /// Reload when the files of the configuration change.
    pub watch_config: bool,
    /// What browsers are told of TLS.
    pub hsts: Option<Hsts>,
    /// Changes of what visitors get, on every route.
    pub response_headers: Vec<Change>,
    /// Files of pages in the place of ours, by status.
    pub error_pages: Vec<(u16, PathBuf)>,
    /// What the process gives up once it listens.
    pub hardening: Hardening,
}

/// What the process gives up once it listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hardening {
    /// Who it becomes: a name or a number. It stays who it is where absent.
    pub user: Option<String>,
    /// Its group; absent means that of the user.
    pub group: Option<String>,
    /// Files that are not named cannot be reached.
    pub landlock: bool,
    /// Calls of the system that are not needed fail.
    pub seccomp: bool,
    /// Further folders that may be read.
    pub read: Vec<PathBuf>,
    /// Further folders that may be written.
    pub write: Vec<PathBuf>,
    /// Further folders whose programs may be started.
    pub execute: Vec<PathBuf>,
}

/// What `[server]` asks of visitors and their connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visitors {
    /// Connections of one client; `0` means no bound.
    pub max_per_client: usize,
    /// What one client is.
    pub network: ClientNetwork,
    /// Bytes per second of request content; `0` means no bound.
    pub min_receive_rate: u64,
    /// Bytes per second that a visitor takes of an answer; `0` means no bound.
    pub min_send_rate: u64,
    /// How long a visitor may be slower.
    pub rate_grace: Duration,
    /// Which field of trusted peers names the client.
    pub forwarded_field: ForwardedField,
}

/// Prefix lengths that tell clients apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientNetwork {
    /// Of IPv4 addresses, up to 32.
    pub ipv4: u8,
    /// Of IPv6 addresses, up to 128.
    pub ipv6: u8,
}

/// A field in which proxies say whom they speak for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedField {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// `[admin]`.
#[derive(Debug, Clone)]
pub struct Admin {
    /// One or several addresses.
    pub addresses: Vec<AdminAddress>,
    /// Holds the bearer token that allows changes over TCP.
    pub token_file: Option<PathBuf>,
    /// Permissions of Unix sockets.
    pub mode: u32,
    /// Group of Unix sockets; absent means that of the process.
    pub group: Option<String>,
}

/// Where the admin endpoint listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// `127.0.0.1:9900`: reading only, unless the request carries the token.
    Tcp(SocketAddr),
    /// `unix:/run/dhal/admin.sock`: whoever may open it may change things.
    Unix(PathBuf),
}
