//! `hsts`: what browsers are told of TLS (RFC 6797).

use std::collections::HashMap;

use http::header::STRICT_TRANSPORT_SECURITY;
use toml::Spanned;

use super::{
    context::Context,
    diagnostic::Complaint,
    file::{File, HstsEntry},
    model::{HostPattern, Hsts},
    read::Field,
    units::secs,
};

/// What lists of preloaded names ask for at least.
const PRELOAD_LEAST: std::time::Duration = secs(365 * 86_400);

/// That of the server; what is said of it and of the routes' is checked here.
pub(super) fn of_server(file: &File, cx: &mut Context<'_>) -> Option<Hsts> {
    let server = file.server.value().map(|server| &server.hsts);
    let routes = file.routes.items().iter();
    let each = routes.map(|route| &route.get_ref().hsts);
    let all: Vec<&Field<HstsEntry>> = server.into_iter().chain(each).collect();
    for field in &all {
        preload(field, cx);
    }
    let over_tls = |file: &File| {
        let mut listeners = file.listeners.items().iter();
        listeners.any(|listener| listener.get_ref().tls.value() == Some(&true))
    };
    if let (Some(first), false) = (all.iter().find_map(|field| field.given()), over_tls(file)) {
        cx.warning(first.span(), "`hsts` does nothing: no listener has `tls`");
    }
    contradictions(file, cx);
    headers(file, cx);
    compiled(server?)
}

/// That of a route: its own, or the server's.
pub(super) fn of_route(own: &Field<HstsEntry>, file: &File) -> Option<Hsts> {
    match own {
        Field::Absent => compiled(&file.server.value()?.hsts),
        own => compiled(own),
    }
}

fn compiled(field: &Field<HstsEntry>) -> Option<Hsts> {
    match field.value()? {
        HstsEntry::No => None,
        HstsEntry::Yes(hsts) => Some(Hsts {
            max_age: hsts.max_age.value,
            include_subdomains: hsts.include_subdomains.value().copied().unwrap_or(false),
            preload: hsts.preload.value().copied().unwrap_or(false),
        }),
    }
}

/// What no list takes.
fn preload(field: &Field<HstsEntry>, cx: &mut Context<'_>) {
    let (Some(given), Some(hsts)) = (field.given(), compiled(field)) else {
        return;
    };
    if hsts.preload && !(hsts.include_subdomains && hsts.max_age >= PRELOAD_LEAST) {
        cx.warning(
            given.span(),
            Complaint::new("no list of preloaded names takes this").help(
                "`preload` wants `include_subdomains = true` and a `max_age` of \"365d\" or more",
            ),
        );
    }
}

/// Changes of the field that `hsts` writes.
fn headers(file: &File, cx: &mut Context<'_>) {
    let server = file.server.value();
    let server = server.map(|s| (&s.response_headers, compiled(&s.hsts)));
    let routes = file.routes.items().iter().map(Spanned::get_ref);
    let routes = routes.map(|r| (&r.response_headers, of_route(&r.hsts, file)));
    for (headers, hsts) in server.into_iter().chain(routes) {
        let tables = headers.value().map_or(&[][..], |list| &list.0.items);
        for table in tables.iter().map(Spanned::get_ref) {
            let said = [&table.set, &table.add].into_iter();
            let said = said.filter_map(|table| table.value());
            let said = said.flat_map(|table| &table.0);
            let said = said.map(|line| (line.name.get_ref(), line.name.span()));
            let removed = table.remove.items().iter();
            let removed = removed.map(|name| (&name.get_ref().0, name.span()));
            let mut all = said.chain(removed);
            if let Some((_, place)) = all.find(|(name, _)| *name == STRICT_TRANSPORT_SECURITY)
                && hsts.is_some()
            {
                cx.warning(
                    place,
                    Complaint::new("this does nothing: `hsts` says what browsers get here")
                        .help("remove it, or write `hsts = false`"),
                );
            }
        }
    }
}

/// A browser keeps one policy for a host, the one it heard last.
fn contradictions(file: &File, cx: &mut Context<'_>) {
    let mut seen: HashMap<Option<&HostPattern>, Option<Hsts>> = HashMap::new();
    for section in file.routes.items() {
        let route = section.get_ref();
        let said = of_route(&route.hsts, file);
        let hosts: Vec<_> = match route.host.value() {
            Some(hosts) => hosts.0.items.iter().map(|h| Some(h.get_ref())).collect(),
            None => vec![None],
        };
        let mut differs = false;
        for host in hosts {
            differs |= *seen.entry(host).or_insert(said) != said;
        }
        if differs {
            let place = route
                .hsts
                .given()
                .map_or_else(|| section.span(), |given| given.span());
            cx.warning(
                place,
                Complaint::new("another route of this host says something else of `hsts`")
                    .help("browsers keep one policy for a host: the one that they heard last"),
            );
        }
    }
}
