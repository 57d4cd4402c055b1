//! What is counted of waiting rooms.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    Registry,
    core::{Collector, Desc},
    proto::{Gauge, Metric, MetricFamily, MetricType},
};

use super::{
    families::{counter, described, family, labels},
    metrics::register,
};
use crate::admit::waiting_room::{Figures, WaitingRoom};

/// Gauges and counters by room. Rooms count for themselves, and are read off when someone asks: one that comes back by
/// its name has begun anew, and what is told of it begins anew, too.
#[derive(Clone)]
pub struct RoomMetrics {
    of_rooms: Vec<OfRooms>,
    refused: Desc,
    /// The rooms, as they were read off last.
    told: Arc<Mutex<Vec<Told>>>,
}

/// What is told of one room.
struct Told {
    name: &'static str,
    capacity: u32,
    figures: Figures,
}

/// One of the families that has a value for each room.
#[derive(Clone)]
struct OfRooms {
    desc: Desc,
    kind: MetricType,
    value: fn(&Told) -> u64,
}

impl OfRooms {
    fn metric(&self, told: &Told) -> Metric {
        let (labels, value) = (labels([("room", told.name)]), (self.value)(told));
        if self.kind == MetricType::COUNTER {
            return counter(labels, value);
        }
        let mut gauge = Gauge::default();
        gauge.set_value(value as f64);
        let mut metric = Metric::from_label(labels);
        metric.set_gauge(gauge);
        metric
    }
}

impl RoomMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        register(registry, Self::described())
    }

    fn described() -> prometheus::Result<Self> {
        let of_rooms = |kind, name: &str, help: &str, value| {
            let desc = described(&format!("dhal_room_{name}"), help, &["room"])?;
            prometheus::Result::Ok(OfRooms { desc, kind, value })
        };
        let gauge = |name, help, value| of_rooms(MetricType::GAUGE, name, help, value);
        let counter = |name, help, value| of_rooms(MetricType::COUNTER, name, help, value);
        Ok(Self {
            of_rooms: vec![
                gauge("inside", "Visitors inside.", |told| {
                    told.figures.inside as u64
                })?,
                gauge("carts", "Visitors inside with a cart.", |told| {
                    told.figures.carts as u64
                })?,
                gauge("capacity", "Visitors that may be inside.", |told| {
                    told.capacity.into()
                })?,
                gauge("waiting", "Visitors who wait.", |told| {
                    told.figures.waiting.into()
                })?,
                gauge(
                    "expected_wait_seconds",
                    "What one who came now would wait.",
                    |told| told.figures.expected_wait.div_ceil(1_000),
                )?,
                counter("admitted_total", "Visitors let in.", |told| {
                    told.figures.counts.admitted
                })?,
                counter(
                    "guests_total",
                    "Newcomers who were let go on once, before anybody knew whether they keep cookies.",
                    |told| told.figures.counts.guests,
                )?,
                counter(
                    "tickets_kept_total",
                    "Tickets, those of guests included, that have come back for the first time.",
                    |told| told.figures.counts.kept,
                )?,
                counter(
                    "tickets_issued_total",
                    "Tickets given to those who have to wait.",
                    |told| told.figures.counts.issued,
                )?,
                counter(
                    "left_total",
                    "Visitors who were quiet for too long.",
                    |told| told.figures.counts.left,
                )?,
                counter(
                    "no_shows_total",
                    "Tickets that were called and did not come in time.",
                    |told| told.figures.counts.no_shows,
                )?,
                counter(
                    "tickets_returned_total",
                    "Tickets of an earlier process, or of another one beside us, that were counted.",
                    |told| told.figures.counts.returned,
                )?,
                counter("waits_total", "Answers that said to wait.", |told| {
                    told.figures.waits
                })?,
            ],
            refused: described(
                "dhal_room_tickets_refused_total",
                "Tickets that were as good as none, by why.",
                &["room", "why"],
            )?,
            told: Arc::default(),
        })
    }

    /// Reads the rooms of a configuration off.
    pub fn refresh(&self, rooms: &[Arc<WaitingRoom>]) {
        let told = rooms.iter().map(|room| Told {
            name: room.name,
            capacity: room.capacity(),
            figures: room.figures(),
        });
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = told.collect();
    }
}

impl Collector for RoomMetrics {
    fn desc(&self) -> Vec<&Desc> {
        let of_rooms = self.of_rooms.iter().map(|family| &family.desc);
        of_rooms.chain([&self.refused]).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let of_rooms = self.of_rooms.iter().map(|of_rooms| {
            let metrics = told.iter().map(|told| of_rooms.metric(told));
            family(&of_rooms.desc, of_rooms.kind, metrics.collect())
        });
        let mut families: Vec<_> = of_rooms.collect();
        let refused = told.iter().flat_map(|told| {
            let whys = told.figures.refused.iter();
            whys.map(|(why, count)| counter(labels([("room", told.name), ("why", why)]), *count))
        });
        families.push(family(
            &self.refused,
            MetricType::COUNTER,
            refused.collect(),
        ));
        families
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use prometheus::{Encoder, TextEncoder};

    use super::*;
    use crate::{config, shared::Shared, snapshot::Snapshot};

    fn text(registry: &Registry) -> String {
        let mut text = Vec::new();
        let encoded = TextEncoder::new().encode(&registry.gather(), &mut text);
        encoded.expect("rendered");
        String::from_utf8(text).expect("text")
    }

    fn names(text: &str) -> BTreeSet<&str> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.split('{').next()).collect()
    }

    #[test]
    fn rooms_of_the_configuration_in_force_are_told_as_they_are() {
        let config = |rooms: &[&str]| {
            let mut text = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[upstreams.shop]\n\
                servers = [\"127.0.0.1:1\"]\n[[routes]]\nupstream = \"shop\"\n"
                .to_owned();
            for room in rooms {
                text += &format!(
                    "[waiting_rooms.{room}]\ncapacity = 7\n[[routes]]\npath = \"/{room}\"\n\
                     upstream = \"shop\"\nwaiting_room = \"{room}\"\n"
                );
            }
            let surroundings = config::Surroundings {
                folder: Path::new(""),
                env: &|_| None,
            };
            config::parse("test", &text, &surroundings)
                .expect("valid")
                .config
        };
        let (shared, _) = Shared::new(&config(&[]).cache, 1);
        let rooms_of = |names: &[&str]| {
            let snapshot = Snapshot::build(config(names), 1, &shared).expect("built");
            shared.adopt(&snapshot);
            snapshot.waiting_rooms
        };
        let registry = Registry::new();
        let metrics = RoomMetrics::new(&registry);
        assert_eq!(text(&registry), "", "no rooms");
        metrics.refresh(&rooms_of(&["sale", "vip"]));
        let both = text(&registry);
        assert_eq!(names(&both).len(), 14, "{both}");
        for line in [
            "# TYPE dhal_room_capacity gauge",
            "dhal_room_capacity{room=\"sale\"} 7",
            "# TYPE dhal_room_admitted_total counter",
            "dhal_room_admitted_total{room=\"vip\"} 0",
            "dhal_room_tickets_refused_total{room=\"sale\",why=\"forged\"} 0",
        ] {
            assert!(both.lines().any(|told| told == line), "{line} in {both}");
        }
        metrics.refresh(&rooms_of(&["vip"]));
        let one = text(&registry);
        assert!(!one.contains("sale") && one.contains("vip"), "{one}");
    }
}
