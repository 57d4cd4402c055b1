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

/// Fresh for 60 seconds, 30 more while it is validated, 3600 more while the upstream fails.
const WIDE: Lifetimes = Lifetimes {
    lifetime: s(60),
    stale_while_revalidate: s(30),
    stale_if_error: s(3600),
    always_validate: false,
    may_be_stale: true,
};
const BARE: Lifetimes = Lifetimes { stale_while_revalidate: s(0), stale_if_error: s(0), ..WIDE };
const NEVER_STALE: Lifetimes = Lifetimes { may_be_stale: false, ..BARE };
const NO_CACHE: Lifetimes = Lifetimes { always_validate: true, ..NEVER_STALE };

/// RFC 9111 §4.2, §4.2.4, §5.2.1; RFC 5861.
#[test]
fn reuse_over_time() {
    use Reuse::{Fresh, IfError, Validate, WhileRevalidate};
    for (lifetimes, age, request, expected) in [
        (&WIDE, 0, "", Fresh),
        (&WIDE, 59, "", Fresh),
        (&WIDE, 60, "", WhileRevalidate),
        (&WIDE, 89, "", WhileRevalidate),
        (&WIDE, 90, "", IfError),
        (&WIDE, 3659, "", IfError),
        (&WIDE, 3660, "", Validate),
        (&BARE, 59, "", Fresh),
        (&BARE, 60, "", Validate),
        (&NEVER_STALE, 59, "", Fresh),
        (&NEVER_STALE, 60, "", Validate),
        // §4.2.4: windows mean nothing where stale answers are forbidden.
        (&Lifetimes { may_be_stale: false, ..WIDE }, 60, "", Validate),
        // §5.2.2.4
        (&NO_CACHE, 0, "", Validate),
        (&NO_CACHE, 0, "max-stale", Validate),
        // §5.2.1.4 no-cache
        (&WIDE, 0, "no-cache", IfError),
        (&BARE, 0, "no-cache", Validate),
        (&WIDE, 60, "no-cache, max-stale", IfError),
        // §5.2.1.1 max-age: no older, and without max-stale not stale
        (&WIDE, 5, "max-age=5", Fresh),
        (&WIDE, 6, "max-age=5", IfError),
        (&BARE, 6, "max-age=5", Validate),
        (&WIDE, 70, "max-age=0", IfError),
        (&WIDE, 70, "max-age=100", IfError),
        (&WIDE, 70, "max-age=100, max-stale=10", WhileRevalidate),
        (&WIDE, 70, "max-age=69, max-stale=10", IfError),
        // §5.2.1.3 min-fresh: fresh for at least that long
        (&WIDE, 49, "min-fresh=10", Fresh),
        (&WIDE, 50, "min-fresh=10", Fresh),
        (&WIDE, 51, "min-fresh=10", IfError),
        (&WIDE, 60, "min-fresh=0", IfError),
        (&BARE, 51, "min-fresh=10", Validate),
        // §5.2.1.2 max-stale: by no more than that, where the origin server does not forbid it
        (&BARE, 60, "max-stale", WhileRevalidate),
        (&BARE, 99_999_999, "max-stale", WhileRevalidate),
        (&BARE, 65, "max-stale=5", WhileRevalidate),
        (&BARE, 66, "max-stale=5", Validate),
        (&BARE, 61, "max-stale=0", Validate),
        (&NEVER_STALE, 60, "max-stale", Validate),
        // It narrows the origin server's window as well.
        (&WIDE, 70, "max-stale=5", IfError),
        (&WIDE, 30, "max-stale=5", Fresh),
        // §5.2.1.7, §5.2.1.5: for the caller
        (&WIDE, 30, "only-if-cached, no-store", Fresh),
    ] {
        let control = CacheControl::parse_values([request.as_bytes()].into_iter());
        assert_eq!(
            reuse(lifetimes, s(age), None, &control),
            expected,
            "{lifetimes:?} {age} {request}"
        );
    }
}

/// RFC 9111 §4.2.4, §4.3.3: an operator's mark ends freshness and opens a window of its own.
#[test]
fn soft_purges() {
    use Reuse::{IfError, Validate, WhileRevalidate};
    let long = Lifetimes { stale_while_revalidate: s(600), ..WIDE };
    for (lifetimes, age, purged, request, expected) in [
        (&WIDE, 0, 0, "", WhileRevalidate),
        // The wider of our own minute and the response's window
        (&WIDE, 59, 59, "", WhileRevalidate),
        (&WIDE, 59, 60, "", IfError),
        (&BARE, 30, 59, "", WhileRevalidate),
        (&BARE, 30, 60, "", Validate),
        (&long, 30, 599, "", WhileRevalidate),
        (&long, 30, 600, "", IfError),
        // From the mark, or from the end of the lifetime, whichever is longer ago
        (&WIDE, 119, 10, "", WhileRevalidate),
        (&WIDE, 120, 10, "", IfError),
        (&WIDE, 30, 3599, "", IfError),
        (&WIDE, 30, 3600, "", Validate),
        (&WIDE, 3660, 0, "", Validate),
        // Forbidden stays forbidden.
        (&NEVER_STALE, 0, 0, "", Validate),
        (&NO_CACHE, 0, 0, "", Validate),
        // Who wants nothing stale gets nothing stale.
        (&WIDE, 0, 0, "no-cache", IfError),
        (&WIDE, 0, 0, "max-age=10", IfError),
        (&BARE, 0, 0, "min-fresh=1", Validate),
        (&BARE, 0, 5, "max-stale=5", WhileRevalidate),
        (&BARE, 0, 6, "max-stale=5", Validate),
    ] {
        let control = CacheControl::parse_values([request.as_bytes()].into_iter());
        assert_eq!(
            reuse(lifetimes, s(age), Some(s(purged)), &control),
            expected,
            "{lifetimes:?} {age} {purged} {request}"
        );
    }
}

/// RFC 9111 §5.2.1, §5.4: what a request says, and `Pragma` only where it says nothing.
#[test]
fn request_directives() {
    for (lines, no_cache) in [
        (&[][..], false),
        (&["Cache-Control: no-cache"], true),
        (&["Pragma: no-cache"], true),
        (&["Pragma: x, No-Cache"], true),
        (&["Pragma: x", "Pragma: no-cache"], true),
        (&["Pragma: no-cache=x"], false),
        (&["Pragma: no-store"], false),
        (&["Pragma: no-cache", "Cache-Control: max-age=60"], false),
        (&["Pragma: no-cache", "Cache-Control:"], false),
        // §5.2.1.4 has no field names.
        (&["Cache-Control: no-cache=\"x\""], true),
    ] {
        assert_eq!(request_control(&fields(lines)).no_cache, no_cache, "{lines:?}");
    }
    assert_eq!(request_control(&fields(&["Cache-Control: max-age=6"])).max_age, Some(s(6)));
}

/// RFC 9111 §4.2.
#[test]
fn remaining_freshness() {
    for (age, expected) in [(0, 60), (59, 1), (60, 0), (61, 0)] {
        assert_eq!(remaining(&WIDE, s(age)), s(expected), "{age}");
    }
    assert_eq!(remaining(&WIDE, Duration::MAX), s(0));
}
