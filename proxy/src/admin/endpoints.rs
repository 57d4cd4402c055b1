//! The addresses of the admin endpoint, which come and go with the configuration.

use std::{
    fs::Metadata,
    io,
    net::TcpListener as StdTcp,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::MetadataExt, net::UnixListener as StdUnix},
    },
    path::PathBuf,
    sync::Arc,
};

use anyhow::Context;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
    task::AbortHandle,
};

use super::{
    Permissions, bind_unix, read_token,
    routes::{self, Access, Token},
};
use crate::{
    config::model::{Admin, AdminAddress},
    handover::{Inherited, Role},
    sandbox::Identity,
    server::Control,
};

/// A bound address.
enum Socket {
    /// Reading for everyone who can reach it; changes need the token.
    Tcp(StdTcp),
    /// Everything for everyone who may open it.
    Unix(StdUnix),
}

/// An address that is served.
struct Endpoint {
    address: AdminAddress,
    /// To be handed over.
    kept: OwnedFd,
    /// Dropped, it ends the endpoint when what is asked there is answered.
    serving: watch::Sender<bool>,
    /// Aborted, nothing is accepted there any more, and who is connected already is answered.
    accepts: AbortHandle,
    path: Option<SocketPath>,
}

/// An address that is bound and not served yet.
struct Bound {
    address: AdminAddress,
    kept: OwnedFd,
    socket: Socket,
    /// Of a socket that another process may still need, none yet.
    path: Option<SocketPath>,
}

impl Bound {
    /// It is about to be served.
    fn tell(&self) {
        match (&self.socket, &self.address) {
            (Socket::Tcp(listener), AdminAddress::Tcp(address)) => {
                // With port 0 only the system knows.
                let address = listener.local_addr().unwrap_or(*address);
                tracing::info!(%address, "admin endpoint");
            }
            (_, AdminAddress::Unix(path)) => {
                tracing::info!(path = %path.display(), "admin endpoint");
            }
            (Socket::Unix(_), AdminAddress::Tcp(_)) => {}
        }
    }
}

/// All addresses that are served.
#[derive(Default)]
pub struct Endpoints {
    served: Vec<Endpoint>,
    /// Of those that another process accepts at.
    left: Vec<watch::Sender<bool>>,
    token: Token,
}

/// What is to become of them; nothing of it can fail any more.
pub struct Change {
    wanted: Vec<AdminAddress>,
    new: Vec<Bound>,
    /// Served so far under a name that somebody has removed, and among the new ones again.
    lost: Vec<AdminAddress>,
    token: Option<String>,
    access: Option<Permissions>,
}

impl Endpoints {
    /// Does all of a change that can fail: reads the token and binds what is new. A change that is dropped has not
    /// been. What was inherited is not bound anew. New Unix sockets belong to `owner`, where that is not who runs this.
    /// With an error comes which of the addresses is at fault; none is where the token or the group is.
    pub fn prepare(
        &self,
        admin: Option<&Admin>,
        mut inherited: Option<&mut Inherited>,
        owner: Option<&Identity>,
    ) -> Result<Change, (Option<usize>, anyhow::Error)> {
        let access = admin.map(Permissions::of).transpose();
        let access = access.map_err(|why| (None, why))?;
        let wanted = admin.map_or(&[][..], |admin| &admin.addresses);
        let token = admin.and_then(|admin| admin.token_file.as_deref());
        let token = token
            .map(read_token)
            .transpose()
            .map_err(|why| (None, why))?;
        let mut new = Vec::new();
        for (at, address) in wanted.iter().enumerate() {
            let same = |other: &&AdminAddress| *other == address;
            // With port 0 there may be several of one name.
            let wanted_so_far = wanted[..=at].iter().filter(same).count();
            let served = self.served.iter().map(|endpoint| &endpoint.address);
            if served.filter(same).count() < wanted_so_far {
                let taken = inherited.as_deref_mut();
                let bound = bind(address, taken, access.as_ref(), owner);
                new.push(bound.map_err(|why| (Some(at), why))?);
            }
        }
        let mut lost = Vec::new();
        for endpoint in &self.served {
            let is_lost = endpoint.path.as_ref().is_some_and(SocketPath::is_lost);
            if !is_lost || !wanted.contains(&endpoint.address) {
                continue;
            }
            // What cannot be had back is no reason to refuse anything else.
            match bind(&endpoint.address, None, access.as_ref(), owner) {
                Ok(bound) => {
                    new.push(bound);
                    lost.push(endpoint.address.clone());
                }
                Err(why) => tracing::warn!("{why:#}"),
            }
        }
        Ok(Change {
            wanted: wanted.to_vec(),
            new,
            lost,
            token,
            access,
        })
    }

    /// Makes a change. Endpoints that go answer what they have been asked.
    pub fn apply(&mut self, change: Change, control: &Arc<Control>) {
        let mut wanted = change.wanted;
        self.served.retain(|endpoint| {
            if change.lost.contains(&endpoint.address) {
                return false;
            }
            let at = wanted
                .iter()
                .position(|address| *address == endpoint.address);
            at.map(|at| wanted.swap_remove(at)).is_some()
        });
        self.token.store(change.token.map(Arc::new));
        // Of those that stay, or come from another process.
        for endpoint in &self.served {
            if let (AdminAddress::Unix(path), Some(access)) = (&endpoint.address, &change.access)
                && let Err(why) = access.set(path)
            {
                tracing::error!(path = %path.display(), %why, "the permissions of the admin socket stay as they are");
            }
        }
        for bound in change.new {
            bound.tell();
            let (serving, accepts) = begin(control, &self.token, bound.socket);
            let path = bound.path.or_else(|| SocketPath::of(&bound.address));
            self.served.push(Endpoint {
                address: bound.address,
                kept: bound.kept,
                serving,
                accepts,
                path,
            });
        }
    }

    /// Another descriptor of every socket, to be handed over.
    pub fn lend(&self) -> io::Result<Vec<(Role, OwnedFd)>> {
        let lend = |endpoint: &Endpoint| {
            let role = match &endpoint.address {
                AdminAddress::Tcp(address) => Role::AdminTcp(*address),
                AdminAddress::Unix(path) => Role::AdminUnix(path.clone()),
            };
            Ok((role, endpoint.kept.try_clone()?))
        };
        self.served.iter().map(lend).collect()
    }

    /// What ends accepting for as long as another process may be the one that is asked. Who is connected is answered.
    pub fn step_aside(&self) -> impl Fn() + Send + 'static {
        let accepts = self.served.iter().map(|endpoint| endpoint.accepts.clone());
        let accepts: Vec<_> = accepts.collect();
        move || accepts.iter().for_each(AbortHandle::abort)
    }

    /// Accepts again where that was ended.
    pub fn step_back(&mut self, control: &Arc<Control>) {
        for endpoint in &mut self.served {
            if !endpoint.accepts.is_finished() {
                continue;
            }
            let socket = endpoint
                .kept
                .try_clone()
                .map(|kept| match endpoint.address {
                    AdminAddress::Tcp(_) => Socket::Tcp(kept.into()),
                    AdminAddress::Unix(_) => Socket::Unix(kept.into()),
                });
            match socket {
                Ok(socket) => {
                    let (serving, accepts) = begin(control, &self.token, socket);
                    self.left
                        .push(std::mem::replace(&mut endpoint.serving, serving));
                    endpoint.accepts = accepts;
                }
                Err(why) => tracing::error!(%why, "an admin address is not answered any more"),
            }
        }
    }

    /// Accepts nothing any more, because another process does, whose their names are now. Who is connected is answered:
    /// of somebody who has just come nothing may have been read.
    pub fn leave(&mut self) {
        for endpoint in self.served.drain(..) {
            endpoint.accepts.abort();
            self.left.push(endpoint.serving);
            if let Some(path) = endpoint.path {
                path.leave();
            }
        }
    }
}

fn bind(
    address: &AdminAddress,
    inherited: Option<&mut Inherited>,
    access: Option<&Permissions>,
    owner: Option<&Identity>,
) -> anyhow::Result<Bound> {
    let is_shared = inherited.is_some();
    let (socket, kept) = match address {
        AdminAddress::Tcp(address) => {
            let taken = inherited.and_then(|inherited| inherited.admin_tcp(*address));
            let listener = taken
                .map_or_else(|| StdTcp::bind(address), Ok)
                .with_context(|| format!("cannot listen on the admin address {address}"))?;
            listener.set_nonblocking(true)?;
            let kept = listener.as_fd().try_clone_to_owned()?;
            (Socket::Tcp(listener), kept)
        }
        AdminAddress::Unix(path) => {
            let taken = inherited.and_then(|inherited| inherited.admin_unix(path));
            let listener = taken
                .map_or_else(|| bind_unix(path, access, owner), Ok)
                .with_context(|| format!("cannot listen on the admin socket {}", path.display()))?;
            let kept = listener.as_fd().try_clone_to_owned()?;
            (Socket::Unix(listener), kept)
        }
    };
    Ok(Bound {
        address: address.clone(),
        kept,
        socket,
        path: (!is_shared).then(|| SocketPath::of(address)).flatten(),
    })
}

/// Begins to answer at a socket.
fn begin(
    control: &Arc<Control>,
    token: &Token,
    socket: Socket,
) -> (watch::Sender<bool>, AbortHandle) {
    let (serving, over) = watch::channel(true);
    let access = match &socket {
        Socket::Tcp(_) => Access::Token(Arc::clone(token)),
        Socket::Unix(_) => Access::Granted,
    };
    let accepts = tokio::spawn(serve(Arc::clone(control), socket, access, over));
    (serving, accepts.abort_handle())
}

/// Answers on one address until that is over.
async fn serve(
    control: Arc<Control>,
    socket: Socket,
    access: Access,
    mut serving: watch::Receiver<bool>,
) {
    let router = routes::router(control, access);
    let over = async move { while serving.changed().await.is_ok() {} };
    let served = match socket {
        Socket::Tcp(listener) => match TcpListener::from_std(listener) {
            Ok(listener) => {
                let server = axum::serve(listener, router);
                server.with_graceful_shutdown(over).await
            }
            Err(why) => Err(why),
        },
        Socket::Unix(listener) => match UnixListener::from_std(listener) {
            Ok(listener) => {
                let server = axum::serve(listener, router);
                server.with_graceful_shutdown(over).await
            }
            Err(why) => Err(why),
        },
    };
    if let Err(why) = served {
        tracing::error!(%why, "admin endpoint ends");
    }
}

/// The name of a unix socket, removed when this is dropped, unless something else has taken it.
struct SocketPath(PathBuf, (u64, u64));

impl SocketPath {
    fn of(address: &AdminAddress) -> Option<Self> {
        let AdminAddress::Unix(path) = address else {
            return None;
        };
        let metadata = std::fs::symlink_metadata(path).ok()?;
        Some(Self(path.to_owned(), number(&metadata)))
    }

    /// Nothing has that name any more.
    fn is_lost(&self) -> bool {
        std::fs::symlink_metadata(&self.0).is_err_and(|why| why.kind() == io::ErrorKind::NotFound)
    }

    /// It stays.
    fn leave(mut self) {
        self.0 = PathBuf::new();
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.0).is_ok_and(|there| number(&there) == self.1) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

fn number(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
