//! What becomes of a process that took over while the one before still lives.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
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
    state: Mutex<State>,
    changed: Condvar,
    crash: Notify,
    /// What was not known of purges while nobody told of them is settled.
    settled: Notify,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// It lives, or nobody knows.
    #[default]
    Lives,
    /// It has crashed, and whether this process serves in its place is about to be known.
    Crashed,
    /// This process serves again.
    TakenBack,
    /// Somebody else may serve.
    Lost,
}

/// How long after the loss of the link the process may be seen to end that was at its other end: its descriptors close
/// a moment before it does, which is long where it had many. Meanwhile nothing that is stored here is used.
pub(super) const ENDS_WITHIN: Duration = Duration::from_secs(1);

impl Fate {
    fn has_crashed(&self) {
        self.turns(State::Crashed);
        self.crash.notify_one();
    }

    fn turns(&self, state: State) {
        *self.state() = state;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when it has crashed.
    pub(super) async fn crashed(&self) {
        self.crash.notified().await;
    }

    /// Of one that crashed: whether this process serves in its place.
    pub(super) fn decide(&self, pid: u32, by_this: bool) {
        if by_this {
            self.turns(State::TakenBack);
            // Nobody else asks how it ended.
            let _ = waitpid(Pid::from_raw(pid.cast_signed()), Some(WaitPidFlag::WNOHANG));
        } else {
            self.turns(State::Lost);
        }
    }

    /// Whether the end of the link was that of the process, in whose place this one serves again: nobody can have purged
    /// anything in between. Waits for that to be known.
    pub(super) fn is_taken_back_at_once(&self, ends_within: Duration) -> bool {
        let lives = |state: &mut State| *state == State::Lives;
        let seen = self
            .changed
            .wait_timeout_while(self.state(), ends_within, lives);
        let (state, _) = seen.unwrap_or_else(PoisonError::into_inner);
        let is_open = |state: &mut State| *state == State::Crashed;
        let decided = self.changed.wait_while(state, is_open);
        *decided.unwrap_or_else(PoisonError::into_inner) == State::TakenBack
    }

    /// Returns when this process serves again, if ever.
    pub(super) fn until_taken_back(&self) {
        let is_not = |state: &mut State| *state != State::TakenBack;
        drop(self.changed.wait_while(self.state(), is_not));
    }

    /// What is stored is used again.
    pub(super) fn settle(&self) {
        self.settled.notify_one();
    }

    /// Returns when it is.
    pub(super) async fn settled(&self) {
        self.settled.notified().await;
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

    const NOW: Duration = Duration::ZERO;
    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn who_asks_waits_for_what_is_about_to_be_known() {
        let fate = Fate::default();
        assert!(!fate.is_taken_back_at_once(NOW), "it lives");
        thread::scope(|scope| {
            let asked = scope.spawn(|| fate.is_taken_back_at_once(SOON));
            fate.has_crashed();
            fate.decide(u32::MAX, false);
            assert!(!asked.join().expect("no panic"));
        });
        thread::scope(|scope| {
            scope.spawn(|| fate.until_taken_back());
            fate.turns(State::TakenBack);
        });
        let fate = Fate::default();
        fate.has_crashed();
        fate.turns(State::TakenBack);
        assert!(fate.is_taken_back_at_once(NOW));
    }
}
