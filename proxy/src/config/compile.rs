//! From the file to the configuration; the sections without references to others are compiled here.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use toml::Spanned;

use super::{
    Surroundings, acme, cache,
    context::Context,
    dangers,
    diagnostic::{Complaint, Diagnostic, Severity, Source, shown, suggest},
    effective::Effective,
    file::{self, File},
    hardening, headers, hsts, include, inspect, limits, listeners,
    masking::Secrets,
    model::{
        AccessLog, Admin, AdminAddress, Config, Listener, LogFormat, LogTarget, Reload, Server,
    },
    paths,
    read::{Field, Read},
    routes,
    scalar::{AdminEndpoint, LogPath, SOCKET_PATH_MAX},
    upstreams, visitors, waiting_rooms,
};

/// What a text comes to.
pub(super) struct Compiled {
    /// Nothing where there is an error.
    pub(super) config: Option<Config>,
    /// Where the running edge is asked, also where there are errors elsewhere.
    pub(super) admin: Option<Admin>,
    /// By position.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// The files that were included.
    pub(super) files: Vec<PathBuf>,
    /// The folders in which they were looked for.
    pub(super) folders: Vec<PathBuf>,
    /// What is not to be repeated from the environment.
    pub(super) secrets: Secrets,
    /// All that was read, for operators who ask what it was.
    pub(super) text: Arc<str>,
}

/// The configuration of a text and what it includes; with `is_thorough` the files that it names are looked at too.
pub(super) fn compile(
    name: &str,
    text: &str,
    outside: &Surroundings<'_>,
    is_thorough: bool,
) -> Compiled {
    let mut cx = Context {
        outside,
        source: Arc::new(Source::new(name, outside.folder, text)),
        diagnostics: Vec::new(),
    };
    let main = outside
        .folder
        .join(Path::new(name).file_name().unwrap_or_default());
    let included = include::gather(text, &main, &mut cx);
    let (root, is_whole) = include::joined(text, &included, &File::describe().keys, &mut cx);
    let file = File::read(&root, &mut cx);
    let admin = file
        .as_ref()
        .and_then(|file| admin_by_itself(file, &mut cx));
    // Beside a file that is no TOML the others are told what is wrong within them, and no more: what they refer
    // to may stand where it cannot be read.
    let file = file.filter(|_| is_whole);
    let mut config = file.as_ref().map(|file| config(file, &mut cx));
    if let Some(file) = &file {
        dangers::dangers(file, config.as_ref(), &mut cx);
        if is_thorough {
            inspect::inspect(file, config.as_ref(), SystemTime::now(), &mut cx);
        }
    }
    let failed = cx.diagnostics.iter().any(|d| d.severity == Severity::Error);
    config = config.filter(|_| !failed);
    if let Some(config) = &mut config {
        config.effective = Effective::of(&root, config, &cx);
    }
    let mut diagnostics = cx.diagnostics;
    diagnostics.sort_by_key(|d| d.span.start);
    Compiled {
        config,
        admin,
        diagnostics,
        files: included.paths().map(Path::to_owned).collect(),
        folders: included.folders.clone(),
        secrets: cx.source.secrets.clone(),
        text: included.together(name, text),
    }
}

/// The `[admin]` section, whatever else is wrong; its own mistakes are told when all is compiled.
fn admin_by_itself(file: &File, cx: &mut Context<'_>) -> Option<Admin> {
    let said = cx.diagnostics.len();
    let admin = file.admin.given().map(|given| admin(given, &[], cx));
    cx.diagnostics.truncate(said);
    admin.filter(|admin| !admin.addresses.is_empty())
}

fn config(file: &File, cx: &mut Context<'_>) -> Config {
    let certificates = listeners::certificates(file, cx);
    let listeners = listeners::listeners(file, cx);
    let upstreams = upstreams::upstreams(&file.upstreams, cx);
    paths::never(file, cx);
    Config {
        server: server(file, cx),
        admin: file
            .admin
            .given()
            .map(|admin| self::admin(admin, &listeners, cx)),
        listeners,
        hosts: listeners::hosts(file, cx),
        certificates,
        acme: acme::acme(file, cx),
        cache: cache::cache(file.cache.value(), cx),
        policies: cache::policies(file, cx),
        address_lists: limits::address_lists(&file.address_lists, cx),
        limits: limits::limits(file, cx),
        known_bots: limits::known_bots(file, cx),
        waiting_rooms: waiting_rooms::waiting_rooms(&file.waiting_rooms, cx),
        routes: routes::routes(file, &upstreams, cx),
        upstreams,
        access_log: file.access_log.value().map(|log| access_log(log, cx)),
        effective: Effective::default(),
        reload: reload(file, cx),
    }
}

/// Looks a name up among the tables of a section; reports an unknown one.
pub(super) fn index_of<T>(
    name: &Spanned<String>,
    kind: &str,
    known: &Field<T>,
    names: &[&str],
    cx: &mut Context<'_>,
) -> Option<usize> {
    let found = names.iter().position(|known| known == name.get_ref());
    if found.is_none() && !matches!(known, Field::Wrong) {
        let complaint = Complaint::new(format!("there is no {kind} {}", shown(name.get_ref())));
        cx.error(
            name.span(),
            match names {
                [] => complaint.help(format!("this file defines no {kind}")),
                _ => complaint.help(suggest(name.get_ref(), names.iter().copied())),
            },
        );
    }
    found
}

fn server(file: &File, cx: &mut Context<'_>) -> Server {
    let empty = file::Server::empty(cx);
    let server = file.server.value().unwrap_or(&empty);
    let (target, header) = (&server.max_target_bytes, &server.max_header_bytes);
    if let (true, Some(span)) = (
        target.value > header.value,
        target.span.as_ref().or(header.span.as_ref()),
    ) {
        cx.error(
            span.clone(),
            "`max_target_bytes` is larger than `max_header_bytes`, which includes the target",
        );
    }
    let mut trusted_proxies = Vec::new();
    for network in server.trusted_proxies.items() {
        let written = network.get_ref().0;
        if written.prefix_len() == 0 {
            cx.warning(
                network.span(),
                Complaint::new("every client may choose the address that limits and logs see")
                    .help("name the networks of your own load balancers only"),
            );
        } else if written != written.trunc() {
            cx.warning(
                network.span(),
                format!("this means all of {}", written.trunc()),
            );
        }
        trusted_proxies.push(written.trunc());
    }
    Server {
        threads: server.threads.value as usize,
        shutdown_grace: server.shutdown_grace.value,
        upgrade_timeout: server.upgrade_timeout.value,
        upgrade_grace: server.upgrade_grace.value,
        upgrade_handover: server.upgrade_handover.value.0,
        pid_file: server.pid_file.value().map(|path| cx.path(path)),
        header_timeout: server.header_timeout.value,
        body_timeout: server.body_timeout.value,
        keepalive_timeout: server.keepalive_timeout.value,
        handshake_timeout: server.handshake_timeout.value,
        max_connections: server.max_connections.value as usize,
        max_target_bytes: target.value.0 as usize,
        max_header_bytes: header.value.0 as usize,
        encoded_slashes: server.encoded_slashes.value().copied().unwrap_or_default(),
        trusted_proxies,
        watch_config: server.watch_config.value().copied().unwrap_or(false),
        visitors: visitors::visitors(server, cx),
        resolvers: server
            .resolvers
            .items()
            .iter()
            .map(|address| *address.get_ref())
            .collect(),
        deny: limits::lists(&server.deny, file, cx),
        hsts: hsts::of_server(file, cx),
        hardening: hardening::hardening(server, cx),
        response_headers: headers::response_headers(&server.response_headers, cx),
        error_pages: server
            .error_pages
            .value()
            .map_or(&[][..], |pages| &pages.0)
            .iter()
            .map(|(status, file)| (*status, cx.path(file.get_ref())))
            .collect(),
    }
}

fn admin(section: &Spanned<file::Admin>, listeners: &[Listener], cx: &mut Context<'_>) -> Admin {
    let admin = section.get_ref();
    let given = admin.address.require("address", section.span(), cx);
    let mut addresses: Vec<AdminAddress> = Vec::new();
    if let Some(list) = given.filter(|list| list.get_ref().0.written == 0) {
        cx.error(list.span(), "expected at least one address");
    }
    for endpoint in given.map_or(&[][..], |list| &list.get_ref().0.items) {
        let address = match endpoint.get_ref() {
            AdminEndpoint::Tcp(address) => AdminAddress::Tcp(*address),
            AdminEndpoint::Unix(path) => AdminAddress::Unix(cx.path(path)),
        };
        admin_address(&address, endpoint.span(), listeners, cx);
        if addresses.contains(&address)
            && !matches!(&address, AdminAddress::Tcp(tcp) if tcp.port() == 0)
        {
            cx.error(endpoint.span(), "this address is listed twice");
        }
        addresses.push(address);
    }
    let any_tcp = addresses
        .iter()
        .any(|address| matches!(address, AdminAddress::Tcp(_)));
    if let (Some(token), false) = (admin.token_file.given(), any_tcp || addresses.is_empty()) {
        cx.warning(
            token.span(),
            "`token_file` does nothing: no address is TCP, and a socket asks for no token",
        );
    }
    Admin {
        addresses,
        token_file: admin.token_file.value().map(|path| cx.path(path)),
        mode: hardening::socket_mode(admin, cx),
        group: admin.group.value().cloned(),
    }
}

fn admin_address(
    address: &AdminAddress,
    span: Range<usize>,
    listeners: &[Listener],
    cx: &mut Context<'_>,
) {
    match address {
        AdminAddress::Tcp(tcp) => {
            if tcp.port() != 0 && listeners.iter().any(|listener| listener.address == *tcp) {
                cx.error(span, format!("{tcp} is the address of a listener"));
            } else if !tcp.ip().is_loopback() {
                cx.warning(
                    span,
                    Complaint::new("everyone who reaches this address can read the state of the edge")
                        .help("listen on 127.0.0.1 or a Unix socket, or keep strangers out with a firewall"),
                );
            }
        }
        AdminAddress::Unix(path) => {
            if path.as_os_str().len() > SOCKET_PATH_MAX {
                cx.error(
                    span,
                    format!("the path of a socket has at most {SOCKET_PATH_MAX} bytes"),
                );
            }
        }
    }
}

fn reload(file: &File, cx: &mut Context<'_>) -> Reload {
    let empty = file::Reload::empty(cx);
    let reload = file.reload.value().unwrap_or(&empty);
    let bounds = [
        &reload.max_5xx_percent.span,
        &reload.max_p99_factor.span,
        &reload.min_requests.span,
    ];
    if let (true, Some(span)) = (
        reload.probation.value.is_zero() && !matches!(file.reload, Field::Wrong),
        bounds.into_iter().flatten().next(),
    ) {
        cx.warning(
            span.clone(),
            Complaint::new("this does nothing without `probation`")
                .help("add `probation = \"30s\"`, or remove it"),
        );
    }
    Reload {
        probation: reload.probation.value,
        max_5xx_percent: reload.max_5xx_percent.value,
        max_p99_factor: reload.max_p99_factor.value,
        min_requests: reload.min_requests.value,
    }
}

fn access_log(log: &file::AccessLog, cx: &Context<'_>) -> AccessLog {
    AccessLog {
        target: match log.path.value() {
            Some(LogPath::File(path)) => LogTarget::File(cx.path(path)),
            Some(LogPath::Stdout) | None => LogTarget::Stdout,
        },
        format: log.format.value().copied().unwrap_or(LogFormat::Json),
    }
}
