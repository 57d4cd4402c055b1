//! The page of a waiting room: HTML with placeholders, checked when it is loaded.

use std::{
    io::Read,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use waiting_room::Millis;

use super::{is_early, place, refresh_seconds, wait_seconds};
use crate::{
    admit::waiting_room::Notice, config::suggest, observe::process_log::timestamp, regular,
    respond::reply::Asked,
};

/// The page that is built in.
const BUILT_IN: &str = include_str!("page.html");
/// What somebody reads whose form has to wait. It never renews itself: the browser would ask again with GET, and nobody
/// would know that nothing was sent.
const UNSENT: &str = include_str!("unsent.html");
/// Bytes of a page: everybody who waits loads it again and again.
const MOST: usize = 256 * 1024;

/// A page in pieces.
#[derive(Clone)]
pub struct Template {
    pieces: Vec<Piece>,
    /// Bytes of the text between placeholders.
    length: usize,
}

#[derive(Clone)]
enum Piece {
    Text(String),
    Value(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Room,
    State,
    Place,
    PlaceBn,
    Ahead,
    AheadBn,
    Waiting,
    WaitingBn,
    Wait,
    WaitBn,
    Refresh,
    Progress,
    Opens,
    RequestId,
}

const VALUES: [(&str, Value); 14] = [
    ("room", Value::Room),
    ("state", Value::State),
    ("place", Value::Place),
    ("place_bn", Value::PlaceBn),
    ("ahead", Value::Ahead),
    ("ahead_bn", Value::AheadBn),
    ("waiting", Value::Waiting),
    ("waiting_bn", Value::WaitingBn),
    ("wait", Value::Wait),
    ("wait_bn", Value::WaitBn),
    ("refresh", Value::Refresh),
    ("progress", Value::Progress),
    ("opens", Value::Opens),
    ("request_id", Value::RequestId),
];

impl Template {
    /// Reads a page, or takes the one that is built in. The error is a sentence.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else {
            return Self::parse(BUILT_IN);
        };
        let cannot = |why| format!("cannot read the page {}: {why}", path.display());
        let mut octets = Vec::new();
        let file = regular::open(path).map_err(cannot)?;
        file.take(MOST as u64 + 1)
            .read_to_end(&mut octets)
            .map_err(cannot)?;
        if octets.len() > MOST {
            return Err(format!(
                "the page {} is larger than {MOST} bytes",
                path.display()
            ));
        }
        let text = String::from_utf8(octets)
            .map_err(|_| format!("the page {} is not UTF-8", path.display()))?;
        Self::parse(&text).map_err(|why| format!("{}{why}", path.display()))
    }

    /// Takes a page apart. A placeholder is a word of small letters and `_` in braces; other braces, as style sheets
    /// have them, are text.
    fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut begin, mut at, mut length) = (Vec::new(), 0, 0, 0);
        while let Some(open) = text[at..].find('{').map(|found| at + found) {
            at = open + 1;
            let Some(close) = text[at..].find('}').map(|found| at + found) else {
                break;
            };
            let word = &text[at..close];
            if word.is_empty() || !word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
                continue;
            }
            let Some((_, value)) = VALUES.iter().find(|(name, _)| *name == word) else {
                let line = text[..open].matches('\n').count() + 1;
                let help = suggest(word, VALUES.iter().map(|(name, _)| *name));
                return Err(format!(
                    ":{line}: there is no placeholder {{{word}}}; {help}"
                ));
            };
            pieces.push(Piece::Text(text[begin..open].to_owned()));
            pieces.push(Piece::Value(*value));
            length += open - begin;
            begin = close + 1;
            at = begin;
        }
        pieces.push(Piece::Text(text[begin..].to_owned()));
        length += text.len() - begin;
        Ok(Self { pieces, length })
    }

    /// The page for a visitor.
    pub(super) fn render(&self, notice: &Notice, asked: &Asked<'_>) -> String {
        let mut out = String::with_capacity(self.length + 256);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value(value) => put_escaped(&value.of(notice, asked), &mut out),
            }
        }
        out
    }
}

/// The page for somebody whose form was not sent, with a link to a path of the same host.
pub(super) fn unsent(back: &str, asked: &Asked<'_>) -> String {
    let escaped = |text: &str| {
        let mut out = String::new();
        put_escaped(text, &mut out);
        out
    };
    UNSENT
        .replace("{request_id}", &escaped(asked.request_id))
        .replace("{back}", &escaped(back))
}

impl Value {
    fn of(self, notice: &Notice, asked: &Asked<'_>) -> String {
        let place = place(notice);
        let number = |n: Option<u32>| n.map_or_else(|| "–".to_owned(), |n| n.to_string());
        let ahead = place.map(|place| place.saturating_sub(1));
        match self {
            Self::Room => notice.room.name.to_owned(),
            Self::State if is_early(notice) => "early".to_owned(),
            Self::State => "waiting".to_owned(),
            Self::Place => number(place),
            Self::PlaceBn => bengali(&number(place)),
            Self::Ahead => number(ahead),
            Self::AheadBn => bengali(&number(ahead)),
            Self::Waiting => notice.look.waiting.to_string(),
            Self::WaitingBn => bengali(&notice.look.waiting.to_string()),
            Self::Wait => in_words(wait_seconds(notice), ENGLISH),
            Self::WaitBn => bengali(&in_words(wait_seconds(notice), BENGALI)),
            Self::Refresh => refresh_seconds(notice).to_string(),
            Self::Progress => notice.look.told.map_or(0, |told| told.progress).to_string(),
            Self::Opens => notice.room.opens.map_or_else(String::new, date),
            Self::RequestId => asked.request_id.to_owned(),
        }
    }
}

/// `2026-11-27T06:00:00Z` (RFC 3339)
pub(super) fn date(millis: Millis) -> String {
    let mut text = timestamp(UNIX_EPOCH + Duration::from_millis(millis));
    // Without the milliseconds.
    text.truncate(text.len().saturating_sub(5));
    text.push('Z');
    text
}

/// How a language says less than a minute, minutes, and hours.
type Words = [&'static str; 4];
const ENGLISH: Words = [
    "less than a minute",
    "about a minute",
    "about # minutes",
    "about # hours",
];
const BENGALI: Words = ["এক মিনিটের কম", "প্রায় এক মিনিট", "প্রায় # মিনিট", "প্রায় # ঘণ্টা"];

fn in_words(seconds: u64, [moment, minute, minutes, hours]: Words) -> String {
    match seconds {
        ..50 => moment.to_owned(),
        50..90 => minute.to_owned(),
        90..7_200 => minutes.replace('#', &seconds.div_ceil(60).to_string()),
        _ => hours.replace('#', &seconds.div_ceil(3_600).to_string()),
    }
}

fn bengali(text: &str) -> String {
    let digit = |c: char| match c.to_digit(10) {
        Some(n) => char::from_u32('০' as u32 + n).unwrap_or(c),
        None => c,
    };
    text.chars().map(digit).collect()
}

fn put_escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_checked() {
        for text in [
            "",
            "{",
            "}{",
            "p{margin:0}",
            "{}",
            "{Place}",
            "{a b}",
            "{place",
            "{{place}}",
        ] {
            assert!(Template::parse(text).is_ok(), "{text}");
        }
        let wrong = Template::parse("<p>\n\n{plase}").err();
        assert_eq!(
            wrong.as_deref(),
            Some(":3: there is no placeholder {plase}; did you mean `place`?")
        );
        let values = |text: &str| {
            let pieces = Template::parse(text)
                .ok()
                .map(|t| t.pieces)
                .unwrap_or_default();
            pieces
                .iter()
                .filter(|piece| matches!(piece, Piece::Value(_)))
                .count()
        };
        assert_eq!(values("{place}{ahead} {x y}{wait}"), 3);
        assert!(values(BUILT_IN) > 10);
    }

    #[test]
    fn the_pages_are_small_and_ask_for_nothing_else() {
        for page in [BUILT_IN, UNSENT] {
            assert!(page.len() < 7 * 1024, "{}", page.len());
            for word in [
                "http://", "https://", "src=", "<link", "@import", "url(", "<script",
            ] {
                assert!(!page.contains(word), "{word}");
            }
        }
        assert!(!UNSENT.contains("http-equiv"), "it never renews itself");
    }

    #[test]
    fn times_in_words() {
        for (seconds, english, in_bengali) in [
            (1, "less than a minute", "এক মিনিটের কম"),
            (60, "about a minute", "প্রায় এক মিনিট"),
            (125, "about 3 minutes", "প্রায় ৩ মিনিট"),
            (7_300, "about 3 hours", "প্রায় ৩ ঘণ্টা"),
        ] {
            assert_eq!(in_words(seconds, ENGLISH), english);
            assert_eq!(bengali(&in_words(seconds, BENGALI)), in_bengali);
        }
        assert_eq!(date(1_795_759_200_000), "2026-11-27T06:00:00Z");
    }

    #[test]
    fn values_are_escaped() {
        let mut out = String::new();
        put_escaped("<a href=\"'&'\">", &mut out);
        assert_eq!(out, "&lt;a href=&quot;&#39;&amp;&#39;&quot;&gt;");
    }
}
