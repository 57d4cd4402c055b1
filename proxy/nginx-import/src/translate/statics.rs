//! Files: `root`, `alias`, `index`, `try_files`.

use super::{Scope, Translator, location::Matcher, server::Site};
use crate::{
    dialect,
    toml::{self, Section},
    tree::Directive,
};

impl<'a> Translator<'a> {
    /// Files answer where no handler is named, after what `try_files` says.
    pub(super) fn statics(
        &mut self,
        site: &Site<'a>,
        scope: &Scope<'a>,
        matcher: &Matcher,
        out: &mut Section,
    ) {
        let tries = scope.own().iter().find(|d| d.name == "try_files");
        let mut fallback = None;
        if let Some(tries) = tries {
            let words: Vec<_> = tries.words().collect();
            let (last, before) = words.split_last().map_or(("", &[][..]), |(l, b)| (*l, b));
            let odd: Vec<_> = before
                .iter()
                .filter(|w| !matches!(**w, "$uri" | "$uri/"))
                .copied()
                .collect();
            let path = last.split(['?', '$']).next().unwrap_or_default();
            let target = match last.starts_with('@') {
                true => site.named(last),
                false => site.location_of(path),
            };
            let passes = target.filter(|t| {
                t.children()
                    .iter()
                    .any(|d| matches!(d.name.as_str(), "proxy_pass" | "grpc_pass"))
            });
            if let Some(target) = passes {
                self.upstream_after_files(site, tries, target, last, matcher, out);
                return;
            }
            if last.starts_with('=') || last == "$uri" || last == "$uri/" {
                match odd.is_empty() && matches!(last, "=404" | "$uri" | "$uri/") {
                    true => self.full(tries),
                    false => self.differs(tries, "the file, or 404"),
                }
            } else if last.starts_with('/') && !last.contains('$') {
                fallback = Some(path.to_owned());
                match odd.is_empty() {
                    true => self.full(tries),
                    false => self.differs(tries, format!("without {}", odd.join(" "))),
                }
            } else {
                self.missing(
                    tries,
                    "Dhal looks for the file, and then for one `fallback`",
                );
            }
        }
        let alias = scope.own().iter().find(|d| d.name == "alias");
        let Some(root) = alias.or_else(|| scope.one("root")) else {
            // nginx would look into a folder of its own, where hardly anybody has files.
            out.set("respond", toml::table(&[("status", "404".to_owned())]));
            return;
        };
        let folder = self.with_set(scope, root.arg(0));
        let folder = self.path(&folder);
        if folder.contains('$') {
            self.unanswerable(root, "the folder of `files` is fixed", out);
            return;
        }
        let mut keys = Vec::new();
        match (alias, matcher) {
            (Some(alias), Matcher::Regex(_)) => {
                self.unanswerable(alias, "Dhal looks for a file by its whole path", out);
                return;
            }
            (Some(alias), Matcher::Exact(path)) => match folder.strip_suffix(path.as_str()) {
                Some(parent) => {
                    keys.push(("root", toml::string(&or_slash(parent))));
                    self.full(alias);
                }
                None => {
                    let (parent, name) = folder.rsplit_once('/').unwrap_or((".", &folder));
                    keys.push(("root", toml::string(&or_slash(parent))));
                    out.set(
                        "rewrite",
                        toml::string(&format!("/{}", dialect::literal(name))),
                    );
                    self.full(alias);
                }
            },
            (Some(alias), Matcher::Prefix(path)) => {
                let folder = format!("{}/", folder.trim_end_matches('/'));
                match folder.strip_suffix(path.as_str()) {
                    Some(parent) => keys.push(("root", toml::string(&or_slash(parent)))),
                    None => {
                        keys.push((
                            "root",
                            toml::string(&or_slash(folder.trim_end_matches('/'))),
                        ));
                        out.set("rewrite", toml::string(dialect::REST));
                    }
                }
                self.full(alias);
            }
            _ => {
                keys.push((
                    "root",
                    toml::string(&or_slash(folder.trim_end_matches('/'))),
                ));
                self.full(root);
            }
        }
        self.index(scope, &mut keys);
        if let Some(fallback) = fallback {
            keys.push(("fallback", toml::string(&fallback)));
        }
        out.set("files", toml::table(&keys));
        self.location_rewrite(site, scope, out);
    }

    fn index(&mut self, scope: &Scope<'a>, keys: &mut Vec<(&'static str, String)>) {
        let Some(index) = scope.one("index") else {
            // As with nginx, where nothing is said.
            keys.push(("index", toml::string("index.html")));
            return;
        };
        let names: Vec<_> = index
            .words()
            .filter(|w| !w.ends_with(".php") && !w.contains(['$', '/']))
            .collect();
        let Some(first) = names.first() else {
            return self.missing(index, "the index of a folder is a file");
        };
        keys.push(("index", toml::string(first)));
        match index.args.len() {
            1 => self.full(index),
            _ => self.differs(index, format!("{first} alone")),
        }
    }

    /// What is no file goes to the upstream; in Dhal, everything does.
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
        match tries.args.len() {
            1 => self.full(tries),
            _ => self.differs(tries, "the upstream is asked for everything here; give the folders that hold files routes of their own with `files`"),
        }
    }
}

fn or_slash(folder: &str) -> String {
    match folder.is_empty() {
        true => "/".to_owned(),
        false => folder.to_owned(),
    }
}
