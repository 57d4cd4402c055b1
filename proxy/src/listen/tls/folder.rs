//! Folders of certificates: which pairs there are.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use super::pair::wrong;
use crate::config::model;

/// Entries of a folder that are looked at.
const ENTRIES_MAX: usize = 100_000;

/// Pairs of a folder, and what looks like half of one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// By name.
    pub(super) pairs: Vec<model::Certificate>,
    /// Certificates without a key beside them.
    pub(super) alone: Vec<PathBuf>,
}

/// `NAME.pem` or `NAME.crt` with `NAME.key`, and `NAME/fullchain.pem` with `NAME/privkey.pem`; what begins with a
/// dot is left out, so that a folder can be filled beside and renamed. An error is a sentence.
pub(super) fn list(folder: &Path) -> Result<Listing, String> {
    let mut found: BTreeMap<PathBuf, model::Certificate> = BTreeMap::new();
    let mut alone = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|why| wrong(folder, &why))?;
    for (count, entry) in entries.enumerate() {
        let path = entry.map_err(|why| wrong(folder, &why))?.path();
        if count >= ENTRIES_MAX {
            let why = format!("there are more than {ENTRIES_MAX} files in it");
            return Err(wrong(folder, &why));
        }
        let hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
        if path.file_name().is_none_or(hidden) {
            continue;
        }
        let is = |ending: &str| path.extension().is_some_and(|it| it == ending);
        let (is_pem, is_crt, is_key) = (is("pem"), is("crt"), is("key"));
        if (is_pem || is_crt) && !path.is_dir() {
            let key = path.with_extension("key");
            if !key.exists() {
                alone.push(path);
                continue;
            }
            let pair = model::Certificate { cert: path, key };
            let name = pair.cert.with_extension("");
            // Of two that share a key the one by the usual name counts.
            if is_pem || !found.contains_key(&name) {
                found.insert(name, pair);
            }
        } else if !is_key {
            let (cert, key) = (path.join("fullchain.pem"), path.join("privkey.pem"));
            // Half a pair is one that is being written, or broken.
            if cert.exists() || key.exists() {
                found.insert(path, model::Certificate { cert, key });
            }
        }
    }
    alone.sort();
    Ok(Listing {
        pairs: found.into_values().collect(),
        alone,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_all_kinds() {
        let folder = std::env::temp_dir().join(format!("dhal-folder-{}", crate::random::next()));
        for dir in ["live.example", "half", "empty", ".hidden"] {
            std::fs::create_dir_all(folder.join(dir)).unwrap();
        }
        for file in [
            "README",
            "b.example.pem",
            "b.example.key",
            "a.example.crt",
            "a.example.key",
            "both.pem",
            "both.crt",
            "both.key",
            "authorities.pem",
            "only.key",
            ".new.pem",
            ".new.key",
            "live.example/fullchain.pem",
            "live.example/privkey.pem",
            "live.example/cert.pem",
            "half/privkey.pem",
            ".hidden/fullchain.pem",
            ".hidden/privkey.pem",
        ] {
            std::fs::write(folder.join(file), "").unwrap();
        }
        let listing = list(&folder).unwrap();
        let pairs: Vec<_> = listing
            .pairs
            .iter()
            .map(|pair| {
                let name = |path: &Path| path.strip_prefix(&folder).unwrap().display().to_string();
                (name(&pair.cert), name(&pair.key))
            })
            .collect();
        let wanted = [
            ("a.example.crt", "a.example.key"),
            ("b.example.pem", "b.example.key"),
            ("both.pem", "both.key"),
            ("half/fullchain.pem", "half/privkey.pem"),
            ("live.example/fullchain.pem", "live.example/privkey.pem"),
        ];
        assert_eq!(
            pairs,
            wanted.map(|(cert, key)| (cert.to_owned(), key.to_owned()))
        );
        assert_eq!(listing.alone, [folder.join("authorities.pem")]);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(list(&folder).is_err());
    }
}
