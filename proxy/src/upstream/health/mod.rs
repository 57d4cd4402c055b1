//! Active checks: each server is asked at an interval, and what its answers mean.
//!
//! Every upstream has a task that looks after its servers: those that come are checked, those that go are not,
//! and a check that ends for whatever reason is begun anew. It also tells what changes by itself, such as the
//! end of an ejection. `probe.rs` is one check.

pub mod changes;
mod eject;
mod probe;
pub mod refusals;
pub mod state;
pub mod window;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    task::{AbortHandle, JoinSet},
    time,
};

use crate::upstream::{Server, Upstream, health::changes::Why, health::probe::probe};
use crate::{
    config::model::{CheckKind, HealthCheck},
    random,
};

/// How often the servers of an upstream are looked at. A name that leads elsewhere, and the log, may lag so
/// much behind; whom visitors meet does not depend on it.
const LOOK: Duration = Duration::from_millis(250);

/// Looks after the servers of these upstreams until the set is dropped.
pub fn watch(upstreams: &[Arc<Upstream>], started: Instant) -> JoinSet<()> {
    let mut watches = JoinSet::new();
    for upstream in upstreams {
        watches.spawn(look_after(Arc::clone(upstream), started));
    }
    watches
}

/// Nothing in here can panic; what could runs in tasks of its own.
async fn look_after(upstream: Arc<Upstream>, started: Instant) {
    let mut checks = Checks::default();
    loop {
        upstream.look_after(started.elapsed());
        if upstream.config.health_check.is_some() {
            checks.keep(&upstream.servers(), |server| {
                watch_server(Arc::clone(&upstream), server, started)
            });
        }
        time::sleep(LOOK).await;
    }
}

/// The checks that run; they end when it is dropped.
#[derive(Default)]
struct Checks {
    tasks: JoinSet<()>,
    running: Vec<(Arc<Server>, AbortHandle)>,
}

impl Checks {
    /// Ends those of servers that are gone and begins those of servers that have none.
    fn keep<F>(&mut self, servers: &[Arc<Server>], check: impl Fn(Arc<Server>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.running.retain(|(server, task)| {
            let stays = servers.iter().any(|other| Arc::ptr_eq(other, server));
            if !stays {
                task.abort();
            } else if task.is_finished() {
                tracing::error!(server = server.name, "a check broke and begins anew");
            }
            stays && !task.is_finished()
        });
        while self.tasks.try_join_next().is_some() {}
        for server in servers {
            if self
                .running
                .iter()
                .any(|(other, _)| Arc::ptr_eq(other, server))
            {
                continue;
            }
            let task = self.tasks.spawn(check(Arc::clone(server)));
            self.running.push((Arc::clone(server), task));
        }
    }
}

/// Results in a row.
#[derive(Default)]
struct Row {
    well: u32,
    ill: u32,
}

impl Row {
    /// Counts a result; says what is to be thought of the server where the row is long enough.
    fn count(&mut self, is_well: bool, check: &HealthCheck) -> Option<bool> {
        *self = match is_well {
            true => Self {
                well: self.well.saturating_add(1),
                ill: 0,
            },
            false => Self {
                well: 0,
                ill: self.ill.saturating_add(1),
            },
        };
        // A server that was down proves itself; one that starts out up need not.
        if self.well >= check.healthy {
            Some(true)
        } else if self.ill >= check.unhealthy {
            Some(false)
        } else {
            None
        }
    }
}

async fn watch_server(upstream: Arc<Upstream>, server: Arc<Server>, started: Instant) {
    let Some(check) = &upstream.config.health_check else {
        return;
    };
    let mut row = Row::default();
    let mut is_exhausted = false;
    loop {
        let result = probe(&upstream, &server, check).await;
        let tick = started.elapsed();
        match result {
            Ok(()) => {
                // Another port says nothing of this one.
                match (check.port, check.kind) {
                    (Some(_), _) => {}
                    // The kernel takes connections for a process that hangs.
                    (None, CheckKind::Tcp) => server.state.accepts(tick, tick),
                    (None, _) => server.state.heard(tick, tick),
                }
                if row.count(true, check) == Some(true) {
                    let why = Why::new("checks_passed", passed(check.healthy));
                    upstream.set_up(&server, true, tick, &why);
                }
            }
            Err(why) if why.is_ours => {
                // It says nothing of the server.
                if !is_exhausted {
                    tracing::error!(
                        upstream = upstream.name(),
                        server = server.name,
                        why = why.why.details,
                        "a server cannot be checked"
                    );
                }
                is_exhausted = true;
                pause(check).await;
                continue;
            }
            Err(why) => {
                if row.count(false, check) == Some(false) {
                    upstream.set_up(&server, false, tick, &why.why);
                }
            }
        }
        is_exhausted = false;
        pause(check).await;
    }
}

fn passed(checks: u32) -> String {
    match checks {
        1 => "1 check passed".to_owned(),
        n => format!("{n} checks passed in a row"),
    }
}

/// A tenth more or less, so that checks of many servers and edges do not march in step.
async fn pause(check: &HealthCheck) {
    let jitter = 0.9 + random::below(200) as f64 / 1000.0;
    time::sleep(check.interval.mul_f64(jitter)).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::upstream::testing;

    #[test]
    fn it_takes_a_row_to_change_a_mind() {
        let check = HealthCheck {
            kind: CheckKind::Tcp,
            path: String::new(),
            host: None,
            port: None,
            interval: testing::SECOND,
            timeout: testing::SECOND,
            healthy: 2,
            unhealthy: 3,
            status: Vec::new(),
            body: None,
        };
        for (results, wanted) in [
            ("", None),
            ("+", None),
            ("++", Some(true)),
            ("+++++", Some(true)),
            ("--", None),
            ("---", Some(false)),
            ("--+--+--", None),
            ("---+", None),
            ("---+-+-+", None),
            ("---++", Some(true)),
            ("+-+-+-+-", None),
        ] {
            let mut row = Row::default();
            let each = results
                .chars()
                .map(|result| row.count(result == '+', &check));
            assert_eq!(each.last().flatten(), wanted, "{results}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn checks_follow_the_servers_and_survive_a_panic() {
        let servers = testing::servers(&[1, 1, 1], 0);
        let begun: Arc<[AtomicUsize; 3]> = Arc::default();
        let runs = Arc::new(AtomicUsize::new(0));
        struct Runs(Arc<AtomicUsize>);
        impl Drop for Runs {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let check = |server: Arc<Server>| {
            let (begun, runs) = (Arc::clone(&begun), Arc::clone(&runs));
            async move {
                runs.fetch_add(1, Ordering::SeqCst);
                let _runs = Runs(runs);
                let nth = usize::from(server.address.port()) - 3000;
                let before = begun[nth].fetch_add(1, Ordering::SeqCst);
                if nth == 0 && before == 0 {
                    panic!("once");
                }
                std::future::pending().await
            }
        };
        let counts = || [0, 1, 2].map(|nth: usize| begun[nth].load(Ordering::SeqCst));
        let mut checks = Checks::default();
        checks.keep(&servers[..2], check);
        time::sleep(LOOK).await;
        assert_eq!(counts(), [1, 1, 0]);
        checks.keep(&servers[..2], check);
        time::sleep(LOOK).await;
        assert_eq!(counts(), [2, 1, 0], "begun anew");
        checks.keep(&servers[1..], check);
        time::sleep(LOOK).await;
        assert_eq!((counts(), runs.load(Ordering::SeqCst)), ([2, 1, 1], 2));
        drop(checks);
        time::sleep(LOOK).await;
        assert_eq!(runs.load(Ordering::SeqCst), 0);
    }
}
