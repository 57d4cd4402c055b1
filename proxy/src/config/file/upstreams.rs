//! `[upstreams.NAME]`: groups of servers, and how they are asked.

use std::time::Duration;

use toml::de::DeValue;

use super::{CONNECTIONS_MOST, HOUR, YEAR};
use crate::config::{
    context::{Context, Value},
    describe::{Shape, Short},
    model::{Balance, CheckKind, HashKey, StatusRange, UpstreamProtocol},
    pattern::HeaderHost,
    read::{Field, List, Read, Scalar, section},
    scalar::{FilePath, RequestPath, ServerAddress},
    units::{Size, kib, mib, millis, secs},
};

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

/// A server of an upstream: its address alone, or a table.
#[derive(Debug)]
pub(in crate::config) struct BackendEntry(pub(in crate::config) Backend);

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
pub(in crate::config) enum TlsEntry {
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

/// `concurrency` of an upstream: yes, no, or how.
#[derive(Debug)]
pub(in crate::config) enum ConcurrencyEntry {
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
