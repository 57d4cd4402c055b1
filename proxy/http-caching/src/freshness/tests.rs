use super::*;
use crate::testing::{at, fields, now, s};

/// RFC 9110 §5.6.7: the three forms of its example, and what is none of them.
#[test]
fn dates() {
    for (value, expected) in [
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(now())),
        ("Sunday, 06-Nov-94 08:49:37 GMT", Some(now())),
        ("Sun Nov  6 08:49:37 1994", Some(now())),
        ("0", None),
        ("-1", None),
        ("", None),
        ("now", None),
        ("Sun, 06 Nov 1994 08:49:37", None),
        ("Sun, 06 Nov 1994 08:49:37 +0100", None),
        ("Sun, 06 Nov 1994 25:49:37 GMT", None),
        ("Sun, 06 Foo 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("784111777", None),
    ] {
        assert_eq!(http_date(value.as_bytes()), expected, "{value}");
    }
    assert_eq!(http_date(b"Sun, 06 Nov 1994 08:49:37 GM\xff"), None);
}

/// RFC 9111 §5.1: the first member, and nothing but a non-negative integer.
#[test]
fn ages() {
    for (lines, expected) in [
        (&[][..], None),
        (&["Age: 0"], Some(0)),
        (&["Age: 7200"], Some(7200)),
        (&["Age: 007"], Some(7)),
        (&["Age: -1"], None),
        (&["Age: 1.5"], None),
        (&["Age: 1s"], None),
        (&["Age: abc"], None),
        (&["Age:"], None),
        (&["Age: \"1\""], None),
        (&["Age: 1, 2"], Some(1)),
        (&["Age: 1", "Age: 2"], Some(1)),
        (&["Age: x, 2"], None),
        (&["Age: x", "Age: 2"], None),
        // §1.2.2
        (&["Age: 2147483649"], Some(1 << 31)),
        (&["Age: 184467440737095516160"], Some(1 << 31)),
    ] {
        assert_eq!(age_value(&fields(lines)), expected.map(s), "{lines:?}");
    }
}

/// RFC 9111 §4.2.3: the larger of apparent and corrected age.
#[test]
fn initial_ages() {
    for (lines, delay, expected) in [
        // Nothing said: the time the request was under way.
        (&[][..], 0, 0),
        (&[], 2, 2),
        // apparent_age: response_time - date_value
        (&["Date: {-30}"], 0, 30),
        (&["Date: {-30}"], 2, 30),
        // A Date to come is no age.
        (&["Date: {+30}"], 0, 0),
        // corrected_age_value: age_value + response_delay
        (&["Age: 100"], 2, 102),
        (&["Age: 100", "Date: {-30}"], 2, 102),
        (&["Age: 10", "Date: {-30}"], 2, 30),
        // RFC 9110 §6.6.1: unreadable is absent. Of several dates the oldest counts.
        (&["Date: yesterday"], 0, 0),
        (&["Date: {-5}", "Date: {-50}"], 0, 50),
        // Clocks that run backwards.
        (&["Age: 5"], -60, 5),
    ] {
        assert_eq!(
            initial_age(&fields(lines), at(-delay), now()),
            s(expected),
            "{lines:?} {delay}"
        );
    }
}

/// RFC 9111 §4.2.1.
#[test]
fn lifetimes() {
    for (lines, expected) in [
        (&[][..], None),
        // In this order: s-maxage, max-age, Expires.
        (&["Cache-Control: s-maxage=1, max-age=2", "Expires: {+3}"], Some(1)),
        (&["Cache-Control: max-age=2", "Expires: {+3}"], Some(2)),
        (&["Expires: {+3}"], Some(3)),
        (&["Cache-Control: s-maxage=9, max-age=2"], Some(9)),
        (&["Cache-Control: s-maxage=x, max-age=2"], Some(0)),
        (&["Cache-Control: public", "Expires: {+3}"], Some(3)),
        // Expires is compared with Date, or with the time of receipt where that is missing.
        (&["Date: {-10}", "Expires: {+50}"], Some(60)),
        (&["Date: {+10}", "Expires: {+50}"], Some(40)),
        (&["Date: bad", "Expires: {+50}"], Some(50)),
        (&["Expires: {-1}"], Some(0)),
        (&["Expires: {0}"], Some(0)),
        // §5.3: unreadable is expired, "0" above all.
        (&["Expires: 0"], Some(0)),
        (&["Expires: -1"], Some(0)),
        (&["Expires:"], Some(0)),
        (&["Expires: tomorrow"], Some(0)),
        (&["Expires: {+60}, {+60}"], Some(0)),
        // Repeated: the same is the same, different is expired.
        (&["Expires: {+60}", "Expires: {+60}"], Some(60)),
        (&["Expires: {+60}", "Expires: {+61}"], Some(0)),
        (&["Expires: {+60}", "Expires: 0"], Some(0)),
        (&["Expires: {+60}", "Expires: {+61}", "Expires: {+60}"], Some(0)),
        // Dates of the obsolete forms; both are a minute from now.
        (&["Expires: Sunday, 06-Nov-94 08:50:37 GMT"], Some(60)),
        (&["Expires: Sun Nov  6 08:50:37 1994"], Some(60)),
        (&["Expires: Fri, 31 Dec 9999 23:59:59 GMT"], Some(1 << 31)),
    ] {
        let map = fields(lines);
        let lifetime = explicit_lifetime(&CacheControl::parse(&map), &map, now());
        assert_eq!(lifetime, expected.map(s), "{lines:?}");
    }
}

/// RFC 9111 §4.2: fresh while the lifetime exceeds the age.
#[test]
fn fresh_until_the_lifetime_is_reached() {
    for (lifetime, age, expected) in [
        (s(60), s(59), true),
        (s(60), s(60), false),
        (s(0), s(0), false),
        (Duration::MAX, s(1), true),
    ] {
        assert_eq!(is_fresh(lifetime, age), expected, "{lifetime:?} {age:?}");
    }
    // §4.2.3
    assert_eq!(current_age(s(2), s(3)), s(5));
    assert_eq!(current_age(Duration::MAX, s(3)), Duration::MAX);
}
