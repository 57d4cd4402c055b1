//! Lines of a head: where they are, and what a field line may look like (RFC 9112 §5).

use http::{HeaderMap, HeaderName, HeaderValue};
use http_caching::Fields;

use crate::{
    Refusal, bad,
    syntax::{is_control, is_token},
};

/// Longest field name; beyond it `431`. No field is called that, and others count such a length in a byte.
pub(crate) const MAX_FIELD_NAME: usize = 255;

/// A part of the connection's buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

/// Which names may be among the fields. Most questions are about names that are not, and this answers them
/// without a look at the lines.
#[derive(Debug, Clone, Copy, Default)]
struct Names(u64);

impl Names {
    fn bit(name: &[u8]) -> u64 {
        let (first, last) = match name {
            [first, .., last] => (*first, *last),
            [only] => (*only, *only),
            [] => (0, 0),
        };
        let lower = |byte: u8| usize::from(byte | 0x20);
        1 << ((name.len() + 5 * lower(first) + 11 * lower(last)) & 63)
    }

    fn add(&mut self, name: &[u8]) {
        self.0 |= Self::bit(name);
    }

    fn may_hold(self, name: &[u8]) -> bool {
        self.0 & Self::bit(name) != 0
    }
}

/// Where the field lines of a head are. Reused from message to message.
#[derive(Debug, Default)]
pub(crate) struct FieldTable {
    lines: Vec<(Span, Span)>,
    names: Names,
}

impl FieldTable {
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        self.names = Names::default();
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Adds a line of `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8], name: Span, value: Span) {
        self.names.add(name.of(bytes));
        self.lines.push((name, value));
    }

    pub(crate) fn of<'a>(&'a self, bytes: &'a [u8]) -> RawFields<'a> {
        RawFields {
            bytes,
            fields: &self.lines,
            names: self.names,
        }
    }
}

/// The field lines of a head in its buffer.
#[derive(Clone, Copy)]
pub struct RawFields<'a> {
    bytes: &'a [u8],
    fields: &'a [(Span, Span)],
    names: Names,
}

impl<'a> RawFields<'a> {
    /// Name and value of each line, as they came.
    pub fn lines(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        let fields = self.fields;
        fields
            .iter()
            .map(move |(name, value)| (name.of(bytes), value.of(bytes)))
    }

    /// A copy that outlasts the bytes.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.fields.len());
        for (name, value) in self.lines() {
            let name = HeaderName::from_bytes(name);
            let value = HeaderValue::from_bytes(value);
            if let (Ok(name), Ok(value)) = (name, value) {
                map.append(name, value);
            }
        }
        map
    }
}

impl Fields for RawFields<'_> {
    fn for_each(&self, name: &HeaderName, f: &mut dyn FnMut(&[u8])) {
        let wanted = name.as_str().as_bytes();
        if !self.names.may_hold(wanted) {
            return;
        }
        for (name, value) in self.lines() {
            if name.eq_ignore_ascii_case(wanted) {
                f(value);
            }
        }
    }

    fn contains(&self, name: &HeaderName) -> bool {
        let wanted = name.as_str().as_bytes();
        self.names.may_hold(wanted)
            && self
                .lines()
                .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
    }
}

/// Walks over lines that are known to end in CRLF.
pub(crate) struct Lines<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl Lines<'_> {
    pub(crate) fn next_line(&mut self) -> Option<Span> {
        let newline = self.at + memchr::memchr(b'\n', &self.bytes[self.at..])?;
        let line = Span {
            start: self.at as u32,
            end: newline.saturating_sub(1) as u32,
        };
        self.at = newline + 1;
        Some(line)
    }
}

/// `name: value`, without white space around the name and none kept around the value.
pub(crate) fn field_line(bytes: &[u8], line: Span) -> Result<(Span, Span), Refusal> {
    let text = line.of(bytes);
    if text.first().is_some_and(|b| *b == b' ' || *b == b'\t') {
        return Err(bad("folded field line"));
    }
    let colon = memchr::memchr(b':', text).ok_or(bad("field line without a colon"))?;
    if !is_token(&text[..colon]) {
        return Err(bad("malformed field name"));
    }
    if colon > MAX_FIELD_NAME {
        return Err(Refusal {
            status: 431,
            reason: "field name too long",
        });
    }
    let raw = &text[colon + 1..];
    // Without a way out early, so that many bytes are looked at in one step.
    if raw.iter().fold(false, |found, b| found | is_control(*b)) {
        return Err(bad("control byte in field value"));
    }
    let is_space = |b: &&u8| **b == b' ' || **b == b'\t';
    let front = raw.iter().take_while(is_space).count();
    let back = raw[front..].iter().rev().take_while(is_space).count();
    let start = line.start + colon as u32 + 1;
    let value = Span {
        start: start + front as u32,
        end: line.end - back as u32,
    };
    Ok((
        Span {
            start: line.start,
            end: line.start + colon as u32,
        },
        value,
    ))
}

pub(crate) fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    const ODD: Refusal = bad("malformed Content-Length");
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(ODD);
    }
    Ok(value
        .iter()
        .fold(0, |n, digit| n * 10 + u64::from(digit - b'0')))
}
