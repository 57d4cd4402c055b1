//! What `Cache-Control` says (RFC 9111 §5.2, RFC 5861), in a request or a response.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderName;
use http::header::CACHE_CONTROL;

use crate::fields::{Fields, is_token, is_token_byte, members, quoted_length};
use crate::freshness::{MAX_DELTA, delta_seconds};

/// The directives of a message, read once.
///
/// Doubt is settled against the cache: of several values of a directive the more restrictive counts,
/// a lifetime that cannot be read is zero (RFC 9111 §4.2.1), and a member that is not well formed can
/// restrict but never permit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// §5.2.1.5, §5.2.2.5
    pub no_store: bool,
    /// §5.2.1.4, §5.2.2.4, without field names, or with names that cannot be read
    pub no_cache: bool,
    /// §5.2.2.4: fields not to be sent again without validation, each once
    pub no_cache_fields: Vec<HeaderName>,
    /// §5.2.2.7, without field names, or with names that cannot be read
    pub private: bool,
    /// §5.2.2.7: fields meant for one visitor, each once
    pub private_fields: Vec<HeaderName>,
    /// §5.2.2.9
    pub public: bool,
    /// §5.2.2.2
    pub must_revalidate: bool,
    /// §5.2.2.8
    pub proxy_revalidate: bool,
    /// §5.2.2.3
    pub must_understand: bool,
    /// §5.2.1.6, §5.2.2.6
    pub no_transform: bool,
    /// RFC 8246
    pub immutable: bool,
    /// §5.2.1.7
    pub only_if_cached: bool,
    /// §5.2.1.1, §5.2.2.1
    pub max_age: Option<Duration>,
    /// §5.2.2.10
    pub s_maxage: Option<Duration>,
    /// RFC 5861 §3
    pub stale_while_revalidate: Option<Duration>,
    /// RFC 5861 §4
    pub stale_if_error: Option<Duration>,
    /// §5.2.1.2; without an argument any staleness will do, which is `MAX_DELTA`
    pub max_stale: Option<Duration>,
    /// §5.2.1.3
    pub min_fresh: Option<Duration>,
}

impl CacheControl {
    /// Reads every `Cache-Control` line of a message as one list.
    pub fn parse(fields: &dyn Fields) -> Self {
        let mut parsed = Self::default();
        fields.for_each(&CACHE_CONTROL, &mut |value| parsed.line(value));
        parsed
    }

    /// Reads the values of the `Cache-Control` lines of a message as one list.
    pub fn parse_values<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut parsed = Self::default();
        values.for_each(|value| parsed.line(value));
        parsed
    }

    fn line(&mut self, value: &[u8]) {
        for member in members(value) {
            let (name, argument) = match member.iter().position(|byte| *byte == b'=') {
                Some(at) => (&member[..at], Argument::parse(&member[at + 1..])),
                None => (member, Argument::Absent),
            };
            if is_token(name) && argument != Argument::Broken {
                self.directive(name, &argument);
            } else {
                // `private; max-age=60`, `max-age = 60`, `no-cache="Set-Cookie`: obey what restricts.
                for word in member.split(|byte| !is_token_byte(*byte)) {
                    self.directive(word, &Argument::Broken);
                }
            }
        }
    }

    fn directive(&mut self, name: &[u8], argument: &Argument<'_>) {
        let mut buffer = [0; LONGEST_NAME];
        let Some(lower) = buffer.get_mut(..name.len()) else {
            return;
        };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();

        let plain = *argument == Argument::Absent;
        let seconds = match argument {
            Argument::Value(value) => delta_seconds(value),
            Argument::Absent | Argument::Broken => None,
        };
        match &*lower {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache |= !argument.names_fields(&mut self.no_cache_fields),
            b"private" => self.private |= !argument.names_fields(&mut self.private_fields),
            b"public" => self.public |= plain,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand |= plain,
            b"no-transform" => self.no_transform = true,
            b"immutable" => self.immutable |= plain,
            b"only-if-cached" => self.only_if_cached |= plain,
            b"max-age" => lower_to(&mut self.max_age, seconds.unwrap_or_default()),
            b"s-maxage" => lower_to(&mut self.s_maxage, seconds.unwrap_or_default()),
            b"stale-while-revalidate" => {
                lower_to(&mut self.stale_while_revalidate, seconds.unwrap_or_default())
            }
            b"stale-if-error" => lower_to(&mut self.stale_if_error, seconds.unwrap_or_default()),
            b"max-stale" if plain => lower_to(&mut self.max_stale, MAX_DELTA),
            b"max-stale" => lower_to(&mut self.max_stale, seconds.unwrap_or_default()),
            b"min-fresh" => self.min_fresh = self.min_fresh.max(seconds),
            _ => {}
        }
    }
}

const LONGEST_NAME: usize = "stale-while-revalidate".len();

/// Of repeated durations the smaller counts.
fn lower_to(slot: &mut Option<Duration>, value: Duration) {
    *slot = Some(slot.map_or(value, |known| known.min(value)));
}

/// A list longer than this is held to name every field: comparing its names costs their square.
const MAX_FIELDS: usize = 32;

/// Adds a list of field names, as the qualified forms of §5.2.2.4 and §5.2.2.7 have it, to `names`;
/// false when it names something else, nothing, or more than [`MAX_FIELDS`].
pub(crate) fn field_names(list: &[u8], names: &mut Vec<HeaderName>) -> bool {
    let mut named = false;
    for member in members(list) {
        match HeaderName::from_bytes(member) {
            Ok(name) if names.contains(&name) => {}
            Ok(name) if names.len() < MAX_FIELDS => names.push(name),
            _ => return false,
        }
        named = true;
    }
    named
}

#[derive(PartialEq, Eq)]
enum Argument<'a> {
    Absent,
    Value(Cow<'a, [u8]>),
    Broken,
}

impl<'a> Argument<'a> {
    /// Adds the field names of the qualified form; false when it is not that form, or names something
    /// else, nothing, or more than [`MAX_FIELDS`].
    fn names_fields(&self, names: &mut Vec<HeaderName>) -> bool {
        match self {
            Self::Value(value) => field_names(value, names),
            Self::Absent | Self::Broken => false,
        }
    }

    /// A token or a quoted string; §5.2 lets either stand for the other.
    fn parse(bytes: &'a [u8]) -> Self {
        if is_token(bytes) {
            return Self::Value(Cow::Borrowed(bytes));
        }
        if bytes.first() != Some(&b'"') || quoted_length(bytes) != Some(bytes.len()) {
            return Self::Broken;
        }
        let inner = &bytes[1..bytes.len() - 1];
        if !inner.contains(&b'\\') {
            return Self::Value(Cow::Borrowed(inner));
        }
        let mut unescaped = Vec::with_capacity(inner.len());
        let mut rest = inner.iter();
        while let Some(byte) = rest.next() {
            let byte = if *byte == b'\\' { rest.next() } else { Some(byte) };
            unescaped.extend(byte);
        }
        Self::Value(Cow::Owned(unescaped))
    }
}

#[cfg(test)]
mod tests;
