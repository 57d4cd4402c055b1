//! What a visitor's request may do to what others are given: nothing.

use std::time::Duration;

use crate::{
    edge::Edge,
    h2::H2,
    origin::{Origin, page},
    serving::{plain, smallest},
    tools::eventually,
};

#[test]
fn a_refresh_begins_over_http2_as_well() {
    let shop = Origin::start(|r| {
        let answer = page(format!("{}", r.nth));
        match r.nth {
            1 => answer.field("Cache-Control", "max-age=1, stale-while-revalidate=60"),
            _ => answer.fresh(60),
        }
    });
    let edge = Edge::start_tls(&plain(&shop));
    let mut h2 = H2::connect(edge.site.https);
    assert_eq!(h2.get("/page").text(), "1");
    // A visitor's own mark means nothing.
    let mine = [("dhal-refresh", "0")];
    eventually("the refresh is stored", || {
        let answer = h2.ask("GET", "/page", &mine, None).expect("an answer");
        answer.text() == "2"
    });
    assert_eq!(shop.count("/page"), 2);
    assert!(
        shop.seen()
            .iter()
            .all(|r| r.field("dhal-refresh").is_none())
    );
}

#[test]
fn a_request_for_less_does_not_store_less() {
    for (method, field) in [
        ("HEAD", None),
        ("GET", Some(("if-none-match", "\"v\""))),
        ("GET", Some(("range", "bytes=0-1"))),
    ] {
        let shop = Origin::start(|_| page("x".repeat(300_000)).fresh(60).field("ETag", "\"v\""));
        let edge = Edge::start_tls(&plain(&shop));
        let mut h2 = H2::connect(edge.site.https);
        let fields: Vec<_> = field.into_iter().collect();
        let first = h2
            .ask(method, "/p", &fields, None)
            .expect("an answer that holds together");
        let (status, length) = match (method, field) {
            ("HEAD", _) => (200, 0),
            (_, Some(("range", _))) => (206, 2),
            // The client has what the shop answers.
            _ => (304, 0),
        };
        assert_eq!(first.status, status, "{method} {field:?}");
        assert_eq!(first.body.len(), length, "{method} {field:?}");
        assert_eq!(h2.get("/p").body.len(), 300_000, "{method} {field:?}");
        let third = h2.ask(method, "/p", &fields, None).expect("an answer");
        assert!(third.is_hit(), "{method} {field:?}: {}", third.cache());
    }
}

#[test]
fn variants_do_not_come_back_after_an_invalidation() {
    let shop = Origin::start(|r| {
        let language = r.field("accept-language").unwrap_or("none").to_owned();
        page(format!("{language} {}", r.nth))
            .fresh(60)
            .field("Vary", "Accept-Language")
    });
    let edge = Edge::start(&smallest(&shop));
    let get = |language: &str| edge.ask("GET", "/v", &[("Accept-Language", language)]);
    assert_eq!(
        (get("bn").text(), get("en").text()),
        // The first answer was to a request without any language.
        ("bn 2".into(), "en 3".into())
    );
    assert!(get("bn").is_hit() && get("en").is_hit());
    assert_eq!(
        edge.ask("POST", "/v", &[("Content-Length", "0")]).status,
        200
    );
    assert_eq!(get("bn").text(), "bn 5");
    assert_eq!(get("en").text(), "en 6", "the one from before must be gone");
}

#[test]
fn where_an_unsafe_request_leads_is_invalidated_too() {
    let shop = Origin::start(|r| match r.method.as_str() {
        "POST" => page("").status(303).field("Location", "/list?page=1"),
        _ => page(format!("{}", r.nth)).fresh(60),
    });
    let edge = Edge::start(&smallest(&shop));
    assert_eq!(edge.get("/list?page=1").text(), "1");
    assert!(edge.get("/list?page=1").is_hit());
    assert_eq!(
        edge.ask("POST", "/add", &[("Content-Length", "0")]).status,
        303
    );
    assert_eq!(edge.get("/list?page=1").text(), "2");
}

#[test]
fn a_field_that_the_shop_never_sees_chooses_no_variant() {
    let shop = Origin::start(|r| {
        let language = r.field("accept-language").unwrap_or("none").to_owned();
        page(language).fresh(60).field("Vary", "Accept-Language")
    });
    let edge = Edge::start(&smallest(&shop));
    let poison = [("Accept-Language", "bn"), ("Connection", "accept-language")];
    assert_eq!(edge.ask("GET", "/v", &poison).text(), "none");
    assert_eq!(
        edge.ask("GET", "/v", &[("Accept-Language", "bn")]).text(),
        "bn"
    );
}

#[test]
fn preconditions_of_the_origin_reach_it() {
    let shop = Origin::start(|r| match r.field("if-match") {
        Some("\"new\"") => page("failed").status(412),
        _ => page("ok").fresh(60).field("ETag", "\"old\""),
    });
    let edge = Edge::start(&smallest(&shop));
    assert_eq!(edge.get("/p").text(), "ok");
    assert_eq!(
        edge.ask("GET", "/p", &[("If-Match", "\"new\"")]).status,
        412
    );
    assert!(edge.get("/p").is_hit());
}

#[test]
fn an_answer_carries_one_request_id_its_own() {
    let shop = Origin::start(|r| {
        let id = r.field("x-request-id").unwrap_or_default().to_owned();
        page("ok").fresh(60).field("X-Request-ID", id)
    });
    let edge = Edge::start(&smallest(&shop));
    let ids: Vec<String> = (0..3)
        .map(|_| {
            let answer = edge.get("/p");
            assert_eq!(answer.count("x-request-id"), 1);
            answer.field("x-request-id").unwrap_or_default().to_owned()
        })
        .collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
}

#[test]
fn a_304_about_something_else_updates_nothing() {
    let shop = Origin::start(|r| match r.nth {
        1 => page("old").fresh(1).field("ETag", "\"v1\""),
        _ if r.field("if-none-match").is_some() => {
            page("").status(304).fresh(60).field("ETag", "\"v2\"")
        }
        _ => page("new").fresh(60).field("ETag", "\"v2\""),
    });
    let edge = Edge::start(&smallest(&shop));
    assert_eq!(edge.get("/p").text(), "old");
    let mut answer = edge.get("/p");
    eventually("it is validated", || {
        answer = edge.get("/p");
        !answer.is_hit() || answer.text() == "new"
    });
    // What was not confirmed is asked for once more, without conditions (RFC 9111 §4.3.4).
    assert_eq!(answer.text(), "new");
    assert_eq!(shop.count("/p"), 3);
}

#[test]
fn a_server_is_asked_again_when_nobody_checks_it_any_more() {
    let mut shop = Origin::start(|_| page("ok"));
    let check = "health_check = { path = \"/healthz\", interval = \"100ms\", timeout = \"1s\", healthy = 1, unhealthy = 1 }";
    let with = smallest(&shop).replace("servers =", &format!("{check}\n        servers ="));
    let edge = Edge::start(&with);
    shop.stop();
    eventually("it is down", || edge.get("/").status == 503);
    assert!(edge.reload(&smallest(&shop)).status.success());
    shop.restart();
    eventually("it is asked again", || edge.get("/").status == 200);
}

#[test]
fn an_http2_upload_that_stops_is_given_up() {
    let shop = Origin::start(|_| page("early").status(413));
    let config = plain(&shop) + "[server]\nbody_timeout = \"300ms\"\n";
    let edge = Edge::start_tls(&config);
    let mut h2 = H2::connect(edge.site.https);
    let request = crate::h2::request("POST", "/upload", &[("content-length", "10")]);
    let sender = h2.sender.clone();
    h2.runtime.block_on(async {
        let mut sender = sender.ready().await.expect("a stream");
        let (response, mut body) = sender.send_request(request, false).expect("sent");
        body.send_data(bytes::Bytes::from_static(b"1"), false)
            .expect("sent");
        let ended = async {
            if let Ok(answer) = response.await {
                let mut content = answer.into_body();
                while let Some(Ok(_)) = content.data().await {}
            }
            std::future::poll_fn(|cx| body.poll_reset(cx)).await
        };
        tokio::time::timeout(Duration::from_secs(10), ended)
            .await
            .expect("the stream is reset or ended in time")
            .ok();
    });
    assert_eq!(h2.get("/other").status, 413, "the connection lives on");
}
