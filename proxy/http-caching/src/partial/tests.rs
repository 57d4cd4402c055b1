use super::*;
use crate::testing::{fields, now, s};

/// RFC 9110 §14.4.
#[test]
fn content_ranges() {
    let part = |first, last, complete| Some(ContentRange { first, last, complete });
    for (value, expected) in [
        ("bytes 0-9/10", part(0, 9, Some(10))),
        ("bytes 2-3/10", part(2, 3, Some(10))),
        ("bytes 2-3/*", part(2, 3, None)),
        ("Bytes 007-8/10", part(7, 8, Some(10))),
        (
            "bytes 0-18446744073709551614/18446744073709551615",
            part(0, u64::MAX - 1, Some(u64::MAX)),
        ),
        // Of a 416
        ("bytes */10", None),
        // Contradictions
        ("bytes 3-2/10", None),
        ("bytes 0-10/10", None),
        ("bytes 0-0/0", None),
        // Too large for a length
        ("bytes 0-18446744073709551615/*", None),
        ("bytes 0-1/18446744073709551616", None),
        ("bytes 18446744073709551616-18446744073709551617/*", None),
        // Malformed, or another unit
        ("bytes=0-1/2", None),
        ("bytes 0-1", None),
        ("bytes 0/2", None),
        ("bytes 0-/2", None),
        ("bytes -1/2", None),
        ("bytes 0-1/", None),
        ("bytes 0 - 1/2", None),
        ("bytes 0-1/2 ", None),
        ("bytes +0-1/2", None),
        ("items 0-1/2", None),
        ("bytes", None),
        ("", None),
    ] {
        assert_eq!(ContentRange::parse(value.as_bytes()), expected, "{value}");
    }
}

/// RFC 9111 §3.4, RFC 9110 §8.8.2.2, §15.3.7.3: the same strong validator on both sides.
#[test]
fn combinations() {
    let dated = &["Last-Modified: {-60}", "Date: {-1}"][..];
    for (stored, new, expected) in [
        (&["ETag: \"a\""][..], &["ETag: \"a\""][..], true),
        (&["ETag: \"a\""], &["ETag: \"b\""], false),
        (&["ETag: \"a\""], &["ETag: W/\"a\""], false),
        (&["ETag: W/\"a\""], &["ETag: W/\"a\""], false),
        (&["ETag: a"], &["ETag: a"], false),
        (&["ETag: \"a\"", "ETag: \"a\""], &["ETag: \"a\""], false),
        // Equal tags need no dates, and dates do not heal unequal ones.
        (&["ETag: \"a\"", "Last-Modified: {-60}"], &["ETag: \"a\""], true),
        (
            &["ETag: \"a\"", "Last-Modified: {-60}", "Date: {0}"],
            &["ETag: \"b\"", "Last-Modified: {-60}", "Date: {0}"],
            false,
        ),
        // A strong date on both sides
        (dated, dated, true),
        (dated, &["Last-Modified: {-60}", "Date: {-59}"], true),
        (dated, &["Last-Modified: {-60}", "Date: {-60}"], false),
        (dated, &["Last-Modified: {-60}"], false),
        (dated, &["Last-Modified: {-61}", "Date: {-1}"], false),
        // A tag on one side only
        (dated, &["Last-Modified: {-60}", "Date: {-1}", "ETag: \"a\""], false),
        // Weak tags that agree leave it to the date.
        (
            &["Last-Modified: {-60}", "Date: {-1}", "ETag: W/\"a\""],
            &["Last-Modified: {-60}", "Date: {-1}", "ETag: W/\"a\""],
            true,
        ),
        (
            &["Last-Modified: {-60}", "Date: {-1}", "ETag: W/\"a\""],
            &["Last-Modified: {-60}", "Date: {-1}", "ETag: W/\"b\""],
            false,
        ),
        (&[], &[], false),
    ] {
        let (stored_fields, new_fields) = (fields(stored), fields(new));
        assert_eq!(combines(&stored_fields, &new_fields), expected, "{stored:?} {new:?}");
        assert_eq!(combines(&new_fields, &stored_fields), expected, "{new:?} {stored:?}");
    }
}

/// RFC 9111 §3.3: which 206 may be stored as a part.
#[test]
fn storing_parts() {
    let store = |method: &Method, request: &[&str], status: u16, response: &[&str]| {
        let status = StatusCode::from_u16(status).unwrap();
        let policy = Policy { ttl: Some(s(60)), ..Policy::default() };
        partial_storable(method, &fields(request), status, &fields(response), &policy, now(), now())
    };
    let range = &["Range: bytes=0-1"][..];
    for (request, status, response, expected) in [
        (range, 206, &["ETag: \"a\"", "Content-Range: bytes 0-1/9"][..], None),
        (range, 206, &["ETag: \"a\"", "Content-Range: bytes 0-1/9", "Content-Length: 2"], None),
        (range, 206, &["Last-Modified: {-60}", "Date: {0}", "Content-Range: bytes 0-1/*"], None),
        // Not a part, or not one
        (range, 200, &["ETag: \"a\"", "Content-Range: bytes 0-1/9"], Some(NotStored::Partial)),
        (range, 206, &["ETag: \"a\""], Some(NotStored::Partial)),
        (range, 206, &["ETag: \"a\"", "Content-Range: bytes */9"], Some(NotStored::Partial)),
        (
            range,
            206,
            &["ETag: \"a\"", "Content-Range: bytes 0-1/9", "Content-Range: bytes 0-1/9"],
            Some(NotStored::Partial),
        ),
        (
            range,
            206,
            &["ETag: \"a\"", "Content-Range: bytes 0-1/9", "Content-Length: 3"],
            Some(NotStored::Partial),
        ),
        // Nobody asked for it.
        (&[], 206, &["ETag: \"a\"", "Content-Range: bytes 0-1/9"], Some(NotStored::Partial)),
        // Nothing by which another part could be added
        (range, 206, &["ETag: W/\"a\"", "Content-Range: bytes 0-1/9"], Some(NotStored::Partial)),
        (
            range,
            206,
            &["Last-Modified: {0}", "Date: {0}", "Content-Range: bytes 0-1/9"],
            Some(NotStored::Partial),
        ),
        (
            range,
            206,
            &["ETag: \"a\"", "Cache-Control: private=etag", "Content-Range: bytes 0-1/9"],
            Some(NotStored::Partial),
        ),
        // §3: whatever forbids the whole forbids the part.
        (
            range,
            206,
            &["ETag: \"a\"", "Cache-Control: no-store", "Content-Range: bytes 0-1/9"],
            Some(NotStored::NoStore),
        ),
        (
            range,
            206,
            &["ETag: \"a\"", "Set-Cookie: a=b", "Content-Range: bytes 0-1/9"],
            Some(NotStored::SetCookie),
        ),
    ] {
        let result = store(&Method::GET, request, status, response);
        assert_eq!(result.as_ref().err().copied(), expected, "{request:?} {response:?}");
        if let Ok((stored, part)) = result {
            assert_eq!((part.first, part.last), (0, 1));
            assert_eq!(stored.lifetimes.lifetime, s(60));
        }
    }
    let response = &["ETag: \"a\"", "Content-Range: bytes 0-1/9"];
    assert_eq!(store(&Method::POST, range, 206, response).err(), Some(NotStored::Method));
}

/// Spans inserted in this order, the spans there are then, and the first gap of 10 bytes.
#[test]
fn spans() {
    for (inserted, expected, gap) in [
        (&[][..], &[][..], Some((0, 9))),
        (&[(0, 9)], &[(0, 9)], None),
        (&[(0, 99)], &[(0, 99)], None),
        (&[(0, 3)], &[(0, 3)], Some((4, 9))),
        (&[(4, 9)], &[(4, 9)], Some((0, 3))),
        (&[(2, 3), (6, 7)], &[(2, 3), (6, 7)], Some((0, 1))),
        (&[(6, 7), (0, 3)], &[(0, 3), (6, 7)], Some((4, 5))),
        // Adjacent, overlapping, within, over several
        (&[(0, 3), (4, 9)], &[(0, 9)], None),
        (&[(4, 9), (0, 3)], &[(0, 9)], None),
        (&[(0, 5), (3, 7)], &[(0, 7)], Some((8, 9))),
        (&[(0, 7), (2, 3)], &[(0, 7)], Some((8, 9))),
        (&[(0, 1), (4, 5), (8, 9), (1, 8)], &[(0, 9)], None),
        (&[(0, 1), (4, 5), (8, 9), (2, 5)], &[(0, 5), (8, 9)], Some((6, 7))),
        (&[(20, 30)], &[(20, 30)], Some((0, 9))),
        (&[(0, u64::MAX), (5, 6)], &[(0, u64::MAX)], None),
        (&[(u64::MAX, u64::MAX), (0, 9)], &[(0, 9), (u64::MAX, u64::MAX)], None),
    ] {
        let mut spans = Spans::default();
        for (first, last) in inserted {
            assert!(spans.insert(*first, *last), "{inserted:?}");
        }
        assert_eq!(spans.as_slice(), expected, "{inserted:?}");
        assert_eq!(spans.first_gap(10), gap, "{inserted:?}");
        assert_eq!(spans.is_complete(10), gap.is_none(), "{inserted:?}");
        assert_eq!(spans.covers(0, 9), gap.is_none(), "{inserted:?}");
    }
    // Of nothing nothing is missing; nor is there anything between an end and a beginning.
    let mut empty = Spans::default();
    assert!(empty.is_complete(0) && !empty.covers(0, 0) && !empty.covers(1, 0));
    assert!(!empty.insert(1, 0) && empty.as_slice().is_empty());
}

/// A client that asks for every other byte.
#[test]
fn spans_are_bounded() {
    let mut spans = Spans::default();
    for at in 0..MAX_SPANS as u64 {
        assert!(spans.insert(at * 2, at * 2));
    }
    let full = spans.clone();
    assert!(!spans.insert(1000, 1000));
    assert_eq!(spans, full);
    // What needs no further span comes in still.
    assert!(spans.insert(1, 1) && spans.insert(1000, 1000));
    assert_eq!(spans.as_slice().len(), MAX_SPANS);
}
