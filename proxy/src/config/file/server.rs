//! The process: `[server]` and `[admin]`.

use std::{net::SocketAddr, time::Duration};

use toml::de::DeValue;

use super::{CONNECTIONS_MOST, HOUR, HstsEntry, RATE_MOST, ResponseHeaders, WEEK};
use crate::{
    config::{
        actions::ErrorPages,
        context::{Context, Value},
        describe::Shape,
        model::ForwardedField,
        read::{List, OneOrMany, Read, section},
        scalar::{AdminEndpoint, FileMode, FilePath, FolderPath, Network, OnOff},
        units::{ByteRate, Size, kib, mib, millis, secs},
    },
    edge::path::EncodedSlashes,
};

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
        /// What `%2F` and `%5C` in a path are where routes are chosen: `"decode"`: slashes; `"keep"`: letters of
        /// their segment, for APIs with names that have slashes; `"refuse"`: `400`. See `docs/paths.md`.
        encoded_slashes: EncodedSlashes, or("decode");
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
        /// Further folders whose programs `dhal upgrade --binary PATH` may start. That of the running program is one.
        execute: List<FolderPath>, empty;
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

/// `sandbox` of `[server]`: all of it, nothing, or what.
#[derive(Debug)]
pub(in crate::config) enum SandboxEntry {
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
