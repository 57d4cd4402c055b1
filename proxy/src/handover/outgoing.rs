//! The old process's side: it starts the new one, hands over, and goes on as before where that fails.

use std::{
    fmt,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{
    fate::{ENDS_WITHIN, Fate, reap},
    link::Link,
    program::Program,
    state::State,
    wire::{self, Hello, Kind, Leaving, Offer, PROTOCOL, Prepared, Role},
};
use crate::{
    cache::{handed, purge::Peer},
    sandbox,
    shared::{Current, Shared},
};

/// How long the new process may take from the permission to serve until it does: threads are started meanwhile.
const SERVES_WITHIN: Duration = Duration::from_secs(10);
/// How long the new process is watched, once it serves, before the old one lets go of anything: by then it has done twice
/// what is done once a second, and for the first time what visitors make it do.
const PROBATION: Duration = Duration::from_secs(2);
/// How long it takes at most until the thread that hears of purges knows that nobody else serves.
const SETTLED_WITHIN: Duration = Duration::from_secs(1);

/// What a process can hand over, and whether it is at it.
pub struct Handover {
    program: Program,
    /// What the process that takes over is held by from its beginning.
    sandbox: OnceLock<String>,
    /// Duplicates of the sockets in use, while an upgrade is under way.
    sockets: Mutex<Vec<(Role, OwnedFd)>>,
    is_running: AtomicBool,
    /// What ends an upgrade that is under way.
    cancelled: Mutex<Cancel>,
}

#[derive(Default)]
struct Cancel {
    is_over: bool,
    stream: Option<UnixStream>,
}

/// Why there is no upgrade. The process goes on as before.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Another one is under way.
    #[error("an upgrade is under way already")]
    Busy,
    /// This process is on its way out.
    #[error("this process is ending; ask the one that serves now")]
    Ending,
    /// The container would end with the process.
    #[error(
        "this is process 1, with which its container ends: start another container instead, or run \
         dhal under an init process"
    )]
    First,
    /// There are no descriptors for what would be handed over.
    #[error("the sockets cannot be handed over: {0}")]
    Descriptors(std::io::Error),
    /// The program could not be started.
    #[error("{} cannot be started: {why}", .path.display())]
    NotStarted {
        /// Where it was looked for.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// It was started and did not take over.
    #[error("the new process did not take over: {why}; {ended}")]
    NotTakenOver {
        /// What happened at this end.
        why: String,
        /// How the new process ended, and what it said.
        ended: String,
    },
    /// It took over and has crashed since, so that this process serves again.
    #[error("process {0} took over, and has crashed since")]
    Crashed(u32),
}

impl Failure {
    /// As metrics have it.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Busy | Self::Ending | Self::First => "refused",
            Self::Descriptors(_)
            | Self::NotStarted { .. }
            | Self::NotTakenOver { .. }
            | Self::Crashed(_) => "failure",
        }
    }
}

/// Bounds of an upgrade.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// For all of it, up to where the new process serves.
    pub timeout: Duration,
    /// Bytes of stored responses that go along.
    pub stored: u64,
}

/// The process that serves now.
pub struct Successor {
    /// Its number.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Addresses that it does not listen on: what waits there to be accepted is this process's.
    pub unwanted: Vec<SocketAddr>,
    link: Arc<Link>,
    /// What becomes of it while this process lives.
    fate: Arc<Fate>,
}

impl fmt::Display for Successor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} (dhal {}) serves", self.pid, self.version)
    }
}

impl Handover {
    /// Of a process that was started like this.
    pub fn new(program: Program) -> Self {
        Self {
            program,
            sandbox: OnceLock::new(),
            sockets: Mutex::default(),
            is_running: AtomicBool::new(false),
            cancelled: Mutex::default(),
        }
    }

    /// What is started.
    pub fn program(&self) -> &Path {
        &self.program.path
    }

    /// Has whoever takes over told what it is held by already.
    pub fn held_by(&self, sandbox: Option<String>) {
        if let Some(sandbox) = sandbox {
            let _ = self.sandbox.set(sandbox);
        }
    }

    /// Takes duplicates of the sockets in use: visitors' by their address as configured, and the admin endpoint's. Of
    /// none it forgets those that it has.
    pub fn take(&self, sockets: Vec<(Role, OwnedFd)>) {
        *self.sockets() = sockets;
    }

    /// Whether an upgrade is under way.
    pub fn is_running(&self) -> bool {
        self.is_running.load(Ordering::Acquire)
    }

    /// Whether none begins any more: this process ends, or another one serves.
    pub fn is_over(&self) -> bool {
        self.cancelled().is_over
    }

    /// Upgrades may begin again: the process that took over is gone, and this one serves.
    pub fn begin_again(&self) {
        self.cancelled().is_over = false;
    }

    /// Gives the duplicates up, so that addresses are free once their threads have closed them, and ends an upgrade
    /// that is under way. None begins any more.
    pub fn end(&self) {
        self.sockets().clear();
        let mut cancelled = self.cancelled();
        cancelled.is_over = true;
        if let Some(stream) = cancelled.stream.take() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn sockets(&self) -> MutexGuard<'_, Vec<(Role, OwnedFd)>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cancelled(&self) -> MutexGuard<'_, Cancel> {
        self.cancelled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts another process and hands over to it; returns when it has served for a while. Blocks. `serves` is called
    /// when it begins to.
    ///
    /// # Errors
    /// It does not serve, and is gone; everything is as it was before, except for what `serves` has done.
    pub fn upgrade(
        &self,
        binary: Option<PathBuf>,
        bounds: Bounds,
        shared: &Arc<Shared>,
        current: &Current,
        serves: &dyn Fn(),
    ) -> Result<Successor, Failure> {
        /// Whatever happens, the next one may begin.
        struct Over<'a>(&'a Handover);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.cancelled().stream = None;
                self.0.is_running.store(false, Ordering::Release);
            }
        }
        if std::process::id() == 1 {
            return Err(Failure::First);
        }
        if self.is_running.swap(true, Ordering::AcqRel) {
            return Err(Failure::Busy);
        }
        let _over = Over(self);
        self.attempt(binary, bounds, shared, current, serves)
    }

    /// A program that may not be started because of what this process has taken from itself.
    fn explained(&self, why: std::io::Error) -> std::io::Error {
        let is_refused = why.kind() == std::io::ErrorKind::PermissionDenied;
        if !is_refused
            || !self
                .sandbox
                .get()
                .is_some_and(|held| sandbox::bounds_files(held))
        {
            return why;
        }
        let said = format!(
            "{why}: the sandbox lets only programs be started that lie beside the running one, or in a folder that \
             `sandbox = {{ execute = [\u{2026}] }}` of [server] names"
        );
        std::io::Error::new(why.kind(), said)
    }

    fn attempt(
        &self,
        binary: Option<PathBuf>,
        bounds: Bounds,
        shared: &Arc<Shared>,
        current: &Current,
        serves: &dyn Fn(),
    ) -> Result<Successor, Failure> {
        let mut program = self.program.clone();
        if let Some(binary) = binary {
            program.path = binary;
        }
        let not_started = |why: std::io::Error| Failure::NotStarted {
            path: program.path.clone(),
            why: self.explained(why),
        };
        let (ours, theirs) = UnixStream::pair().map_err(not_started)?;
        {
            let mut cancelled = self.cancelled();
            if cancelled.is_over {
                return Err(Failure::Ending);
            }
            cancelled.stream = Some(ours.try_clone().map_err(not_started)?);
        }
        tracing::info!(program = %program.path.display(), "upgrade begins");
        let started = program
            .start(theirs, self.sandbox.get())
            .map_err(not_started)?;
        let began = Instant::now();
        match self.hand_over(ours, began, bounds, shared, current, serves) {
            Ok(successor) => {
                // One more would take over from a process that leaves.
                self.cancelled().is_over = true;
                reap(started, Arc::clone(&successor.fate));
                tracing::info!(took = ?began.elapsed(), "{successor}");
                Ok(successor)
            }
            Err(why) => {
                let why = match why.kind() {
                    _ if self.cancelled().is_over => "this process was told to stop".to_owned(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                        format!("it did not serve within {:?}", bounds.timeout)
                    }
                    std::io::ErrorKind::UnexpectedEof
                    | std::io::ErrorKind::ConnectionReset
                    | std::io::ErrorKind::BrokenPipe => "it gave up".to_owned(),
                    _ => why.to_string(),
                };
                let ended = started.end();
                let failure = Failure::NotTakenOver { why, ended };
                // Here, because this thread is waited for even where the process is told to stop.
                tracing::error!("no upgrade: {failure}");
                Err(failure)
            }
        }
    }

    fn hand_over(
        &self,
        stream: UnixStream,
        began: Instant,
        bounds: Bounds,
        shared: &Arc<Shared>,
        current: &Current,
        serves: &dyn Fn(),
    ) -> std::io::Result<Successor> {
        let until = began + bounds.timeout;
        wire::read_until(&stream, Some(until))?;
        let hello: Hello = wire::expect(&stream, Kind::Hello)?;
        if hello.protocol != PROTOCOL {
            return Err(wire::invalid(&format!(
                "dhal {} takes over by version {} of the protocol, and this is version {PROTOCOL}: \
                 stop and start instead",
                hello.version, hello.protocol
            )));
        }
        self.offer(&stream, bounds, shared, current)?;
        let cargo = handed::hottest(Arc::clone(shared), bounds.stored);
        // From here on every purge goes along; what was purged before is not in the cargo.
        // It reads once it has read its configuration and made everything ready.
        let link = Link::start_patiently(stream, Some(Box::new(cargo)), bounds.timeout)?;
        let peer: Arc<dyn Peer> = Arc::clone(&link) as _;
        shared.store.purges.attach(Arc::clone(&peer));
        let served = self
            .until_it_serves(&link, until, shared, current)
            .and_then(|prepared| {
                link.hurries()?;
                tracing::info!(pid = hello.pid, watched_for = ?PROBATION, "the new process serves");
                serves();
                until_it_has_proven_itself(&link, shared)?;
                Ok(prepared)
            });
        if served.is_err() {
            shared.store.purges.detach(&peer);
            link.close();
        }
        served.map(|prepared| Successor {
            pid: hello.pid,
            version: hello.version,
            unwanted: prepared.unwanted,
            link,
            fate: Arc::default(),
        })
    }

    fn offer(
        &self,
        stream: &UnixStream,
        bounds: Bounds,
        shared: &Shared,
        current: &Current,
    ) -> std::io::Result<()> {
        let sockets = self.sockets();
        let stderr = std::io::stderr();
        let mut roles: Vec<_> = sockets.iter().map(|(role, _)| role.clone()).collect();
        let mut handed: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, fd)| fd.as_fd()).collect();
        roles.push(Role::Stderr);
        handed.push(stderr.as_fd());
        let offer = Offer {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            since: shared.since(),
            patience_ms: u64::try_from(bounds.timeout.as_millis()).unwrap_or(u64::MAX),
            sockets: roles,
        };
        wire::send_json(stream, Kind::Offer, &offer)?;
        wire::send_sockets(stream, &handed)?;
        wire::send_json(stream, Kind::State, &State::of(shared, &current.load()))
    }

    fn until_it_serves(
        &self,
        link: &Arc<Link>,
        until: Instant,
        shared: &Shared,
        current: &Current,
    ) -> std::io::Result<Prepared> {
        link.read_until(Some(until))?;
        let mut prepared = Prepared::default();
        loop {
            match link.next(&shared.store.purges)? {
                (Kind::Prepared, content) => {
                    prepared = serde_json::from_slice(&content)?;
                    // What was ordered meanwhile.
                    let state = State::of(shared, &current.load());
                    let told = link.post(Kind::State, serde_json::to_vec(&state)?)
                        && link.post(Kind::Go, Vec::new());
                    if !told {
                        return Err(std::io::ErrorKind::BrokenPipe.into());
                    }
                    link.read_until(Some(Instant::now() + SERVES_WITHIN))?;
                }
                (Kind::Serving, _) => return Ok(prepared),
                _ => return Err(wire::invalid("the new process speaks out of turn")),
            }
        }
    }
}

/// Watches a process that serves. Visitors are still accepted here, too, and nothing was given away: should it end, this one
/// goes on.
fn until_it_has_proven_itself(link: &Arc<Link>, shared: &Shared) -> std::io::Result<()> {
    let began = Instant::now();
    // What it begins to say it also ends.
    link.read_until(Some(began + PROBATION + SERVES_WITHIN))?;
    while link.readable_until(began + PROBATION)? {
        // One at a time: there may always be another purge.
        if link.take(&shared.store.purges).is_err() {
            let served = began.elapsed().as_millis();
            return Err(std::io::Error::other(format!(
                "it was gone when it had served for {served} ms"
            )));
        }
    }
    Ok(())
}

impl Successor {
    /// Takes over its purges until one of the two is gone. From then on nothing that is stored here is used as long as
    /// another process may serve: nobody knows what is purged there.
    ///
    /// # Errors
    /// There is no thread for that, and nothing is used from now on.
    pub fn listen(&self, shared: &Arc<Shared>) -> std::io::Result<()> {
        let (link, fate) = (Arc::clone(&self.link), Arc::clone(&self.fate));
        let store = Arc::clone(shared);
        let listening = move || {
            let purges = &store.store.purges;
            while link.next(purges).is_ok() {}
            purges.go_deaf();
            let peer: Arc<dyn Peer> = Arc::clone(&link) as _;
            purges.detach(&peer);
            link.close();
            let may_have_missed = !fate.is_taken_back_at_once(ENDS_WITHIN);
            if may_have_missed {
                tracing::info!("nobody tells of purges any more: what is stored here is not used");
                fate.until_taken_back();
            }
            purges.hear_again(may_have_missed);
            fate.settle();
        };
        let begun = self.link.read_until(None).and_then(|()| {
            thread::Builder::new()
                .name("handover-in".to_owned())
                .spawn(listening)
        });
        if begun.is_err() {
            shared.store.purges.go_deaf();
        }
        begun.map(drop)
    }

    /// Tells it how this process's end comes along.
    pub fn tell(&self, connections: usize, left: Duration) {
        let leaving = Leaving {
            connections,
            left: left.as_secs(),
        };
        if let Ok(leaving) = serde_json::to_vec(&leaving) {
            self.link.post(Kind::Leaving, leaving);
        }
    }

    /// Returns when it has crashed.
    pub async fn crashed(&self) {
        self.fate.crashed().await;
    }

    /// Says that this process serves in the place of one that crashed; returns when what is stored is used again.
    pub async fn is_replaced(&self) {
        self.fate.decide(self.pid, true);
        if timeout(SETTLED_WITHIN, self.fate.settled()).await.is_err() {
            tracing::warn!("what is stored is not used yet");
        }
    }

    /// Says that somebody else may serve in the place of one that crashed.
    pub fn is_lost(&self) {
        self.fate.decide(self.pid, false);
    }

    /// Whether it has all the stored responses that it is to have, or is gone.
    pub fn has_all(&self) -> bool {
        self.link.has_delivered() || self.link.is_closed()
    }
}
