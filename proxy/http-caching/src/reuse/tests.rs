use super::*;
use crate::testing::{fields, names, s};

fn bytes(vary: &[&str], request: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    variance(&names(vary), &fields(request), &mut out);
    out
}

/// RFC 9111 §4.1: requests that ask for the same variant.
#[test]
fn matching_requests() {
    for (vary, a, b) in [
        (&[][..], &["Accept: a"][..], &["Accept: b"][..]),
        (&["accept"], &["Accept: a", "X-Other: 1"], &["X-Other: 2", "accept: a"]),
        // Whitespace where the syntax allows it, and lines joined
        (&["accept"], &["Accept: a,b"], &["Accept:  a , b\t"]),
        (&["accept"], &["Accept: a, b"], &["Accept: a", "Accept: b"]),
        (&["accept-encoding"], &["Accept-Encoding: gzip, br"], &["Accept-Encoding: ,gzip,,br"]),
        (&["accept-encoding"], &["Accept-Encoding: , ,"], &["Accept-Encoding:"]),
        // Any field may come in lines (RFC 9110 §5.3); a cookie's pieces join otherwise (RFC 9113 §8.2.3).
        (&["x-a"], &["X-A: 1, 2"], &["X-A: 1", "X-A: 2"]),
        (&["cookie"], &["Cookie: a=1; b=2"], &["Cookie: a=1", "Cookie: b=2"]),
        (&["x-a"], &[], &["X-B: 1"]),
    ] {
        assert_eq!(bytes(vary, a), bytes(vary, b), "{a:?} {b:?}");
    }
}

/// RFC 9111 §4.1: requests that do not.
#[test]
fn differing_requests() {
    for (vary, a, b) in [
        (&["accept"][..], &["Accept: a"][..], &["Accept: b"][..]),
        (&["accept"], &["Accept: a"], &["Accept: A"]),
        (&["accept"], &["Accept: a, b"], &["Accept: b, a"]),
        (&["accept"], &["Accept: \"a,b\""], &["Accept: \"a, b\""]),
        // Absent in one, present in the other
        (&["accept"], &["Accept:"], &[]),
        (&["x-a"], &["X-A:"], &[]),
        (&["x-a"], &["X-A:"], &["X-A:", "X-A:"]),
        // Whitespace in fields of unknown syntax
        (&["user-agent"], &["User-Agent: x (a, b)"], &["User-Agent: x (a,b)"]),
        (&["cookie"], &["Cookie: a=1, b=2"], &["Cookie: a=1", "Cookie: b=2"]),
        // One field must not run into the next.
        (&["x-a", "x-b"], &["X-A: 1", "X-B:"], &["X-A:", "X-B: 1"]),
        (&["x-a", "x-b"], &["X-A: 1"], &["X-B: 1"]),
        (&["x-a", "x-b"], &["X-A: 12", "X-B: 3"], &["X-A: 1", "X-B: 23"]),
    ] {
        assert_ne!(bytes(vary, a), bytes(vary, b), "{a:?} {b:?}");
    }
    // Responses that vary on other fields share nothing.
    assert_ne!(bytes(&["x-a"], &["X-A: 1"]), bytes(&["x-b"], &["X-B: 1"]));
    assert_ne!(bytes(&[], &[]), bytes(&["x-b"], &[]));
    // Appended, not replaced.
    let mut out = vec![7];
    variance(&names(&["x-a"]), &fields(&["X-A: 1"]), &mut out);
    assert_eq!((out[0], &out[1..]), (7, &*bytes(&["x-a"], &["X-A: 1"])));
}

/// RFC 9111 §4.2, §4.2.4, §5.2.1; RFC 5861: of a response fresh for 60 seconds, 30 more while it is
/// validated, 3600 more while the upstream fails.
#[test]
fn reuse_over_time() {
    let wide = Storable {
        lifetime: s(60),
        age: s(0),
        stale_while_revalidate: s(30),
        stale_if_error: s(3600),
        always_validate: false,
        vary: Vec::new(),
    };
    let bare = Storable { stale_while_revalidate: s(0), stale_if_error: s(0), ..wide.clone() };
    let no_cache = Storable { always_validate: true, ..bare.clone() };
    for (stored, age, request, expected) in [
        (&wide, 0, "", Reuse::Fresh),
        (&wide, 59, "", Reuse::Fresh),
        (&wide, 60, "", Reuse::WhileRevalidate),
        (&wide, 89, "", Reuse::WhileRevalidate),
        (&wide, 90, "", Reuse::IfError),
        (&wide, 3659, "", Reuse::IfError),
        (&wide, 3660, "", Reuse::Validate),
        (&bare, 59, "", Reuse::Fresh),
        (&bare, 60, "", Reuse::Validate),
        // §5.2.2.4
        (&no_cache, 0, "", Reuse::Validate),
        // §5.2.1.4 no-cache, §5.2.1.1 max-age, §5.2.1.3 min-fresh
        (&wide, 0, "no-cache", Reuse::IfError),
        (&bare, 0, "no-cache", Reuse::Validate),
        (&wide, 5, "max-age=5", Reuse::Fresh),
        (&wide, 6, "max-age=5", Reuse::IfError),
        (&bare, 6, "max-age=5", Reuse::Validate),
        (&wide, 70, "max-age=0", Reuse::IfError),
        (&wide, 49, "min-fresh=10", Reuse::Fresh),
        (&wide, 50, "min-fresh=10", Reuse::IfError),
        // §5.2.1.2 max-stale widens nothing, §5.2.1.7 only-if-cached is for the caller.
        (&bare, 60, "max-stale", Reuse::Validate),
        (&bare, 60, "only-if-cached", Reuse::Validate),
    ] {
        let request = CacheControl::parse_values([request.as_bytes()].into_iter());
        assert_eq!(reuse(stored, s(age), &request), expected, "{age} {request:?}");
    }
}
