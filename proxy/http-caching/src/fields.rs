//! Reading fields wherever they live, and the two shapes most of them have: a list (RFC 9110 §5.6.1)
//! or a single value.

use http::{HeaderMap, HeaderName};

/// The fields of one message, kept in a `HeaderMap` or still in a connection's buffer.
pub trait Fields {
    /// Calls `f` with the value of every field line of that name, in order. Values are raw bytes,
    /// already trimmed of optional whitespace.
    fn for_each(&self, name: &HeaderName, f: &mut dyn FnMut(&[u8]));

    /// Whether at least one field line has that name.
    fn contains(&self, name: &HeaderName) -> bool {
        self.count(name) > 0
    }

    /// How many field lines have that name.
    fn count(&self, name: &HeaderName) -> usize {
        let mut count = 0;
        self.for_each(name, &mut |_| count += 1);
        count
    }
}

impl Fields for HeaderMap {
    fn for_each(&self, name: &HeaderName, f: &mut dyn FnMut(&[u8])) {
        for value in self.get_all(name) {
            f(trim(value.as_bytes()));
        }
    }

    fn contains(&self, name: &HeaderName) -> bool {
        self.contains_key(name)
    }
}

impl<T: Fields + ?Sized> Fields for &T {
    fn for_each(&self, name: &HeaderName, f: &mut dyn FnMut(&[u8])) {
        (**self).for_each(name, f);
    }

    fn contains(&self, name: &HeaderName) -> bool {
        (**self).contains(name)
    }

    fn count(&self, name: &HeaderName) -> usize {
        (**self).count(name)
    }
}

/// Reads a field that may appear only once: `None` when it is absent or repeated.
pub(crate) fn with_single<R>(
    fields: &dyn Fields,
    name: &HeaderName,
    f: impl FnOnce(&[u8]) -> R,
) -> Option<R> {
    if fields.count(name) != 1 {
        return None;
    }
    let mut f = Some(f);
    let mut result = None;
    fields.for_each(name, &mut |value| {
        if let Some(f) = f.take() {
            result = Some(f(value));
        }
    });
    result
}

/// Strips optional whitespace (RFC 9110 §5.6.3) from both ends.
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether the byte may stand in a token (RFC 9110 §5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether the bytes form a token: at least one byte, and nothing but token bytes.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

/// The length of the quoted string (RFC 9110 §5.6.4) that `bytes` opens with, quotes included;
/// `None` when it does not end.
pub(crate) fn quoted_length(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes.iter().enumerate().skip(1);
    while let Some((at, byte)) = rest.next() {
        match byte {
            b'"' => return Some(at + 1),
            b'\\' => {
                rest.next();
            }
            _ => {}
        }
    }
    None
}

/// The members of a list (RFC 9110 §5.6.1), trimmed, the empty ones left out.
///
/// A comma inside a quoted string does not separate. A quote that never ends is no quote: hiding the
/// rest of the line behind it would hide directives such as `no-store`.
pub(crate) fn members(value: &[u8]) -> Members<'_> {
    Members { rest: value, quotes: true }
}

/// See [`members`].
pub(crate) struct Members<'a> {
    rest: &'a [u8],
    quotes: bool,
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let (member, rest) = self.rest.split_at(self.member_length());
            self.rest = rest.get(1..).unwrap_or_default();
            let member = trim(member);
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    }
}

impl Members<'_> {
    fn member_length(&mut self) -> usize {
        let mut at = 0;
        while let Some(byte) = self.rest.get(at) {
            at += match byte {
                b',' => return at,
                b'"' if self.quotes => quoted_length(&self.rest[at..]).unwrap_or_else(|| {
                    // Looking for the end once keeps the walk linear.
                    self.quotes = false;
                    1
                }),
                _ => 1,
            };
        }
        at
    }
}

#[cfg(test)]
mod tests;
