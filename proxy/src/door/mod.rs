//! Doors turn bytes into a [`RequestView`](crate::edge::RequestView) and a
//! [`Decision`](crate::edge::Decision) into bytes.
//!
//! `h1` and `h2` answer hits, redirects and refusals themselves. What needs a shop in person goes to
//! [`crate::forward`], of which they are the visitor's side.

mod fetched;
pub mod h1;
pub mod h2;
mod linger;
mod outgoing;
pub(crate) mod pace;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A client that takes nothing for this long is given up.
pub(crate) const STALLED: Duration = Duration::from_secs(30);

use http_caching::Fields;

use crate::{
    edge::decide::Now,
    fill::Filler,
    listen::{handshake::Turns, places::Places},
    random,
    respond::fields::X_REQUEST_ID,
    shared::{Current, Shared},
    upstream::Pool,
};

/// What every door on a thread works with.
pub struct Hall {
    /// The configuration in force.
    pub current: Current,
    /// State of the process.
    pub shared: Arc<Shared>,
    /// Idle connections to the upstreams; one per thread, so that they stay on their runtime.
    pub pool: Arc<Pool>,
    /// Fetches for the store; one per thread, for the same reason.
    pub filler: Arc<Filler>,
    /// Where its TLS handshakes take turns.
    pub turns: Turns,
    /// Its connections.
    pub places: Arc<Places>,
    /// When the process began.
    pub started: Instant,
}

impl Hall {
    /// The time, read once per request.
    pub fn now(&self) -> Now {
        Now {
            wall: std::time::SystemTime::now(),
            tick: self.started.elapsed(),
        }
    }
}

/// The id of a request.
pub(crate) enum RequestId {
    Own([u8; 32]),
    /// By a proxy that is trusted.
    Given(Box<str>),
}

impl RequestId {
    /// What a trusted proxy says, else a new one.
    fn of(fields: &dyn Fields, trusted: bool) -> Self {
        let mut given = None;
        if trusted {
            fields.for_each(&X_REQUEST_ID, &mut |value| {
                let sound =
                    (1..=128).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
                if sound && given.is_none() {
                    given = std::str::from_utf8(value).ok().map(Into::into);
                }
            });
        }
        given.map_or_else(|| Self::Own(random::id()), Self::Given)
    }

    fn as_str(&self) -> &str {
        match self {
            // Digits.
            Self::Own(id) => std::str::from_utf8(id).unwrap_or_default(),
            Self::Given(id) => id,
        }
    }
}

fn new_request_id() -> String {
    random::id().into_iter().map(char::from).collect()
}
