//! The life of the process: bind, build, serve on one thread per core, reload, drain.

mod history;
mod pid_file;
mod probation;
mod reload;
mod take_back;
mod watch;
mod worker;

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::{Mutex, MutexGuard},
    task::JoinSet,
    time::{sleep, timeout},
};

pub use history::{Entry, History, Trigger};
pub use probation::Probation;

use crate::{
    acme, admin,
    admit::watch as lists,
    config::{self, model::Config},
    fill::Filler,
    handover::{Inherited, Life, Ready, Role},
    listen::{descriptors::Descriptors, sockets::Sockets, tls::watch as certificates},
    observe::access_log::AccessLog,
    sandbox::{self, Plan, Sandbox},
    shared::{Current, Shared},
    snapshot::Snapshot,
    upstream::{
        health,
        names::{self, Watch},
    },
};
use history::Kept;
use reload::{Held, Watched};
use worker::Worker;

/// How often clients that have been quiet are forgotten and the store catches up with itself.
const TIDY: Duration = Duration::from_secs(1);

/// How long a thread may take until it accepts.
const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// How long the disk tier, and then the access log, may take at the end for what was handed to them.
const FINISH: Duration = Duration::from_secs(2);

/// The hand on the running edge: what signals and the admin endpoint can do.
pub struct Control {
    /// The configuration file.
    pub path: PathBuf,
    /// The configuration in force.
    pub current: Current,
    /// State of the process.
    pub shared: Arc<Shared>,
    /// Fetches that operators order.
    pub filler: Arc<Filler>,
    /// When the process began.
    pub started: Instant,
    /// What comes before this process, and behind it.
    pub life: Life,
    /// What visitors are listened to on.
    pub sockets: Arc<Sockets>,
    /// What became of reloads.
    pub history: History,
    /// Whether the configuration in force proves itself.
    pub probation: Probation,
    /// What the process has given up.
    pub sandbox: Sandbox,
    descriptors: Descriptors,
    /// What goes with the configuration in force. Locked for the length of a reload, so that there is one at a time.
    held: Mutex<Held>,
}

/// Runs the edge until it is told to stop. An error is a sentence for whoever started it.
pub fn run(path: &Path, loaded: config::Loaded) -> anyhow::Result<()> {
    let plan = Plan::of(&loaded.config, &loaded.files, &loaded.folders)?;
    let paths = plan.paths().clone();
    let outcome = serve(path, loaded, plan);
    if outcome.is_err() {
        for hint in sandbox::hints(&paths) {
            tracing::error!("{hint}");
        }
    }
    outcome
}

fn serve(path: &Path, loaded: config::Loaded, plan: Plan) -> anyhow::Result<()> {
    // Before Pingora asks for a provider, or it takes one without post-quantum key exchange.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("another TLS provider is installed already"))?;
    let started = Instant::now();
    let runtime = runtime()?;
    let orders = runtime.block_on(async { Orders::listen() });
    let orders = orders.context("cannot listen to signals")?;
    let config = loaded.config;
    let threads = thread_count(&config);
    let mut inherited = Inherited::receive()?;
    if inherited.is_some() {
        plan.fits_in()?;
    }
    let mut life = Life::new(threads, inherited.is_some()).context("cannot find this program")?;
    let descriptors = Descriptors::take(threads);
    let max_connections = descriptors.bound(&config);
    // Here is no thread but this one, up to where nothing is left to be given up.
    plan.prepare(&config);
    let (shared, work) = plan.act(|| Shared::begun(&config.cache, max_connections, started));
    let shared = Arc::new(shared);
    if let Some(inherited) = &inherited {
        inherited.begin_with(&shared);
    }
    let text = Some(loaded.text);
    let watched = Watched::new(&config, loaded.files, loaded.folders);
    let lent = config.listeners.iter().flat_map(|listener| {
        let address = listener.address;
        let lent = inherited.as_mut().map(|i| i.listeners(address));
        lent.into_iter()
            .flatten()
            .map(move |socket| (address, socket))
    });
    let sockets = Arc::new(Sockets::with_inherited(threads, lent.collect()));
    let current: Current = Arc::new(ArcSwap::from_pointee(Snapshot::build(config, 1, &shared)?));
    let snapshot = current.load_full();
    let config = &snapshot.config;
    // Of the user, or its threads could not share an address with those of the next process.
    let listening = plan.act(|| reload::listeners(&sockets, config));
    let listening = listening.map_err(|why| anyhow!(why))?;
    let mut endpoints = admin::Endpoints::default();
    let admin = reload::admin(
        &endpoints,
        config.admin.as_ref(),
        inherited.as_mut(),
        plan.identity(),
        Some(path),
    )
    .map_err(|why| anyhow!(why))?;
    let program = life.handover.program();
    let sandbox = plan.carry_out(program, inherited.is_some())?;
    life.handover.held_by(sandbox.mark());
    work.begin(&shared).context("cannot start a thread")?;
    read_disk(&shared)?;
    let log = config.access_log.as_ref();
    let log = log.map(|log| AccessLog::open(log, threads)).transpose()?;
    shared.access_log.store(log.map(Arc::new));
    shared.adopt(&snapshot);
    note_certificates(&shared, &snapshot);
    shared.metrics.reload_successful.set(1);
    shared.metrics.reload_time.set(unix_now());
    sockets.apply(listening);

    let names = runtime.block_on(watch_names(&snapshot, &shared));
    // From here on it may serve, and what was the other's becomes its own.
    let ready = inherited
        .map(|inherited| inherited.prepare(&shared, &snapshot))
        .transpose()?;
    life.predecessor = ready.as_ref().map(|ready| Arc::clone(&ready.predecessor));
    let pid_file = config.server.pid_file.as_deref();
    let pid_file = pid_file
        .map(|pid_file| reload::write_pid(pid_file, Some(path)))
        .transpose()
        .map_err(|why| anyhow!(why))?;
    let (serves, serving) = channel();
    let workers: Vec<_> = (0..threads)
        .map(|number| {
            let worker = Worker {
                current: Arc::clone(&current),
                shared: Arc::clone(&shared),
                number,
                lines: sockets.lines(),
                started,
                serves: serves.clone(),
                pulse: Arc::clone(&life.pulse),
            };
            thread::Builder::new()
                .name(format!("edge-{number}"))
                .spawn(move || worker.run())
                .context("cannot start a thread")
        })
        .collect::<Result<_, _>>()?;
    for _ in &workers {
        serving
            .recv_timeout(STARTED_WITHIN)
            .context("a thread does not start")?;
    }

    let stored = Arc::clone(&shared);
    let control = Arc::new(Control {
        path: path.to_owned(),
        life,
        sockets,
        history: History::new(Kept::new(config.clone(), 1, text, true)),
        probation: Probation::default(),
        descriptors,
        held: Mutex::new(Held::new(names, watched)),
        sandbox,
        filler: Arc::new(Filler::new(&shared, started, shared.new_pool())),
        current,
        shared,
        started,
    });
    drop(snapshot);
    let result = runtime.block_on(async {
        endpoints.apply(admin, &control);
        control.held.lock().await.keep(endpoints, pid_file);
        control.attend(ready, orders).await
    });
    // With it go the admin sockets and the pid file.
    let held = runtime.block_on(async { timeout(FINISH, control.held.lock()).await });
    let held = held.map(|mut held| std::mem::take(&mut *held)).ok();
    // What waits for a file system that does not answer is not waited for.
    runtime.shutdown_timeout(FINISH);
    for worker in workers {
        let _ = worker.join();
    }
    // What was stored last is still on its way to the disk.
    stored.keeper().finish(FINISH);
    if let Err(why) = stored.store.purges.write_down() {
        tracing::warn!(%why, "the last invalidations could not be written down");
    }
    if let Some(log) = stored.access_log.swap(None)
        && !log.finish(FINISH)
    {
        tracing::warn!("the last lines of the access log could not be written in time");
    }
    drop(held);
    result
}

/// Signals that would end the process by themselves. They are listened to before anything else is done: whoever finds
/// the process, by its pid file or by its name, may send one while it begins, and it is answered then.
struct Orders {
    reload: Signal,
    reopen: Signal,
    upgrade: Signal,
}

impl Orders {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            reload: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            upgrade: signal(SignalKind::quit())?,
        })
    }
}

/// Reads what is on disk, for the books; look-ups do not wait for it.
fn read_disk(shared: &Shared) -> anyhow::Result<()> {
    if let Some(disk) = shared.disk.clone() {
        thread::Builder::new()
            .name("disk-scan".to_owned())
            .spawn(move || disk.scan())
            .context("cannot start a thread")?;
    }
    Ok(())
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")
}

fn thread_count(config: &Config) -> usize {
    match config.server.threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        n => n,
    }
}

/// Keeps up with the names of a configuration that is about to be in force; returns when they have had time
/// for their first answers.
async fn watch_names(snapshot: &Snapshot, shared: &Arc<Shared>) -> Watch {
    let resolvers = &snapshot.config.server.resolvers;
    let mut names = names::watch(&snapshot.upstreams, resolvers, shared);
    names.first_answers().await;
    names
}

fn unix_now() -> f64 {
    std::time::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .as_secs_f64()
}

fn note_certificates(shared: &Shared, snapshot: &Snapshot) {
    match &snapshot.certificates {
        Some(certificates) => certificates.note(&shared.metrics),
        None => (shared.metrics.certificates).set(0, [].into_iter(), [].into_iter()),
    }
}

impl Control {
    /// Waits for signals and answers them; returns when the process is to end.
    async fn attend(self: &Arc<Self>, ready: Option<Ready>, orders: Orders) -> anyhow::Result<()> {
        let control = self;
        let checks = health::watch(&control.current.load().upstreams, control.started);
        control.held.lock().await.check(checks);
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&control.shared);
        let filler = Arc::clone(&control.filler);
        let current = Arc::clone(&control.current);
        let started = control.started;
        tasks.spawn(async move {
            loop {
                sleep(TIDY).await;
                shared.tidy(started.elapsed());
                for upstream in &current.load().upstreams {
                    upstream.look_for_outage(started.elapsed());
                }
                let snapshot = current.load_full();
                for (number, room) in snapshot.waiting_rooms.iter().enumerate() {
                    room.tidy(
                        started.elapsed(),
                        pressure(&snapshot, number, started.elapsed()),
                    );
                }
                filler.tidy();
            }
        });
        tasks.spawn(lists::watch(Arc::clone(&control.current)));
        tasks.spawn(acme::keep(Arc::clone(&control.shared)));
        tasks.spawn(certificates::watch(
            Arc::clone(&control.current),
            Arc::clone(&control.shared),
        ));
        tasks.spawn(reload::keep_up(Arc::clone(control)));
        tasks.spawn(reload::keep_watch(Arc::clone(control)));
        let Orders {
            reload: mut hangup,
            mut reopen,
            mut upgrade,
        } = orders;
        let reloading = Arc::clone(control);
        // A reload may take its time, and other signals are heard meanwhile.
        tasks.spawn(async move {
            while hangup.recv().await.is_some() {
                // The outcome is in the log and in the metrics.
                let _ = reloading.reload(Trigger::Signal).await;
            }
        });
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        control.life.serves(ready, &control.shared);
        let watched = Arc::clone(control);
        tasks.spawn(async move { watched.life.watch().await });
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
        loop {
            tokio::select! {
                _ = reopen.recv() => {
                    if let Some(log) = &*control.shared.access_log.load() {
                        log.reopen();
                    }
                }
                _ = upgrade.recv() => {
                    let control = Arc::clone(control);
                    // The outcome is in the log and in the metrics.
                    tokio::spawn(async move { control.upgrade(None).await });
                }
                successor = control.life.relieved() => {
                    // The new process answers there; who is being answered here still is.
                    control.held.lock().await.leave();
                    let told = async {
                        tokio::select! {
                            _ = terminate.recv() => {}
                            _ = interrupt.recv() => {}
                        }
                    };
                    if control.leave(&successor, told).await {
                        return Ok(());
                    }
                    // An order of back then was for another process.
                    upgrade = signal(SignalKind::quit())?;
                }
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        control.drain().await;
        Ok(())
    }

    /// Stops accepting, lets running requests finish, and gives up after the grace.
    async fn drain(&self) {
        let grace = self.current.load().config.server.shutdown_grace;
        tracing::info!(?grace, open = self.shared.open_connections(), "draining");
        if self.life.is_on_probation() {
            self.held.lock().await.leave();
        } else {
            self.life.systemd.stopping();
        }
        self.life.handover.end();
        self.sockets.end();
        self.shared.start_draining();
        if timeout(grace, self.shared.all_closed()).await.is_err() {
            tracing::warn!(
                open = self.shared.open_connections(),
                "grace is over, closing what is left"
            );
        }
        self.shared.stop();
        tracing::info!("stopped");
    }
}

/// Keeps reloads away.
pub(crate) struct Lent<'a>(MutexGuard<'a, Held>);

impl Lent<'_> {
    /// What ends the accepting of orders here, because another process takes them.
    pub(crate) fn step_aside(&self) -> impl Fn() + Send + 'static {
        self.0.step_aside()
    }

    /// Takes orders again, where that was ended: the other process is gone.
    pub(crate) fn step_back(&mut self, control: &Arc<Control>) {
        self.0.step_back(control);
    }
}

impl Control {
    /// Duplicates of all listening sockets, for another process; none comes or goes while the lock is held.
    pub(crate) async fn lend(&self) -> io::Result<(Vec<(Role, OwnedFd)>, Lent<'_>)> {
        let held = self.held.lock().await;
        let mut lent = held.lend()?;
        for (address, socket) in self.sockets.lend()? {
            lent.push((Role::Listener(address), socket.into()));
        }
        Ok((lent, Lent(held)))
    }
}

/// How hard the upstreams behind a waiting room are pressed, from 0 (at ease) to 1 (nobody more is let in): the hardest
/// pressed of them counts.
fn pressure(snapshot: &Snapshot, room: usize, tick: Duration) -> f64 {
    let routes = &snapshot.config.routes;
    let behind = routes
        .iter()
        .filter(|route| route.waiting_room == Some(room));
    let pressures = behind
        .filter_map(|route| snapshot.upstreams.get(route.upstream()?))
        .map(|upstream| upstream.pressure(tick));
    pressures.fold(0.0, f64::max)
}
