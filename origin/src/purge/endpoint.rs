//! Where an edge takes purges, as the settings write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use axum::http::uri::Authority;

/// Edges in front of one shop; each costs a task and a call per purge.
const EDGES_MAX: usize = 16;

/// The longest path of a socket that the kernel takes.
const SOCKET_PATH_MAX: usize = 107;

/// The admin endpoint of one edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket; whoever may open it may purge.
    Unix(PathBuf),
    /// A host and a port, where purging takes the token.
    Tcp(Authority),
}

/// The admin endpoints of all edges, separated by commas. None: nobody is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints(pub Vec<Endpoint>);

impl FromStr for Endpoints {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut endpoints = Vec::new();
        // Compose files pass an empty variable for an unset one.
        if text.trim().is_empty() {
            return Ok(Self(endpoints));
        }
        for part in text.split(',') {
            let endpoint = part.trim().parse()?;
            if endpoints.contains(&endpoint) {
                return Err(format!("{endpoint} is named twice; once is enough"));
            }
            endpoints.push(endpoint);
        }
        if endpoints.len() > EDGES_MAX {
            return Err(format!("name at most {EDGES_MAX} edges"));
        }
        Ok(Self(endpoints))
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.len() {
                0 => Err("unix: needs the path of the socket behind it, such as unix:/run/dhal/admin.sock".to_owned()),
                1..=SOCKET_PATH_MAX => Ok(Self::Unix(path.into())),
                _ => Err(format!("the path of a socket has at most {SOCKET_PATH_MAX} bytes, and {path} has more")),
            };
        }
        if text.starts_with("https://") {
            return Err(format!(
                "the edge's admin endpoint does not speak TLS: write {} within a trusted network",
                text.replacen("https", "http", 1)
            ));
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(format!(
                "`{text}` is not the admin endpoint of an edge: write unix:/run/dhal/admin.sock or \
                 http://127.0.0.1:9900, and a comma between several"
            ));
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(format!(
                "write {text} without what follows the port: the path is always /purge"
            ));
        }
        if authority.contains('@') {
            return Err(
                "an endpoint has no user: the token goes into a file, see --purge-token-file"
                    .to_owned(),
            );
        }
        let authority: Authority = authority
            .parse()
            .ok()
            .filter(|authority: &Authority| {
                !authority.host().is_empty() && authority.port_u16().is_some_and(|port| port > 0)
            })
            .ok_or_else(|| {
                format!("{text} does not name a host and a port: write it as http://127.0.0.1:9900")
            })?;
        Ok(Self::Tcp(authority))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(authority) => write!(f, "http://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read() {
        for (text, expected) in [
            ("", &[][..]),
            ("  ", &[]),
            ("unix:/run/dhal/admin.sock", &["unix:/run/dhal/admin.sock"]),
            ("unix:var/admin.sock", &["unix:var/admin.sock"]),
            ("http://127.0.0.1:9900", &["http://127.0.0.1:9900"]),
            ("http://[::1]:9900/", &["http://[::1]:9900"]),
            (
                "http://edge-1:9900 , unix:/a",
                &["http://edge-1:9900", "unix:/a"],
            ),
        ] {
            let Endpoints(endpoints) = text.parse().expect(text);
            let shown: Vec<String> = endpoints.iter().map(Endpoint::to_string).collect();
            assert_eq!(shown, expected, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_way_out() {
        let long = format!("unix:/{}", "a".repeat(107));
        let many: Vec<String> = (1..=17).map(|port| format!("http://edge:{port}")).collect();
        for (text, reason) in [
            (
                "yes",
                "write unix:/run/dhal/admin.sock or http://127.0.0.1:9900",
            ),
            ("/run/dhal/admin.sock", "write unix:"),
            ("127.0.0.1:9900", "write unix:"),
            ("unix:", "path of the socket"),
            (&long, "at most 107 bytes"),
            ("https://edge:9900", "write http://edge:9900"),
            ("http://edge", "host and a port"),
            ("http://:9900", "host and a port"),
            ("http://edge:0", "host and a port"),
            ("http://edge:99999", "host and a port"),
            ("http://ed ge:9900", "host and a port"),
            ("http://me:pw@edge:9900", "--purge-token-file"),
            ("http://edge:9900/purge", "the path is always /purge"),
            ("unix:/a,,unix:/b", "write unix:"),
            ("unix:/a,unix:/a", "named twice"),
            (&many.join(","), "at most 16"),
        ] {
            let why = text.parse::<Endpoints>().expect_err(text);
            assert!(why.contains(reason), "{text}: {why}");
        }
    }
}
