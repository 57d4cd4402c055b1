//! The new process's side: it takes over what the old one hands it, and says when it serves.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            fs::FileTypeExt,
            net::{UnixListener, UnixStream},
            process::parent_id,
        },
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::sync::watch;

use super::{
    link::Link,
    program::VARIABLE,
    state::State,
    wire::{self, Hello, Kind, Leaving, Offer, PROTOCOL, Prepared, Role},
};
use crate::{
    cache::{handed, purge::Peer},
    shared::Shared,
    snapshot::Snapshot,
    systemd::Systemd,
};

/// How long stored responses are waited for before visitors are served; what comes later is taken in beside that.
const STORED_WITHIN: Duration = Duration::from_secs(5);
/// How long a process that has given this one up may take to end it: more than the half second that it waits before.
const ENDS_US_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked whether it lives.
const LOOK: Duration = Duration::from_millis(5);
/// How long the old process may take to say what it hands over.
const OFFERED_WITHIN: Duration = Duration::from_secs(30);

/// What an old process hands over.
pub struct Inherited {
    stream: UnixStream,
    offer: Offer,
    state: State,
    listeners: Vec<(SocketAddr, TcpListener)>,
    admin: Vec<(Role, OwnedFd)>,
    stderr: Option<OwnedFd>,
}

impl Inherited {
    /// Takes over the sockets, where this process was started for that.
    ///
    /// # Errors
    /// The old process speaks another version, or went away.
    pub fn receive() -> anyhow::Result<Option<Self>> {
        let Ok(parent) = std::env::var(VARIABLE) else {
            return Ok(None);
        };
        // Of a process that was started by one that took over itself, it says nothing.
        if parent != parent_id().to_string() {
            return Ok(None);
        }
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        if rustix::net::sockopt::socket_type(&socket).is_err() {
            return Ok(None);
        }
        let stream = UnixStream::from(socket);
        // Nobody else is to hold it, or the other end would never learn that we are gone.
        let null = std::fs::File::open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        Self::take(stream)
            .context("the sockets of the running process cannot be taken over")
            .map(Some)
    }

    fn take(stream: UnixStream) -> anyhow::Result<Self> {
        wire::read_until(&stream, Some(Instant::now() + OFFERED_WITHIN))?;
        let hello = Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
        };
        wire::send_json(&stream, Kind::Hello, &hello)?;
        let offer: Offer = wire::expect(&stream, Kind::Offer)?;
        anyhow::ensure!(
            offer.protocol == PROTOCOL,
            "dhal {} hands over by version {} of the protocol, and this is version {PROTOCOL}: stop \
             and start instead",
            offer.version,
            offer.protocol
        );
        let sockets = wire::receive_sockets(&stream, offer.sockets.len())?;
        let state = wire::expect(&stream, Kind::State)?;
        let (mut listeners, mut admin, mut stderr) = (Vec::new(), Vec::new(), None);
        for (role, socket) in offer.sockets.iter().zip(sockets) {
            match role {
                Role::Listener(address) => listeners.push((*address, TcpListener::from(socket))),
                Role::AdminTcp(_) | Role::AdminUnix(_) => admin.push((role.clone(), socket)),
                Role::Stderr => stderr = Some(socket),
            }
        }
        tracing::info!(
            from = offer.pid,
            version = offer.version,
            sockets = offer.sockets.len(),
            "takes over"
        );
        Ok(Self {
            stream,
            offer,
            state,
            listeners,
            admin,
            stderr,
        })
    }

    /// The listening sockets of an address, as configured. Those that nobody asks for stay with the old process.
    pub fn listeners(&mut self, address: SocketAddr) -> Vec<TcpListener> {
        let of = self
            .listeners
            .extract_if(.., |(bound, _)| *bound == address);
        of.map(|(_, socket)| socket).collect()
    }

    /// The admin endpoint's socket at this address.
    pub fn admin_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        self.admin_socket(&Role::AdminTcp(address))
            .map(TcpListener::from)
    }

    /// The same at this path, where that still leads to a socket.
    pub fn admin_unix(&mut self, path: &Path) -> Option<UnixListener> {
        let is_there = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
        self.admin_socket(&Role::AdminUnix(path.to_owned()))
            .filter(|_| is_there)
            .map(UnixListener::from)
    }

    fn admin_socket(&mut self, role: &Role) -> Option<OwnedFd> {
        let at = self.admin.iter().position(|(offered, _)| offered == role)?;
        Some(self.admin.swap_remove(at).1)
    }

    /// What has to be known before a configuration is built.
    pub fn begin_with(&self, shared: &Shared) {
        self.state.begin_with(shared);
    }

    /// Takes in the stored responses that are asked for most, says that this process could serve, and waits until
    /// it may. Purges of the old process are in force here from now on, and those of this one there.
    ///
    /// # Errors
    /// The old process went away, or has thought better of it.
    pub fn prepare(self, shared: &Arc<Shared>, snapshot: &Snapshot) -> anyhow::Result<Ready> {
        let Self {
            stream,
            offer,
            mut state,
            listeners,
            admin,
            stderr,
        } = self;
        let began = Instant::now();
        let patience = Duration::from_millis(offer.patience_ms);
        let (until, stored_within) = (began + patience, STORED_WITHIN.min(patience / 2));
        let link = Link::start(stream, None)?;
        link.read_until(Some(until))?;
        let peer: Arc<dyn Peer> = Arc::clone(&link) as _;
        shared.store.purges.attach(peer);
        let mut has_said = false;
        let mut stored = 0_u64;
        let say = |stored: u64| {
            let mut unwanted: Vec<_> = listeners.iter().map(|(address, _)| *address).collect();
            unwanted.dedup();
            let prepared = Prepared { unwanted, stored };
            tracing::info!(stored, took = ?began.elapsed(), "prepared");
            serde_json::to_vec(&prepared).map(|prepared| link.post(Kind::Prepared, prepared))
        };
        loop {
            let (kind, content) = link
                .next(&shared.store.purges)
                .context("the running process has given the upgrade up")?;
            match kind {
                Kind::Stored => stored += u64::from(handed::take_in(shared, content)),
                Kind::State => state = serde_json::from_slice(&content)?,
                Kind::Go => break,
                _ => {}
            }
            let is_enough = kind == Kind::AllStored || began.elapsed() > stored_within;
            if is_enough && !std::mem::replace(&mut has_said, true) {
                say(stored)?;
            }
        }
        state.put_in_force(snapshot, shared.started().elapsed());
        link.read_until(None)?;
        let left = admin.into_iter().filter_map(|(role, _)| match role {
            Role::AdminUnix(path) => Some(path),
            _ => None,
        });
        Ok(Ready {
            link,
            stderr,
            left: left.collect(),
            predecessor: Arc::new(Predecessor {
                pid: offer.pid,
                version: offer.version,
                since: offer.since,
                has_let_go: watch::Sender::new(false),
                leaving: Mutex::new(None),
            }),
        })
    }
}

/// A process that may serve, and has not said so yet.
pub struct Ready {
    link: Arc<Link>,
    /// Where errors are told from then on. Until then the old process listens, to say why there is no upgrade.
    stderr: Option<OwnedFd>,
    /// Admin sockets that this process does not have, and the old one leaves to it.
    left: Vec<PathBuf>,
    /// Who served before.
    pub predecessor: Arc<Predecessor>,
}

impl Ready {
    /// Says that this process serves. The old one leaves when it has seen it do so for a while, and is listened to until
    /// it has. What is the old one's until then, in case this one fails, becomes this one's when it leaves or is gone:
    /// standard error, admin sockets that are not wanted any more, and systemd's ear.
    ///
    /// # Errors
    /// There is no thread for that.
    pub fn serves(self, shared: &Arc<Shared>, systemd: &Arc<Systemd>) -> io::Result<()> {
        let Self {
            link,
            stderr,
            left,
            predecessor,
        } = self;
        link.post(Kind::Serving, Vec::new());
        let (shared, systemd) = (Arc::clone(shared), Arc::clone(systemd));
        let letting_go = Arc::clone(&predecessor);
        let let_go = move || {
            if letting_go.has_let_go.send_replace(true) {
                return;
            }
            if let Some(Err(why)) = stderr.as_ref().map(rustix::stdio::dup2_stderr) {
                tracing::error!(%why, "standard error cannot be taken over");
            }
            for path in &left {
                let _ = std::fs::remove_file(path);
            }
            systemd.ready("ready");
        };
        thread::Builder::new()
            .name("handover-in".to_owned())
            .spawn(move || {
                while let Ok((kind, content)) = link.next(&shared.store.purges) {
                    match kind {
                        Kind::Stored => _ = handed::take_in(&shared, content),
                        Kind::Leaving => {
                            let_go();
                            predecessor.hear(&content);
                        }
                        _ => {}
                    }
                }
                let peer: Arc<dyn Peer> = Arc::clone(&link) as _;
                shared.store.purges.detach(&peer);
                link.close();
                // One that lives and has not let go ends this process: everything stays its own.
                let lost = Instant::now();
                while !predecessor.has_let_go()
                    && predecessor.lives()
                    && lost.elapsed() < ENDS_US_WITHIN
                {
                    thread::sleep(LOOK);
                }
                let_go();
                predecessor.set(None);
                tracing::info!(pid = predecessor.pid, "the process before is gone");
            })?;
        Ok(())
    }
}

/// The process that served before, on its way out.
pub struct Predecessor {
    /// Its number.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it began, in seconds since 1970.
    pub since: u64,
    /// It leaves, or is gone. Until then it would go on by itself, should this process end.
    has_let_go: watch::Sender<bool>,
    leaving: Mutex<Option<Leaving>>,
}

impl Predecessor {
    /// Whether this process serves alone from now on.
    pub fn has_let_go(&self) -> bool {
        *self.has_let_go.borrow()
    }

    /// Returns when it does.
    pub async fn lets_go(&self) {
        let _ = self.has_let_go.subscribe().wait_for(|has| *has).await;
    }

    /// Whether it lives: it has started this process.
    fn lives(&self) -> bool {
        parent_id() == self.pid
    }

    fn hear(&self, content: &[u8]) {
        if let Ok(leaving) = serde_json::from_slice(content) {
            self.set(Some(leaving));
        }
    }

    fn set(&self, leaving: Option<Leaving>) {
        *self.leaving.lock().unwrap_or_else(PoisonError::into_inner) = leaving;
    }

    /// Connections that it still has, and seconds until they are cut off; `None` once it is gone.
    pub fn leaving(&self) -> Option<(usize, u64)> {
        let leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        leaving
            .as_ref()
            .map(|leaving| (leaving.connections, leaving.left))
    }
}
