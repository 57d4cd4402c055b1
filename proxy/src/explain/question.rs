//! A request that somebody thinks of, read as a door would read it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use http::{HeaderName, HeaderValue, Method};
use http1_wire::{Refusal, request::Head};
use serde::{Deserialize, Serialize};

use crate::{edge::Scheme, snapshot::Snapshot};

/// Longest URL that is read; configurations allow targets of 64 KiB at most.
const URL_MAX: usize = 72 * 1024;
/// Fields beyond those that a door takes, so that its refusal can be seen.
const FIELDS_MAX: usize = 128;
/// Bytes of all fields together, for the same reason more than any configuration allows.
const BYTES_MAX: usize = 512 * 1024;
/// Characters of a wrong entry that are repeated.
const SHOWN_MAX: usize = 100;

/// What request is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Absolute, `http` or `https`.
    pub url: String,
    /// GET where nothing is said.
    #[serde(default = "get")]
    pub method: String,
    /// Names and values of field lines, in order.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The peer of the connection; `127.0.0.1` where nothing is said.
    #[serde(default)]
    pub client: Option<IpAddr>,
    /// It comes by plain HTTP whatever the URL says, as behind a balancer that ends TLS.
    #[serde(default)]
    pub http: bool,
}

fn get() -> String {
    Method::GET.to_string()
}

/// Why a question cannot be meant: a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong(pub String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

/// A request as a door has it.
pub(super) struct Request {
    pub(super) scheme: Scheme,
    pub(super) bytes: Vec<u8>,
    /// What the door says of it, or why it refuses it.
    pub(super) head: Result<Head, Refusal>,
    pub(super) authority: String,
    pub(super) target: String,
    pub(super) method: Method,
    pub(super) peer: IpAddr,
    /// Of the URL, where it names one.
    pub(super) port: Option<u16>,
    /// The name a browser asks a certificate for.
    pub(super) host: String,
}

impl Question {
    /// A question about a page.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: get(),
            headers: Vec::new(),
            client: None,
            http: false,
        }
    }

    pub(super) fn read(&self, snapshot: &Snapshot) -> Result<Request, Wrong> {
        let wrong = |why: String| Err(Wrong(why));
        if self.url.len() > URL_MAX {
            return wrong(format!("the URL is longer than {URL_MAX} bytes"));
        }
        let (scheme, authority, target) = self.parts(snapshot)?;
        let scheme = match self.http {
            true => Scheme::Http,
            false => scheme,
        };
        let Ok(method) = Method::from_bytes(self.method.as_bytes()) else {
            return wrong(format!("{} is no method", shown(&self.method)));
        };
        if self.headers.len() > FIELDS_MAX {
            return wrong(format!("more than {FIELDS_MAX} headers"));
        }
        let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        let mut own_host = None;
        let mut fields = Vec::new();
        for (name, value) in &self.headers {
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                return wrong(format!("{} is no name of a header", shown(name)));
            }
            if HeaderValue::from_bytes(value.as_bytes()).is_err() {
                return wrong(format!(
                    "the value of {} holds a character that no header may have",
                    shown(name)
                ));
            }
            if name.eq_ignore_ascii_case("host") {
                own_host.get_or_insert(value.trim());
            }
            fields.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            if fields.len() > BYTES_MAX {
                return wrong(format!("the headers are longer than {BYTES_MAX} bytes"));
            }
        }
        if own_host.is_none() {
            bytes.extend_from_slice(format!("Host: {authority}\r\n").as_bytes());
        }
        bytes.append(&mut fields);
        bytes.extend_from_slice(b"\r\n");
        let bounds = &snapshot.bounds;
        let mut head = Head::default();
        let read = match bytes.len() > bounds.max_header {
            true => Err(Refusal {
                status: 431,
                reason: "request head too large",
            }),
            false => head.parse(&bytes, bounds.max_target).map(|()| head),
        };
        let (host, port) = split(authority);
        Ok(Request {
            scheme,
            head: read,
            bytes,
            authority: own_host.unwrap_or(authority).to_owned(),
            target,
            method,
            peer: self.client.unwrap_or(Ipv4Addr::LOCALHOST.into()),
            port,
            host: host.to_ascii_lowercase(),
        })
    }

    /// Scheme, authority and target, as they are written.
    fn parts(&self, snapshot: &Snapshot) -> Result<(Scheme, &str, String), Wrong> {
        let url = self.url.as_str();
        let wrong = |why: String| Err(Wrong(why));
        let Some((scheme, rest)) = url.split_once("://") else {
            let scheme = match snapshot.config.listeners.iter().any(|l| l.tls) {
                true => "https",
                false => "http",
            };
            let rest = url.trim_start_matches('/');
            if url.is_empty() || rest.is_empty() || url.starts_with('/') && !url.starts_with("//") {
                let host = named_host(snapshot).unwrap_or("shop.example");
                let path = if url.is_empty() { "/" } else { url };
                return wrong(format!(
                    "{} has no scheme and no host; did you mean \"{scheme}://{host}{}\"?",
                    shown(url),
                    short(path).escape_debug()
                ));
            }
            return wrong(format!(
                "{} has no scheme; did you mean \"{scheme}://{}\"?",
                shown(url),
                short(rest).escape_debug()
            ));
        };
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
            _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
            _ => {
                return wrong(format!(
                    "the scheme {} is not served: it is http or https",
                    shown(scheme)
                ));
            }
        };
        // A fragment stays with the browser.
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() {
            return wrong(format!("{} names no host", shown(url)));
        }
        if let Some((_, behind)) = authority.rsplit_once('@') {
            return wrong(format!(
                "a URL with a user is never sent like that; did you mean \"{}://{}{target}\"?",
                scheme.as_str(),
                short(behind).escape_debug()
            ));
        }
        // A line of a request could not be told from the next one.
        let odd = |c: char| c.is_control() || c.is_whitespace() || !c.is_ascii();
        if let Some(c) = rest.chars().find(|c| odd(*c)) {
            return wrong(format!(
                "{} holds {c:?}, which a browser sends percent-encoded",
                shown(url)
            ));
        }
        // RFC 9112 §3.2.1: an empty path is sent as `/`.
        let target = match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("/{target}"),
        };
        Ok((scheme, authority, target))
    }
}

/// A host that some route names.
fn named_host(snapshot: &Snapshot) -> Option<&str> {
    use crate::config::model::HostPattern;
    let mut hosts = snapshot.config.routes.iter().flat_map(|route| &route.hosts);
    hosts.find_map(|host| match host {
        HostPattern::Exact(name) => Some(name.as_str()),
        HostPattern::Any | HostPattern::Wildcard(_) => None,
    })
}

/// Host and port of an authority; IPv6 addresses keep their brackets.
fn split(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

fn short(text: &str) -> &str {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

fn shown(text: &str) -> String {
    let dots = if short(text).len() < text.len() {
        "…"
    } else {
        ""
    };
    format!("{:?}{dots}", short(text))
}
