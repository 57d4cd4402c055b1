use super::RangeOutcome::{Part, Several, Unsatisfiable, Whole};
use super::*;
use crate::testing::fields;

fn several<const N: usize>(parts: [(u64, u64); N]) -> RangeOutcome {
    Several(parts.to_vec())
}

fn part(first: u64, last: u64) -> RangeOutcome {
    Part { first, last }
}

/// RFC 9110 §14.1.1, §14.1.2, §14.2, of a content of 10 bytes.
#[test]
fn ranges() {
    for (value, expected) in [
        ("bytes=0-0", part(0, 0)),
        ("bytes=0-", part(0, 9)),
        ("bytes=5-9", part(5, 9)),
        ("bytes=9-", part(9, 9)),
        // §14.1.2: the end is cut to the content.
        ("bytes=5-99", part(5, 9)),
        ("bytes=5-18446744073709551615", part(5, 9)),
        ("bytes=5-99999999999999999999999", part(5, 9)),
        ("bytes=0005-0006", part(5, 6)),
        // Suffixes
        ("bytes=-1", part(9, 9)),
        ("bytes=-10", part(0, 9)),
        ("bytes=-99", part(0, 9)),
        ("bytes=-99999999999999999999999", part(0, 9)),
        ("bytes=-0", Unsatisfiable),
        // §14.1.2: satisfiable when it begins within the content.
        ("bytes=10-", Unsatisfiable),
        ("bytes=10-20", Unsatisfiable),
        ("bytes=99999999999999999999999-", Unsatisfiable),
        ("bytes=10-11, -0", Unsatisfiable),
        // §14.1: unit names in any case; §14.1.1, §5.6.1: whitespace and empty members
        ("BYTES=0-1", part(0, 1)),
        ("bytes= 0-1", part(0, 1)),
        ("bytes=,0-1 ,,", part(0, 1)),
        // More than one; one alone within the content is one.
        ("bytes=0-0,2-3", several([(0, 0), (2, 3)])),
        ("bytes=0-0, -1", several([(0, 0), (9, 9)])),
        ("bytes=-1, 0-0", several([(9, 9), (0, 0)])),
        ("bytes=0-0, 20-30", part(0, 0)),
        ("bytes=0-0, 20-30, 4-5", several([(0, 0), (4, 5)])),
        // §15.3.7.2: overlapping and adjacent ones become one, in the place of the earliest.
        ("bytes=0-1, 2-3", part(0, 3)),
        ("bytes=2-3, 0-1", part(0, 3)),
        ("bytes=0-3, 2-5", part(0, 5)),
        ("bytes=5-6, 0-1, 6-8", several([(5, 8), (0, 1)])),
        ("bytes=0-0, 4-4, 2-2, 1-3", part(0, 4)),
        ("bytes=8-8, 0-1, 4-5, 2-3", several([(8, 8), (0, 5)])),
        ("bytes=0-4, 5-9", part(0, 9)),
        ("bytes=3-3, 3-3", part(3, 3)),
        // §14.2: more bytes than there are, however they are cut
        ("bytes=0-5, 3-9", Whole),
        ("bytes=0-, 0-", Whole),
        ("bytes=0-8, -2", Whole),
        ("bytes=0-8, -1", part(0, 9)),
        // §14.2: malformed is ignored, an end before the start too (§14.1.1).
        ("bytes=5-2", Whole),
        ("bytes=0-0, 5-2", Whole),
        ("bytes=20-30, x", Whole),
        ("bytes=", Whole),
        ("bytes=,", Whole),
        ("bytes=-", Whole),
        ("bytes=--1", Whole),
        ("bytes=1", Whole),
        ("bytes=a-b", Whole),
        ("bytes=0-1x", Whole),
        ("bytes=+0-1", Whole),
        ("bytes=0 - 1", Whole),
        ("bytes =0-1", Whole),
        ("bytes:0-1", Whole),
        ("bytes 0-1", Whole),
        ("0-1", Whole),
        ("", Whole),
        // §14.1: a unit we do not know
        ("items=0-1", Whole),
        ("bytesx=0-1", Whole),
        ("none", Whole),
    ] {
        let request = fields(&[&format!("Range: {value}")]);
        assert_eq!(range(&Method::GET, &request, &fields(&[]), 10), expected, "{value}");
    }
}

/// RFC 9110 §14.2: many small ranges are for wearing a server out.
#[test]
fn too_many_ranges() {
    for (count, expected) in [(MAX_RANGES, MAX_RANGES), (MAX_RANGES + 1, 0)] {
        let set: Vec<String> = (0..count).map(|at| format!("{0}-{0}", at * 2)).collect();
        let request = fields(&[&format!("Range: bytes={}", set.join(","))]);
        let found = match range(&Method::GET, &request, &fields(&[]), 1000) {
            Several(parts) => parts.len(),
            _ => 0,
        };
        assert_eq!(found, expected, "{count}");
    }
}

/// RFC 9110 §14.1.2: content of no bytes, and of more than there can be.
#[test]
fn extreme_lengths() {
    for (value, length, expected) in [
        ("bytes=0-", 0, Unsatisfiable),
        ("bytes=0-0", 0, Unsatisfiable),
        ("bytes=-0", 0, Unsatisfiable),
        ("bytes=-1", 0, Whole),
        ("bytes=0-0, -1", 0, Whole),
        ("bytes=0-0, -1", u64::MAX, several([(0, 0), (u64::MAX - 1, u64::MAX - 1)])),
        ("bytes=0-, 0-", u64::MAX, Whole),
        ("bytes=0-", u64::MAX, part(0, u64::MAX - 1)),
        ("bytes=-1", u64::MAX, part(u64::MAX - 1, u64::MAX - 1)),
        ("bytes=18446744073709551615-", u64::MAX, Unsatisfiable),
    ] {
        let request = fields(&[&format!("Range: {value}")]);
        assert_eq!(
            range(&Method::GET, &request, &fields(&[]), length),
            expected,
            "{value} of {length}"
        );
    }
}

/// RFC 9110 §14.2: other methods have no ranges, and Range appears once.
#[test]
fn where_ranges_do_not_apply() {
    let one = fields(&["Range: bytes=0-1"]);
    for method in [Method::HEAD, Method::POST, Method::PUT] {
        assert_eq!(range(&method, &one, &fields(&[]), 10), Whole, "{method}");
    }
    let two = fields(&["Range: bytes=0-1", "Range: bytes=0-1"]);
    assert_eq!(range(&Method::GET, &two, &fields(&[]), 10), Whole);
    assert_eq!(
        range(&Method::GET, &fields(&["If-Range: \"a\""]), &fields(&["ETag: \"a\""]), 10),
        Whole
    );
}

/// RFC 9110 §13.1.5: the same version by strong comparison, or the whole.
#[test]
fn if_range() {
    let tagged = &["ETag: \"a\"", "Last-Modified: {-60}", "Date: {-10}"][..];
    let weak = &["ETag: W/\"a\"", "Last-Modified: {-10}", "Date: {-10}"][..];
    for (condition, stored, holds) in [
        (&["If-Range: \"a\""][..], tagged, true),
        (&["If-Range: \"b\""], tagged, false),
        (&["If-Range: \"A\""], tagged, false),
        // §8.8.3.2: weak tags never match here.
        (&["If-Range: W/\"a\""], tagged, false),
        (&["If-Range: \"a\""], weak, false),
        (&["If-Range: W/\"a\""], weak, false),
        // One tag, no list and no star
        (&["If-Range: \"a\", \"b\""], tagged, false),
        (&["If-Range: *"], tagged, false),
        (&["If-Range: a"], tagged, false),
        (&["If-Range:"], tagged, false),
        (&["If-Range: \"a\"", "If-Range: \"a\""], tagged, false),
        // Dates must be equal, not just as new.
        (&["If-Range: {-60}"], tagged, true),
        (&["If-Range: {-59}"], tagged, false),
        (&["If-Range: {-61}"], tagged, false),
        (&["If-Range: 0"], tagged, false),
        // §8.8.2.2: a date less than a second older than the response is weak.
        (&["If-Range: {-10}"], weak, false),
        (&["If-Range: {-60}"], &["Last-Modified: {-60}"], false),
        (&["If-Range: {-60}"], &["Last-Modified: {-60}", "Date: {-59}"], true),
        // Nothing to compare with
        (&["If-Range: \"a\""], &[], false),
        (&["If-Range: {-60}"], &[], false),
        (&["If-Range: \"a\""], &["ETag: a"], false),
        (&["If-Range: \"a\""], &["ETag: \"a\"", "ETag: \"a\""], false),
    ] {
        let request = fields(&[&["Range: bytes=0-1"], condition].concat());
        let expected = if holds { part(0, 1) } else { Whole };
        assert_eq!(
            range(&Method::GET, &request, &fields(stored), 10),
            expected,
            "{condition:?} {stored:?}"
        );
    }
    // §13.2.2 step 5: out of bounds counts only when the condition holds.
    let stored = fields(tagged);
    for (condition, expected) in [("If-Range: \"a\"", Unsatisfiable), ("If-Range: \"b\"", Whole)] {
        let request = fields(&["Range: bytes=10-", condition]);
        assert_eq!(range(&Method::GET, &request, &stored, 10), expected, "{condition}");
    }
}
