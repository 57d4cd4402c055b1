use super::*;
use crate::testing::fields;

/// RFC 9110 §8.8.3.
#[test]
fn tags() {
    let tag = |weak, opaque| Some(EntityTag { weak, opaque });
    for (value, expected) in [
        (&b"\"a\""[..], tag(false, &b"a"[..])),
        (b"W/\"a\"", tag(true, b"a")),
        (b"\"\"", tag(false, b"")),
        (b"W/\"\"", tag(true, b"")),
        (b"\"a,b\"", tag(false, b"a,b")),
        // No escapes: a backslash is a byte like others.
        (b"\"a\\\"", tag(false, b"a\\")),
        (b"\"\xff\"", tag(false, b"\xff")),
        (b"w/\"a\"", None),
        (b"W/a", None),
        (b"W\"a\"", None),
        (b"a", None),
        (b"\"a", None),
        (b"a\"", None),
        (b"\"", None),
        (b"\"a b\"", None),
        (b"\"a\x7f\"", None),
        (b"\"a\"b\"", None),
        (b"\"a\", \"b\"", None),
        (b"*", None),
        (b"", None),
    ] {
        assert_eq!(EntityTag::parse(value), expected, "{value:?}");
    }
}

/// RFC 9110 §8.8.3.2, the table of examples.
#[test]
fn comparison() {
    for (a, b, strong, weak) in [
        ("W/\"1\"", "W/\"1\"", false, true),
        ("W/\"1\"", "W/\"2\"", false, false),
        ("W/\"1\"", "\"1\"", false, true),
        ("\"1\"", "\"1\"", true, true),
    ] {
        let (first, second) =
            (EntityTag::parse(a.as_bytes()).unwrap(), EntityTag::parse(b.as_bytes()).unwrap());
        assert_eq!(strong_match(&first, &second), strong, "{a} {b}");
        assert_eq!(weak_match(&second, &first), weak, "{a} {b}");
    }
}

/// RFC 9110 §5.6.1, §8.8.3: commas may stand in a tag, and what is no tag is passed over.
#[test]
fn tag_lists() {
    for (value, expected) in [
        ("\"a\", W/\"b\",\"c\"", &["a", "b", "c"][..]),
        (",, \"a\" ,\t\"b\" ,", &["a", "b"]),
        ("\"a,b\", \"c\"", &["a,b", "c"]),
        ("a, \"b\"", &["b"]),
        ("\"a\" x, \"b\"", &["b"]),
        ("\"a\"\"b\", \"c\"", &["c"]),
        ("\"a, \"b\"", &["b"]),
        ("*, \"a\"", &["a"]),
        ("", &[]),
        ("\"", &[]),
        (" , ,", &[]),
    ] {
        let found: Vec<&[u8]> = entity_tags(value.as_bytes()).map(|tag| tag.opaque).collect();
        let expected: Vec<&[u8]> = expected.iter().map(|opaque| opaque.as_bytes()).collect();
        assert_eq!(found, expected, "{value}");
    }
}

const STRONG: &[&str] = &["ETag: \"a\"", "Last-Modified: {-60}", "Date: {-10}"];
const WEAK: &[&str] = &["ETag: W/\"a\"", "Date: {-10}"];

/// RFC 9110 §13.1, §13.2.2; RFC 9111 §4.3.2.
#[test]
fn preconditions() {
    use Precondition::{Failed, None, NotModified};
    for (request, stored, expected) in [
        (&[][..], STRONG, None),
        // §13.1.2 If-None-Match: weak comparison
        (&["If-None-Match: \"a\""][..], STRONG, NotModified),
        (&["If-None-Match: W/\"a\""], STRONG, NotModified),
        (&["If-None-Match: \"a\""], WEAK, NotModified),
        (&["If-None-Match: \"b\", W/\"c\", \"a\""], STRONG, NotModified),
        (&["If-None-Match: \"b\"", "If-None-Match: \"a\""], STRONG, NotModified),
        (&["If-None-Match: \"b\""], STRONG, None),
        (&["If-None-Match: \"A\""], STRONG, None),
        (&["If-None-Match: a"], STRONG, None),
        (&["If-None-Match: \"a"], STRONG, None),
        (&["If-None-Match:"], STRONG, None),
        (&["If-None-Match: *"], STRONG, NotModified),
        (&["If-None-Match: *"], &[], NotModified),
        (&["If-None-Match: \"*\""], STRONG, None),
        (&["If-None-Match: *, \"b\""], STRONG, None),
        (&["If-None-Match: \"a\""], &["Last-Modified: {-60}"], None),
        (&["If-None-Match: \"a\""], &["ETag: a"], None),
        (&["If-None-Match: \"a\""], &["ETag: \"a\"", "ETag: \"b\""], None),
        (&["If-None-Match: \"a,b\""], &["ETag: \"a,b\""], NotModified),
        // §13.1.3 If-Modified-Since
        (&["If-Modified-Since: {-60}"], STRONG, NotModified),
        (&["If-Modified-Since: {-59}"], STRONG, NotModified),
        (&["If-Modified-Since: {-61}"], STRONG, None),
        (&["If-Modified-Since: 0"], STRONG, None),
        (&["If-Modified-Since: {-60}", "If-Modified-Since: {-60}"], STRONG, None),
        // … which does not count beside If-None-Match, even one that cannot match.
        (&["If-Modified-Since: {-60}", "If-None-Match: \"b\""], STRONG, None),
        (&["If-Modified-Since: {-60}", "If-None-Match:"], STRONG, None),
        (&["If-Modified-Since: {-99}", "If-None-Match: \"a\""], STRONG, NotModified),
        // RFC 9111 §4.3.2: Date stands in for Last-Modified, where that is missing.
        (&["If-Modified-Since: {-10}"], WEAK, NotModified),
        (&["If-Modified-Since: {-11}"], WEAK, None),
        (&["If-Modified-Since: {-10}"], &["Last-Modified: bad", "Date: {-10}"], None),
        (&["If-Modified-Since: {-10}"], &[], None),
        // §13.1.1 If-Match: strong comparison
        (&["If-Match: \"a\""], STRONG, None),
        (&["If-Match: \"b\", \"a\""], STRONG, None),
        (&["If-Match: W/\"a\""], STRONG, Failed),
        (&["If-Match: \"a\""], WEAK, Failed),
        (&["If-Match: \"b\""], STRONG, Failed),
        (&["If-Match: a"], STRONG, Failed),
        (&["If-Match: \"a\""], &[], Failed),
        (&["If-Match: *"], &[], None),
        // §13.1.4 If-Unmodified-Since
        (&["If-Unmodified-Since: {-60}"], STRONG, None),
        (&["If-Unmodified-Since: {-59}"], STRONG, None),
        (&["If-Unmodified-Since: {-61}"], STRONG, Failed),
        (&["If-Unmodified-Since: 0"], STRONG, None),
        (&["If-Unmodified-Since: {-61}", "If-Unmodified-Since: {-61}"], STRONG, None),
        (&["If-Unmodified-Since: {-61}"], WEAK, None),
        (&["If-Unmodified-Since: {-61}", "If-Match: \"a\""], STRONG, None),
        // §13.2.2: first what must hold, then what the client has.
        (&["If-Match: \"a\"", "If-None-Match: \"a\""], STRONG, NotModified),
        (&["If-Match: \"b\"", "If-None-Match: \"a\""], STRONG, Failed),
        (&["If-Unmodified-Since: {-61}", "If-None-Match: \"a\""], STRONG, Failed),
        (&["If-Unmodified-Since: {-60}", "If-Modified-Since: {-60}"], STRONG, NotModified),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let found = precondition(&method, &fields(request), &fields(stored));
            assert_eq!(found, expected, "{method} {request:?} {stored:?}");
        }
    }
    // RFC 9111 §4.3.2: nothing of other methods can be answered from the store.
    let request = fields(&["If-Match: \"b\"", "If-None-Match: \"a\""]);
    assert_eq!(precondition(&Method::PUT, &request, &fields(STRONG)), None);
}

/// RFC 9111 §4.3.4: which 304 speaks of which stored response.
#[test]
fn confirmation() {
    for (stored, new, expected) in [
        (STRONG, &["ETag: \"a\""][..], true),
        (STRONG, &["ETag: W/\"a\""], true),
        (STRONG, &["ETag: \"b\""], false),
        (STRONG, &["ETag: \"b\"", "Last-Modified: {-60}"], false),
        (STRONG, &["ETag: \"a\"", "Last-Modified: {-1}"], true),
        (WEAK, &["ETag: W/\"a\""], true),
        (WEAK, &["ETag: W/\"b\""], false),
        // A strong validator identifies by strong comparison.
        (WEAK, &["ETag: \"a\""], false),
        (STRONG, &["Last-Modified: {-60}"], true),
        (STRONG, &["Last-Modified: {-59}"], false),
        (STRONG, &[], true),
        (&["ETag: a"], &["ETag: a"], true),
        (&["ETag: a"], &["ETag: b"], false),
        (&["ETag: \"a\"", "ETag: \"b\""], &["ETag: \"a\""], false),
        (&["Last-Modified: {-60}"], &["ETag: \"a\"", "Last-Modified: {-60}"], true),
        (&[], &[], true),
    ] {
        assert_eq!(confirms(&fields(stored), &fields(new)), expected, "{stored:?} {new:?}");
    }
}

/// RFC 9111 §4.3.1: both validators, as they came.
#[test]
fn conditions_for_validation() {
    for (stored, expected) in [
        (&["ETag: \"a\""][..], &["if-none-match:\"a\""][..]),
        (&["ETag: W/\"a\""], &["if-none-match:W/\"a\""]),
        (&["Last-Modified: {-60}"], &["if-modified-since:{-60}"]),
        (
            &["Last-Modified: {-60}", "ETag: \"a\"", "Date: {0}"],
            &["if-none-match:\"a\"", "if-modified-since:{-60}"],
        ),
        // The obsolete form goes back as it came, for servers that compare bytes.
        (
            &["Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT"],
            &["if-modified-since:Sunday, 06-Nov-94 08:49:37 GMT"],
        ),
        (&["ETag: a", "Last-Modified: 0"], &[]),
        (&["ETag: \"a\"", "ETag: \"b\""], &[]),
        (&["Date: {0}"], &[]),
    ] {
        let found: HeaderMap = conditions(&fields(stored)).into_iter().collect();
        assert_eq!(found, fields(expected), "{stored:?}");
    }
}

/// RFC 9111 §4.3.4: which of several stored responses a 304 speaks of.
#[test]
fn selection() {
    let tagged = &["ETag: \"a\"", "Last-Modified: {-60}", "Date: {-9}"][..];
    let same_later = &["ETag: \"a\"", "Date: {-5}"][..];
    let weak = &["ETag: W/\"a\"", "Last-Modified: {-30}", "Date: {-1}"][..];
    let other = &["ETag: \"b\"", "Last-Modified: {-60}", "Date: {-7}"][..];
    let dated = &["Last-Modified: {-90}", "Date: {-3}"][..];
    let all = &[tagged, same_later, weak, other, dated][..];
    for (stored, new, expected) in [
        // A strong one by strong comparison; of those the most recent
        (all, &["ETag: \"b\""][..], Some(3)),
        (all, &["ETag: \"a\""], Some(1)),
        (&[weak], &["ETag: \"a\""], None),
        (&[tagged, weak], &["ETag: \"a\""], Some(0)),
        // A weak one by weak
        (all, &["ETag: W/\"a\""], Some(2)),
        (&[tagged], &["ETag: W/\"a\""], Some(0)),
        // No match is no update, whatever the dates of tagged ones say.
        (all, &["ETag: \"c\"", "Last-Modified: {-60}"], None),
        // A tag that the stored response lacks leaves it to a date that is strong.
        (&[dated], &["ETag: \"a\"", "Last-Modified: {-90}"], Some(0)),
        (&[dated, same_later], &["ETag: \"a\"", "Last-Modified: {-90}"], Some(1)),
        (&[dated], &["ETag: \"a\"", "Last-Modified: {-89}"], None),
        (&[dated], &["ETag: \"a\""], None),
        (&[&["Last-Modified: {-90}"]], &["ETag: \"a\"", "Last-Modified: {-90}"], None),
        (&[&["Last-Modified: {-90}"]], &["Last-Modified: {-90}"], Some(0)),
        (&[tagged], &["ETag: \"a\"", "ETag: \"b\""], None),
        // Without a tag the modification date
        (all, &["Last-Modified: {-90}"], Some(4)),
        (all, &["Last-Modified: {-60}"], Some(3)),
        (all, &["Last-Modified: {-1}"], None),
        // Without either, only where there is no choice
        (&[tagged], &[], Some(0)),
        (&[tagged, other], &[], None),
        (&[], &[], None),
        (&[], &["ETag: \"a\""], None),
    ] {
        let maps: Vec<HeaderMap> = stored.iter().map(|lines| fields(lines)).collect();
        let maps: Vec<&dyn Fields> = maps.iter().map(|map| map as &dyn Fields).collect();
        assert_eq!(select(&maps, &fields(new)), expected, "{stored:?} {new:?}");
    }
}

/// RFC 9111 §4.3.5: what the answer to HEAD says of a stored response of 5 bytes.
#[test]
fn answers_to_head() {
    use HeadUpdate::{Invalidates, Nothing, Updates};
    for (head, expected) in [
        (&["ETag: \"a\"", "Content-Length: 5"][..], Updates),
        (&["ETag: \"a\"", "Last-Modified: {-60}"], Updates),
        (&["ETag: \"a\""], Updates),
        (&["ETag: W/\"a\""], Updates),
        (&["Last-Modified: {-60}"], Updates),
        // All that came has to match.
        (&["ETag: \"b\""], Invalidates),
        (&["ETag: \"a\"", "Last-Modified: {-59}"], Invalidates),
        (&["ETag: \"a\"", "Content-Length: 6"], Invalidates),
        (&["ETag: \"a\"", "Content-Length: five"], Invalidates),
        (&["ETag: \"a\"", "Content-Length:"], Invalidates),
        (&["ETag: \"a\"", "Content-Length: 5", "Content-Length: 5"], Invalidates),
        (&["ETag: \"a\"", "ETag: \"a\""], Invalidates),
        (&["Content-Length: 6"], Invalidates),
        // Nothing to tell versions apart by
        (&["Content-Length: 5"], Nothing),
        (&[], Nothing),
    ] {
        assert_eq!(head_confirms(&fields(STRONG), 5, &fields(head)), expected, "{head:?}");
    }
    // A validator that the stored response lacks is one that does not match.
    assert_eq!(head_confirms(&fields(&[]), 5, &fields(&["ETag: \"a\""])), Invalidates);
    assert_eq!(head_confirms(&fields(WEAK), 5, &fields(&["ETag: \"a\""])), Invalidates);
}

/// RFC 9111 §3.2, §4.3.4.
#[test]
fn updates() {
    for (stored, new, expected) in [
        // Replaced, added, left.
        (&["X-A: 1", "X-B: 1"][..], &["X-A: 2", "X-C: 3"][..], &["X-A: 2", "X-B: 1", "X-C: 3"][..]),
        // All lines of a name give way to all new ones.
        (&["X-A: 1", "X-A: 2", "X-A: 3"], &["X-A: 4", "X-A: 5"], &["X-A: 4", "X-A: 5"]),
        (
            &["Cache-Control: max-age=1", "ETag: \"a\""],
            &["Cache-Control: max-age=2"],
            &["Cache-Control: max-age=2", "ETag: \"a\""],
        ),
        (
            &["Content-Type: text/html"],
            &["Content-Type: text/plain"],
            &["Content-Type: text/plain"],
        ),
        // What describes the stored content stays.
        (
            &["Content-Length: 5", "Content-Encoding: gzip"],
            &["Content-Length: 0", "Content-Encoding: br", "Content-Range: bytes 0-1/2"],
            &["Content-Length: 5", "Content-Encoding: gzip"],
        ),
        // §3.1: fields of one hop, named or not
        (
            &["X-A: 1"],
            &[
                "Connection: x-a",
                "X-A: 2",
                "Keep-Alive: timeout=5",
                "Transfer-Encoding: chunked",
                "Upgrade: h2c",
                "Proxy-Authenticate: Basic",
            ],
            &["X-A: 1"],
        ),
        // §7.3: not the next visitor's cookie
        (&["X-A: 1"], &["Set-Cookie: a=b"], &["X-A: 1"]),
        // §4.2.3: age and date belong to one answer.
        (&["Age: 100", "Date: {-100}", "X-A: 1"], &["Date: {-1}"], &["X-A: 1", "Date: {-1}"]),
        (&["Age: 100", "Date: {-100}"], &["Age: 3"], &["Age: 3"]),
        (&["X-A: 1"], &[], &["X-A: 1"]),
    ] {
        let mut updated = fields(stored);
        update_stored(&mut updated, &fields(new));
        assert_eq!(updated, fields(expected), "{stored:?} {new:?}");
    }
}
