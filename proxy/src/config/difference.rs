//! What differs between two configurations that were printed: a line for each key, by its full path.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::secret::{self, HIDDEN};

/// Keys that tell the tables of a list apart: what has one of them stays itself when others come before it.
const TELLING: [&str; 4] = ["name", "id", "address", "cert"];

/// `- key = old` and `+ key = new`, in the order of the keys; none where both mean the same.
///
/// # Errors
/// One of the texts is no TOML.
pub fn difference(old: &str, new: &str) -> Result<Vec<String>, String> {
    let (old, new) = (keys_of(old)?, keys_of(new)?);
    let all: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut lines = Vec::new();
    let hidden = Value::from(HIDDEN).to_string();
    for key in all {
        let (before, after) = (old.get(key), new.get(key));
        // What is hidden from who asks cannot be compared.
        let is_hidden = |value: Option<&String>| value.is_some_and(|value| *value == hidden);
        if before == after
            || (before.is_some() && after.is_some() && (is_hidden(before) || is_hidden(after)))
        {
            continue;
        }
        for (sign, value) in [('-', before), ('+', after)] {
            if let Some(value) = value {
                lines.push(format!("{sign} {key} = {value}"));
            }
        }
    }
    Ok(lines)
}

pub(super) fn keys_of(text: &str) -> Result<BTreeMap<String, String>, String> {
    let table: Table = text
        .parse()
        .map_err(|why: toml::de::Error| why.message().to_owned())?;
    let mut keys = BTreeMap::new();
    flatten("", &table, &mut keys);
    Ok(keys)
}

fn flatten(above: &str, table: &Table, keys: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let path = match (above, is_bare(key)) {
            ("", true) => key.clone(),
            (above, true) => format!("{above}.{key}"),
            (above, false) => format!("{above}.{}", Value::String(key.clone())),
        };
        match value {
            Value::Table(inner) => {
                if inner.is_empty() {
                    keys.insert(path.clone(), "{}".to_owned());
                }
                flatten(&path, inner, keys);
            }
            Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_table) => {
                list(&path, items, keys);
            }
            other => {
                keys.insert(path, other.to_string());
            }
        }
    }
}

fn is_bare(key: &str) -> bool {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    !key.is_empty() && key.bytes().all(bare)
}

/// A list of tables, each under what tells it apart.
fn list(path: &str, items: &[Value], keys: &mut BTreeMap<String, String>) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut order = Vec::new();
    for table in items.iter().filter_map(Value::as_table) {
        let name = telling(table);
        let times = seen.entry(name.clone()).or_default();
        *times += 1;
        let name = match *times {
            1 => name,
            times => format!("{name} #{times}"),
        };
        flatten(&format!("{path}[{name}]"), table, keys);
        order.push(name);
    }
    // The most specific route wins, wherever it stands. Of everything else the first may count.
    if path != "routes" && order.len() > 1 {
        keys.insert(format!("{path} (order)"), order.join(", "));
    }
}

fn telling(table: &Table) -> String {
    let text = |key: &str| {
        let text = table.get(key).and_then(Value::as_str)?;
        Some(secret::digest_of(text).map_or(text, |_| HIDDEN))
    };
    if let Some(text) = TELLING.iter().find_map(|key| text(key)) {
        return text.to_owned();
    }
    let list = |key: &str| match table.get(key) {
        Some(Value::Array(items)) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            (!items.is_empty()).then(|| items.join(","))
        }
        other => other.and_then(Value::as_str).map(str::to_owned),
    };
    let regex = text("path_regex").map(|regex| format!("~{regex}"));
    let path = regex.or_else(|| text("path").map(str::to_owned));
    let methods = list("methods").map(|methods| format!("[{methods}]"));
    match (list("host"), path) {
        (None, None) => String::new(),
        (host, path) => {
            let path = path.unwrap_or_else(|| "/*".to_owned());
            host.unwrap_or_default() + &path + &methods.unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_by_full_path() {
        let old = "\
[server]
threads = 0
[upstreams.\"a.b\"]
retry = { attempts = 2 }
[[upstreams.\"a.b\".servers]]
address = '127.0.0.1:1'
weight = 1
[[routes]]
path = '/cart'
limits = ['few']
[[routes]]
name = 'rest'
upstream = 'shop'
";
        let rows: [(&str, &str, &[&str]); 9] = [
            ("", "", &[]),
            (
                "threads = 0",
                "threads = 4",
                &["- server.threads = 0", "+ server.threads = 4"],
            ),
            (
                "threads = 0\n",
                "",
                &["+ server = {}", "- server.threads = 0"],
            ),
            (
                "attempts = 2",
                "attempts = 3",
                &[
                    "- upstreams.\"a.b\".retry.attempts = 2",
                    "+ upstreams.\"a.b\".retry.attempts = 3",
                ],
            ),
            (
                "weight = 1",
                "weight = 2",
                &[
                    "- upstreams.\"a.b\".servers[127.0.0.1:1].weight = 1",
                    "+ upstreams.\"a.b\".servers[127.0.0.1:1].weight = 2",
                ],
            ),
            (
                "['few']",
                "['few', 'some']",
                &[
                    "- routes[/cart].limits = [\"few\"]",
                    "+ routes[/cart].limits = [\"few\", \"some\"]",
                ],
            ),
            // It cannot be told whether that differs.
            ("upstream = 'shop'", "upstream = '(hidden)'", &[]),
            (
                "upstream = 'shop'\n",
                "",
                &["- routes[rest].upstream = \"shop\""],
            ),
            // One before the others changes nothing for them.
            (
                "[[routes]]\npath = '/cart'",
                "[[routes]]\npath = '/a'\n[[routes]]\npath = '/cart'",
                &["+ routes[/a].path = \"/a\""],
            ),
        ];
        for (from, to, expected) in rows {
            let new = old.replacen(from, to, 1);
            assert_eq!(difference(old, &new).unwrap(), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn order_counts_but_for_routes() {
        let pair = |one: &str, other: &str, list: &str| {
            format!("[[{list}]]\naddress = '{one}'\n[[{list}]]\naddress = '{other}'\n")
        };
        for (list, expected) in [
            ("routes", &[][..]),
            (
                "listeners",
                &["- listeners (order) = a, b", "+ listeners (order) = b, a"],
            ),
        ] {
            let said = difference(&pair("a", "b", list), &pair("b", "a", list));
            assert_eq!(said.unwrap(), expected, "{list}");
        }
        let twice = pair("a", "a", "listeners");
        assert!(difference(&twice, &twice).unwrap().is_empty());
        assert!(difference("a = ", "").is_err());
    }
}
