//! Groups of servers at a glance.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::upstream::{
    Server, Upstream,
    health::{
        refusals::Standing,
        state::{Note, Notes},
    },
};

/// An upstream.
#[derive(Debug, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Name.
    pub name: String,
    /// Whether stored responses answer in its place, because no server can.
    pub shop_window_open: bool,
    /// Its servers.
    pub servers: Vec<ServerStatus>,
    /// Connections to them.
    pub connections: ConnectionStatus,
    /// The limit on its requests at work, where it has one.
    #[serde(default)]
    pub concurrency: Option<ConcurrencyStatus>,
}

/// The limit on an upstream's requests at work.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConcurrencyStatus {
    /// Requests that may be at work, as learned.
    pub limit: usize,
    /// Those that are.
    pub at_work: usize,
    /// Those whose content is on its way to a server.
    #[serde(default)]
    pub uploads: usize,
    /// Those that wait.
    pub waiting: usize,
    /// Those of them that are checkout, cart, browse, bot.
    pub waiting_by_class: [usize; 4],
    /// Milliseconds until the head of an answer, of late.
    pub latency_ms: u64,
    /// Turned away so far: checkout, cart, browse, bot.
    pub shed: [u64; 4],
}

impl ConcurrencyStatus {
    pub(super) fn of(upstream: &Upstream, tick: Duration) -> Option<Self> {
        let concurrency = &upstream.lasting.concurrency;
        let state = concurrency.state(tick)?;
        let mut shed = [0; 4];
        for (class, _, count) in concurrency.sheds() {
            shed[class.index()] += count;
        }
        Some(Self {
            limit: state.limit,
            at_work: state.at_work,
            uploads: state.uploads,
            waiting: state.waiting,
            waiting_by_class: state.waiting_by,
            latency_ms: u64::try_from(state.latency.as_millis()).unwrap_or(u64::MAX),
            shed,
        })
    }
}

impl fmt::Display for ConcurrencyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [checkout, cart, browse, bot] = self.shed;
        write!(
            f,
            "{} of {} requests at work, {} uploads, {} wait, {} ms each; shed {checkout} checkout, \
             {cart} cart, {browse} browse, {bot} bot",
            self.at_work, self.limit, self.uploads, self.waiting, self.latency_ms
        )
    }
}

/// The connections to an upstream's servers.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConnectionStatus {
    /// Open now, idle ones included; over HTTP/2 those that carry the streams.
    pub open: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// Opened since the process began.
    pub opened: u64,
    /// Requests since then on one that was open already.
    pub reused: u64,
}

/// A server.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerStatus {
    /// As written.
    pub name: String,
    /// `up`, `down`, `ejected`, `draining`, `refusing` or `stalled`.
    pub state: String,
    /// Why, where it is known.
    pub reason: Option<String>,
    /// For how long, where it is known.
    pub since_seconds: Option<u64>,
    /// Requests it is working on.
    pub in_flight: usize,
    /// Its share of the requests relative to others.
    pub weight: u32,
    /// Whether it is asked only where no other is well.
    pub backup: bool,
}

impl ServerStatus {
    /// Of a server, at a time since the process began. What operators want goes before what checks find, and
    /// that before what visitors met.
    pub fn of(server: &Server, tick: Duration) -> Self {
        let state = &server.state;
        let Notes {
            health,
            ejection,
            drain,
        } = state.notes();
        let down = health.filter(|_| !state.is_up());
        let (word, note) = if server.is_draining() {
            let and_down = |mut note: Note| {
                if let Some(down) = &down {
                    note.why = format!("{}, and down: {}", note.why, down.why);
                }
                note
            };
            ("draining", drain.map(and_down))
        } else if !state.is_up() {
            ("down", down)
        } else if state.is_ejected(tick) {
            ("ejected", ejection)
        } else if state.standing(tick) != Standing::Well {
            ("refusing", None)
        } else if state.is_stalled(tick) {
            ("stalled", None)
        } else {
            let recovered = state.well_since(tick).map(|since| Note {
                since,
                why: String::new(),
            });
            ("up", recovered)
        };
        let since = note.as_ref().map(|note| tick.saturating_sub(note.since));
        Self {
            name: server.name.clone(),
            state: word.to_owned(),
            reason: note.map(|note| note.why).filter(|why| !why.is_empty()),
            since_seconds: since.map(|since| since.as_secs()),
            in_flight: state.in_flight(),
            weight: server.weight,
            backup: server.backup,
        }
    }
}

impl fmt::Display for ServerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut state = self.state.clone();
        if let Some(seconds) = self.since_seconds {
            state = format!("{state} {}", ago(seconds));
        }
        if let Some(reason) = &self.reason {
            state = format!("{state}: {reason}");
        }
        write!(
            f,
            "{:<22} {state:<32} {} in flight, weight {}",
            self.name, self.in_flight, self.weight
        )?;
        if self.backup {
            f.write_str(", backup")?;
        }
        Ok(())
    }
}

/// A time in its largest unit.
fn ago(seconds: u64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

impl ConnectionStatus {
    pub(super) fn of(upstream: &Upstream) -> Self {
        let servers = upstream.servers();
        let open = servers.iter().map(|s| upstream.open_connections(s));
        let waiting = servers.iter().map(|s| s.state.slots.waiting());
        Self {
            open: open.sum(),
            waiting: waiting.sum(),
            opened: upstream.counts.opened.get(),
            reused: upstream.counts.reused.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_server() {
        let server = |state: &str, reason: Option<&str>, since_seconds, backup| ServerStatus {
            name: "127.0.0.1:3000".to_owned(),
            state: state.to_owned(),
            reason: reason.map(str::to_owned),
            since_seconds,
            in_flight: 3,
            weight: 2,
            backup,
        };
        for (server, wanted) in [
            (
                server("down", Some("connection refused"), Some(12), false),
                "127.0.0.1:3000         down 12s: connection refused     3 in flight, weight 2",
            ),
            (
                server("up", None, None, true),
                "127.0.0.1:3000         up                               3 in flight, weight 2, backup",
            ),
            (
                server("up", None, Some(7_300), false),
                "127.0.0.1:3000         up 2h                            3 in flight, weight 2",
            ),
        ] {
            assert_eq!(server.to_string(), wanted);
        }
        assert_eq!([59, 60, 86_400].map(ago), ["59s", "1m", "1d"]);
    }
}
