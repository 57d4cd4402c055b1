//! `upstream`, and servers that `proxy_pass` names by themselves.

use super::{Scope, Translator, plain_name};
use crate::{
    toml::{self, Section},
    tree::Directive,
    units,
};

/// What a location wants of an upstream: each combination is one of Dhal's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    /// As it stands in `proxy_pass`, without scheme and path.
    pub(super) authority: String,
    pub(super) tls: bool,
    /// HTTP/2, as `grpc_pass` speaks it.
    pub(super) http2: bool,
    /// What `tls` says; `true` or a table.
    pub(super) tls_value: String,
}

impl<'a> Translator<'a> {
    /// The name of the upstream; an error says why there is none.
    pub(super) fn upstream(&mut self, wanted: Wanted, scope: &Scope<'a>) -> Result<String, String> {
        if let Some(name) = self.upstream_names.get(&wanted) {
            let name = name.clone();
            self.retries(scope, None);
            return Ok(name);
        }
        let notes = self.notes();
        let block = self
            .http
            .iter()
            .find(|d| d.name == "upstream" && d.arg(0) == wanted.authority);
        let mut section = Section::default();
        match block {
            Some(block) => self.group(block, &wanted, &mut section)?,
            None => {
                let server = server_address(&wanted.authority, wanted.tls)
                    .ok_or("a server of an upstream is `host:port`")?;
                section.set("servers", toml::strings(&[server]));
            }
        }
        if wanted.tls {
            section.set("tls", wanted.tls_value.clone());
        }
        if wanted.http2 {
            section.set("protocol", toml::string("h2"));
        }
        self.upstream_timeouts(scope, &mut section);
        self.retries(scope, Some(&mut section));
        section.notes = self.notes();
        self.pending = notes;
        let mut name = self.upstreams.free(&plain_name(&wanted.authority));
        if name.starts_with(|c: char| c.is_ascii_digit()) && block.is_none() {
            name = self.upstreams.free(&format!("at-{name}"));
        }
        self.upstreams.put(name.clone(), section);
        self.upstream_names.insert(wanted, name.clone());
        Ok(name)
    }

    fn group(
        &mut self,
        block: &'a Directive,
        wanted: &Wanted,
        section: &mut Section,
    ) -> Result<(), String> {
        self.full(block);
        let mut servers = Vec::new();
        let mut addresses: Vec<String> = Vec::new();
        let (mut fails, mut pause) = (1u64, 10_000u64);
        let mut most: Option<u64> = None;
        for directive in block.children().iter().filter(|d| d.name == "server") {
            let Some(address) = server_address(directive.arg(0), wanted.tls) else {
                self.missing(directive, "a server of an upstream is `host:port`");
                continue;
            };
            if addresses.contains(&address) {
                self.missing(directive, "it is in the list already");
                continue;
            }
            addresses.push(address.clone());
            let mut keys = vec![("address", toml::string(&address))];
            let mut odd = Vec::new();
            for word in directive.words().skip(1) {
                let (name, value) = word.split_once('=').unwrap_or((word, ""));
                let number: Option<u64> = value.parse().ok();
                match (name, number) {
                    ("weight", Some(1)) => {}
                    ("weight", Some(weight @ 1..=1000)) => {
                        keys.push(("weight", weight.to_string()))
                    }
                    ("backup", _) => keys.push(("backup", "true".to_owned())),
                    ("down", _) => keys.push(("drain", "true".to_owned())),
                    ("max_fails", Some(number)) => fails = number,
                    ("fail_timeout", _) => pause = units::time_ms(value).unwrap_or(pause),
                    ("max_conns", Some(number @ 1..)) => {
                        most = Some(most.map_or(number, |m| m.min(number)))
                    }
                    ("max_conns", _) | ("resolve", _) => {}
                    ("slow_start", _) => {
                        if let Some(ms) = units::time_ms(value) {
                            section.set("slow_start", toml::string(&units::duration(ms)));
                        }
                    }
                    _ => odd.push(word),
                }
            }
            match odd.is_empty() {
                true => self.full(directive),
                false => self.differs(directive, format!("without {}", odd.join(" "))),
            }
            servers.push(match &keys[..] {
                [(_, address)] => address.clone(),
                _ => toml::table(&keys),
            });
        }
        if servers.is_empty() {
            return Err("its upstream has no server that Dhal could reach".to_owned());
        }
        let several = servers.len() > 1;
        section.set("servers", toml::list(&servers));
        self.balance(block, several, section);
        // nginx leaves a server alone after failures where there are others.
        if several && fails > 0 {
            let pause = toml::string(&units::duration(pause.clamp(1_000, 3_600_000)));
            let keys = [
                ("consecutive_failures", fails.clamp(1, 1000).to_string()),
                ("failure_percent", "0".to_owned()),
                ("base_time", pause.clone()),
                ("max_time", pause),
                ("max_percent", "100".to_owned()),
            ];
            section.remarked(
                "eject",
                toml::table(&keys),
                "as max_fails and fail_timeout; Dhal's own defaults are kinder: `eject = {}`",
            );
        }
        if let Some(most) = most {
            section.set(
                "connections",
                toml::table(&[("max", most.min(1_000_000).to_string())]),
            );
        }
        if let Some(keepalive) = block.children().iter().find(|d| d.name == "keepalive") {
            self.full(keepalive);
        }
        self.leftovers(block.children(), &|_| true);
        Ok(())
    }

    fn balance(&mut self, block: &'a Directive, several: bool, section: &mut Section) {
        let methods = [
            "least_conn",
            "ip_hash",
            "hash",
            "random",
            "least_time",
            "sticky",
        ];
        let Some(method) = block
            .children()
            .iter()
            .find(|d| methods.contains(&d.name.as_str()))
        else {
            if several {
                section.set("balance", toml::string("round-robin"));
            }
            return;
        };
        let hash = |section: &mut Section, key: &str| {
            section.set("balance", toml::string("consistent-hash"));
            section.set("hash_key", toml::string(key));
        };
        match (method.name.as_str(), method.arg(0)) {
            ("least_conn", _) => {
                section.set("balance", toml::string("least-requests"));
                self.full(method);
            }
            ("ip_hash", _) => {
                hash(section, "client-ip");
                self.differs(
                    method,
                    "by the whole address; nginx takes three quarters of an IPv4 address",
                );
            }
            ("hash", "$request_uri" | "$uri" | "$host$request_uri" | "$scheme$request_uri") => {
                hash(section, "target");
                self.full(method);
            }
            ("hash", "$remote_addr" | "$binary_remote_addr") => {
                hash(section, "client-ip");
                self.full(method);
            }
            ("hash", key) if key.starts_with("$cookie_") => {
                hash(section, &format!("cookie:{}", &key[8..]));
                self.full(method);
            }
            ("hash", key) if key.starts_with("$http_") => {
                hash(section, &format!("header:{}", key[6..].replace('_', "-")));
                self.full(method);
            }
            ("hash", _) => {
                hash(section, "target");
                self.differs(method, "by the target: Dhal knows \"target\", \"client-ip\", \"header:NAME\" and \"cookie:NAME\"");
            }
            _ => {
                section.set("balance", toml::string("least-requests"));
                self.differs(method, "by requests at work: \"least-requests\"");
            }
        }
    }

    /// nginx waits for a minute where nothing is said.
    fn upstream_timeouts(&mut self, scope: &Scope<'a>, section: &mut Section) {
        let mut keys = Vec::new();
        let mut remark = "";
        let of_http = |name: &str| scope.one(name).filter(|d| scope.is_of_http(d));
        if let Some(connect) = of_http("proxy_connect_timeout")
            && let Some(ms) = units::time_ms(connect.arg(0))
        {
            keys.push((
                "connect",
                toml::string(&units::duration(ms.clamp(1, 60_000))),
            ));
            self.full(connect);
        }
        match of_http("proxy_read_timeout") {
            Some(read) => {
                if let Some(ms) = units::time_ms(read.arg(0)) {
                    keys.push((
                        "response",
                        toml::string(&units::duration(ms.clamp(1, 3_600_000))),
                    ));
                    self.full(read);
                }
            }
            None => {
                keys.push(("response", toml::string("60s")));
                remark = "nginx's default; Dhal's is 15s";
            }
        }
        if !keys.is_empty() {
            section.remarked("timeouts", toml::table(&keys), remark);
        }
    }

    /// `proxy_next_upstream`, for the section of the upstream; marked only where it is known already.
    fn retries(&mut self, scope: &Scope<'a>, section: Option<&mut Section>) {
        let next = scope.one("proxy_next_upstream");
        let tries = scope.one("proxy_next_upstream_tries");
        let is_new = section.is_some();
        let mut attempts = None;
        if let Some(tries) = tries
            && let Ok(number) = tries.arg(0).parse::<u64>()
        {
            attempts = Some(number.saturating_sub(1).min(10)).filter(|_| number > 0);
            self.full(tries);
        }
        if let Some(next) = next {
            let words: Vec<_> = next.words().collect();
            if words == ["off"] {
                attempts = Some(0);
                self.full(next);
            } else if words.iter().all(|w| matches!(*w, "error" | "timeout")) {
                self.full(next);
            } else {
                self.differs(next, "Dhal tries safe requests again where no answer came; a server that keeps failing is ejected (`eject`)");
            }
        }
        if let (Some(section), Some(attempts), true) = (section, attempts, is_new) {
            section.set("retry", toml::table(&[("attempts", attempts.to_string())]));
        }
        if let Some(timeout) = scope.one("proxy_next_upstream_timeout") {
            self.missing(timeout, "`timeouts.total` bounds the whole exchange");
        }
    }

    /// Upstreams that nothing asks.
    pub(super) fn idle_upstreams(&mut self) {
        for block in self.http.iter().filter(|d| d.name == "upstream") {
            if !self.is_marked(block) {
                self.mark(block, crate::report::Outcome::Idle, None);
                self.with_block(block);
            }
        }
    }
}

/// `host:port`, with the port that the scheme means.
fn server_address(text: &str, tls: bool) -> Option<String> {
    if text.starts_with("unix:") || text.contains(['$', '/']) || text.is_empty() {
        return None;
    }
    let port = if tls { 443 } else { 80 };
    if text.parse::<std::net::SocketAddr>().is_ok() {
        return Some(text.to_owned());
    }
    if text.starts_with('[') && text.ends_with(']') {
        return Some(format!("{text}:{port}"));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok().filter(|p| *p != 0)?),
        None => (text, port),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (!host.is_empty() && host.bytes().all(plain)).then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        for (text, tls, expected) in [
            ("10.0.0.1:3000", false, Some("10.0.0.1:3000")),
            ("shop", false, Some("shop:80")),
            ("shop", true, Some("shop:443")),
            ("[::1]", false, Some("[::1]:80")),
            ("[::1]:3000", false, Some("[::1]:3000")),
            ("unix:/run/shop.sock", false, None),
            ("$shop", false, None),
            ("shop:0", false, None),
        ] {
            assert_eq!(server_address(text, tls).as_deref(), expected, "{text}");
        }
    }
}
