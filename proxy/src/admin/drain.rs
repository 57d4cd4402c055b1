//! `POST /drain` and `POST /undrain`: a server takes nothing new, and does again.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, Uri},
};
use serde::{Deserialize, Serialize};

use super::{routes::Refusal, status::ServerStatus};
use crate::{
    config::{model::BackendAddress, suggest},
    server::Control,
    upstream::{Upstream, orders::shown},
};

/// Servers that take nothing new, or do again.
#[derive(Debug, Serialize, Deserialize)]
pub struct Drained {
    /// As they are now. Several where a name leads to several, none where it leads nowhere at the moment.
    pub servers: Vec<ServerStatus>,
}

pub(super) async fn drain(
    State(control): State<Arc<Control>>,
    uri: Uri,
) -> Result<Json<Drained>, Refusal> {
    set(&control, &uri, true)
}

pub(super) async fn undrain(
    State(control): State<Arc<Control>>,
    uri: Uri,
) -> Result<Json<Drained>, Refusal> {
    set(&control, &uri, false)
}

fn set(control: &Control, uri: &Uri, drained: bool) -> Result<Json<Drained>, Refusal> {
    let (upstream, server) = Order::of(uri.query().unwrap_or_default())
        .and_then(Order::complete)
        .map_err(Refusal::unprocessable)?;
    let snapshot = control.current.load_full();
    let unknown = |why| Refusal {
        status: StatusCode::NOT_FOUND,
        why,
    };
    let upstream = find(&snapshot.upstreams, &upstream).map_err(unknown)?;
    let whom = meant(upstream, &server).map_err(unknown)?;
    if !drained && let Some(why) = hindrance(upstream, &whom) {
        return Err(Refusal {
            status: StatusCode::CONFLICT,
            why,
        });
    }
    let tick = control.started.elapsed();
    let servers = upstream.set_drained(&whom, drained, tick);
    let told = servers.iter().map(|server| ServerStatus::of(server, tick));
    Ok(Json(Drained {
        servers: told.collect(),
    }))
}

/// Why an order would not make it take requests again.
fn hindrance(upstream: &Upstream, whom: &BackendAddress) -> Option<String> {
    upstream.servers_meant(whom).iter().find_map(|server| {
        let name = &server.name;
        if server.drains_by_file() {
            return Some(format!(
                "{name} drains by the file: take `drain = true` out of it and reload"
            ));
        }
        let by = upstream.drained_name(server).filter(|by| by != whom)?;
        let by = shown(&by);
        Some(format!("{name} drains by an order for {by}: undrain that"))
    })
}

fn find<'a>(upstreams: &'a [Arc<Upstream>], name: &str) -> Result<&'a Upstream, String> {
    let found = upstreams.iter().find(|upstream| upstream.name() == name);
    found.map(|upstream| &**upstream).ok_or_else(|| {
        let names = upstreams.iter().map(|upstream| upstream.name());
        format!("there is no upstream `{name}`; {}", suggest(name, names))
    })
}

/// A server by its address, or all that a name in the file leads to.
fn meant(upstream: &Upstream, text: &str) -> Result<BackendAddress, String> {
    upstream.meant(text).ok_or_else(|| {
        let servers = upstream.servers();
        let addresses = servers.iter().map(|server| server.name.as_str());
        let entries = upstream.config.servers.iter();
        let mut known: Vec<_> = entries.map(|entry| entry.name.as_str()).collect();
        known.extend(
            addresses
                .filter(|address| !known.contains(address))
                .collect::<Vec<_>>(),
        );
        let help = suggest(text, known.into_iter());
        let upstream = upstream.name();
        format!("upstream `{upstream}` has no server `{text}`; {help}")
    })
}

/// What the query says.
#[derive(Default)]
struct Order {
    upstream: Option<String>,
    server: Option<String>,
}

impl Order {
    fn of(query: &str) -> Result<Self, String> {
        let mut order = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let field = match name {
                "upstream" => &mut order.upstream,
                "server" => &mut order.server,
                _ => return Err(format!("`{name}` means nothing here")),
            };
            *field = Some(decoded(value).ok_or_else(|| format!("`{name}` cannot be read"))?);
        }
        Ok(order)
    }

    fn complete(self) -> Result<(String, String), String> {
        match (self.upstream, self.server) {
            (Some(upstream), Some(server)) => Ok((upstream, server)),
            _ => Err("say which server: ?upstream=NAME&server=ADDRESS".to_owned()),
        }
    }
}

/// Text without its percent-encoding (RFC 3986 §2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let read = |query| Order::of(query).and_then(Order::complete);
        let ok = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        for (query, wanted) in [
            (
                "upstream=shop&server=127.0.0.1:3000",
                ok("shop", "127.0.0.1:3000"),
            ),
            (
                "server=%5B%3a%3a1%5D:80&upstream=a%20b",
                ok("a b", "[::1]:80"),
            ),
        ] {
            assert_eq!(read(query), wanted);
        }
        for (query, wanted) in [
            ("", "say which server: ?upstream=NAME&server=ADDRESS"),
            (
                "upstream=shop",
                "say which server: ?upstream=NAME&server=ADDRESS",
            ),
            ("upstream=shop&server=%zz", "`server` cannot be read"),
            ("upstream=shop&server=%e", "`server` cannot be read"),
            ("upstream=%ff&server=a", "`upstream` cannot be read"),
            ("upstreams=shop", "`upstreams` means nothing here"),
        ] {
            assert_eq!(read(query), Err(wanted.to_owned()), "{query}");
        }
    }
}
