use super::*;
use crate::testing::{fields, names, s};

fn parse(lines: &[&str]) -> CacheControl {
    CacheControl::parse_values(lines.iter().map(|line| line.as_bytes()))
}

/// RFC 9111 §5.2, §5.2.2.1, §4.2.1: what becomes of `max-age`.
#[test]
fn lifetimes() {
    for (lines, expected) in [
        (&["max-age=60"][..], Some(60)),
        // §5.2: names are case-insensitive, arguments come as token or quoted string.
        (&["MAX-AGE=60"], Some(60)),
        (&["Max-Age=\"60\""], Some(60)),
        (&[r#"max-age="6\0""#], Some(60)),
        (&["max-age=0060"], Some(60)),
        // §4.2.1: of several the most restrictive, on one line or on many.
        (&["max-age=60, max-age=0"], Some(0)),
        (&["max-age=0, max-age=60"], Some(0)),
        (&["max-age=60", "max-age=30"], Some(30)),
        // §4.2.1: what is not a number of seconds is stale.
        (&["max-age"], Some(0)),
        (&["max-age="], Some(0)),
        (&["max-age=\"\""], Some(0)),
        (&["max-age=-1"], Some(0)),
        (&["max-age=+1"], Some(0)),
        (&["max-age=1.5"], Some(0)),
        (&["max-age=60s"], Some(0)),
        (&["max-age='60'"], Some(0)),
        (&["max-age=0x3c"], Some(0)),
        (&["max-age = 60"], Some(0)),
        (&["max-age =60"], Some(0)),
        (&["max-age= 60"], Some(0)),
        (&["max-age=60 s-maxage=1"], Some(0)),
        (&["max-age=\"60"], Some(0)),
        (&["max-age=60, max-age=x"], Some(0)),
        // §1.2.2: too large is 2^31.
        (&["max-age=2147483648"], Some(1 << 31)),
        (&["max-age=2147483649"], Some(1 << 31)),
        (&["max-age=99999999999999999999999999"], Some(1 << 31)),
        // §5.2.3: what is unknown is ignored, as is what only looks alike.
        (&["xmax-age=60, max-agex=60, max_age=60"], None),
        (&["foo=\"max-age=60\""], None),
        (&["foo=\", max-age=60, \""], None),
        (&["foo=\", max-age=60, \", max-age=7"], Some(7)),
        (&[""], None),
        (&[",,, ,"], None),
        (&["=60"], None),
    ] {
        assert_eq!(parse(lines).max_age, expected.map(s), "{lines:?}");
    }
}

/// RFC 9111 §5.2.2: every directive lands in its field, and in no other.
#[test]
fn directives() {
    let none = CacheControl::default();
    for (line, expected) in [
        ("no-store", CacheControl { no_store: true, ..none.clone() }),
        ("No-Cache", CacheControl { no_cache: true, ..none.clone() }),
        ("private", CacheControl { private: true, ..none.clone() }),
        ("public", CacheControl { public: true, ..none.clone() }),
        ("must-revalidate", CacheControl { must_revalidate: true, ..none.clone() }),
        ("proxy-revalidate", CacheControl { proxy_revalidate: true, ..none.clone() }),
        ("must-understand", CacheControl { must_understand: true, ..none.clone() }),
        ("no-transform", CacheControl { no_transform: true, ..none.clone() }),
        // RFC 8246
        ("immutable", CacheControl { immutable: true, ..none.clone() }),
        // §5.2.1.7
        ("only-if-cached", CacheControl { only_if_cached: true, ..none.clone() }),
        // §5.2.2.10
        ("s-maxage=5", CacheControl { s_maxage: Some(s(5)), ..none.clone() }),
        ("s-maxage=x", CacheControl { s_maxage: Some(s(0)), ..none.clone() }),
        // RFC 5861 §3, §4; without a number the origin server grants nothing.
        (
            "stale-while-revalidate=5",
            CacheControl { stale_while_revalidate: Some(s(5)), ..none.clone() },
        ),
        (
            "stale-while-revalidate",
            CacheControl { stale_while_revalidate: Some(s(0)), ..none.clone() },
        ),
        ("stale-if-error=5", CacheControl { stale_if_error: Some(s(5)), ..none.clone() }),
        // §5.2.1.2, §5.2.1.3
        ("max-stale=5", CacheControl { max_stale: Some(s(5)), ..none.clone() }),
        ("max-stale", CacheControl { max_stale: Some(MAX_DELTA), ..none.clone() }),
        ("max-stale, max-stale=5", CacheControl { max_stale: Some(s(5)), ..none.clone() }),
        ("max-stale=x", CacheControl { max_stale: Some(s(0)), ..none.clone() }),
        ("min-fresh=5, min-fresh=9", CacheControl { min_fresh: Some(s(9)), ..none.clone() }),
        ("min-fresh=x", none.clone()),
        // An argument where none belongs: a restriction stands, a permission falls.
        ("no-store=\"x\"", CacheControl { no_store: true, ..none.clone() }),
        ("public=x, immutable=x, must-understand=x, only-if-cached=x", none.clone()),
        ("a-directive-whose-name-is-longer-than-all-others=1", none.clone()),
    ] {
        assert_eq!(parse(&[line]), expected, "{line}");
    }
}

/// RFC 9111 §5.2.2.4, §5.2.2.7: the qualified forms restrict the fields they name, and the whole
/// response when we cannot tell which these are.
#[test]
fn qualified_forms() {
    let many: Vec<String> = (0..=MAX_FIELDS).map(|at| format!("f{at}")).collect();
    let (most, too_many) = (many[..MAX_FIELDS].join(","), many.join(","));
    for (argument, whole, fields) in [
        ("\"Set-Cookie\"", false, &["set-cookie"][..]),
        // §5.2: a token stands for a quoted string of the same bytes.
        ("Set-Cookie", false, &["set-cookie"]),
        ("\"X-A, X-B\"", false, &["x-a", "x-b"]),
        ("\" ,X-A,, x-a ,\"", false, &["x-a"]),
        (r#""X\-A""#, false, &["x-a"]),
        // Nothing, or something else: all of it
        ("", true, &[]),
        ("\"\"", true, &[]),
        ("\" , \"", true, &[]),
        ("\"X-A X-B\"", true, &[]),
        ("\"X-A, @\"", true, &["x-a"]),
        ("\"X-A", true, &[]),
        ("\"X-A\"; foo", true, &[]),
        (
            &format!("\"{most}\""),
            false,
            &many[..MAX_FIELDS].iter().map(|name| &**name).collect::<Vec<_>>(),
        ),
    ] {
        for directive in ["no-cache", "private"] {
            let control = parse(&[&format!("{directive}={argument}")]);
            let found = match directive {
                "no-cache" => (control.no_cache, control.no_cache_fields),
                _ => (control.private, control.private_fields),
            };
            assert_eq!(found, (whole, names(fields)), "{directive}={argument}");
        }
    }
    assert!(parse(&[&format!("private=\"{too_many}\"")]).private);
    // Several lines add up, and the form without names stands beside the one with.
    let control = parse(&["private=\"a\", no-cache=\"c\"", "private=\"b, a\", private"]);
    assert_eq!(control.private_fields, names(&["a", "b"]));
    assert_eq!(control.no_cache_fields, names(&["c"]));
    assert!(control.private && !control.no_cache);
}

/// Not well formed, but it restricts: the visitor whose page it is matters more than the grammar.
#[test]
fn broken_members_restrict_and_never_permit() {
    for (line, expected) in [
        (
            "private; max-age=60",
            CacheControl { private: true, max_age: Some(s(0)), ..CacheControl::default() },
        ),
        (
            "max-age=60; no-store",
            CacheControl { no_store: true, max_age: Some(s(0)), ..CacheControl::default() },
        ),
        ("public; foo", CacheControl::default()),
        ("no-cache=\"Set-Cookie", CacheControl { no_cache: true, ..CacheControl::default() }),
        ("a=\"b, no-store", CacheControl { no_store: true, ..CacheControl::default() }),
        (
            "no-store private",
            CacheControl { no_store: true, private: true, ..CacheControl::default() },
        ),
        ("\u{a0}no-store", CacheControl { no_store: true, ..CacheControl::default() }),
        ("private=\"a\"b", CacheControl { private: true, ..CacheControl::default() }),
    ] {
        assert_eq!(parse(&[line]), expected, "{line}");
    }
}

/// RFC 9110 §5.3: lines of one name are one list.
#[test]
fn lines_are_joined() {
    let map = fields(&["Cache-Control: public", "X-Other: no-store", "cache-control: max-age=60"]);
    let expected = CacheControl { public: true, max_age: Some(s(60)), ..CacheControl::default() };
    assert_eq!(CacheControl::parse(&map), expected);
}
