//! A thread that serves visitors.

use std::{
    collections::HashMap,
    net::TcpListener as StdListener,
    sync::{Arc, mpsc::Sender},
    time::Instant,
};

use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::sleep};

use super::TIDY;
use crate::{
    door::Hall,
    fill::Filler,
    listen::{
        accept,
        handshake::Turns,
        places::Places,
        sockets::{Line, Lines},
    },
    shared::{Current, Shared},
    systemd::Pulse,
};

/// What a thread needs to begin.
pub(super) struct Worker {
    pub(super) current: Current,
    pub(super) shared: Arc<Shared>,
    /// Which of the threads it is, from 0.
    pub(super) number: usize,
    /// What is listened on.
    pub(super) lines: watch::Receiver<Lines>,
    pub(super) started: Instant,
    /// Is told once it accepts.
    pub(super) serves: Sender<()>,
    /// Shows that it lives.
    pub(super) pulse: Arc<Pulse>,
}

impl Worker {
    pub(super) fn run(mut self) {
        let runtime = match super::runtime() {
            Ok(runtime) => runtime,
            Err(why) => return tracing::error!(%why, "thread ends"),
        };
        runtime.block_on(async {
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
            let (started, pulse, number) = (self.started, Arc::clone(&self.pulse), self.number);
            let tidying = tokio::spawn(async move {
                loop {
                    sleep(TIDY).await;
                    pulse.beat(number);
                    pool.tidy(started.elapsed());
                }
            });
            loop {
                self.accept(&hall).await;
                // Connections live on until they are done or the grace is over.
                tokio::select! {
                    () = self.shared.stopped() => break,
                    // The process that had taken over is gone.
                    () = self.shared.stays() => {}
                    () = async {
                        self.shared.hurries().await;
                        hall.places.wake();
                        std::future::pending().await
                    } => {}
                }
            }
            tidying.abort();
        });
        // What did not finish within the grace is cut here, and not waited for.
        runtime.shutdown_background();
    }

    /// Accepts from its sockets of all lines until the process drains or leaves; lines come and go.
    async fn accept(&mut self, hall: &Arc<Hall>) {
        let mut drain = self.shared.drain_signal();
        let mut loops = JoinSet::new();
        let mut known = HashMap::new();
        loop {
            let lines = Arc::clone(&self.lines.borrow_and_update());
            known.retain(|_, line: &mut Arc<Line>| lines.iter().any(|new| Arc::ptr_eq(new, line)));
            for line in lines.iter() {
                if known.insert(Arc::as_ptr(line), Arc::clone(line)).is_some() {
                    continue;
                }
                for socket in line.take(self.number) {
                    match listener(socket) {
                        Ok(socket) => {
                            loops.spawn(accept::accept(Arc::clone(hall), socket, Arc::clone(line)));
                        }
                        Err(why) => {
                            tracing::error!(address = %line.bound, %why, "a thread does not accept");
                        }
                    }
                }
            }
            drop(lines);
            // Heard once.
            let _ = self.serves.send(());
            tokio::select! {
                biased;
                _ = drain.wait_for(|draining| *draining) => break,
                changed = self.lines.changed() => if changed.is_err() { break },
                // Those of lines that have closed.
                Some(_) = loops.join_next() => {}
            }
        }
        while loops.join_next().await.is_some() {}
    }
}

fn listener(socket: StdListener) -> std::io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}
