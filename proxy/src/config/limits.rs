//! `[limits.NAME]` and `[address_lists.NAME]`, and who refers to them.

use std::{num::NonZeroU32, time::Duration};

use toml::Spanned;

use super::{
    compile::index_of,
    context::Context,
    diagnostic::{Complaint, shown},
    file::{self, File},
    model::{AddressList, HostPattern, Limit, LimitAction, LimitKey},
    read::{Field, List, Named},
    scalar::ActionName,
    units::{Rate, secs},
};
use crate::admit::key::{Params, Prefix};

/// Most requests a limit lets through at once: beyond it there is hardly a limit.
const BURST_MOST: u64 = 1_000_000;
const DELAY: Duration = secs(1);
/// Statuses that say "come again".
const STATUSES: [u64; 2] = [429, 503];

pub(super) fn address_lists(
    given: &Field<Named<file::AddressList>>,
    cx: &mut Context<'_>,
) -> Vec<AddressList> {
    let mut lists = Vec::new();
    for (name, section) in given.entries() {
        let Some(section) = section.given() else {
            continue;
        };
        let list = section.get_ref();
        if matches!((&list.entries, &list.file), (Field::Absent, Field::Absent)) {
            cx.error(
                section.span(),
                Complaint::new("this list has neither `entries` nor a `file`")
                    .help("an empty list is `entries = []`"),
            );
        }
        let mut entries = Vec::new();
        for network in list.entries.items() {
            let written = network.get_ref().0;
            if written != written.trunc() {
                cx.warning(
                    network.span(),
                    format!("this means all of {}", written.trunc()),
                );
            }
            entries.push(written.trunc());
        }
        lists.push(AddressList {
            name: name.get_ref().clone(),
            entries,
            file: list.file.value().map(|path| cx.path(path)),
        });
    }
    lists
}

/// The lists that are named, by index.
pub(super) fn lists(named: &Field<List<String>>, file: &File, cx: &mut Context<'_>) -> Vec<usize> {
    let entries = file.address_lists.entries();
    let names: Vec<_> = entries
        .iter()
        .map(|(name, _)| name.get_ref().as_str())
        .collect();
    let mut found = Vec::new();
    for name in named.items() {
        let index = index_of(name, "address list", &file.address_lists, &names, cx);
        let Some(index) = index else { continue };
        if found.contains(&index) {
            cx.error(
                name.span(),
                format!("the address list {} is listed twice", shown(name.get_ref())),
            );
        }
        found.push(index);
    }
    found
}

/// Names of the lists that something refers to.
pub(super) fn lists_in_use(file: &File) -> Vec<&str> {
    let server = file.server.value().map(|server| &server.deny);
    let routes = file.routes.items().iter().map(Spanned::get_ref);
    let routes = routes.flat_map(|route| [&route.allow, &route.deny]);
    let limits = file.limits.entries().iter();
    let limits = limits.filter_map(|(_, limit)| limit.value().map(|limit| &limit.exempt));
    let bots = file.bots.value().map(|bots| &bots.known);
    let all = server.into_iter().chain(routes).chain(limits).chain(bots);
    all.flat_map(Field::items)
        .map(|name| name.get_ref().as_str())
        .collect()
}

/// Programs that are not shed before persons.
pub(super) fn known_bots(file: &File, cx: &mut Context<'_>) -> Vec<usize> {
    let Some(bots) = file.bots.given() else {
        return Vec::new();
    };
    let sheds = |upstream: &file::Upstream| upstream.concurrency.given().is_some();
    let upstreams = file.upstreams.entries().iter();
    if !upstreams
        .filter_map(|(_, upstream)| upstream.value())
        .any(sheds)
    {
        cx.warning(
            bots.span(),
            Complaint::new("`[bots]` does nothing: no upstream sheds requests")
                .help("give one `concurrency = true`"),
        );
    }
    lists(&bots.get_ref().known, file, cx)
}

pub(super) fn limits(file: &File, cx: &mut Context<'_>) -> Vec<Limit> {
    let mut limits = Vec::new();
    for (name, limit) in file.limits.entries() {
        let Some(section) = limit.given() else {
            continue;
        };
        let limit = section.get_ref();
        // What else is wrong is to be told as well.
        let exempt = lists(&limit.exempt, file, cx);
        let status = status(limit, cx);
        let key = key(limit, cx);
        let prefix = prefix(limit, cx);
        let Some(rate) = limit.rate.require("rate", section.span(), cx) else {
            continue;
        };
        if u64::from(rate.get_ref().count.get()) > BURST_MOST {
            cx.error(
                rate.span(),
                format!("`rate` must lie between 1 and {BURST_MOST}"),
            );
        }
        // Its bounds are far within these.
        let burst = limit
            .burst
            .value()
            .and_then(|burst| u32::try_from(*burst).ok());
        let burst = burst.and_then(NonZeroU32::new);
        let rate = rate.get_ref();
        limits.push(Limit {
            name: name.get_ref().clone(),
            key,
            prefix,
            rate: rate.count,
            period: rate.period,
            burst: burst.unwrap_or(rate.count),
            count: limit.count.value().copied().unwrap_or_default(),
            action: action(limit, rate, cx),
            status,
            exempt,
            max_keys: limit.max_keys.value as usize,
        });
    }
    limits
}

fn key(limit: &file::Limit, cx: &mut Context<'_>) -> Vec<LimitKey> {
    let Some(given) = limit.key.given() else {
        return vec![LimitKey::ClientIp];
    };
    let list = &given.get_ref().0;
    if list.written == 0 {
        cx.error(
            given.span(),
            Complaint::new("expected something to count by")
                .help("leave `key` out to count by the client's address"),
        );
    }
    let mut parts = Vec::new();
    for part in &list.items {
        if parts.contains(part.get_ref()) {
            cx.error(part.span(), "this part is listed twice");
        }
        parts.push(part.get_ref().clone());
    }
    parts
}

fn prefix(limit: &file::Limit, cx: &mut Context<'_>) -> Prefix {
    let empty = file::Prefix::empty(cx);
    let given = limit.prefix.value().unwrap_or(&empty);
    // Their bounds are those of addresses.
    Prefix {
        ipv4: given.ipv4.value as u8,
        ipv6: given.ipv6.value as u8,
    }
}

fn status(limit: &file::Limit, cx: &mut Context<'_>) -> u16 {
    let given = &limit.status;
    if let (false, Some(span)) = (STATUSES.contains(&given.value), &given.span) {
        cx.error(
            span.clone(),
            Complaint::new("`status` must be 429 or 503").help(
                "429 tells a client that it asks too often, 503 that the shop has no room for it",
            ),
        );
    }
    given.value as u16
}

fn action(limit: &file::Limit, rate: &Rate, cx: &mut Context<'_>) -> LimitAction {
    let action = match limit.action.value() {
        Some(ActionName::Delay) => LimitAction::Delay { max: DELAY },
        Some(ActionName::Log) => LimitAction::Log,
        Some(ActionName::Reject) | None => LimitAction::Reject,
    };
    let span = |field: &Field<_>| field.given().map(Spanned::span);
    if let (LimitAction::Log, Some(status)) = (action, &limit.status.span) {
        cx.error(
            status.clone(),
            "`status` does nothing: a limit that only logs refuses nobody",
        );
    }
    let LimitAction::Delay { .. } = action else {
        if let (Some(given), Field::Absent | Field::Given(_)) =
            (span(&limit.max_delay), &limit.action)
        {
            cx.error(
                given,
                Complaint::new("`max_delay` does nothing: this limit holds nobody back")
                    .help("write `action = \"delay\"`"),
            );
        }
        return action;
    };
    let max = limit.max_delay.value().copied().unwrap_or(DELAY);
    let pause = rate.period / rate.count.get();
    let place = span(&limit.max_delay);
    if max < pause
        && !matches!(limit.max_delay, Field::Wrong)
        && let Some(place) = place.or_else(|| limit.action.given().map(Spanned::span))
    {
        let complaint = Complaint::new(format!(
            "nobody would wait: at this rate a turn comes every {pause:?}, and `max_delay` is {max:?}"
        ));
        cx.error(
            place,
            complaint.help("raise `max_delay`, or write `action = \"reject\"`"),
        );
    }
    LimitAction::Delay { max }
}

/// Parameters that a route's limits count by must stand in its path.
pub(super) fn parameters(
    limits: &Field<List<String>>,
    file: &File,
    params: &Params,
    cx: &mut Context<'_>,
) {
    for name in limits.items() {
        let mut entries = file.limits.entries().iter();
        let limit = entries.find(|(known, _)| known.get_ref() == name.get_ref());
        let key = limit.and_then(|(_, limit)| limit.value()?.key.value());
        for part in key.into_iter().flat_map(|key| &key.0.items) {
            if let LimitKey::Param(param) = part.get_ref()
                && !params.has(param)
            {
                let complaint = Complaint::new(format!(
                    "the limit {} counts by a parameter that this route's path does not have",
                    shown(name.get_ref())
                ));
                cx.error(
                    name.span(),
                    complaint.help(format!(
                        "name a segment of the path `:{param}`, as in \"/products/:{param}\""
                    )),
                );
            }
        }
    }
}

/// Warns where whoever makes up a new key for each request is not limited at all.
pub(super) fn evadable(
    limits: &Field<List<String>>,
    file: &File,
    host: &HostPattern,
    params: &Params,
    cx: &mut Context<'_>,
) {
    let is_chosen = |part: &LimitKey| match part {
        LimitKey::ClientIp => false,
        LimitKey::Host => !matches!(host, HostPattern::Exact(_)),
        // One that is not there is complained of.
        LimitKey::Param(name) => params.has(name),
        LimitKey::Cookie(_) | LimitKey::Header(_) => true,
    };
    let mut chosen = Vec::new();
    for name in limits.items() {
        let mut entries = file.limits.entries().iter();
        let limit = entries.find(|(known, _)| known.get_ref() == name.get_ref());
        let key = limit.and_then(|(_, limit)| limit.value()?.key.value());
        let part = key
            .into_iter()
            .flat_map(|key| &key.0.items)
            .find(|part| is_chosen(part.get_ref()));
        match part {
            Some(part) => chosen.push(part.get_ref()),
            None => return,
        }
    }
    let (Some(part), Some(first)) = (chosen.first(), limits.items().first()) else {
        return;
    };
    let what = match part {
        LimitKey::Cookie(name) => format!("the cookie {}", shown(name)),
        LimitKey::Header(name) => format!("the field {}", shown(name.as_str())),
        LimitKey::Param(name) => format!("the parameter {}", shown(name)),
        LimitKey::Host | LimitKey::ClientIp => "the host".to_owned(),
    };
    let complaint = Complaint::new(format!(
        "every client may choose {what}, a new one for each request, and is limited by nothing else here"
    ));
    cx.warning(
        first.span(),
        complaint.help("add a limit with key = \"client-ip\" to `limits`, wide enough for those who share an address"),
    );
}
