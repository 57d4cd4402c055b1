//! Small things that scenarios share: addresses, folders, gates, and waiting for something to be true.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Nothing that is right takes longer, not even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An address that nobody else uses. Every one has a loopback address of its own, so no connection's
/// own port can be in its way; and none is tried out by binding it, because a process that another
/// test starts at that moment would hold on to the socket until it runs.
pub(crate) fn free_address() -> SocketAddr {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    let [_, _, high, low] = n.to_be_bytes();
    let [.., middle, _] = process.to_be_bytes();
    let ip = Ipv4Addr::new(127, 64 + (process & 0x3f) as u8, middle ^ high, low);
    let port = 20_000 + (process.wrapping_mul(31).wrapping_add(n) % 10_000) as u16;
    SocketAddr::from((ip, port))
}

/// Waits until it is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Closed until opened, for all who wait.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().expect("lock") = true;
        self.0.1.notify_all();
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.0.0.lock().expect("lock")
    }

    pub(crate) fn wait(&self, at_most: Duration) {
        let open = self.0.0.lock().expect("lock");
        drop(
            self.0
                .1
                .wait_timeout_while(open, at_most, |open| !*open)
                .expect("lock"),
        );
    }
}

/// A folder that goes when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("dhal-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
