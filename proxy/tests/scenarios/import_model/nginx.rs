//! What nginx makes of a request, as far as who may come is concerned: a model of its own, that shares nothing with
//! the importer but the reading of the file.
//!
//! A server is chosen by address and name, a location as `ngx_http_core_find_location` does, and the rules run in the
//! order of its phases: those of the server, the location, those of the location, and who may come.

mod locations;
mod visit;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nginx_import::{Directive, Tree};

use self::{
    locations::{Static, find},
    visit::{Rewritten, Visit, matches},
};

pub(super) use self::locations::split;

/// A request as it comes in.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) host: String,
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) client: IpAddr,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Kept out: with this status, of which 444 stands for none.
    Refused(u16),
    /// The upstream is asked.
    Passed(String),
    /// A file is looked for.
    File,
    /// Led elsewhere.
    Led(u16),
    /// A fixed answer.
    Fixed(u16),
    /// A path that is rewritten without end: 500.
    Endless,
}

/// Expressions with what Dhal's engine does not know: what they need and what they must not have.
pub(super) const LOOKING: [(&str, &str, &str); 4] = [
    ("^/(?!b)a", "^/a", "^/b"),
    ("^/a/(?!b)", "^/a/", "^/a/b"),
    (r"(?<!b)\.p$", r"\.p$", r"b\.p$"),
    ("^/ab(?=/)", "^/ab/", "^$"),
];

/// An address that anybody reaches.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Rewrites of one request.
const REWRITES_MAX: usize = 10;

pub(super) struct Model<'a> {
    http: &'a [Directive],
    servers: Vec<&'a Directive>,
}

impl<'a> Model<'a> {
    /// `None` where there is no server.
    pub(super) fn of(tree: &'a Tree) -> Option<Self> {
        let http = tree
            .directives
            .iter()
            .find(|d| d.name == "http")?
            .children();
        let servers: Vec<_> = http.iter().filter(|d| d.name == "server").collect();
        (!servers.is_empty()).then_some(Self { http, servers })
    }

    /// The addresses by which a client may come.
    pub(super) fn doors(&self, client: IpAddr) -> Vec<SocketAddr> {
        let mut out: Vec<SocketAddr> = Vec::new();
        for address in self.servers.iter().flat_map(|s| listens(s)).map(|l| l.0) {
            let is_any = address.ip().is_unspecified();
            let mut put = |ip: Ipv4Addr| {
                let door = SocketAddr::from((ip, address.port()));
                if !out.contains(&door) {
                    out.push(door);
                }
            };
            if client.is_loopback() {
                put(Ipv4Addr::LOCALHOST);
            }
            if is_any {
                put(PUBLIC);
            }
        }
        out
    }

    /// Whether a client can come to a server that asks this upstream.
    pub(super) fn is_reached(&self, upstream: &str, client: IpAddr) -> bool {
        fn asks(block: &[Directive], upstream: &str) -> bool {
            let is = |d: &Directive| d.name == "proxy_pass" && d.arg(0).contains(upstream);
            block.iter().any(|d| is(d) || asks(d.children(), upstream))
        }
        let doors = self.doors(client);
        doors.iter().any(|door| {
            let mut here = self.servers_at(*door).into_iter();
            here.any(|at| asks(self.servers[at].children(), upstream))
        })
    }

    /// The servers that listen at a door: those of the very address, or those of all.
    fn servers_at(&self, door: SocketAddr) -> Vec<usize> {
        let at = |address: SocketAddr| -> Vec<usize> {
            let listens_there = |s: &&Directive| listens(s).iter().any(|l| l.0 == address);
            let servers = self.servers.iter().enumerate();
            servers
                .filter(|(_, s)| listens_there(s))
                .map(|(i, _)| i)
                .collect()
        };
        let exact = at(door);
        match exact.is_empty() {
            false => exact,
            true => at(SocketAddr::from((Ipv4Addr::UNSPECIFIED, door.port()))),
        }
    }

    fn server(&self, door: SocketAddr, host: &str) -> usize {
        let here = self.servers_at(door);
        let host = host
            .split(':')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        let names = |index: &usize| -> Vec<String> {
            let own = self.servers[*index].children().iter();
            let own = own.filter(|d| d.name == "server_name");
            own.flat_map(|d| d.words().map(str::to_ascii_lowercase))
                .collect()
        };
        let exact = here.iter().find(|i| {
            names(i)
                .iter()
                .any(|n| n == host || n.strip_prefix('.') == Some(host))
        });
        if let Some(found) = exact {
            return *found;
        }
        // The longest with a star in front, then the longest with one behind, then expressions.
        let mut best: Option<(usize, usize)> = None;
        for index in &here {
            for name in names(index) {
                let below = name
                    .strip_prefix('*')
                    .or_else(|| name.starts_with('.').then_some(&name[..]));
                if let Some(below) = below
                    && host.len() > below.len()
                    && host.ends_with(below)
                    && best.is_none_or(|(known, _)| below.len() > known)
                {
                    best = Some((below.len(), *index));
                }
            }
        }
        if let Some((_, found)) = best {
            return found;
        }
        for index in &here {
            for name in names(index) {
                if let Some(front) = name.strip_suffix('*')
                    && host.len() > front.len()
                    && host.starts_with(front)
                    && best.is_none_or(|(known, _)| front.len() > known)
                {
                    best = Some((front.len(), *index));
                }
            }
        }
        if let Some((_, found)) = best {
            return found;
        }
        for index in &here {
            for name in names(index) {
                if let Some(pattern) = name.strip_prefix('~')
                    && matches(pattern, false, host)
                {
                    return *index;
                }
            }
        }
        let is_here = |l: &(SocketAddr, bool)| l.0 == door;
        let is_exact = here
            .iter()
            .any(|i| listens(self.servers[*i]).iter().any(is_here));
        let address = |l: &(SocketAddr, bool)| match is_exact {
            true => is_here(l),
            false => l.0.ip().is_unspecified() && l.0.port() == door.port(),
        };
        let is_default = |i: &&usize| listens(self.servers[**i]).iter().any(|l| l.1 && address(l));
        here.iter()
            .find(is_default)
            .or_else(|| here.first())
            .copied()
            .expect("a server")
    }

    /// What becomes of a request that comes by a door.
    pub(super) fn answer(&self, door: SocketAddr, asked: &Asked) -> Outcome {
        let Some(uri) = normalised(&asked.target) else {
            return Outcome::Refused(400);
        };
        let server = self.servers[self.server(door, &asked.host)];
        let mut visit = Visit {
            asked,
            uri,
            args: asked
                .target
                .split_once('?')
                .map_or("", |(_, q)| q)
                .to_owned(),
            is_internal: false,
        };
        if let Rewritten::Answer(answer) = visit.rewrite(server.children(), true) {
            return answer;
        }
        for _ in 0..=REWRITES_MAX {
            let mut levels = vec![self.http, server.children()];
            let found = find(&mut levels, &visit.uri);
            let own = levels.last().copied().unwrap_or_default();
            // What lies within is internal, too.
            let mut around = levels.iter().copied().flatten();
            if !visit.is_internal && around.any(|d| d.name == "internal") {
                return Outcome::Refused(404);
            }
            if matches!(found, Static::Slash) {
                return Outcome::Led(301);
            }
            let mut is_excepted = false;
            if let Some(except) = own.iter().find(|d| d.name == "limit_except") {
                let named = except
                    .words()
                    .any(|m| m == asked.method || (m == "GET" && asked.method == "HEAD"));
                if !named {
                    is_excepted = true;
                    levels.push(except.children());
                }
            }
            if levels.len() > 2 && !is_excepted {
                match visit.rewrite(own, false) {
                    Rewritten::Answer(answer) => return answer,
                    Rewritten::Anew => continue,
                    Rewritten::Stays => {}
                }
            }
            if let Some(status) = refusal(&levels, asked.client) {
                return Outcome::Refused(status);
            }
            return match own.iter().find(|d| d.name == "proxy_pass") {
                Some(pass) => Outcome::Passed(pass.arg(0).to_owned()),
                None => Outcome::File,
            };
        }
        Outcome::Endless
    }
}

/// The status with which the access phase refuses.
fn refusal(levels: &[&[Directive]], client: IpAddr) -> Option<u16> {
    let one = |name: &str| {
        levels
            .iter()
            .rev()
            .find_map(|l| l.iter().find(|d| d.name == name))
    };
    let is_rule = |d: &&Directive| d.name == "allow" || d.name == "deny";
    let rules = levels
        .iter()
        .rev()
        .find(|level| level.iter().any(|d| is_rule(&d)));
    let mut rules = rules
        .into_iter()
        .flat_map(|level| level.iter().filter(is_rule));
    let verdict = rules
        .find(|rule| is_in(rule.arg(0), client))
        .map(|rule| rule.name == "allow");
    let asks = one("auth_basic").is_some_and(|d| d.arg(0) != "off")
        && one("auth_basic_user_file").is_some();
    if one("satisfy").is_some_and(|d| d.arg(0) == "any") {
        return match (verdict, asks) {
            (Some(true), _) => None,
            (_, true) => Some(401),
            (Some(false), false) => Some(403),
            (None, false) => None,
        };
    }
    match (verdict, asks) {
        (Some(false), _) => Some(403),
        (_, true) => Some(401),
        _ => None,
    }
}

fn is_in(network: &str, client: IpAddr) -> bool {
    if network == "all" {
        return true;
    }
    let (base, bits) = network.split_once('/').unwrap_or((network, "32"));
    let bits: u32 = bits.parse().expect("bits");
    match (base.parse().expect("an address"), client) {
        (IpAddr::V4(base), IpAddr::V4(client)) => {
            let differ = base.to_bits() ^ client.to_bits();
            bits == 0 || differ.checked_shr(32 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

fn listens(server: &Directive) -> Vec<(SocketAddr, bool)> {
    let own = server.children().iter().filter(|d| d.name == "listen");
    let own: Vec<_> = own
        .map(|d| {
            let text = d.arg(0);
            let address = match text.parse::<u16>() {
                Ok(port) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
                Err(_) => text.parse().expect("an address"),
            };
            (address, d.words().any(|w| w == "default_server"))
        })
        .collect();
    match own.is_empty() {
        true => vec![(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80)), false)],
        false => own,
    }
}

/// The path as nginx looks for locations: decoded once, with single slashes, without dot segments.
pub(super) fn normalised(target: &str) -> Option<String> {
    let path = target.split('?').next().unwrap_or_default();
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    // What a slash and a dot that were encoded mean, they mean as if they were not.
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok().filter(|b| *b != 0)?
            }
            byte => byte,
        };
        bytes.push(byte);
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut kept: Vec<&str> = Vec::new();
    let parts: Vec<_> = text.strip_prefix('/')?.split('/').collect();
    for (at, part) in parts.iter().enumerate() {
        let is_last = at + 1 == parts.len();
        match *part {
            "" | "." if is_last => kept.push(""),
            "" | "." => {}
            ".." => {
                kept.pop()?;
                if is_last {
                    kept.push("");
                }
            }
            part => kept.push(part),
        }
    }
    Some(format!("/{}", kept.join("/")))
}
