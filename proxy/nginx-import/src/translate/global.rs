//! What applies to the whole process.

use super::{Scope, Translator};
use crate::{toml, units};

/// Dhal's longest pause, wait or time limit.
const HOUR_MS: u64 = 3_600_000;

impl<'a> Translator<'a> {
    pub(super) fn global(&mut self) {
        let tree = self.tree;
        let main = Scope(vec![&tree.directives]);
        if let Some(workers) = main.one("worker_processes") {
            match workers.arg(0) {
                "auto" => self.full(workers),
                number => match number.parse::<u64>() {
                    Ok(number @ 1..=1024) => {
                        self.server.set("threads", number.to_string());
                        self.full(workers);
                    }
                    _ => self.missing(workers, "Dhal has a thread per core where nothing is said"),
                },
            }
        }
        let http = Scope(vec![self.http]);
        for (name, key) in [
            ("client_header_timeout", "header_timeout"),
            ("client_body_timeout", "body_timeout"),
            ("keepalive_timeout", "keepalive_timeout"),
        ] {
            let Some(directive) = http.one(name) else {
                continue;
            };
            match units::time_ms(directive.arg(0)) {
                Some(0) => self.missing(
                    directive,
                    "Dhal keeps connections open for its own time; 100ms is the least",
                ),
                Some(ms) => {
                    self.server
                        .set(key, toml::string(&units::duration(ms.clamp(100, HOUR_MS))));
                    self.full(directive);
                }
                None => self.missing(directive, "this is no time"),
            }
        }
        if let Some(buffers) = http.one("large_client_header_buffers") {
            let number: u64 = buffers.arg(0).parse().unwrap_or(4);
            if let Some(each) = units::bytes(buffers.arg(1)) {
                let target = each.clamp(256, 64 << 10);
                let head = each.saturating_mul(number).clamp(1 << 10, 1 << 20);
                self.server
                    .set("max_target_bytes", toml::string(&units::size(target)));
                self.server
                    .set("max_header_bytes", toml::string(&units::size(head)));
                self.full(buffers);
            }
        }
        self.resolver(&http);
        self.real_ip(&http);
        if let Some(gzip) = http.one("gzip") {
            self.gzip(gzip);
        }
    }

    pub(super) fn gzip(&mut self, gzip: &crate::tree::Directive) {
        match gzip.arg(0) {
            "off" => self.full(gzip),
            _ => self.differs(gzip, "Dhal compresses what it stores, once, as gzip, brotli and zstd; what it passes on stays as the shop sends it"),
        }
    }

    pub(super) fn resolver(&mut self, scope: &Scope<'a>) {
        let Some(resolver) = scope.one("resolver") else {
            return;
        };
        let mut servers = Vec::new();
        let mut names = Vec::new();
        for word in resolver.words().filter(|word| !word.contains('=')) {
            let address = word
                .parse::<std::net::SocketAddr>()
                .or_else(|_| format!("{word}:53").parse());
            match address {
                Ok(address) => servers.push(address.to_string()),
                Err(_) => names.push(word.to_owned()),
            }
        }
        if servers.is_empty() {
            self.missing(
                resolver,
                "Dhal's `resolvers` are addresses; it asks the system's where there are none",
            );
            return;
        }
        self.server.set("resolvers", toml::strings(&servers));
        match names.is_empty() {
            true => self.full(resolver),
            false => self.differs(
                resolver,
                format!(
                    "without {}: Dhal's `resolvers` are addresses",
                    names.join(", ")
                ),
            ),
        }
    }

    /// Whom to believe about visitors' addresses. nginx may say so for each server, Dhal for all.
    pub(super) fn real_ip(&mut self, scope: &Scope<'a>) {
        let trusted = match scope.0.first() {
            Some(http) => http
                .iter()
                .filter(|d| d.name == "set_real_ip_from")
                .collect(),
            None => Vec::new(),
        };
        let header = scope.one("real_ip_header");
        // Of a server alone: Dhal believes for all or for none.
        let mut all = Vec::new();
        self.tree.each(&mut |d| {
            if d.name == "set_real_ip_from" && !trusted.iter().any(|t| t.id == d.id) {
                all.push(d);
            }
        });
        for directive in all {
            let is_known = trusted.iter().any(|t| t.arg(0) == directive.arg(0));
            if is_known {
                self.full(directive);
                continue;
            }
            self.blind = true;
            self.missing(directive, "`trusted_proxies` are those of all servers; routes with `allow` or `deny` are closed until it is mended");
        }
        if trusted.is_empty() {
            return;
        }
        let mut networks: Vec<String> = Vec::new();
        for directive in &trusted {
            match directive.arg(0) {
                network if is_network(network) => {
                    networks.push(network.to_owned());
                    self.full(directive);
                }
                "unix:" => self.full(directive),
                _ => {
                    self.blind = true;
                    self.missing(directive, "`trusted_proxies` takes addresses and networks");
                }
            }
        }
        let name = header
            .map_or("X-Real-IP", |d| d.arg(0))
            .to_ascii_lowercase();
        match name.as_str() {
            "x-forwarded-for" | "proxy_protocol" => {
                if let Some(header) = header {
                    self.full(header);
                }
            }
            "forwarded" => self
                .server
                .set("forwarded_field", toml::string("forwarded")),
            _ => {
                let why = format!(
                    "Dhal reads `X-Forwarded-For` or `Forwarded`, not `{name}`: make sure that the proxies in front set one of them anew"
                );
                let directive = header.unwrap_or(trusted[0]);
                self.missing(directive, format!("{why}. Until then nobody is believed, and routes with `allow` or `deny` are closed: write `trusted_proxies`, and take `deny` away"));
                self.blind = true;
                networks.clear();
            }
        }
        if let Some(recursive) = scope.one("real_ip_recursive") {
            match recursive.arg(0) {
                "on" => self.full(recursive),
                _ => self.differs(
                    recursive,
                    "Dhal goes back through the list while it names trusted proxies",
                ),
            }
        }
        if !networks.is_empty() {
            networks.dedup();
            self.server.set("trusted_proxies", toml::strings(&networks));
        }
    }

    pub(super) fn access_log(&mut self) {
        let mut all = Vec::new();
        self.tree.each(&mut |directive| {
            if directive.name == "access_log" {
                all.push(directive);
            }
        });
        let mut chosen: Option<&str> = None;
        for directive in all {
            let path = directive.arg(0);
            if path == "off" {
                self.missing(directive, "Dhal has one access log for all routes");
            } else if let Some(chosen) = chosen {
                match chosen == path {
                    true => self.full(directive),
                    false => self.missing(
                        directive,
                        "Dhal has one access log, in which each line names its host and route",
                    ),
                }
            } else if path.contains('$') || path.starts_with("syslog:") {
                self.missing(
                    directive,
                    "Dhal writes its access log to a file or to stdout",
                );
            } else {
                chosen = Some(path);
                self.access_log.set("path", toml::string(&own_log(path)));
                let format = directive.args.get(1).map(|arg| arg.text.as_str());
                match format {
                    None | Some("combined") => {
                        self.access_log.set("format", toml::string("combined"));
                        self.differs(directive, "a path of its own, so that both can run");
                    }
                    Some(name) => {
                        self.access_log.set("format", toml::string("json"));
                        self.differs(directive, format!("in the place of the format {name} there is JSON, which has all that Dhal knows of a request; or write \"combined\""));
                    }
                }
            }
        }
        let http = self.http;
        for format in http.iter().filter(|d| d.name == "log_format") {
            self.missing(format, "Dhal's formats are \"json\" and \"combined\"");
        }
    }
}

/// A path of Dhal's own beside the one of nginx.
fn own_log(path: &str) -> String {
    if path.contains("nginx") {
        return path.replace("nginx", "dhal");
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
    format!("{folder}/dhal-{name}")
}

/// An address or a network.
pub(super) fn is_network(text: &str) -> bool {
    let (address, bits) = text.split_once('/').unwrap_or((text, "0"));
    let most = match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}
