//! The path of a request as the path of a file.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// A path beneath a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Relative, of segments that are no dots; `.` for the folder itself.
    pub path: PathBuf,
    /// It ends in `/`: a folder is meant.
    pub is_folder: bool,
}

impl Name {
    /// The file that a normalised path means, from the place `skip` on. `None` where it can mean none: an encoded
    /// slash is none, NUL is in no name, and names that begin with a dot are hidden.
    pub fn of(path: &str, skip: usize, shows_hidden: bool) -> Option<Self> {
        let path = path.get(skip..)?;
        let mut out: Vec<u8> = Vec::with_capacity(path.len());
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let segment = decoded(segment.as_bytes())?;
            if segment.contains(&b'/')
                || segment.contains(&0)
                || segment == b"."
                || segment == b".."
            {
                return None;
            }
            // RFC 8615: made to be seen.
            let is_well_known = out.is_empty() && segment == b".well-known";
            if segment.first() == Some(&b'.') && !shows_hidden && !is_well_known {
                return None;
            }
            if !out.is_empty() {
                out.push(b'/');
            }
            out.extend_from_slice(&segment);
        }
        let is_folder = out.is_empty() || path.ends_with('/');
        if out.is_empty() {
            out.push(b'.');
        }
        Some(Self {
            path: PathBuf::from(OsStr::from_bytes(&out)),
            is_folder,
        })
    }

    /// A file in this folder.
    pub fn join(&self, name: &str) -> PathBuf {
        match self.path.as_os_str() == "." {
            true => PathBuf::from(name),
            false => self.path.join(name),
        }
    }
}

/// The same with something behind it.
pub fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Each `%XX` as its byte.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_paths_mean() {
        let name = |path: &str, is_folder| {
            Some(Name {
                path: path.into(),
                is_folder,
            })
        };
        for (path, skip, wanted) in [
            ("/", 0, name(".", true)),
            ("/a", 0, name("a", false)),
            ("/a/b.css", 0, name("a/b.css", false)),
            ("/a/", 0, name("a", true)),
            ("//a///b", 0, name("a/b", false)),
            ("/media/a", 7, name("a", false)),
            ("/media/", 7, name(".", true)),
            ("/media", 7, None),
            ("/a%20b", 0, name("a b", false)),
            ("/%E0%A6%A2", 0, name("ঢ", false)),
            ("/a..b", 0, name("a..b", false)),
            ("/a%2Fb", 0, None),
            ("/a%2fb", 0, None),
            ("/a%00.png", 0, None),
            ("/..", 0, None),
            ("/%2E%2E/a", 0, None),
            ("/a/../b", 0, None),
            ("/.git/config", 0, None),
            ("/a/.env", 0, None),
            ("/%2Eenv", 0, None),
            ("/.well-known/x", 0, name(".well-known/x", false)),
            ("/a/.well-known/x", 0, None),
            ("/.well-known/.x", 0, None),
            ("/%", 0, None),
            ("/%2", 0, None),
            ("/%zz", 0, None),
        ] {
            assert_eq!(Name::of(path, skip, false), wanted, "{path}");
        }
        assert_eq!(Name::of("/.env", 0, true), name(".env", false));
        assert_eq!(Name::of("/..", 0, true), None);
    }
}
