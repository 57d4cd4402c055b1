use http::header::{ACCEPT, ETAG};

use super::*;
use crate::testing::fields;

/// RFC 9110 §5.6.1 (lists), §5.6.4 (quoted strings).
#[test]
fn lists_split_at_commas_outside_quotes() {
    for (value, expected) in [
        ("a, b,c", &["a", "b", "c"][..]),
        // §5.6.1.2: empty members do not count.
        (", a ,\t, b ,,", &["a", "b"]),
        ("", &[]),
        (" , ,", &[]),
        // §5.6.4: quotes hide commas, a backslash hides a quote.
        (r#"a="x, y", b"#, &[r#"a="x, y""#, "b"]),
        (r#""x\", y", b"#, &[r#""x\", y""#, "b"]),
        // A quote without end is an ordinary byte, and so are all behind it.
        (r#"a="x, no-store"#, &[r#"a="x"#, "no-store"]),
        (r#"a="x\", no-store"#, &[r#"a="x\""#, "no-store"]),
    ] {
        let found: Vec<&[u8]> = members(value.as_bytes()).collect();
        let expected: Vec<&[u8]> = expected.iter().map(|member| member.as_bytes()).collect();
        assert_eq!(found, expected, "{value}");
    }
}

/// A line of nothing but openings must not cost the square of its length.
#[test]
fn broken_quotes_cost_no_more_than_their_length() {
    let value = r#"\"",""#.repeat(1 << 16);
    assert!(members(value.as_bytes()).count() > 0);
    let value = r#""\"#.repeat(1 << 18);
    assert_eq!(members(value.as_bytes()).count(), 1);
}

/// RFC 9110 §5.2 (lines in order), §5.5 (no whitespace around values), §5.3 (singletons).
#[test]
fn header_maps_are_fields() {
    let map = fields(&["Accept: a ", "ETag:\t\"1\"", "Accept:  b"]);
    let mut seen = Vec::new();
    map.for_each(&ACCEPT, &mut |value| seen.push(value.to_vec()));
    assert_eq!(seen, [b"a", b"b"]);
    assert_eq!(map.count(&ACCEPT), 2);
    let by_reference: &HeaderMap = &map;
    assert!(Fields::contains(&by_reference, &ETAG));
    assert_eq!(with_single(&map, &ETAG, <[u8]>::len), Some(3));
    assert_eq!(with_single(&map, &ACCEPT, <[u8]>::len), None);
    assert_eq!(with_single(&map, &http::header::AGE, <[u8]>::len), None);
}
