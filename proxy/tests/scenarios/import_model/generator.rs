//! Small configurations of nginx, and requests that go to their edges. A seed gives the same ones for ever.

use std::{collections::HashSet, fmt::Write, net::IpAddr};

use nginx_import::{Directive, Tree};

use super::nginx::{Asked, split};

/// SplitMix64: short, and good enough to choose from lists.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        // What comes of one seed must not be what comes of the next one a step later.
        let mut own = Self(seed);
        own.0 = own.next() ^ seed.rotate_left(32);
        own
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or_default()
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// Once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

const LISTENS: [&str; 5] = ["80", "80", "8080", "127.0.0.1:8081", "127.0.0.1:80"];

const NAMES: [&str; 11] = [
    "a.example",
    "a.example",
    "b.example",
    "*.example",
    ".b.example",
    "*.x.b.example",
    r"~^re\d",
    "~example$",
    "mail.*",
    "_",
    "a.example b.example",
];

const HOSTS: [&str; 12] = [
    "a.example",
    "a.example",
    "b.example",
    "x.example",
    "x.b.example",
    "y.x.b.example",
    "re1.test",
    "mail.test",
    "other.test",
    "A.Example:80",
    "a.example.",
    "10.1.2.3",
];

const PREFIXES: [&str; 22] = [
    "/", "/", "/a", "/a/", "/ab", "/ab/", "/a/b", "/a/b/", "/a.b", "/.g", "/a-", "/b", "/b/",
    "/a/b.p", "/index.p", "/a/b/ab/", "/\u{e9}/", "\"/a b\"", "/A", "/a/ab", "/a+b", "/b.p/",
];

const EXPRESSIONS: [&str; 32] = [
    r"\.p$",
    r"\.p$",
    "^/a",
    "^/a/",
    "^/(a|b)/",
    "b",
    "/b",
    "^/a.b$",
    "^/ab?",
    "^/[^/]+/b",
    "[ab]$",
    r"^/.+\.p",
    "a$",
    "^/a$",
    r"\.(p|g)$",
    "^/(.*)/b$",
    "\"^/a b\"",
    r"^/a/.*\.p$",
    "/a/b",
    "(a|/b)b",
    r"\.b$|/b",
    "^/[^/]*$",
    "^/(?!b)a",
    "^/a/(?!b)",
    r"(?<!b)\.p$",
    "^/ab(?=/)",
    r"\bb",
    r"^/a\Wb",
    "^/[^0-9]+b$",
    "0",
    "E",
    "^/.*0a",
];

const RULES: [&str; 9] = [
    "deny all;",
    "deny all;",
    "allow 10.0.0.0/8; deny all;",
    "allow 127.0.0.1; deny all;",
    "deny 10.0.0.5;",
    "deny 10.0.0.5; allow 10.0.0.0/8; deny all;",
    "allow 10.0.0.5; deny 10.0.0.0/8;",
    "allow all;",
    "allow 10.0.0.0/8;",
];

const GATES: [&str; 8] = [
    "auth_basic x;",
    "auth_basic off;",
    "satisfy any;",
    "satisfy any; auth_basic x;",
    "satisfy any; auth_basic x; allow 10.0.0.0/8;",
    "satisfy any; auth_basic x; allow 10.0.0.0/8; deny all;",
    "satisfy all; auth_basic x;",
    "satisfy any; auth_basic x; deny 10.0.0.5;",
];

const CONDITIONS: [&str; 20] = [
    "$request_method = POST",
    "$request_method != GET",
    "$request_method !~ ^(GET|HEAD)$",
    "$request_method !~* ^(get|head|post)$",
    "$request_method ~ ^(PUT|DELETE)$",
    "$http_x_token != secret",
    "$http_x_token = \"\"",
    "$http_user_agent ~* bot",
    "$http_cookie !~ session",
    "$cookie_session = \"\"",
    "$args ~ x",
    "$args",
    "$uri ~ ^/a",
    "$uri ~ b",
    "$request_uri ~ /b",
    "$host = b.example",
    "$host != a.example",
    "$host !~ ^a",
    "$remote_addr != 10.0.0.5",
    "$remote_addr ~ ^203",
];

const METHODS: [&str; 6] = ["GET", "GET", "HEAD", "POST", "PUT", "DELETE"];

const CLIENTS: [&str; 4] = ["203.0.113.5", "10.0.0.5", "10.1.2.3", "127.0.0.1"];

/// The text of a configuration.
pub(super) fn configuration(dice: &mut Dice) -> String {
    let mut out = String::from("http {\nauth_basic_user_file users;\n");
    if dice.once_in(12) {
        let _ = writeln!(out, "{}", dice.of(&RULES));
    }
    if dice.once_in(20) {
        let _ = writeln!(out, "{}", dice.of(&GATES));
    }
    let mut defaults = HashSet::new();
    let servers = dice.of(&[1, 1, 1, 2, 2, 3]);
    for number in 0..servers {
        server(dice, &mut out, number, servers > 1, &mut defaults);
    }
    out.push_str("}\n");
    out
}

fn server(
    dice: &mut Dice,
    out: &mut String,
    number: usize,
    has_others: bool,
    defaults: &mut HashSet<&'static str>,
) {
    out.push_str("server {\n");
    let mut own = HashSet::new();
    for _ in 0..dice.of(&[1, 1, 1, 2]) {
        let listen = if has_others { dice.of(&LISTENS) } else { "80" };
        if own.insert(listen) {
            let is_default = dice.once_in(4) && defaults.insert(listen);
            let word = if is_default { " default_server" } else { "" };
            let _ = writeln!(out, "listen {listen}{word};");
        }
    }
    if !dice.once_in(6) {
        let _ = writeln!(out, "server_name {};", dice.of(&NAMES));
    }
    if dice.once_in(8) {
        let _ = writeln!(out, "{}", dice.of(&RULES));
    }
    if dice.once_in(10) {
        let _ = writeln!(out, "{}", dice.of(&GATES));
    }
    if dice.once_in(12) {
        condition(dice, out);
    }
    if dice.once_in(12) {
        rewrite(dice, out);
    }
    if dice.once_in(30) {
        let answer = dice.of(&[
            "return 403;",
            "return 444;",
            "return 200 x;",
            "return 301 /b;",
        ]);
        let _ = writeln!(out, "{answer}");
    }
    let mut known = HashSet::new();
    for _ in 0..1 + dice.below(6) {
        location(dice, out, number, "", 0, &mut known);
    }
    out.push_str("}\n");
}

fn condition(dice: &mut Dice, out: &mut String) {
    let body = dice.of(&[
        "return 403;",
        "return 403;",
        "return 405;",
        "return 404;",
        "return 444;",
        "return 301 /b;",
        "rewrite ^ /b last;",
        "set $x 1;",
    ]);
    let _ = writeln!(out, "if ({}) {{ {body} }}", dice.of(&CONDITIONS));
}

fn rewrite(dice: &mut Dice, out: &mut String) {
    let from = dice.of(&[
        "^/a/(.*)$",
        "^/ab/(.*)$",
        "^/b/(.*)$",
        "^/ab",
        "^/(.*)b$",
        "^",
        "^/a$",
        r"\.p$",
    ]);
    let target = dice.of(&[
        "/b/$1", "/a/$1", "/a", "/ab", "/$1", "/b/x.p", "/ab/$1?", "/x$1?y=1",
    ]);
    let to = match from.contains('(') {
        true => target.to_owned(),
        false => target.replace("$1", "x"),
    };
    let flag = dice.of(&["last", "last", "break", "", "permanent"]);
    let _ = writeln!(out, "rewrite {from} {to} {flag};");
}

fn location(
    dice: &mut Dice,
    out: &mut String,
    server: usize,
    within: &str,
    depth: usize,
    known: &mut HashSet<String>,
) {
    let modifier = match within {
        // An expression has but expressions in it.
        "~" => dice.of(&["~", "~*"]),
        _ => dice.of(&["", "", "", "", "=", "^~", "~", "~", "~*"]),
    };
    let text = match modifier {
        "~" | "~*" => dice.of(&EXPRESSIONS).to_owned(),
        _ if within.is_empty() => dice.of(&PREFIXES).to_owned(),
        _ => format!(
            "{within}{}",
            dice.of(&["a", "b", "/b", "/", ".p", "b/", "a/b", "x.p", "-"])
        ),
    };
    // nginx wants each once; `=` stands beside a prefix.
    let group = match modifier {
        "" | "^~" => "prefix",
        other => other,
    };
    let is_regex = group.starts_with('~');
    if !is_regex && !known.insert(format!("{group} {text}")) || text.contains("//") {
        return;
    }
    let quoted = match text.contains(' ') && !text.starts_with('"') {
        true => format!("\"{}\"", text.replace('"', "")),
        false => text.clone(),
    };
    let _ = writeln!(out, "location {modifier} {quoted} {{");
    if dice.once_in(3) {
        let _ = writeln!(out, "{}", dice.of(&RULES));
    }
    if dice.once_in(7) {
        let _ = writeln!(out, "{}", dice.of(&GATES));
    }
    if dice.once_in(10) {
        condition(dice, out);
    }
    if dice.once_in(10) {
        rewrite(dice, out);
    }
    if dice.once_in(14) {
        let methods = dice.of(&["GET", "GET POST", "POST", "GET HEAD"]);
        let rules = dice.of(&RULES[..6]);
        let _ = writeln!(out, "limit_except {methods} {{ {rules} }}");
    }
    if dice.once_in(25) {
        out.push_str("internal;\n");
    }
    match dice.below(12) {
        0 => out.push_str("return 403;\n"),
        1 => out.push_str("return 404;\n"),
        2 if dice.once_in(2) => out.push_str("return 301 /b;\n"),
        3 if dice.once_in(3) => {}
        4 if !is_regex && modifier != "=" && dice.once_in(2) => {
            let path = dice.of(&["/", "/v1/", "/v1"]);
            let _ = writeln!(out, "proxy_pass http://10.9.0.{server}:3000{path};");
        }
        _ => {
            let _ = writeln!(out, "proxy_pass http://10.9.0.{server}:3000;");
        }
    }
    if modifier != "=" && depth < 2 && dice.once_in(5) {
        let mut inner = HashSet::new();
        for _ in 0..1 + dice.below(2) {
            let within = match is_regex {
                true => "~",
                false => text.trim_matches('"'),
            };
            location(dice, out, server, within, depth + 1, &mut inner);
        }
    }
    out.push_str("}\n");
}

/// Requests for a configuration: paths of its own locations and beside them, and others.
pub(super) fn requests(dice: &mut Dice, tree: &Tree, count: usize) -> Vec<Asked> {
    let mut own = Vec::new();
    tree.each(&mut |directive: &Directive| {
        if directive.name == "location" {
            own.push(split(directive).1.to_owned());
        }
    });
    let mut out = Vec::new();
    for _ in 0..count {
        let mut target = match own.is_empty() || dice.once_in(3) {
            true => random_path(dice),
            false => {
                let at = dice.below(own.len());
                beside(dice, &own[at])
            }
        };
        if dice.once_in(4) {
            target = respelt(dice, &target);
        }
        if dice.once_in(8) {
            target.push_str(dice.of(&["?", "?x=1", "?y"]));
        }
        out.push(Asked {
            host: dice.of(&HOSTS).to_owned(),
            method: dice.of(&METHODS),
            target,
            client: dice.of(&CLIENTS).parse::<IpAddr>().expect("an address"),
        });
    }
    out
}

fn random_path(dice: &mut Dice) -> String {
    const SEGMENTS: [&str; 21] = [
        "a", "a", "ab", "b", "a.b", ".g", "x.p", "b.p", "A", "ac", "a-b", "a%20b", "index.p", "x",
        "%C3%A9", "a+b", "x%EA", "%20b", "a%0Ab", "x.p%0A", "x%20ab",
    ];
    let mut out = String::new();
    for _ in 0..dice.of(&[0, 1, 1, 2, 2, 3, 4]) {
        out.push('/');
        out.push_str(dice.of(&SEGMENTS));
    }
    if out.is_empty() || dice.once_in(4) {
        out.push('/');
    }
    out
}

/// A path that a location takes, or hardly takes.
fn beside(dice: &mut Dice, text: &str) -> String {
    let mut out: String = text.replace(r"\.", ".");
    for (from, to) in [
        ("(a|b)", "b"),
        ("(p|g)", "p"),
        ("[^/]+", "x"),
        ("(.*)", "a/x"),
        (".*", "ab"),
        (".+", "b"),
    ] {
        out = out.replace(from, to);
    }
    out.retain(|c| !"^$()|[]?!<=*".contains(c));
    if !out.starts_with('/') {
        out = format!("/{}{out}", dice.of(&["", "a/", "b", "ab/"]));
    }
    out = out.replace(' ', "%20").replace('\u{e9}', "%C3%A9");
    match dice.below(11) {
        10 => out.push_str("%0A"),
        0 | 1 => {}
        2 => out.push('x'),
        3 => out.push_str("/x"),
        4 => out.push_str("/b.p"),
        5 => out.push('/'),
        6 => out.push('b'),
        7 => out.push_str(".p"),
        8 => {
            out.pop();
        }
        _ => out.push_str(&random_path(dice)),
    }
    match out.starts_with('/') {
        true => out,
        false => format!("/{out}"),
    }
}

/// The same path, or nearly, in another spelling.
fn respelt(dice: &mut Dice, path: &str) -> String {
    let slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
    let at = slashes[dice.below(slashes.len())];
    let (before, after) = (&path[..at], &path[at + 1..]);
    match dice.below(11) {
        9 => format!("{before}/%0A{after}"),
        10 => format!("{before}%0A/{after}"),
        0 => format!("{before}//{after}"),
        1 if at > 0 => format!("{before}%2F{after}"),
        2 if at > 0 => format!("{before}%2f{after}"),
        3 => format!("{before}/./{after}"),
        4 => format!("{before}/b/../{after}"),
        5 => format!("{before}/b/%2e%2e/{after}"),
        6 if at > 0 => format!("{before}%2F..%2F{after}"),
        7 => path.replacen('a', "%61", 1),
        _ => path.replacen('a', "A", 1),
    }
}
