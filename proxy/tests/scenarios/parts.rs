//! Parts of responses, and what the shop is offered to choose from (RFC 9111 §3.3, §3.4, §4.3.1).

use crate::{
    edge::Edge,
    origin::{Answer, Origin, Seen, page, raw},
    serving::smallest,
    tools::eventually,
};

const SIZE: usize = 40_000;

fn content() -> Vec<u8> {
    (0..SIZE).map(|at| b'a' + (at % 23) as u8).collect()
}

/// A shop with one file that knows ranges.
fn file(r: &Seen, tag: &str) -> Answer {
    let whole = content();
    let range = r.field("range").and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let first: usize = first.parse().ok()?;
        let last = last.parse().unwrap_or(SIZE - 1).min(SIZE - 1);
        Some((first, last))
    });
    let answer = match range {
        None => page(whole),
        Some((first, last)) => page(&whole[first..=last])
            .status(206)
            .field("Content-Range", format!("bytes {first}-{last}/{SIZE}")),
    };
    answer
        .fresh(60)
        .field("ETag", tag)
        .field("Accept-Ranges", "bytes")
}

fn small_store(shop: &Origin) -> String {
    smallest(shop) + "[cache]\nmax_object = \"16KiB\"\n"
}

#[test]
fn parts_of_what_is_too_large_are_stored_and_put_together() {
    let shop = Origin::start(|r| file(r, "\"v1\""));
    let edge = Edge::start(&small_store(&shop));
    let part = |first: usize, last: usize| {
        let range = format!("bytes={first}-{last}");
        let answer = edge.ask("GET", "/file", &[("Range", &range)]);
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.body, &content()[first..=last], "{range}");
        let told = format!("bytes {first}-{last}/{SIZE}");
        assert_eq!(answer.field("content-range"), Some(told.as_str()));
        answer
    };
    assert_eq!(edge.get("/file").body, content(), "it passes as a whole");
    let asked = shop.count("/file");
    assert_eq!(part(0, 9_999).cache(), "dhal; fwd=uri-miss; stored");
    assert_eq!(part(10_000, 19_999).cache(), "dhal; fwd=uri-miss; stored");
    assert_eq!(shop.count("/file"), asked + 2);
    // From one part, from another, and across the two.
    for (first, last) in [(0, 9_999), (100, 200), (15_000, 15_000), (9_000, 11_000)] {
        assert!(part(first, last).is_hit(), "{first}-{last}");
    }
    assert_eq!(shop.count("/file"), asked + 2);
    assert!(!part(19_000, 20_001).is_hit(), "not all of it is here");
    // A part that is larger than what is stored passes.
    assert_eq!(part(0, 39_999).cache(), "dhal; fwd=uri-miss");
}

#[test]
fn parts_of_another_version_are_not_put_together() {
    let shop = Origin::start(|r| {
        let version = if r.nth < 3 { "\"v1\"" } else { "\"v2\"" };
        file(r, version)
    });
    let edge = Edge::start(&small_store(&shop));
    let part = |range: &str| edge.ask("GET", "/file", &[("Range", range)]);
    edge.get("/file");
    assert_eq!(part("bytes=0-99").field("etag"), Some("\"v1\""));
    assert_eq!(part("bytes=100-199").field("etag"), Some("\"v2\""));
    assert!(!part("bytes=50-150").is_hit());
    assert!(part("bytes=100-150").is_hit());
}

#[test]
fn the_rest_of_what_broke_off_is_asked_for_later() {
    let shop = Origin::start(|r| {
        let whole = String::from_utf8(content()).expect("text");
        match r.nth {
            // Broken off, and once more when it is taken up again.
            1 | 2 => raw(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"v1\"\r\n\
                 Cache-Control: max-age=60\r\nContent-Length: {SIZE}\r\n\r\n{}",
                &whole[..10_000]
            )),
            _ => file(r, "\"v1\""),
        }
    });
    let edge = Edge::start(&smallest(&shop));
    let mut conn = edge.connect();
    conn.request("GET", "/file", &[]);
    let broken = conn.try_response("GET");
    assert!(broken.is_err(), "it never looks whole");
    eventually("the fetch has ended", || shop.count("/file") == 2);
    let answer = edge.get("/file");
    assert_eq!(answer.body, content());
    let seen = shop.seen();
    let last = seen.last().expect("a request");
    assert_eq!(last.field("range"), Some("bytes=10000-"));
    assert_eq!(last.field("if-range"), Some("\"v1\""));
    assert!(edge.get("/file").is_hit());
}

#[test]
fn another_visitors_variant_may_be_chosen() {
    let shop = Origin::start(|r| {
        let language = match r.field("accept-language") {
            Some("bn") => "bn",
            _ => "en",
        };
        let tag = format!("\"{language}\"");
        let known = r
            .field("if-none-match")
            .is_some_and(|tags| tags.contains(&tag));
        let answer = page(if known { "" } else { language })
            .status(if known { 304 } else { 200 })
            .fresh(60)
            .field("Vary", "Accept-Language");
        answer.field("ETag", &tag)
    });
    let edge = Edge::start(&smallest(&shop));
    let get = |language: &str| edge.ask("GET", "/", &[("Accept-Language", language)]);
    assert_eq!(get("bn").text(), "bn");
    assert_eq!(get("en").text(), "en");
    let french = get("fr");
    assert_eq!(french.text(), "en");
    assert_eq!(
        french.cache(),
        "dhal; fwd=vary-miss; fwd-status=304; stored"
    );
    let seen = shop.seen();
    let tags = seen.last().and_then(|r| r.field("if-none-match"));
    assert!(tags.is_some_and(|tags| tags.contains("\"bn\"") && tags.contains("\"en\"")));
    assert!(get("fr").is_hit());
    assert_eq!(get("bn").text(), "bn");
}
