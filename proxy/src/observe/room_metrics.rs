//! What is counted of waiting rooms.

use std::sync::Arc;

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::{
    metrics::{counters, gauges},
    named::keep,
};
use crate::admit::waiting_room::WaitingRoom;

/// Gauges and counters by room; rooms count for themselves, and are read off when someone asks.
pub struct RoomMetrics {
    inside: IntGaugeVec,
    carts: IntGaugeVec,
    capacity: IntGaugeVec,
    waiting: IntGaugeVec,
    expected_wait: IntGaugeVec,
    admitted: IntCounterVec,
    guests: IntCounterVec,
    issued: IntCounterVec,
    kept: IntCounterVec,
    left: IntCounterVec,
    no_shows: IntCounterVec,
    returned: IntCounterVec,
    waits: IntCounterVec,
    refused: IntCounterVec,
}

impl RoomMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name: &str, help: &str| gauges(registry, name, help, &["room"]);
        let counter = |name: &str, help: &str| counters(registry, name, help, &["room"]);
        Self {
            inside: gauge("room_inside", "Visitors inside."),
            carts: gauge("room_carts", "Visitors inside with a cart."),
            capacity: gauge("room_capacity", "Visitors that may be inside."),
            waiting: gauge("room_waiting", "Visitors who wait."),
            expected_wait: gauge(
                "room_expected_wait_seconds",
                "What one who came now would wait.",
            ),
            admitted: counter("room_admitted_total", "Visitors let in."),
            guests: counter(
                "room_guests_total",
                "Newcomers who were let go on once, before anybody knew whether they keep cookies.",
            ),
            kept: counter(
                "room_tickets_kept_total",
                "Tickets, those of guests included, that have come back for the first time.",
            ),
            issued: counter(
                "room_tickets_issued_total",
                "Tickets given to those who have to wait.",
            ),
            left: counter("room_left_total", "Visitors who were quiet for too long."),
            no_shows: counter(
                "room_no_shows_total",
                "Tickets that were called and did not come in time.",
            ),
            returned: counter(
                "room_tickets_returned_total",
                "Tickets of an earlier process, or of another one beside us, that were counted.",
            ),
            waits: counter("room_waits_total", "Answers that said to wait."),
            refused: counters(
                registry,
                "room_tickets_refused_total",
                "Tickets that were as good as none, by why.",
                &["room", "why"],
            ),
        }
    }

    /// Reads the rooms of a configuration off.
    pub fn refresh(&self, rooms: &[Arc<WaitingRoom>]) {
        let all = [
            &self.inside,
            &self.carts,
            &self.capacity,
            &self.waiting,
            &self.expected_wait,
        ];
        for gauges in all {
            gauges.reset();
        }
        let counters = [
            &self.admitted,
            &self.guests,
            &self.issued,
            &self.kept,
            &self.left,
            &self.no_shows,
            &self.returned,
            &self.waits,
            &self.refused,
        ];
        for counters in counters {
            keep(counters, |label| {
                rooms.iter().any(|room| room.name == label("room"))
            });
        }
        for room in rooms {
            let (labels, figures) = ([room.name], room.figures());
            let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            for (gauges, value) in all.into_iter().zip([
                figures.inside as u64,
                figures.carts as u64,
                room.capacity().into(),
                figures.waiting.into(),
                figures.expected_wait.div_ceil(1_000),
            ]) {
                gauges.with_label_values(&labels).set(whole(value));
            }
            for (counters, value) in [
                (&self.admitted, figures.counts.admitted),
                (&self.guests, figures.counts.guests),
                (&self.issued, figures.counts.issued),
                (&self.kept, figures.counts.kept),
                (&self.left, figures.counts.left),
                (&self.no_shows, figures.counts.no_shows),
                (&self.returned, figures.counts.returned),
                (&self.waits, figures.waits),
            ] {
                let counter = counters.with_label_values(&labels);
                counter.inc_by(value.saturating_sub(counter.get()));
            }
            for (why, value) in figures.refused {
                let counter = self.refused.with_label_values(&[room.name, why]);
                counter.inc_by(value.saturating_sub(counter.get()));
            }
        }
    }
}
