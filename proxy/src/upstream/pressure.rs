//! How hard an upstream is pressed, for those who decide whether to send it more visitors.

use std::time::Duration;

use super::Upstream;

impl Upstream {
    /// From 0 (at ease) to 1 (nothing more): how full the queues for connections to its servers are, or how many
    /// persons the limit on requests at work turns away, whichever is worse. `tick` is the time since the process began.
    pub fn pressure(&self, tick: Duration) -> f64 {
        let state = self.lasting.concurrency.state(tick);
        let persons = state.map_or(0.0, |state| state.pressure);
        self.crowding().max(persons)
    }

    fn crowding(&self) -> f64 {
        let bounds = &self.config.connections;
        let servers = self.servers();
        let places = bounds.queue * servers.len();
        let waiting: usize = servers
            .iter()
            .map(|server| server.state.slots.waiting())
            .sum();
        match bounds.max {
            Some(_) if places > 0 => (waiting as f64 / places as f64).min(1.0),
            _ => 0.0,
        }
    }
}
