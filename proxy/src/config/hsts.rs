//! `hsts`: what browsers are told of TLS (RFC 6797).

use std::collections::HashMap;

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

/// A browser keeps one policy for a host, the one it heard last.
fn contradictions(file: &File, cx: &mut Context<'_>) {
    let mut seen: HashMap<Option<&HostPattern>, Option<Hsts>> = HashMap::new();
    for section in file.routes.items() {
        let route = section.get_ref();
        let said = of_route(&route.hsts, file);
        let first = *seen.entry(route.host.value()).or_insert(said);
        if first != said {
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
