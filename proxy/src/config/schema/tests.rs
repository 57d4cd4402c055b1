//! The schema against files that are right, files that are wrong, and the code that reads both.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;
use toml::Table;

use super::*;
use crate::config::{Errors, Surroundings, describe::within, model::Config, parse, reference};

/// Files of the tree with snippets of configurations.
const PAGES: [&str; 3] = ["README.md", "certs/README.md", "CHANGELOG.md"];

type Checker = LazyLock<(Schemas, SchemaIndex)>;

static SCHEMA: Checker = LazyLock::new(|| compiled(schema()));

/// The schema for snippets, which leave out what they are not about.
static OF_PARTS: Checker = LazyLock::new(|| {
    let mut schema = schema();
    nothing_required(&mut schema);
    compiled(schema)
});

fn compiled(schema: Value) -> (Schemas, SchemaIndex) {
    let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
    compiler.add_resource("dhal.json", schema).unwrap();
    let index = compiler.compile("dhal.json", &mut schemas).unwrap();
    (schemas, index)
}

fn nothing_required(schema: &mut Value) {
    match schema {
        Value::Object(entries) => {
            entries.remove("required");
            entries.values_mut().for_each(nothing_required);
        }
        Value::Array(items) => items.iter_mut().for_each(nothing_required),
        _ => {}
    }
}

/// What the schema says of a file.
pub(in crate::config) fn refused(text: &str) -> Option<String> {
    refused_by(&SCHEMA, text)
}

fn refused_by(checker: &Checker, text: &str) -> Option<String> {
    let file: Table = text.parse().unwrap_or_else(|why| panic!("{why}: {text}"));
    let (schemas, index) = &**checker;
    let file = json_of(file.into());
    let checked = schemas.validate(&file, *index);
    checked.err().map(|why| why.to_string())
}

/// TOML as editors hand it to a validator: dates are strings.
fn json_of(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(moment) => moment.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json_of).collect(),
        toml::Value::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| (key, json_of(value)));
            Value::Object(entries.collect())
        }
    }
}

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn with_extension(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(tree().join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|has| has == extension))
        .collect()
}

#[test]
fn examples_are_valid() {
    let mut files = 0;
    for path in with_extension("config", "toml") {
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(refused(&text), None, "{}", path.display());
        let first = text.lines().next();
        assert_eq!(
            first,
            Some("#:schema ./dhal.schema.json"),
            "{}",
            path.display()
        );
        files += 1;
    }
    assert!(files >= 3, "only {files} examples were found");
}

#[test]
fn snippets_of_the_documentation_are_valid() {
    let pages = PAGES.map(|page| tree().join(page));
    let pages = pages.into_iter().chain(with_extension("docs", "md"));
    let mut snippets = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for snippet in text.split("```toml\n").skip(1) {
            let (snippet, _) = snippet.split_once("```").unwrap();
            // `…` stands for what is left out.
            if snippet.contains('…') {
                continue;
            }
            let checker = match snippet.contains("[[listeners]]") {
                true => &SCHEMA,
                false => &OF_PARTS,
            };
            let why = refused_by(checker, snippet);
            assert_eq!(why, None, "{}:\n{snippet}", page.display());
            snippets += 1;
        }
    }
    assert!(snippets >= 10, "only {snippets} snippets were found");
}

#[test]
fn what_is_committed_is_what_the_code_says() {
    let committed = fs::read_to_string(tree().join("config/dhal.schema.json")).unwrap();
    let page = fs::read_to_string(tree().join("docs/configuration.md")).unwrap();
    assert!(
        committed == format!("{:#}\n", schema()),
        "config/dhal.schema.json is not what the code says: run `make reference`"
    );
    assert!(
        page == reference::page(),
        "docs/configuration.md is not what the code says: run `make reference`"
    );
}

#[test]
fn values_of_the_environment_may_stand_everywhere() {
    let file = r#"
        [server]
        threads = "${THREADS:-0}"
        shutdown_grace = "${GRACE}"
        max_header_bytes = "${KIB}KiB"
        min_receive_rate = "${RATE:-240B/s}"
        trusted_proxies = ["${LB}", "10.0.0.0/8"]
        forwarded_field = "${FIELD}"
        hsts = "${HSTS}"
        watch_config = "${WATCH:-false}"
        [tls]
        profile = "${PROFILE}"
        [admin]
        address = "${ADMIN}"
        token_file = "${HOME}/token"
        [[listeners]]
        address = "127.0.0.1:${PORT}"
        tls = "${TLS:-true}"
        [upstreams.shop]
        servers = ["${HOST}:3000", { address = "${SPARE}", backup = "${YES}" }]
        hash_key = "header:${FIELD}"
        tls = "${TLS}"
        [limits.a]
        key = "${KEY}"
        rate = "${RATE}"
        status = "${STATUS}"
        [[routes]]
        host = "${HOST}"
        path = "/${PATH}"
        upstream = "${UPSTREAM}"
        class = "${CLASS}"
        "#;
    assert_eq!(refused(file), None);
}

#[test]
fn wrong_files_are_refused() {
    for (wrong, why) in [
        ("[sever]", "an unknown table"),
        ("[server]\nthread = 1", "an unknown key"),
        ("[server]\nthreads = \"1\"", "a quoted number"),
        ("[server]\nthreads = 1.5", "a fraction"),
        ("[server]\nthreads = 1025", "beyond its bound"),
        ("[server]\nthreads = -1", "below its bound"),
        ("[server]\nshutdown_grace = 10", "a bare number"),
        ("[server]\nshutdown_grace = \"10\"", "no unit"),
        ("[server]\nshutdown_grace = \"10 s\"", "a space"),
        ("[server]\nmax_header_bytes = \"32K\"", "no such unit"),
        ("[server]\nmin_send_rate = \"240B\"", "no rate"),
        ("[server]\nforwarded_field = \"x-real-ip\"", "no choice"),
        ("[server]\ntrusted_proxies = \"10.0.0.0/8\"", "no list"),
        ("[server]\ntrusted_proxies = [\"ten\"]", "no network"),
        ("[server]\npid_file = \"\"", "an empty path"),
        (
            "[server]\npid_file = \"~/pid\"",
            "a path that is not expanded",
        ),
        ("[server]\nclient_network = 24", "no table"),
        ("[[server]]\nthreads = 1", "a list of tables"),
        ("[admin]", "no address"),
        ("[admin]\naddress = \"/run/dhal.sock\"", "a bare path"),
        ("[admin]\naddress = 9900", "a port alone"),
        (
            "[listeners]\naddress = \"0.0.0.0:80\"",
            "a table for a list",
        ),
        ("[[listeners]]\ntls = true", "no address"),
        ("[[listeners]]\naddress = \":80\"", "no IP address"),
        ("[[listeners]]\naddress = \"localhost:80\"", "a name"),
        (
            "[[listeners]]\naddress = \"0.0.0.0:80\"\ntls = \"yes\"",
            "no boolean",
        ),
        (
            "[[listeners]]\naddress = \"0.0.0.0:80\"\nhttps_port = 65536",
            "no port",
        ),
        ("[[certificates]]\ncert = 1", "no path"),
        ("include = \"conf.d/*.toml\"", "no list"),
        ("include = [\"conf.d/*.conf\"]", "no such name"),
        ("[tls]\nprofile = \"old\"", "no choice"),
        ("[reload]\nmax_5xx_percent = 101", "beyond its bound"),
        ("[server]\nhsts = 365", "a bare number"),
        ("[server]\nwatch_config = 1", "no boolean"),
        (
            "[[listeners]]\naddress = \"0.0.0.0:80\"\nclient_auth = {}",
            "no authorities",
        ),
        (
            "[[listeners]]\naddress = \"0.0.0.0:80\"\nclient_auth = { ca = \"a\", mode = \"ask\" }",
            "no choice",
        ),
        ("[upstreams]\nservers = [\"127.0.0.1:3000\"]", "no name"),
        (
            "[upstreams.\"a b\"]\nservers = [\"127.0.0.1:3000\"]",
            "a name with a space",
        ),
        ("[upstreams.a]", "no servers"),
        ("[upstreams.a]\nservers = \"127.0.0.1:3000\"", "no list"),
        (
            "[upstreams.a]\nservers = [\"http://127.0.0.1:3000\"]",
            "a scheme",
        ),
        ("[upstreams.a]\nservers = [\"127.0.0.1\"]", "no port"),
        ("[upstreams.a]\nservers = [{ weight = 2 }]", "no address"),
        (
            "[upstreams.a]\nservers = [{ address = \"a:1\", wieght = 2 }]",
            "an unknown key",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\nbalance = \"random\"",
            "no choice",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\nhash_key = \"cookie:\"",
            "no cookie",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\ntls = \"true\"",
            "a quoted boolean",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\ntls = { certs = \"a\" }",
            "an unknown key",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\nconcurrency = 5",
            "neither boolean nor table",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\nhealth_check = { path = \"healthz\" }",
            "a relative path",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\nhealth_check = { path = \"/\", status = [\"2xx\"] }",
            "no status",
        ),
        (
            "[upstreams.a]\nservers = [\"a:1\"]\nretry = { attempts = 11 }",
            "beyond its bound",
        ),
        ("[cache]\ndisk = { path = \"/var/cache\" }", "no size"),
        ("[cache.policies.a]\nttl = 60", "a bare number"),
        ("[cache.policies.a]\nignore_query = [\"a*b\"]", "`*` within"),
        (
            "[cache.policies.a]\nbypass_cookies = [\"session*\"]",
            "a pattern of cookies",
        ),
        ("[cache.policies.a]\nkey_headers = [\"a b\"]", "no field"),
        (
            "[cache.policies.a]\nset_cookie = true",
            "a boolean for a choice",
        ),
        ("[limits.a]", "no rate"),
        ("[limits.a]\nrate = \"0/s\"", "nobody"),
        ("[limits.a]\nrate = \"50/d\"", "no such period"),
        ("[limits.a]\nrate = \"5/s\"\nkey = \"ip\"", "no such key"),
        (
            "[limits.a]\nrate = \"5/s\"\nkey = [\"ip\"]",
            "no such key in a list",
        ),
        (
            "[limits.a]\nrate = \"5/s\"\nstatus = 404",
            "not one of the two",
        ),
        ("[limits.a]\nrate = \"5/s\"\nburst = 0", "below its bound"),
        ("[[routes]]\npath = \"cart\"\nupstream = \"a\"", "no `/`"),
        ("[[routes]]\npath = \"/a?b\"\nupstream = \"a\"", "a query"),
        (
            "[[routes]]\npath = \"/a*\"\nupstream = \"a\"",
            "`*` within a segment",
        ),
        (
            "[[routes]]\nhost = \"Shop.example\"\nupstream = \"a\"",
            "upper case",
        ),
        (
            "[[routes]]\nhost = \"shop.example:80\"\nupstream = \"a\"",
            "a port",
        ),
        ("[[routes]]\nupstream = \"a\"\nlimits = \"b\"", "no list"),
        (
            "[[routes]]\nupstream = \"a\"\nmethods = [\"get\"]",
            "lower case",
        ),
        ("[[routes]]\nredirect = {}", "no destination"),
        (
            "[[routes]]\nfiles = { root = \"a\", precompressed = [\"lzma\"] }",
            "no coding",
        ),
        (
            "[[routes]]\nfiles = { root = \"a\", fallback = \"403\" }",
            "no fallback",
        ),
        ("[[routes]]\nrespond = { status = 100 }", "below its bound"),
        (
            "[[routes]]\nupstream = \"a\"\nrewrite = { pattern = \"^/a\" }",
            "no target",
        ),
        (
            "[[routes]]\nupstream = \"a\"\nrequest_headers = { set = { a = 1 } }",
            "a number",
        ),
        (
            "[[routes]]\nupstream = \"a\"\nrequest_headers = { remove = [\"a b\"] }",
            "no field",
        ),
        (
            "[[routes]]\nupstream = \"a\"\nresponse_headers = { on = \"failure\" }",
            "no choice",
        ),
        ("[[routes]]\nupstream = \"a\"\nclass = \"buy\"", "no choice"),
        ("[waiting_rooms.a]\ncapacity = 0", "nobody"),
        (
            "[waiting_rooms.a]\ncapacity = 1\nopens = 2026-11-27T12:00:00",
            "no offset",
        ),
        (
            "[waiting_rooms.a]\ncapacity = 1\nopens = 2026-11-27",
            "no time",
        ),
        (
            "[waiting_rooms.a]\ncapacity = 1\nkeys = [{ id = \"a\" }]",
            "no file",
        ),
        ("[access_log]\nformat = \"xml\"", "no choice"),
    ] {
        assert!(refused(wrong).is_some(), "{why}:\n{wrong}");
        assert!(
            matches!(read(wrong), Err(Errors::Invalid(_))),
            "the code takes it: {wrong}"
        );
    }
}

/// The file that gets texts of all kinds at its end, or before a table.
const BARE: &str = r#"[[listeners]]
address = "127.0.0.1:80"
[upstreams.a]
servers = ["a:1"]
[cache.policies.p]
[limits.l]
rate = "1/s"
[[routes]]
upstream = "a"
"#;

/// The schema refuses no text that the code takes.
#[test]
fn no_pattern_is_stricter_than_the_code() {
    let before = |table: &str, line: String| BARE.replace(table, &format!("{line}\n{table}"));
    let mut taken = 0;
    for c in (' '..='\u{7f}').chain(['ঢ', '\u{a0}']) {
        let c = match c {
            '"' | '\\' => format!("\\{c}"),
            '\u{7f}' => "\\u007f".to_owned(),
            _ => c.to_string(),
        };
        for text in [
            BARE.replace("a:1", &format!("a{c}b:1")),
            BARE.replace("1/s", &format!("{c}1/s")),
            before("[cache", format!("hash_key = \"header:{c}\"")),
            before("[cache", format!("hash_key = \"cookie:{c}\"")),
            before("[cache", format!("health_check = {{ path = \"/{c}\" }}")),
            before(
                "[cache",
                format!("health_check = {{ path = \"/\", host = \"a{c}b\" }}"),
            ),
            before("[limits", format!("ignore_query = [\"{c}\"]")),
            before("[limits", format!("ignore_query = [\"a{c}b*\"]")),
            before("[limits", format!("key_cookies = [\"{c}\"]")),
            before("[limits", format!("key_headers = [\"a{c}\"]")),
            before("[[routes", format!("key = \"param:{c}\"")),
            format!("{BARE}path = \"/{c}\""),
            format!("{BARE}path = \"/a{c}\""),
            format!("{BARE}path = \"/a/{c}b/*\""),
            format!("{BARE}host = \"a{c}b\""),
            format!("{BARE}host = \"{c}.a\""),
            format!("{BARE}[access_log]\npath = \"{c}\""),
            format!("{BARE}[access_log]\npath = \"~{c}\""),
        ] {
            if read(&text).is_ok() {
                taken += 1;
                assert_eq!(refused(&text), None, "{text}");
            }
        }
    }
    assert!(taken > 500, "only {taken} texts were taken");
    for text in [
        BARE.replace("a:1", "[::1]:3000"),
        BARE.replace("a:1", "shop_1.internal.:3000"),
        BARE.replace("1/s", "007/h"),
        before("[cache", "shop_window = \"005d\"".to_owned()),
        format!("{BARE}host = \"[::1]\""),
        format!("{BARE}host = \"*.shop.example\""),
        format!("{BARE}path = \"/*\""),
        format!("{BARE}path = \"/:id/a:b/*\""),
        format!("{BARE}[server]\ntrusted_proxies = [\"::ffff:10.0.0.1\", \"fd00::/8\"]"),
        format!("{BARE}[server]\nresolvers = [\"[2001:db8::1]:53\", \"[fe80::1%2]:53\"]"),
        format!("{BARE}[admin]\naddress = [\"unix:admin.sock\", \"[::1]:9900\"]"),
    ] {
        read(&text).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(refused(&text), None, "{text}");
    }
}

/// A file with each table, some twice, with as little in them as may be.
const EVERYTHING: &str = r#"
[server]
client_network = {}
[server.hsts]
[server.sandbox]
[server.error_pages]
404 = "404.html"
[server.response_headers]
[tls]
[reload]
[acme]
agree_tos = true
storage = "acme"
names = [["shop.example"]]
eab = { key_id = "a", hmac_file = "eab.key" }
[admin]
address = "127.0.0.1:9900"
[[listeners]]
address = "127.0.0.1:80"
redirect_to_https = true
[[listeners]]
address = "127.0.0.1:443"
tls = true
client_auth = { ca = "ca.pem" }
[[listeners]]
address = "127.0.0.1:8080"
[[certificates]]
cert = "a.pem"
key = "a.key"
client_auth = { ca = "ca.pem" }
[upstreams.shop]
servers = [{ address = "127.0.0.1:3000" }, { address = "127.0.0.1:3001" }]
tls = {}
concurrency = {}
connections = {}
health_check = { path = "/" }
eject = {}
retry = {}
timeouts = {}
[upstreams.plain]
servers = ["127.0.0.1:3000"]
[cache]
disk = { path = "/var/cache/dhal", size = "10GiB" }
[cache.policies.pages]
[address_lists.office]
entries = []
[limits.visitor]
rate = "5/s"
prefix = {}
[limits.slow]
rate = "5/s"
action = "delay"
[bots]
[[routes]]
upstream = "shop"
timeouts = {}
hsts = {}
rewrite = { pattern = "^/a/(.*)", to = "/b/{1}" }
request_headers = { set = { x-shop = "1" } }
response_headers = { set = { x-frame-options = "DENY" } }
[[routes]]
path = "/old/*"
redirect = { to = "/new{rest}" }
[[routes]]
path = "/robots.txt"
respond = { body = "User-agent: *" }
[[routes]]
path = "/static/*"
files = { root = "/srv/www" }
[waiting_rooms.sale]
capacity = 10
[[waiting_rooms.sale.keys]]
id = "k"
file = "k"
[waiting_rooms.opening]
capacity = 10
opens = 2026-11-27T12:00:00Z
cart_cookies = ["cart"]
[access_log]
"#;

fn read(text: &str) -> Result<Config, Errors> {
    let surroundings = Surroundings {
        folder: Path::new("/etc/dhal"),
        env: &|_| None,
    };
    parse("dhal.toml", text, &surroundings).map(|loaded| loaded.config)
}

/// A table within a file.
type Place = Vec<Step>;

#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Item(usize),
}

/// All tables of a section in a file, with the section's path.
fn places(
    section: &Section,
    path: &str,
    table: &Table,
    place: &Place,
    all: &mut BTreeMap<String, (Section, Vec<Place>)>,
) {
    let entry = all.entry(path.to_owned());
    entry
        .or_insert_with(|| (section.clone(), Vec::new()))
        .1
        .push(place.clone());
    for key in &section.keys {
        let Some(inner) = key.shape.section() else {
            continue;
        };
        let inner_path = within(&inside(path, key.name), &key.shape);
        let mut found = Vec::new();
        let at = |more: &[Step]| [&place[..], &[Step::Key(key.name.to_owned())], more].concat();
        match (table.get(key.name), &key.shape) {
            (Some(toml::Value::Table(named)), Shape::Named(_)) => {
                for (name, value) in named {
                    found.extend(
                        value
                            .as_table()
                            .map(|value| (at(&[Step::Key(name.clone())]), value)),
                    );
                }
            }
            (Some(toml::Value::Table(value)), _) => found.push((at(&[]), value)),
            (Some(toml::Value::Array(items)), _) => {
                for (index, value) in items.iter().enumerate() {
                    found.extend(
                        value
                            .as_table()
                            .map(|value| (at(&[Step::Item(index)]), value)),
                    );
                }
            }
            _ => {}
        }
        all.entry(inner_path.clone())
            .or_insert_with(|| (inner.clone(), Vec::new()));
        for (place, value) in found {
            places(&inner, &inner_path, value, &place, all);
        }
    }
}

fn all_places(file: &Table) -> BTreeMap<String, (Section, Vec<Place>)> {
    let mut all = BTreeMap::new();
    places(&File::describe(), "", file, &Vec::new(), &mut all);
    all
}

/// The file with a table of it changed.
fn changed(file: &Table, place: &Place, change: impl FnOnce(&mut Table)) -> String {
    let mut file = toml::Value::Table(file.clone());
    let mut at = &mut file;
    for step in place {
        at = match step {
            Step::Key(key) => &mut at[key.as_str()],
            Step::Item(index) => &mut at[*index],
        };
    }
    change(at.as_table_mut().unwrap());
    toml::to_string(&file).unwrap()
}

#[test]
fn the_file_of_these_tests_has_every_table() {
    let file: Table = EVERYTHING.parse().unwrap();
    read(EVERYTHING).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(refused(EVERYTHING), None);
    for (path, (_, places)) in all_places(&file) {
        assert!(!places.is_empty(), "add [{path}] to EVERYTHING");
    }
}

/// What the reference says of an absent key is what the code makes of it.
#[test]
fn a_key_written_with_its_default_changes_nothing() {
    let file: Table = EVERYTHING.parse().unwrap();
    // Written anew, the names are in another order.
    let bare = format!("{:?}", read(&changed(&file, &Vec::new(), |_| {})).unwrap());
    let mut tried = 0;
    for (path, (section, places)) in all_places(&file) {
        for key in &section.keys {
            let Some(default) = &key.default else {
                continue;
            };
            let default = toml::Value::try_from(default).unwrap();
            let mut outcomes = Vec::new();
            for place in &places {
                let mut is_written = false;
                let text = changed(&file, place, |table| {
                    is_written = table.contains_key(key.name);
                    table.entry(key.name).or_insert(default.clone());
                });
                if is_written {
                    continue;
                }
                match read(&text) {
                    Ok(config) => assert_eq!(format!("{config:?}"), bare, "{path}.{}", key.name),
                    // Some keys mean something only beside others.
                    Err(why) => {
                        outcomes.push(why.to_string());
                        continue;
                    }
                }
                outcomes.clear();
                tried += 1;
                break;
            }
            assert!(outcomes.is_empty(), "{path}.{}: {outcomes:?}", key.name);
        }
    }
    assert!(tried > 60, "only {tried} keys were tried");
}

/// What the schema requires is what the code requires.
#[test]
fn required_keys_are_required() {
    // Only some kinds of checks need it, a certificate that is in no folder, a route that does nothing else, and files
    // without `alias`.
    const SOMETIMES: [&str; 5] = [
        "upstreams.NAME.health_check.path",
        "certificates.cert",
        "certificates.key",
        "routes.upstream",
        "routes.files.root",
    ];
    let file: Table = EVERYTHING.parse().unwrap();
    for (path, (section, places)) in all_places(&file) {
        for key in &section.keys {
            for place in &places {
                let mut is_there = false;
                let text = changed(&file, place, |table| {
                    is_there = table.remove(key.name).is_some();
                });
                let said = read(&text)
                    .err()
                    .map(|why| why.to_string())
                    .unwrap_or_default();
                let missing = said.contains(&format!("`{}` is missing", key.name))
                    || said.contains("there is no listener");
                let name = inside(&path, key.name);
                assert!(
                    is_there || !key.required,
                    "{name} is required, and missing in EVERYTHING"
                );
                if is_there && !SOMETIMES.contains(&name.as_str()) {
                    assert_eq!(missing, key.required, "{name}: {said}");
                }
                if key.required && !path.is_empty() {
                    assert!(refused(&text).is_some(), "{name}");
                }
            }
        }
    }
}

#[test]
fn every_key_is_documented() {
    let file: Table = EVERYTHING.parse().unwrap();
    for (path, (section, _)) in all_places(&file) {
        for key in &section.keys {
            let name = inside(&path, key.name);
            let doc = &key.doc;
            assert!(
                doc.ends_with('.'),
                "{name} has no sentence about it: {doc:?}"
            );
            assert_eq!(doc.matches('`').count() % 2, 0, "{name}: {doc}");
            // The macro knows these, and says them in one way.
            for said in [
                "Required",
                "(the default)",
                "False where absent",
                "True where absent",
            ] {
                assert!(
                    !doc.contains(said),
                    "{name}: a mark says that better: {doc}"
                );
            }
        }
    }
}

/// The words of a choice stand in [`Scalar::CHOICES`], or the schema would not know them.
///
/// [`Scalar::CHOICES`]: crate::config::read::Scalar::CHOICES
#[test]
fn no_choice_is_hidden() {
    let sources = with_extension("proxy/src/config", "rs");
    let mut calls = 0;
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices(" choice(") {
            let call = text[at..].split(';').next().unwrap();
            calls += usize::from(call.contains("Self::CHOICES"));
            assert!(
                !call.contains("text, &[") && !call.contains("text,\n            &["),
                "{}: move the words into `const CHOICES`: {call}",
                path.display()
            );
        }
    }
    assert!(calls >= 10, "only {calls} choices were found");
}
