//! Paths in the file system.

use std::path::{Path, PathBuf, absolute};

use crate::config::{
    diagnostic::{Complaint, shown},
    read::Scalar,
};

/// Longest path of a Unix socket: `sun_path` without its closing zero.
pub(in crate::config) const SOCKET_PATH_MAX: usize = 107;

/// A path in the file system: `~/` is not expanded.
const PATH: &str = "^([^~]|~$|~[^/])";

/// Permissions of a file, octal as `chmod` takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct FileMode(pub(in crate::config) u32);

impl Scalar for FileMode {
    const WANTED: &'static str = "permissions such as \"0660\"";

    fn pattern() -> Option<String> {
        Some("^0?[67][0-7]{2}$".to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        const OWNER_NEEDS: u32 = 0o600;
        let plain = text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
        let mode = u32::from_str_radix(text, 8).ok().filter(|_| plain);
        match mode.filter(|mode| *mode <= 0o777) {
            Some(mode) if mode & OWNER_NEEDS == OWNER_NEEDS => Ok(Self(mode)),
            Some(_) => Err(Complaint::new("its owner could not open the socket")
                .help("let the first digit be 6, as in \"0660\"")),
            None => Err(
                Complaint::new(format!("{} are no permissions", shown(text)))
                    .help("write them octal, as in \"0660\""),
            ),
        }
    }
}

/// A path in the file system, as written, and the folder where it starts if it is relative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct FilePath(pub(in crate::config) String, pub(in crate::config) PathBuf);

/// A path as it is the same wherever it is read.
pub(super) fn resolved(written: &str, folder: &Path) -> String {
    let path = folder.join(written);
    let path = absolute(&path).unwrap_or(path);
    path.to_string_lossy().into_owned()
}

impl Scalar for FilePath {
    const WANTED: &'static str = "the path of a file";

    fn pattern() -> Option<String> {
        Some(PATH.to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        path(text, Self::WANTED).map(|path| Self(path, PathBuf::new()))
    }

    fn starting_at(self, folder: &Path) -> Self {
        Self(self.0, folder.to_owned())
    }

    fn resolved(text: &str, folder: &Path) -> String {
        resolved(text, folder)
    }
}

/// A folder, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct FolderPath(pub(in crate::config) FilePath);

impl Scalar for FolderPath {
    const WANTED: &'static str = "the path of a folder";

    fn pattern() -> Option<String> {
        Some(PATH.to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        path(text, Self::WANTED).map(|path| Self(FilePath(path, PathBuf::new())))
    }

    fn starting_at(self, folder: &Path) -> Self {
        Self(self.0.starting_at(folder))
    }

    fn resolved(text: &str, folder: &Path) -> String {
        resolved(text, folder)
    }
}

fn path(text: &str, wanted: &str) -> Result<String, Complaint> {
    if text.is_empty() || text.contains('\0') {
        return Err(format!("expected {wanted}").into());
    }
    if text.starts_with("~/") {
        return Err(Complaint::new("`~` is not expanded").help("write `${HOME}` instead"));
    }
    Ok(text.to_owned())
}

/// Where the access log goes, the path as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum LogPath {
    Stdout,
    File(FilePath),
}

impl Scalar for LogPath {
    const WANTED: &'static str = "\"stdout\" or the path of a file";

    fn pattern() -> Option<String> {
        Some(PATH.to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "stdout" => Ok(Self::Stdout),
            "stderr" | "off" | "none" => Err(Complaint::new(format!(
                "{} is no target for the access log",
                shown(text)
            ))
            .help("write \"stdout\" or the path of a file; leave out [access_log] for no log")),
            _ => FilePath::parse(text).map(Self::File),
        }
    }

    fn starting_at(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(path.starting_at(folder)),
            Self::Stdout => Self::Stdout,
        }
    }

    fn resolved(text: &str, folder: &Path) -> String {
        match text {
            "stdout" => text.to_owned(),
            _ => resolved(text, folder),
        }
    }
}
