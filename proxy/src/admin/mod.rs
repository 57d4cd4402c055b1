//! The admin endpoint: is it alive, is it ready, what has it counted; reload, purge and warm.

mod acme;
mod compare;
mod drain;
mod endpoints;
mod explain;
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
        fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown},
        net::{UnixListener as StdUnix, UnixStream},
    },
    path::Path,
};

use anyhow::Context;
use nix::unistd::Gid;

use crate::{
    config::model::Admin,
    sandbox::{Identity, gid_of},
};

pub use compare::{Compared, Secrets};
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

/// Who may open Unix sockets besides their owner.
struct Permissions {
    mode: u32,
    group: Option<Gid>,
}

impl Permissions {
    /// As configured.
    ///
    /// # Errors
    /// There is no such group.
    fn of(admin: &Admin) -> anyhow::Result<Self> {
        let group = admin.group.as_deref().map(gid_of).transpose();
        Ok(Self {
            mode: admin.mode,
            group: group.context("admin.group")?,
        })
    }

    /// Sets them. The group goes first: with the old one nobody is to get in whom the new mode lets in.
    fn set(&self, path: &Path) -> io::Result<()> {
        if let Some(group) = self.group
            && std::fs::symlink_metadata(path)?.gid() != group.as_raw()
        {
            lchown(path, None, Some(group.as_raw())).map_err(|why| {
                let said = format!(
                    "its group cannot become {group}, of which this process is no member: {why}"
                );
                io::Error::new(why.kind(), said)
            })?;
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(self.mode))
    }
}

/// Binds under another name and moves the socket into place, so that it never exists with open
/// permissions, and replaces only a socket that nobody answers.
fn bind_unix(
    path: &Path,
    access: Option<&Permissions>,
    owner: Option<&Identity>,
) -> io::Result<StdUnix> {
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
    if let Some(access) = access {
        access.set(hidden)?;
    }
    // Last: what belongs to somebody else root may not change in every container.
    if let Some(owner) = owner {
        owner.own(hidden, access.and_then(|access| access.group))?;
    }
    std::fs::rename(hidden, path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
