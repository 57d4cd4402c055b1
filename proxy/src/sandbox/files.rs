//! Landlock: files beyond those that the configuration names cannot be reached, by any thread, nor by a process that
//! this one starts.
//!
//! A rule holds for what lies beneath a folder, so that files which are replaced by others of their name stay within
//! reach. A file that lies in `/etc` or `/` itself stands for itself alone.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::Context;
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, LandlockStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, path_beneath_rules,
};
use serde::{Deserialize, Serialize};

use super::paths::{Paths, parent};

/// What this program knows of; an older kernel does what it can.
const KNOWN: ABI = ABI::V5;

/// What names, time, authorities and the machine itself are looked up by. `/etc` as a whole: its files are replaced by
/// others while the process runs, `resolv.conf` and `hosts` above all, and what is secret there is root's to read.
const SYSTEM: [&str; 14] = [
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/etc",
    "/proc",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
];

/// What a program that is not linked statically needs besides itself.
const LIBRARIES: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"];

/// Written by libraries and the like, whatever they hold.
const SINKS: [&str; 1] = ["/dev/null"];

/// What may be reached, by real paths.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rules {
    /// What is read.
    read: BTreeSet<PathBuf>,
    /// What is made, written and removed, and read.
    write: BTreeSet<PathBuf>,
    /// What may be started.
    execute: BTreeSet<PathBuf>,
}

impl Rules {
    /// For what a configuration names, the program that may take over, and the folders with others that may.
    pub(super) fn of(paths: &Paths, program: Option<&Path>, others: &[PathBuf]) -> Self {
        let mut rules = Self::default();
        for file in &paths.files {
            // Where it is looked for, and where links lead: both of them may be replaced.
            rules.read.extend(held(file));
            rules
                .read
                .extend(file.canonicalize().ok().and_then(|real| held(&real)));
        }
        for folder in &paths.folders {
            rules.read.extend(real(folder));
        }
        for file in &paths.made {
            rules.write.extend(held(file));
        }
        for folder in &paths.stores {
            rules.write.extend(real(folder));
        }
        rules.execute.extend(program.and_then(held));
        rules
            .execute
            .extend(others.iter().filter_map(|path| real(path)));
        rules
    }

    /// How many folders and files there are rules for, besides the system's.
    pub(super) fn count(&self) -> usize {
        self.read.len() + self.write.len() + self.execute.len()
    }

    /// What is named and cannot be reached by these rules.
    pub(super) fn beyond(&self, paths: &Paths) -> Vec<PathBuf> {
        let read = paths.files.iter().chain(&paths.folders);
        let unread = read.filter(|path| !self.reads(path));
        let written = paths.made.iter().chain(&paths.stores);
        let unwritten = written.filter(|path| !self.writes(path));
        let mut beyond: Vec<_> = unread.chain(unwritten).cloned().collect();
        beyond.sort();
        beyond.dedup();
        beyond
    }

    pub(super) fn reads(&self, path: &Path) -> bool {
        // What is not there is told by whoever looks for it.
        let Some(path) = destination(path) else {
            return true;
        };
        let system = SYSTEM
            .iter()
            .map(Path::new)
            .any(|root| path.starts_with(root));
        system
            || lies_in(&self.read, &path)
            || lies_in(&self.write, &path)
            || lies_in(&self.execute, &path)
    }

    fn writes(&self, path: &Path) -> bool {
        destination(path).is_none_or(|path| lies_in(&self.write, &path))
    }

    /// Puts the rules in force for this thread and those that it starts; `None` where the kernel knows too little.
    ///
    /// # Errors
    /// It should be possible, and is not.
    pub(super) fn enforce(&self) -> anyhow::Result<Option<u32>> {
        // With the first version files could not be moved from folder to folder, which the store does.
        let least = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::Refer);
        let Ok(ruleset) = least else { return Ok(None) };
        let all = AccessFs::from_all(KNOWN);
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let write = AccessFs::from_write(KNOWN) | read;
        let mut created = ruleset
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)
            .and_then(Ruleset::create)
            .context("Landlock")?;
        for (paths, access) in [
            (&self.read, read),
            (&self.write, write),
            (&self.execute, read | AccessFs::Execute),
        ] {
            created = created
                .add_rules(path_beneath_rules(paths, access))
                .context("Landlock")?;
        }
        created = created
            .add_rules(path_beneath_rules(SYSTEM, read))
            .context("Landlock")?;
        created = created
            .add_rules(path_beneath_rules(SINKS, read | AccessFs::WriteFile))
            .context("Landlock")?;
        if !self.execute.is_empty() {
            let start = read | AccessFs::Execute;
            created = created
                .add_rules(path_beneath_rules(LIBRARIES, start))
                .context("Landlock")?;
        }
        let status = created.restrict_self().context("Landlock")?;
        Ok(match status.landlock {
            LandlockStatus::Available {
                effective_abi,
                kernel_abi,
            } => {
                let known = u32::try_from(effective_abi as i32).unwrap_or_default();
                Some(
                    kernel_abi
                        .and_then(|abi| u32::try_from(abi).ok())
                        .unwrap_or(known),
                )
            }
            _ => None,
        })
    }
}

fn lies_in(roots: &BTreeSet<PathBuf>, path: &Path) -> bool {
    roots.iter().any(|root| path.starts_with(root))
}

/// Where a path really leads: what is not there yet, to where it would be made.
fn destination(path: &Path) -> Option<PathBuf> {
    if let Some(real) = real(path) {
        return Some(real);
    }
    let folder = parent(path).canonicalize().ok()?;
    Some(folder.join(path.file_name()?))
}

fn real(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

/// What there is a rule for, where a file is meant: its folder, unless that is one of the first in the tree, in which
/// lies what is nobody's business; then it is the file itself, if it is there.
fn held(path: &Path) -> Option<PathBuf> {
    let folder = real(parent(path))?;
    match folder.components().count() {
        // `/` and `/etc` have one and two.
        ..=2 => real(path),
        _ => Some(folder),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn folders_are_held_and_what_lies_beyond_is_named() {
        let root = std::env::temp_dir().join(format!("dhal-rules-{}", std::process::id()));
        for folder in ["conf", "archive", "logs", "other", "store"] {
            fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        for file in ["archive/key1.pem", "archive/key2.pem", "other/list"] {
            fs::write(root.join(file), "").expect("a file");
        }
        let link = root.join("conf/key.pem");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink("../archive/key1.pem", &link).expect("a link");
        let at = |path: &str| root.join(path);
        let paths = Paths {
            files: vec![link.clone(), PathBuf::from("/etc/passwd")],
            made: vec![at("logs/access.log")],
            stores: vec![at("store")],
            ..Paths::default()
        };
        let rules = Rules::of(&paths, None, &[]);
        assert_eq!(rules.beyond(&paths), Vec::<PathBuf>::new());
        assert!(!rules.read.contains(Path::new("/etc")), "{rules:?}");
        // Renewed, the link leads to another file.
        fs::remove_file(&link).expect("removed");
        std::os::unix::fs::symlink("../archive/key2.pem", &link).expect("a link");
        assert_eq!(rules.beyond(&paths), Vec::<PathBuf>::new());
        for (later, beyond) in [
            (
                Paths {
                    files: vec![at("conf/more.toml")],
                    ..Paths::default()
                },
                false,
            ),
            (
                Paths {
                    files: vec![at("other/list")],
                    ..Paths::default()
                },
                true,
            ),
            (
                Paths {
                    files: vec![at("logs/list")],
                    ..Paths::default()
                },
                false,
            ),
            (
                Paths {
                    folders: vec![at("other")],
                    ..Paths::default()
                },
                true,
            ),
            (
                Paths {
                    made: vec![at("logs/b.log")],
                    ..Paths::default()
                },
                false,
            ),
            (
                Paths {
                    made: vec![at("conf/b.log")],
                    ..Paths::default()
                },
                true,
            ),
            (
                Paths {
                    stores: vec![at("store/deeper")],
                    ..Paths::default()
                },
                false,
            ),
            (
                Paths {
                    stores: vec![at("other/deeper")],
                    ..Paths::default()
                },
                true,
            ),
            (
                Paths {
                    files: vec![PathBuf::from("/etc/resolv.conf")],
                    ..Paths::default()
                },
                false,
            ),
        ] {
            assert_eq!(!rules.beyond(&later).is_empty(), beyond, "{later:?}");
        }
        fs::remove_dir_all(&root).expect("removed");
    }
}
