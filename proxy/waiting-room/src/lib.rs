//! A waiting room: who comes in when more visitors come than there are places.
//!
//! [`Room`] decides; [`Ticket`]s carry what it has decided, signed by [`Keys`], so that what a room remembers is
//! bounded and may be lost. Nothing here does I/O or reads a clock: times are milliseconds since the Unix epoch,
//! given by the caller, who sees to it that they never go back.
//!
//! ```
//! use waiting_room::{Keys, Room, Rules, Verdict, Visitor};
//!
//! let rules = Rules { capacity: 1, ..Rules::default() };
//! let keys = Keys::new("sale", [("a", [7; 32].as_slice())]);
//! let now = 1_800_000_000_000;
//! let mut room = Room::new(rules, 7, now);
//! // A newcomer goes on, and is counted when its ticket comes back: then it gets a pass.
//! let Verdict::Guest { ticket: Some(ticket) } = room.arrive(Visitor::New(1), now) else { panic!() };
//! let read = keys.read(keys.write(&ticket, 0).as_bytes(), now).unwrap();
//! let first = room.arrive(Visitor::Holds(read), now);
//! assert!(matches!(first, Verdict::Inside { pass: Some(_), admitted: true, .. }));
//! let second = room.arrive(Visitor::New(2), now);
//! assert!(matches!(second, Verdict::Wait { told, .. } if told.place == Some(1)));
//! ```

mod base64;
mod inside;
mod order;
mod pace;
mod queue;
mod room;
mod rules;
mod ticket;

pub use order::Order;
pub use room::Room;
pub use rules::{Counts, Look, Phase, Rate, Rules, Told, Verdict, Visitor};
pub use ticket::{Keys, Kind, Read, Refusal, TEXT_LENGTH, Ticket};

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// Longest that a ticket may live and a pre-queue may last, added up: what a room's queue can tell apart.
pub const LIFE_MOST: Millis = queue::LIFE_MOST;
/// Longest pre-queue.
pub const EARLY_MOST: Millis = queue::LIFE_MOST / 8;
