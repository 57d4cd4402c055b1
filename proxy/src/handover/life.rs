//! How upgrades begin, and how a process leaves once another one serves.

use std::{
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{Bounds, Failure, Handover, LastFailed, Predecessor, Program, Ready, Successor};
use crate::{
    server::Control,
    shared::Shared,
    systemd::{Pulse, Systemd},
};

/// How often the process that serves is told how the end of this one comes along.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// A process stays at least for so long once another serves: who ordered the upgrade is still to be answered.
const STAYS: Duration = Duration::from_millis(300);
/// A thread beats once a second: with less between two looks, one that lives would seem not to.
const BEATS_WITHIN: Duration = Duration::from_millis(2_500);
/// How often it looks whether the last connection is closed.
const LOOK: Duration = Duration::from_millis(20);
/// How long an order waits at most for the process before, which watches this one for two seconds.
const LETS_GO_WITHIN: Duration = Duration::from_secs(10);
/// How long the last stored responses may take on their way.
const DELIVERED_WITHIN: Duration = Duration::from_secs(30);

/// Where a process stands between the one before and the one behind it.
pub struct Life {
    /// What it can hand over.
    pub handover: Arc<Handover>,
    /// Who served before, where it took over.
    pub predecessor: Option<Arc<Predecessor>>,
    /// Who is told that it serves.
    pub systemd: Arc<Systemd>,
    /// Whether its threads live.
    pub pulse: Arc<Pulse>,
    /// The last upgrade that failed.
    pub failed: LastFailed,
    /// Who serves now.
    relieved: watch::Sender<Option<Arc<Successor>>>,
}

impl Life {
    /// Of a process with so many threads, which took over from another one or did not.
    ///
    /// # Errors
    /// Nobody knows which program this is.
    pub fn new(threads: usize, has_taken_over: bool) -> std::io::Result<Self> {
        Ok(Self {
            handover: Arc::new(Handover::new(Program::of_this_process()?)),
            predecessor: None,
            systemd: Arc::new(Systemd::of_environment(has_taken_over)),
            pulse: Arc::new(Pulse::of(threads)),
            failed: LastFailed::default(),
            relieved: watch::Sender::new(None),
        })
    }

    /// Says that the process serves: to the one that it takes over from, and to systemd.
    pub fn serves(&self, ready: Option<Ready>, shared: &Arc<Shared>) {
        match ready.map(|ready| ready.serves(shared, &self.systemd)) {
            // Who takes over tells it when it is alone.
            Some(Ok(())) => {}
            None => self.systemd.ready("ready"),
            // The one before finds out by itself, and goes on.
            Some(Err(why)) => tracing::error!(%why, "the process before cannot be told"),
        }
        if self.predecessor.is_some() {
            shared
                .metrics
                .upgrades
                .with_label_values(&["success"])
                .inc();
        }
    }

    /// Nobody else serves any more.
    pub fn serves_again(&self) {
        self.handover.begin_again();
        self.relieved.send_replace(None);
    }

    /// Whether the process before would go on by itself: names of sockets are not to be taken away from it.
    pub fn is_on_probation(&self) -> bool {
        let before = self.predecessor.as_ref();
        before.is_some_and(|before| !before.has_let_go())
    }

    /// Returns `true` once the process before has let go of everything, and `false` where that takes too long. Until then
    /// what is done to sockets is done to its, too, and it may still end this process.
    pub async fn is_alone(&self) -> bool {
        let Some(before) = self.predecessor.as_ref().filter(|_| self.is_on_probation()) else {
            return true;
        };
        tracing::info!(
            pid = before.pid,
            "waits until the process before has let go"
        );
        timeout(LETS_GO_WITHIN, before.lets_go()).await.is_ok()
    }

    /// Returns once another process serves.
    pub async fn relieved(&self) -> Arc<Successor> {
        let mut relieved = self.relieved.subscribe();
        loop {
            if let Some(successor) = &*relieved.borrow_and_update() {
                return Arc::clone(successor);
            }
            if relieved.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Tells systemd that the process lives, as long as all of its threads do.
    pub async fn watch(&self) {
        let Some(every) = self.systemd.watchdog() else {
            return;
        };
        let (mut seen, mut looked, mut all_live) = (Vec::new(), None::<Instant>, true);
        loop {
            if looked.is_none_or(|looked| looked.elapsed() >= BEATS_WITHIN) {
                looked = Some(Instant::now());
                let stopped = self.pulse.stopped(&mut seen);
                all_live = stopped.is_empty();
                if !all_live {
                    tracing::error!(?stopped, "threads have stopped");
                }
            }
            if all_live {
                self.systemd.alive();
            }
            sleep(every).await;
        }
    }
}

impl Control {
    /// Starts another process that takes over; returns when it serves, and this one leaves. With an error
    /// everything is as it was before.
    ///
    /// # Errors
    /// Why there is no upgrade.
    pub async fn upgrade(self: &Arc<Self>, binary: Option<PathBuf>) -> Result<String, Failure> {
        let bounds = {
            let server = &self.current.load().config.server;
            Bounds {
                timeout: server.upgrade_timeout,
                stored: server.upgrade_handover,
            }
        };
        // A third process would take this one's end for that of all before it, and serve beside the first.
        if self.life.handover.is_running() || !self.life.is_alone().await {
            return Err(self.refused(Failure::Busy));
        }
        // Until it is over no reload takes a socket away that another process has, too.
        let lent = self.lend().await;
        match lent {
            Ok((sockets, mut lock)) => {
                self.life.handover.take(sockets);
                let step_aside = lock.step_aside();
                let outcome = self.hand_over(binary, bounds, step_aside).await;
                if outcome.is_err() {
                    self.life.handover.take(Vec::new());
                    lock.step_back(self);
                }
                drop(lock);
                outcome
            }
            Err(why) => Err(self.refused(Failure::Descriptors(why))),
        }
    }

    fn refused(&self, why: Failure) -> Failure {
        let upgrades = &self.shared.metrics.upgrades;
        upgrades.with_label_values(&[why.outcome()]).inc();
        tracing::error!("no upgrade: {why}");
        self.life.failed.note(&why, SystemTime::now());
        why
    }

    async fn hand_over(
        &self,
        binary: Option<PathBuf>,
        bounds: Bounds,
        step_aside: impl Fn() + Send + 'static,
    ) -> Result<String, Failure> {
        let (shared, current) = (Arc::clone(&self.shared), Arc::clone(&self.current));
        let handover = Arc::clone(&self.life.handover);
        let upgrade = move || handover.upgrade(binary, bounds, &shared, &current, &step_aside);
        let outcome = match spawn_blocking(upgrade).await {
            Ok(outcome) => outcome,
            Err(why) => Err(Failure::NotTakenOver {
                why: why.to_string(),
                ended: "its end is not known".to_owned(),
            }),
        };
        match outcome {
            Ok(successor) => {
                let message = format!("{successor}; process {} leaves", std::process::id());
                if let Err(why) = successor.listen(&self.shared) {
                    tracing::error!(%why, "purges of the new process are not heard");
                }
                self.life.systemd.hand_over(successor.pid);
                self.life.relieved.send_replace(Some(Arc::new(successor)));
                Ok(message)
            }
            Err(why) => {
                let upgrades = &self.shared.metrics.upgrades;
                upgrades.with_label_values(&[why.outcome()]).inc();
                self.life.failed.note(&why, SystemTime::now());
                match why {
                    // It may have been written anew already.
                    Failure::NotTakenOver { .. } => self.keep_pid_file(),
                    // One that is under way may do so at this moment, and be right.
                    _ => tracing::error!("no upgrade: {why}"),
                }
                Err(why)
            }
        }
    }

    /// Puts this process's number back into its file.
    pub(crate) fn keep_pid_file(&self) {
        let current = self.current.load();
        let path = &current.config.server.pid_file;
        let own = format!("{}\n", std::process::id());
        if let Some(path) = path
            // One that ends takes its file along.
            && std::fs::read_to_string(path).ok().as_ref() != Some(&own)
            && let Err(why) = write_pid(path)
        {
            tracing::error!(%why, path = %path.display(), "the pid file cannot be written");
        }
    }

    /// Leaves: accepts nobody, lets everybody finish, and tells the process that serves how that comes along.
    /// `hurry` comes where the process is told to end meanwhile. `false` where this process serves again, because the
    /// other one has crashed.
    pub async fn leave(
        self: &Arc<Self>,
        successor: &Successor,
        hurry: impl Future<Output = ()>,
    ) -> bool {
        let (grace, short) = {
            let server = &self.current.load().config.server;
            (server.upgrade_grace, server.shutdown_grace)
        };
        tracing::info!(?grace, open = self.shared.open_connections(), "leaving");
        self.life.handover.end();
        self.sockets.end();
        self.shared.start_leaving(successor.unwanted.clone());
        let until = Instant::now() + grace;
        let closed = async {
            sleep(STAYS).await;
            // Nobody is kept out meanwhile: what waited to be accepted is still let in.
            while self.shared.open_connections() > 0 {
                sleep(LOOK).await;
            }
        };
        let is_told = AtomicBool::new(false);
        let shortened = async {
            hurry.await;
            is_told.store(true, Ordering::Relaxed);
            tracing::info!(grace = ?short, "told to end meanwhile");
            self.shared.start_draining();
            sleep(short).await;
        };
        let closed = timeout(grace.max(2 * STAYS), closed);
        let (mut closed, mut shortened) = (pin!(closed), pin!(shortened));
        let mut may_return = true;
        loop {
            tokio::select! {
                // Whoever was told to end does not serve again, and whoever ends otherwise does so only where somebody
                // serves.
                biased;
                () = &mut shortened => self.say_what_is_cut(),
                () = successor.crashed(), if may_return => {
                    if self.deserted() {
                        break;
                    }
                    if !is_told.load(Ordering::Relaxed) && self.take_back(successor).await {
                        return false;
                    }
                    // Those who are still here are finished.
                    successor.is_lost();
                    may_return = false;
                    continue;
                }
                ended = &mut closed => if ended.is_err() {
                    self.say_what_is_cut();
                },
                () = self.tell(successor, until) => {}
            }
            break;
        }
        let began = Instant::now();
        while !successor.has_all() && began.elapsed() < DELIVERED_WITHIN {
            sleep(Duration::from_millis(10)).await;
        }
        self.shared.stop();
        tracing::info!("left");
        true
    }

    /// The process that serves has crashed: whether systemd is to start another one, which it does not as long as this
    /// one keeps it from learning of that.
    fn deserted(&self) -> bool {
        let is_heard = self.life.systemd.listens();
        if is_heard {
            let open = self.shared.open_connections();
            tracing::warn!(
                open,
                "leaving at once, so that systemd starts another process"
            );
        }
        is_heard
    }

    /// Never returns.
    async fn tell(&self, successor: &Successor, until: Instant) {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            successor.tell(self.shared.open_connections(), left);
            sleep(TOLD_EVERY).await;
        }
    }

    fn say_what_is_cut(&self) {
        let open = self.shared.open_connections();
        if open > 0 {
            tracing::warn!(open, "grace is over, closing what is left");
        }
    }
}

/// Writes the process's number, whole or not at all where the folder allows that.
///
/// # Errors
/// It cannot be written.
pub fn write_pid(path: &Path) -> std::io::Result<()> {
    let own = format!("{}\n", std::process::id());
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let is_link = std::fs::symlink_metadata(path).is_ok_and(|there| there.is_symlink());
    if !is_link
        && std::fs::write(&draft, &own)
            .and_then(|()| std::fs::rename(&draft, path))
            .is_ok()
    {
        return Ok(());
    }
    let _ = std::fs::remove_file(&draft);
    std::fs::write(path, own)
}
