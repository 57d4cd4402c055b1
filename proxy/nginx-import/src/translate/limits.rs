//! `limit_req` and `limit_conn`.

use std::net::IpAddr;

use super::{Scope, Translator};
use crate::{
    toml::{self, Section},
    tree::Directive,
    units,
    variables::{self, Part},
};

/// The longest that a request of Dhal is held back, in milliseconds.
const DELAY_MAX: u64 = 60_000;

/// What a zone counts by.
struct Key {
    /// As `key` of a limit takes it.
    key: String,
    /// The name of a list of addresses that are not counted.
    exempt: Option<String>,
}

impl<'a> Translator<'a> {
    /// The limits of a location.
    pub(super) fn limits(&mut self, scope: &Scope<'a>, out: &mut Section) {
        let mut names = Vec::new();
        for directive in scope.all("limit_req") {
            if let Some(name) = self.limit(scope, directive)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        if !names.is_empty() {
            out.set("limits", toml::strings(&names));
        }
        self.connections(&scope.all("limit_conn"));
        for name in [
            "limit_conn_status",
            "limit_conn_log_level",
            "limit_req_log_level",
        ] {
            if let Some(directive) = scope.one(name) {
                match name {
                    "limit_conn_status" => {
                        self.missing(directive, "a connection beyond the bound is closed")
                    }
                    _ => self.full(directive),
                }
            }
        }
    }

    fn limit(&mut self, scope: &Scope<'a>, directive: &'a Directive) -> Option<String> {
        let parameter = |name: &str| directive.words().find_map(|w| w.strip_prefix(name));
        let zone = parameter("zone=")?;
        let definition = self.http.iter().find(|d| {
            d.name == "limit_req_zone"
                && d.words().any(|w| {
                    w.strip_prefix("zone=")
                        .is_some_and(|z| z.split(':').next() == Some(zone))
                })
        });
        let Some(definition) = definition else {
            self.missing(directive, format!("there is no `limit_req_zone` {zone}"));
            return None;
        };
        let rate = definition
            .words()
            .find_map(|w| w.strip_prefix("rate="))
            .and_then(units::rate);
        let Some((number, unit)) = rate else {
            self.missing(definition, "this is no rate");
            self.missing(directive, "its zone has no rate");
            return None;
        };
        let (key, why) = self.limit_key(definition.arg(0));
        match why {
            None => self.full(definition),
            Some(why) => self.differs(definition, why),
        }
        self.full(directive);
        let burst: u64 = parameter("burst=")
            .and_then(|b| b.parse().ok())
            .unwrap_or(0);
        let burst = burst.min(999_999);
        let nodelay = directive.words().any(|w| w == "nodelay");
        let at_once = match parameter("delay=").and_then(|d| d.parse::<u64>().ok()) {
            _ if nodelay => burst,
            Some(delay) => delay.min(burst),
            None => 0,
        };
        let mut section = Section::default();
        section.set("key", key.key);
        section.set("rate", toml::string(&format!("{number}/{unit}")));
        // nginx admits one, and then those that exceed it.
        section.set("burst", (at_once + 1).to_string());
        let held = burst - at_once;
        if held > 0 {
            let per = if unit == 's' { 1_000 } else { 60_000 };
            let longest = (held * per).div_ceil(number);
            section.set("action", toml::string("delay"));
            section.set(
                "max_delay",
                toml::string(&units::duration(longest.clamp(1, DELAY_MAX))),
            );
            if longest > DELAY_MAX {
                self.differs(directive, "nobody is held back for longer than a minute");
            }
        }
        let mut only_told = false;
        if let Some(dry) = scope.one("limit_req_dry_run") {
            self.full(dry);
            if dry.arg(0) == "on" {
                only_told = true;
                section.keys.retain(|k| k.name != "max_delay");
                section.set("action", toml::string("log"));
            }
        }
        match scope.one("limit_req_status") {
            // Nobody is refused, so there is no status.
            Some(status) if only_told => self.full(status),
            None if only_told => {}
            None => section.set("status", "503"),
            Some(status) if status.arg(0) == "429" => self.full(status),
            Some(status) if status.arg(0) == "503" => {
                section.set("status", "503");
                self.full(status);
            }
            Some(status) => self.differs(status, "429, which is made for this"),
        }
        if let Some(exempt) = key.exempt {
            section.set("exempt", toml::strings(&[exempt]));
        }
        let known = self.limits.list.len();
        let name = self.limits.intern(zone, section);
        if self.limits.list.len() > known && known > 0 && name != super::plain_name(zone) {
            self.differs(
                directive,
                format!("it counts by itself, as {name}; nginx counts all of a zone together"),
            );
        }
        Some(name)
    }

    /// What a zone counts by, and what is to be said of it. What cannot be said is left out of the key: more
    /// requests are counted together then, so that the limit is the stricter.
    fn limit_key(&mut self, text: &str) -> (Key, Option<String>) {
        let parts = variables::parts(text);
        if let [Part::Variable(name)] = parts[..]
            && let Some(key) = self.mapped_key(name)
        {
            return (key, None);
        }
        let mut keys: Vec<String> = Vec::new();
        let mut odd = Vec::new();
        let mut optional = false;
        for part in parts {
            let Part::Variable(name) = part else {
                continue;
            };
            keys.push(match name {
                "binary_remote_addr" | "remote_addr" => "client-ip".to_owned(),
                "host" | "http_host" => "host".to_owned(),
                _ => match (name.strip_prefix("http_"), name.strip_prefix("cookie_")) {
                    (Some(field), _) => {
                        optional = true;
                        format!("header:{}", field.replace('_', "-"))
                    }
                    (_, Some(cookie)) => {
                        optional = true;
                        format!("cookie:{cookie}")
                    }
                    _ => {
                        odd.push(format!("${name}"));
                        continue;
                    }
                },
            });
        }
        keys.dedup();
        let why = match (odd.is_empty(), optional) {
            _ if keys.is_empty() && odd.iter().all(|name| name == "$server_name") => Some(
                "nginx counts all visitors together, Dhal by their addresses: bound the requests at work by `concurrency` of the upstream".to_owned(),
            ),
            (false, _) => Some(format!(
                "without {}: Dhal counts by \"client-ip\", \"header:NAME\", \"cookie:NAME\", \"param:NAME\" or \"host\", so more requests are counted together",
                odd.join(" ")
            )),
            (true, true) => Some(
                "requests without the field are counted by their address; nginx does not count them".to_owned(),
            ),
            (true, false) => None,
        };
        if keys.is_empty() {
            keys.push("client-ip".to_owned());
        }
        let key = match &keys[..] {
            [one] => toml::string(one),
            _ => toml::strings(&keys),
        };
        (Key { key, exempt: None }, why)
    }

    /// The usual way to leave some addresses uncounted: `geo` says who, and `map` makes the key of it.
    fn mapped_key(&mut self, name: &str) -> Option<Key> {
        let http = self.http;
        let map = http
            .iter()
            .find(|d| d.name == "map" && d.arg(1).strip_prefix('$') == Some(name))?;
        let source = map.arg(0).strip_prefix('$')?;
        let mut free = Vec::new();
        let mut key = None;
        for entry in map.children() {
            match entry.arg(0) {
                "" => free.push(entry.name.as_str()),
                "$binary_remote_addr" | "$remote_addr" => key = Some("client-ip"),
                _ => return None,
            }
        }
        let geo = http.iter().find(|d| {
            d.name == "geo" && d.args.len() == 1 && d.arg(0).strip_prefix('$') == Some(source)
        })?;
        let mut networks = Vec::new();
        let mut all: Vec<(&str, bool)> = Vec::new();
        for entry in geo.children() {
            let is_free = free.contains(&entry.arg(0));
            match entry.name.as_str() {
                "default" if is_free => return None,
                "default" => {}
                network if super::global::is_network(network) => {
                    all.push((network, is_free));
                    if is_free {
                        networks.push(network.to_owned());
                    }
                }
                _ => return None,
            }
        }
        // Of networks within one another nginx takes the narrowest, a list of Dhal takes any.
        let overlap = |(one, is_free): &(&str, bool)| {
            *is_free
                && all
                    .iter()
                    .any(|(other, is_other_free)| !is_other_free && do_overlap(one, other))
        };
        if all.iter().any(overlap) {
            return None;
        }
        let key = key?;
        self.full(map);
        self.full(geo);
        self.with_block(map);
        self.with_block(geo);
        let mut list = Section::default();
        list.set("entries", toml::strings(&networks));
        Some(Key {
            key: toml::string(key),
            exempt: Some(self.lists.intern(source, list)),
        })
    }

    /// `limit_conn` of a location: all of them hold, so the strictest counts.
    fn connections(&mut self, directives: &[&'a Directive]) {
        let mut strictest: Option<(u64, &'a Directive)> = None;
        for directive in directives.iter().copied() {
            let zone = directive.arg(0);
            let definition = self.http.iter().find(|d| {
                d.name == "limit_conn_zone"
                    && d.words().any(|w| {
                        w.strip_prefix("zone=")
                            .is_some_and(|z| z.split(':').next() == Some(zone))
                    })
            });
            let by_client =
                definition.filter(|d| matches!(d.arg(0), "$binary_remote_addr" | "$remote_addr"));
            let number: Option<u64> = directive.arg(1).parse().ok();
            match (by_client, number) {
                (Some(definition), Some(number @ 1..=20_000)) => {
                    self.full(definition);
                    self.full(directive);
                    if strictest.is_none_or(|(known, _)| number < known) {
                        strictest = Some((number, directive));
                    }
                }
                _ => {
                    if let Some(definition) = definition {
                        self.missing(definition, "Dhal counts the connections of a client");
                    }
                    self.missing(directive, "Dhal bounds requests at work by `connections.max` or `concurrency` of an upstream");
                }
            }
        }
        if let Some(found) = strictest
            && !self.connection_bounds.contains(&found)
        {
            self.connection_bounds.push(found);
        }
    }

    /// `max_connections_per_client`, of what the locations say: Dhal has one bound for the whole process. A lower one
    /// would turn visitors away from pages for which nginx has a higher one.
    pub(super) fn connections_per_client(&mut self) {
        let bounds = std::mem::take(&mut self.connection_bounds);
        let Some(most) = bounds.iter().map(|(number, _)| *number).max() else {
            return;
        };
        self.server
            .set("max_connections_per_client", most.to_string());
        for (number, directive) in bounds {
            match number < most {
                true => self.missing(directive, format!("another location lets a client have {most} connections, and `max_connections_per_client` is one bound for all: make it {number} if that is enough for them, or let a limit of this route count requests")),
                false => self.differs(directive, "`max_connections_per_client` counts connections over all servers, with any number of requests each, and closes what is beyond"),
            }
        }
    }
}

/// Whether two networks have addresses in common.
pub(super) fn do_overlap(one: &str, other: &str) -> bool {
    let parsed = |text: &str| -> Option<(IpAddr, u32)> {
        let (address, bits) = text.split_once('/').unwrap_or((text, "128"));
        Some((address.parse().ok()?, bits.parse().ok()?))
    };
    let (Some((a, a_bits)), Some((b, b_bits))) = (parsed(one), parsed(other)) else {
        return true;
    };
    let bits = a_bits.min(b_bits);
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let differ = a.to_bits() ^ b.to_bits();
            bits == 0 || differ.checked_shr(32 - bits.min(32)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let differ = a.to_bits() ^ b.to_bits();
            bits == 0 || differ.checked_shr(128 - bits.min(128)).unwrap_or(0) == 0
        }
        _ => false,
    }
}
