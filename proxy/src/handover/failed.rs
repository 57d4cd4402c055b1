//! What operators are told of an upgrade that came to nothing.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::observe::process_log::timestamp;

/// Characters that are kept of the beginning, which says what happened, and of the end, where a program says why it gives
/// up.
const BEGINNING: usize = 200;
const END: usize = 600;

/// An upgrade that failed; the process that tells of it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedUpgrade {
    /// When it was over, in seconds since 1970.
    pub at: u64,
    /// Why it failed, in a line.
    pub why: String,
}

impl fmt::Display for FailedUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = timestamp(UNIX_EPOCH + Duration::from_secs(self.at));
        write!(f, "{at} failed: {}", self.why)
    }
}

/// The last one.
#[derive(Default)]
pub struct LastFailed(Mutex<Option<FailedUpgrade>>);

impl LastFailed {
    /// Remembers why there is no upgrade. One that was not begun, because another one is under way or serves already, is
    /// the business of who asked for it.
    pub(crate) fn note(&self, failure: &Failure, at: SystemTime) {
        if matches!(failure, Failure::Busy | Failure::Ending) {
            return;
        }
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let why = line(&failure.to_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(FailedUpgrade { at, why });
    }

    /// What is remembered.
    pub fn get(&self) -> Option<FailedUpgrade> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A text in a line that any terminal may be shown, without what is in its middle where it is long.
fn line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let line: Vec<char> = words.join(" ").chars().map(shown).collect();
    match line.len().checked_sub(END) {
        Some(end) if end > BEGINNING => {
            let (beginning, end) = (&line[..BEGINNING], &line[end..]);
            beginning
                .iter()
                .chain(&[' ', '…', ' '])
                .chain(end)
                .collect()
        }
        _ => line.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_told_in_a_line() {
        let last = LastFailed::default();
        last.note(&Failure::Busy, SystemTime::now());
        assert_eq!(last.get(), None);
        let failed = |ended: &str| Failure::NotTakenOver {
            why: "it gave up".to_owned(),
            ended: ended.to_owned(),
        };
        let at = UNIX_EPOCH + Duration::from_secs(784_111_777);
        last.note(&failed("it was ended, and said:\n\x1b[31mno\n  luck"), at);
        last.note(&Failure::Ending, SystemTime::now());
        assert_eq!(
            last.get().unwrap().to_string(),
            "1994-11-06T08:49:37.000Z failed: the new process did not take over: it gave up; it was ended, and said: \
             \u{fffd}[31mno luck"
        );
        last.note(&failed(&format!("{}the end", "ঢাল ".repeat(9_000))), at);
        let why = last.get().unwrap().why;
        assert_eq!(why.chars().count(), BEGINNING + 3 + END);
        assert!(why.starts_with("the new process did not") && why.ends_with("the end"));
    }
}
