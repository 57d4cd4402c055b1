//! Where a text holds secrets in the clear: at keys that are named like one, and in fields set for the shop.
//!
//! Lines are shown because something is wrong with them, and maybe with all of the file. So this reads them without
//! asking whether they are TOML, and in doubt takes a value for a secret.

use std::ops::Range;

use super::secret;

/// Longest name between braces that is taken for a template's, as in `{client_ip}`.
const TEMPLATE_MAX: usize = 24;

/// Whether a place is within `request_headers`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    No,
    Headers,
    Values,
}

impl Within {
    fn below(self, key: &str) -> Self {
        match (self, key) {
            (Self::No, "request_headers") => Self::Headers,
            (Self::No, _) | (Self::Headers, "remove") => Self::No,
            _ => Self::Values,
        }
    }
}

/// A list or an inline table.
struct Frame {
    /// Where it opens.
    start: usize,
    is_list: bool,
    within: Within,
    is_hidden: bool,
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// Of the header above.
    section: Within,
    frames: Vec<Frame>,
    /// Of the key that is read, or whose value is.
    key: Vec<&'t str>,
    /// Another part of the key is to come.
    has_dot: bool,
    is_value: bool,
    /// Of the value at that key.
    within: Within,
    is_hidden: bool,
    /// Something is hidden on this line.
    line_is_hidden: bool,
    hidden: Vec<Range<usize>>,
}

/// The places of a file's text that are not to be shown, in their order.
pub(super) fn hidden(text: &str) -> Vec<Range<usize>> {
    let mut reader = Reader {
        text,
        at: 0,
        section: Within::No,
        frames: Vec::new(),
        key: Vec::new(),
        has_dot: false,
        is_value: false,
        within: Within::No,
        is_hidden: false,
        line_is_hidden: false,
        hidden: Vec::new(),
    };
    while reader.at < text.len() {
        reader.step();
    }
    reader.hidden
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// From here to the end of the line.
    fn line(&self) -> &'t str {
        self.rest().split('\n').next().unwrap_or_default()
    }

    fn step(&mut self) {
        let rest = self.rest();
        let Some(c) = rest.chars().next() else {
            return;
        };
        match c {
            '\n' => {
                self.at += 1;
                self.line_is_hidden = false;
                // A line that ends within a value without its end quote begins anew.
                if !self.in_list() {
                    self.next_key();
                }
                self.header();
            }
            c if c.is_whitespace() => self.at += c.len_utf8(),
            '#' => {
                let end = self.at + self.line().len();
                if self.line_is_hidden {
                    self.hidden.push(self.at + 1..end);
                }
                self.at = end;
            }
            '"' | '\'' => self.string(c),
            '[' if self.at == 0 && self.header() => {}
            '[' | '{' => {
                let (within, is_hidden) = self.context();
                let is_list = c == '[';
                self.at += 1;
                self.frames.push(Frame {
                    start: self.at - 1,
                    is_list,
                    within,
                    // A table's keys say for themselves what they are.
                    is_hidden: is_list && is_hidden,
                });
                if !is_list {
                    self.next_key();
                }
            }
            ']' | '}' => {
                self.at += 1;
                if let Some(frame) = self.frames.pop() {
                    self.within = frame.within;
                    self.is_hidden = frame.is_hidden;
                    self.is_value = true;
                }
            }
            ',' => {
                self.at += 1;
                if self.frames.last().is_some_and(|frame| !frame.is_list) {
                    self.next_key();
                }
            }
            '=' if !self.is_value || self.in_list() => {
                self.at += 1;
                // A list that was not closed ends where a key follows.
                if self.in_list() {
                    // What its own line goes on with stays where it is.
                    let start = self.text[..self.at].rfind('\n').unwrap_or(0);
                    self.frames.retain(|frame| frame.start > start);
                    if let Some(frame) = self.frames.last_mut() {
                        frame.is_list = false;
                    }
                }
                self.value_follows();
            }
            '.' if !self.is_value => {
                self.at += 1;
                self.has_dot = true;
            }
            _ => self.word(),
        }
    }

    fn in_list(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.is_list)
    }

    fn next_key(&mut self) {
        self.key.clear();
        self.has_dot = false;
        self.is_value = false;
        self.is_hidden = false;
        self.within = self.above();
    }

    /// Where the keys of this table are.
    fn above(&self) -> Within {
        self.frames
            .last()
            .map_or(self.section, |frame| frame.within)
    }

    fn value_follows(&mut self) {
        let above = self.above();
        self.within = self.key.iter().fold(above, |at, key| at.below(key));
        let is_secret = |key: &&str| secret::is_key(key.trim_end_matches(':'));
        self.is_hidden = self.within != Within::No || self.key.last().is_some_and(is_secret);
        self.is_value = true;
    }

    /// What holds for a value here.
    fn context(&self) -> (Within, bool) {
        match self.frames.last() {
            Some(frame) if frame.is_list => (frame.within, frame.is_hidden),
            _ => (self.within, self.is_hidden),
        }
    }

    /// `[section]` at the beginning of a line.
    fn header(&mut self) -> bool {
        let line = self.line().trim_start();
        let inner = line.strip_prefix('[').unwrap_or_default();
        let inner = inner.strip_prefix('[').unwrap_or(inner).trim_start();
        let is_name = inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !is_name {
            return false;
        }
        let name = inner
            .split([']', '#'])
            .next()
            .unwrap_or_default()
            .trim_end();
        // A list within a list that goes over several lines.
        if !self.frames.is_empty() && (name.contains(',') || ["true", "false"].contains(&name)) {
            return false;
        }
        let parts = name
            .split('.')
            .map(|part| part.trim().trim_matches(['"', '\'']));
        self.section = parts.fold(Within::No, Within::below);
        self.frames.clear();
        self.next_key();
        let line = self.line();
        let comment = line.find('#').unwrap_or(line.len());
        self.at += comment;
        true
    }

    /// A part of a key, or a value without quotes.
    fn word(&mut self) {
        let start = self.at;
        let line = self.line();
        let (_, is_hidden) = self.context();
        let length = match (self.is_value || self.in_list(), self.frames.is_empty()) {
            // What should have had quotes may hold anything.
            (true, true) if is_hidden => line.trim_end().len(),
            (true, _) => ends(line, &[',', ']', '}', '#', '=']),
            (false, _) => ends(line, &['.', '=', ',', '[', ']', '{', '}', '#', '"', '\'']),
        };
        self.at += length.max(line.chars().next().map_or(1, char::len_utf8));
        self.said(start..self.at);
    }

    fn string(&mut self, quote: char) {
        let rest = self.rest();
        let triple = if quote == '"' { "\"\"\"" } else { "'''" };
        let is_long = rest.starts_with(triple);
        let open = if is_long { 3 } else { 1 };
        let inner = match is_long {
            true => &rest[open..],
            false => &self.line()[open..],
        };
        let mut end = inner.len();
        let mut close = 0;
        let mut is_escaped = false;
        for (at, c) in inner.char_indices() {
            if is_escaped {
                is_escaped = false;
            } else if c == '\\' && quote == '"' {
                is_escaped = true;
            } else if c == quote && (!is_long || inner[at..].starts_with(triple)) {
                (end, close) = (at, open);
                break;
            }
        }
        let start = self.at + open;
        self.at = start + end + close;
        self.said(start..start + end);
    }

    /// Takes note of a word or of what is between quotes.
    fn said(&mut self, place: Range<usize>) {
        let is_value = self.is_value || self.in_list();
        let text = &self.text[place.clone()];
        if !is_value && (self.key.is_empty() || self.has_dot) {
            self.key.push(text);
            self.has_dot = false;
            return;
        }
        if self.in_list() {
            // It is a key where a `=` follows.
            self.key = vec![text];
        } else if !is_value {
            // The `=` is missing.
            self.value_follows();
        }
        let (within, is_hidden) = self.context();
        if is_hidden {
            self.hide(place, within);
        }
    }

    /// Hides a place but for references to the environment and to what is known of a request.
    fn hide(&mut self, place: Range<usize>, within: Within) {
        self.line_is_hidden = true;
        let mut start = place.start;
        let mut at = place.start;
        while let Some(found) = self.text[at..place.end].find('{') {
            let open = at + found;
            at = open + 1;
            let inner = &self.text[at..place.end];
            let Some((inner, _)) = inner.split_once('}') else {
                break;
            };
            let close = at + inner.len();
            let is_variable = self.text[place.start..open].ends_with('$');
            let (name, default) = inner.split_once(":-").unwrap_or((inner, ""));
            let letter = |c: char| c.is_ascii_lowercase() || "_.:-".contains(c);
            let of_variable = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let from = match is_variable {
                true if name.chars().all(of_variable) => open - 1,
                false
                    if within != Within::No
                        && inner.len() <= TEMPLATE_MAX
                        && inner.chars().all(letter) =>
                {
                    open
                }
                _ => continue,
            };
            self.put(start..from);
            if is_variable {
                self.put(close - default.len()..close);
            }
            start = close + 1;
            at = start;
        }
        self.put(start..place.end);
    }

    fn put(&mut self, place: Range<usize>) {
        if !place.is_empty() {
            self.hidden.push(place);
        }
    }
}

/// The length of a word that ends at white space or one of these.
fn ends(line: &str, at: &[char]) -> usize {
    line.find(|c: char| c.is_whitespace() || at.contains(&c))
        .unwrap_or(line.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with stars in the place of what is hidden.
    fn starred(text: &str) -> String {
        let hidden = hidden(text);
        assert!(hidden.is_sorted_by_key(|place| place.start), "{text}");
        let star = |(at, c): (usize, char)| match hidden.iter().any(|place| place.contains(&at)) {
            true if c != '\n' => '*',
            _ => c,
        };
        text.char_indices().map(star).collect()
    }

    #[test]
    fn literals_at_secret_keys_are_hidden() {
        for (text, expected) in [
            ("", ""),
            ("name = 'abc' # word", "name = 'abc' # word"),
            ("password = \"a\\\"b\" # c", "password = \"****\" #**"),
            (
                "x.\"x-api-key\" = 'abc'\nb = 'd'",
                "x.\"x-api-key\" = '***'\nb = 'd'",
            ),
            // Not TOML.
            ("token = abc def", "token = *******"),
            ("token 'abc'", "token '***'"),
            ("token: 'abc'", "token: '***'"),
            ("token = 'abc\nb = 'd'", "token = '***\nb = 'd'"),
            (
                "token = ['a',\n 'b'\nname = 'c'",
                "token = ['*',\n '*'\n**** = 'c'",
            ),
            (
                "token = [\n'a'\n[a]\nname = 'c'",
                "token = [\n'*'\n[a]\nname = 'c'",
            ),
            (
                "password = '''a\nbc'''\nd = 'e'",
                "password = '''*\n**'''\nd = 'e'",
            ),
            ("password = \"\"\"a\"b", "password = \"\"\"***"),
            // References stay.
            (
                "token = \"a${API_TOKEN}b${X_TOKEN:-cd}\"",
                "token = \"*${API_TOKEN}*${X_TOKEN:-**}\"",
            ),
            // A section that is called like a secret holds other things.
            (
                "[upstreams.token]\nname = 'a'",
                "[upstreams.token]\nname = 'a'",
            ),
            (
                "token_file = 'a'\nclient = { ca = 'b', secret = 'c' }\nkey = 'd'",
                "token_file = 'a'\nclient = { ca = 'b', secret = '*' }\nkey = 'd'",
            ),
        ] {
            assert_eq!(starred(text), expected, "{text}");
        }
    }

    #[test]
    fn literals_of_request_headers_are_hidden() {
        for (text, expected) in [
            (
                "request_headers = { set = { x-a = 'b{host}c', y = ['d', \"e\"] }, remove = ['f'] }",
                "request_headers = { set = { x-a = '*{host}*', y = ['*', \"*\"] }, remove = ['f'] }",
            ),
            (
                "request_headers = [ set = { x = 'a' }",
                "request_headers = [ *** = { x = '*' }",
            ),
            (
                "[routes.request_headers.set]\nx = 'a'\n[routes]\nx = 'a'",
                "[routes.request_headers.set]\nx = '*'\n[routes]\nx = 'a'",
            ),
            (
                "[[routes]]\nrequest_headers.add.x = 'a'\nresponse_headers.set.x = 'a'",
                "[[routes]]\nrequest_headers.add.x = '*'\nresponse_headers.set.x = 'a'",
            ),
            (
                "[routes.request_headers]\nset = { x = 'ঢাল }\nadd.x = y\nremove = ['z']",
                "[routes.request_headers]\nset = { x = '*****\nadd.x = *\nremove = ['*']",
            ),
        ] {
            assert_eq!(starred(text), expected, "{text}");
        }
    }
}
