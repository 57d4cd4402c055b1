//! The state of the edge at a glance, as the admin endpoint tells it and `dhal status` shows it.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::limits::{AddressListStatus, LimitStatus};
use crate::{
    acme::status::CertificateStatus as AcmeStatus,
    admit::waiting_room::WaitingRoom,
    listen::tls::status::{self as certificates, CertificateProblem, CertificateStatus},
    observe::process_log::timestamp,
    sandbox::SandboxStatus,
    server::{Control, Entry},
    upstream::{
        Server, Upstream,
        health::refusals::Standing,
        health::state::{Note, Notes},
    },
};

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

/// Certificates that are written out.
const CERTIFICATES_SHOWN: usize = 50;
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
    /// The limit on its requests at work, where it has one.
    #[serde(default)]
    pub concurrency: Option<ConcurrencyStatus>,
}

/// The limit on an upstream's requests at work.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConcurrencyStatus {
    /// Requests that may be at work, as learned.
    pub limit: usize,
    /// Those that are.
    pub at_work: usize,
    /// Those whose content is on its way to a server.
    #[serde(default)]
    pub uploads: usize,
    /// Those that wait.
    pub waiting: usize,
    /// Those of them that are checkout, cart, browse, bot.
    pub waiting_by_class: [usize; 4],
    /// Milliseconds until the head of an answer, of late.
    pub latency_ms: u64,
    /// Turned away so far: checkout, cart, browse, bot.
    pub shed: [u64; 4],
}

impl ConcurrencyStatus {
    fn of(upstream: &Upstream, tick: Duration) -> Option<Self> {
        let concurrency = &upstream.lasting.concurrency;
        let state = concurrency.state(tick)?;
        let mut shed = [0; 4];
        for (class, _, count) in concurrency.sheds() {
            shed[class.index()] += count;
        }
        Some(Self {
            limit: state.limit,
            at_work: state.at_work,
            uploads: state.uploads,
            waiting: state.waiting,
            waiting_by_class: state.waiting_by,
            latency_ms: u64::try_from(state.latency.as_millis()).unwrap_or(u64::MAX),
            shed,
        })
    }
}

impl fmt::Display for ConcurrencyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [checkout, cart, browse, bot] = self.shed;
        write!(
            f,
            "{} of {} requests at work, {} uploads, {} wait, {} ms each; shed {checkout} checkout, \
             {cart} cart, {browse} browse, {bot} bot",
            self.at_work, self.limit, self.uploads, self.waiting, self.latency_ms
        )
    }
}

/// The connections to an upstream's servers.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConnectionStatus {
    /// Open now, idle ones included; over HTTP/2 those that carry the streams.
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
    /// `up`, `down`, `ejected`, `draining`, `refusing` or `stalled`.
    pub state: String,
    /// Why, where it is known.
    pub reason: Option<String>,
    /// For how long, where it is known.
    pub since_seconds: Option<u64>,
    /// Requests it is working on.
    pub in_flight: usize,
    /// Its share of the requests relative to others.
    pub weight: u32,
    /// Whether it is asked only where no other is well.
    pub backup: bool,
}

impl ServerStatus {
    /// Of a server, at a time since the process began. What operators want goes before what checks find, and
    /// that before what visitors met.
    pub fn of(server: &Server, tick: Duration) -> Self {
        let state = &server.state;
        let Notes {
            health,
            ejection,
            drain,
        } = state.notes();
        let down = health.filter(|_| !state.is_up());
        let (word, note) = if server.is_draining() {
            let and_down = |mut note: Note| {
                if let Some(down) = &down {
                    note.why = format!("{}, and down: {}", note.why, down.why);
                }
                note
            };
            ("draining", drain.map(and_down))
        } else if !state.is_up() {
            ("down", down)
        } else if state.is_ejected(tick) {
            ("ejected", ejection)
        } else if state.standing(tick) != Standing::Well {
            ("refusing", None)
        } else if state.is_stalled(tick) {
            ("stalled", None)
        } else {
            let recovered = state.well_since(tick).map(|since| Note {
                since,
                why: String::new(),
            });
            ("up", recovered)
        };
        let since = note.as_ref().map(|note| tick.saturating_sub(note.since));
        Self {
            name: server.name.clone(),
            state: word.to_owned(),
            reason: note.map(|note| note.why).filter(|why| !why.is_empty()),
            since_seconds: since.map(|since| since.as_secs()),
            in_flight: state.in_flight(),
            weight: server.weight,
            backup: server.backup,
        }
    }
}

impl fmt::Display for ServerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut state = self.state.clone();
        if let Some(seconds) = self.since_seconds {
            state = format!("{state} {}", ago(seconds));
        }
        if let Some(reason) = &self.reason {
            state = format!("{state}: {reason}");
        }
        write!(
            f,
            "{:<22} {state:<32} {} in flight, weight {}",
            self.name, self.in_flight, self.weight
        )?;
        if self.backup {
            f.write_str(", backup")?;
        }
        Ok(())
    }
}

/// A time in its largest unit.
fn ago(seconds: u64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

impl ConnectionStatus {
    fn of(upstream: &Upstream) -> Self {
        let servers = upstream.servers();
        let open = servers.iter().map(|s| upstream.open_connections(s));
        let waiting = servers.iter().map(|s| s.state.slots.waiting());
        Self {
            open: open.sum(),
            waiting: waiting.sum(),
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

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.ready { "ready" } else { "draining" };
        writeln!(
            f,
            "dhal {} is {state}, up {} s, {} connections",
            self.version, self.uptime_seconds, self.connections
        )?;
        writeln!(f, "process   {} since {}", self.pid, when(self.since))?;
        if !self.sandbox.user.is_empty() {
            writeln!(f, "sandbox   {}", self.sandbox)?;
        }
        if let Some(before) = &self.before {
            writeln!(f, "before    {before}")?;
        }
        if self.max_connections < self.configured_connections {
            writeln!(
                f,
                "visitors  {} connections at most, not {}: the limit on open files is too low",
                self.max_connections, self.configured_connections
            )?;
        } else {
            writeln!(f, "visitors  {} connections at most", self.max_connections)?;
        }
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
        if let Some(entry) = &self.last_reload {
            writeln!(f, "reload    {entry}")?;
        }
        if let Some(entry) = &self.last_failure {
            writeln!(f, "refused   {entry}")?;
        }
        if let Some(seconds) = self.probation_seconds {
            writeln!(f, "probation {seconds} s to go")?;
        }
        if self.differs_from_file {
            writeln!(
                f,
                "files     hold another configuration than the one in force"
            )?;
        }
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
        for room in &self.waiting_rooms {
            writeln!(
                f,
                "room      {:<12} {} of {} inside ({} with a cart), {} wait, the last for some {} s; {} let in so far",
                room.name,
                room.inside,
                room.capacity,
                room.carts,
                room.waiting,
                room.expected_wait_seconds,
                room.admitted,
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
                writeln!(f, "upstream  {:<12} {server}", upstream.name)?;
            }
            if let Some(concurrency) = &upstream.concurrency {
                writeln!(f, "upstream  {:<12} {concurrency}", upstream.name)?;
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
        for limit in &self.limits {
            writeln!(f, "limit     {limit}")?;
        }
        for list in &self.address_lists {
            writeln!(f, "list      {list}")?;
        }
        for certificate in self.certificates.iter().take(CERTIFICATES_SHOWN) {
            writeln!(f, "tls       {certificate}")?;
        }
        if let Some(more) = self
            .certificates
            .get(CERTIFICATES_SHOWN..)
            .filter(|m| !m.is_empty())
        {
            let bad = more
                .iter()
                .filter(|certificate| certificate.error.is_some());
            writeln!(
                f,
                "tls       and {} more, {} of them with an error; all with --json",
                more.len(),
                bad.count()
            )?;
        }
        for problem in &self.certificate_problems {
            writeln!(f, "tls       NOT SERVED: {}", problem.error)?;
        }
        for certificate in &self.acme {
            writeln!(f, "acme      {certificate}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_server() {
        let server = |state: &str, reason: Option<&str>, since_seconds, backup| ServerStatus {
            name: "127.0.0.1:3000".to_owned(),
            state: state.to_owned(),
            reason: reason.map(str::to_owned),
            since_seconds,
            in_flight: 3,
            weight: 2,
            backup,
        };
        for (server, wanted) in [
            (
                server("down", Some("connection refused"), Some(12), false),
                "127.0.0.1:3000         down 12s: connection refused     3 in flight, weight 2",
            ),
            (
                server("up", None, None, true),
                "127.0.0.1:3000         up                               3 in flight, weight 2, backup",
            ),
            (
                server("up", None, Some(7_300), false),
                "127.0.0.1:3000         up 2h                            3 in flight, weight 2",
            ),
        ] {
            assert_eq!(server.to_string(), wanted);
        }
        assert_eq!([59, 60, 86_400].map(ago), ["59s", "1m", "1d"]);
    }
}
