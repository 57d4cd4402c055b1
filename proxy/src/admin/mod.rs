//! The admin endpoint: is it alive, is it ready, what has it counted; reload, purge and warm.

mod acme;
mod drain;
mod endpoints;
pub mod limits;
mod purge;
mod reloads;
mod routes;
mod sitemap;
pub mod status;
mod steering;
mod upgrade;
mod warm;

use std::{
    io,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener as StdUnix, UnixStream},
    },
    path::Path,
};

use anyhow::Context;

pub use drain::Drained;
pub use endpoints::{Change, Endpoints};
pub use purge::{PurgeOrder, PurgeUrl, Purged};
pub use upgrade::UpgradeOrder;
pub use warm::{Pages, Warmed};

/// Bytes of a token's file: far more than anybody's.
const TOKEN_MAX: u64 = 4_096;

/// Reads the token of the admin endpoint.
pub fn read_token(path: &Path) -> anyhow::Result<String> {
    let token = crate::regular::read_text(path, TOKEN_MAX)
        .with_context(|| format!("cannot read the admin token {}", path.display()))?;
    let token = token.trim();
    anyhow::ensure!(
        token.len() >= 16,
        "the admin token in {} is shorter than 16 characters",
        path.display()
    );
    Ok(token.to_owned())
}

/// Binds under another name and moves the socket into place, so that it never exists with open
/// permissions, and replaces only a socket that nobody answers.
fn bind_unix(path: &Path) -> io::Result<StdUnix> {
    if let Ok(there) = std::fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file of that name",
            ));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another process answers there",
            ));
        }
    }
    let mut hidden = path.as_os_str().to_owned();
    hidden.push(format!(".{}", std::process::id()));
    let hidden = Path::new(&hidden);
    // Left by an end in the middle of this: in a container every process has the same number.
    let _ = std::fs::remove_file(hidden);
    let listener = StdUnix::bind(hidden)?;
    std::fs::set_permissions(hidden, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(hidden, path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
