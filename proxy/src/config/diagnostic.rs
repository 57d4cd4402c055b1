//! What is wrong with a configuration, and how it is shown.
//!
//! ```text
//! dhal.toml:6:1: error: unknown key `adress` in [[listeners]]
//!     adress = "127.0.0.1:8080"
//!     ^^^^^^
//! help: did you mean `address`?
//! ```

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use super::{
    literals,
    masking::{self, Secrets},
};

/// Characters shown before and after the start of a span where a line is too long to show whole.
const EXCERPT_BEFORE: usize = 60;
const EXCERPT_AFTER: usize = 100;

/// Characters of a value repeated in a message.
const SHOWN_MAX: usize = 60;

/// The configuration's text, shared by all diagnostics about it.
///
/// Where files are included their texts stand one behind the other, so that a byte's number says
/// both which file it is of and where it stands there.
#[derive(Debug, Clone)]
pub(super) struct Source {
    text: String,
    /// Where each line begins, over all files.
    lines: Vec<usize>,
    files: Vec<SourceFile>,
    /// What no message about it repeats.
    pub(super) secrets: Secrets,
    /// Where its texts hold secrets in the clear, found out when something is wrong with them.
    literals: OnceLock<Vec<Range<usize>>>,
}

#[derive(Debug, Clone)]
struct SourceFile {
    name: String,
    /// Where its relative paths start.
    folder: PathBuf,
    /// Its first byte.
    start: usize,
    /// Index of its first line.
    first_line: usize,
}

impl Source {
    pub(super) fn new(name: &str, folder: &Path, text: &str) -> Self {
        let mut source = Self {
            text: String::new(),
            lines: Vec::new(),
            files: Vec::new(),
            secrets: Secrets::default(),
            literals: OnceLock::new(),
        };
        source.add(name, folder, text);
        source
    }

    /// Puts a file behind those that are there; returns where it begins.
    pub(super) fn add(&mut self, name: &str, folder: &Path, text: &str) -> usize {
        if !self.files.is_empty() {
            // What is reported at the end of a file belongs to that file.
            self.text.push('\n');
        }
        self.literals = OnceLock::new();
        let start = self.text.len();
        self.files.push(SourceFile {
            name: name.to_owned(),
            folder: folder.to_owned(),
            start,
            first_line: self.lines.len(),
        });
        self.lines.push(start);
        let behind = text.match_indices('\n').map(|(at, _)| start + at + 1);
        self.lines.extend(behind);
        self.text += text;
        start
    }

    /// The texts of all files.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text of a span; empty where the span does not fit the text.
    pub(super) fn slice(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default()
    }

    /// The number of the line that holds this byte, from 1, within its file.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.line_index(at) + 1 - self.file(at).first_line
    }

    /// Another place, as messages name it: `line 7`, or `conf.d/shop.toml:7` where there are several files.
    pub(super) fn place(&self, at: usize) -> String {
        match self.files.len() {
            1 => format!("line {}", self.line_of(at)),
            _ => self.origin(at),
        }
    }

    /// The file and the line: `dhal.toml:7`.
    pub(super) fn origin(&self, at: usize) -> String {
        format!("{}:{}", self.file(at).name, self.line_of(at))
    }

    /// Where relative paths start that are written here.
    pub(super) fn folder(&self, at: usize) -> &Path {
        &self.file(at).folder
    }

    fn file(&self, at: usize) -> &SourceFile {
        let number = self.files.partition_point(|file| file.start <= at);
        &self.files[number.saturating_sub(1)]
    }

    fn line_index(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at).max(1) - 1
    }

    /// The line of this byte without its end, and where it begins.
    fn line(&self, at: usize) -> (&str, usize) {
        let index = self.line_index(at);
        let start = self.lines[index];
        let end = self
            .lines
            .get(index + 1)
            .map_or(self.text.len(), |next| next - 1);
        let line = self.text.get(start..end).unwrap_or_default();
        (line.strip_suffix('\r').unwrap_or(line), start)
    }

    /// The secrets in the clear that lie in a span, at least in part.
    fn literals(&self, span: Range<usize>) -> impl Iterator<Item = &Range<usize>> {
        let all = self.literals.get_or_init(|| {
            let ends = self.files.iter().skip(1).map(|file| file.start);
            let ends = ends.chain([self.text.len()]);
            let files = self.files.iter().zip(ends);
            let places = files.flat_map(|(file, end)| {
                let places = literals::hidden(self.slice(file.start..end));
                let moved = move |at: Range<usize>| at.start + file.start..at.end + file.start;
                places.into_iter().map(moved)
            });
            places.collect()
        });
        let first = all.partition_point(|place| place.end <= span.start);
        all[first..]
            .iter()
            .take_while(move |place| place.start < span.end)
    }

    /// A message about a span, without secrets.
    fn masked(&self, message: String, span: Range<usize>) -> String {
        let (line, start) = self.line(span.start);
        let span = start..span.end.max(start + line.len());
        let literals = self.literals(span).map(|place| self.slice(place.clone()));
        let message = masking::without(message, literals);
        self.secrets.masked(message)
    }

    /// The nearest start of a character at or before this byte.
    fn boundary(&self, at: usize) -> usize {
        self.text.floor_char_boundary(at.min(self.text.len()))
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// Legal, but probably not what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// A complaint about a value by someone who does not know where the value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    message: String,
    help: Option<String>,
}

impl Complaint {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }
}

impl Complaint {
    /// On one line, where there is no file to show.
    pub(super) fn sentence(self) -> String {
        match self.help {
            Some(help) => format!("{}: {help}", self.message),
            None => self.message,
        }
    }
}

impl From<String> for Complaint {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Complaint {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

/// A place in a file, for those who find out later what is wrong there. All of them are equal: where
/// something stands makes no difference to what it means.
#[derive(Clone)]
pub struct Anchor {
    source: Arc<Source>,
    span: Range<usize>,
}

impl Anchor {
    pub(super) fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        Self {
            source: Arc::clone(source),
            span,
        }
    }

    /// Of a configuration that no file holds.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        Self::new(&Arc::new(Source::new("test", Path::new(""), "")), 0..0)
    }

    /// What is wrong there, and what to do about it.
    pub fn complain(
        &self,
        severity: Severity,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Diagnostic {
        let complaint = Complaint {
            message: message.into(),
            help,
        };
        Diagnostic::new(severity, &self.source, self.span.clone(), complaint)
    }
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Two that mean the same look the same, wherever they stand.
        f.write_str("Anchor")
    }
}

impl PartialEq for Anchor {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Anchor {}

impl std::hash::Hash for Anchor {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

/// One thing that is wrong, with its place.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Bytes of the text it is about; empty where it is about the file as a whole.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    source: Arc<Source>,
}

impl Diagnostic {
    pub(super) fn new(
        severity: Severity,
        source: &Arc<Source>,
        span: Range<usize>,
        complaint: Complaint,
    ) -> Self {
        let start = source.boundary(span.start);
        let end = source.boundary(span.end).max(start);
        let (_, line_start) = source.line(start);
        Self {
            severity,
            line: source.line_of(start),
            column: source.slice(line_start..start).chars().count() + 1,
            span: start..end,
            message: source.masked(complaint.message, start..end),
            help: complaint.help.map(|help| source.masked(help, start..end)),
            source: Arc::clone(source),
        }
    }

    /// Name of the file, as it was given.
    pub fn file(&self) -> &str {
        &self.source.file(self.span.start).name
    }

    /// A text from elsewhere, without the secrets that the configuration takes from the environment.
    pub(super) fn masked(&self, text: String) -> String {
        self.source.secrets.masked(text)
    }

    /// The source line and the carets under the span.
    fn excerpt(&self) -> Option<(String, String)> {
        if self.span.end == 0 {
            return None;
        }
        let (line, line_start) = self.source.line(self.span.start);
        let before = self.column - 1;
        let skip = match line.chars().count() {
            long if long > EXCERPT_BEFORE + EXCERPT_AFTER => before.saturating_sub(EXCERPT_BEFORE),
            _ => 0,
        };
        let literals: Vec<_> = self
            .source
            .literals(line_start..line_start + line.len())
            .collect();
        // As many stars as there are characters: the carets stay where they belong.
        let starred = line.char_indices().map(|(at, c)| {
            let is_literal = literals
                .iter()
                .any(|place| place.contains(&(line_start + at)));
            if is_literal { '*' } else { c }
        });
        let shown: String = starred
            .skip(skip)
            .take(EXCERPT_BEFORE + EXCERPT_AFTER)
            .collect();
        // A tab stays a tab in the second line, so that the carets stand where the reader sees them.
        let indent: String = shown
            .chars()
            .take(before - skip)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let line_end = line_start + line.len();
        let marked = self
            .source
            .slice(self.span.start..self.span.end.min(line_end));
        let room = shown.chars().count().saturating_sub(before - skip);
        let width = marked.chars().count().min(room).max(1);
        Some((shown, indent + &"^".repeat(width)))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            severity,
            line,
            column,
            message,
            ..
        } = self;
        write!(f, "{}:{line}:{column}: {severity}: {message}", self.file())?;
        if let Some((source, carets)) = self.excerpt() {
            write!(f, "\n    {source}\n    {carets}")?;
        }
        match &self.help {
            Some(help) => write!(f, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

/// All diagnostics by position, an empty line between two, and their number at the end.
pub fn render(diagnostics: &[Diagnostic]) -> String {
    let mut sorted: Vec<_> = diagnostics.iter().collect();
    sorted.sort_by_key(|d| d.span.start);
    let mut text = String::new();
    for diagnostic in sorted {
        text += &format!("{diagnostic}\n\n");
    }
    text + &summary(diagnostics)
}

/// `2 errors, 1 warning`.
fn summary(diagnostics: &[Diagnostic]) -> String {
    [Severity::Error, Severity::Warning]
        .into_iter()
        .filter_map(|severity| {
            let count = diagnostics
                .iter()
                .filter(|d| d.severity == severity)
                .count();
            match count {
                0 => None,
                1 => Some(format!("1 {severity}")),
                _ => Some(format!("{count} {severity}s")),
            }
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// A value from the file as messages repeat it: in backticks, bounded, without control characters.
pub(super) fn shown(value: &str) -> String {
    let mut text: String = value
        .chars()
        .take(SHOWN_MAX)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if value.chars().nth(SHOWN_MAX).is_some() {
        text.push('…');
    }
    format!("`{text}`")
}

/// Help for a name that is not known: the likeliest one that was meant, or all that there are.
pub(crate) fn suggest<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => {
            let all: Vec<_> = known.map(|candidate| format!("`{candidate}`")).collect();
            format!("known here: {}", all.join(", "))
        }
    }
}

/// The one that was probably meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3))
        .min();
    near.map(|(_, candidate)| candidate)
}

/// Letters to change, add, remove or swap with a neighbour until one word is the other.
fn distance(from: &str, to: &str) -> usize {
    // A name this long is no slip of the finger, and the table below stays small.
    const LONGEST: usize = 64;
    let (from, to): (Vec<_>, Vec<_>) = (from.chars().collect(), to.chars().collect());
    if from.len().max(to.len()) > LONGEST {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for i in 0..=from.len() {
        for j in 0..=to.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let same = from[i - 1] == to[j - 1];
                let mut least = (rows[i - 1][j - 1] + usize::from(!same))
                    .min(rows[i - 1][j] + 1)
                    .min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_slips() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("address", "address", 0),
            ("adress", "address", 1),
            ("upsteram", "upstream", 1),
            ("ttl", "tls", 2),
        ] {
            assert_eq!(distance(from, to), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn suggests_the_nearest_or_lists_all() {
        let known = ["address", "tls"];
        assert_eq!(
            suggest("addres", known.into_iter()),
            "did you mean `address`?"
        );
        assert_eq!(
            suggest("zzzzzz", known.into_iter()),
            "known here: `address`, `tls`"
        );
        assert_eq!(
            suggest(&"z".repeat(10_000), known.into_iter()),
            "known here: `address`, `tls`"
        );
    }

    fn rendered(text: &str, span: Range<usize>) -> String {
        let source = Arc::new(Source::new("f", Path::new(""), text));
        Diagnostic::new(Severity::Error, &source, span, Complaint::new("no")).to_string()
    }

    #[test]
    fn carets_stand_under_the_span() {
        for (text, span, expected) in [
            ("a = 1\nb = 2\n", 6..7, "f:2:1: error: no\n    b = 2\n    ^"),
            (
                "a = 1\r\nb = 22\r\n",
                11..13,
                "f:2:5: error: no\n    b = 22\n        ^^",
            ),
            (
                "\ta = 'ঢাল' # x",
                5..16,
                "f:1:6: error: no\n    \ta = 'ঢাল' # x\n    \t    ^^^^^",
            ),
            // Over several lines: up to the end of the first.
            (
                "a = [\n1,\n]",
                4..10,
                "f:1:5: error: no\n    a = [\n        ^",
            ),
            // At the end of the text, past it, and about the file as a whole.
            ("a", 1..1, "f:1:2: error: no\n    a\n     ^"),
            ("a", 7..9, "f:1:2: error: no\n    a\n     ^"),
            ("a", 0..0, "f:1:1: error: no"),
        ] {
            assert_eq!(rendered(text, span), expected, "{text:?}");
        }
    }

    #[test]
    fn long_lines_are_cut_around_the_span() {
        let text = format!("{}HERE{}", "x".repeat(5000), "y".repeat(5000));
        let lines: Vec<_> = rendered(&text, 5000..5004)
            .lines()
            .map(str::to_owned)
            .collect();
        assert_eq!(lines[1].chars().count(), 164);
        let caret = lines[2].find('^').unwrap_or_default();
        assert_eq!(&lines[1][caret..caret + 4], "HERE");
    }
}
