//! A file with each table in it, and what is tried with every key of it.

use std::collections::BTreeMap;

use toml::Table;

use super::{read, refused};
use crate::config::{
    describe::{Section, Shape, inside, within},
    file::File,
};

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
