//! What is changed of the fields towards visitors: `add_header`, `expires`, `proxy_hide_header`.

use super::{
    Scope, Translator,
    proxy::{fields_table, is_token},
    server::Site,
    statics::expires_of,
};
use crate::{
    dialect,
    toml::{self, Section},
    tree::Directive,
    units,
    variables::{self, Use},
};

/// What is said of `expires`.
const NO_EXPIRES: &str = "`Cache-Control` alone, which every browser reads, and no `Expires`";

/// Changes of fields, as names and values that are written already.
#[derive(Default)]
struct Fields {
    set: Vec<(String, String)>,
    add: Vec<(String, String)>,
    remove: Vec<String>,
}

impl Fields {
    fn has(&self, key: &str) -> bool {
        self.set
            .iter()
            .chain(&self.add)
            .any(|(known, _)| known == key)
    }
}

/// Fields that Dhal does not let a route change.
fn is_ours(name: &str) -> bool {
    [
        "age",
        "cache-status",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "expect",
        "keep-alive",
        "proxy-connection",
        "ratelimit",
        "ratelimit-policy",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-request-id",
    ]
    .contains(&name)
}

impl<'a> Translator<'a> {
    pub(super) fn headers(&mut self, site: &Site<'a>, scope: &Scope<'a>, out: &mut Section) {
        let mut always = Fields::default();
        let mut success = Fields::default();
        for directive in scope.all("proxy_hide_header") {
            let name = directive.arg(0).to_ascii_lowercase();
            match is_ours(&name) || !is_token(&name) {
                true => self.missing(directive, "Dhal writes this field itself"),
                false => {
                    self.full(directive);
                    if !always.remove.contains(&name) {
                        always.remove.push(name);
                    }
                }
            }
        }
        if let Some(expires) = scope.one("expires") {
            // Of files it is a key of theirs.
            let of_files = out.has("files") && !out.has("upstream");
            match of_files && expires_of(expires).is_some() {
                true => self.differs(expires, NO_EXPIRES),
                false => self.expires(expires, &mut success.set),
            }
        }
        for directive in scope.all("add_header") {
            let name = directive.arg(0).to_ascii_lowercase();
            let value = directive.arg(1).trim();
            if Self::is_cache_status(directive) {
                self.differs(directive, "`Cache-Status` says it (RFC 9211)");
                continue;
            }
            if value.is_empty() {
                self.full(directive);
                continue;
            }
            if !is_token(&name) {
                self.missing(directive, "this is no name of a field");
                continue;
            }
            if name == "strict-transport-security" && site.tls && self.hsts(value, out) {
                self.full(directive);
                continue;
            }
            if name == "alt-svc" && value.contains("h3") {
                self.missing(directive, "Dhal speaks HTTP/1.1 and HTTP/2");
                continue;
            }
            if is_ours(&name) {
                self.missing(
                    directive,
                    "Dhal writes this field itself, or leaves it as the shop says",
                );
                continue;
            }
            match variables::placeholders(value, Use::Field, &site.server_name) {
                Ok(value) if value.bytes().all(|b| (b' '..=b'~').contains(&b)) => {
                    self.full(directive);
                    let fields = match directive.arg(2) {
                        "always" => &mut always,
                        _ => &mut success,
                    };
                    let field = (toml::key(&name), toml::string(&value));
                    if fields.has(&field.0) {
                        self.differs(directive, "a name stands once: write its values as a list");
                        continue;
                    }
                    fields.add.push(field);
                }
                Ok(_) => self.missing(directive, "the value of a field is ASCII"),
                Err(why) => self.missing(directive, format!("Dhal has no placeholder for {why}")),
            }
        }
        // What is taken away and added in one table is set.
        let removed = std::mem::take(&mut always.remove);
        for name in removed {
            let added = always
                .add
                .iter()
                .position(|(known, _)| *known == toml::key(&name));
            match added {
                Some(at) => always.set.push(always.add.remove(at)),
                None => always.remove.push(name),
            }
        }
        let tables: Vec<_> = [
            fields_table(&always.set, &always.add, &always.remove, None),
            fields_table(&success.set, &success.add, &[], Some(dialect::SUCCESS)),
        ]
        .into_iter()
        .flatten()
        .collect();
        match &tables[..] {
            [] => {}
            [one] => out.set(dialect::RESPONSE_HEADERS, one.clone()),
            several => out.set(dialect::RESPONSE_HEADERS, toml::list(several)),
        }
    }

    fn expires(&mut self, directive: &Directive, set: &mut Vec<(String, String)>) {
        let value = match directive.arg(0) {
            "off" => return self.full(directive),
            "epoch" => "no-cache".to_owned(),
            "max" => "max-age=315360000".to_owned(),
            text => match (text.strip_prefix('-'), units::time_ms(text)) {
                (Some(_), _) => "no-cache".to_owned(),
                (None, Some(ms)) => format!("max-age={}", ms / 1_000),
                (None, None) => {
                    return self
                        .missing(directive, "the time is counted from the answer, and fixed");
                }
            },
        };
        set.push(("cache-control".to_owned(), toml::string(&value)));
        self.differs(directive, NO_EXPIRES);
    }

    /// `hsts`, where the value is one that it can say.
    fn hsts(&mut self, value: &str, out: &mut Section) -> bool {
        let mut age = None;
        let (mut below, mut preload) = (false, false);
        for part in value.split(';').map(str::trim).filter(|p| !p.is_empty()) {
            match part.to_ascii_lowercase().as_str() {
                "includesubdomains" => below = true,
                "preload" => preload = true,
                part => match part
                    .strip_prefix("max-age=")
                    .map(|n| n.trim_matches('"').parse::<u64>())
                {
                    Some(Ok(seconds)) => age = Some(seconds),
                    _ => return false,
                },
            }
        }
        let Some(seconds) = age.filter(|s| *s <= 10 * 365 * 86_400) else {
            return false;
        };
        let age = toml::string(&units::duration(seconds * 1_000));
        let mut keys = vec![("max_age", age.clone())];
        if below {
            keys.push(("include_subdomains", "true".to_owned()));
        }
        if preload {
            keys.push(("preload", "true".to_owned()));
        }
        out.set(
            "hsts",
            if keys.len() == 1 {
                age
            } else {
                toml::table(&keys)
            },
        );
        true
    }
}
