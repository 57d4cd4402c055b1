//! Servers that only lead to https.

use super::conditions::Condition;
use crate::{translate::server::Names, tree::Directive};

/// Whether a server only leads to https with the same host and path; the port there.
pub(in crate::translate) fn to_https(server: &Directive, names: &Names) -> Option<u16> {
    let mut port = None;
    let mut others = false;
    for child in server.children() {
        match child.name.as_str() {
            "return" => match leads(child, names) {
                Some(to) => port = port.or(Some(to)),
                // What certbot writes: whom no `if` leads to https gets 404.
                None => others |= port.is_none() || child.arg(0) != "404",
            },
            "rewrite" => match child.arg(0) {
                "^" | ".*" | "^.*$" | "^(.*)$" | "^(.*)" | "^/(.*)$" => {
                    port = port.or_else(|| https(child.arg(1), names))
                }
                _ => others = true,
            },
            "if" => {
                let inner = child.children().iter().find(|d| d.name == "return");
                let to = match (Condition::of(child), inner) {
                    // Such a name is led to itself.
                    (Some(Condition::Host(host)), Some(answer)) => {
                        let first = host.clone();
                        let hosts = vec![host];
                        leads(
                            answer,
                            &Names {
                                hosts,
                                first,
                                has_odd: false,
                            },
                        )
                    }
                    (Some(Condition::Scheme), Some(answer)) => leads(answer, names),
                    _ => None,
                };
                match to {
                    Some(to) => port = port.or(Some(to)),
                    None => others = true,
                }
            }
            "location" => {
                let path = child.words().last().unwrap_or_default();
                let inner = child.children();
                let to = inner
                    .iter()
                    .find(|d| d.name == "return")
                    .and_then(|d| leads(d, names));
                let rewritten = inner
                    .iter()
                    .find(|d| d.name == "rewrite")
                    .and_then(|d| https(d.arg(1), names));
                match to.or(rewritten) {
                    Some(to) if path == "/" => port = port.or(Some(to)),
                    _ if path.contains("acme-challenge") => {}
                    _ => others = true,
                }
            }
            _ => {}
        }
    }
    port.filter(|_| !others)
}

fn leads(directive: &Directive, names: &Names) -> Option<u16> {
    let status = matches!(directive.arg(0), "301" | "302" | "303" | "307" | "308");
    status.then(|| https(directive.arg(1), names)).flatten()
}

/// The port of `https://$host$request_uri` and the like.
fn https(target: &str, names: &Names) -> Option<u16> {
    let rest = target.strip_prefix("https://")?;
    let rest = rest
        .strip_suffix("$request_uri?")
        .or_else(|| rest.strip_suffix("$request_uri"))
        .or_else(|| rest.strip_suffix("$uri$is_args$args"))
        .or_else(|| rest.strip_suffix("/$1"))
        .or_else(|| rest.strip_suffix("$1"))?;
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (rest, 443),
    };
    let same = matches!(
        host,
        "$host" | "$http_host" | "$server_name" | "${host}" | "${server_name}"
    ) || names.hosts == [host];
    same.then_some(port)
}
