//! `Range` against a plain count of the bytes asked for, and parts put together from them.

#![no_main]

use http::header::RANGE;
use http::{HeaderName, Method};
use http_caching::{ContentRange, Fields, RangeOutcome, Spans, range};
use libfuzzer_sys::fuzz_target;

/// A message of one line.
struct Line<'a>(HeaderName, &'a [u8]);

impl Fields for Line<'_> {
    fn for_each(&self, name: &HeaderName, f: &mut dyn FnMut(&[u8])) {
        if *name == self.0 {
            f(self.1);
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [choice, value @ ..] = bytes else {
        return;
    };
    let length = match choice {
        0..=199 => u64::from(*choice),
        200..=227 => 1 << (choice - 200),
        _ => u64::MAX - u64::from(choice - 228),
    };
    if let Some(part) = ContentRange::parse(value) {
        assert!(part.first <= part.last && part.last < u64::MAX);
        assert!(part.complete.is_none_or(|complete| part.last < complete));
    }
    let outcome = range(&Method::GET, &Line(RANGE, value), &Line(RANGE, value), length);
    let parts = match &outcome {
        RangeOutcome::Whole => return,
        RangeOutcome::Unsatisfiable => Vec::new(),
        RangeOutcome::Part { first, last } => vec![(*first, *last)],
        RangeOutcome::Several(parts) => {
            assert!((2..=16).contains(&parts.len()), "{parts:?}");
            parts.clone()
        }
    };
    for (at, (first, last)) in parts.iter().enumerate() {
        assert!(first <= last && *last < length, "{parts:?} of {length}");
        for other in &parts[at + 1..] {
            assert!(other.1 + 1 < *first || last + 1 < other.0, "{parts:?} touch");
        }
    }
    let served: u128 = parts.iter().map(|part| u128::from(part.1 - part.0) + 1).sum();
    assert!(served <= u128::from(length));
    if length < 200 {
        every_byte_asked_for_is_there(value, length, &parts);
    }
    fill(&parts, length);
});

/// Reads the value again, plainly, and compares byte by byte.
fn every_byte_asked_for_is_there(value: &[u8], length: u64, parts: &[(u64, u64)]) {
    let text = String::from_utf8_lossy(&value[b"bytes=".len()..]).into_owned();
    let mut asked = [false; 200];
    for spec in text.split(',').map(|spec| spec.trim_matches([' ', '\t'])) {
        if spec.is_empty() {
            continue;
        }
        let (first, last) = spec.split_once('-').expect("a range that was accepted");
        let number = |digits: &str| digits.parse::<u64>().unwrap_or(u64::MAX);
        let (first, last) = match (first, last) {
            ("", suffix) => (length.saturating_sub(number(suffix)), u64::MAX),
            (first, "") => (number(first), u64::MAX),
            (first, last) => (number(first), number(last)),
        };
        for at in (0..length).filter(|at| (first..=last).contains(at)) {
            asked[at as usize] = true;
        }
    }
    for at in 0..length {
        let served = parts.iter().any(|part| (part.0..=part.1).contains(&at));
        assert_eq!(served, asked[at as usize], "byte {at} of {length} in {parts:?}");
    }
}

/// Parts collected in any order, and gaps filled one by one, make the whole.
fn fill(parts: &[(u64, u64)], length: u64) {
    let (mut spans, mut reversed) = (Spans::default(), Spans::default());
    for (first, last) in parts {
        assert!(spans.insert(*first, *last) && spans.covers(*first, *last));
    }
    for (first, last) in parts.iter().rev() {
        assert!(reversed.insert(*first, *last));
    }
    assert_eq!(spans, reversed);
    assert!(spans.as_slice().windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
    let mut rounds = 0;
    while let Some((first, last)) = spans.first_gap(length) {
        assert!(first <= last && last < length && !spans.covers(first, last));
        assert!(spans.insert(first, last));
        rounds += 1;
        assert!(rounds <= parts.len() + 1, "{spans:?}");
    }
    assert!(spans.is_complete(length) && (length == 0 || spans.covers(0, length - 1)));
}
