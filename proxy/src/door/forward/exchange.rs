//! What is remembered of a request on its way through the phases.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;

use super::Handover;
use crate::upstream::{Server, ServerState, Upstream};

/// The context that Pingora carries from phase to phase.
#[derive(Default)]
pub(super) struct Exchange {
    /// What the door handed over. A refresh in the background finds it in its first phase.
    pub(super) handover: Option<Arc<Handover>>,
    /// What a refresh that this request starts will look for.
    pub(super) refresh: Option<u64>,
    /// No visitor waits for this one.
    pub(super) background: bool,
    /// Servers that failed it.
    pub(super) tried: Vec<usize>,
    /// The server that is being asked.
    pub(super) asked: Option<Asked>,
    /// Servers that were asked.
    pub(super) attempts: u32,
    /// Content bytes of the request so far.
    pub(super) request_bytes: u64,
    /// All of it has arrived.
    pub(super) body_ended: bool,
    /// The server gave up waiting for it.
    pub(super) client_stalled: bool,
    /// Fields of a `304` that updates a stored response.
    pub(super) not_modified: Option<HeaderMap>,
    /// Served stale because the upstream failed.
    pub(super) stale_error: bool,
    /// Why it failed, for the log.
    pub(super) reason: Option<&'static str>,
    /// Name of the last server asked, and how long it took.
    pub(super) upstream: Option<(String, Duration)>,
}

/// A server at work for a request; counts as in flight until dropped.
pub(super) struct Asked {
    pub(super) index: usize,
    pub(super) since: Duration,
    name: String,
    state: Arc<ServerState>,
}

impl Asked {
    pub(super) fn new(index: usize, server: &Server, since: Duration) -> Self {
        server.state.begin();
        Self {
            index,
            since,
            name: server.name.clone(),
            state: Arc::clone(&server.state),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.state.end();
    }
}

impl Exchange {
    /// The upstream that this request goes to.
    pub(super) fn group(&self) -> Option<&Arc<Upstream>> {
        self.handover.as_ref().map(|h| &h.forward.route.upstream)
    }

    /// Ends the work of the server at hand.
    pub(super) fn release(&mut self, now: Duration) -> Option<usize> {
        let asked = self.asked.take()?;
        self.upstream = Some((asked.name.clone(), now.saturating_sub(asked.since)));
        Some(asked.index)
    }
}
