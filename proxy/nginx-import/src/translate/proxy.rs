//! `proxy_pass`, and what goes with it to the upstream.

use super::{Scope, Translator, location::Matcher, rewrite, server::Site, upstream::Wanted};
use crate::{
    dialect, expression,
    toml::{self, Section},
    tree::Directive,
    units,
    variables::{self, Part, Use},
};

/// Fields that Dhal sends by itself, with the same meaning.
const OWN_FIELDS: [(&str, &[&str]); 4] = [
    (
        "x-forwarded-for",
        &["$proxy_add_x_forwarded_for", "$remote_addr"],
    ),
    ("x-forwarded-proto", &["$scheme", "$http_x_forwarded_proto"]),
    (
        "x-forwarded-host",
        &["$host", "$http_host", "$host:$server_port"],
    ),
    ("x-request-id", &["$request_id", "$http_x_request_id"]),
];

/// What is said of targets that are put in the place of a prefix.
const LOCATION: &str = "`Location` and the paths of cookies stay as the upstream sends them; nginx changes `Location` back";

impl<'a> Translator<'a> {
    pub(super) fn proxy_pass(
        &mut self,
        site: &Site<'a>,
        scope: &Scope<'a>,
        pass: &'a Directive,
        matcher: &Matcher,
        out: &mut Section,
    ) {
        let had_variables = variables::has_any(pass.arg(0));
        let url = self.with_set(scope, pass.arg(0));
        let split = url
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
        let Some((scheme, rest)) = split else {
            return self.unanswerable(
                pass,
                "an upstream of Dhal is fixed, and has a name or addresses",
                out,
            );
        };
        let end = rest.find(['/', '$']).unwrap_or(rest.len());
        let (authority, uri) = rest.split_at(end);
        if authority.is_empty()
            || authority.starts_with("unix:")
            || (uri.starts_with('$') && uri != "$request_uri" && !uri.starts_with("$uri"))
        {
            let why = match authority.starts_with("unix:") {
                true => "Dhal reaches its upstreams over TCP",
                false => "an upstream of Dhal is fixed, and has a name or addresses",
            };
            return self.unanswerable(pass, why, out);
        }
        self.full(pass);
        let wanted = Wanted {
            authority: authority.to_owned(),
            tls: scheme == "https",
            http2: false,
            tls_value: match scheme {
                "https" => self.upstream_tls(scope, authority),
                _ => String::new(),
            },
        };
        match self.upstream(wanted, scope) {
            Ok(name) => out.set("upstream", toml::string(&name)),
            Err(why) => return self.unanswerable(pass, &why, out),
        }
        if let Some(host) = self.host_field(site, scope, authority) {
            out.set(
                dialect::UPSTREAM_HOST,
                toml::string(&host.to_ascii_lowercase()),
            );
        }
        if let Err(why) = self.target(site, pass, uri, matcher, had_variables, out) {
            out.keys
                .retain(|k| k.name != "upstream" && k.name != dialect::UPSTREAM_HOST);
            return self.unanswerable(pass, &why, out);
        }
        self.location_rewrite(site, scope, out);
        self.cache_of(scope, out);
        self.route_timeouts(scope, out);
        self.request_fields(site, scope, out);
        if let Some(off) = scope
            .one("proxy_pass_request_headers")
            .filter(|d| d.arg(0) == "off")
        {
            self.missing(off, "Dhal passes on what visitors say, which nginx did not. Until it is settled nobody may come: name what has to go in `request_headers`, and take `deny` away");
            self.close(off, out);
        }
        match scope.one("proxy_redirect") {
            Some(off) if off.arg(0) == "off" => self.full(off),
            Some(redirect) => self.missing(redirect, "Dhal does not change `Location`; let the shop write its public name, which is in `Host` and `X-Forwarded-Host`"),
            None => {}
        }
    }

    pub(super) fn grpc_pass(&mut self, scope: &Scope<'a>, pass: &'a Directive, out: &mut Section) {
        let address = pass.arg(0);
        let (tls, authority) = match address.split_once("://") {
            Some(("grpcs", rest)) => (true, rest),
            Some((_, rest)) => (false, rest),
            None => (false, address),
        };
        let wanted = Wanted {
            authority: authority.to_owned(),
            tls,
            http2: true,
            tls_value: "{ verify = false }".to_owned(),
        };
        match self.upstream(wanted, scope) {
            Ok(name) => {
                out.set("upstream", toml::string(&name));
                self.full(pass);
            }
            Err(why) => self.unanswerable(pass, &why, out),
        }
    }

    /// Puts in variables that a `set` in force gives a fixed value.
    pub(super) fn with_set(&mut self, scope: &Scope<'a>, text: &str) -> String {
        let mut out = String::new();
        for part in variables::parts(text) {
            match part {
                Part::Text(text) => out += text,
                Part::Variable(name) => {
                    // The last of them counts.
                    let mut sets = scope.0.iter().rev().flat_map(|level| level.iter().rev());
                    let known = sets
                        .find(|d| d.name == "set" && d.arg(0).strip_prefix('$') == Some(name))
                        .filter(|d| !variables::has_any(d.arg(1)));
                    match known {
                        Some(set) => {
                            out += set.arg(1);
                            self.full(set);
                        }
                        None => out += &format!("${name}"),
                    }
                }
            }
        }
        out
    }

    /// The path that the upstream is asked for: nginx puts the path of `proxy_pass` in the place of the
    /// location's, and with variables in the place of the whole.
    fn target(
        &mut self,
        site: &Site<'a>,
        pass: &Directive,
        uri: &str,
        matcher: &Matcher,
        whole: bool,
        out: &mut Section,
    ) -> Result<(), String> {
        if uri.is_empty() || matches!(uri, "$request_uri" | "$uri$is_args$args") {
            return Ok(());
        }
        if let Matcher::Begins(prefix) = matcher
            && !whole
        {
            if uri != prefix {
                let pattern = format!("^{}(.*)$", expression::escaped(prefix));
                let to = format!("{}{{1}}", dialect::literal(uri));
                out.set(
                    "rewrite",
                    toml::table(&[
                        ("pattern", toml::string(&pattern)),
                        ("to", toml::string(&to)),
                    ]),
                );
                self.differs(pass, LOCATION);
            }
            return Ok(());
        }
        let value = if whole || matches!(matcher, Matcher::Regex(_)) {
            if !whole && !variables::has_any(uri) {
                return Err("what is put in the place of this prefix cannot be said".to_owned());
            }
            let has_query = ["?", "$args", "$query_string", "$request_uri"]
                .iter()
                .any(|query| uri.contains(query));
            // What is put together of variables is asked for as it stands.
            let uri = match has_query {
                true => uri.to_owned(),
                false => format!("{uri}?"),
            };
            let to = variables::placeholders(&uri, Use::Target, &site.server_name)
                .map_err(|why| format!("Dhal has no placeholder for {why}"))?;
            if let Some(why) = rewrite::objection(&to) {
                return Err(format!("Dhal has no placeholder for {why}"));
            }
            toml::string(&to)
        } else {
            match matcher {
                Matcher::Any if uri == "/" => return Ok(()),
                Matcher::Any => match uri.strip_suffix('/') {
                    Some(base) => toml::string(&format!("{}{{path}}", dialect::literal(base))),
                    None => rewrite::under("/", uri),
                },
                Matcher::Exact(path) => {
                    // The first of two routes for a prefix without a slash at its end, or `=`.
                    if uri == path {
                        return Ok(());
                    }
                    toml::string(&dialect::literal(uri))
                }
                Matcher::Prefix(path) => {
                    let is_bare = location_is_bare(site, path);
                    match (is_bare, uri) {
                        _ if uri == path => return Ok(()),
                        // `/api` to `/v1`: what is left begins with the slash.
                        (true, _) => {
                            rewrite::under(path, &format!("{}/", uri.trim_end_matches('/')))
                        }
                        (false, _) => rewrite::under(path, uri),
                    }
                }
                Matcher::Regex(_) | Matcher::Begins(_) => return Ok(()),
            }
        };
        out.set("rewrite", value);
        self.differs(pass, LOCATION);
        Ok(())
    }

    /// `Host` towards the upstream, where it is not the visitor's.
    fn host_field(
        &mut self,
        site: &Site<'a>,
        scope: &Scope<'a>,
        authority: &str,
    ) -> Option<String> {
        let fields = scope.all("proxy_set_header");
        let Some(field) = fields
            .iter()
            .find(|d| d.arg(0).eq_ignore_ascii_case("host"))
        else {
            return Some(authority.to_owned());
        };
        match field.arg(1) {
            "$host" | "$http_host" | "$host:$server_port" => {
                self.full(field);
                None
            }
            "$proxy_host" => {
                self.full(field);
                Some(authority.to_owned())
            }
            "$server_name" if !site.server_name.is_empty() => {
                self.full(field);
                Some(site.server_name.clone())
            }
            text if !variables::has_any(text) && !text.is_empty() => {
                self.full(field);
                Some(text.to_owned())
            }
            _ => {
                self.missing(
                    field,
                    "`Host` is the visitor's, the server's, or a fixed name",
                );
                None
            }
        }
    }

    fn upstream_tls(&mut self, scope: &Scope<'a>, authority: &str) -> String {
        let mut keys = Vec::new();
        let verifies = scope.is_on("proxy_ssl_verify");
        if let Some(verify) = scope.one("proxy_ssl_verify") {
            self.full(verify);
        }
        for (name, key) in [
            ("proxy_ssl_trusted_certificate", "ca"),
            ("proxy_ssl_certificate", "cert"),
            ("proxy_ssl_certificate_key", "key"),
        ] {
            if let Some(file) = scope.one(name) {
                keys.push((key, toml::string(&self.path(file.arg(0)))));
                self.full(file);
            }
        }
        match scope.one("proxy_ssl_name") {
            Some(name) if !variables::has_any(name.arg(0)) => {
                keys.push(("name", toml::string(name.arg(0))));
                self.full(name);
            }
            Some(name) if matches!(name.arg(0), "$proxy_host" | "$upstream") => self.full(name),
            Some(name) => self.missing(name, "the name that is asked for is fixed"),
            None => {
                // A group's servers are verified by the group's name, as nginx does.
                let is_group = self
                    .http
                    .iter()
                    .any(|d| d.name == "upstream" && d.arg(0) == authority);
                if is_group && authority.contains('.') {
                    keys.push(("name", toml::string(authority)));
                }
            }
        }
        if let Some(sni) = scope.one("proxy_ssl_server_name") {
            self.full(sni);
        }
        if !verifies {
            keys.push(("verify", "false".to_owned()));
        }
        match keys.is_empty() {
            true => "true".to_owned(),
            false => toml::table(&keys),
        }
    }

    fn route_timeouts(&mut self, scope: &Scope<'a>, out: &mut Section) {
        let mut keys = Vec::new();
        let nearer = |name: &str| scope.one(name).filter(|d| !scope.is_of_http(d));
        if let Some(connect) = nearer("proxy_connect_timeout")
            && let Some(ms) = units::time_ms(connect.arg(0))
        {
            keys.push((
                "connect",
                toml::string(&units::duration(ms.clamp(1, 60_000))),
            ));
            match ms > 60_000 {
                true => self.differs(connect, "a minute is Dhal's longest"),
                false => self.full(connect),
            }
        }
        if let Some(read) = nearer("proxy_read_timeout")
            && let Some(ms) = units::time_ms(read.arg(0))
        {
            keys.push((
                "response",
                toml::string(&units::duration(ms.clamp(1, 3_600_000))),
            ));
            match ms > 3_600_000 {
                true => self.differs(read, "an hour is Dhal's longest; WebSockets have `tunnel`"),
                false => self.full(read),
            }
        }
        if let Some(send) = scope.one("proxy_send_timeout") {
            self.full(send);
        }
        if !keys.is_empty() {
            out.set("timeouts", toml::table(&keys));
        }
    }

    /// `proxy_set_header`
    fn request_fields(&mut self, site: &Site<'a>, scope: &Scope<'a>, out: &mut Section) {
        let (mut set, mut remove) = (Vec::new(), Vec::new());
        for field in scope.all("proxy_set_header") {
            let name = field.arg(0).to_ascii_lowercase();
            let value = field.arg(1);
            let own = OWN_FIELDS.iter().find(|(own, _)| *own == name);
            let passes = format!("$http_{}", name.replace('-', "_"));
            match name.as_str() {
                "host" => {}
                // WebSockets and connections are Dhal's own business.
                "connection" | "upgrade" | "te" | "keep-alive" | "transfer-encoding" => {
                    self.full(field);
                    // The usual `map` for WebSockets is for this alone.
                    let map = |d: &&Directive| d.name == "map" && d.arg(1) == value;
                    if let Some(map) = self.http.iter().find(map) {
                        self.full(map);
                        self.with_block(map);
                    }
                }
                _ if own.is_some_and(|(_, values)| values.contains(&value)) => self.full(field),
                _ if value == passes => self.full(field),
                "content-length" | "expect" => {
                    self.missing(field, "Dhal sets the fields of framing itself")
                }
                "accept-encoding" if value.is_empty() => {
                    remove.push(name);
                    self.full(field);
                }
                "accept-encoding" | "range" | "via" | "traceparent" | "x-forwarded-for"
                | "x-request-id" => {
                    self.missing(
                        field,
                        "Dhal writes it itself; give what you want to say a name of its own",
                    );
                }
                _ if name.starts_with("if-") => self.missing(field, "conditions are the store's"),
                _ if !is_token(&name) => self.missing(field, "this is no name of a field"),
                _ if name.contains('_') => {
                    self.missing(field, "names with `_` do not go along: write `-`")
                }
                _ if set.iter().any(|(known, _)| *known == toml::key(&name)) => {
                    self.missing(field, "this field stands above already");
                }
                _ if value.is_empty() => {
                    remove.push(name);
                    self.full(field);
                }
                _ => {
                    match variables::placeholders(value, Use::Field, &site.server_name) {
                        // What visitors send under this name must not be taken for what nginx says.
                        Ok(value) if !value.bytes().all(|b| (b' '..=b'~').contains(&b)) => {
                            self.missing(
                                field,
                                "the value of a field is ASCII; the visitor's own is taken away",
                            );
                            remove.push(name);
                        }
                        Ok(value) => {
                            set.push((toml::key(&name), toml::string(&value)));
                            self.full(field);
                        }
                        Err(why) => {
                            self.missing(field, format!("Dhal has no placeholder for {why}; the visitor's own is taken away"));
                            remove.push(name);
                        }
                    }
                }
            }
        }
        remove.dedup();
        write_fields(out, dialect::REQUEST_HEADERS, &set, &[], &remove, None);
    }
}

/// Whether it can be the name of a field.
pub(super) fn is_token(name: &str) -> bool {
    let is_fine = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(is_fine)
}

/// Whether the location of this prefix was written without the slash at its end.
fn location_is_bare(site: &Site<'_>, prefix: &str) -> bool {
    let bare = prefix.trim_end_matches('/');
    site.directive.children().iter().any(|d| {
        d.name == "location"
            && !matches!(d.arg(0), "=" | "~" | "~*")
            && d.words().last() == Some(bare)
    })
}

/// `{ set = {…}, add = {…}, remove = […] }`
pub(super) fn write_fields(
    out: &mut Section,
    key: &str,
    set: &[(String, String)],
    add: &[(String, String)],
    remove: &[String],
    also: Option<(&'static str, &'static str)>,
) {
    if let Some(value) = fields_table(set, add, remove, also) {
        out.set(key, value);
    }
}

/// The same as a value; nothing where nothing is changed.
pub(super) fn fields_table(
    set: &[(String, String)],
    add: &[(String, String)],
    remove: &[String],
    also: Option<(&'static str, &'static str)>,
) -> Option<String> {
    let mut keys = Vec::new();
    for (name, fields) in [("set", set), ("add", add)] {
        if !fields.is_empty() {
            let fields: Vec<_> = fields
                .iter()
                .map(|(n, v)| (n.as_str(), v.clone()))
                .collect();
            keys.push((name, toml::table(&fields)));
        }
    }
    if !remove.is_empty() {
        keys.push(("remove", toml::strings(remove)));
    }
    if keys.is_empty() {
        return None;
    }
    if let Some((name, value)) = also {
        keys.push((name, value.to_owned()));
    }
    Some(toml::table(&keys))
}
