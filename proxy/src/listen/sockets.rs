//! The listening sockets of the process, by address: one per thread, and how they come and go while it runs.
//!
//! A [`Line`] is an address with its sockets and its settings. Workers follow the list of lines and accept from
//! their share of each; the table keeps a descriptor of every socket, so that none closes before the table says so.
//! A line that is to go takes no new handshakes (a filter drops them, and the visitor's system asks again until
//! the address is refused or somebody else's), is accepted from until those under way have had time to end, and
//! closes when its queue is empty: nobody who was let in by the system is lost.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use socket2::{SockFilter, SockRef};
use tokio::sync::watch;

use super::socket;
use crate::config::model::Listener;

/// How long handshakes that had begun when a line was to go may take: a round trip to anywhere on earth.
pub const LINGER: Duration = Duration::from_millis(500);

/// For so long after a line has closed its address may still be held by this process: its last descriptor goes
/// when the last thread has looked.
const LET_GO: Duration = Duration::from_secs(5);

/// Listening sockets by their address as configured, such as another process lends.
pub type Inherited = Vec<(SocketAddr, TcpListener)>;

/// What connections of a line come in under. Replaced as a whole; a connection keeps what it began with.
pub struct Settings {
    /// As configured.
    pub listener: Listener,
    is_over: AtomicBool,
}

impl Settings {
    /// In force.
    pub fn new(listener: Listener) -> Arc<Self> {
        Arc::new(Self {
            listener,
            is_over: AtomicBool::new(false),
        })
    }

    /// Whether others have taken their place, or none: connections end with their next answer.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn are_as(&self, other: &Self) -> bool {
        self.listener == other.listener
    }
}

/// An address that is listened on.
pub struct Line {
    /// Where it is bound: with port 0 in the configuration, the port that the system chose.
    pub bound: SocketAddr,
    settings: ArcSwap<Settings>,
    /// One descriptor of every socket, until it closes.
    kept: Mutex<Vec<TcpListener>>,
    /// Those that the workers have still to take, by thread.
    shares: Mutex<Vec<Vec<TcpListener>>>,
    is_leaving: AtomicBool,
    closing: watch::Sender<bool>,
}

impl Line {
    /// A line of these sockets, which the threads share in turn.
    fn new(
        bound: SocketAddr,
        settings: Arc<Settings>,
        kept: Vec<TcpListener>,
        threads: usize,
    ) -> io::Result<Arc<Self>> {
        let mut shares: Vec<Vec<TcpListener>> = (0..threads).map(|_| Vec::new()).collect();
        for (number, socket) in kept.iter().enumerate() {
            shares[number % threads].push(socket.try_clone()?);
        }
        Ok(Arc::new(Self {
            bound,
            settings: ArcSwap::new(settings),
            kept: Mutex::new(kept),
            shares: Mutex::new(shares),
            is_leaving: AtomicBool::new(false),
            closing: watch::Sender::new(false),
        }))
    }

    fn kept(&self) -> MutexGuard<'_, Vec<TcpListener>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a connection that comes now comes in under.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// The sockets of a thread; it takes them once.
    pub fn take(&self, thread: usize) -> Vec<TcpListener> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares
            .get_mut(thread)
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Becomes `true` when nothing more is to be accepted than what waits.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Whether it is about to go.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        self.settings.load().end();
        for socket in self.kept().iter() {
            // Where the system knows no filters, the handshakes of this moment are lost.
            let _ = SockRef::from(socket).attach_filter(&NO_NEW_HANDSHAKES);
        }
    }

    fn stay(&self, settings: Arc<Settings>) {
        self.is_leaving.store(false, Ordering::Relaxed);
        for socket in self.kept().iter() {
            let _ = SockRef::from(socket).detach_filter();
        }
        self.settings.swap(settings).end();
    }
}

/// Drops segments with SYN and without ACK; the TCP header begins at 0, and its flags are octet 13 (RFC 9293 §3.1).
/// Classic BPF: load the octet, mask it, compare, drop or keep all.
const NO_NEW_HANDSHAKES: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x54, 0, 0, 0x12),
    SockFilter::new(0x15, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {why}")]
pub struct BindError {
    /// As configured.
    pub address: SocketAddr,
    /// What the system said.
    pub why: io::Error,
}

/// What is to become of the table; nothing of it can fail any more.
pub struct Change {
    /// Lines that are or come into force.
    lines: Vec<Arc<Line>>,
    /// Settings for those that are there already.
    settings: Vec<(Arc<Line>, Arc<Settings>)>,
    /// Addresses that are new.
    pub added: Vec<SocketAddr>,
    /// Addresses that go.
    pub removed: Vec<SocketAddr>,
    /// Addresses whose settings change.
    pub changed: Vec<SocketAddr>,
}

/// The lines that workers accept from.
pub type Lines = Arc<[Arc<Line>]>;

/// All listening sockets.
pub struct Sockets {
    threads: usize,
    inherited: Mutex<Inherited>,
    /// Lines that have closed, and when, as long as they may hold their addresses.
    closed: Mutex<Vec<(Weak<Line>, SocketAddr, Instant)>>,
    lines: watch::Sender<Lines>,
}

impl Sockets {
    /// None yet, for so many threads.
    pub fn new(threads: usize) -> Self {
        Self::with_inherited(threads, Vec::new())
    }

    /// The same for a process that was lent sockets. Those of addresses that are configured are used, however many
    /// there are, because each has a queue of its own. The others are let go at the first change: who lent them
    /// serves what waits there, and knows how.
    pub fn with_inherited(threads: usize, inherited: Inherited) -> Self {
        Self {
            threads: threads.max(1),
            inherited: Mutex::new(inherited),
            closed: Mutex::default(),
            lines: watch::Sender::new(Arc::from([])),
        }
    }

    /// The lines, and when they change.
    pub fn lines(&self) -> watch::Receiver<Lines> {
        self.lines.subscribe()
    }

    /// Another descriptor of every socket that stays, by its address as configured, to be handed over. A filter is never on one of them.
    pub fn lend(&self) -> io::Result<Inherited> {
        let mut lent = Vec::new();
        for line in self.lines.borrow().iter().filter(|line| !line.is_leaving()) {
            let address = line.settings().listener.address;
            for socket in line.kept().iter() {
                lent.push((address, socket.try_clone()?));
            }
        }
        Ok(lent)
    }

    /// Does all of a change that can fail: binds what is new. Nothing is accepted there yet, and nothing else has
    /// changed. One at a time; a change that is dropped has not been.
    pub fn prepare(&self, listeners: &[Listener]) -> Result<Change, BindError> {
        let now = Arc::clone(&self.lines.borrow());
        let mut left: Vec<_> = now.iter().collect();
        let mut change = Change {
            lines: Vec::with_capacity(listeners.len()),
            settings: Vec::new(),
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
        };
        for listener in listeners {
            let settings = Settings::new(listener.clone());
            let known = left
                .iter()
                .position(|line| line.settings.load().listener.address == listener.address);
            if let Some(at) = known {
                let line = Arc::clone(left.remove(at));
                if line.is_leaving() {
                    change.added.push(line.bound);
                    change.settings.push((Arc::clone(&line), settings));
                } else if !line.settings.load().are_as(&settings) {
                    change.changed.push(line.bound);
                    change.settings.push((Arc::clone(&line), settings));
                }
                change.lines.push(line);
                continue;
            }
            let line = self
                .open(settings, &now, &change.lines)
                .map_err(|why| BindError {
                    address: listener.address,
                    why,
                })?;
            change.added.push(line.bound);
            change.lines.push(line);
        }
        let gone = left.iter().filter(|line| !line.is_leaving());
        change.removed = gone.map(|line| line.bound).collect();
        Ok(change)
    }

    /// A line of what was inherited for an address, and of new sockets for threads that have none.
    fn open(
        &self,
        settings: Arc<Settings>,
        now: &[Arc<Line>],
        new: &[Arc<Line>],
    ) -> io::Result<Arc<Line>> {
        let address = settings.listener.address;
        let mut kept = Vec::new();
        for (_, socket) in self
            .inherited()
            .iter()
            .filter(|(lent, socket)| *lent == address || is_bound(socket, address))
        {
            kept.push(socket.try_clone()?);
        }
        // What is ours already cannot be somebody else's.
        let own = now.iter().chain(new).map(|line| line.bound);
        let mut own = own.chain(self.held_yet());
        if kept.is_empty() && !own.any(|bound| overlap(bound, address)) {
            kept = socket::bind(address, self.threads)?;
        } else if kept.is_empty() {
            kept = socket::bind_more(address, self.threads)?;
        } else {
            kept = socket::complete(kept, self.threads)?;
        }
        let bound = kept.first().map_or(Ok(address), TcpListener::local_addr)?;
        Line::new(bound, settings, kept, self.threads)
    }

    /// Addresses of lines that have closed, which may not be free yet.
    fn held_yet(&self) -> Vec<SocketAddr> {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.retain(|(line, _, at)| line.strong_count() > 0 || at.elapsed() < LET_GO);
        closed.iter().map(|(_, bound, _)| *bound).collect()
    }

    fn inherited(&self) -> MutexGuard<'_, Inherited> {
        self.inherited
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change. Lines that go are still accepted from; call [`close_left`](Self::close_left) when they have
    /// lingered.
    pub fn apply(&self, change: Change) {
        for (lent, socket) in self.inherited().drain(..) {
            let mut lines = change.lines.iter();
            if !lines.any(|line| is_bound(&socket, line.bound)) {
                tracing::info!(address = %lent, "not listened on any more");
            }
        }
        for (line, settings) in change.settings {
            line.stay(settings);
        }
        self.lines.send_modify(|lines| {
            let stays = |line: &Arc<Line>| change.lines.iter().any(|new| Arc::ptr_eq(new, line));
            let gone: Vec<_> = lines
                .iter()
                .filter(|line| !stays(line))
                .map(Arc::clone)
                .collect();
            gone.iter()
                .filter(|line| !line.is_leaving())
                .for_each(|line| line.leave());
            *lines = change.lines.into_iter().chain(gone).collect();
        });
    }

    /// Closes lines that were to go and are among these: workers take what waits there, and no more.
    pub fn close_left(&self, left: &[Arc<Line>]) {
        self.lines.send_modify(|lines| {
            let is_gone = |line: &Arc<Line>| {
                line.is_leaving() && left.iter().any(|left| Arc::ptr_eq(left, line))
            };
            for line in lines.iter().filter(|line| is_gone(line)) {
                // What the threads have is the last of them: a socket closes as soon as its queue is empty.
                line.kept().clear();
                line.closing.send_replace(true);
                let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
                closed.retain(|(line, _, at)| line.strong_count() > 0 || at.elapsed() < LET_GO);
                closed.push((Arc::downgrade(line), line.bound, Instant::now()));
            }
            *lines = lines
                .iter()
                .filter(|line| !is_gone(line))
                .map(Arc::clone)
                .collect();
        });
    }

    /// Keeps none any more: when the process drains, a socket closes as soon as its thread has emptied its queue. A
    /// change after that binds everything anew.
    pub fn end(&self) {
        for line in self.lines.send_replace(Arc::from([])).iter() {
            line.kept().clear();
        }
    }

    /// Lines that linger now.
    pub fn leaving(&self) -> Vec<Arc<Line>> {
        let lines = self.lines.borrow();
        lines
            .iter()
            .filter(|line| line.is_leaving())
            .map(Arc::clone)
            .collect()
    }
}

fn is_bound(socket: &TcpListener, address: SocketAddr) -> bool {
    socket.local_addr().is_ok_and(|bound| bound == address)
}

/// Whether two addresses would be in each other's way.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && one.port() != 0
        && (any || one.ip() == other.ip())
}

#[cfg(test)]
mod tests;
