//! The configuration file, as people write it: every key once, with its purpose and its limits.
//!
//! A line `key: Type = default, least..=most;` says all there is about a number, duration or size;
//! a key without a default is optional, or marked `required` (see [`read::section`] for the marks).
//! `dhal config schema` and `docs/configuration.md` are made of these lines. Relative paths start at
//! the folder of the configuration file. `${NAME}` and `${NAME:-default}` read the environment in
//! every string; a number or boolean may be such a string too (`threads = "${THREADS:-0}"`).
//! References between sections and contradictions are checked by [`super::compile`].

use std::{net::SocketAddr, time::Duration};

use toml::de::{DeTable, DeValue};

use adaptive_concurrency::Class;

use super::{
    acme::{CertificateName, Contact, DirectoryUrl, LETS_ENCRYPT},
    actions::{ErrorPages, MethodName, RewriteEntry, UpstreamHost},
    context::{Context, Value},
    describe::{Key, Section, Shape, Short},
    files::{CharsetName, CodingName, FallbackName, FileName, SymlinksName, TypeName, TypeTable},
    headers::{FieldName, FieldTable, On},
    include::Pattern,
    key_header::KeyHeader,
    model::{
        Balance, ChallengeKind, CheckKind, ClientAuthMode, Covers, ForwardedField, HashKey,
        HostPattern, LimitCount, LimitKey, LogFormat, PathPattern, SetCookie, StatusRange,
        TlsProfile, UpstreamProtocol,
    },
    pattern::HeaderHost,
    read::{self, Field, List, Named, OneOrMany, Read, Scalar, Setting, section},
    scalar::{
        ActionName, AdminEndpoint, ClientControl, CookieName, FileMode, FilePath, FolderPath,
        LogPath, Network, OnOff, QueryName, RequestPath, ServerAddress,
    },
    units::{ByteRate, Rate, Size, kib, mib, millis, secs},
    waiting_rooms::Moment,
};
use crate::route::path_regex::PathRegex;

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
    /// `[server]`
    Server is "[server]" {
        /// Worker threads; 0 means one per core.
        threads: u64 = 0, 0..=1024;
        /// How long running requests may take to finish after SIGTERM. 10s: what container
        /// runtimes wait before they kill.
        shutdown_grace: Duration = secs(10), secs(0)..=HOUR;
        /// How long a new process may take to serve after `dhal upgrade`; beyond it, the old one goes on. 60s: a
        /// large configuration with many names is ready within seconds.
        upgrade_timeout: Duration = secs(60), secs(1)..=HOUR;
        /// How long the old process lives on for connections that do not end, such as WebSockets. An hour: they
        /// come back one by one meanwhile, and not all at once.
        upgrade_grace: Duration = HOUR, secs(0)..=WEEK;
        /// Stored responses that the old process hands to the new one, those first that are asked for most. None
        /// with `"0B"`.
        upgrade_handover: Size = mib(256), Size(0)..=mib(1 << 20);
        /// Where the process id is written. Nowhere where absent.
        pid_file: FilePath;
        /// Who the process becomes once it listens, where root starts it: a name or a number. It stays who started it
        /// where absent. `docs/hardening.md` tells more.
        user: String;
        /// Its group. Absent: that of `user`.
        group: String;
        /// What the process takes from itself for good: `true`, `false`, or a table. Absent: all of it where there is a
        /// `user`, and nothing where there is none.
        sandbox: SandboxEntry;
        /// Total time for a request head to arrive; `408` beyond it. 10s: a phone on a bad line
        /// sends a head in one or two packets, a slowloris does not.
        header_timeout: Duration = secs(10), millis(100)..=HOUR;
        /// Longest pause within a request body; `408` beyond it.
        body_timeout: Duration = secs(30), millis(100)..=HOUR;
        /// How long an idle connection stays open between requests. 75s: longer than the 60s for
        /// which load balancers in front reuse a connection, so that they close it first.
        keepalive_timeout: Duration = secs(75), millis(100)..=HOUR;
        /// Time for a TLS handshake.
        handshake_timeout: Duration = secs(10), millis(100)..=HOUR;
        /// Connections open at once over all listeners; further ones wait in the listen queue.
        /// 20,000: at some 30 KiB each they leave most of a 4 GiB host to the store and the shop.
        max_connections: u64 = 20_000, 1..=CONNECTIONS_MOST;
        /// Size of the request target; `414` beyond it. 8 KiB: what RFC 9110 asks for, and nginx allows.
        max_target_bytes: Size = kib(8), Size(256)..=kib(64);
        /// Size of a request head, the target included; `431` beyond it.
        max_header_bytes: Size = kib(32), kib(1)..=mib(1);
        /// Networks (`10.0.0.0/8`) or addresses whose `X-Forwarded-*` and `X-Request-ID` fields
        /// are believed.
        trusted_proxies: List<Network>, empty;
        /// Connections that one client may have open at once, counted by `client_network`; further ones are
        /// closed. 0: no bound.
        max_connections_per_client: u64 = 0, 0..=CONNECTIONS_MOST;
        /// What "one client" is for that bound: prefix lengths.
        client_network: ClientNetwork, empty;
        /// Request content slower than that after `rate_grace`: `408`, and the connection is closed. Only time
        /// in which we wait for the visitor counts. `"0B/s"`: no bound.
        min_receive_rate: ByteRate = ByteRate(240), ByteRate(0)..=RATE_MOST;
        /// The same for a visitor that takes an answer.
        min_send_rate: ByteRate = ByteRate(240), ByteRate(0)..=RATE_MOST;
        /// How long a visitor may be slower than that.
        rate_grace: Duration = secs(5), millis(100)..=HOUR;
        /// Which field of `trusted_proxies` names the client: `"x-forwarded-for"`, or `"forwarded"`
        /// (RFC 7239).
        forwarded_field: ForwardedField, or("x-forwarded-for");
        /// DNS servers that are asked for the names of servers, with their ports. The system's, and
        /// `/etc/hosts`, where absent.
        resolvers: List<SocketAddr>;
        /// Names of address lists. Whoever is on one of them gets `403`, on every route.
        deny: List<String>, empty;
        /// Reload when the files of the configuration change.
        watch_config: bool, or(false);
        /// `Strict-Transport-Security` of every answer over TLS: for how long, such as `"365d"`, a table, or
        /// `false`. It takes the place of the shop's. None is added where absent.
        hsts: HstsEntry;
        /// Changes of the fields that visitors get, on every route and where there is none. One table,
        /// or a list of them. None where absent.
        response_headers: OneOrMany<ResponseHeaders>;
        /// HTML files, up to 256 KiB each, in the place of our own pages, by status:
        /// `{ 404 = "404.html", 503 = "busy.html" }`. What a shop answers stays as it is.
        error_pages: ErrorPages;
    }
}

section! {
    /// `sandbox` of `[server]`
    Sandbox is "`sandbox`" {
        /// Landlock: files beyond those that the configuration names cannot be reached.
        landlock: bool, or(true);
        /// Seccomp: calls of the system that an edge does not need fail.
        seccomp: bool, or(true);
        /// Further folders that may be read: those that a later configuration is to name.
        read: List<FolderPath>, empty;
        /// Further folders that may be written.
        write: List<FolderPath>, empty;
        /// Further folders whose programs `dhal upgrade --binary` may start. That of the running program is one.
        execute: List<FolderPath>, empty;
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
    /// `client_network` of `[server]`
    ClientNetwork is "`client_network`" {
        /// Bits of an IPv4 address that tell clients apart.
        ipv4: u64 = 32, 8..=32;
        /// Bits of an IPv6 address. 64: what one subscriber commands at least.
        ipv6: u64 = 64, 16..=128;
    }
}

section! {
    /// `[admin]`
    Admin is "[admin]" {
        /// `host:port` with an IP address, or `unix:/path/of.sock`; one or a list. Over TCP only
        /// reading is allowed unless the request carries the token.
        address: OneOrMany<AdminEndpoint>, required;
        /// File with the bearer token that allows changes over TCP. None are allowed where absent.
        token_file: FilePath;
        /// Permissions of Unix sockets, octal: who may open one may change everything. `"0660"` where there is a
        /// `group`, `"0600"` where there is none.
        mode: FileMode, computed("0600");
        /// Group that Unix sockets belong to. Absent: that of the process.
        group: String;
    }
}

section! {
    /// `[[listeners]]`
    Listener is "[[listeners]]" {
        /// IP address and port; port 0 lets the system choose.
        address: SocketAddr, required;
        /// Terminate TLS, with ALPN `h2` and `http/1.1`.
        tls: bool, or(false);
        /// Answer everything with a redirect to `https`.
        redirect_to_https: bool, or(false);
        /// Port in that redirect; 443 is left out of the URL.
        https_port: u64 = 443, 1..=65_535;
        /// Connections begin with a PROXY header, v1 or v2, from `server.trusted_proxies`; others are closed.
        proxy_protocol: bool, or(false);
        /// What is spoken here, in the place of `profile` of `[tls]`.
        tls_profile: TlsProfile;
        /// Ask visitors for a certificate of their own. Absent: they are not asked.
        client_auth: ClientAuth;
    }
}

section! {
    /// `[tls]`
    Tls is "[tls]" {
        /// `"intermediate"`: TLS 1.2 and 1.3; or `"modern"`: TLS 1.3 alone. `docs/tls.md` tells more.
        profile: TlsProfile, or("intermediate");
    }
}

section! {
    /// `client_auth` of a listener or a certificate
    ClientAuth is "`client_auth`" {
        /// PEM file with the authorities whose certificates are believed. It is read anew when it changes.
        ca: FilePath, required;
        /// `"require"`: who shows none is refused; or `"optional"`: who shows a wrong one is.
        mode: ClientAuthMode, or("require");
        /// PEM file with the revocation lists of these authorities: one for each that signs
        /// certificates, none of them out of date. It is read anew when it changes. Absent: nothing is
        /// revoked.
        crl: FilePath;
    }
}

section! {
    /// `hsts`, written as a table.
    Hsts is "`hsts`" {
        /// How long browsers ask over TLS only. 365d: what lists of preloaded names ask for. `"0s"`
        /// makes them forget.
        max_age: Duration = YEAR, secs(0)..=secs(10 * 365 * 86_400);
        /// The same for all names below this one.
        include_subdomains: bool, or(false);
        /// Consent to the lists that browsers come with.
        preload: bool, or(false);
    }
}

section! {
    /// `[[certificates]]`
    Certificate is "[[certificates]]" {
        /// PEM file with the chain, the leaf first. Needed unless there is a `folder`. It is read anew
        /// when it changes, as is the key.
        cert: FilePath;
        /// PEM file with the private key. Needed unless there is a `folder`.
        key: FilePath;
        /// Folder with any number of pairs: `NAME.pem` (or `.crt`) with `NAME.key`, or
        /// `NAME/fullchain.pem` with `NAME/privkey.pem`. In the place of `cert` and `key`.
        folder: FolderPath;
        /// Ask who comes for these names for a certificate of their own, in the place of the listener's.
        client_auth: ClientAuth;
    }
}

section! {
    /// `[acme]`
    Acme is "[acme]" {
        /// The authority's directory; Let's Encrypt's unless another is named.
        directory: DirectoryUrl, or(LETS_ENCRYPT);
        /// Whom the authority writes to: `"mailto:ops@shop.example"`, one or a list.
        contact: OneOrMany<Contact>, empty;
        /// That the authority's terms are agreed to: `true`.
        agree_tos: bool, required;
        /// Folder for the account's key and the certificates; made, for its owner alone, where it is not there.
        storage: FolderPath, required;
        /// The names of each certificate, a list of lists, one or more; none twice.
        names: List<List<CertificateName>>, required;
        /// How the authority is shown that the names lead here: `"http-01"`, at port 80, or `"tls-alpn-01"`, at
        /// port 443.
        challenge: ChallengeKind, or("http-01");
        /// PEM file with the authorities that are believed when the directory is asked, instead of the
        /// system's.
        ca_file: FilePath;
        /// One of the authority's profiles, such as `"shortlived"`; the authority chooses otherwise.
        profile: String;
        /// The account at the authority that orders count for, where it asks for one.
        eab: ExternalAccount;
        /// A certificate is renewed so long before its end, yet not in the first third of its life. Without
        /// it, when the authority suggests (RFC 9773), or after two thirds of its life.
        renew_before: Duration;
        /// Pause after an order that failed; it doubles with each further failure, up to six hours.
        retry: Duration = secs(60), secs(1)..=HOUR;
    }
}

section! {
    /// `eab` of `[acme]`
    ExternalAccount is "`eab`" {
        /// The key's identifier, from the authority.
        key_id: String, required;
        /// File with the key, in base64url as authorities hand it out.
        hmac_file: FilePath, required;
    }
}

section! {
    /// `[upstreams.NAME]`
    Upstream is "[upstreams.NAME]" {
        /// Servers, one or more, as `"host:port"` or as a table. A name stands for all of its
        /// addresses, and is resolved anew when its time to live is over.
        servers: List<BackendEntry>, required;
        /// How a server is chosen: the one with the fewest requests for its weight, one after the
        /// other, or by `hash_key`, so that what is alike goes to the same server.
        balance: Balance, or("least-requests");
        /// What `"consistent-hash"` goes by: `"target"`, `"client-ip"`, `"header:NAME"` or
        /// `"cookie:NAME"`. A request without that field or cookie goes by its target.
        hash_key: HashKey, or("target");
        /// A server that comes back gets its share bit by bit over this time: caches are cold, and
        /// pools are empty. 0s: at once.
        slow_start: Duration = secs(0), secs(0)..=HOUR;
        /// What the servers speak: agreed on by ALPN where there is `tls`, known beforehand where
        /// not.
        protocol: UpstreamProtocol, or("http1");
        /// Speak TLS to the servers: `true`, or a table. The certificate is verified.
        tls: TlsEntry, or(false);
        /// Bounds on the connections to each server.
        connections: Connections, empty;
        /// Active checks. Without them a server is taken to be up.
        health_check: HealthCheck;
        /// Passive ejection of servers that fail requests. None where absent.
        eject: Eject;
        /// A limit on the requests at work that learns how many bring answers: `true`, or a table.
        /// What is over waits, and what matters least is shed first; see `docs/overload.md`.
        concurrency: ConcurrencyEntry, or(false);
        /// How often a safe request is tried again.
        retry: Retry, empty;
        /// Time limits towards the servers.
        timeouts: Timeouts, empty;
        /// While no server can answer, stored responses answer for so long after their freshness
        /// ended, and everything else gets a friendly 503 at once. Absent: `stale_if_error` of the
        /// policies alone counts.
        shop_window: Duration, within(millis(1)..=YEAR);
    }
}

section! {
    /// One of `servers`, written as a table.
    Backend is "a server of an upstream" {
        /// `host:port`: an IP address or a name.
        address: ServerAddress, required;
        /// Share of the requests relative to the other servers.
        weight: u64 = 1, 1..=1_000;
        /// Used only while no other server is up.
        backup: bool, or(false);
        /// Finish what runs, and take nothing new.
        drain: bool, or(false);
    }
}

section! {
    /// `tls` of an upstream
    UpstreamTls is "`tls`" {
        /// PEM file with the authorities that are believed. The system's where absent.
        ca: FilePath;
        /// PEM file with the chain that we show. Absent: none.
        cert: FilePath;
        /// PEM file with its key. Goes with `cert`.
        key: FilePath;
        /// The name that is asked for (SNI) and verified. The server's name or address where absent.
        name: HeaderHost;
        /// Whether the certificate must be right.
        verify: bool, or(true);
    }
}

section! {
    /// `connections`
    Connections is "`connections`" {
        /// Connections to each server over all threads, idle ones included; 0: no bound. Over
        /// HTTP/2, requests at once.
        max: u64 = 0, 0..=CONNECTIONS_MOST;
        /// Requests that wait for one of them, for each server; beyond it `503`.
        queue: u64 = 1_024, 0..=CONNECTIONS_MOST;
        /// How long they wait.
        queue_timeout: Duration = secs(1), millis(1)..=secs(60);
        /// A connection is not used again when it is older. 1h: a server that was moved behind its
        /// address is noticed.
        lifetime: Duration = HOUR, secs(1)..=secs(86_400);
    }
}

section! {
    /// `concurrency`
    Concurrency is "`concurrency`" {
        /// The limit is never below. 2: with 1 nothing could be learned of what another would bring.
        min: u64 = 2, 1..=CONNECTIONS_MOST;
        /// The limit is never above.
        max: u64 = 1_000, 1..=CONNECTIONS_MOST;
        /// Requests that wait, over all servers; 0: none. 256: a burst of a quarter of a second at
        /// a thousand requests per second.
        queue: u64 = 256, 0..=100_000;
        /// How long one of them waits before it is shed. 1s: longer than a burst, and shorter than
        /// a visitor's patience.
        queue_timeout: Duration = secs(1), millis(1)..=secs(60);
    }
}

section! {
    /// `health_check`
    HealthCheck is "`health_check`" {
        /// Whether a check asks, or only connects (`"tcp"`). Where absent it asks over what the
        /// upstream's own connections speak.
        protocol: CheckKind, computed("http");
        /// Requested with GET. Must be given, but for `"tcp"`.
        path: RequestPath;
        /// `Host` of the check. The server's address where absent.
        host: HeaderHost;
        /// Port of the check; 0: the server's.
        port: u64 = 0, 0..=65_535;
        /// Pause between two checks of a server.
        interval: Duration = secs(2), millis(100)..=HOUR;
        /// Time for the whole exchange.
        timeout: Duration = secs(1), millis(10)..=secs(60);
        /// Successes in a row that bring a server back.
        healthy: u64 = 2, 1..=100;
        /// Failures in a row that take it out. 3: one lost packet is no outage, six seconds are.
        unhealthy: u64 = 3, 1..=100;
        /// Statuses that are healthy: `"200"` or `"200-299"`.
        status: List<StatusRange>, or(vec!["200-399"]);
        /// Text that the answer's first 64 KiB must have in them. Any where absent.
        body: String;
    }
}

section! {
    /// `eject`
    Eject is "`eject`" {
        /// Failures in a row that eject a server.
        consecutive_failures: u64 = 5, 1..=1_000;
        /// Share of failures within `window` that ejects a server, in percent; 0: no share does.
        failure_percent: u64 = 50, 0..=100;
        /// The share counts from so many requests on.
        min_requests: u64 = 20, 1..=1_000_000;
        /// Over which the share is counted.
        window: Duration = secs(10), secs(1)..=HOUR;
        /// Length of the first ejection; each further one lasts that much longer.
        base_time: Duration = secs(10), millis(100)..=HOUR;
        /// The longest ejection.
        max_time: Duration = secs(300), millis(100)..=secs(86_400);
        /// Greatest share of an upstream's servers that may be ejected at once, in percent.
        /// 50: when most fail, the fault is rarely theirs.
        max_percent: u64 = 50, 0..=100;
    }
}

section! {
    /// `retry`
    Retry is "`retry`" {
        /// Further attempts after the first. 0: only what no server has seen is tried again, after a connection
        /// was closed at the moment of reuse, or while the last server is waited for (`wait`).
        attempts: u64 = 2, 0..=10;
        /// Share that retries may add to an upstream's requests, in percent. 20: retries help
        /// against a bad server and must not become a second flood against all of them.
        budget_percent: u64 = 20, 0..=100;
        /// Content up to this size is kept, so that it can be sent once more.
        body: Size = kib(64), Size(0)..=mib(16);
        /// How long a request waits for a server where the last one has just gone. 1s: a process
        /// that is started anew.
        wait: Duration = secs(1), secs(0)..=secs(60);
    }
}

section! {
    /// `timeouts`
    Timeouts is "`timeouts`" {
        /// TCP connect and TLS handshake. 1s: the servers are near.
        connect: Duration = secs(1), millis(1)..=secs(60);
        /// From the request until the response head. 15s: longer than any page a visitor still
        /// waits for.
        response: Duration = secs(15), millis(1)..=HOUR;
        /// Longest pause within the response body. `response` where absent.
        read: Duration, within(millis(1)..=HOUR), computed("15s");
        /// The whole exchange, further attempts included.
        total: Duration = secs(86_400), millis(1)..=secs(86_400);
        /// How long a WebSocket may be silent.
        tunnel: Duration = secs(600), secs(1)..=secs(86_400);
        /// How long an unused connection stays in the pool. 60s: below the 75s for which common
        /// servers keep one, so that a request does not meet a closing connection.
        idle: Duration = secs(60), secs(1)..=HOUR;
    }
}

section! {
    /// `timeouts` of a route: what it says counts in the place of the upstream's.
    RouteTimeouts is "`timeouts` of a route" {
        /// TCP connect and TLS handshake.
        connect: Duration, within(millis(1)..=HOUR);
        /// From the request until the response head.
        response: Duration, within(millis(1)..=HOUR);
        /// Longest pause within the response body. Follows `response` where neither the route nor
        /// the upstream gives one.
        read: Duration, within(millis(1)..=HOUR);
        /// The whole exchange.
        total: Duration, within(millis(1)..=DAY);
        /// How long a WebSocket may be silent.
        tunnel: Duration, within(millis(1)..=DAY);
    }
}

section! {
    /// `[cache]`
    Cache is "[cache]" {
        /// Memory for stored responses, heads and keys included.
        memory: Size = mib(256), mib(1)..=Size(1 << 40);
        /// Larger responses are not kept in memory, and without `disk` passed through without being
        /// stored. At most `memory`; the default is less where `memory` is.
        max_object: Size = mib(8), kib(1)..=mib(1024);
        /// How long a request waits for another that fetches the same response; 0s: not at all.
        lock_timeout: Duration = secs(5), secs(0)..=secs(300);
        /// A second, larger store on disk that survives a restart. None where absent.
        disk: Disk;
        /// Policies by name. `default` is built in: follow the origin's headers, store nothing
        /// without freshness information.
        policies: Named<Policy>;
    }
}

section! {
    /// `disk`
    Disk is "`disk`" {
        /// A folder that belongs to the store alone.
        path: FolderPath, required;
        /// Room for stored responses, heads and keys included. Less is no store, more is on no
        /// machine of one shop.
        size: Size, required, within(mib(1)..=Size(64 << 40));
        /// Larger responses are passed through without being stored. At most a quarter of `size`,
        /// so that one download cannot push out what everybody else reads; the default is less
        /// where that is.
        max_object: Size = mib(1024), kib(1)..=Size(16 << 40);
    }
}

section! {
    /// `[cache.policies.NAME]`
    Policy is "[cache.policies.NAME]" {
        /// Freshness where the origin gives none. Absent: such responses are not stored.
        ttl: Duration, within(secs(1)..=YEAR);
        /// Serve stale for so long while one request refreshes. Where the origin says so too, the
        /// larger counts; `must-revalidate`, `proxy-revalidate`, `no-cache` and `s-maxage` forbid it.
        stale_while_revalidate: Duration = secs(0), secs(0)..=YEAR;
        /// Serve stale for so long while the origin fails. Where the origin says so too, the larger
        /// counts; the same directives forbid it.
        stale_if_error: Duration = secs(0), secs(0)..=YEAR;
        /// Query parameters left out of the cache key and of the request that fills it: names or
        /// `prefix*`.
        ignore_query: List<QueryName>, empty;
        /// A request with one of these cookies is not answered from the store.
        bypass_cookies: List<CookieName>, empty;
        /// Request fields that tell variants of a page apart, such as `accept-language`; up to 16.
        /// Their values become part of the key. Not `host`, `cookie`, `authorization`,
        /// `accept-encoding`, conditions, ranges, and fields about the connection or of proxies.
        key_headers: List<KeyHeader>, empty;
        /// Cookies that tell variants of a page apart, such as `currency`; up to 16, and none of
        /// `bypass_cookies`. Their values become part of the key.
        key_cookies: List<CookieName>, empty;
        /// Put the parameters of the query in order before the key is made, so that `?a=1&b=2` and
        /// `?b=2&a=1` share one response. Not by itself: to some shops the order matters.
        sort_query: bool, or(false);
        /// What becomes of a response that sets a cookie: `"refuse"` does not store it, `"strip"`
        /// stores it without its cookies, `"store"` gives its cookies to everyone.
        set_cookie: SetCookie, or("refuse");
        /// Whether a visitor's `Cache-Control` counts: `"ignore"`, so that nobody can make the edge
        /// ask the shop, or `"honour"`.
        client_cache_control: ClientControl, or("ignore");
        /// Whether `X-Accel-Expires`, which shops behind nginx send, sets the freshness.
        accept_x_accel_expires: bool, or(false);
        /// Whether `Surrogate-Control`, which is for caches of the shop's own and not for browsers,
        /// goes before `Cache-Control`.
        accept_surrogate_control: bool, or(false);
        /// Compress stored text once, as gzip, brotli and zstd, and answer each browser with what
        /// it can read.
        compress: bool, or(true);
    }
}

section! {
    /// `[address_lists.NAME]`
    AddressList is "[address_lists.NAME]" {
        /// Networks (`10.0.0.0/8`) or addresses. Entries, a file, or both.
        entries: List<Network>;
        /// File with an address or a network per line, up to 128 MiB; `#` begins a comment. It is
        /// read anew when it changes; one with a line that is wrong changes nothing.
        file: FilePath;
    }
}

section! {
    /// `[bots]`
    Bots is "[bots]" {
        /// Names of address lists: programs at these addresses, such as search engines, are not of
        /// class `"bot"` where an upstream's `concurrency` cannot take all. None where absent.
        known: List<String>;
    }
}

section! {
    /// `prefix` of a limit
    Prefix is "`prefix`" {
        /// Bits of an IPv4 address that are one client.
        ipv4: u64 = 32, 1..=32;
        /// Bits of an IPv6 address that are one client. 64: what a visitor's provider gives to each
        /// line, so that changing addresses within it is of no use.
        ipv6: u64 = 64, 1..=128;
    }
}

section! {
    /// `[limits.NAME]`
    Limit is "[limits.NAME]" {
        /// What is counted by, one or several together: `"client-ip"`, `"header:NAME"`,
        /// `"cookie:NAME"`, `"param:NAME"` (of the route's path) or `"host"`. The client's address
        /// counts in the place of a part that a request does not have.
        key: OneOrMany<LimitKey>, or(vec!["client-ip"]);
        /// How much of an address is one client.
        prefix: Prefix, empty;
        /// Requests per second, minute or hour: `"50/s"`, `"600/m"`, `"10/h"`.
        rate: Rate, required;
        /// Requests that may come at once. The rate's number where absent.
        burst: u64, within(1..=1_000_000), computed(1);
        /// `"all"` requests, or `"origin"`: those that the store does not answer.
        count: LimitCount, or("all");
        /// What becomes of requests beyond the rate: `"reject"`: they are refused, `"delay"`: they
        /// are held back until their turn comes, or `"log"`: they go on, and are noted.
        action: ActionName, or("reject");
        /// With `"delay"`: who would have to wait longer is refused. 1s: visitors hardly notice it,
        /// and a script that asks one by one is slowed down to the rate.
        max_delay: Duration, within(millis(1)..=secs(60)), or("1s");
        /// Status of a refusal: 429 tells a client that it asks too often, 503 that the shop has no
        /// room for it.
        status: u64 = 429, 400..=599, only([429, 503]);
        /// Names of address lists; whoever is on one of them is not counted.
        exempt: List<String>, empty;
        /// Clients tracked at once; further ones take the place of the least recent. 100,000: every
        /// visitor of a sale, in some 4 MB.
        max_keys: u64 = 100_000, 1..=10_000_000;
    }
}

section! {
    /// `[[routes]]`
    Route is "[[routes]]" {
        /// For metrics and logs. `host` and `path` joined where absent.
        name: String;
        /// `shop.example`, or `*.shop.example` for any name below it; lower case, without port. One,
        /// or a list. Any host where absent.
        host: OneOrMany<HostPattern>;
        /// `/cart` is this path only. `/products/*` is every path that starts with `/products/`,
        /// so `/products/` too, but not `/products`. `/products/:id/reviews` takes any one
        /// non-empty segment for `:id`.
        path: PathPattern, or("/*");
        /// In the place of `path`: a regular expression that matches the path, somewhere in it unless
        /// `^` and `$` say otherwise. The path is normalised: what is percent-encoded in it stays so.
        /// Tried in the order of the file, after patterns of whole paths and before those that end in
        /// `*`.
        path_regex: PathRegex;
        /// With a `path` that ends in `*`: it goes before every `path_regex`.
        before_regex: bool, or(false);
        /// Methods that it takes, GET with HEAD; others get `405`, unless another route has the same
        /// host and path for them. Any where absent.
        methods: List<MethodName>;
        /// Name of an upstream. One is needed unless there is `files`, `redirect` or `respond`.
        upstream: String;
        /// Answer with the files of a folder. `docs/files.md` tells more.
        files: Files;
        /// Send visitors elsewhere.
        redirect: Redirect;
        /// Answer everybody alike.
        respond: Respond;
        /// The target that the upstream is asked for in the place of the visitor's, such as
        /// `"/internal{path}"`, or a table with `pattern` and `to`. The query goes along unless one is
        /// written. What is stored is found, and purged, by what visitors ask for.
        rewrite: RewriteEntry;
        /// Leave this out at the beginning of the path that the upstream is asked for: `"/api"`.
        strip_prefix: RequestPath;
        /// `Host` that the upstream gets: `"visitor"`: what the visitor asked for, `"upstream"`: what its
        /// servers are called, or a name.
        upstream_host: UpstreamHost, or("visitor");
        /// Changes of the fields that the upstream gets.
        request_headers: RequestHeaders;
        /// Changes of the fields that visitors get, after those of `[server]`. One table, or a list.
        response_headers: OneOrMany<ResponseHeaders>;
        /// Name of a cache policy. Absent: nothing is stored or served from the store.
        cache: String;
        /// Names of limits; a request must pass all of them.
        limits: List<String>, empty;
        /// Names of address lists; whoever is on none of them gets `403`. Everyone may come where
        /// absent.
        allow: List<String>;
        /// Names of address lists; whoever is on one of them gets `403`, also if `allow` names it.
        deny: List<String>, empty;
        /// What its requests matter where an upstream's `concurrency` cannot take all: `"checkout"`,
        /// `"cart"`, `"browse"` or `"bot"`, the last of which is shed first. Programs are `"bot"` on
        /// routes that are `"browse"`.
        class: Class, or("browse");
        /// Largest request body; `413` beyond it. 1 MiB: a form, not an upload.
        max_body: Size = mib(1), Size(0)..=Size(1 << 40);
        /// Time limits that differ from the upstream's.
        timeouts: RouteTimeouts;
        /// Name of a waiting room. Absent: nobody waits.
        waiting_room: String;
        /// `Strict-Transport-Security` of its answers over TLS, in the place of the server's.
        hsts: HstsEntry;
    }
}

section! {
    /// `files` of a route
    Files is "`files`" {
        /// Folder to which the whole path is added, as with nginx's `root`: `/static/a.css` is
        /// `root` + `/static/a.css`. It, or `alias`.
        root: FolderPath;
        /// Folder in the place of the route's `path`, as with nginx's `alias`: below `path = "/static/*"`,
        /// `/static/a.css` is `alias` + `/a.css`. Where the path is a whole one, the file.
        alias: FolderPath;
        /// Files that answer for their folder, the first that is there. `[]`: folders are nothing.
        index: OneOrMany<FileName>, or(vec!["index.html"]);
        /// What answers where there is no file: `"404"`, `"upstream"`: the `upstream` of this route, or a file
        /// such as `"/index.html"`, with 200.
        fallback: FallbackName, or("404");
        /// How long browsers keep files: `Cache-Control`. With 0s they ask each time. Absent: it is left to them.
        expires: Duration, within(secs(0)..=secs(10 * 365 * 86_400));
        /// How long the store, where there is a `cache`, takes a file for unchanged.
        recheck: Duration = secs(1), secs(1)..=HOUR;
        /// Forms that may lie beside the files: `"br"` for `a.css.br`, `"zstd"` for `.zst`, `"gzip"` for
        /// `.gz`. Of those that a visitor likes equally the first is sent.
        precompressed: List<CodingName>, empty;
        /// Names that begin with a dot are served as well. `/.well-known/` always is.
        hidden: bool, or(false);
        /// Links that are followed: `"none"`, `"within"`: relative ones that stay in the folder, or `"all"`.
        symlinks: SymlinksName, or("within");
        /// What texts are written in; `"none"`: nothing is said.
        charset: CharsetName, or("utf-8");
        /// Types by the ends of names, over those that are known: `{ foo = "text/x-foo" }`.
        types: TypeTable, empty;
        /// Of files whose names say nothing.
        default_type: TypeName, or("application/octet-stream");
    }
}

section! {
    /// `redirect` of a route
    Redirect is "`redirect`" {
        /// A path such as `"/new{rest}"`, or a URL such as `"https://www.shop.example{path}{?query}"`.
        to: String, required;
        /// 302: browsers keep a 301 for good, also a wrong one. 303 makes them ask with GET; 307 and
        /// 308 keep the method.
        status: u64 = 302, 300..=399, only([301, 302, 303, 307, 308]);
    }
}

section! {
    /// `respond` of a route
    Respond is "`respond`" {
        /// Status of the answer.
        status: u64 = 200, 200..=599;
        /// Content, up to 64 KiB. Absent: none, or the page of a status from 400 on.
        body: String;
        /// File with the content, up to 1 MiB; read at start and with every reload.
        body_file: FilePath;
        /// Type of the content. Absent: what the name of the file says, or plain text.
        content_type: String;
    }
}

section! {
    /// `rewrite` of a route, written as a table
    Rewrite is "`rewrite`" {
        /// Regular expression; a path that it does not match stays as it is.
        pattern: PathRegex, required;
        /// The target, which may name the groups of `pattern`: `{1}`, or `{name}` for `(?<name>…)`.
        to: String, required;
    }
}

section! {
    /// `request_headers` of a route
    RequestHeaders is "`request_headers`" {
        /// Fields and their values, in the place of what a visitor sends. A value may have
        /// placeholders, such as `{client_ip}`.
        set: FieldTable;
        /// The same, beside what a visitor sends.
        add: FieldTable;
        /// Fields of visitors that do not go along.
        remove: List<FieldName>;
    }
}

section! {
    /// `response_headers` of a route or of `[server]`
    ResponseHeaders is "`response_headers`" {
        /// Fields and their values, in the place of what the shop says.
        set: FieldTable;
        /// The same, beside what the shop says.
        add: FieldTable;
        /// Fields that do not go along.
        remove: List<FieldName>;
        /// `"always"`, or `"success"`: answers with status 200, 201, 204, 206, 301, 302, 303, 304, 307
        /// or 308.
        on: On, or("always");
    }
}

section! {
    /// `[waiting_rooms.NAME]`
    WaitingRoom is "[waiting_rooms.NAME]" {
        /// Visitors inside at once; further ones wait. More than a million are in no shop at once,
        /// and each takes some 50 bytes.
        capacity: u64, required, within(1..=1_000_000);
        /// Most admissions per second, minute or hour: `"50/s"`. Absent: as places become free.
        rate: Rate;
        /// Who is quiet for so long has left. 5m: longer than people read a page.
        stay: Duration = secs(300), secs(5)..=secs(86_400);
        /// An answer of the shop that sets one of these cookies gives its visitor a cart: a pass that
        /// lasts for `cart_stay` and is never refused a place.
        cart_cookies: List<CookieName>, empty;
        /// Who has a cart and is quiet for so long has left. At least `stay`.
        cart_stay: Duration = secs(1_800), secs(5)..=secs(86_400);
        /// Who waits: `"all"`, or `"origin"`: what the store answers is shown to everybody, and
        /// only who needs the shop itself waits.
        covers: Covers, or("all");
        /// When the sale begins: a date and time with its offset. Absent: the room is always open.
        opens: Moment;
        /// The pre-queue begins so long before `opens`. Who comes in it gets a place by lot, before all
        /// who come later; nobody is let in before `opens`.
        early: Duration = secs(1_800), secs(0)..=HOUR;
        /// How long a place in the queue is kept.
        ticket_life: Duration = secs(6 * 3_600), secs(60)..=secs(7 * 3_600);
        /// Keys of the tickets: the first signs, all verify. Up to 8. Absent: a key of this process,
        /// so that a restart sends everyone to the end of the queue.
        keys: List<RoomKey>;
        /// HTML file in the place of the page that is built in; see `docs/waiting-room.md`.
        template: FilePath;
    }
}

section! {
    /// One of `keys` of a waiting room
    RoomKey is "a key of a waiting room" {
        /// A name that stays with the key.
        id: String, required;
        /// File with the secret: 32 to 4,096 bytes, such as `openssl rand -hex 32` writes.
        file: FilePath, required;
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

/// A server of an upstream: its address alone, or a table.
#[derive(Debug)]
pub(super) struct BackendEntry(pub(super) Backend);

impl Read for BackendEntry {
    fn wanted() -> String {
        format!("{}, or a table with it", ServerAddress::WANTED)
    }

    fn shape() -> Shape {
        Shape::Short(
            Short::Key("address"),
            vec![ServerAddress::shape(), Backend::shape()],
        )
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        if let DeValue::Table(_) = value.get_ref() {
            return Backend::read(value, cx).map(Self);
        }
        let address = Field::read(Some(value), cx);
        address.given()?;
        Some(Self(Backend {
            address,
            ..Backend::empty(cx)
        }))
    }
}

/// `tls` of an upstream: yes, no, or how.
#[derive(Debug)]
pub(super) enum TlsEntry {
    No,
    Yes(Box<UpstreamTls>),
}

impl Read for TlsEntry {
    fn wanted() -> String {
        "`true`, `false`, or a table".to_owned()
    }

    fn shape() -> Shape {
        Shape::Short(Short::Switch, vec![bool::shape(), UpstreamTls::shape()])
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        if let DeValue::Table(_) = value.get_ref() {
            return UpstreamTls::read(value, cx).map(Box::new).map(Self::Yes);
        }
        Some(match bool::read(value, cx)? {
            true => Self::Yes(Box::new(UpstreamTls::empty(cx))),
            false => Self::No,
        })
    }
}

/// `hsts`: for how long, a table, or none.
#[derive(Debug)]
pub(super) enum HstsEntry {
    No,
    Yes(Hsts),
}

impl Read for HstsEntry {
    fn wanted() -> String {
        "a duration such as \"365d\", `false`, or a table".to_owned()
    }

    fn shape() -> Shape {
        Shape::Either(vec![Duration::shape(), bool::shape(), Hsts::shape()])
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(_) => Hsts::read(value, cx).map(Self::Yes),
            DeValue::Boolean(false) => Some(Self::No),
            DeValue::Boolean(true) => Some(Self::Yes(Hsts::empty(cx))),
            DeValue::String(_) => {
                let given = Duration::read(value, cx)?;
                let most = secs(10 * 365 * 86_400);
                if given > most {
                    cx.error(value.span(), "`hsts` may last ten years at most");
                    return None;
                }
                let mut hsts = Hsts::empty(cx);
                hsts.max_age.value = given;
                hsts.max_age.span = Some(value.span());
                Some(Self::Yes(hsts))
            }
            _ => {
                cx.wrong_type(value, &Self::wanted());
                None
            }
        }
    }
}

/// `sandbox` of `[server]`: all of it, nothing, or what.
#[derive(Debug)]
pub(super) enum SandboxEntry {
    No,
    Yes(Sandbox),
}

impl Read for SandboxEntry {
    fn wanted() -> String {
        "`true`, `false`, or a table".to_owned()
    }

    fn shape() -> Shape {
        Shape::Either(vec![OnOff::shape(), bool::shape(), Sandbox::shape()])
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let is_on = match value.get_ref() {
            DeValue::Table(_) => return Sandbox::read(value, cx).map(Self::Yes),
            DeValue::Boolean(is_on) => *is_on,
            DeValue::String(_) => OnOff::read(value, cx)? == OnOff::On,
            _ => {
                cx.wrong_type(value, &Self::wanted());
                return None;
            }
        };
        Some(match is_on {
            true => Self::Yes(Sandbox::empty(cx)),
            false => Self::No,
        })
    }
}

/// `concurrency` of an upstream: yes, no, or how.
#[derive(Debug)]
pub(super) enum ConcurrencyEntry {
    No,
    Yes(Concurrency),
}

impl Read for ConcurrencyEntry {
    fn wanted() -> String {
        "`true`, `false`, or a table".to_owned()
    }

    fn shape() -> Shape {
        Shape::Short(Short::Switch, vec![bool::shape(), Concurrency::shape()])
    }

    fn read(value: &Value<'_>, cx: &mut Context<'_>) -> Option<Self> {
        if let DeValue::Table(_) = value.get_ref() {
            return Concurrency::read(value, cx).map(Self::Yes);
        }
        Some(match bool::read(value, cx)? {
            true => Self::Yes(Concurrency::empty(cx)),
            false => Self::No,
        })
    }
}

impl File {
    /// `[cache.policies]`, where there is a `[cache]`.
    pub(super) fn policies(&self) -> Option<&Field<Named<Policy>>> {
        self.cache.value().map(|cache| &cache.policies)
    }
}
