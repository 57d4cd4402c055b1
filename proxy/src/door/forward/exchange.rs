//! What is remembered of a request on its way through the phases.

use std::{sync::Arc, time::Duration};

use super::Handover;
use crate::upstream::{Asked, Upstream};

/// The context that Pingora carries from phase to phase.
#[derive(Default)]
pub(super) struct Exchange {
    /// What the door handed over.
    pub(super) handover: Option<Arc<Handover>>,
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
    /// Why it failed, for the log.
    pub(super) reason: Option<&'static str>,
    /// Name of the last server asked, and how long it took.
    pub(super) upstream: Option<(String, Duration)>,
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
