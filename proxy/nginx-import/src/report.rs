//! What became of each directive.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

/// How far a directive was carried over; a greater one is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Dhal does the same, or needs no word for it.
    Translated,
    /// It is in force nowhere: something overrides it, or nothing uses it.
    Idle,
    /// Dhal does nearly the same; a comment says where it differs.
    Differs,
    /// It stands in the text as a comment.
    Missing,
}

/// A directive's name with everything that became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What became of these.
    pub outcome: Outcome,
    /// The directive.
    pub name: String,
    /// Where it stands, as `nginx.conf:12`.
    pub places: Vec<String>,
    /// Why it differs or is missing, each reason once.
    pub reasons: Vec<String>,
}

/// What was translated, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Directives in all.
    pub directives: usize,
    /// Those of them that Dhal does the same.
    pub translated: usize,
    /// Those that are in force nowhere.
    pub idle: usize,
    /// Those with a difference.
    pub differs: usize,
    /// Those that stand in comments only.
    pub missing: usize,
    /// Routes that are closed because what protected them could not be carried over.
    pub closed: Vec<String>,
    /// By outcome and name, the worst first.
    pub rows: Vec<Row>,
}

/// One directive, for the sum.
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a str,
    pub(crate) place: String,
    pub(crate) outcome: Outcome,
    pub(crate) reasons: &'a [String],
}

impl Report {
    pub(crate) fn of<'a>(entries: impl Iterator<Item = Entry<'a>>, closed: Vec<String>) -> Self {
        let mut report = Self {
            closed,
            ..Self::default()
        };
        let mut rows: BTreeMap<(std::cmp::Reverse<Outcome>, &str), Row> = BTreeMap::new();
        for entry in entries {
            report.directives += 1;
            *match entry.outcome {
                Outcome::Translated => &mut report.translated,
                Outcome::Idle => &mut report.idle,
                Outcome::Differs => &mut report.differs,
                Outcome::Missing => &mut report.missing,
            } += 1;
            let row = rows
                .entry((std::cmp::Reverse(entry.outcome), entry.name))
                .or_insert_with(|| Row {
                    outcome: entry.outcome,
                    name: entry.name.to_owned(),
                    places: Vec::new(),
                    reasons: Vec::new(),
                });
            row.places.push(entry.place);
            for reason in entry.reasons {
                if !row.reasons.contains(reason) {
                    row.reasons.push(reason.clone());
                }
            }
        }
        report.rows = rows.into_values().collect();
        report
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (outcome, title) in [
            (Outcome::Missing, "not translated"),
            (Outcome::Differs, "translated with a difference"),
            (Outcome::Idle, "in force nowhere"),
        ] {
            let rows: Vec<_> = self
                .rows
                .iter()
                .filter(|row| row.outcome == outcome)
                .collect();
            if rows.is_empty() {
                continue;
            }
            writeln!(f, "{title}:")?;
            for row in rows {
                writeln!(f, "  {}  {}", row.name, row.places.join(" "))?;
                for reason in &row.reasons {
                    writeln!(f, "      {reason}")?;
                }
            }
            writeln!(f)?;
        }
        if !self.closed.is_empty() {
            writeln!(f, "closed until you have looked at them:")?;
            for closed in &self.closed {
                writeln!(f, "  {closed}")?;
            }
            writeln!(f)?;
        }
        write!(
            f,
            "{} directives: {} translated, {} with a difference, {} not, {} in force nowhere",
            self.directives, self.translated, self.differs, self.missing, self.idle
        )
    }
}
