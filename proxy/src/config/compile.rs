//! From the file to the configuration; the sections without references to others are compiled here.

use std::{ops::Range, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Surroundings, acme, cache,
    context::{Context, Value},
    diagnostic::{Complaint, Diagnostic, Severity, Source, shown, suggest},
    file::{self, File},
    limits, listeners,
    model::{AccessLog, Admin, AdminAddress, Config, Listener, LogFormat, LogTarget, Server},
    read::{Field, Read},
    routes,
    scalar::{AdminEndpoint, LogPath, SOCKET_PATH_MAX},
    upstreams, visitors, waiting_rooms,
};

/// The configuration, unless there is an error, and all diagnostics by position.
pub(super) fn compile(
    name: &str,
    text: &str,
    outside: &Surroundings<'_>,
) -> (Option<Config>, Vec<Diagnostic>) {
    let mut cx = Context {
        outside,
        source: Arc::new(Source::new(name, text)),
        diagnostics: Vec::new(),
    };
    let config = document(text, &mut cx).map(|file| config(&file, &mut cx));
    let mut diagnostics = cx.diagnostics;
    diagnostics.sort_by_key(|d| d.span.start);
    let failed = diagnostics.iter().any(|d| d.severity == Severity::Error);
    (config.filter(|_| !failed), diagnostics)
}

/// The file as it is written, unless it is no TOML.
fn document(text: &str, cx: &mut Context<'_>) -> Option<File> {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let mut complaint = Complaint::new(error.message());
        let word = cx.source.slice(span.clone()).trim();
        if error.message().starts_with("string values must be quoted") && !word.is_empty() {
            complaint = Complaint::new("a string needs quotes").help(format!("write \"{word}\""));
        }
        cx.error(span, complaint);
    }
    match errors.is_empty() {
        true => File::read(
            &Value::new(root.span(), DeValue::Table(root.into_inner())),
            cx,
        ),
        false => None,
    }
}

fn config(file: &File, cx: &mut Context<'_>) -> Config {
    let certificates = listeners::certificates(file, cx);
    let listeners = listeners::listeners(file, cx);
    let upstreams = upstreams::upstreams(&file.upstreams, cx);
    Config {
        server: server(file, cx),
        admin: file
            .admin
            .given()
            .map(|admin| self::admin(admin, &listeners, cx)),
        listeners,
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
        pid_file: server.pid_file.value().map(|path| cx.path(path)),
        header_timeout: server.header_timeout.value,
        body_timeout: server.body_timeout.value,
        keepalive_timeout: server.keepalive_timeout.value,
        handshake_timeout: server.handshake_timeout.value,
        max_connections: server.max_connections.value as usize,
        max_target_bytes: target.value.0 as usize,
        max_header_bytes: header.value.0 as usize,
        trusted_proxies,
        visitors: visitors::visitors(server, cx),
        resolvers: server
            .resolvers
            .items()
            .iter()
            .map(|address| *address.get_ref())
            .collect(),
        deny: limits::lists(&server.deny, file, cx),
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

fn access_log(log: &file::AccessLog, cx: &Context<'_>) -> AccessLog {
    AccessLog {
        target: match log.path.value() {
            Some(LogPath::File(path)) => LogTarget::File(cx.path(path)),
            Some(LogPath::Stdout) | None => LogTarget::Stdout,
        },
        format: log.format.value().copied().unwrap_or(LogFormat::Json),
    }
}
