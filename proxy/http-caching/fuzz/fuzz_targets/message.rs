//! A message cut out of the bytes of the fuzzer, one field a line: a digit for the name, then the value.

use http::HeaderName;
use http_caching::Fields;

/// Lines of raw bytes, as a connection's buffer holds them: what a `HeaderMap` would refuse too.
#[derive(Debug)]
pub struct Message<'a>(Vec<(&'a HeaderName, &'a [u8])>);

impl<'a> Message<'a> {
    pub fn parse(names: &'a [HeaderName], bytes: &'a [u8]) -> Self {
        let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
            let (index, value) = line.split_first()?;
            Some((names.get(usize::from(*index).checked_sub(usize::from(b'0'))?)?, trim(value)))
        });
        Self(lines.collect())
    }
}

impl Fields for Message<'_> {
    fn for_each(&self, name: &HeaderName, f: &mut dyn FnMut(&[u8])) {
        for (_, value) in self.0.iter().filter(|(known, _)| *known == name) {
            f(value);
        }
    }
}

/// Values come without whitespace around them.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
