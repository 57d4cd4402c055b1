//! Whether secrets that are not shown are the same in two places: by digests, keyed with what one comparison is made with.

use std::collections::BTreeMap;

use toml::Value as Toml;

use super::{Effective, Entry, Node, Printer};
use crate::config::{difference, secret};

/// What a comparison is keyed with: random, for this one.
pub type Key = [u8; 32];

impl Effective {
    /// Digests of all values that are printed as something else, by their full path as in
    /// [`difference`](crate::config::difference).
    pub fn digests(&self, key: &Key) -> BTreeMap<String, String> {
        let mut root = self.settled();
        digest(&mut root, key);
        let mut printer = Printer::new(false, true);
        printer.table(&root, &mut Vec::new());
        // What is printed is TOML.
        let mut keys = difference::keys_of(&printer.text).unwrap_or_default();
        keys.retain(|_, value| {
            let digest = secret::digest_of(value.trim_matches('"')).map(str::to_owned);
            digest.is_some_and(|digest| {
                *value = digest;
                true
            })
        });
        keys
    }
}

/// Puts digests where something else is shown.
fn digest(entries: &mut [Entry], key: &Key) {
    for entry in entries {
        match &mut entry.node {
            Node::Leaf(leaf) if leaf.shown.is_some() => {
                let digest = blake3::keyed_hash(key, leaf.value.to_string().as_bytes());
                leaf.shown = Some(Toml::String(secret::with_digest(&digest.to_hex())));
            }
            Node::Leaf(_) => {}
            Node::Table(table) => digest(table, key),
            Node::Tables(tables) => {
                for (_, table) in tables {
                    digest(table, key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Surroundings, parse};

    const FILE: &str = "\
[[listeners]]
address = '127.0.0.1:1'
[upstreams.shop]
servers = ['127.0.0.1:2']
[[routes]]
upstream = 'shop'
[routes.request_headers.set]
X-Api-Key = 'ONE'
X-Origin = 'https://${API_TOKEN}.example'
X-Plain = 'plain'
[routes.request_headers.add]
X-Token = ['a', 'b']
";

    fn digests(file: &str, token: &str, key: u8) -> Vec<(String, String)> {
        let env = |name: &str| (name == "API_TOKEN").then(|| token.to_owned());
        let outside = Surroundings {
            folder: Path::new("/"),
            env: &env,
        };
        let loaded = parse("f", file, &outside).unwrap();
        let digests = loaded.config.effective.digests(&[key; 32]);
        digests.into_iter().collect()
    }

    #[test]
    fn only_what_is_not_shown_and_only_by_the_same_key() {
        let set = |name: &str| format!("routes[/*].request_headers.set.{name}");
        let one = digests(FILE, "abcdefgh", 1);
        let paths: Vec<&str> = one.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "routes[/*].request_headers.add.X-Token",
                &set("X-Api-Key"),
                &set("X-Origin")
            ]
        );
        assert!(one.iter().all(|(_, digest)| digest.len() == 64), "{one:?}");
        assert_eq!(one, digests(FILE, "abcdefgh", 1));
        let changed = |file: &str, token: &str| -> Vec<String> {
            let other = digests(file, token, 1);
            let pairs = one.iter().zip(&other);
            let pairs = pairs.filter(|(one, other)| one != other);
            pairs.map(|((path, _), _)| path.clone()).collect()
        };
        for (from, to, token, differ) in [
            ("plain", "other", "abcdefgh", &[][..]),
            ("ONE", "TWO", "abcdefgh", &["X-Api-Key"]),
            ("", "", "abcdefgi", &["X-Origin"]),
        ] {
            let differ: Vec<String> = differ.iter().map(|name| set(name)).collect();
            assert_eq!(changed(&FILE.replacen(from, to, 1), token), differ, "{to}");
        }
        let other = digests(FILE, "abcdefgh", 2);
        let mut pairs = one.iter().zip(&other);
        assert!(pairs.all(|((_, one), (_, other))| one != other));
    }
}
