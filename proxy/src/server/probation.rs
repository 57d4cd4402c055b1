//! Whether visitors fare worse under a new configuration than before it.
//!
//! The rule is pure: what was counted before, what has been counted since, and the bounds. The rest remembers what
//! was counted when.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{config::model::Reload, observe::metrics::Totals};

/// Answers that take less are fast enough, however fast they were before: nobody notices.
const FAST_ENOUGH: Duration = Duration::from_millis(50);
/// The time before a reload that the time after it is compared with: at least a minute, so that it is about more
/// than a moment, and five at most, so that it is about now.
const BEFORE: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(300)];
/// Times at which was counted; one a second.
const SAMPLES: usize = 300;

/// What is known of a configuration on probation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Too few requests.
    Undecided,
    /// No worse than before.
    Fine,
    /// Worse, and in what way.
    Worse(Worse),
}

/// In what way.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Worse {
    /// Shares of 5xx in percent.
    Errors {
        /// Before.
        before: f64,
        /// Since.
        after: f64,
    },
    /// Times within which 99 of 100 answers came, in seconds.
    Slow {
        /// Before.
        before: f64,
        /// Since.
        after: f64,
    },
}

impl fmt::Display for Worse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errors { before, after } => {
                write!(
                    f,
                    "{after:.1} % of the answers are 5xx, {before:.1} % were before"
                )
            }
            Self::Slow { before, after } => {
                let [before, after] = [before, after].map(|seconds| seconds * 1_000.0);
                write!(
                    f,
                    "99 of 100 answers take up to {after:.0} ms, {before:.0} ms were enough before"
                )
            }
        }
    }
}

/// The rule. Without enough requests before, none of them is taken to have failed, and times are not compared.
pub(super) fn judge(before: &Totals, after: &Totals, bounds: &Reload) -> Verdict {
    if after.requests() < bounds.min_requests {
        return Verdict::Undecided;
    }
    let has_before = before.requests() >= bounds.min_requests;
    let share = |totals: &Totals| 100.0 * totals.errors as f64 / totals.requests() as f64;
    let errors = (if has_before { share(before) } else { 0.0 }, share(after));
    if errors.1 - errors.0 > bounds.max_5xx_percent as f64 {
        return Verdict::Worse(Worse::Errors {
            before: errors.0,
            after: errors.1,
        });
    }
    let times = has_before.then(|| p99(before).zip(p99(after))).flatten();
    if let Some((before, after)) = times
        && bounds.max_p99_factor > 0
        && after > FAST_ENOUGH.as_secs_f64()
        && after > before * bounds.max_p99_factor as f64
    {
        return Verdict::Worse(Worse::Slow { before, after });
    }
    Verdict::Fine
}

/// Seconds within which 99 of 100 answers came. What took longer than ten is left out: these are downloads and
/// WebSockets, and what a shop could not answer at all is a 5xx.
fn p99(totals: &Totals) -> Option<f64> {
    let counted = &totals.by_time[..Totals::BOUNDS.len()];
    let wanted = counted.iter().sum::<u64>() as f64 * 0.99;
    let (mut below, mut lower) = (0.0, 0.0);
    for (count, upper) in counted.iter().zip(Totals::BOUNDS) {
        let count = *count as f64;
        if count > 0.0 && below + count >= wanted {
            return Some(lower + (upper - lower) * (wanted - below) / count);
        }
        (below, lower) = (below + count, upper);
    }
    None
}

/// A configuration that has to prove itself.
#[derive(Debug, Clone)]
struct Trial {
    generation: u64,
    until: Duration,
    before: Totals,
    since: Totals,
    bounds: Reload,
}

/// What was counted when, and who is on probation. Times are since the process began.
#[derive(Default)]
pub struct Probation(Mutex<State>);

#[derive(Default)]
struct State {
    samples: VecDeque<(Duration, Totals)>,
    trial: Option<Trial>,
}

/// What comes of a look.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// That configuration is worse.
    Failed(u64, Worse),
    /// That configuration's time is over. `false` where it had too few requests to say more.
    Passed(u64, bool),
}

impl Probation {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A configuration has come into force. What it is compared with is the time before it, or before the one that
    /// it replaces, where that one was on probation itself.
    pub(super) fn begin(&self, generation: u64, bounds: &Reload, now: Duration, counted: Totals) {
        let mut state = self.state();
        let unproven = state.trial.take();
        if bounds.probation.is_zero() {
            return;
        }
        let window = bounds.probation.clamp(BEFORE[0], BEFORE[1]);
        let from = now.saturating_sub(window);
        let oldest = state.samples.iter().find(|(at, _)| *at >= from);
        let oldest = oldest.map_or_else(Totals::default, |(_, totals)| *totals);
        state.trial = Some(Trial {
            generation,
            until: now + bounds.probation,
            before: unproven.map_or_else(|| counted.since(&oldest), |trial| trial.before),
            since: counted,
            bounds: bounds.clone(),
        });
    }

    /// The configuration on probation has been read anew and is called otherwise now: it goes on to prove itself.
    pub(super) fn rename(&self, generation: u64) {
        if let Some(trial) = &mut self.state().trial {
            trial.generation = generation;
        }
    }

    /// Nothing is on probation any more.
    pub(super) fn end(&self) {
        self.state().trial = None;
    }

    /// Takes note of what has been counted, and says what comes of it.
    pub(super) fn look(&self, now: Duration, counted: Totals) -> Option<Outcome> {
        let mut state = self.state();
        if state.samples.len() == SAMPLES {
            state.samples.pop_front();
        }
        state.samples.push_back((now, counted));
        let trial = state.trial.as_ref()?;
        let verdict = judge(&trial.before, &counted.since(&trial.since), &trial.bounds);
        let (generation, is_over) = (trial.generation, now >= trial.until);
        let outcome = match verdict {
            // Until somebody has acted on it: what comes into force meanwhile is compared with the time before both.
            Verdict::Worse(why) => return Some(Outcome::Failed(generation, why)),
            Verdict::Fine if is_over => Outcome::Passed(generation, true),
            Verdict::Undecided if is_over => Outcome::Passed(generation, false),
            Verdict::Fine | Verdict::Undecided => return None,
        };
        state.trial = None;
        Some(outcome)
    }

    /// How long the configuration in force is on probation yet.
    pub fn left(&self, now: Duration) -> Option<Duration> {
        let state = self.state();
        let trial = state.trial.as_ref()?;
        Some(trial.until.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests;
