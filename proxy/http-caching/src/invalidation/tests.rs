use super::*;

/// RFC 9111 §4.4: non-error answers to methods that are unsafe or unknown.
#[test]
fn unsafe_methods_with_a_non_error_status() {
    for (method, status, expected) in [
        ("POST", 200, true),
        ("POST", 201, true),
        ("PUT", 204, true),
        ("DELETE", 202, true),
        ("PATCH", 303, true),
        ("PATCH", 399, true),
        ("PURGE", 200, true),
        ("get", 200, true),
        ("POST", 100, false),
        ("POST", 400, false),
        ("DELETE", 404, false),
        ("PUT", 500, false),
        ("PUT", 999, false),
        // RFC 9110 §9.2.1: safe methods
        ("GET", 200, false),
        ("HEAD", 200, false),
        ("OPTIONS", 200, false),
        ("TRACE", 200, false),
    ] {
        let parsed = Method::from_bytes(method.as_bytes()).unwrap();
        let code = StatusCode::from_u16(status).unwrap();
        assert_eq!(invalidates(&parsed, code), expected, "{method} {status}");
    }
}

/// RFC 9111 §4.4: other targets only within the origin of the request.
#[test]
fn targets_within_the_origin() {
    for (reference, expected) in [
        ("/cart", Some(("/cart", None))),
        ("/cart?id=1#top", Some(("/cart", Some("id=1")))),
        ("/cart#a?b", Some(("/cart", None))),
        ("https://shop.example/cart?", Some(("/cart", Some("")))),
        ("HTTPS://Shop.Example/Cart", Some(("/Cart", None))),
        ("https://shop.example", Some(("/", None))),
        ("https://shop.example?a", Some(("/", Some("a")))),
        ("//shop.example/cart", Some(("/cart", None))),
        // RFC 9110 §4.2.3: the default port, and an empty one
        ("https://shop.example:443/cart", Some(("/cart", None))),
        ("https://Shop.example:/cart", Some(("/cart", None))),
        ("//shop.example:443?a", Some(("/", Some("a")))),
        ("https://shop.example:80/cart", None),
        ("https://shop.example:443:443/cart", None),
        ("http://shop.example:443/cart", None),
        ("http://shop.example/cart", None),
        ("https://shop.example.evil/cart", None),
        ("https://shop.example:8443/cart", None),
        ("https://user@shop.example/cart", None),
        ("https://other.example/cart", None),
        ("//other.example/cart", None),
        ("https:/cart", None),
        ("cart", None),
        ("?a", None),
        ("#a", None),
        ("", None),
        ("ঢাল", None),
    ] {
        assert_eq!(same_origin_target("https", "shop.example", reference), expected, "{reference}");
    }
    // The port may stand on the request's side as well.
    for (scheme, authority, reference) in [
        ("http", "shop.example:80", "http://shop.example/"),
        ("https", "shop.example:443", "https://shop.example/"),
        ("http", "[::1]", "http://[::1]:80/"),
    ] {
        assert_eq!(
            same_origin_target(scheme, authority, reference),
            Some(("/", None)),
            "{reference}"
        );
    }
    assert_eq!(same_origin_target("http", "shop.example:443", "http://shop.example/"), None);
}
