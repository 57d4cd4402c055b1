use super::*;

/// Patterns against decoded names; what remains keeps its bytes.
#[test]
fn queries_lose_ignored_parameters() {
    let ignore = ["utm_*", "fbclid", "a b", "ঢাল"].map(String::from);
    for (query, expected) in [
        ("", None),
        ("id=1", None),
        ("fbclid=1", Some("")),
        ("fbclid", Some("")),
        ("utm_=1&id=1", Some("id=1")),
        ("id=1&utm_source=x&b=%2f&fbclid=y&c", Some("id=1&b=%2f&c")),
        ("&&fbclid&&a", Some("&&&a")),
        // Only the name counts, and all of it.
        ("id=fbclid", None),
        ("xfbclid=1&fbclid2=1&utm=1&xutm_a=1", None),
        ("id=1?fbclid=1", None),
        // Names are compared decoded, and case counts.
        ("fb%63lid=1&id=1", Some("id=1")),
        ("%75tm%5Fsource=1&id=1", Some("id=1")),
        ("%75tm%5fsource=1", Some("")),
        ("a+b=1&a%20b=2&c", Some("c")),
        ("FBCLID=1&UTM_a=1", None),
        ("%E0%A6%A2%E0%A6%BE%E0%A6%B2=1", Some("")),
        ("ঢাল=1", Some("")),
        // Escapes that are none stand for themselves.
        ("%fbclid=1&%6=1&%=1&%zz=1&%+1=1", None),
        // An encoded separator does not separate.
        ("x%26fbclid=1&fbclid%3D=1", None),
    ] {
        assert_eq!(filter_query(query, &ignore).as_deref(), expected, "{query}");
    }
    assert_eq!(filter_query("fbclid=1", &[]), None);
    assert_eq!(filter_query("a=1&b", &[String::from("*")]).as_deref(), Some(""));
    assert_eq!(filter_query("fb*=1&fb=1", &[String::from("fb*")]).as_deref(), Some(""));
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
