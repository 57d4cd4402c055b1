//! `proxy_cache` and its company: a policy for each combination that is in force somewhere.

use super::{Scope, Translator};
use crate::{
    toml::{self, Section},
    tree::Directive,
    units,
    variables::{self, Part},
};

/// How long nginx keeps what nobody asks for, where nothing is said.
const INACTIVE_MS: u64 = 600_000;

const YEAR_MS: u64 = 365 * 86_400_000;

impl<'a> Translator<'a> {
    /// `proxy_cache_path`: one store for all.
    pub(super) fn cache_paths(&mut self) {
        let http = self.http;
        let mut total = 0u64;
        let mut known = 0;
        for path in http.iter().filter(|d| d.name == "proxy_cache_path") {
            known += 1;
            let size = path
                .words()
                .find_map(|w| w.strip_prefix("max_size="))
                .and_then(units::bytes);
            if known > 1 {
                self.differs(path, "one store holds everything: the sizes are added up");
            } else {
                self.differs(
                    path,
                    "Dhal's own folder beside its memory, so that both can run",
                );
            }
            total = total.saturating_add(size.unwrap_or(1 << 30));
        }
        if known == 0 {
            return;
        }
        let size = total.clamp(1 << 20, 64 << 40);
        let disk = [
            ("path", toml::string("/var/cache/dhal")),
            ("size", toml::string(&units::size(size))),
        ];
        self.cache.set("disk", toml::table(&disk));
        let outer = Scope(vec![http]);
        if let Some(timeout) = outer.one("proxy_cache_lock_timeout")
            && let Some(ms) = units::time_ms(timeout.arg(0))
        {
            self.cache.set(
                "lock_timeout",
                toml::string(&units::duration(ms.min(300_000))),
            );
            self.full(timeout);
        }
    }

    /// The policy of a location.
    pub(super) fn cache_of(&mut self, scope: &Scope<'a>, out: &mut Section) {
        let Some(cache) = scope.one("proxy_cache") else {
            return;
        };
        self.full(cache);
        let zone = cache.arg(0);
        if zone == "off" {
            return;
        }
        if zone.contains('$') {
            return self.missing(cache, "a route has one cache policy");
        }
        let inactive = self.inactive(zone);
        let mut policy = Section::default();
        self.valid(scope, &mut policy);
        self.stale(scope, inactive, &mut policy);
        let (cookies, mut lost) = self.bypass(scope);
        if !cookies.is_empty() {
            policy.set("bypass_cookies", toml::strings(&cookies));
        }
        lost.extend(self.cache_key(scope, &cookies, &mut policy));
        // nginx always listens to it.
        policy.set("accept_x_accel_expires", "true");
        self.ignored(scope, &mut policy);
        if let Some(lock) = scope.one("proxy_cache_lock") {
            self.full(lock);
        }
        if let Some(timeout) = scope
            .one("proxy_cache_lock_timeout")
            .filter(|d| !scope.is_of_http(d))
        {
            self.missing(timeout, "`lock_timeout` of `[cache]` is for all routes");
        }
        if let Some(uses) = scope.one("proxy_cache_min_uses") {
            match uses.arg(0) {
                "1" => self.full(uses),
                _ => self.missing(
                    uses,
                    "Dhal stores at the first request, and keeps in memory what is asked for again",
                ),
            }
        }
        if let Some(methods) = scope.one("proxy_cache_methods") {
            match methods.words().all(|m| matches!(m, "GET" | "HEAD")) {
                true => self.full(methods),
                false => self.missing(methods, "Dhal stores answers to GET, which answer HEAD too"),
            }
        }
        let name = self.policies.intern(zone, policy);
        if lost.is_empty() {
            out.set("cache", toml::string(&name));
        }
        for directive in lost {
            self.missing(directive, format!("until that is settled nothing is stored here: put it into the policy, and write `cache = {}`", toml::string(&name)));
        }
    }

    fn inactive(&self, zone: &str) -> u64 {
        let path = self
            .http
            .iter()
            .filter(|d| d.name == "proxy_cache_path")
            .find(|d| {
                d.words().any(|w| {
                    w.strip_prefix("keys_zone=")
                        .is_some_and(|z| z.split(':').next() == Some(zone))
                })
            });
        path.and_then(|d| d.words().find_map(|w| w.strip_prefix("inactive=")))
            .and_then(units::time_ms)
            .unwrap_or(INACTIVE_MS)
            .min(YEAR_MS)
    }

    /// `proxy_cache_valid`: Dhal has one time for what the shop says nothing about.
    fn valid(&mut self, scope: &Scope<'a>, policy: &mut Section) {
        let all = scope.all("proxy_cache_valid");
        let mut chosen: Option<u64> = None;
        for directive in &all {
            let mut words: Vec<_> = directive.words().collect();
            let time = words.pop().and_then(units::time_ms);
            let Some(time) = time else {
                self.missing(directive, "this is no time");
                continue;
            };
            let pages = words.is_empty() || words.iter().any(|w| matches!(*w, "200" | "any"));
            if pages && chosen.is_none() {
                chosen = Some(time);
                match time {
                    0 => self.full(directive),
                    _ => self.differs(directive, "`ttl` counts for all statuses that may be stored without the shop's word: 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501; what must not be, such as a 404 for a moment, the shop sends with `Cache-Control: no-store`"),
                }
            } else {
                self.differs(directive, "`ttl` of the policy is one for all statuses: let the shop send `Cache-Control` where another one is meant");
            }
        }
        if let Some(ms) = chosen.filter(|ms| *ms > 0) {
            policy.set("ttl", toml::string(&units::duration(ms.min(YEAR_MS))));
        }
    }

    fn stale(&mut self, scope: &Scope<'a>, inactive: u64, policy: &mut Section) {
        let Some(stale) = scope.one("proxy_cache_use_stale") else {
            return;
        };
        let background = scope.one("proxy_cache_background_update");
        let words: Vec<_> = stale.words().collect();
        let time = toml::string(&units::duration(inactive));
        if words.contains(&"updating") {
            policy.set("stale_while_revalidate", time.clone());
        }
        if words.iter().any(|w| !matches!(*w, "updating" | "off")) {
            policy.set("stale_if_error", time);
        }
        let odd: Vec<_> = words
            .iter()
            .filter(|w| matches!(**w, "http_403" | "http_404" | "http_429" | "invalid_header"))
            .copied()
            .collect();
        match odd.is_empty() {
            true => self.full(stale),
            false => self.differs(
                stale,
                format!("without {}: an error is a 5xx, or no answer", odd.join(" ")),
            ),
        }
        if let Some(background) = background {
            self.full(background);
        }
    }

    /// The cookies that keep a request away from the store, and what is lost of what does so: nobody may be given, or give
    /// to others, what nginx would not have stored.
    fn bypass(&mut self, scope: &Scope<'a>) -> (Vec<String>, Vec<&'a Directive>) {
        let mut cookies: Vec<String> = Vec::new();
        let mut lost = Vec::new();
        let ignores_cookies = scope
            .one("proxy_ignore_headers")
            .is_some_and(|d| d.words().any(|w| w.eq_ignore_ascii_case("set-cookie")));
        let bypass = scope.all("proxy_cache_bypass");
        let refuse = scope.all("proxy_no_cache");
        for directive in bypass.iter().chain(&refuse) {
            let mut odd = Vec::new();
            let mut is_lost = false;
            for word in directive.words() {
                for part in variables::parts(word) {
                    match part {
                        Part::Variable(name) if name.starts_with("cookie_") => {
                            let name = &name["cookie_".len()..];
                            if !cookies.iter().any(|c| c == name) {
                                cookies.push(name.to_owned());
                            }
                        }
                        // Answers to requests with credentials are not stored without the shop's word, and those that
                        // set cookies are not at all.
                        Part::Variable("http_authorization") => {}
                        Part::Variable("upstream_http_set_cookie") if !ignores_cookies => {}
                        Part::Text("0" | "") => {}
                        // How visitors ask for a new page: they see no other's, and no other sees theirs.
                        Part::Variable("http_pragma" | "http_cache_control" | "http_upgrade") => {
                            odd.push(word);
                        }
                        Part::Variable(name) if name.starts_with("arg_") => odd.push(word),
                        _ => {
                            odd.push(word);
                            is_lost = true;
                        }
                    }
                }
            }
            odd.dedup();
            match odd.is_empty() {
                true => self.full(directive),
                false => self.missing(directive, format!("without {}: `bypass_cookies` names cookies; paths that are not stored are routes without `cache`", odd.join(" "))),
            }
            if is_lost {
                lost.push(*directive);
            }
        }
        (cookies, lost)
    }

    /// `proxy_cache_key`: host, path and query are always in the key.
    ///
    /// Where something else is in it that cannot be carried over, it is lost: what nginx stored for some visitors would be
    /// everybody's.
    fn cache_key(
        &mut self,
        scope: &Scope<'a>,
        bypass: &[String],
        policy: &mut Section,
    ) -> Option<&'a Directive> {
        let directive = scope.one("proxy_cache_key")?;
        let (mut cookies, mut fields, mut odd) = (Vec::new(), Vec::new(), Vec::new());
        let parts = variables::parts(directive.arg(0));
        let mut path = false;
        let mut query = false;
        let mut is_lost = false;
        for part in &parts {
            let Part::Variable(name) = part else {
                continue;
            };
            match *name {
                "scheme" | "request_method" | "host" | "http_host" | "proxy_host"
                | "server_name" | "is_args" => {}
                "request_uri" => (path, query) = (true, true),
                "uri" | "document_uri" => path = true,
                "args" | "query_string" => query = true,
                // With the whole query no two of them are taken for one.
                name if name.starts_with("arg_") => query = true,
                // The store keeps its compressed forms itself.
                "http_accept_encoding" => {}
                name if name.starts_with("cookie_") => {
                    let name = name["cookie_".len()..].to_owned();
                    if !bypass.contains(&name) {
                        cookies.push(name);
                    }
                }
                name if name.starts_with("http_") => {
                    let name = name["http_".len()..].replace('_', "-");
                    match matches!(name.as_str(), "cookie" | "authorization" | "range")
                        || name.starts_with("x-forwarded")
                        || name.starts_with("if-")
                    {
                        true => {
                            is_lost |= matches!(name.as_str(), "cookie" | "authorization");
                            odd.push(format!("$http_{name}"));
                        }
                        false => fields.push(name),
                    }
                }
                // Dhal stores parts by itself, and a port says nothing of a page.
                name @ ("slice_range" | "server_port" | "proxy_port") => {
                    odd.push(format!("${name}"))
                }
                name => {
                    is_lost = true;
                    odd.push(format!("${name}"));
                }
            }
        }
        if !cookies.is_empty() {
            policy.set("key_cookies", toml::strings(&cookies));
        }
        if !fields.is_empty() {
            policy.set("key_headers", toml::strings(&fields));
        }
        if path && !query {
            policy.set("ignore_query", toml::strings(&["*"]));
            if !odd.is_empty() {
                self.missing(directive, format!("without {} in the key", odd.join(" ")));
            }
            self.differs(directive, "without the query in the key the upstream does not see it either: whoever asks first would choose for all");
            return is_lost.then_some(directive);
        }
        match odd.is_empty() {
            true => self.full(directive),
            false => self.missing(directive, format!("without {} in the key", odd.join(" "))),
        }
        is_lost.then_some(directive)
    }

    /// `proxy_ignore_headers`
    fn ignored(&mut self, scope: &Scope<'a>, policy: &mut Section) {
        let Some(directive) = scope.one("proxy_ignore_headers") else {
            return;
        };
        let mut odd = Vec::new();
        let mut cookies = false;
        for word in directive.words() {
            match word.to_ascii_lowercase().as_str() {
                "x-accel-expires" => policy.set("accept_x_accel_expires", "false"),
                "set-cookie" => {
                    policy.set("set_cookie", toml::string("strip"));
                    cookies = true;
                }
                "x-accel-redirect" | "x-accel-limit-rate" | "x-accel-buffering"
                | "x-accel-charset" => {}
                _ => odd.push(word),
            }
        }
        let hides = scope
            .all("proxy_hide_header")
            .iter()
            .any(|d| d.arg(0).eq_ignore_ascii_case("set-cookie"));
        if !odd.is_empty() {
            let why = format!(
                "without {}: what the shop forbids is not stored; let it send another `Cache-Control`, or `X-Accel-Expires`",
                odd.join(" ")
            );
            self.missing(directive, why);
        }
        if cookies && !hides {
            self.differs(directive, "stored answers lose their `Set-Cookie`; nginx gives the cookies of one visitor to all");
        } else if odd.is_empty() {
            self.full(directive);
        }
    }

    /// `x-cache-status` and the like: Dhal says it itself.
    pub(super) fn is_cache_status(directive: &Directive) -> bool {
        directive.arg(1) == "$upstream_cache_status"
    }
}
