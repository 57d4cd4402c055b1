//! Which program takes over, and how it is started.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::{MetadataExt, PermissionsExt},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::sandbox;

/// Names the process that hands over; whoever finds another parent than this one was not meant.
pub(super) const VARIABLE: &str = "DHAL_HANDOVER";

/// What is kept of what the new process says on its standard error.
const SAID_MOST: usize = 4 * 1024;

/// How this process was started, so that the same can be started anew.
#[derive(Debug, Clone)]
pub struct Program {
    /// Where the program was found. What lies there may be another one by now: that is what upgrades are for.
    pub path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// As this process was started.
    ///
    /// # Errors
    /// Nobody knows where its program lies.
    pub fn of_this_process() -> io::Result<Self> {
        let mut arguments = env::args_os();
        let called = arguments.next().unwrap_or_default();
        let running = env::current_exe()?;
        let found = called_as(Path::new(&called), env::var_os("PATH"))
            .filter(|path| is_same_file(path, Path::new("/proc/self/exe")));
        Ok(Self {
            path: found.unwrap_or_else(|| without_deleted(running)),
            arguments: arguments.collect(),
        })
    }

    /// Starts it with this end of a pair of sockets in the place of its standard input, and keeps an ear on its
    /// standard error.
    pub(super) fn start(&self, socket: UnixStream, held: Option<&String>) -> io::Result<Started> {
        check(&self.path)?;
        let mut child = Command::new(&self.path)
            .env(sandbox::VARIABLE, held.map_or("", String::as_str))
            .args(&self.arguments)
            .env(VARIABLE, std::process::id().to_string())
            .stdin(Stdio::from(OwnedFd::from(socket)))
            .stderr(Stdio::piped())
            .spawn()?;
        let said = Arc::<Mutex<Vec<u8>>>::default();
        if let Some(stderr) = child.stderr.take() {
            let said = Arc::clone(&said);
            thread::Builder::new()
                .name("upgrade-stderr".to_owned())
                .spawn(move || pass_on(stderr, &said))?;
        }
        Ok(Started { child, said })
    }
}

/// A started process.
pub(super) struct Started {
    pub(super) child: Child,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Started {
    /// Ends it, and says how it ended by itself, if it did, and what it said last.
    pub(super) fn end(mut self) -> String {
        // What has closed its end of the socket is about to be gone, and its own reason is the better one.
        let until = Instant::now() + Duration::from_millis(500);
        let mut status = self.child.try_wait().ok().flatten();
        while status.is_none() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
            status = self.child.try_wait().ok().flatten();
        }
        let ended = match status {
            Some(status) => format!("it ended with {status}"),
            None => {
                let _ = self.child.kill();
                let _ = self.child.wait();
                "it was ended".to_owned()
            }
        };
        // What it said last is still on its way.
        thread::sleep(Duration::from_millis(20));
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said);
        match said.trim_end() {
            "" => ended,
            said => format!("{ended}, and said:\n{said}"),
        }
    }
}

/// Copies to our own standard error, and keeps the end of it.
fn pass_on(mut from: impl Read, said: &Mutex<Vec<u8>>) {
    let mut piece = [0; 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        let _ = io::stderr().write_all(&piece[..length]);
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(&piece[..length]);
        let excess = said.len().saturating_sub(SAID_MOST);
        said.drain(..excess);
    }
}

/// Where a name leads by which a program was called: what has a slash is a path, else `PATH` is searched.
fn called_as(name: &Path, path: Option<OsString>) -> Option<PathBuf> {
    if name.as_os_str().as_bytes().contains(&b'/') {
        return std::path::absolute(name).ok();
    }
    let path = path?;
    let mut folders = env::split_paths(&path).map(|folder| folder.join(name));
    folders.find(|candidate| candidate.is_file())
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// The kernel's word for a program whose file was replaced.
fn without_deleted(path: PathBuf) -> PathBuf {
    match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(kept) => PathBuf::from(OsString::from_vec(kept.to_vec())),
        None => path,
    }
}

/// Says what is wrong in better words than `exec` does.
fn check(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is not executable",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_where_the_shell_finds_it() {
        let folder = env::temp_dir().join(format!("dhal-program-{}", std::process::id()));
        let deeper = folder.join("bin");
        fs::create_dir_all(&deeper).expect("a folder");
        fs::write(deeper.join("dhal"), "").expect("a file");
        let path = Some(env::join_paths([&folder, &deeper]).expect("a path"));
        let here = env::current_dir().expect("a folder");
        for (name, path, found) in [
            ("/usr/bin/dhal", None, Some(PathBuf::from("/usr/bin/dhal"))),
            ("./dhal", path.clone(), Some(here.join("dhal"))),
            ("dhal", path.clone(), Some(deeper.join("dhal"))),
            ("other", path, None),
            ("dhal", None, None),
        ] {
            assert_eq!(called_as(Path::new(name), path), found, "{name}");
        }
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_replaced_file_is_looked_for_under_its_name() {
        for (exe, path) in [
            ("/usr/bin/dhal (deleted)", "/usr/bin/dhal"),
            ("/usr/bin/dhal", "/usr/bin/dhal"),
            ("/opt/a (deleted)/dhal", "/opt/a (deleted)/dhal"),
        ] {
            assert_eq!(without_deleted(PathBuf::from(exe)), Path::new(path));
        }
    }

    #[test]
    fn what_cannot_be_started_is_told_why() {
        for (path, why) in [
            ("/nowhere/dhal", "No such file"),
            ("/etc/passwd", "not executable"),
            ("/etc", "no file"),
        ] {
            let told = check(Path::new(path)).expect_err("a reason").to_string();
            assert!(told.contains(why), "{path}: {told}");
        }
    }
}
