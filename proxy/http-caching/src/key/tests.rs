use super::*;
use crate::testing::{fields, names};

/// Patterns against decoded names; what remains keeps its bytes.
#[test]
fn queries_lose_ignored_parameters() {
    let policy = ignoring(&["utm_*", "fbclid", "a b", "ঢাল"]);
    for (query, expected) in [
        ("", Some("")),
        ("id=1", Some("id=1")),
        ("fbclid=1", None),
        ("fbclid", None),
        ("utm_=1&id=1", Some("id=1")),
        ("id=1&utm_source=x&b=%2f&fbclid=y&c", Some("id=1&b=%2f&c")),
        ("&&fbclid&&a", Some("&&&a")),
        // Only the name counts, and all of it.
        ("id=fbclid", Some("id=fbclid")),
        ("xfbclid=1&fbclid2=1&utm=1&xutm_a=1", Some("xfbclid=1&fbclid2=1&utm=1&xutm_a=1")),
        ("id=1?fbclid=1", Some("id=1?fbclid=1")),
        // Names are compared decoded, and case counts.
        ("fb%63lid=1&id=1", Some("id=1")),
        ("%75tm%5Fsource=1&id=1", Some("id=1")),
        ("%75tm%5fsource=1", None),
        ("a+b=1&a%20b=2&c", Some("c")),
        ("FBCLID=1&UTM_a=1", Some("FBCLID=1&UTM_a=1")),
        ("%E0%A6%A2%E0%A6%BE%E0%A6%B2=1", None),
        ("ঢাল=1", None),
        // Escapes that are none stand for themselves.
        ("%fbclid=1&%6=1&%=1&%zz=1&%+1=1", Some("%fbclid=1&%6=1&%=1&%zz=1&%+1=1")),
        // An encoded separator does not separate.
        ("x%26fbclid=1&fbclid%3D=1", Some("x%26fbclid=1&fbclid%3D=1")),
    ] {
        assert_eq!(keyed_query(query, &policy).as_deref(), expected, "{query}");
    }
    assert_eq!(keyed_query("fbclid=1", &ignoring(&[])).as_deref(), Some("fbclid=1"));
    assert_eq!(keyed_query("a=1&b", &ignoring(&["*"])), None);
    assert_eq!(keyed_query("", &ignoring(&["*"])).as_deref(), Some(""));
    assert_eq!(keyed_query("fb*=1&fb=1", &ignoring(&["fb*"])), None);
    // What remains is one empty parameter, which is nothing.
    assert_eq!(keyed_query("fbclid=1&", &policy), None);
    // Nothing to change, nothing to copy.
    assert!(matches!(keyed_query("id=1&c", &policy), Some(Cow::Borrowed("id=1&c"))));
}

fn ignoring(patterns: &[&str]) -> KeyPolicy {
    let ignore_query = patterns.iter().map(|pattern| String::from(*pattern)).collect();
    KeyPolicy { ignore_query, ..KeyPolicy::default() }
}

/// RFC 3986 §3.4 gives the order of parameters no meaning; an operator can say that it has none.
#[test]
fn queries_are_sorted_by_name() {
    let policy = KeyPolicy { sort_query: true, ..ignoring(&["utm_*"]) };
    for (query, expected) in [
        ("b=1&a=2", Some("a=2&b=1")),
        ("a=2&b=1", Some("a=2&b=1")),
        // Equal names keep their order, whatever their values.
        ("b&a=2&a=1&a", Some("a=2&a=1&a&b")),
        ("a=2&a=1", Some("a=2&a=1")),
        // The name ends at the first `=`, and is compared decoded: these may be one to the origin.
        ("a=&a%3D=1&a-=1&A", Some("A&a=&a-=1&a%3D=1")),
        ("b&a=1&%61=2", Some("a=1&%61=2&b")),
        ("b&%61=2&a=1", Some("%61=2&a=1&b")),
        ("%61=2&a=1", Some("%61=2&a=1")),
        ("b=a=0&a=b=1", Some("a=b=1&b=a=0")),
        // Empty parameters stay.
        ("b&&a&", Some("&&a&b")),
        ("=1&", Some("=1&")),
        // Dropped and sorted
        ("b=1&utm_x=1&a=2", Some("a=2&b=1")),
        ("utm_b&utm_a", None),
        ("", Some("")),
    ] {
        assert_eq!(keyed_query(query, &policy).as_deref(), expected, "{query}");
    }
    assert!(matches!(keyed_query("a&b", &policy), Some(Cow::Borrowed("a&b"))));
}

fn with_keyed(fields: &[&str], cookies: &[&str]) -> KeyPolicy {
    KeyPolicy {
        fields: names(fields),
        cookies: cookies.iter().map(|name| String::from(*name)).collect(),
        ..KeyPolicy::default()
    }
}

fn keyed(policy: &KeyPolicy, request: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    push_keyed(policy, &fields(request), &mut out);
    out
}

/// RFC 6265 §4.2.1, §5.4; RFC 9113 §8.2.3: only the chosen cookies, whatever their order.
#[test]
fn chosen_cookies() {
    for (names, lines, expected) in [
        (&["a"][..], &["Cookie: a=1"][..], Some("a=1")),
        (&["a"], &["Cookie: x=0; a=1; y=2"], Some("a=1")),
        (&["a", "b"], &["Cookie: b=2; a=1"], Some("a=1; b=2")),
        (&["b", "a"], &["Cookie: a=1; b=2"], Some("b=2; a=1")),
        // In pieces, and without spaces
        (&["a", "b"], &["Cookie: b=2", "Cookie: x=0", "Cookie: a=1"], Some("a=1; b=2")),
        (&["a", "b"], &["Cookie: b=2;a=1;"], Some("a=1; b=2")),
        // All of one name, in their order
        (&["a", "b"], &["Cookie: a=2; b=0; a=1"], Some("a=2; a=1; b=0")),
        (&["a", "a"], &["Cookie: a=1"], Some("a=1")),
        // Values keep their bytes.
        (&["a"], &["Cookie: a=\"1 2\"=3"], Some("a=\"1 2\"=3")),
        (&["a"], &["Cookie: a = 1 "], Some("a = 1")),
        (&["a"], &["Cookie: a="], Some("a=")),
        // Names are compared as they are, and all of them.
        (&["a"], &["Cookie: A=1; aa=1; b=a=1"], None),
        (&["a"], &["Cookie: a; =a"], None),
        (&["a"], &["Cookie:"], None),
        (&["a"], &[], None),
        (&[], &["Cookie: a=1"], None),
    ] {
        let policy = with_keyed(&[], names);
        let found = keyed_cookies(&fields(lines), &policy.cookies);
        assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{names:?} {lines:?}");
    }
}

/// RFC 9111 §2, §4.1: what the policy adds tells requests apart, and nothing else does.
#[test]
fn chosen_fields_and_cookies_are_in_the_key() {
    let policy = with_keyed(&["x-a", "accept"], &["c"]);
    let base = keyed(&policy, &["X-A: 1", "Accept: a, b", "Cookie: c=1"]);
    for same in [
        &["X-A: 1", "Accept: a,b", "Cookie: d=2; c=1"][..],
        &["Cookie: d=2", "Cookie: c=1", "Accept: a", "Accept: b", "X-A: 1", "X-B: 1"],
    ] {
        assert_eq!(keyed(&policy, same), base, "{same:?}");
    }
    for other in [
        &["X-A: 2", "Accept: a, b", "Cookie: c=1"][..],
        &["X-A: 1", "Accept: a, b", "Cookie: c=2"],
        &["X-A: 1", "Accept: a, b", "Cookie: c="],
        &["X-A: 1", "Accept: a, b"],
        &["X-A: 1", "Cookie: c=1"],
        &["X-A:", "Accept: a, b", "Cookie: c=1"],
        &["Accept: a, b", "Cookie: c=1"],
    ] {
        assert_ne!(keyed(&policy, other), base, "{other:?}");
    }
    assert_ne!(keyed(&policy, &["X-A:"]), keyed(&policy, &[]));
    // Nothing named, nothing appended.
    assert_eq!(keyed(&KeyPolicy::default(), &["X-A: 1", "Cookie: c=1"]), b"");
    // Neither a key without, nor one for other fields.
    assert_ne!(keyed(&with_keyed(&["x-a"], &[]), &[]), keyed(&with_keyed(&["x-b"], &[]), &[]));
    assert_ne!(keyed(&with_keyed(&[], &["c"]), &[]), b"");
}

fn key(scheme: &str, authority: &str, path: &str, query: Option<&str>) -> Vec<u8> {
    let mut key = Vec::new();
    cache_key(scheme, authority, path, query, &mut key);
    key
}

/// RFC 9111 §2: different targets, different keys, however their parts run into each other.
#[test]
fn keys_are_unambiguous() {
    let targets = [
        ("http", "shop", "/", None),
        ("https", "shop", "/", None),
        ("http", "shop/", "", None),
        ("http", "shop", "", Some("/")),
        ("http", "shop", "/", Some("")),
        ("http", "shop", "/?", None),
        ("http", "shop", "/", Some("a")),
        ("http", "shop", "/a", None),
        ("http", "shop", "/A", None),
        ("https", "hop", "/", None),
        ("", "httpshop", "/", None),
        ("http", "shop:80", "/", None),
        ("http", "shop", "/\0", None),
    ];
    for (at, a) in targets.iter().enumerate() {
        for b in &targets[at + 1..] {
            assert_ne!(key(a.0, a.1, a.2, a.3), key(b.0, b.1, b.2, b.3), "{a:?} {b:?}");
        }
    }
    // RFC 9110 §4.2.3: scheme and authority in any case, path and query as they are.
    assert_eq!(key("HTTP", "Shop", "/a", None), key("http", "shop", "/a", None));
    assert_ne!(key("http", "shop", "/", Some("a")), key("http", "shop", "/", Some("A")));
    // Appended, not replaced.
    let mut out = vec![7];
    cache_key("http", "shop", "/", None, &mut out);
    assert_eq!(out[0], 7);
    assert_eq!(out[1..], key("http", "shop", "/", None));
}
