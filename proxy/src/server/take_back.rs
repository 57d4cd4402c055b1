//! The process that took over has crashed, and nobody starts another: the one before, which still has visitors, serves
//! again as it did before the upgrade.
//!
//! It binds its addresses anew. To keep the old sockets meanwhile would save the moment until it does, and cost more: an
//! address that the new process gives up, or stops at, would go on to take connections that nobody accepts.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::time::sleep;

use super::Control;
use crate::{
    handover::{Failure, Successor},
    listen::sockets::{BindError, Change},
    sandbox,
};

/// How long an address may still be held: by threads of this process that wait for a place in a full house, and by a
/// third process that was about to take over and finds nobody to take over from.
const FREE_WITHIN: Duration = Duration::from_secs(3);
/// How often it is tried again.
const TRIED_EVERY: Duration = Duration::from_millis(10);

impl Control {
    /// Takes everything back from a process that has crashed; `false` where somebody else has the addresses, and nothing
    /// is as if this had not been called.
    pub(crate) async fn take_back(self: &Arc<Self>, from: &Successor) -> bool {
        let began = Instant::now();
        let change = match self.bind_again(from).await {
            Ok(change) => change,
            Err(why) => {
                // Of low ports only root, or who has kept the right to them, can bind one anew.
                let help = sandbox::low_port(why.address.port(), &why.why);
                let help = help.map(|help| format!("; {help}")).unwrap_or_default();
                match why.why.kind() {
                    io::ErrorKind::AddrInUse => {
                        tracing::error!(
                            "this process cannot serve again, because somebody else may: {why}"
                        );
                    }
                    _ => tracing::error!(
                        "this process cannot serve again, and nobody is accepted: {why}{help}"
                    ),
                }
                return false;
            }
        };
        from.is_replaced().await;
        self.shared.stop_leaving();
        self.sockets.apply(change);
        self.life.serves_again();
        if let Err(why) = self.held.lock().await.come_back(self) {
            tracing::error!("orders are not taken: {why}");
        }
        self.keep_pid_file();
        // Whoever rotates it has told the process that the pid file named.
        if let Some(log) = &*self.shared.access_log.load() {
            log.reopen();
        }
        let why = Failure::Crashed(from.pid);
        self.life.failed.note(&why, SystemTime::now());
        let upgrades = &self.shared.metrics.upgrades;
        upgrades.with_label_values(&[why.outcome()]).inc();
        tracing::warn!(
            took = ?began.elapsed(),
            "this process serves again, with the configuration from before the upgrade"
        );
        true
    }

    async fn bind_again(&self, from: &Successor) -> Result<Change, BindError> {
        let began = Instant::now();
        loop {
            // Nobody else may have an address: one that serves in the place of the one that crashed is left alone.
            match self.sockets.prepare(&self.current.load().config.listeners) {
                Err(why) if why.why.kind() == io::ErrorKind::AddrInUse => {
                    // Whoever has it may be told of purges that are not heard of here.
                    from.is_lost();
                    if began.elapsed() > FREE_WITHIN {
                        return Err(why);
                    }
                    sleep(TRIED_EVERY).await;
                }
                outcome => return outcome,
            }
        }
    }
}
