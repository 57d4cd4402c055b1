//! The configuration file, as people write it: every key once, with its purpose and its limits.
//!
//! A line `key: Type = default, least..=most;` says all there is about a number, duration or size;
//! a key without a default is optional, or marked `required` (see [`super::read::section`] for the marks).
//! `dhal config schema` and `docs/configuration.md` are made of these lines. Relative paths start at
//! the folder of the configuration file. `${NAME}` and `${NAME:-default}` read the environment in
//! every string; a number or boolean may be such a string too (`threads = "${THREADS:-0}"`).
//! References between sections and contradictions are checked by [`super::compile`].

mod cache;
mod certificates;
mod limits;
mod listeners;
mod routes;
mod server;
mod upstreams;
mod waiting_rooms;

use std::time::Duration;

use super::{
    include::Pattern,
    model::LogFormat,
    read::{Field, List, Named, section},
    scalar::LogPath,
    units::{ByteRate, secs},
};

pub(super) use self::{
    cache::{Cache, Disk, Policy},
    certificates::{Acme, Certificate, ExternalAccount},
    limits::{AddressList, Bots, Limit, Prefix},
    listeners::{ClientAuth, HstsEntry, Listener, Tls},
    routes::{
        Files, Redirect, RequestHeaders, Respond, ResponseHeaders, Rewrite, Route, RouteTimeouts,
    },
    server::{Admin, ClientNetwork, SandboxEntry, Server},
    upstreams::{
        ConcurrencyEntry, Connections, Eject, HealthCheck, Retry, Timeouts, TlsEntry, Upstream,
    },
    waiting_rooms::WaitingRoom,
};

/// Far beyond one host's memory at any cost per connection that is in reach.
const CONNECTIONS_MOST: u64 = 1_000_000;

/// A client that must be faster than a gigabyte per second is nobody.
const RATE_MOST: ByteRate = ByteRate(1 << 30);

/// No client is made to wait, and no window of staleness means anything, beyond these.
const HOUR: Duration = secs(3_600);
const DAY: Duration = secs(86_400);
const WEEK: Duration = secs(7 * 86_400);
const YEAR: Duration = secs(365 * 86_400);

section! {
    /// The file.
    File is "the file" {
        /// Further files, such as `["conf.d/*.toml"]`: `*` and `?` stand for any letters of a name,
        /// relative to this file's folder; the names end in `.toml`. Their sections are added to those
        /// of this file, in the order of their names. They cannot include others. `docs/configuration-files.md` tells more.
        include: List<Pattern>, empty;
        /// Process-wide settings. `docs/connections.md` tells of those that keep slow and greedy visitors away.
        server: Server, empty;
        /// The admin endpoint. Without this section there is none, and signals remain.
        admin: Admin;
        /// Addresses that accept visitors, one or more.
        listeners: List<Listener>, required;
        /// Certificates, chosen by SNI; the first is the default. At least one where a listener has `tls`.
        certificates: List<Certificate>;
        /// TLS towards visitors.
        tls: Tls, empty;
        /// Certificates that are ordered from an authority. `docs/acme.md` tells more.
        acme: Acme;
        /// Groups of servers by name.
        upstreams: Named<Upstream>;
        /// The store, and the policies that say what goes into it.
        cache: Cache, empty;
        /// Lists of addresses by name; see `docs/limits.md`.
        address_lists: Named<AddressList>;
        /// Rate limits by name; see `docs/limits.md`.
        limits: Named<Limit>;
        /// Programs among the visitors; see `docs/overload.md`.
        bots: Bots;
        /// Which requests go where. At least one, unless every listener redirects. Their order does
        /// not matter: the most specific host, then the most specific path wins.
        routes: List<Route>;
        /// Waiting rooms by name; see `docs/waiting-room.md`.
        waiting_rooms: Named<WaitingRoom>;
        /// The access log. Without this section none is written.
        access_log: AccessLog;
        /// How a configuration that comes into force has to prove itself.
        reload: Reload, empty;
    }
}

section! {
    /// `[reload]`
    Reload is "[reload]" {
        /// How long a new configuration is watched, and taken back where visitors fare worse than before. 0s: not
        /// at all. An hour at most: what comes later has other reasons.
        probation: Duration = secs(0), secs(0)..=HOUR;
        /// Percentage points that the share of 5xx may rise by.
        max_5xx_percent: u64 = 5, 1..=100;
        /// Times as long as before that the slowest of 99 in 100 answers may take; 0: any time. 3: caches that
        /// must be filled anew are slower, too.
        max_p99_factor: u64 = 3, 0..=1_000;
        /// Requests before anything is concluded from them.
        min_requests: u64 = 200, 1..=1_000_000;
    }
}

section! {
    /// `[access_log]`
    AccessLog is "[access_log]" {
        /// `"stdout"`, or a file, opened for appending and reopened at SIGUSR1.
        path: LogPath, or("stdout");
        /// An object with all that is known of the request to a line, or the format that nginx and
        /// Apache call combined.
        format: LogFormat, or("json");
    }
}

impl File {
    /// `[cache.policies]`, where there is a `[cache]`.
    pub(super) fn policies(&self) -> Option<&Field<Named<Policy>>> {
        self.cache.value().map(|cache| &cache.policies)
    }
}
