//! Telling what becomes of servers: the log, a counter, and what the status shows.

use std::time::Duration;

use crate::upstream::{Server, Upstream};

/// What becomes of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Checks find it well again.
    Up,
    /// Checks find it ill.
    Down,
    /// It failed too many requests.
    Ejected,
    /// Its ejection is over.
    Returned,
    /// It takes nothing new.
    Draining,
    /// It does again.
    Ready,
}

impl Change {
    fn label(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Ejected => "ejected",
            Self::Returned => "returned",
            Self::Draining => "draining",
            Self::Ready => "ready",
        }
    }
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// One of a fixed set, for metrics.
    pub word: &'static str,
    /// For the log and the status.
    pub details: String,
}

impl Why {
    /// A reason.
    pub fn new(word: &'static str, details: impl Into<String>) -> Self {
        Self {
            word,
            details: details.into(),
        }
    }
}

impl Upstream {
    /// Counts a change and writes it down.
    pub(in crate::upstream) fn tell(&self, server: &Server, change: Change, why: &Why) {
        let labels = [self.name(), &server.name, change.label(), why.word];
        self.changes.with_label_values(&labels).inc();
        let (upstream, name, why) = (self.name(), server.name.as_str(), &why.details);
        match change {
            Change::Up => tracing::info!(upstream, server = name, why, "server is up"),
            Change::Down => tracing::warn!(upstream, server = name, why, "server is down"),
            Change::Ejected => tracing::warn!(upstream, server = name, why, "server ejected"),
            Change::Returned => tracing::info!(upstream, server = name, why, "server returned"),
            Change::Draining => tracing::info!(upstream, server = name, why, "server is draining"),
            Change::Ready => tracing::info!(upstream, server = name, why, "server is ready"),
        }
    }

    /// Sets what active checks found.
    pub fn set_up(&self, server: &Server, up: bool, tick: Duration, why: &Why) {
        if server.state.set_up(up, tick, &why.details) {
            let change = if up { Change::Up } else { Change::Down };
            self.tell(server, change, why);
        }
    }

    /// Tells whether a server takes nothing new, where that has changed.
    pub(in crate::upstream) fn note_drain(&self, server: &Server, tick: Duration, why: &Why) {
        let draining = server.is_draining();
        if server.state.note_drain(draining, tick, &why.details) {
            let change = if draining {
                Change::Draining
            } else {
                Change::Ready
            };
            self.tell(server, change, why);
        }
    }

    /// Tells what has changed by itself: ejections that are over, what a new file says of draining, and servers
    /// that came when there was an order for them already.
    pub(in crate::upstream) fn look_after(&self, tick: Duration) {
        for server in self.servers.load().iter() {
            self.tell_return(server, tick);
            let by_order = server.state.is_drained() && !server.drains_by_file();
            let why = match by_order {
                true => Why::new("order", "by order"),
                false => Why::new("file", "by the file"),
            };
            self.note_drain(server, tick, &why);
        }
    }
}
