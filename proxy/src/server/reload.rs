//! Another configuration for the running process: all of it or nothing of it.
//!
//! Everything that can fail is done first and changes nothing that visitors see; what comes after it cannot fail.

mod places;
mod rollback;
mod watched;

use std::{os::fd::OwnedFd, path::Path, sync::Arc, time::Duration};

use tokio::{
    task::{AbortHandle, JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use self::watched::load_again;
use super::{
    Control, Trigger,
    history::{Attempt, Kept},
    note_certificates,
    pid_file::PidFile,
    thread_count, unix_now, watch_names,
};
use crate::{
    admin::{Change as AdminChange, Endpoints},
    config::{self, model::Config},
    handover::Role,
    listen::{
        sockets::{Change, LINGER},
        tls::Certificates,
    },
    observe::access_log::AccessLog,
    sandbox::{self, Paths},
    snapshot::Snapshot,
    upstream::{health, names::Watch},
};

pub(super) use self::{
    places::{admin, at_key, listeners, write_pid},
    rollback::keep_watch,
    watched::{Watched, keep_up},
};

/// Pause between two looks at the files. A change takes effect after two of them.
const LOOK: Duration = Duration::from_secs(1);
/// How long the files of a configuration may take: far longer than a busy disk needs, and short enough for somebody
/// who waits. A file system that does not answer is waited for no longer.
const FILES_WITHIN: Duration = Duration::from_secs(30);
/// How long certificates are kept that no configuration in force has: listeners that go linger, and where all
/// connections are at work, whoever was accepted last waits for one to end.
const CERTIFICATES_LINGER: Duration = Duration::from_secs(LINGER.as_secs() + 30);

/// What goes with the configuration in force.
#[derive(Default)]
pub(super) struct Held {
    /// Checks of its servers.
    checks: JoinSet<()>,
    /// Where its names lead.
    names: Option<Watch>,
    endpoints: Endpoints,
    pid_file: Option<PidFile>,
    watched: Watched,
    /// What has still to become smaller.
    settling: Option<AbortHandle>,
    /// What was done last with files; where a file system does not answer, it never ends.
    at_files: Option<AbortHandle>,
}

impl Held {
    pub(super) fn new(names: Watch, watched: Watched) -> Self {
        Self {
            names: Some(names),
            watched,
            ..Self::default()
        }
    }

    /// Keeps what goes when the process ends.
    pub(super) fn keep(&mut self, endpoints: Endpoints, pid_file: Option<PidFile>) {
        (self.endpoints, self.pid_file) = (endpoints, pid_file);
    }

    /// Another process serves.
    pub(super) fn leave(&mut self) {
        self.endpoints.leave();
    }

    /// This one serves again.
    pub(super) fn come_back(&mut self, control: &Arc<Control>) -> Result<(), String> {
        let current = control.current.load();
        let wanted = current.config.admin.as_ref();
        let change = admin(&self.endpoints, wanted, None, None, Some(&control.path))?;
        self.endpoints.apply(change, control);
        Ok(())
    }

    /// What ends the accepting of orders for now.
    pub(super) fn step_aside(&self) -> impl Fn() + Send + 'static {
        self.endpoints.step_aside()
    }

    /// Orders are accepted again.
    pub(super) fn step_back(&mut self, control: &Arc<Control>) {
        self.endpoints.step_back(control);
    }

    /// Another descriptor of each of the admin endpoint's sockets.
    pub(super) fn lend(&self) -> std::io::Result<Vec<(Role, OwnedFd)>> {
        self.endpoints.lend()
    }

    pub(super) fn check(&mut self, checks: JoinSet<()>) {
        self.checks = checks;
    }

    /// Does what may have to wait for a file system, where that can be waited for, and for no longer than
    /// [`FILES_WITHIN`]. The error is a sentence.
    async fn at_files<T: Send + 'static>(
        &mut self,
        what: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let hangs = |task: &AbortHandle| !task.is_finished();
        if self.at_files.as_ref().is_some_and(hangs) {
            return Err(format!(
                "cannot {what}: a file system has not answered a reload before this one yet"
            ));
        }
        let task = spawn_blocking(work);
        self.at_files = Some(task.abort_handle());
        match timeout(FILES_WITHIN, task).await {
            Ok(done) => done.map_err(|why| why.to_string()),
            Err(_) => Err(format!(
                "cannot {what}: a file system has not answered for {FILES_WITHIN:?}"
            )),
        }
    }
}

/// What only a new process can change, by its keys.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static [&'static str]> {
    let folder = |config: &Config| config.cache.disk.as_ref().map(|disk| disk.path.clone());
    let (was, is) = (&old.server.hardening, &new.server.hardening);
    let changed: [(&[&str], bool); 5] = [
        (
            &["server", "threads"],
            thread_count(old) != thread_count(new),
        ),
        (&["cache", "disk", "path"], folder(old) != folder(new)),
        (&["server", "user"], was.user != is.user),
        (&["server", "group"], was.group != is.group),
        (&["server", "sandbox"], sandbox::differs(was, is)),
    ];
    let changed = changed.into_iter().filter(|(_, changed)| *changed);
    changed.map(|(key, _)| key).collect()
}

impl Control {
    /// Puts the files' present content in force, or nothing of it.
    pub async fn reload(self: &Arc<Self>, trigger: Trigger) -> Result<String, String> {
        // A listener that goes would be deaf in the process before as well.
        if !self.life.is_alone().await {
            let why = "the process before has not let go yet: try again";
            tracing::error!(%trigger, "reload refused: {why}");
            return Err(why.to_owned());
        }
        let mut held = self.held.lock().await;
        self.life.systemd.reloading();
        let outcome = self.reload_with(&mut held, trigger).await;
        self.life.systemd.ready(match outcome {
            Ok(_) => "ready",
            Err(_) => "ready; the last reload was refused",
        });
        outcome
    }

    async fn reload_with(
        self: &Arc<Self>,
        held: &mut Held,
        trigger: Trigger,
    ) -> Result<String, String> {
        if self.shared.is_draining() || self.life.handover.is_over() {
            return Err("the edge is draining".to_owned());
        }
        let path = self.path.clone();
        let mut watched = held.watched.clone();
        // Files are read from a disk, which may take its time.
        let work = move || {
            let found = watched.look();
            let (loaded, text) = load_again(&path);
            watched.take_up(found, loaded.as_ref().ok());
            (watched, loaded, text)
        };
        let (loaded, text) = match held.at_files("read the files", work).await {
            Ok((watched, loaded, text)) => {
                held.watched = watched;
                (loaded, text)
            }
            Err(why) => (Err(why), None),
        };
        let paths = match &loaded {
            Ok(loaded) => Paths::of(&loaded.config, &loaded.files, &loaded.folders),
            Err(_) => Paths::of(
                &self.current.load().config,
                &held.watched.files,
                &held.watched.folders,
            ),
        };
        let paths = Arc::new(paths);
        let mut warnings = String::new();
        let mut outcome = match loaded {
            Ok(loaded) => {
                warnings = config::render(&loaded.warnings);
                let (this, named) = (Arc::clone(self), Arc::clone(&paths));
                // Links are followed.
                let refuses = move || this.sandbox.refuses(&named);
                match held.at_files("find what the files name", refuses).await {
                    Ok(None) => {
                        self.put_in_force(held, loaded.config, Some(&self.path))
                            .await
                    }
                    Ok(Some(why)) | Err(why) => Err(why),
                }
            }
            Err(why) => Err(why),
        };
        if let Err(why) = &mut outcome {
            let this = Arc::clone(self);
            let hints = move || this.sandbox.hints(&paths);
            // Where a file system does not answer, the reason stays what it is.
            let hints = held.at_files("see what can be read", hints).await;
            for hint in hints.into_iter().flatten() {
                why.push('\n');
                why.push_str(&hint);
            }
        }
        let generation = self.current.load().generation;
        let attempt = Attempt {
            trigger,
            generation,
            restored: None,
            text: text.clone(),
        };
        self.history.note(
            attempt,
            outcome.is_ok(),
            outcome.as_ref().err().map(String::as_str),
        );
        self.count(outcome.is_ok());
        if let Err(why) = outcome {
            tracing::error!(%trigger, "reload refused, the old configuration stays in force:\n{why}");
            return Err(why);
        }
        held.watched.comes_into_force();
        let snapshot = self.current.load_full();
        let bounds = &snapshot.config.reload;
        let kept = Kept::new(
            snapshot.config.clone(),
            generation,
            text,
            bounds.probation.is_zero(),
        );
        let is_other = self.history.came_into_force(kept);
        let mut message = format!(
            "configuration {generation} is in force: {} routes",
            snapshot.config.routes.len()
        );
        let now = self.started.elapsed();
        if is_other {
            let counted = self.shared.metrics.totals();
            self.probation.begin(generation, bounds, now, counted);
            if !bounds.probation.is_zero() {
                message.push_str(&format!(", on probation for {:?}", bounds.probation));
            }
        } else if let Some(left) = self.probation.left(now) {
            // Its text is the same, so it has as much to prove as before.
            self.probation.rename(generation);
            let left = Duration::from_secs(left.as_secs() + 1);
            message.push_str(&format!(", on probation for another {left:?}"));
        }
        tracing::info!(%trigger, "{message}");
        if !warnings.is_empty() {
            message = format!("{message}\n{warnings}");
        }
        Ok(message)
    }

    fn count(&self, is_applied: bool) {
        let metrics = &self.shared.metrics;
        metrics.reload_successful.set(i64::from(is_applied));
        let label = if is_applied { "success" } else { "failure" };
        metrics.reloads.with_label_values(&[label]).inc();
        if is_applied {
            metrics.reload_time.set(unix_now());
        }
    }

    /// Puts a configuration in force, or nothing of it; the error is a sentence. `file` is where it stands, if it does.
    async fn put_in_force(
        self: &Arc<Self>,
        held: &mut Held,
        config: Config,
        file: Option<&Path>,
    ) -> Result<(), String> {
        let old = self.current.load_full();
        let keys = needs_restart(&old.config, &config);
        if !keys.is_empty() {
            let each = keys.into_iter().map(|key| {
                let name = key.join(".");
                let why = format!("{name} cannot change while running: restart to apply it");
                at_key(file, (key, None), &why)
            });
            return Err(each.collect::<Vec<_>>().join("\n\n"));
        }
        let shared = Arc::clone(&self.shared);
        let generation = old.generation + 1;
        // It reads certificates, and the files of address lists.
        let path = self.path.clone();
        let build = move || {
            Snapshot::build(config, generation, &shared)
                .map_err(|why| config::located(&path, &|name| std::env::var(name).ok(), &why))
        };
        let new = held.at_files("read what the files name", build).await?;
        let new = new?;
        let mut log = match &new.config.access_log {
            wanted if *wanted == old.config.access_log => None,
            Some(wanted) => {
                let (wanted, threads) = (wanted.clone(), thread_count(&new.config));
                let open = move || AccessLog::open(&wanted, threads);
                let log = held.at_files("open the access log", open).await?;
                Some(Some(log.map_err(|why| {
                    at_key(file, (&["access_log", "path"], None), &why.to_string())
                })?))
            }
            None => Some(None),
        };
        // Those of the old configuration stay watched until this one is in force.
        let names = watch_names(&new, &self.shared).await;
        let seen = match self.prepare_what_is_seen(held, &new, file) {
            Ok(seen) => seen,
            Err(why) => {
                // Nothing of it has been.
                drop(names);
                self.shared.names.retain(&old.hosts());
                if let Some(made) = log.as_mut().and_then(|log| log.as_mut()?.take_made()) {
                    // A file system that does not answer keeps it, and the reason stays what it is.
                    let remove = move || made.remove();
                    let _ = held.at_files("remove the new access log", remove).await;
                }
                return Err(why);
            }
        };
        let (admin, pid_file, listening) = seen;
        // Nothing can fail from here on, and nothing is waited for.
        match pid_file {
            Some(pid_file) => held.pid_file = pid_file,
            None => held.pid_file.iter().for_each(PidFile::restore),
        }
        if let Some(log) = log {
            self.shared.access_log.store(log.map(Arc::new));
        }
        held.names = Some(names);
        self.shared.adopt(&new);
        note_certificates(&self.shared, &new);
        if new.certificates.is_none()
            && let Some(certificates) = &old.certificates
        {
            self.leave_certificates(Arc::clone(certificates));
        }
        for (addresses, what) in [
            (&listening.removed, "not listened on any more"),
            (&listening.changed, "listened on in another way"),
        ] {
            for address in addresses {
                tracing::info!(%address, "{what}");
            }
        }
        let new = Arc::new(new);
        self.current.store(Arc::clone(&new));
        self.sockets.apply(listening);
        held.endpoints.apply(admin, self);
        held.check(health::watch(&new.upstreams, self.started));
        self.settle(held, &new);
        Ok(())
    }

    /// Does what others may see of a configuration, should anything fail after it: least of all sockets that nobody
    /// accepts from. Dropped, it has not been.
    fn prepare_what_is_seen(
        &self,
        held: &Held,
        new: &Snapshot,
        file: Option<&Path>,
    ) -> Result<(AdminChange, Option<Option<PidFile>>, Change), String> {
        let admin = admin(&held.endpoints, new.config.admin.as_ref(), None, None, file)?;
        let pid_file = match (&new.config.server.pid_file, &held.pid_file) {
            (Some(wanted), Some(known)) if wanted == known.path() => None,
            (Some(wanted), _) => Some(Some(write_pid(wanted, file)?)),
            (None, _) => Some(None),
        };
        Ok((admin, pid_file, listeners(&self.sockets, &new.config)?))
    }

    /// Keeps certificates for handshakes of those who were let in before, and for nothing else.
    fn leave_certificates(&self, certificates: Arc<Certificates>) {
        let left = Some(certificates);
        self.shared.certificates_left.store(left.clone());
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            sleep(CERTIFICATES_LINGER).await;
            // Unless others have been left since.
            shared.certificates_left.compare_and_swap(&left, None);
        });
    }

    /// Sets the bounds of what lives on, and lets go what is beyond them, at its pace.
    fn settle(self: &Arc<Self>, held: &mut Held, new: &Snapshot) {
        if let Some(before) = held.settling.take() {
            before.abort();
        }
        let shared = Arc::clone(&self.shared);
        shared.crowd.resize(self.descriptors.bound(&new.config));
        let max = i64::try_from(shared.crowd.max()).unwrap_or(i64::MAX);
        shared.metrics.visitors.max.set(max);
        let cache = &new.config.cache;
        shared.store.resize(cache);
        shared.keeper().resize(cache.memory);
        let disk = cache.disk.as_ref().map(|disk| (disk.size, disk.max_object));
        let behind = Arc::clone(&shared);
        spawn_blocking(move || {
            behind.store.settle();
            if let (Some(disk), Some((size, max_object))) = (&behind.disk, disk) {
                disk.resize(size, max_object);
            }
        });
        held.settling =
            Some(tokio::spawn(async move { shared.crowd.settle().await }).abort_handle());
        let leaving = self.sockets.leaving();
        if !leaving.is_empty() {
            let sockets = Arc::clone(&self.sockets);
            tokio::spawn(async move {
                sleep(LINGER).await;
                sockets.close_left(&leaving);
            });
        }
    }
}
