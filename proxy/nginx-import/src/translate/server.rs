//! Servers: which names and addresses they have, which only redirect, and which answers everybody else.
//!
//! nginx chooses a server by address and then by name; Dhal's routes are for a name on every address.
//! The default server of an address answers names that nobody has; in Dhal these are routes without `host`.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use super::{
    Block, Scope, Translator,
    gates::{self, Shade},
    listen::Listen,
    rewrite,
};
use crate::{expression::Expressions, toml, tree::Directive};

/// A `server` block.
pub(super) struct Server<'a> {
    pub(super) directive: &'a Directive,
    pub(super) scope: Scope<'a>,
    pub(super) listens: Vec<Listen>,
    pub(super) names: Names,
    /// Where it leads to https with the same host and path: the port there.
    pub(super) redirect: Option<u16>,
    /// What is to be said of its names and addresses.
    notes: Vec<String>,
}

/// The names of a server.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// As Dhal's `host` takes them.
    pub(super) hosts: Vec<String>,
    /// The first, as `$server_name` has it.
    pub(super) first: String,
    /// It has others, which Dhal's `host` cannot say.
    pub(super) has_odd: bool,
}

/// What routes of one server share.
pub(super) struct Site<'a> {
    pub(super) directive: &'a Directive,
    pub(super) scope: Scope<'a>,
    /// `host`; none: any.
    pub(super) hosts: Vec<String>,
    pub(super) server_name: String,
    /// Whether it speaks TLS.
    pub(super) tls: bool,
    /// The expressions of its locations and rewrites.
    pub(super) expressions: Rc<Expressions>,
    /// The shades of its locations, by their numbers.
    pub(super) shades: Rc<RefCell<HashMap<usize, Shade>>>,
}

impl Site<'_> {
    /// The shade of a location, with those within it.
    pub(super) fn shade_of(&self, location: &Directive) -> Shade {
        let mut shades = self.shades.borrow_mut();
        *shades
            .entry(location.id)
            .or_insert_with(|| gates::shade_of_all(&self.scope, location))
    }
}

impl<'a> Translator<'a> {
    pub(super) fn servers(&mut self) {
        let http = self.http;
        let outer = Scope(vec![http]);
        let mut servers = Vec::new();
        for directive in http
            .iter()
            .filter(|d| d.name == "server" && d.block.is_some())
        {
            self.full(directive);
            let scope = outer.within(directive.children());
            let listens = self.listens(directive, &scope);
            let mut names = self.names(directive);
            if names.first.is_empty() {
                names.first = names.hosts.first().cloned().unwrap_or_default();
            }
            servers.push(Server {
                directive,
                redirect: rewrite::to_https(directive, &names),
                scope,
                listens,
                names,
                notes: self.notes(),
            });
        }
        let addresses = self.addresses(&servers);
        let everybody = catch_all(&servers, &addresses);
        let guarded = everybody.and_then(|index| guarded_default(&servers, &addresses, index));
        // The certificate for clients that name no host goes first.
        let mut order: Vec<usize> = (0..servers.len()).collect();
        order.sort_by_key(|index| Some(*index) != everybody);
        for index in &order {
            let server = &servers[*index];
            if server.listens.iter().any(|l| l.tls) {
                let scope = server.scope.clone();
                self.certificates(&scope);
            }
        }
        let mut taken = HashSet::new();
        // What speaks TLS, and what has pages, goes before redirects for the same names.
        let mut order: Vec<usize> = (0..servers.len()).collect();
        // Of two with one name the one for the public.
        order.sort_by_key(|index| {
            let server = &servers[*index];
            (server.redirect.is_some(), is_internal(server, &addresses))
        });
        for index in order {
            let server = &servers[index];
            let mut is_catch_all = everybody == Some(index);
            self.shut = None;
            self.methods = None;
            self.only_from = is_internal(server, &addresses).then(|| inside(server));
            if is_catch_all && let Some(other) = guarded {
                self.missing(other, "it keeps out visitors of hosts that are named nowhere, or of names that Dhal's `host` cannot say");
                self.tell_closed(other);
                match server.names.hosts.is_empty() {
                    // Hosts without a route get 404.
                    false => is_catch_all = false,
                    true => {
                        self.shut = Some(format!("see the server of {}", self.tree.place(other.at)))
                    }
                }
            }
            let rival = servers
                .iter()
                .enumerate()
                .find(|(other, rival)| *other != index && is_stricter(rival, server, &addresses));
            let is_led = server.redirect.is_some() && server.listens.iter().all(|l| !l.tls);
            if let Some((_, rival)) = rival
                && !is_led
                && server.names.hosts.iter().any(|host| !taken.contains(host))
            {
                self.missing(rival.directive, "it has gates that another server of its names does not have, and Dhal's routes are for every address. Until it is settled nobody may come to either: take `deny` away");
                self.tell_closed(rival.directive);
                self.shut = Some(format!(
                    "see the server of {}",
                    self.tree.place(rival.directive.at)
                ));
            }
            if self.only_from.is_none() && !is_led {
                self.other_ports(server, &addresses);
            }
            self.server(server, is_catch_all, &mut taken);
        }
        self.only_from = None;
    }

    /// Says where else than with nginx a server will be asked.
    fn other_ports(&mut self, server: &Server<'a>, addresses: &[(SocketAddr, usize, bool)]) {
        let is_own = |port: u16| server.listens.iter().any(|l| l.address.port() == port);
        let mut others: Vec<u16> = addresses.iter().map(|(at, ..)| at.port()).collect();
        others.retain(|port| !is_own(*port));
        others.sort_unstable();
        others.dedup();
        if !others.is_empty() {
            let others: Vec<_> = others.iter().map(u16::to_string).collect();
            self.differs(
                server.directive,
                format!(
                    "it answers at port {} too: Dhal's routes are for every address",
                    others.join(", ")
                ),
            );
        }
    }

    /// The listeners: their addresses, with the servers of each and the one that is the default.
    fn addresses(&mut self, servers: &[Server<'a>]) -> Vec<(SocketAddr, usize, bool)> {
        let mut known: Vec<SocketAddr> = Vec::new();
        for listen in servers.iter().flat_map(|s| &s.listens) {
            if !known.contains(&listen.address) {
                known.push(listen.address);
            }
        }
        let mut out = Vec::new();
        for address in known {
            let here: Vec<_> = servers
                .iter()
                .enumerate()
                .flat_map(|(index, s)| s.listens.iter().map(move |l| (index, l)))
                .filter(|(_, listen)| listen.address == address)
                .collect();
            let default = here
                .iter()
                .find(|(_, l)| l.is_default)
                .or_else(|| here.first())
                .map_or(0, |(index, _)| *index);
            let tls = here.iter().any(|(_, l)| l.tls);
            let redirect = here
                .iter()
                .map(|(index, _)| servers[*index].redirect)
                .reduce(|one, other| one.filter(|port| Some(*port) == other))
                .flatten()
                .filter(|_| !tls);
            let listens: Vec<_> = here.iter().map(|(_, l)| *l).collect();
            self.listener(&listens, redirect);
            if redirect.is_none() {
                out.push((address, default, tls));
            }
        }
        out
    }

    fn names(&mut self, server: &'a Directive) -> Names {
        let mut names = Names::default();
        for directive in server.children().iter().filter(|d| d.name == "server_name") {
            let mut odd = Vec::new();
            for word in directive.words() {
                let name = word.to_ascii_lowercase();
                if names.first.is_empty() && !name.starts_with(['~', '.', '*', '_']) {
                    names.first.clone_from(&name);
                }
                if name.is_empty() || name == "_" || name == "-" || name == "--" {
                    continue;
                }
                match name.strip_prefix('.') {
                    Some(below) if is_name(below) => {
                        names.hosts.extend([below.to_owned(), format!("*.{below}")]);
                    }
                    _ if is_name(name.strip_prefix("*.").unwrap_or(&name)) => {
                        names.hosts.push(name)
                    }
                    _ => odd.push(word),
                }
            }
            names.has_odd |= !odd.is_empty();
            match odd.is_empty() {
                true => self.full(directive),
                false if names.hosts.is_empty() => self.missing(
                    directive,
                    "a host of Dhal is a name, or `*.` and a name: write those that are meant",
                ),
                false => self.differs(
                    directive,
                    format!(
                        "without {}: a host of Dhal is a name, or `*.` and a name",
                        odd.join(" ")
                    ),
                ),
            }
        }
        names.hosts.dedup();
        names
    }

    fn server(&mut self, server: &Server<'a>, is_catch_all: bool, taken: &mut HashSet<String>) {
        let directive = server.directive;
        let at = self.routes.len();
        self.with_server(server, is_catch_all, taken);
        self.leftovers(directive.children(), &|_| true);
        let mut notes = server.notes.clone();
        notes.extend(self.notes());
        // A heading where something came of it.
        let has_routes = self.routes.len() > at;
        if has_routes || !notes.is_empty() {
            let mut names = server.names.hosts.join(" ");
            if is_catch_all {
                names += match names.is_empty() {
                    true => "any host",
                    false => ", and every host that is named nowhere",
                };
            }
            let mut text = format!("-- {names} ({}) --", self.tree.place(directive.at));
            for note in notes {
                text += "\n";
                text += &note.replace('\n', "\n  ");
            }
            self.routes.insert(at, Block::Comment(text));
        }
    }

    fn with_server(
        &mut self,
        server: &Server<'a>,
        is_catch_all: bool,
        taken: &mut HashSet<String>,
    ) {
        let directive = server.directive;
        let is_plain = server.listens.iter().all(|l| !l.tls);
        if server.redirect.is_some() && is_plain {
            self.only_redirect(server);
            return;
        }
        let mut hosts = Vec::new();
        for host in &server.names.hosts {
            if taken.insert(host.clone()) {
                hosts.push(host.clone());
            }
        }
        if is_catch_all {
            if !taken.insert(String::new()) {
                return;
            }
            hosts.clear();
        } else if hosts.is_empty() {
            let why = match server.names.hosts.is_empty() {
                true => {
                    "it is the default server of an address of its own, or has no name at all: Dhal's routes are for every address, and another server answers names that nobody has"
                }
                false => {
                    "another server has its names: Dhal's routes are for a host on every address"
                }
            };
            self.missing(directive, why);
            return;
        } else if hosts.len() < server.names.hosts.len() {
            self.differs(directive, format!("for {} only: another server has the other names, and Dhal's routes are for every address", hosts.join(" ")));
        }
        // A name that an `if` leads elsewhere has a route for all its paths.
        let led = rewrite::led_hosts(directive);
        let is_led = |host: &String| led.contains(host) && is_name(host);
        let leads_all = !hosts.is_empty() && hosts.iter().all(is_led);
        if !leads_all {
            hosts.retain(|host| !led.contains(host));
        }
        let site = Site {
            directive,
            scope: server.scope.clone(),
            hosts,
            server_name: server.names.first.clone(),
            tls: !is_plain,
            expressions: Rc::default(),
            shades: Rc::default(),
        };
        // Nobody comes as far as its locations.
        match leads_all {
            true => self.server_rules(&site, true),
            false => self.site(&site),
        }
    }

    /// A server without TLS that leads to https: its listener does it, or nothing can.
    fn only_redirect(&mut self, server: &Server<'a>) {
        let addresses: Vec<_> = server
            .listens
            .iter()
            .map(|l| l.address.to_string())
            .collect();
        let done = self.listeners.iter().any(|section| {
            let is = |name: &str, value: &str| {
                section
                    .keys
                    .iter()
                    .any(|k| k.name == name && k.value == value)
            };
            is("redirect_to_https", "true")
                && addresses.iter().any(|a| is("address", &toml::string(a)))
        });
        let children = server.directive.children();
        if !done {
            self.missing(server.directive, "it leads to https, but other servers have pages at the same address without TLS, and Dhal's routes are for every address: if all is to lead to https, set `redirect_to_https = true` at that listener");
            self.with_block(server.directive);
            return;
        }
        for child in children {
            match child.name.as_str() {
                "return" | "if" | "rewrite" => {
                    let status: Option<u16> = child.arg(0).parse().ok();
                    match status {
                        Some(302 | 303 | 307) => self.differs(child, "`redirect_to_https` is permanent: 301, or 308 where the method must stay"),
                        _ => self.full(child),
                    }
                    self.with_block(child);
                }
                "location" if child.words().any(|w| w.contains("acme-challenge")) => {
                    self.differs(child, "Dhal gets certificates itself: see `[acme]`. For another client, use its TLS-ALPN or DNS challenge");
                    self.with_block(child);
                }
                "location" => {
                    self.full(child);
                    self.with_block(child);
                }
                _ => {}
            }
        }
    }
}

/// The networks from which a server is asked that listens within.
fn inside(server: &Server<'_>) -> Vec<String> {
    let mut out = vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()];
    if !server.listens.iter().all(|l| l.address.ip().is_loopback()) {
        let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
        out.extend(private.map(str::to_owned));
    }
    out
}

/// Whether a server listens where only our own can reach it, while others listen elsewhere.
fn is_internal(server: &Server<'_>, addresses: &[(SocketAddr, usize, bool)]) -> bool {
    let is_within = |address: &SocketAddr| match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    };
    let listens = || server.listens.iter().map(|l| l.address);
    !server.listens.is_empty()
        && listens().all(|address| is_within(&address))
        && addresses
            .iter()
            .any(|(address, _, _)| !listens().any(|own| own == *address))
}

/// Whether another server has a name of this one, and keeps out whom this one does not.
fn is_stricter(
    other: &Server<'_>,
    server: &Server<'_>,
    addresses: &[(SocketAddr, usize, bool)],
) -> bool {
    let shares = other
        .names
        .hosts
        .iter()
        .any(|host| server.names.hosts.contains(host));
    // What is asked from within alone says nothing of the public.
    if !shares || (is_internal(other, addresses) && !is_internal(server, addresses)) {
        return false;
    }
    let is_dark = gates::shade_of_server(&other.scope, other.directive) != Shade::Open;
    is_dark && content(other.directive) != content(server.directive)
}

/// What a server does, without where it listens.
fn content(server: &Directive) -> Vec<String> {
    fn walk(directives: &[Directive], depth: usize, out: &mut Vec<String>) {
        for directive in directives {
            let name = directive.name.as_str();
            let is_where = depth == 0
                && (matches!(name, "listen" | "server_name") || name.starts_with("ssl_"));
            if !is_where || name == "ssl_verify_client" {
                out.push(format!("{depth} {}", directive.text()));
                walk(directive.children(), depth + 1, out);
            }
        }
    }
    let mut out = Vec::new();
    walk(server.children(), 0, &mut out);
    out
}

/// A server that keeps out visitors whom the one for all hosts would let in.
fn guarded_default<'a>(
    servers: &[Server<'a>],
    addresses: &[(SocketAddr, usize, bool)],
    chosen: usize,
) -> Option<&'a Directive> {
    let own = &servers[chosen];
    let is_default = |index: usize| addresses.iter().any(|(_, default, _)| *default == index);
    let mut others = servers.iter().enumerate().filter(|(index, server)| {
        *index != chosen
            && server.redirect.is_none()
            && (is_default(*index) || server.names.has_odd)
            && gates::shade_of_server(&server.scope, server.directive) != Shade::Open
            && content(server.directive) != content(own.directive)
    });
    others.next().map(|(_, server)| server.directive)
}

/// A name as `host` takes it.
pub(super) fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// The server that answers names that nobody has: the default of the first address with pages, those
/// with TLS first.
fn catch_all(servers: &[Server<'_>], addresses: &[(SocketAddr, usize, bool)]) -> Option<usize> {
    let is_public = |index: usize| !is_internal(&servers[index], addresses);
    let chosen = addresses
        .iter()
        .find(|(_, index, tls)| *tls && is_public(*index))
        .or_else(|| addresses.iter().find(|(_, index, _)| is_public(*index)))
        .or_else(|| addresses.iter().find(|(_, _, tls)| *tls))
        .or_else(|| addresses.first())
        .map(|(_, index, _)| *index)?;
    // Its own names might be caught by another's wildcard, which is more specific than no host.
    let own = &servers[chosen].names.hosts;
    let caught = servers.iter().enumerate().any(|(index, other)| {
        index != chosen
            && other.names.hosts.iter().any(|host| {
                host.strip_prefix('*')
                    .is_some_and(|below| own.iter().any(|name| name.ends_with(below)))
            })
    });
    (!caught).then_some(chosen)
}
