//! What reading and compiling share: the text, the world outside, and the complaints so far.

use std::{ops::Range, path::PathBuf, sync::Arc};

use toml::{Spanned, de::DeValue};

use super::{
    Surroundings,
    diagnostic::{Anchor, Complaint, Diagnostic, Severity, Source},
    env,
    scalar::FilePath,
    secret::HIDDEN,
};

/// A value of the file, with its place.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// Passed through all of it.
pub(super) struct Context<'a> {
    pub(super) outside: &'a Surroundings<'a>,
    pub(super) source: Arc<Source>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Context<'_> {
    pub(super) fn error(&mut self, span: Range<usize>, complaint: impl Into<Complaint>) {
        self.report(Severity::Error, span, complaint.into());
    }

    pub(super) fn warning(&mut self, span: Range<usize>, complaint: impl Into<Complaint>) {
        self.report(Severity::Warning, span, complaint.into());
    }

    fn report(&mut self, severity: Severity, span: Range<usize>, complaint: Complaint) {
        let diagnostic = Diagnostic::new(severity, &self.source, span, complaint);
        self.diagnostics.push(diagnostic);
    }

    /// A place that may be complained about when files are read.
    pub(super) fn anchor(&self, span: Range<usize>) -> Anchor {
        Anchor::new(&self.source, span)
    }

    /// A path of the file, relative to the folder of the file that it is written in.
    pub(super) fn path(&self, path: &FilePath) -> PathBuf {
        path.1.join(&path.0)
    }

    /// Another place, as messages name it: `line 7`, or `conf.d/shop.toml:7` where there are several files.
    pub(super) fn line(&self, span: &Range<usize>) -> String {
        self.source.place(span.start)
    }

    pub(super) fn wrong_type(&mut self, value: &Value<'_>, wanted: &str) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a bare number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let mut complaint = Complaint::new(format!("expected {wanted}, found {found}"));
        let header = self.source.slice(value.span());
        if let Some(name) = header.strip_prefix("[[").and_then(|h| h.strip_suffix("]]")) {
            complaint = complaint.help(format!("write `[{name}]`, once"));
        } else if let (DeValue::Table(_), Some(name)) = (
            value.get_ref(),
            header.strip_prefix('[').and_then(|h| h.strip_suffix(']')),
        ) {
            complaint = complaint.help(format!("write `[[{name}]]`, once for each"));
        }
        self.error(value.span(), complaint);
    }

    /// A string with its references to the environment expanded.
    pub(super) fn text(&mut self, value: &Value<'_>, wanted: &str) -> Option<String> {
        let DeValue::String(text) = value.get_ref() else {
            self.wrong_type(value, wanted);
            return None;
        };
        self.source.secrets.note(text, self.outside.env);
        let expanded = env::expand(text, self.outside.env);
        let is_default = || text.contains(&format!(":-{HIDDEN}"));
        let is_hidden = |expanded: &String| expanded.contains(HIDDEN) && is_default();
        if text == HIDDEN || expanded.as_ref().is_ok_and(is_hidden) {
            let complaint = Complaint::new(format!(
                "`{HIDDEN}` stands in the place of a secret where a configuration is printed, and is none itself"
            ));
            let help = "write the secret, or `${NAME}` and set that variable";
            self.error(value.span(), complaint.help(help));
            return None;
        }
        match expanded {
            Ok(text) => Some(text),
            Err(complaints) => {
                for (part, complaint) in complaints {
                    let span = self.part_of(value.span(), text, part);
                    self.error(span, complaint);
                }
                None
            }
        }
    }

    /// The place in the file of a part of a string; all of it where escapes shift the positions.
    fn part_of(&self, span: Range<usize>, text: &str, part: Range<usize>) -> Range<usize> {
        match self.source.slice(span.clone()).find(text) {
            Some(quote) => {
                let start = span.start + quote;
                start + part.start..start + part.end
            }
            None => span,
        }
    }

    /// A string that takes the place of a number or boolean because it reads the environment:
    /// TOML has no other way to write that.
    pub(super) fn expanded(&mut self, value: &Value<'_>, wanted: &str) -> Option<Option<String>> {
        match value.get_ref() {
            DeValue::String(text) if text.contains("${") => self.text(value, wanted).map(Some),
            _ => Some(None),
        }
    }
}
