//! What becomes of a process that took over while the one before still lives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    unistd::Pid,
};
use tokio::sync::Notify;

use super::program::Started;

/// What has become of a process that took over.
#[derive(Default)]
pub(super) struct Fate {
    state: AtomicU8,
    notify: Notify,
}

/// It lives, or nobody knows.
const SERVES: u8 = 0;
/// It has crashed, and whether this process serves in its place is about to be known.
const CRASHED: u8 = 1;
/// This process serves again: it has heard of all purges that there were.
const TAKEN_BACK: u8 = 2;
/// Somebody else may serve.
const LOST: u8 = 3;

/// How long after the loss of the link the process may be looked at that was at its other end: its descriptors close a
/// moment before it ends.
const ENDS_WITHIN: Duration = Duration::from_millis(50);
/// How often.
const LOOK: Duration = Duration::from_millis(1);

impl Fate {
    fn has_crashed(&self) {
        self.turns(CRASHED);
        self.notify.notify_one();
    }

    fn turns(&self, state: u8) {
        self.state.store(state, Ordering::Release);
    }

    /// Returns when it has crashed.
    pub(super) async fn crashed(&self) {
        self.notify.notified().await;
    }

    /// Of one that crashed: whether this process serves in its place.
    pub(super) fn decide(&self, pid: u32, by_this: bool) {
        self.turns(if by_this { TAKEN_BACK } else { LOST });
        if by_this {
            // Nobody else asks how it ended.
            let _ = waitpid(Pid::from_raw(pid.cast_signed()), Some(WaitPidFlag::WNOHANG));
        }
    }

    /// Whether this process serves again. Waits for that to be known where the other one has crashed.
    pub(super) fn is_taken_back(&self) -> bool {
        let began = Instant::now();
        loop {
            match self.state.load(Ordering::Acquire) {
                TAKEN_BACK => return true,
                LOST => return false,
                SERVES if began.elapsed() > ENDS_WITHIN => return false,
                _ => thread::sleep(LOOK),
            }
        }
    }
}

/// Waits for the end of a process that may outlive this one, so that it leaves nothing behind if it does not. One that
/// crashes is left to whoever inherits it: systemd learns of its end from there, and from nowhere else.
pub(super) fn reap(started: Started, fate: Arc<Fate>) {
    let Started { mut child, .. } = started;
    let pid = Pid::from_raw(child.id().cast_signed());
    let wait = move || {
        let ends = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let end = loop {
            match waitid(Id::Pid(pid), ends) {
                Err(Errno::EINTR) => {}
                end => break end,
            }
        };
        let end = match end {
            Ok(WaitStatus::Exited(_, 0)) => {
                let _ = child.wait();
                return;
            }
            Ok(WaitStatus::Exited(_, code)) => format!("exit status {code}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => signal.to_string(),
            _ => "it is gone".to_owned(),
        };
        tracing::error!(%pid, end, "the process that took over has crashed");
        fate.has_crashed();
    };
    // Without a thread it is left to whoever inherits it.
    let _ = thread::Builder::new()
        .name("upgrade-wait".to_owned())
        .spawn(wait);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_waits_for_what_is_about_to_be_known() {
        let fate = Fate::default();
        assert!(!fate.is_taken_back(), "it lives");
        fate.has_crashed();
        thread::scope(|scope| {
            let asked = scope.spawn(|| fate.is_taken_back());
            fate.decide(u32::MAX, false);
            assert!(!asked.join().expect("no panic"));
        });
        fate.has_crashed();
        fate.turns(TAKEN_BACK);
        assert!(fate.is_taken_back());
    }
}
