//! The life of the process: bind, build, serve on one thread per core, reload, drain.

use std::{
    net::TcpListener as StdListener,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    sync::Mutex,
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    acme, admin,
    admit::watch,
    config::{self, model::Config},
    door::Hall,
    fill::Filler,
    listen::{accept, descriptors, handshake::Turns, places::Places, socket, tls},
    observe::access_log::AccessLog,
    shared::{Current, Shared},
    snapshot::{BuildError, Snapshot},
    upstream::{
        health,
        names::{self, Watch},
    },
};

/// How often clients that have been quiet are forgotten and the store catches up with itself.
const TIDY: Duration = Duration::from_secs(1);

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
    /// Checks of the configuration in force. Locked for the length of a reload, so that there is one
    /// at a time.
    checks: Mutex<JoinSet<()>>,
    /// Where the names of the configuration in force lead.
    names: Mutex<Watch>,
}

/// Runs the edge until it is told to stop. An error is a sentence for whoever started it.
pub fn run(path: &Path, config: Config) -> anyhow::Result<()> {
    // Before Pingora asks for a provider, or it takes one without post-quantum key exchange.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("another TLS provider is installed already"))?;
    let started = Instant::now();
    let threads = thread_count(&config);
    let max_connections = descriptors::bound(&config, threads);
    let (shared, work) = Shared::begun(&config.cache, max_connections, started);
    let shared = Arc::new(shared);
    work.begin(&shared).context("cannot start a thread")?;
    read_disk(&shared)?;
    let log = config
        .access_log
        .as_ref()
        .map(|log| AccessLog::open(log, threads))
        .transpose()?;
    shared.access_log.store(log.map(Arc::new));
    let sockets = bind_all(&config, threads)?;
    let admin = admin::bind(config.admin.as_ref())?;
    let _sockets = admin::Cleanup::of(config.admin.as_ref());
    let pid_file = config.server.pid_file.clone();
    let current: Current = Arc::new(ArcSwap::from_pointee(Snapshot::build(config, 1, &shared)?));
    write_pid(pid_file.as_deref())?;
    shared.adopt(&current.load());
    note_certificates(&shared, &current.load());
    shared.metrics.reload_successful.set(1);
    shared.metrics.reload_time.set(unix_now());

    let runtime = runtime()?;
    let names = runtime.block_on(watch_names(&current.load(), &shared));
    let tls = match current.load().certificates {
        Some(_) => Some(tls::server_config(&current)?),
        None => None,
    };
    let workers: Vec<_> = sockets
        .into_iter()
        .enumerate()
        .map(|(i, sockets)| {
            let worker = Worker {
                current: Arc::clone(&current),
                shared: Arc::clone(&shared),
                tls: tls.clone(),
                started,
            };
            thread::Builder::new()
                .name(format!("edge-{i}"))
                .spawn(move || worker.run(sockets))
                .context("cannot start a thread")
        })
        .collect::<Result<_, _>>()?;

    let stored = Arc::clone(&shared);
    let control = Control {
        path: path.to_owned(),
        checks: Mutex::new(JoinSet::new()),
        names: Mutex::new(names),
        filler: Arc::new(Filler::new(&shared, started, shared.new_pool())),
        current,
        shared,
        started,
    };
    let result = runtime.block_on(control.attend(admin));
    drop(runtime);
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
    if let Some(path) = pid_file {
        let _ = std::fs::remove_file(path);
    }
    result
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

/// Sockets of every listener, per thread.
fn bind_all(config: &Config, threads: usize) -> anyhow::Result<Vec<Vec<StdListener>>> {
    let mut per_thread: Vec<Vec<StdListener>> = (0..threads).map(|_| Vec::new()).collect();
    for listener in &config.listeners {
        let sockets = socket::bind(listener.address, threads)
            .with_context(|| format!("cannot listen on {}", listener.address))?;
        if let Some(address) = sockets.first().and_then(|s| s.local_addr().ok()) {
            tracing::info!(%address, tls = listener.tls, "listening");
        }
        for (thread, socket) in per_thread.iter_mut().zip(sockets) {
            thread.push(socket);
        }
    }
    Ok(per_thread)
}

/// Keeps up with the names of a configuration that is about to be in force; returns when they have had time
/// for their first answers.
async fn watch_names(snapshot: &Snapshot, shared: &Arc<Shared>) -> Watch {
    let resolvers = &snapshot.config.server.resolvers;
    let mut names = names::watch(&snapshot.upstreams, resolvers, shared);
    names.first_answers().await;
    names
}

fn write_pid(path: Option<&Path>) -> anyhow::Result<()> {
    if let Some(path) = path {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .with_context(|| format!("cannot write the pid file {}", path.display()))?;
    }
    Ok(())
}

fn unix_now() -> f64 {
    std::time::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .as_secs_f64()
}

fn note_certificates(shared: &Shared, snapshot: &Snapshot) {
    let gauge = &shared.metrics.certificate_expiry;
    gauge.reset();
    for certificate in snapshot.certificates.iter().flat_map(|table| table.all()) {
        let end = certificate
            .not_after
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        gauge
            .with_label_values(&[&certificate.path])
            .set(end.as_secs_f64());
    }
}

/// A thread that serves visitors.
struct Worker {
    current: Current,
    shared: Arc<Shared>,
    tls: Option<Arc<ServerConfig>>,
    started: Instant,
}

impl Worker {
    fn run(self, sockets: Vec<StdListener>) {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(why) => return tracing::error!(%why, "thread ends"),
        };
        runtime.block_on(async {
            let snapshot = self.current.load_full();
            let pool = self.shared.new_pool();
            let hall = Arc::new(Hall {
                current: Arc::clone(&self.current),
                shared: Arc::clone(&self.shared),
                pool: Arc::clone(&pool),
                filler: Arc::new(Filler::new(&self.shared, self.started, Arc::clone(&pool))),
                turns: Turns::default(),
                places: Places::new(&self.shared.crowd),
                started: self.started,
            });
            let started = self.started;
            let tidying = tokio::spawn(async move {
                loop {
                    sleep(TIDY).await;
                    pool.tidy(started.elapsed());
                }
            });
            let mut loops = JoinSet::new();
            for (socket, listener) in sockets.into_iter().zip(&snapshot.config.listeners) {
                let socket = match TcpListener::from_std(socket) {
                    Ok(socket) => socket,
                    Err(why) => return tracing::error!(%why, "thread ends"),
                };
                let tls = self.tls.clone().filter(|_| listener.tls);
                loops.spawn(accept::accept(
                    Arc::clone(&hall),
                    socket,
                    listener.clone(),
                    tls,
                ));
            }
            drop(snapshot);
            while loops.join_next().await.is_some() {}
            // Connections live on until they are done or the grace is over.
            self.shared.stopped().await;
            tidying.abort();
        });
        // What did not finish within the grace is cut here, and not waited for.
        runtime.shutdown_background();
    }
}

impl Control {
    /// Waits for signals and answers them; returns when the process is to end.
    async fn attend(self, admin: Vec<admin::Socket>) -> anyhow::Result<()> {
        let control = Arc::new(self);
        *control.checks.lock().await =
            health::watch(&control.current.load().upstreams, control.started);
        let mut tasks = JoinSet::new();
        for socket in admin {
            tasks.spawn(admin::serve(Arc::clone(&control), socket));
        }
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
        tasks.spawn(watch::watch(Arc::clone(&control.current)));
        tasks.spawn(acme::keep(Arc::clone(&control.shared)));
        let mut reload = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut reopen = signal(SignalKind::user_defined1())?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
        loop {
            tokio::select! {
                _ = reload.recv() => {
                    // The outcome is in the log and in the metrics.
                    let _ = control.reload().await;
                }
                _ = reopen.recv() => {
                    if let Some(log) = &*control.shared.access_log.load() {
                        log.reopen();
                    }
                }
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        control.drain().await;
        Ok(())
    }

    /// Puts the file's present content in force, or nothing of it.
    pub async fn reload(&self) -> Result<String, String> {
        let mut checks = self.checks.lock().await;
        let outcome = self.try_reload().await;
        let metrics = &self.shared.metrics;
        metrics.reload_successful.set(i64::from(outcome.is_ok()));
        let label = if outcome.is_ok() {
            "success"
        } else {
            "failure"
        };
        metrics.reloads.with_label_values(&[label]).inc();
        match &outcome {
            Ok(message) => {
                metrics.reload_time.set(unix_now());
                *checks = health::watch(&self.current.load().upstreams, self.started);
                tracing::info!("{message}");
            }
            Err(why) => {
                tracing::error!("reload refused, the old configuration stays in force:\n{why}")
            }
        }
        outcome
    }

    async fn try_reload(&self) -> Result<String, String> {
        let path = self.path.clone();
        // A file is read from a disk, which may take its time.
        let loaded = spawn_blocking(move || config::load(&path, &|name| std::env::var(name).ok()))
            .await
            .map_err(|why| why.to_string())?
            .map_err(|why| why.to_string())?;
        let old = self.current.load_full();
        let text = |why: BuildError| why.to_string();
        refuse_restarts(&old.config, &loaded.config).map_err(text)?;
        let (config, shared) = (loaded.config, Arc::clone(&self.shared));
        let generation = old.generation + 1;
        // It reads certificates, and the files of address lists.
        let new = spawn_blocking(move || Snapshot::build(config, generation, &shared))
            .await
            .map_err(|why| why.to_string())?
            .map_err(text)?;
        let log = match &new.config.access_log {
            wanted if *wanted == old.config.access_log => None,
            Some(wanted) => {
                let log = AccessLog::open(wanted, thread_count(&new.config)).map_err(text)?;
                Some(Some(Arc::new(log)))
            }
            None => Some(None),
        };
        // Those of the old configuration stay watched until this one is in force.
        let names = watch_names(&new, &self.shared).await;
        let mut watched = self.names.lock().await;
        // Nothing can fail from here on, and nothing is waited for.
        if let Some(log) = log {
            self.shared.access_log.store(log);
        }
        *watched = names;
        drop(watched);
        // While names were waited for, those who watched for the old configuration may have taken an answer
        // for themselves.
        for upstream in &new.upstreams {
            upstream.refresh(&self.shared);
        }
        self.shared.adopt(&new);
        note_certificates(&self.shared, &new);
        let message = format!(
            "configuration {} is in force: {} routes",
            new.generation,
            new.config.routes.len()
        );
        self.current.store(Arc::new(new));
        let warnings = config::render(&loaded.warnings);
        Ok(if warnings.is_empty() {
            message
        } else {
            format!("{message}\n{warnings}")
        })
    }

    /// Stops accepting, lets running requests finish, and gives up after the grace.
    async fn drain(&self) {
        let grace = self.current.load().config.server.shutdown_grace;
        tracing::info!(?grace, open = self.shared.open_connections(), "draining");
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

/// How hard the upstreams behind a waiting room are pressed, from 0 (at ease) to 1 (nobody more is let in): the hardest
/// pressed of them counts.
fn pressure(snapshot: &Snapshot, room: usize, tick: Duration) -> f64 {
    let routes = &snapshot.config.routes;
    let behind = routes
        .iter()
        .filter(|route| route.waiting_room == Some(room));
    let pressures = behind.map(|route| snapshot.upstreams[route.upstream].pressure(tick));
    pressures.fold(0.0, f64::max)
}

/// What only a new process can change.
fn refuse_restarts(old: &Config, new: &Config) -> Result<(), BuildError> {
    let changed = [
        ("listeners", old.listeners != new.listeners),
        ("server.threads", thread_count(old) != thread_count(new)),
        (
            "server.max_connections",
            old.server.max_connections != new.server.max_connections,
        ),
        (
            "server.pid_file",
            old.server.pid_file != new.server.pid_file,
        ),
        ("cache.memory", old.cache.memory != new.cache.memory),
        (
            "cache.max_object",
            old.cache.max_object != new.cache.max_object,
        ),
        ("cache.disk", old.cache.disk != new.cache.disk),
        (
            "admin",
            old.admin.as_ref().map(|a| (&a.addresses, &a.token_file))
                != new.admin.as_ref().map(|a| (&a.addresses, &a.token_file)),
        ),
    ];
    match changed.iter().find(|(_, changed)| *changed) {
        Some((what, _)) => Err(BuildError::NeedsRestart { what }),
        None => Ok(()),
    }
}
