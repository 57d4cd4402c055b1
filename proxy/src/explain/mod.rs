//! What would become of a request, and why, without anything becoming of it.
//!
//! A [`Question`] is read as a door of HTTP/1.1 reads a request, and decided by the same
//! [`decide`](crate::edge::decide()), with an observer (`edge/observer.rs`) that works on copies: nothing is counted
//! and nothing moves. What the decision comes to, and what lies beyond it (servers, the request as they would get it),
//! is told in [steps](Step), the same for people and for programs.

mod cache;
mod limits;
mod question;
mod recorder;
mod routes;
mod sent;
mod story;
mod upstream;

use std::{fmt::Write as _, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use question::{Question, Wrong};

use crate::{edge::decide::Now, shared::Shared, snapshot::Snapshot};

/// Of the shape of an [`Explanation`]. Keys are added without another number.
pub const VERSION: u32 = 1;

/// What is asked.
pub struct Scene<'a> {
    /// The configuration.
    pub snapshot: &'a Arc<Snapshot>,
    /// State of the process, or of none.
    pub shared: &'a Arc<Shared>,
    /// As of when.
    pub now: Now,
    /// Whether it is an edge at work. Of a file alone nobody knows what is stored, who is well, and who has come.
    pub is_running: bool,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// [`VERSION`].
    pub version: u32,
    /// `running`, or `file`.
    pub source: String,
    /// Which configuration of the running edge.
    pub generation: Option<u64>,
    /// The method.
    pub method: String,
    /// As it was asked for.
    pub url: String,
    /// From top to bottom.
    pub steps: Vec<Step>,
    /// What it comes to.
    pub outcome: Outcome,
}

/// A step on the way of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// One of `listener`, `client`, `request`, `lists`, `route`, `body`, `limit`, `room`, `serves`, `cache`, `store`,
    /// `places`, `upstream`, `sent`, `note`; some come several times.
    pub step: String,
    /// A line for people.
    pub said: String,
    /// Further lines for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<String>,
    /// The same for programs.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
}

impl Step {
    fn new(step: &str, said: impl Into<String>) -> Self {
        Self {
            step: step.to_owned(),
            said: said.into(),
            more: Vec::new(),
            facts: Map::new(),
        }
    }

    fn with(mut self, fact: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(fact.to_owned(), value.into());
        self
    }

    fn line(mut self, line: impl Into<String>) -> Self {
        self.more.push(line.into());
        self
    }
}

/// What it comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// `respond` (from the store), `fetch` (for the store), `forward` (past it), `own` (by its route), `redirect`,
    /// `reject`, `delay`, `wait` or `challenge`.
    pub decision: String,
    /// Where it is known before anybody is asked.
    pub status: Option<u16>,
    /// Name of the route.
    pub route: Option<String>,
    /// `Cache-Status` as far as it is known: without `ttl`, and without what the answer of a shop adds.
    pub cache: Option<String>,
    /// `admitted`, `would_reject`, `delayed` or `rejected`, where a limit counts the request.
    pub limit: Option<String>,
    /// How long it is held back, in milliseconds.
    pub delay_ms: Option<u64>,
    /// Why it is refused, as the access log has it.
    pub reason: Option<String>,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// The server that would be asked, where it is known.
    pub server: Option<String>,
    /// All of it in a line.
    pub said: String,
}

/// Says what would become of a request.
///
/// # Errors
/// The question cannot be meant.
pub fn explain(scene: &Scene<'_>, question: &Question) -> Result<Explanation, Wrong> {
    story::tell(scene, question)
}

/// Width of the names of steps.
const MARGIN: usize = 10;

impl Explanation {
    /// For people: a line for each step, and what belongs to it below. `colour` is for terminals.
    pub fn text(&self, colour: bool) -> String {
        let paint = |code: &str, text: &str| match colour {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        };
        let by = match self.generation {
            Some(generation) => format!("the running edge, configuration {generation}"),
            None => "the file alone: what an edge remembers is unknown".to_owned(),
        };
        let mut out = format!(
            "{} {}\n",
            paint("1", &self.method),
            paint("1", &plain(&self.url))
        );
        let _ = writeln!(out, "{} {by}", paint("2", &format!("{:<MARGIN$}", "by")));
        for step in &self.steps {
            let name = paint("36", &format!("{:<MARGIN$}", step.step));
            let _ = writeln!(out, "{name} {}", plain(&step.said));
            for line in &step.more {
                let _ = writeln!(out, "{:<MARGIN$}   {}", "", plain(line));
            }
        }
        let good = matches!(self.outcome.status, None | Some(..400));
        let said = paint(
            if good { "1;32" } else { "1;31" },
            &plain(&self.outcome.said),
        );
        let _ = writeln!(
            out,
            "{} {said}",
            paint("1", &format!("{:<MARGIN$}", "answer"))
        );
        out
    }
}

/// Without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A length of time as people read it.
fn span(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if time.subsec_millis() == 0 => "0 s".to_owned(),
        0 => format!("{} ms", time.subsec_millis()),
        1..10 if time.subsec_millis() >= 50 => format!("{:.1} s", time.as_secs_f64()),
        1..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        7_200..172_800 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} days {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A number of bytes as people read it.
fn bytes(count: u64) -> String {
    match count {
        0..10_240 => format!("{count} bytes"),
        10_240..10_485_760 => format!("{} KiB", count / 1_024),
        _ => format!("{} MiB", count / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_and_sizes_are_told_in_words() {
        for (millis, wanted) in [
            (0, "0 s"),
            (7, "7 ms"),
            (1_000, "1 s"),
            (1_500, "1.5 s"),
            (59_900, "59 s"),
            (125_000, "2 min 5 s"),
            (7_260_000, "2 h 1 min"),
            (200_000_000, "2 days 7 h"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), wanted);
        }
        for (count, wanted) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 KiB"),
            (20 << 20, "20 MiB"),
        ] {
            assert_eq!(bytes(count), wanted);
        }
    }

    #[test]
    fn a_terminal_obeys_nothing_of_a_request() {
        assert_eq!(plain("a\u{1b}[31m\r\nb"), "a\u{fffd}[31m\u{fffd}\u{fffd}b");
    }
}
