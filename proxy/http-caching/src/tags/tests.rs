use super::*;
use crate::testing::fields;

fn collect(lines: &[&str]) -> Result<Vec<String>, TooManyTags> {
    let mut found = Vec::new();
    tags(&fields(lines), &mut |tag| found.push(String::from_utf8_lossy(tag).into_owned()))
        .map(|()| found)
}

/// Both spellings, on any number of lines (RFC 9110 §5.3).
#[test]
fn both_fields() {
    for (lines, expected) in [
        (&[][..], &[][..]),
        (&["Surrogate-Key: a b  c"], &["a", "b", "c"]),
        (&["Surrogate-Key: a,b"], &["a,b"]),
        (&["Surrogate-Key:", "Surrogate-Key: b"], &["b"]),
        (&["Surrogate-Key: a\tb \t c"], &["a\tb", "c"]),
        (&["Cache-Tag: a,b, c ,,\td"], &["a", "b", "c", "d"]),
        (&["Cache-Tag: a b, c"], &["a b", "c"]),
        (&["Cache-Tag: x", "Surrogate-Key: y", "Cache-Tag: z"], &["y", "x", "z"]),
        (&["Cache-Tag: A, a, A"], &["A", "a", "A"]),
        (&["Cache-Tag: ,", "Surrogate-Key:  "], &[]),
    ] {
        let expected: Vec<String> = expected.iter().map(|tag| String::from(*tag)).collect();
        assert_eq!(collect(lines), Ok(expected), "{lines:?}");
    }
}

/// At most 256 of at most 256 bytes, and beyond that none.
#[test]
fn bounds() {
    for (count, length, expected) in [
        (MAX_TAGS, 3, true),
        (MAX_TAGS + 1, 3, false),
        (1, MAX_TAG_LENGTH, true),
        (1, MAX_TAG_LENGTH + 1, false),
    ] {
        let list = vec!["a".repeat(length); count];
        for line in
            [format!("Surrogate-Key: {}", list.join(" ")), format!("Cache-Tag: {}", list.join(","))]
        {
            let mut seen = 0;
            let result = tags(&fields(&[&line]), &mut |_| seen += 1);
            assert_eq!((result.is_ok(), seen), (expected, if expected { count } else { 0 }));
        }
    }
    // Both fields count together.
    let half = |separator| vec!["a"; MAX_TAGS / 2 + 1].join(separator);
    let lines = [format!("Surrogate-Key: {}", half(" ")), format!("Cache-Tag: {}", half(","))];
    assert_eq!(collect(&[&lines[0], &lines[1]]), Err(TooManyTags));
}
