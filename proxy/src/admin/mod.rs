//! The admin endpoint: is it alive, is it ready, what has it counted; reload, purge and warm.

mod acme;
mod drain;
pub mod limits;
mod purge;
mod routes;
mod sitemap;
pub mod status;
mod steering;
mod warm;

use std::{
    io,
    net::TcpListener as StdTcp,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener as StdUnix, UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use tokio::net::{TcpListener, UnixListener};

pub use drain::Drained;
pub use purge::{PurgeOrder, PurgeUrl, Purged};
pub use warm::{Pages, Warmed};

use crate::{
    config::model::{Admin, AdminAddress},
    server::Control,
};

/// A bound admin address.
pub enum Socket {
    /// Reading for everyone who can reach it; changes need the token.
    Tcp {
        /// The socket.
        listener: StdTcp,
        /// Content of the token file.
        token: Option<String>,
    },
    /// Everything for everyone who may open it.
    Unix(StdUnix),
}

/// Binds all admin addresses.
pub fn bind(admin: Option<&Admin>) -> anyhow::Result<Vec<Socket>> {
    let Some(admin) = admin else {
        return Ok(Vec::new());
    };
    let token = admin.token_file.as_deref().map(read_token).transpose()?;
    let bind = |address: &AdminAddress| match address {
        AdminAddress::Tcp(address) => {
            let listener = StdTcp::bind(address)
                .with_context(|| format!("cannot listen on the admin address {address}"))?;
            listener.set_nonblocking(true)?;
            tracing::info!(address = %listener.local_addr()?, "admin endpoint");
            Ok(Socket::Tcp {
                listener,
                token: token.clone(),
            })
        }
        AdminAddress::Unix(path) => {
            let listener = bind_unix(path)
                .with_context(|| format!("cannot listen on the admin socket {}", path.display()))?;
            tracing::info!(path = %path.display(), "admin endpoint");
            Ok(Socket::Unix(listener))
        }
    };
    admin.addresses.iter().map(bind).collect()
}

/// Removes the unix sockets when the process ends, however it does.
pub struct Cleanup(Vec<PathBuf>);

impl Cleanup {
    /// Of all sockets that were bound for this section.
    pub fn of(admin: Option<&Admin>) -> Self {
        let addresses = admin.iter().flat_map(|admin| &admin.addresses);
        let sockets = addresses.filter_map(|address| match address {
            AdminAddress::Unix(path) => Some(path.clone()),
            AdminAddress::Tcp(_) => None,
        });
        Self(sockets.collect())
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Reads the token of the admin endpoint.
pub fn read_token(path: &Path) -> anyhow::Result<String> {
    let token = std::fs::read_to_string(path)
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

/// Answers on one admin address until the process ends.
pub async fn serve(control: Arc<Control>, socket: Socket) {
    let served = match socket {
        Socket::Tcp { listener, token } => match TcpListener::from_std(listener) {
            Ok(listener) => {
                axum::serve(
                    listener,
                    routes::router(control, routes::Access::Token(token)),
                )
                .await
            }
            Err(why) => Err(why),
        },
        Socket::Unix(listener) => match UnixListener::from_std(listener) {
            Ok(listener) => {
                axum::serve(listener, routes::router(control, routes::Access::Granted)).await
            }
            Err(why) => Err(why),
        },
    };
    if let Err(why) = served {
        tracing::error!(%why, "admin endpoint ends");
    }
}
