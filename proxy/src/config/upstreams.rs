//! `[upstreams.NAME]`.

use std::{collections::HashMap, net::SocketAddr, num::NonZeroU32, ops::Range};

use toml::Spanned;

use super::{
    context::Context,
    diagnostic::{Complaint, shown},
    file,
    model::{Backend, Balance, Eject, HealthCheck, Retry, Timeouts, Upstream},
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
    let health_check = upstream
        .health_check
        .given()
        .and_then(|check| health_check(check, cx));
    Upstream {
        name: name.to_owned(),
        servers: servers(section, cx),
        balance: upstream
            .balance
            .value()
            .copied()
            .unwrap_or(Balance::LeastRequests),
        health_check,
        eject: upstream.eject.given().map(|eject| self::eject(eject, cx)),
        retry: retry(upstream.retry.value(), cx),
        timeouts: timeouts(upstream.timeouts.value(), cx),
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
        let Some(resolved) = resolve(address, &mut seen, cx) else {
            continue;
        };
        servers.push(Backend {
            name: address.get_ref().0.clone(),
            address: resolved,
            weight: weight(server.weight.value),
            backup: server.backup.value().copied().unwrap_or(false),
        });
    }
    if !servers.is_empty() && servers.iter().all(|server| server.backup) {
        cx.warning(
            list.span(),
            "every server is a backup, so none is used first",
        );
    }
    servers
}

/// The address of a server, unless another of the same upstream has it.
fn resolve(
    address: &Spanned<ServerAddress>,
    seen: &mut HashMap<SocketAddr, Range<usize>>,
    cx: &mut Context<'_>,
) -> Option<SocketAddr> {
    let text = &address.get_ref().0;
    let resolved = match text.parse() {
        Ok(resolved) => resolved,
        Err(_) => match (cx.outside.resolve)(text) {
            Ok(resolved) => resolved,
            Err(cause) => {
                cx.error(
                    address.span(),
                    Complaint::new(format!("cannot resolve {}: {cause}", shown(text)))
                        .help("write the IP address, or see to it that the name is known before the edge starts"),
                );
                return None;
            }
        },
    };
    if let Some(first) = seen.get(&resolved) {
        cx.error(
            address.span(),
            Complaint::new(format!(
                "{resolved} is a server of this upstream already, {}",
                cx.line(first)
            ))
            .help("give one of them a `weight` instead"),
        );
        return None;
    }
    seen.insert(resolved, address.span());
    Some(resolved)
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

fn health_check(section: &Spanned<file::HealthCheck>, cx: &mut Context<'_>) -> Option<HealthCheck> {
    let check = section.get_ref();
    let path = check.path.require("path", section.span(), cx)?;
    Some(HealthCheck {
        path: path.get_ref().0.clone(),
        host: check.host.value().map(|host| host.0.clone()),
        interval: check.interval.value,
        timeout: check.timeout.value,
        healthy: count(check.healthy.value),
        unhealthy: count(check.unhealthy.value),
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
    Eject {
        consecutive_failures: count(eject.consecutive_failures.value),
        base_time: eject.base_time.value,
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
    }
}

fn timeouts(given: Option<&file::Timeouts>, cx: &mut Context<'_>) -> Timeouts {
    let empty = file::Timeouts::empty(cx);
    let timeouts = given.unwrap_or(&empty);
    Timeouts {
        connect: timeouts.connect.value,
        response: timeouts.response.value,
        idle: timeouts.idle.value,
    }
}
