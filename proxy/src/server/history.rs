//! The configurations that were or should have been in force: the last of them, for operators, and those that can be
//! put in force again.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::config::model::Config;

/// Reloads that are told of, and configurations that one can go back to.
const KEPT: usize = 10;
/// Bytes of their texts together: one of the largest kind twice. The oldest go first; those in force and before it
/// are kept in any case as what they mean.
const TEXTS_MAX: usize = 16 << 20;
/// Bytes of what is told of an error: some hundred mistakes.
const ERROR_MAX: usize = 16 << 10;

/// What brought a reload about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// The process began.
    Start,
    /// SIGHUP.
    Signal,
    /// `dhal reload`, or whoever else asks the admin endpoint.
    Admin,
    /// The files changed.
    Watch,
    /// `dhal reload --rollback`.
    Rollback,
    /// Visitors fared worse.
    Probation,
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Signal => "signal",
            Self::Admin => "admin",
            Self::Watch => "watch",
            Self::Rollback => "rollback",
            Self::Probation => "probation",
        })
    }
}

/// A reload, as the admin endpoint tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts up with every attempt.
    pub number: u64,
    /// Seconds since 1970.
    pub time: u64,
    /// What brought it about.
    pub trigger: Trigger,
    /// Whether it took effect.
    pub applied: bool,
    /// The configuration in force afterwards.
    pub generation: u64,
    /// The configuration that was put in force again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<u64>,
    /// What was wrong: why it did not take effect, or why another was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The beginning of its text's BLAKE3 hash, to tell texts apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = UNIX_EPOCH + Duration::from_secs(self.time);
        let outcome = match (self.applied, self.restored) {
            (true, None) => format!("configuration {} in force", self.generation),
            (true, Some(of)) => format!(
                "configuration {} in force, which is {of} again",
                self.generation
            ),
            (false, _) => format!("refused, configuration {} stays in force", self.generation),
        };
        write!(
            f,
            "{:<4} {}  {:<9}  {:<8}  {outcome}",
            self.number,
            httpdate::fmt_http_date(time),
            self.trigger.to_string(),
            self.text.as_deref().unwrap_or("-"),
        )?;
        for line in self.error.iter().flat_map(|error| error.lines()) {
            write!(f, "\n       {line}")?;
        }
        Ok(())
    }
}

/// A configuration that has been in force.
pub(super) struct Kept {
    /// As it was compiled; the files it names are read anew.
    pub(super) config: Config,
    /// What it was called when it came into force first.
    pub(super) generation: u64,
    text: Option<Arc<str>>,
    proven: AtomicBool,
}

impl Kept {
    /// Just in force.
    pub(super) fn new(
        config: Config,
        generation: u64,
        text: Option<Arc<str>>,
        proven: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            config,
            generation,
            text,
            proven: AtomicBool::new(proven),
        })
    }
}

/// The reloads of the process.
pub struct History(Mutex<State>);

struct State {
    /// The latest last.
    entries: VecDeque<(Entry, Option<Arc<str>>)>,
    number: u64,
    /// Configurations in force one after the other, the present one last. Going back takes it off.
    lineage: Vec<Arc<Kept>>,
    /// What the files hold is not what is in force.
    differs: bool,
}

/// What is to be noted of an attempt.
pub(super) struct Attempt {
    pub(super) trigger: Trigger,
    /// The configuration in force afterwards.
    pub(super) generation: u64,
    pub(super) restored: Option<u64>,
    pub(super) text: Option<Arc<str>>,
}

impl History {
    /// Of a process that begins with this configuration.
    pub(super) fn new(first: Arc<Kept>) -> Self {
        let text = first.text.clone();
        let history = Self(Mutex::new(State {
            entries: VecDeque::new(),
            number: 0,
            lineage: vec![first],
            differs: false,
        }));
        let attempt = Attempt {
            trigger: Trigger::Start,
            generation: 1,
            restored: None,
            text,
        };
        history.note(attempt, true, None);
        history
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an attempt.
    pub(super) fn note(&self, attempt: Attempt, applied: bool, error: Option<&str>) {
        let mut state = self.state();
        state.number += 1;
        state.differs = match attempt.trigger {
            Trigger::Rollback | Trigger::Probation => applied || state.differs,
            _ => !applied,
        };
        let digest = attempt.text.as_ref().map(|text| {
            let hash = blake3::hash(text.as_bytes()).to_hex();
            hash[..8].to_owned()
        });
        let entry = Entry {
            number: state.number,
            time: UNIX_EPOCH.elapsed().unwrap_or_default().as_secs(),
            trigger: attempt.trigger,
            applied,
            generation: attempt.generation,
            restored: attempt.restored,
            error: error.map(|error| cut(error, ERROR_MAX)),
            text: digest,
        };
        if state.entries.len() == KEPT {
            state.entries.pop_front();
        }
        state.entries.push_back((entry, attempt.text));
        let mut bytes = 0;
        for (_, text) in state.entries.iter_mut().rev() {
            bytes += text.as_ref().map_or(0, |text| text.len());
            if bytes > TEXTS_MAX {
                *text = None;
            }
        }
    }

    /// Notes what is in force now; says whether it is another. One with the text of the one before takes its place:
    /// nobody would want to go back from one to the other.
    pub(super) fn came_into_force(&self, kept: Arc<Kept>) -> bool {
        let mut state = self.state();
        let same = |last: &&Arc<Kept>| last.text.is_some() && last.text == kept.text;
        let replaced = match state.lineage.last().filter(same) {
            Some(last) => {
                let is_proven = last.proven.load(Ordering::Relaxed);
                kept.proven.store(is_proven, Ordering::Relaxed);
                state.lineage.pop()
            }
            None => None,
        };
        if state.lineage.len() > KEPT {
            // The latest that has proven itself stays, however many come after it: a probation goes back to it.
            let mut lineage = state.lineage.iter();
            let proven = lineage.rposition(|kept| kept.proven.load(Ordering::Relaxed));
            let oldest = usize::from(proven == Some(0));
            state.lineage.remove(oldest);
        }
        state.lineage.push(kept);
        replaced.is_none()
    }

    /// The configuration before the present one; of those that have proven themselves, where that is asked for.
    pub(super) fn before(&self, only_proven: bool) -> Option<Arc<Kept>> {
        let state = self.state();
        let (_, before) = state.lineage.split_last()?;
        let mut before = before.iter().rev();
        let found = before.find(|kept| !only_proven || kept.proven.load(Ordering::Relaxed));
        found.map(Arc::clone)
    }

    /// Goes back to one of them.
    pub(super) fn went_back(&self, to: &Arc<Kept>) {
        let mut state = self.state();
        if let Some(at) = state.lineage.iter().rposition(|kept| Arc::ptr_eq(kept, to)) {
            state.lineage.truncate(at + 1);
        }
    }

    /// The present one.
    pub(super) fn present(&self) -> Option<Arc<Kept>> {
        self.state().lineage.last().cloned()
    }

    /// Whether it is the present one yet, or one with its text is.
    pub(super) fn is_still(&self, kept: &Option<Arc<Kept>>) -> bool {
        let (Some(present), Some(kept)) = (self.present(), kept) else {
            return false;
        };
        Arc::ptr_eq(&present, kept) || present.text.is_some() && present.text == kept.text
    }

    /// The present one has passed its probation.
    pub(super) fn has_proven_itself(&self) {
        if let Some(kept) = self.state().lineage.last() {
            kept.proven.store(true, Ordering::Relaxed);
        }
    }

    /// The text of a configuration, where it is known.
    pub(super) fn text_of(kept: &Kept) -> Option<Arc<str>> {
        kept.text.clone()
    }

    /// The last reloads, the latest first.
    pub fn entries(&self) -> Vec<Entry> {
        let state = self.state();
        let entries = state.entries.iter().rev();
        entries.map(|(entry, _)| entry.clone()).collect()
    }

    /// The text of one of them.
    pub fn text(&self, number: u64) -> Option<Arc<str>> {
        let state = self.state();
        let mut entries = state.entries.iter();
        entries.find(|(entry, _)| entry.number == number)?.1.clone()
    }

    /// Whether the files hold something else than what is in force: it was refused or taken back.
    pub fn differs_from_file(&self) -> bool {
        self.state().differs
    }
}

/// At most so many bytes of a text.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}\n(and more)", &text[..text.floor_char_boundary(most)])
}

#[cfg(test)]
mod tests;
