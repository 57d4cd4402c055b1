//! What the environment's secrets are, and how they are kept out of messages.
//!
//! Whoever complains may repeat a value, shortened, in small letters or without what stands around it. So it is
//! not left to them to think of secrets: every message passes here.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::secret::{self, HIDDEN};

/// Shortest value that is masked: three letters stand in any message, and keep nothing secret.
const LEAST: usize = 4;
/// Characters of a longer one that are masked wherever they stand together: messages cut values off.
const PIECE: usize = 8;

/// Values of variables that hold secrets, as far as the configuration has made use of them; clones share them.
#[derive(Clone, Default)]
pub(super) struct Secrets(Arc<Mutex<Vec<Secret>>>);

struct Secret {
    /// As it is compared.
    value: Vec<char>,
    /// Stands in its place.
    instead: String,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    fn known(&self) -> MutexGuard<'_, Vec<Secret>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the values that a text takes from secret variables.
    pub(super) fn note(&self, text: &str, env: &dyn Fn(&str) -> Option<String>) {
        for name in secret::variables(text) {
            if !secret::is_variable(name) {
                continue;
            }
            let Some(value) = env(name).filter(|value| value.len() >= LEAST) else {
                continue;
            };
            let value: Vec<char> = value.chars().map(compared).collect();
            let mut known = self.known();
            if !known.iter().any(|secret| secret.value == value) {
                let instead = format!("${{{name}}}");
                known.push(Secret { value, instead });
            }
        }
    }

    /// The text with the names of variables in the place of their values.
    pub(super) fn masked(&self, text: String) -> String {
        let known = self.known();
        let secrets = known
            .iter()
            .map(|secret| (&secret.value[..], secret.instead.as_str()));
        let secrets: Vec<_> = secrets.collect();
        masked(text, &secrets)
    }
}

/// The text without what the file says in the clear.
pub(super) fn without<'t>(text: String, literals: impl Iterator<Item = &'t str>) -> String {
    let literals: Vec<Vec<char>> = literals
        .filter(|literal| literal.len() >= LEAST)
        .map(|literal| literal.chars().map(compared).collect())
        .collect();
    let literals: Vec<_> = literals
        .iter()
        .map(|literal| (&literal[..], HIDDEN))
        .collect();
    masked(text, &literals)
}

/// How a character is compared: names of hosts and fields are told in small letters, and control characters as
/// one that stands for them all.
fn compared(c: char) -> char {
    match c.is_control() {
        true => '\u{fffd}',
        false => c.to_ascii_lowercase(),
    }
}

/// Puts something else in the place of secrets, and of pieces of them.
fn masked(text: String, secrets: &[(&[char], &str)]) -> String {
    if secrets.is_empty() {
        return text;
    }
    let chars: Vec<char> = text.chars().map(compared).collect();
    let mut written = text.chars();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let longest = secrets
            .iter()
            .map(|(secret, instead)| (common(rest, secret), *instead))
            .max_by_key(|(length, _)| *length);
        match longest {
            Some((length, instead)) if length > 0 => {
                out += instead;
                written.by_ref().take(length).for_each(drop);
                at += length;
            }
            _ => {
                out.extend(written.next());
                at += 1;
            }
        }
    }
    out
}

/// How much of the secret the text begins with, from anywhere within the secret; 0 where that tells too little.
fn common(text: &[char], secret: &[char]) -> usize {
    let least = secret.len().min(PIECE);
    let lengths = (0..secret.len()).map(|from| {
        let pairs = secret[from..].iter().zip(text);
        pairs.take_while(|(one, other)| one == other).count()
    });
    lengths
        .max()
        .filter(|length| *length >= least)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        let value = match name {
            "API_TOKEN" => "Abcd-1234-efgh-5678",
            "PIN_SECRET" => "q7x9",
            "OLD_PASSWORD" => "no",
            "LONG_KEY" => "first\nsecond",
            "PORT" => "8080",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn messages_name_the_variable() {
        let secrets = Secrets::default();
        let file =
            "${API_TOKEN}${PIN_SECRET}${OLD_PASSWORD}${PORT}${UNSET_TOKEN:-other}${LONG_KEY}";
        secrets.note(file, &env);
        for (message, expected) in [
            ("", ""),
            ("no `8080`, nor `other`", "no `8080`, nor `other`"),
            ("no `Abcd-1234-efgh-5678`", "no `${API_TOKEN}`"),
            // In small letters, cut off at the end, or without its beginning.
            ("abcd-1234-efgh-5678.", "${API_TOKEN}."),
            ("`/x/Abcd-1234-…`", "`/x/${API_TOKEN}…`"),
            ("ঢ 1234-efgh-5678 ঢ", "ঢ ${API_TOKEN} ঢ"),
            // Too little of it.
            ("Abcd-12", "Abcd-12"),
            ("`aq7x9q7x9`", "`a${PIN_SECRET}${PIN_SECRET}`"),
            ("q7x", "q7x"),
            ("`first\u{fffd}second`", "`${LONG_KEY}`"),
            ("first\nsecond\n", "${LONG_KEY}\n"),
        ] {
            assert_eq!(secrets.masked(message.to_owned()), expected, "{message}");
        }
        assert_eq!(format!("{secrets:?}"), "Secrets");
    }

    #[test]
    fn nothing_is_masked_that_is_not_taken() {
        let secrets = Secrets::default();
        secrets.note("$${API_TOKEN} ${PORT}", &env);
        let message = "Abcd-1234-efgh-5678 8080".to_owned();
        assert_eq!(secrets.masked(message.clone()), message);
    }
}
