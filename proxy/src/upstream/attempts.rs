//! The attempts of one request: which server next, what a failure says of it, and whether to try again.
//!
//! What visitors ask in person and what is fetched for the store go by the same rules.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{AtWork, Chosen, Server, Upstream};
use crate::{observe::metrics::Metrics, respond::fault::Fault};

/// How far an exchange had come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// No connection came about, so nothing can happen twice.
    Connect,
    /// On a connection that had been used before, and not a byte was heard.
    Reused,
    /// The server has said that it has not looked at the request, so that nothing can happen twice. That is no
    /// failure: servers that restart in peace do so.
    Unseen,
    /// On a new connection, and not a byte was heard.
    Silent,
    /// The server has begun to speak.
    Heard,
}

impl Stage {
    /// Whether the server cannot have acted on the request.
    pub fn is_harmless(self) -> bool {
        matches!(self, Self::Connect | Self::Unseen)
    }
}

impl Upstream {
    /// Takes a retry out of the budget, and counts that.
    pub fn may_repeat(&self, metrics: &Metrics) -> bool {
        let taken = self.config.retry.budget_percent > 0 && self.lasting.budget.take();
        let counter = match taken {
            true => &metrics.retries_charged,
            false => &metrics.budget_exhausted,
        };
        counter.with_label_values(&[self.name()]).inc();
        taken
    }
}

/// The attempts of one request.
pub struct Attempts {
    upstream: Arc<Upstream>,
    /// When the process began.
    started: Instant,
    /// Servers that failed this request.
    tried: Vec<SocketAddr>,
    /// Servers that were asked, for the log.
    count: u32,
    /// Those of them that the configuration's bound counts.
    charged: u32,
    /// The next connection must be a new one.
    fresh: bool,
    /// It waits where no server is well.
    waits: bool,
    last: Option<(Arc<Server>, Duration)>,
    /// Why another one was made, for the log.
    reason: Option<&'static str>,
}

impl Attempts {
    /// Begins; counts the request for the retry budget.
    pub fn new(upstream: &Arc<Upstream>, started: Instant) -> Self {
        let percent = upstream.config.retry.budget_percent;
        upstream.lasting.budget.request(percent);
        Self {
            upstream: Arc::clone(upstream),
            started,
            tried: Vec::new(),
            count: 0,
            charged: 0,
            fresh: false,
            waits: true,
            last: None,
            reason: None,
        }
    }

    /// Does not wait for a server where there is none: something else can answer.
    pub fn without_waiting(mut self) -> Self {
        self.waits = false;
        self
    }

    /// The next server: another while there is one, else the same one again; where none is well, the first
    /// that is within a moment. `key` is what consistent hashing goes by.
    pub async fn next(&mut self, key: &[u8]) -> Option<AtWork> {
        let mut chosen = self.choose(key);
        // Of those who have waited for one server, one has the turn to try it, and the others wait on.
        while !chosen.as_ref().is_some_and(|chosen| chosen.is_willing) && self.waits {
            let came = self
                .upstream
                .wait_for_server(|| self.started.elapsed())
                .await;
            self.waits = came;
            if came {
                // Those who failed may be the ones that are back.
                self.tried.clear();
                chosen = self.choose(key);
            }
        }
        // One that is known to refuse is tried by one request at a time.
        let server = chosen.filter(|chosen| chosen.is_willing)?.server;
        self.count += 1;
        Some(AtWork::new(server, self.started.elapsed()))
    }

    /// Another one that is willing, else the same again, else whoever there is.
    fn choose(&self, key: &[u8]) -> Option<Chosen> {
        let tick = self.started.elapsed();
        let other = self.upstream.choose(&self.tried, key, tick);
        if self.tried.is_empty() || other.as_ref().is_some_and(|chosen| chosen.is_willing) {
            return other;
        }
        let any = self.upstream.choose(&[], key, tick);
        match any {
            Some(any) if any.is_willing => Some(any),
            any => other.or(any),
        }
    }

    /// Whether the next connection must be a new one.
    pub fn wants_fresh(&self) -> bool {
        self.fresh
    }

    /// A server is done with the request, or has answered it.
    pub fn note(&mut self, at_work: &AtWork) {
        let now = self.started.elapsed();
        let server = Arc::clone(&at_work.server);
        self.last = Some((server, now.saturating_sub(at_work.since)));
    }

    /// Notes what a failure says of the server. `true` when another attempt is to be made, which is counted
    /// here; `repeatable` says whether this request may be sent once more after such a failure.
    pub fn failed(
        &mut self,
        at_work: &AtWork,
        fault: &Fault,
        stage: Stage,
        repeatable: bool,
        metrics: &Metrics,
    ) -> bool {
        self.note(at_work);
        // There is no time for another one, and no one server is to blame.
        if !fault.is_by_server() || *fault == Fault::TOO_LONG {
            return false;
        }
        let (server, now) = (&at_work.server, self.started.elapsed());
        if stage == Stage::Connect {
            server.state.refused(now);
        }
        // A pooled connection that the server closed at the moment of reuse is nobody's fault; that shows no later
        // than a connection takes, while a server that works longer and dies has had the request. The next one is
        // new, so that a request meets one such race at most; and to another server where there is one, since
        // a process that has just died closes all of its connections.
        let moment = now.saturating_sub(at_work.since) <= self.upstream.config.timeouts.connect;
        let race = stage == Stage::Reused && *fault == Fault::CLOSED && moment;
        if race {
            self.fresh = true;
        } else if stage != Stage::Unseen {
            self.upstream.failed(server, now);
        }
        self.tried.push(server.address);
        // Who has begun to speak and is slow would be slow elsewhere, and has cost enough.
        if !repeatable || (stage == Stage::Heard && fault.timed_out) {
            return false;
        }
        let again = race || {
            self.charged += 1;
            let among = self.charged <= self.upstream.config.retry.attempts;
            match stage {
                // While it may wait, a server that is not back yet costs nothing: those are few, since each
                // refusal is followed by a pause.
                Stage::Connect => among || (self.waits && self.upstream.waits(now)),
                Stage::Unseen => among,
                Stage::Reused | Stage::Silent | Stage::Heard => {
                    among && self.upstream.may_repeat(metrics)
                }
            }
        };
        if again {
            self.reason = Some(fault.failure.reason);
            let name = self.upstream.name();
            metrics.retries.with_label_values(&[name]).inc();
        }
        again
    }

    /// Servers that were asked.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The server that was asked last, and how long it took.
    pub fn last(&self) -> Option<(&Arc<Server>, Duration)> {
        self.last.as_ref().map(|(server, time)| (server, *time))
    }

    /// Why the last attempt but one failed.
    pub fn reason(&self) -> Option<&'static str> {
        self.reason
    }
}
