//! `[upstreams.NAME]`.

use std::{collections::HashMap, num::NonZeroU32, ops::Range, time::Duration};

use toml::Spanned;

use super::{
    concurrency,
    context::Context,
    diagnostic::Complaint,
    file::{self, TlsEntry},
    model::{
        Backend, BackendAddress, Balance, Certificate, CheckKind, Connections, Eject, HashKey,
        HealthCheck, Retry, StatusRange, Timeouts, Upstream, UpstreamTls,
    },
    read::{Field, Named},
    scalar::ServerAddress,
};

pub(super) fn upstreams(
    given: &Field<Named<file::Upstream>>,
    cx: &mut Context<'_>,
) -> Vec<Upstream> {
    let mut upstreams = Vec::new();
    for (name, section) in given.entries() {
        let Some(section) = section.given() else {
            continue;
        };
        upstreams.push(upstream(name.get_ref(), section, cx));
    }
    upstreams
}

fn upstream(name: &str, section: &Spanned<file::Upstream>, cx: &mut Context<'_>) -> Upstream {
    let upstream = section.get_ref();
    let tls = tls(&upstream.tls, cx);
    let health_check = upstream
        .health_check
        .given()
        .and_then(|check| health_check(check, tls.is_some(), cx));
    let balance = upstream.balance.value().copied();
    let balance = balance.unwrap_or(Balance::LeastRequests);
    if let Some(key) = upstream.hash_key.given()
        && balance != Balance::ConsistentHash
    {
        cx.warning(
            key.span(),
            Complaint::new("`hash_key` does nothing: this upstream does not balance by hash")
                .help("write `balance = \"consistent-hash\"`"),
        );
    }
    if let (Some(window), None) = (upstream.shop_window.given(), &health_check)
        && matches!(upstream.health_check, Field::Absent)
    {
        cx.warning(
            window.span(),
            Complaint::new("without checks a shop that hangs is noticed by time limits only")
                .help("add `health_check = { path = \"/healthz\" }`, or whatever path tells that the shop is well"),
        );
    }
    Upstream {
        name: name.to_owned(),
        servers: servers(section, cx),
        balance,
        hash_key: upstream
            .hash_key
            .value()
            .cloned()
            .unwrap_or(HashKey::Target),
        slow_start: upstream.slow_start.value,
        protocol: upstream.protocol.value().copied().unwrap_or_default(),
        connections: connections(upstream.connections.value(), cx),
        health_check,
        eject: upstream.eject.given().map(|eject| self::eject(eject, cx)),
        concurrency: concurrency::concurrency(&upstream.concurrency, cx),
        retry: retry(upstream.retry.value(), cx),
        timeouts: timeouts(upstream.timeouts.value(), cx),
        shop_window: upstream.shop_window.value().copied(),
        tls,
    }
}

fn tls(given: &Field<TlsEntry>, cx: &mut Context<'_>) -> Option<UpstreamTls> {
    let given = given.given()?;
    let TlsEntry::Yes(tls) = given.get_ref() else {
        return None;
    };
    let identity = match (tls.cert.given(), tls.key.given()) {
        (Some(cert), Some(key)) => Some(Certificate {
            cert: cx.path(cert.get_ref()),
            key: cx.path(key.get_ref()),
        }),
        (Some(one), None) | (None, Some(one)) => {
            cx.error(one.span(), "`cert` and `key` belong together");
            None
        }
        (None, None) => None,
    };
    let verify = tls.verify.value().copied().unwrap_or(true);
    if let (false, Some(span)) = (verify, tls.verify.given().map(Spanned::span)) {
        cx.warning(
            span,
            Complaint::new("whoever stands between can read and change everything")
                .help("name the authority of the servers with `ca` instead"),
        );
    }
    Some(UpstreamTls {
        ca: tls.ca.value().map(|path| cx.path(path)),
        identity,
        name: tls.name.value().map(|name| name.0.clone()),
        verify,
    })
}

fn connections(given: Option<&file::Connections>, cx: &mut Context<'_>) -> Connections {
    let empty = file::Connections::empty(cx);
    let connections = given.unwrap_or(&empty);
    if connections.max.value == 0 {
        for (key, span) in [
            ("queue", &connections.queue.span),
            ("queue_timeout", &connections.queue_timeout.span),
        ] {
            if let Some(span) = span {
                cx.warning(
                    span.clone(),
                    Complaint::new(format!(
                        "`{key}` does nothing: no request waits for a connection"
                    ))
                    .help("say with `max` how many connections a server may have"),
                );
            }
        }
    }
    Connections {
        max: Some(connections.max.value as usize).filter(|max| *max > 0),
        queue: connections.queue.value as usize,
        queue_timeout: connections.queue_timeout.value,
        lifetime: connections.lifetime.value,
    }
}

fn servers(section: &Spanned<file::Upstream>, cx: &mut Context<'_>) -> Vec<Backend> {
    let Some(list) = section
        .get_ref()
        .servers
        .require("servers", section.span(), cx)
    else {
        return Vec::new();
    };
    if list.get_ref().written == 0 {
        cx.error(list.span(), "an upstream needs at least one server");
    }
    let mut seen = HashMap::new();
    let mut servers = Vec::new();
    for entry in &list.get_ref().items {
        let server = &entry.get_ref().0;
        let Some(address) = server.address.require("address", entry.span(), cx) else {
            continue;
        };
        let Some(place) = place(address, &mut seen, cx) else {
            continue;
        };
        servers.push(Backend {
            name: address.get_ref().0.clone(),
            address: place,
            weight: weight(server.weight.value),
            backup: server.backup.value().copied().unwrap_or(false),
            drain: server.drain.value().copied().unwrap_or(false),
        });
    }
    if !servers.is_empty() && servers.iter().all(|server| server.backup) {
        cx.warning(
            list.span(),
            "every server is a backup, so none is used first",
        );
    }
    if !servers.is_empty() && servers.iter().all(|server| server.drain) {
        cx.warning(list.span(), "every server is draining, so none is used");
    }
    servers
}

/// Where a server is, unless another of the same upstream is there.
fn place(
    address: &Spanned<ServerAddress>,
    seen: &mut HashMap<String, Range<usize>>,
    cx: &mut Context<'_>,
) -> Option<BackendAddress> {
    let text = &address.get_ref().0;
    let place = match text.parse() {
        Ok(address) => BackendAddress::Address(address),
        Err(_) => {
            let (host, port) = text.rsplit_once(':')?;
            BackendAddress::Name {
                host: host.trim_end_matches('.').to_ascii_lowercase(),
                port: port.parse().ok()?,
            }
        }
    };
    let spelled = match &place {
        BackendAddress::Address(address) => address.to_string(),
        BackendAddress::Name { host, port } => format!("{host}:{port}"),
    };
    if let Some(first) = seen.get(&spelled) {
        cx.error(
            address.span(),
            Complaint::new(format!(
                "{spelled} is a server of this upstream already, {}",
                cx.line(first)
            ))
            .help("give one of them a `weight` instead"),
        );
        return None;
    }
    seen.insert(spelled, address.span());
    Some(place)
}

fn weight(value: u64) -> NonZeroU32 {
    // The bounds of the key are 1 to 1000.
    u32::try_from(value)
        .ok()
        .and_then(NonZeroU32::new)
        .unwrap_or(NonZeroU32::MIN)
}

/// Bounds of the keys below keep these counts far under `u32::MAX`.
fn count(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The bounds of a percentage are 0 to 100.
fn percent(value: u64) -> u8 {
    u8::try_from(value).unwrap_or(100)
}

fn health_check(
    section: &Spanned<file::HealthCheck>,
    over_tls: bool,
    cx: &mut Context<'_>,
) -> Option<HealthCheck> {
    let check = section.get_ref();
    let kind = check.protocol.value().copied();
    let kind = kind.unwrap_or(if over_tls {
        CheckKind::Https
    } else {
        CheckKind::Http
    });
    let path = match kind {
        CheckKind::Tcp => {
            let fields = [
                ("path", check.path.given().map(Spanned::span)),
                ("host", check.host.given().map(Spanned::span)),
                ("status", check.status.given().map(Spanned::span)),
                ("body", check.body.given().map(Spanned::span)),
            ];
            for (key, span) in fields {
                if let Some(span) = span {
                    cx.error(
                        span,
                        format!("`{key}` means nothing to a check that only connects"),
                    );
                }
            }
            String::new()
        }
        CheckKind::Http | CheckKind::Https => {
            let path = check.path.require("path", section.span(), cx)?;
            path.get_ref().0.clone()
        }
    };
    let mut status: Vec<StatusRange> = Vec::new();
    status.extend(check.status.items().iter().map(Spanned::get_ref).copied());
    if status.is_empty() {
        status.push(StatusRange {
            first: 200,
            last: 399,
        });
    }
    Some(HealthCheck {
        kind,
        path,
        host: check.host.value().map(|host| host.0.clone()),
        port: u16::try_from(check.port.value)
            .ok()
            .filter(|port| *port != 0),
        interval: check.interval.value,
        timeout: check.timeout.value,
        healthy: count(check.healthy.value),
        unhealthy: count(check.unhealthy.value),
        status,
        body: check.body.value().cloned(),
    })
}

fn eject(section: &Spanned<file::Eject>, cx: &mut Context<'_>) -> Eject {
    let eject = section.get_ref();
    if let (0, Some(span)) = (eject.max_percent.value, &eject.max_percent.span) {
        cx.warning(
            span.clone(),
            Complaint::new("no server is ever ejected")
                .help("remove `eject`, or let it eject some"),
        );
    }
    if eject.failure_percent.value == 0 {
        for (key, span) in [
            ("min_requests", &eject.min_requests.span),
            ("window", &eject.window.span),
        ] {
            if let Some(span) = span {
                cx.warning(
                    span.clone(),
                    Complaint::new(format!("`{key}` does nothing: no share of failures ejects"))
                        .help("say with `failure_percent` which share does"),
                );
            }
        }
    }
    if let Some(span) = &eject.max_time.span
        && eject.max_time.value < eject.base_time.value
    {
        cx.error(span.clone(), "`max_time` is shorter than `base_time`");
    }
    Eject {
        consecutive_failures: count(eject.consecutive_failures.value),
        failure_percent: percent(eject.failure_percent.value),
        min_requests: count(eject.min_requests.value),
        window: eject.window.value,
        base_time: eject.base_time.value,
        max_time: eject.max_time.value.max(eject.base_time.value),
        max_percent: percent(eject.max_percent.value),
    }
}

fn retry(given: Option<&file::Retry>, cx: &mut Context<'_>) -> Retry {
    let empty = file::Retry::empty(cx);
    let retry = given.unwrap_or(&empty);
    if let (0, Some(span)) = (retry.budget_percent.value, &retry.budget_percent.span)
        && retry.attempts.value > 0
    {
        cx.warning(
            span.clone(),
            Complaint::new("no request is ever tried again")
                .help("write `attempts = 0` to turn retries off"),
        );
    }
    Retry {
        attempts: count(retry.attempts.value),
        budget_percent: percent(retry.budget_percent.value),
        body: usize::try_from(retry.body.value.0).unwrap_or(usize::MAX),
        wait: retry.wait.value,
    }
}

pub(super) fn timeouts(given: Option<&file::Timeouts>, cx: &mut Context<'_>) -> Timeouts {
    let empty = file::Timeouts::empty(cx);
    let timeouts = given.unwrap_or(&empty);
    Timeouts {
        connect: timeouts.connect.value,
        response: timeouts.response.value,
        read: timeouts
            .read
            .value()
            .copied()
            .unwrap_or(timeouts.response.value),
        total: timeouts.total.value,
        tunnel: timeouts.tunnel.value,
        idle: timeouts.idle.value,
    }
}

/// The time limits of a route on an upstream.
pub(super) fn route_timeouts(given: Option<&file::RouteTimeouts>, upstream: &Timeouts) -> Timeouts {
    let Some(own) = given else {
        return upstream.clone();
    };
    let given = |field: &Field<Duration>| field.value().copied();
    let (response, read) = (given(&own.response), given(&own.read));
    // Where the upstream gives no `read`, it follows `response` on the route as well.
    let follows = response.filter(|_| upstream.read == upstream.response);
    Timeouts {
        connect: given(&own.connect).unwrap_or(upstream.connect),
        response: response.unwrap_or(upstream.response),
        read: read.or(follows).unwrap_or(upstream.read),
        total: given(&own.total).unwrap_or(upstream.total),
        tunnel: given(&own.tunnel).unwrap_or(upstream.tunnel),
        idle: upstream.idle,
    }
}
