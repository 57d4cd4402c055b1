//! From directives to sections.
//!
//! A directive is in force in the innermost block that has one of its name; that is how nginx inherits,
//! lists included. [`Scope`] answers that question. Each directive is *marked* with what became of it,
//! and what is worth a word becomes a note that waits for the section that is written next.

mod access;
mod cache;
mod ends;
mod gates;
mod global;
mod headers;
mod known;
mod limits;
mod listen;
mod location;
mod order;
mod proxy;
mod rewrite;
mod server;
mod statics;
mod upstream;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use crate::{
    Import,
    report::{Entry, Outcome, Report},
    toml::{self, Section},
    tree::{Directive, Tree},
};

/// The blocks around a place, the outermost first.
#[derive(Debug, Clone)]
struct Scope<'a>(Vec<&'a [Directive]>);

impl<'a> Scope<'a> {
    fn within(&self, block: &'a [Directive]) -> Self {
        let mut levels = self.0.clone();
        levels.push(block);
        Self(levels)
    }

    /// All directives of this name that are in force.
    fn all(&self, name: &str) -> Vec<&'a Directive> {
        for level in self.0.iter().rev() {
            let found: Vec<_> = level.iter().filter(|d| d.name == name).collect();
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }

    fn one(&self, name: &str) -> Option<&'a Directive> {
        self.all(name).pop()
    }

    /// Whether it is `on`.
    fn is_on(&self, name: &str) -> bool {
        self.one(name).is_some_and(|d| d.arg(0) == "on")
    }

    /// The directives of the innermost block.
    fn own(&self) -> &'a [Directive] {
        self.0.last().copied().unwrap_or_default()
    }

    /// Whether the directive stands outside of all servers.
    fn is_of_http(&self, directive: &Directive) -> bool {
        self.0
            .first()
            .is_some_and(|http| http.iter().any(|d| d.id == directive.id))
    }
}

/// Sections by name.
#[derive(Debug, Default)]
struct Named {
    list: Vec<(String, Section)>,
    names: HashSet<String>,
    /// The names of sections, by what was wished for and their content.
    known: HashMap<(String, Vec<toml::Key>), String>,
    /// The number that is tried next, by what was wished for.
    next: HashMap<String, usize>,
}

impl Named {
    /// The name under which a section with this content is written: a known one, the one wished for,
    /// or that with a number.
    fn intern(&mut self, wish: &str, section: Section) -> String {
        let wish = plain_name(wish);
        let identity = (wish.clone(), section.keys.clone());
        if let Some(name) = self.known.get(&identity) {
            return name.clone();
        }
        let name = self.free(&wish);
        self.known.insert(identity, name.clone());
        self.put(name.clone(), section);
        name
    }

    /// Adds a section under a free name.
    fn put(&mut self, name: String, section: Section) {
        self.names.insert(name.clone());
        self.list.push((name, section));
    }

    /// A name that no section has.
    fn free(&mut self, wish: &str) -> String {
        if !self.names.contains(wish) {
            return wish.to_owned();
        }
        let number = self.next.entry(wish.to_owned()).or_insert(2);
        loop {
            let name = format!("{wish}-{number}");
            *number += 1;
            if !self.names.contains(&name) {
                return name;
            }
        }
    }
}

/// A name that needs no quotes.
fn plain_name(text: &str) -> String {
    let name: String = text
        .chars()
        .map(|c| match c {
            c if c.is_ascii_alphanumeric() || c == '_' || c == '-' => c.to_ascii_lowercase(),
            _ => '-',
        })
        .collect();
    let name = name.trim_matches('-');
    match name.is_empty() {
        true => "unnamed".to_owned(),
        false => name.to_owned(),
    }
}

/// A piece of the text.
#[derive(Debug)]
enum Block {
    Comment(String),
    Section(Section),
}

/// What became of one directive.
#[derive(Debug, Clone, Default)]
struct Mark {
    outcome: Option<Outcome>,
    reasons: Vec<String>,
}

struct Translator<'a> {
    tree: &'a Tree,
    http: &'a [Directive],
    marks: Vec<Mark>,
    /// Notes that are in the text, or on their way there.
    noted: HashSet<(usize, String)>,
    /// Notes for the section that is written next.
    pending: Vec<String>,
    server: Section,
    tls: Section,
    listeners: Vec<Section>,
    certificates: Vec<Section>,
    upstreams: Named,
    /// Upstreams by what they were asked for with.
    upstream_names: HashMap<upstream::Wanted, String>,
    cache: Section,
    policies: Named,
    limits: Named,
    lists: Named,
    routes: Vec<Block>,
    route_names: HashSet<String>,
    access_log: Section,
    closed: Vec<String>,
    closed_known: HashSet<String>,
    /// Why nobody may come to the site that is being written.
    shut: Option<String>,
    /// The methods that the site takes, where it says so.
    methods: Option<Vec<String>>,
    /// The networks from which alone the server that is being written is asked.
    only_from: Option<Vec<String>>,
    /// Visitors' addresses are not known as nginx knows them.
    blind: bool,
    /// What locations say of the connections of a client, each once.
    connection_bounds: Vec<(u64, &'a Directive)>,
    /// That files with a dot before their names are refused is noted once.
    hidden_told: bool,
}

/// Translates a configuration.
pub(crate) fn translate(tree: &Tree) -> Import {
    let http = tree.directives.iter().find(|d| d.name == "http");
    let mut translator = Translator {
        tree,
        // A file of servers alone, as in `conf.d`, is read as if it were included in `http`.
        http: http.map_or(&tree.directives[..], Directive::children),
        marks: vec![Mark::default(); tree.count],
        noted: HashSet::new(),
        pending: Vec::new(),
        server: Section::new("[server]"),
        tls: Section::new("[tls]"),
        listeners: Vec::new(),
        certificates: Vec::new(),
        upstreams: Named::default(),
        upstream_names: HashMap::new(),
        cache: Section::new("[cache]"),
        policies: Named::default(),
        limits: Named::default(),
        lists: Named::default(),
        routes: Vec::new(),
        route_names: HashSet::new(),
        access_log: Section::new("[access_log]"),
        closed: Vec::new(),
        closed_known: HashSet::new(),
        shut: None,
        methods: None,
        only_from: None,
        blind: false,
        connection_bounds: Vec::new(),
        hidden_told: false,
    };
    if let Some(http) = http {
        translator.full(http);
    }
    translator.run();
    translator.finish()
}

impl<'a> Translator<'a> {
    fn run(&mut self) {
        self.global();
        self.server.notes = self.notes();
        self.cache_paths();
        self.cache.notes = self.notes();
        self.access_log();
        self.access_log.notes = self.notes();
        self.servers();
        self.connections_per_client();
        self.idle_upstreams();
    }

    /// It is carried over.
    fn full(&mut self, directive: &Directive) {
        self.mark(directive, Outcome::Translated, None);
    }

    fn full_all(&mut self, directives: &[&Directive]) {
        for directive in directives {
            self.full(directive);
        }
    }

    /// It is carried over, and a note says where Dhal differs.
    fn differs(&mut self, directive: &Directive, why: impl Into<String>) {
        let why = why.into();
        self.note(directive, "differs", &why);
        self.mark(directive, Outcome::Differs, Some(why));
    }

    /// It is not carried over, and a note says why, or what to do.
    fn missing(&mut self, directive: &Directive, why: impl Into<String>) {
        let why = why.into();
        self.note(directive, "not translated", &why);
        self.mark(directive, Outcome::Missing, Some(why));
    }

    fn mark(&mut self, directive: &Directive, outcome: Outcome, why: Option<String>) {
        let Some(mark) = self.marks.get_mut(directive.id) else {
            return;
        };
        mark.outcome = mark.outcome.max(Some(outcome));
        if let Some(why) = why
            && !mark.reasons.contains(&why)
        {
            mark.reasons.push(why);
        }
    }

    fn is_marked(&self, directive: &Directive) -> bool {
        self.marks
            .get(directive.id)
            .is_none_or(|mark| mark.outcome.is_some())
    }

    fn note(&mut self, directive: &Directive, kind: &str, why: &str) {
        if self.noted.insert((directive.id, why.to_owned())) {
            let place = self.tree.place(directive.at);
            self.pending
                .push(format!("{place}: {}\n{kind}: {why}", directive.text()));
        }
    }

    /// The notes that wait.
    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.pending)
    }

    /// Marks what nobody has looked at in a block: what Dhal does by itself, what is in force nowhere,
    /// and what is missing. `enter`: whether to go into blocks of this name.
    fn leftovers(&mut self, block: &[Directive], enter: &dyn Fn(&str) -> bool) {
        for directive in block {
            if !self.is_marked(directive) {
                match known::of(directive) {
                    known::Known::Needless => self.full(directive),
                    known::Known::Handled => self.mark(directive, Outcome::Idle, None),
                    known::Known::Differs(why) => self.differs(directive, why),
                    known::Known::Missing(why) => self.missing(directive, why),
                }
            }
            if enter(&directive.name) {
                self.leftovers(directive.children(), enter);
            }
        }
    }

    /// Marks everything in a block as part of what its block became.
    fn with_block(&mut self, directive: &Directive) {
        let outcome = self.marks.get(directive.id).and_then(|mark| mark.outcome);
        for child in directive.children() {
            if !self.is_marked(child) {
                self.mark(child, outcome.unwrap_or(Outcome::Missing), None);
            }
            self.with_block(child);
        }
    }

    fn finish(mut self) -> Import {
        let http: Vec<_> = self.http.iter().collect();
        for directive in http {
            self.leftovers(std::slice::from_ref(directive), &|name| {
                !matches!(name, "map" | "geo" | "types" | "split_clients")
            });
        }
        let tree = self.tree;
        self.leftovers(&tree.directives, &|name| name != "http");
        tree.each(&mut |directive| {
            if self.is_marked(directive) && directive.block.is_some() {
                self.with_block(directive);
            }
        });
        let rest = self.notes();

        let mut out = String::new();
        let name = tree.files.first().map_or("nginx.conf", String::as_str);
        toml::comment(
            &mut out,
            &format!(
                "Made by `dhal import` from {name}. Read it from top to bottom before you run it:"
            ),
        );
        toml::comment(
            &mut out,
            "what could not be carried over stands as a comment where it belongs, and so does what differs.",
        );
        toml::comment(
            &mut out,
            "Then `dhal check`, and `dhal import --compare` against the running nginx.",
        );
        out.push('\n');
        for section in [&self.server, &self.tls] {
            if !section.keys.is_empty() || !section.notes.is_empty() {
                let mut section = section.clone();
                if section.keys.is_empty() {
                    section.header.clear();
                }
                section.write(&mut out);
            }
        }
        for section in self.listeners.iter().chain(&self.certificates) {
            section.write(&mut out);
        }
        for (name, section) in &mut self.upstreams.list {
            section.header = format!("[upstreams.{name}]");
            section.write(&mut out);
        }
        if !self.cache.keys.is_empty() || !self.cache.notes.is_empty() {
            self.cache.write(&mut out);
        }
        for (kind, named) in [
            ("cache.policies", &mut self.policies),
            ("address_lists", &mut self.lists),
            ("limits", &mut self.limits),
        ] {
            for (name, section) in &mut named.list {
                section.header = format!("[{kind}.{name}]");
                section.write(&mut out);
            }
        }
        for block in &self.routes {
            match block {
                Block::Comment(text) => {
                    toml::comment(&mut out, text);
                    out.push('\n');
                }
                Block::Section(section) => section.write(&mut out),
            }
        }
        if !self.access_log.keys.is_empty() {
            self.access_log.write(&mut out);
        } else {
            for note in &self.access_log.notes {
                toml::comment(&mut out, note);
            }
        }
        if !rest.is_empty() {
            toml::comment(&mut out, "What is left:");
            for note in &rest {
                toml::comment(&mut out, note);
            }
        }
        let text = format!("{}\n", out.trim_end());

        let mut entries = Vec::new();
        let marks = &self.marks;
        // The words within `map`, `geo` and `types` are data, and no directives.
        let mut data = HashSet::new();
        tree.each(&mut |directive| {
            if matches!(
                directive.name.as_str(),
                "map" | "geo" | "types" | "split_clients"
            ) {
                data.extend(directive.children().iter().map(|child| child.id));
            }
            if data.contains(&directive.id) {
                return;
            }
            let mark = &marks[directive.id];
            entries.push(Entry {
                name: &directive.name,
                place: tree.place(directive.at),
                outcome: mark.outcome.unwrap_or(Outcome::Missing),
                reasons: &mark.reasons,
            });
        });
        Import {
            toml: text,
            report: Report::of(entries.into_iter(), self.closed),
        }
    }
}
