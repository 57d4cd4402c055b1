//! The configuration after compilation: typed, complete with defaults, and free of contradictions.
//!
//! `file.rs` mirrors what people write, `compile.rs` turns it into these types and reports every
//! error at once. Nothing here refers to a name: references are indices that are known to be valid.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub use super::diagnostic::Anchor;
use crate::{
    admit::key::Prefix,
    files::{Fallback, Rules},
    respond::dress::Change,
    route::{
        action::{FixedBody, Redirect, Rewrite},
        headers::RequestHeaders,
        methods::Methods,
        path_regex::PathRegex,
    },
};
use adaptive_concurrency::{Bounds, Class};

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

/// `[[listeners]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address and port.
    pub address: SocketAddr,
    /// Terminate TLS here, with ALPN `h2` and `http/1.1`.
    pub tls: bool,
    /// Answer everything with a redirect to `https`, except an unusable request.
    pub redirect_to_https: bool,
    /// Port written into that redirect; `443` is left out of the URL.
    pub https_port: u16,
    /// Connections begin with a PROXY header.
    pub proxy_protocol: bool,
    /// What is spoken, where there is TLS.
    pub tls_profile: TlsProfile,
    /// Whether visitors are asked for a certificate.
    pub client_auth: Option<Arc<ClientAuth>>,
    /// Where its address stands.
    pub place: Anchor,
}

/// Versions and suites of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TlsProfile {
    /// TLS 1.2 and 1.3, forward secrecy and authenticated encryption only.
    #[default]
    Intermediate,
    /// TLS 1.3.
    Modern,
}

/// `client_auth`: paths only, the files are read when the edge is built, and when they change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientAuth {
    /// PEM file of the authorities that are believed.
    pub ca: PathBuf,
    /// Whether a certificate must be shown.
    pub mode: ClientAuthMode,
    /// PEM file of revocation lists.
    pub crl: Option<PathBuf>,
    /// Where it stands.
    pub place: Anchor,
}

/// Whether visitors must show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ClientAuthMode {
    /// Who shows none is refused.
    #[default]
    Require,
    /// Who shows none may come in.
    Optional,
}

impl ClientAuthMode {
    /// As it stands in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Require => "require",
            Self::Optional => "optional",
        }
    }
}

/// `hsts`: what `Strict-Transport-Security` says (RFC 6797 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hsts {
    /// How long browsers are to ask over TLS only.
    pub max_age: Duration,
    /// The same for the names below.
    pub include_subdomains: bool,
    /// Consent to lists that browsers come with.
    pub preload: bool,
}

/// `[[certificates]]`: a pair, or a folder of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSource {
    /// Where the files are.
    pub files: CertificateFiles,
    /// Whether who comes for its names is asked for a certificate.
    pub client_auth: Option<Arc<ClientAuth>>,
    /// Where it stands.
    pub place: Anchor,
}

/// Where certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateFiles {
    /// In two files.
    Pair(Certificate),
    /// All pairs of a folder.
    Folder(PathBuf),
}

/// A certificate: paths only, the files are read when the edge is built.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// PEM chain, the leaf first.
    pub cert: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// `[acme]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// URL of the authority's directory.
    pub directory: String,
    /// `mailto:` URLs.
    pub contact: Vec<String>,
    /// Folder for the account and the certificates.
    pub storage: PathBuf,
    /// Names of each certificate, lower case, A-labels; each name once.
    pub certificates: Vec<Vec<String>>,
    /// How names are shown to lead here.
    pub challenge: ChallengeKind,
    /// Authorities that are believed when the directory is asked; the system's where absent.
    pub ca_file: Option<PathBuf>,
    /// One of the authority's profiles.
    pub profile: Option<String>,
    /// The account that orders count for.
    pub binding: Option<AccountBinding>,
    /// How long before its end a certificate is renewed.
    pub renew_before: Option<Duration>,
    /// Pause after the first failure.
    pub retry: Duration,
}

/// A challenge of RFC 8555.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeKind {
    /// A file at a well-known path (RFC 8555 §8.3).
    Http01,
    /// A certificate in a handshake of its own (RFC 8737).
    TlsAlpn01,
}

/// External account binding (RFC 8555 §7.3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountBinding {
    /// Identifies the key.
    pub key_id: String,
    /// Holds the key, in base64url.
    pub hmac_file: PathBuf,
}

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

/// `[cache]`.
#[derive(Debug, Clone)]
pub struct Cache {
    /// Bytes of stored responses, heads and keys included.
    pub memory: u64,
    /// Larger responses are not kept in memory, and without a disk not at all.
    pub max_object: u64,
    /// How long a request waits for another that fetches the same response.
    pub lock_timeout: Duration,
    /// The store on disk; absent means there is none.
    pub disk: Option<Disk>,
}

/// `disk` of `[cache]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The folder, which belongs to the store alone.
    pub path: PathBuf,
    /// Bytes of stored responses, heads and keys included.
    pub size: u64,
    /// Larger responses are passed through without being stored; at most a quarter of `size`.
    pub max_object: u64,
}

/// `[cache.policies.NAME]`.
#[derive(Debug, Clone)]
pub struct CachePolicy {
    /// The name in the file; `default` is built in.
    pub name: String,
    /// Freshness where the origin gives none.
    pub ttl: Option<Duration>,
    /// Serve stale while one request refreshes: the larger of this and what the origin says, unless
    /// the origin forbids it.
    pub stale_while_revalidate: Duration,
    /// Serve stale while the origin fails: the larger of this and what the origin says, unless the
    /// origin forbids it.
    pub stale_if_error: Duration,
    /// Query parameters left out of the key (and of the request that fills it): names or `prefix*`.
    pub ignore_query: Vec<String>,
    /// A request with one of these cookies is not answered from the store.
    pub bypass_cookies: Vec<String>,
    /// Request fields whose values are part of the key.
    pub key_headers: Vec<http::HeaderName>,
    /// Cookies whose values are part of the key; none of them is among `bypass_cookies`.
    pub key_cookies: Vec<String>,
    /// Parameters of the query are put in order before the key is made.
    pub sort_query: bool,
    /// What becomes of a response that sets a cookie.
    pub set_cookie: SetCookie,
    /// A request's `Cache-Control` counts.
    pub honour_client: bool,
    /// `X-Accel-Expires` of the origin counts.
    pub x_accel_expires: bool,
    /// `Surrogate-Control` of the origin counts.
    pub surrogate_control: bool,
    /// Stored text is compressed once, as gzip, brotli and zstd.
    pub compress: bool,
}

/// What becomes of a response that sets a cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SetCookie {
    /// It is not stored.
    #[default]
    Refuse,
    /// It is stored without `Set-Cookie`.
    Strip,
    /// It is stored as it is, and sets its cookie for everyone.
    Store,
}

/// `[address_lists.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressList {
    /// The name in the file.
    pub name: String,
    /// Networks that stand in the configuration.
    pub entries: Vec<ipnet::IpNet>,
    /// One address or network per line; read when the edge is built, and when it changes.
    pub file: Option<PathBuf>,
}

/// `[limits.NAME]`.
#[derive(Debug, Clone)]
pub struct Limit {
    /// The name in the file.
    pub name: String,
    /// What is counted by, together.
    pub key: Vec<LimitKey>,
    /// How much of an address is one client.
    pub prefix: Prefix,
    /// Requests that are replenished per `period`.
    pub rate: NonZeroU32,
    /// Length of the period: a second for `50/s`, a minute for `50/m`, an hour for `50/h`.
    pub period: Duration,
    /// Requests that may come at once.
    pub burst: NonZeroU32,
    /// Which requests are counted.
    pub count: LimitCount,
    /// What becomes of those beyond the rate.
    pub action: LimitAction,
    /// Status of a refusal.
    pub status: u16,
    /// Whom the rule does not count: indices into `address_lists`.
    pub exempt: Vec<usize>,
    /// Clients tracked at once; further ones share one bucket.
    pub max_keys: usize,
}

impl Limit {
    /// Whether what one of them has counted means the same to the other.
    pub fn counts_as(&self, other: &Self) -> bool {
        let how = |limit: &Self| (limit.rate, limit.period, limit.burst, limit.max_keys);
        how(self) == how(other) && (&self.key, self.prefix) == (&other.key, other.prefix)
    }
}

/// A part of what a limit counts by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitKey {
    /// The client's address, cut to a prefix.
    ClientIp,
    /// The host that was asked.
    Host,
    /// A field of the request.
    Header(http::HeaderName),
    /// A cookie of the request.
    Cookie(String),
    /// A parameter of the route's path.
    Param(String),
}

/// Which requests a limit counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LimitCount {
    /// All.
    #[default]
    All,
    /// Those that the store does not answer.
    Origin,
}

/// What becomes of requests beyond a rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LimitAction {
    /// They are refused.
    #[default]
    Reject,
    /// They are held back until their turn comes.
    Delay {
        /// Longest wait; who would have to wait longer is refused.
        max: Duration,
    },
    /// They are noted, and go on.
    Log,
}

/// `[[routes]]`.
#[derive(Debug, Clone)]
pub struct Route {
    /// For metrics and logs: as written, `host` and `path` joined, or `name`.
    pub name: String,
    /// At least one.
    pub hosts: Vec<HostPattern>,
    /// Path pattern.
    pub path: PathPattern,
    /// A prefix that goes before expressions.
    pub before_regex: bool,
    /// Any, or these only.
    pub methods: Methods,
    /// What becomes of its requests.
    pub action: Action,
    /// What an upstream is asked for in the place of the visitor's target.
    pub rewrite: Option<Rewrite>,
    /// `Host` towards the upstream; absent means the visitor's.
    pub upstream_host: Option<String>,
    /// Changes of what an upstream gets.
    pub request_headers: RequestHeaders,
    /// Changes of what visitors get, after those of the server.
    pub response_headers: Vec<Change>,
    /// Index into `policies`; absent means nothing is stored or served from the store.
    pub cache: Option<usize>,
    /// Indices into `limits`.
    pub limits: Vec<usize>,
    /// Who alone may come, where there are any: indices into `address_lists`.
    pub allow: Vec<usize>,
    /// Who may not: indices into `address_lists`.
    pub deny: Vec<usize>,
    /// What its requests matter where not all can be taken.
    pub class: Class,
    /// Largest request body; `413` beyond it.
    pub max_body: u64,
    /// Time limits: the upstream's, but for those that the route has of its own.
    pub timeouts: Timeouts,
    /// Index into `waiting_rooms`.
    pub waiting_room: Option<usize>,
    /// What browsers are told of TLS: the server's, but for a route that has its own.
    pub hsts: Option<Hsts>,
}

impl Route {
    /// Index into `upstreams`, where it has one.
    pub fn upstream(&self) -> Option<usize> {
        match self.action {
            Action::Upstream(index) => Some(index),
            Action::Files(ref rules) => match rules.fallback {
                Fallback::Upstream(index) => Some(index),
                Fallback::NotFound | Fallback::File(_) => None,
            },
            Action::Redirect(_) | Action::Respond(_) => None,
        }
    }
}

/// What becomes of a route's requests.
#[derive(Debug, Clone)]
pub enum Action {
    /// Index into `upstreams`.
    Upstream(usize),
    /// Answered with files.
    Files(Box<Rules>),
    /// Sent elsewhere.
    Redirect(Redirect),
    /// Answered alike.
    Respond(Respond),
}

/// `respond`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// Status code.
    pub status: u16,
    /// Content; files are read when the edge is built.
    pub body: FixedBody,
    /// Of the content.
    pub content_type: http::HeaderValue,
}

/// `[waiting_rooms.NAME]`.
#[derive(Debug, Clone)]
pub struct WaitingRoom {
    /// The name in the file.
    pub name: String,
    /// Visitors inside at once.
    pub capacity: u32,
    /// Most admissions, and the period they are counted by.
    pub rate: Option<(NonZeroU32, Duration)>,
    /// Who is quiet for so long has left.
    pub stay: Duration,
    /// Cookies by which the shop tells of a cart.
    pub cart_cookies: Vec<String>,
    /// The same as `stay`, with a cart.
    pub cart_stay: Duration,
    /// Who waits.
    pub covers: Covers,
    /// Nobody is let in before, from the beginning of the pre-queue on.
    pub opens: Option<SystemTime>,
    /// How long before `opens` the pre-queue begins.
    pub early: Duration,
    /// How long a ticket is good for.
    pub ticket_life: Duration,
    /// Keys by their ids; the first signs. None: the process makes one.
    pub keys: Vec<(String, PathBuf)>,
    /// The page, where it is not the one that is built in.
    pub template: Option<PathBuf>,
}

/// Who waits in a waiting room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Covers {
    /// Everyone on its routes.
    #[default]
    All,
    /// Who asks for what the store does not have.
    Origin,
}

/// Hosts a route applies to; lower case, without port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Every host.
    Any,
    /// `shop.example`.
    Exact(String),
    /// `*.shop.example`, kept as `shop.example`: any name below it, however deep.
    Wildcard(String),
}

/// Paths a route applies to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// `/cart`: this path only.
    Exact(String),
    /// `/products/*` kept as `/products/`; `/*` and an absent path as `/`.
    Prefix(String),
    /// `/products/:id/reviews`: a parameter matches one non-empty segment.
    Segments(Vec<Segment>),
    /// `path_regex`: all that an expression matches.
    Regex(PathRegex),
}

/// A part of a path between two slashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Matches itself.
    Literal(String),
    /// `:name`.
    Param(String),
    /// A trailing `*` after parameters: the rest of the path.
    Rest,
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
