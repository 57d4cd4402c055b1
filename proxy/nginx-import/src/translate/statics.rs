//! Files: `root`, `alias`, `index`, `try_files`, `expires`, types.

use super::{
    Scope, Translator,
    gates::Shade,
    location::{Kind, Matcher, kind},
    order,
    server::Site,
};
use crate::{
    dialect,
    toml::{self, Section},
    tree::Directive,
    units,
};

/// What answers where there is no file.
enum Fallback<'a> {
    NotFound,
    File(String),
    /// A location that passes requests on, by what is written in `try_files`.
    Upstream(&'a Directive, &'a str),
}

/// What `try_files` says.
struct Tries<'a> {
    directive: Option<&'a Directive>,
    /// Files are looked for at all.
    files: bool,
    /// Folders are something.
    folders: bool,
    fallback: Fallback<'a>,
}

impl<'a> Translator<'a> {
    /// Files answer where no handler is named, after what `try_files` says.
    pub(super) fn statics(
        &mut self,
        site: &Site<'a>,
        scope: &Scope<'a>,
        matcher: &Matcher,
        out: &mut Section,
    ) {
        let tries = self.tries(site, scope, matcher);
        let alias = scope.own().iter().find(|d| d.name == "alias");
        let named = alias.or_else(|| scope.one("root"));
        if let Fallback::Upstream(target, last) = tries.fallback
            && let Some(directive) = tries.directive
        {
            self.upstream_after_files(site, directive, target, last, matcher, out);
            if !tries.files || named.is_none() || !out.has("upstream") {
                return;
            }
        }
        let Some(root) = named else {
            // nginx would look into a folder of its own, where hardly anybody has files.
            out.set("respond", toml::table(&[("status", "404".to_owned())]));
            return;
        };
        let folder = self.with_set(scope, root.arg(0));
        let folder = self.path(&folder);
        let wrong = match (alias, matcher) {
            _ if folder.contains('$') => Some("the folder of `files` is fixed"),
            (Some(_), matcher) if matcher.is_expression() => {
                Some("Dhal looks for a file by its whole path")
            }
            _ => None,
        };
        if let Some(why) = wrong {
            match tries.fallback {
                Fallback::Upstream(..) => {
                    self.missing(root, format!("{why}; the upstream is asked for everything"))
                }
                _ => self.unanswerable(root, why, out),
            }
            return;
        }
        let folder = match matcher {
            Matcher::Exact(_) if alias.is_some() => folder,
            _ => or_slash(folder.trim_end_matches('/')),
        };
        let name = match alias {
            Some(_) => "alias",
            None => "root",
        };
        let mut keys = vec![(name, toml::string(&folder))];
        match self.hidden_told {
            true => self.full(root),
            false => {
                self.hidden_told = true;
                self.differs(
                    root,
                    "names that begin with a dot are refused; with `hidden = true` they are served",
                );
            }
        }
        self.index(site, scope, tries.folders, &mut keys);
        match &tries.fallback {
            Fallback::NotFound => {}
            Fallback::File(path) => keys.push(("fallback", toml::string(path))),
            Fallback::Upstream(..) => keys.push(("fallback", toml::string("upstream"))),
        }
        self.how(scope, out, &mut keys);
        out.set("files", toml::table(&keys));
        if !out.has("upstream") {
            self.location_rewrite(site, scope, out);
        }
    }

    /// Reads `try_files`.
    fn tries(&mut self, site: &Site<'a>, scope: &Scope<'a>, matcher: &Matcher) -> Tries<'a> {
        let mut out = Tries {
            directive: scope.own().iter().find(|d| d.name == "try_files"),
            files: true,
            folders: true,
            fallback: Fallback::NotFound,
        };
        let Some(tries) = out.directive else {
            return out;
        };
        let words: Vec<_> = tries.words().collect();
        let (last, before) = words.split_last().map_or(("", &[][..]), |(l, b)| (*l, b));
        let is_own = |w: &&str| matches!(*w, "$uri" | "$uri/");
        let (own, odd): (Vec<&str>, Vec<&str>) = before.iter().copied().partition(|w| is_own(w));
        let ends_in_files = is_own(&last);
        out.files = !own.is_empty() || ends_in_files;
        out.folders = own.contains(&"$uri/") || ends_in_files;
        let path = last.split(['?', '$']).next().unwrap_or_default();
        let target = match last.starts_with('@') {
            true => site.named(last),
            false => site.location_of(path),
        };
        let passes = target.filter(|t| {
            let mut inner = t.children().iter();
            inner.any(|d| matches!(d.name.as_str(), "proxy_pass" | "grpc_pass"))
        });
        let told = match odd.is_empty() {
            true => None,
            false => Some(format!("without {}", odd.join(" "))),
        };
        let told = if let Some(target) = passes {
            out.fallback = Fallback::Upstream(target, last);
            told
        } else if last == "=404" || ends_in_files {
            told
        } else if last.starts_with('=') {
            Some("the file, or 404".to_owned())
        } else if last.starts_with('/') && !last.contains('$') {
            // It is looked for where the other files are.
            let alias = scope.own().iter().any(|d| d.name == "alias");
            let below = match (alias, matcher) {
                (true, Matcher::Prefix(prefix)) => path.strip_prefix(prefix.as_str()),
                _ => path.strip_prefix('/'),
            };
            let own = target.filter(|t| t.children().as_ptr() == scope.own().as_ptr());
            match below {
                // nginx chooses a location for it: what that keeps to itself is nobody's here, and no script is shown.
                Some(_) if order::may_be_guarded(site, path, own) => {
                    self.missing(
                        tries,
                        format!("the file, or 404: {path} is answered by a location that keeps visitors out, or runs it"),
                    );
                    return out;
                }
                Some(below) => {
                    out.fallback = Fallback::File(format!("/{below}"));
                    let is_elsewhere = target.is_some() && own.is_none();
                    told.or_else(|| {
                        is_elsewhere.then(|| {
                            format!("{path} with what stands here; nginx answers by the location of {path}")
                        })
                    })
                }
                None => {
                    self.missing(
                        tries,
                        format!("the file, or 404: {path} lies in another folder"),
                    );
                    return out;
                }
            }
        } else {
            self.missing(
                tries,
                "Dhal looks for the file, and then for one `fallback`",
            );
            return out;
        };
        match told {
            None => self.full(tries),
            Some(why) => self.differs(tries, why),
        }
        out
    }

    fn index(
        &mut self,
        site: &Site<'a>,
        scope: &Scope<'a>,
        folders: bool,
        keys: &mut Vec<(&'static str, String)>,
    ) {
        let index = scope.one("index").filter(|_| folders);
        let Some(index) = index else {
            // As with nginx, where nothing is said, `index.html` is Dhal's default.
            if !folders || is_kept(site, scope, "index.html") {
                keys.push(("index", toml::strings::<&str>(&[])));
            }
            return;
        };
        let all = index.words().count();
        // A script is no file that visitors may have.
        let names: Vec<_> = index
            .words()
            .filter(|w| !w.ends_with(".php") && !w.contains(['$', '/']))
            .filter(|w| !is_kept(site, scope, w))
            .collect();
        match &names[..] {
            ["index.html"] => {}
            names => keys.push(("index", toml::strings(names))),
        }
        match names.len() == all {
            true => self.full(index),
            false => self.differs(index, "files alone stand for a folder; scripts are asked for by the `fallback`, if there is one, and what another location keeps to itself is left out"),
        }
    }

    /// What files are said to be, and how they are sent.
    fn how(&mut self, scope: &Scope<'a>, out: &Section, keys: &mut Vec<(&'static str, String)>) {
        if !out.has("upstream")
            && let Some(expires) = scope.one("expires")
            && let Some(text) = expires_of(expires)
        {
            keys.push(("expires", toml::string(&text)));
        }
        let codings: Vec<_> = [
            ("brotli_static", "br"),
            ("zstd_static", "zstd"),
            ("gzip_static", "gzip"),
        ]
        .into_iter()
        .filter_map(|(name, coding)| Some((scope.one(name)?, coding)))
        .filter(|(directive, _)| matches!(directive.arg(0), "on" | "always"))
        .collect();
        for (directive, _) in &codings {
            self.full(directive);
        }
        let codings: Vec<_> = codings.into_iter().map(|(_, coding)| coding).collect();
        if !codings.is_empty() {
            keys.push(("precompressed", toml::strings(&codings)));
        }
        let links = scope.one("disable_symlinks");
        match links.map(|d| d.arg(0)) {
            Some("on" | "if_not_owner") => {}
            _ => keys.push(("symlinks", toml::string("all"))),
        }
        match scope.one("charset") {
            Some(charset) if charset.arg(0) != "off" && !charset.arg(0).contains('$') => {
                self.full(charset);
                match charset.arg(0).to_ascii_lowercase().as_str() {
                    "utf-8" => {}
                    name => keys.push(("charset", toml::string(name))),
                }
            }
            charset => {
                if let Some(charset) = charset {
                    self.full(charset);
                }
                keys.push(("charset", toml::string("none")));
            }
        }
        let types: Vec<_> = self.types(scope);
        if !types.is_empty() {
            keys.push((
                "types",
                toml::table(
                    &types
                        .iter()
                        .map(|(k, v)| (k.as_str(), toml::string(v)))
                        .collect::<Vec<_>>(),
                ),
            ));
        }
        let default = scope.one("default_type");
        if let Some(default) = default {
            self.full(default);
        }
        match default.map_or("text/plain", |d| d.arg(0)) {
            "application/octet-stream" => {}
            kind => keys.push(("default_type", toml::string(kind))),
        }
    }

    /// Types that Dhal does not give by itself.
    fn types(&mut self, scope: &Scope<'a>) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for block in scope.all("types") {
            self.full(block);
            for line in block.children() {
                self.full(line);
                for end in line.words() {
                    let end = end.to_ascii_lowercase();
                    let plain =
                        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-+".contains(&b);
                    let is_end = (1..=16).contains(&end.len()) && end.bytes().all(plain);
                    if is_end && known_type(&end) != Some(line.name.as_str()) {
                        out.push((end, line.name.clone()));
                    }
                }
            }
        }
        out.sort();
        out.dedup_by(|a, b| a.0 == b.0);
        out
    }

    /// What is no file goes to the upstream.
    fn upstream_after_files(
        &mut self,
        site: &Site<'a>,
        tries: &'a Directive,
        target: &'a Directive,
        last: &str,
        matcher: &Matcher,
        out: &mut Section,
    ) {
        self.full(target);
        let scope = site.scope.within(target.children());
        // The path is that of the fallback, unless it has a name of its own.
        let named = last.starts_with('@');
        let whole = if named { matcher } else { &Matcher::Any };
        self.content(site, &scope, whole, out);
        if !named && out.has("upstream") {
            let (path, query) = last.split_once('?').unwrap_or((last, ""));
            let path = path.strip_suffix("$is_args$args").unwrap_or(path);
            let odd = path.contains('$') || !matches!(query, "" | "$args" | "$query_string");
            match (odd, out.has("rewrite")) {
                (false, false) => {
                    let query = if last.contains('$') { dialect::QUERY } else { "" };
                    out.set("rewrite", toml::string(&format!("{}{query}", dialect::literal(path))));
                }
                _ => self.missing(tries, "the path that the upstream is asked for could not be carried over; write `rewrite`"),
            }
        }
        self.leftovers(target.children(), &|name| name != "location");
    }
}

/// Whether a location that keeps visitors out is about this file of some folder: nginx asks it for `/`, too.
fn is_kept(site: &Site<'_>, scope: &Scope<'_>, name: &str) -> bool {
    let is_dark = |l: &Directive| {
        l.children().as_ptr() != scope.own().as_ptr() && site.shade_of(l) != Shade::Open
    };
    site.locations().any(|l| {
        let is_about = match kind(l) {
            Kind::Exact(text) => text.rsplit('/').next() == Some(name),
            Kind::Prefix(text) | Kind::Final(text) => {
                let begins = |(_, end): (_, &str)| !end.is_empty() && name.starts_with(end);
                text.rsplit_once('/').is_some_and(begins)
            }
            Kind::Regex { text, ignore_case } => {
                let compiled = site.expressions.get(text, ignore_case);
                let may = |path: &str| compiled.may_match(path);
                may(&format!("/{name}")) && !may("/") || may(&format!("/x/{name}")) && !may("/x/")
            }
            Kind::Named(_) => false,
        };
        is_about && is_dark(l)
    })
}

/// What Dhal takes an end of a name for.
fn known_type(end: &str) -> Option<&'static str> {
    const KNOWN: &str = include_str!("../../../src/files/media-types.txt");
    let mut lines = KNOWN.lines();
    lines.find_map(|line| line.strip_prefix(end)?.strip_prefix(' '))
}

/// `expires` as a duration; `None` where it says nothing, or nothing fixed.
pub(super) fn expires_of(directive: &Directive) -> Option<String> {
    const YEARS: u64 = 10 * 365 * 86_400;
    match directive.arg(0) {
        "epoch" => Some("0s".to_owned()),
        "max" => Some(units::duration(YEARS * 1_000)),
        text if text.starts_with('-') => Some("0s".to_owned()),
        text => {
            // Nothing at all is `max-age=0` with nginx, and `no-cache` with Dhal.
            let ms = units::time_ms(text).filter(|ms| *ms >= 1_000)?;
            Some(units::duration(ms.min(YEARS * 1_000)))
        }
    }
}

fn or_slash(folder: &str) -> String {
    match folder.is_empty() {
        true => "/".to_owned(),
        false => folder.to_owned(),
    }
}
