//! What a configuration has the process read and write.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags},
    unistd::{AccessFlags, faccessat},
};

use super::Identity;
use crate::config::model::{Action, AdminAddress, CertificateFiles, Config, LogTarget};

/// Files of folders that are looked at: a folder of pages may have any number.
const LOOKED_AT: usize = 1_024;

/// What cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    /// A sentence without an end.
    pub what: String,
    /// Where something cannot be read: what has to be opened for that, and lets only others in.
    pub closed: Option<Closed>,
}

/// What keeps something from being read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Closed {
    /// A file or folder.
    pub path: PathBuf,
    /// Whether it is the first closed folder on the way to what is to be read, and not that itself.
    pub is_on_the_way: bool,
}

/// Files and folders that a configuration names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paths {
    /// Files that are read.
    pub files: Vec<PathBuf>,
    /// Folders of which any file may be read.
    pub folders: Vec<PathBuf>,
    /// Files, and sockets, that are made anew and removed, or written.
    pub made: Vec<PathBuf>,
    /// Folders in which anything may be made.
    pub stores: Vec<PathBuf>,
}

impl Paths {
    /// Of a configuration that was read from these files, and from those of these folders.
    pub fn of(config: &Config, files: &[PathBuf], folders: &[PathBuf]) -> Self {
        let mut paths = Self {
            files: files.to_vec(),
            folders: folders.to_vec(),
            ..Self::default()
        };
        let server = &config.server;
        let named = config.named_files().into_iter();
        paths.files.extend(named.map(|file| file.path.to_owned()));
        paths.made.extend(server.pid_file.clone());
        paths.folders.extend(server.hardening.read.clone());
        paths.stores.extend(server.hardening.write.clone());
        if let Some(admin) = &config.admin {
            let sockets = admin.addresses.iter().filter_map(|address| match address {
                AdminAddress::Unix(path) => Some(path.clone()),
                AdminAddress::Tcp(_) => None,
            });
            paths.made.extend(sockets);
        }
        for source in &config.certificates {
            if let CertificateFiles::Folder(folder) = &source.files {
                paths.folders.push(folder.clone());
            }
        }
        for route in &config.routes {
            if let Action::Files(rules) = &route.action {
                paths.folders.push(rules.folder.clone());
            }
        }
        let acme = config.acme.iter();
        paths.stores.extend(acme.map(|acme| acme.storage.clone()));
        if let Some(LogTarget::File(path)) = config.access_log.as_ref().map(|log| &log.target) {
            paths.made.push(path.clone());
        }
        paths
            .stores
            .extend(config.cache.disk.iter().map(|disk| disk.path.clone()));
        paths
    }

    /// What this process cannot read or write; as `user` would, where that is to come.
    pub fn denied(&self, user: Option<&Identity>) -> Vec<Denied> {
        match user {
            Some(user) => user.act(|| self.refused()),
            None => self.refused(),
        }
    }

    fn refused(&self) -> Vec<Denied> {
        let (mut said, mut unread) = (Vec::new(), Vec::new());
        let in_folders = self
            .folders
            .iter()
            .filter_map(|folder| match fs::read_dir(folder) {
                Ok(entries) => Some(entries.filter_map(|entry| Some(entry.ok()?.path()))),
                Err(_) => None,
            });
        let in_folders = in_folders.flatten().filter(|path| path.is_file());
        let in_folders: Vec<_> = in_folders.take(LOOKED_AT).collect();
        for path in self.files.iter().chain(&in_folders) {
            if !readable(path) {
                unread.push((format!("{} cannot be read", path.display()), path));
            }
        }
        for folder in &self.folders {
            if denies(fs::read_dir(folder).map(drop)) {
                let what = format!("the folder {} cannot be read", folder.display());
                unread.push((what, folder));
            }
        }
        for path in &self.made {
            let folder = parent(path);
            let is_socket = !path.is_file();
            let file = || fs::OpenOptions::new().append(true).open(path).map(drop);
            if path.exists() && !is_socket && denies(file()) {
                said.push(format!("{} cannot be written", path.display()));
            } else if !writable(folder) {
                said.push(format!(
                    "the folder {} cannot be written, so that {} cannot be made anew or removed there",
                    folder.display(),
                    path.display()
                ));
            }
        }
        for folder in &self.stores {
            if folder.exists() && !writable(folder) {
                said.push(format!("the folder {} cannot be written", folder.display()));
            }
        }
        let unwritten = said.into_iter().map(|what| Denied { what, closed: None });
        let unread = unread.into_iter().map(|(what, path)| Denied {
            what,
            closed: Some(closed(path)),
        });
        let mut denied: Vec<_> = unwritten.chain(unread).collect();
        denied.sort();
        denied.dedup();
        denied
    }
}

/// What keeps a file away: the first folder on the way to it, or to where its link leads, that cannot be entered; else
/// itself.
fn closed(path: &Path) -> Closed {
    // A link can be followed by whoever may enter its folder.
    let led = fs::read_link(path).map(|to| parent(path).join(to));
    let led = led.unwrap_or_else(|_| path.to_owned());
    for way in [path, &led] {
        let mut folders: Vec<_> = way.ancestors().skip(1).collect();
        folders.retain(|folder| !folder.as_os_str().is_empty());
        let mut shut = folders.iter().rev().filter(|folder| {
            let entered = faccessat(AT_FDCWD, **folder, AccessFlags::X_OK, AtFlags::AT_EACCESS);
            matches!(entered, Err(Errno::EACCES))
        });
        if let Some(folder) = shut.next() {
            // Without the steps up of a link.
            return Closed {
                path: real(folder),
                is_on_the_way: true,
            };
        }
    }
    Closed {
        path: real(&led),
        is_on_the_way: false,
    }
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The folder of a file.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn denies(outcome: std::io::Result<()>) -> bool {
    outcome.is_err_and(|why| why.kind() == std::io::ErrorKind::PermissionDenied)
}

/// Whether a file can be read. It is asked and not tried: to open a pipe waits for somebody who writes to it. A file
/// that is not there is another matter.
fn readable(path: &Path) -> bool {
    let asked = faccessat(AT_FDCWD, path, AccessFlags::R_OK, AtFlags::AT_EACCESS);
    !matches!(asked, Err(Errno::EACCES))
}

/// Whether something can be made in a folder. A folder that is not there is another matter.
fn writable(folder: &Path) -> bool {
    let needed = AccessFlags::W_OK | AccessFlags::X_OK;
    let asked = faccessat(AT_FDCWD, folder, needed, AtFlags::AT_EACCESS);
    !matches!(asked, Err(Errno::EACCES | Errno::EROFS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Surroundings};

    #[test]
    fn everything_that_is_named_is_known() {
        let text = include_str!("../config/tests/full.toml");
        let outside = Surroundings {
            folder: Path::new("/etc/dhal"),
            env: &|name| match name {
                "PORT" => Some("8080".to_owned()),
                "SWITCH" => Some("true".to_owned()),
                "STRIPE_TOKEN" => Some("a".to_owned()),
                _ => None,
            },
        };
        let loaded = config::parse("dhal.toml", text, &outside);
        let config = loaded.unwrap_or_else(|why| panic!("{why}")).config;
        let paths = Paths::of(&config, &[], &[]);
        let ends = |list: &[PathBuf], end: &str| list.iter().any(|path| path.ends_with(end));
        for file in [
            "certs/shop.pem",
            "certs/shop.key",
            "ca.pem",
            "busy.html",
            "pages/404.html",
            "gone.html",
            "a.key",
        ] {
            assert!(ends(&paths.files, file), "{file}: {paths:?}");
        }
        assert!(ends(&paths.folders, "srv/shop"), "{paths:?}");
        assert!(
            ends(&paths.made, "dhal.pid") && ends(&paths.made, "access.log"),
            "{paths:?}"
        );
        assert!(ends(&paths.stores, "store"), "{paths:?}");
    }
}
