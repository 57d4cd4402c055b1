//! While no server can answer, browsing goes on.

use std::time::{Duration, Instant};

use crate::{
    disk::passed,
    edge::Edge,
    h2::H2,
    origin::{Origin, page},
    tools::eventually,
};

fn shop() -> Origin {
    Origin::start(|r| {
        let answer = page(format!("{} {}", r.target, r.nth));
        match r.target.as_str() {
            "/strict" => answer.field("Cache-Control", "max-age=1, must-revalidate"),
            "/page" | "/other" => answer.fresh(1),
            _ => answer.field("Cache-Control", "no-store"),
        }
    })
}

fn config(servers: &[&Origin], more: &str) -> String {
    let servers: Vec<_> = servers.iter().map(|s| format!("\"{s}\"")).collect();
    format!(
        r#"
        [upstreams.shop]
        servers = [{}]
        retry = {{ wait = "200ms" }}
        shop_window = "1h"
        {more}

        [cache.policies.pages]
        bypass_cookies = ["session"]

        [[routes]]
        upstream = "shop"
        cache = "pages"
        "#,
        servers.join(", ")
    )
}

const CHECKS: &str = "health_check = { path = \"/healthz\", interval = \"100ms\", timeout = \"5s\", healthy = 1, unhealthy = 1 }";
const WINDOW: &str = "dhal; hit; detail=shop-window";
const OPEN: &str = "dhal_shop_window{upstream=\"shop\"}";

#[test]
fn browsing_goes_on_and_recovery_needs_no_hand() {
    let (mut one, mut two) = (shop(), shop());
    let edge = Edge::start_tls(&config(&[&one, &two], CHECKS));
    let mut h2 = H2::connect(edge.site.https);
    for path in ["/page", "/strict"] {
        assert_eq!(edge.get(path).status, 200);
        assert_eq!(h2.get(path).status, 200);
    }
    let stored = Instant::now();
    assert_eq!(edge.metric(OPEN), Some(0.0));
    one.stop();
    two.stop();
    eventually("it opens", || edge.metric(OPEN) == Some(1.0));
    passed(stored, Duration::from_millis(1_100));

    let session = [("cookie", "session=1")];
    for answer in [
        edge.get("/page"),
        edge.ask("GET", "/page", &session),
        h2.get("/page"),
        h2.ask("GET", "/page", &session, None).expect("an answer"),
    ] {
        assert_eq!((answer.status, answer.cache()), (200, WINDOW));
        assert!(answer.text().starts_with("/page "), "{}", answer.text());
        assert!(answer.ttl() <= Some(0), "{:?}", answer.ttl());
    }
    // What must be validated, what was never seen, and what changes something.
    let checkout = [("content-length", "0")];
    for (answer, is_safe) in [
        (edge.get("/strict"), true),
        (edge.get("/never"), true),
        (edge.ask("GET", "/never", &session), true),
        (edge.ask("POST", "/checkout", &checkout), false),
        (h2.get("/strict"), true),
        (
            h2.ask("POST", "/checkout", &[], Some(&["a=b"]))
                .expect("an answer"),
            false,
        ),
    ] {
        assert_eq!(answer.status, 503);
        assert_eq!(answer.field("retry-after"), Some("10"));
        assert_eq!(answer.field("refresh").is_some(), is_safe);
        let text = answer.text();
        assert!(
            text.contains("We are back") && text.contains("ফিরছি"),
            "{text}"
        );
    }
    let json = edge.ask("GET", "/never", &[("accept", "application/json")]);
    let json: serde_json::Value = serde_json::from_str(&json.text()).expect("JSON");
    assert_eq!(json["error"]["retry_after"], 10);

    let status = edge.site.dhal(&["status"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(text.contains("shop window open"), "{text}");
    edge.says("shop window opens");
    edge.counts("dhal_cache_requests_total{outcome=\"shop-window\"}", 4.0);

    two.restart();
    eventually("a checkout succeeds", || {
        edge.ask("POST", "/checkout", &checkout).status == 200
    });
    edge.counts(OPEN, 0.0);
    eventually("pages are new", || edge.get("/page").text() != "/page 1");
    // Fresh for a second only.
    eventually("they are stored", || edge.get("/page").is_hit());
    edge.says("shop window closes");
}

#[test]
fn without_checks_it_opens_and_closes_as_well() {
    let mut shop = shop();
    let edge = Edge::start(&config(&[&shop], ""));
    assert_eq!(edge.get("/page").status, 200);
    shop.stop();
    let checkout = || edge.ask("POST", "/checkout", &[("content-length", "0")]);
    eventually("it opens", || {
        let answer = checkout();
        answer.status == 503 && answer.field("retry-after") == Some("10")
    });
    eventually("a page answers", || edge.get("/page").cache() == WINDOW);
    assert!((0..20).all(|_| edge.get("/page").status == 200));
    shop.restart();
    eventually("it closes", || checkout().status == 200);
    eventually("pages are new", || edge.get("/page").text() != "/page 1");
}

#[test]
fn without_a_window_others_rules_hold() {
    let mut shop = shop();
    let edge = Edge::start(&config(&[&shop], CHECKS).replace("shop_window = \"1h\"", ""));
    assert_eq!(edge.get("/page").status, 200);
    let stored = Instant::now();
    shop.stop();
    passed(stored, Duration::from_millis(1_100));
    eventually("nobody is asked", || edge.get("/page").status == 503);
    assert_eq!(edge.metric(OPEN), None);
    assert_eq!(edge.get("/page").field("retry-after"), Some("5"));
}

#[test]
fn a_session_that_meets_the_end_of_the_last_server_gets_everyones_page() {
    let mut shop = shop();
    let edge = Edge::start_tls(&config(&[&shop], ""));
    let mut h2 = H2::connect(edge.site.https);
    assert_eq!(edge.get("/page").status, 200);
    assert_eq!(h2.get("/page").status, 200);
    shop.stop();
    // Nobody knows yet: it is asked for in person, and waited for.
    let session = [("cookie", "session=1")];
    for answer in [
        edge.ask("GET", "/page", &session),
        h2.ask("GET", "/page", &session, None).expect("an answer"),
    ] {
        assert_eq!(answer.status, 200);
        assert!(answer.cache().starts_with("dhal; hit"), "{answer:?}");
    }
    let own = edge.ask("GET", "/cart", &session);
    assert_eq!((own.status, own.field("retry-after")), (503, Some("10")));
    let secret = [("cookie", "session=1"), ("authorization", "Basic YTpi")];
    assert_eq!(edge.ask("GET", "/page", &secret).status, 503);
    eventually("all are in the log", || edge.log().len() == 6);
}
