//! What the store answers.

use super::World;

#[test]
fn the_store_answers_while_fresh() {
    let world = World::new();
    let etag = ("etag", "\"v1\"");
    world.store("/pages/a", &[("cache-control", "max-age=60"), etag], &[]);
    for (seconds, line, fields, wanted) in [
        (0, "GET /pages/a", &[][..], "Whole age 0"),
        (59, "HEAD /pages/a", &[], "Whole age 59"),
        (60, "GET /pages/a", &[], "stale /pages/a fetch"),
        (1, "GET /pages/b", &[], "uri-miss /pages/b fetch"),
        (1, "POST /pages/a", &[], "method /pages/a"),
        (1, "GET /pages/%61", &[], "Whole age 1"),
        (1, "GET /pages/A", &[], "uri-miss /pages/A fetch"),
        (1, "GET /pages/a?utm_source=x", &[], "Whole age 1"),
        (
            1,
            "GET /pages/b?utm_source=x&q=1",
            &[],
            "uri-miss /pages/b?q=1 fetch",
        ),
        (
            1,
            "GET /pages/b?utm_source=x",
            &[],
            "uri-miss /pages/b fetch",
        ),
        (1, "GET /pages/a?", &[], "uri-miss /pages/a? fetch"),
        (
            1,
            "GET /pages/a",
            &[("host", "other.example")],
            "uri-miss /pages/a fetch",
        ),
        (
            1,
            "GET /pages/a",
            &[("cookie", "a=1; session=2")],
            "bypass /pages/a",
        ),
        (
            1,
            "GET /pages/a",
            &[("cookie", "a=1; xsession=2")],
            "Whole age 1",
        ),
        (
            1,
            "GET /pages/a",
            &[("content-length", "3")],
            "bypass /pages/a",
        ),
        (
            1,
            "GET /pages/a",
            &[("if-none-match", "\"v1\"")],
            "NotModified age 1",
        ),
        (
            1,
            "GET /pages/a",
            &[("if-none-match", "\"v2\"")],
            "Whole age 1",
        ),
        (
            1,
            "GET /pages/a",
            &[("if-match", "\"v2\"")],
            "bypass /pages/a",
        ),
        (
            1,
            "GET /pages/a",
            &[("range", "bytes=2-4")],
            "Part { first: 2, last: 4 } age 1",
        ),
        (1, "HEAD /pages/a", &[("range", "bytes=2-4")], "Whole age 1"),
        (
            1,
            "GET /pages/a",
            &[("range", "bytes=10-")],
            "RangeNotSatisfiable age 1",
        ),
        (
            1,
            "GET /pages/a",
            &[("range", "bytes=0-0,2-3")],
            "Parts([(0, 0), (2, 3)]) age 1",
        ),
        (1, "HEAD /pages/b", &[], "uri-miss /pages/b fetch"),
        (61, "HEAD /pages/a", &[], "stale /pages/a fetch"),
        (
            1,
            "GET /pages/a",
            &[("connection", "close, accept-language")],
            "bypass /pages/a",
        ),
        (
            1,
            "GET /pages/a",
            &[("connection", "Keep-Alive")],
            "Whole age 1",
        ),
        // RFC 9111 §3.5: the origin did not say that it may be shared with credentials.
        (
            1,
            "GET /pages/a",
            &[("authorization", "Basic eA==")],
            "bypass /pages/a",
        ),
    ] {
        assert_eq!(
            world.ask(seconds, line, fields),
            wanted,
            "{line} {fields:?}"
        );
    }
}

#[test]
fn variants_are_kept_apart() {
    let world = World::new();
    let vary = [
        ("cache-control", "public, max-age=60"),
        ("vary", "Accept-Language"),
    ];
    world.store("/pages/v", &vary, &[("accept-language", "bn")]);
    world.store("/pages/v", &vary, &[]);
    for (fields, wanted) in [
        (&[("accept-language", "bn")][..], "Whole age 1"),
        (&[], "Whole age 1"),
        (&[("accept-language", "en")], "vary-miss /pages/v fetch"),
        (&[("accept-language", "")], "vary-miss /pages/v fetch"),
        (
            &[("accept-language", "bn"), ("authorization", "Basic eA==")],
            "Whole age 1",
        ),
    ] {
        assert_eq!(world.ask(1, "GET /pages/v", fields), wanted, "{fields:?}");
    }
}

#[test]
fn what_must_be_validated_is_not_reused() {
    let world = World::new();
    world.store(
        "/pages/n",
        &[("cache-control", "no-cache, max-age=60"), ("etag", "\"v\"")],
        &[],
    );
    assert_eq!(world.ask(0, "GET /pages/n", &[]), "stale /pages/n fetch");
}
