//! What a configuration has the process read and write.

use std::{
    fs::{self, File},
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

    /// What this process cannot read or write, each a sentence without an end; as `user` would, where that is to come.
    pub fn denied(&self, user: Option<&Identity>) -> Vec<String> {
        match user {
            Some(user) => user.act(|| self.refused()),
            None => self.refused(),
        }
    }

    fn refused(&self) -> Vec<String> {
        let mut said = Vec::new();
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
            if denies(File::open(path).map(drop)) {
                said.push(format!("{} cannot be read", path.display()));
            }
        }
        for folder in &self.folders {
            if denies(fs::read_dir(folder).map(drop)) {
                said.push(format!("the folder {} cannot be read", folder.display()));
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
        said.sort();
        said.dedup();
        said
    }
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
