//! A shop that fails, and one that need not be waited for.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::Conn,
    disk::passed,
    edge::Edge,
    h2::H2,
    origin::{Answer, Origin, page, raw},
    serving::{plain, smallest},
    tools::{Gate, eventually},
};

fn without_retries(config: &str) -> String {
    config.replace("[[routes]]", "retry = { attempts = 0 }\n[[routes]]")
}

const STALE: &str = "dhal; hit; detail=stale-if-error";

fn mixed() -> Origin {
    Origin::start(|r| {
        let answer = page(format!("{} {}", r.target, r.nth));
        match r.target.as_str() {
            "/kept" => answer.field("Cache-Control", "max-age=1, stale-if-error=600"),
            "/fresh" => answer.fresh(600),
            "/strict" => answer.field("Cache-Control", "max-age=1, must-revalidate"),
            "/window-over" => answer
                .field("Cache-Control", "max-age=100, stale-if-error=1")
                .field("Age", "99"),
            _ => answer.field("Cache-Control", "no-store"),
        }
    })
}

#[test]
fn a_shop_that_is_gone_leaves_its_kept_pages() {
    let mut shop = mixed();
    let edge = Edge::start_tls(&without_retries(&plain(&shop)));
    let mut h2 = H2::connect(edge.site.https);
    let paths = ["/kept", "/fresh", "/strict", "/window-over", "/own"];
    for path in paths {
        assert_eq!(edge.get(path).status, 200);
        assert_eq!(h2.get(path).status, 200);
    }
    let stored = Instant::now();
    shop.stop();
    // The second of the stale window, after the second of the lifetime.
    passed(stored, Duration::from_millis(2_200));
    for _ in 0..10 {
        let answer = edge.get("/kept");
        assert_eq!((answer.status, answer.cache()), (200, STALE));
        assert_eq!(answer.text(), "/kept 1");
        let answer = h2.get("/kept");
        assert_eq!((answer.status, answer.cache()), (200, STALE));
        assert!(edge.get("/fresh").is_hit());
    }
    for path in ["/strict", "/window-over", "/own", "/never-seen"] {
        for answer in [edge.get(path), h2.get(path)] {
            assert!(
                matches!(answer.status, 502 | 503),
                "{path}: {}",
                answer.status
            );
            assert!(answer.field("x-request-id").is_some(), "{path}");
            assert!(answer.text().contains("<html"), "{path}: {}", answer.text());
        }
    }
    shop.restart();
    eventually("it recovers by itself", || {
        let answers = paths.map(|path| edge.get(path));
        answers.iter().all(|a| a.status == 200) && answers[0].text() != "/kept 1"
    });
    assert_eq!(edge.get("/kept").status, 200);
}

type Failing = fn() -> Answer;

#[test]
fn a_failing_shop_is_left_in_peace_for_a_moment() {
    let cases: [(&str, Failing); 3] = [
        ("503", || page("broken").status(503)),
        ("500", || page("broken").status(500)),
        ("hangs up", || raw("")),
    ];
    for (what, fails) in cases {
        let shop = Origin::start(move |r| match r.nth {
            1 => page("kept").field("Cache-Control", "max-age=1, stale-if-error=600"),
            _ => fails(),
        });
        let edge = Edge::start(&without_retries(&smallest(&shop)));
        edge.get("/");
        passed(Instant::now(), Duration::from_millis(1_200));
        let began = Instant::now();
        for _ in 0..100 {
            let answer = edge.get("/");
            assert_eq!((answer.status, answer.cache()), (200, STALE), "{what}");
        }
        let most = 2 + began.elapsed().as_secs() as usize;
        let asked = shop.count("/") - 1;
        assert!((1..=most).contains(&asked), "{what}: asked {asked} times");
        // It is asked again after about a second.
        eventually("it is tried again", || {
            edge.get("/");
            shop.count("/") > asked + 1
        });
        assert!(began.elapsed() > Duration::from_millis(900), "{what}");
    }
}

#[test]
fn a_failing_shop_is_left_in_peace_while_stale_pages_answer() {
    let shop = Origin::start(|r| match r.nth {
        1 => page("kept").field("Cache-Control", "max-age=1, stale-while-revalidate=600"),
        _ => page("broken").status(503),
    });
    let edge = Edge::start(&without_retries(&smallest(&shop)));
    edge.get("/");
    passed(Instant::now(), Duration::from_millis(1_200));
    let began = Instant::now();
    for _ in 0..100 {
        let answer = edge.get("/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "kept"));
    }
    let most = 2 + began.elapsed().as_secs() as usize;
    assert!(shop.count("/") - 1 <= most, "{}", shop.count("/"));
}

#[test]
fn a_window_of_the_policy_counts_too() {
    let mut shop = Origin::start(|r| page(format!("{}", r.nth)).fresh(1));
    let config = format!(
        r#"
        [upstreams.shop]
        servers = ["{shop}"]
        retry = {{ attempts = 0 }}
        [cache.policies.pages]
        stale_if_error = "1h"
        [[routes]]
        upstream = "shop"
        cache = "pages"
        "#
    );
    let edge = Edge::start(&config);
    edge.get("/");
    shop.stop();
    passed(Instant::now(), Duration::from_millis(1_200));
    let answer = edge.get("/");
    assert_eq!((answer.status, answer.cache()), (200, STALE));
    shop.restart();
    eventually("it recovers", || edge.get("/").text() == "2");
}

#[test]
fn many_who_wait_for_a_shop_that_hangs_up_get_the_stale_page() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.nth {
        1 => page("kept").field("Cache-Control", "max-age=1, stale-if-error=600"),
        _ => raw("").when(&closed),
    });
    let edge = Edge::start(&without_retries(&smallest(&shop)));
    edge.get("/");
    passed(Instant::now(), Duration::from_millis(1_200));
    let address = edge.site.http;
    let visit = |_| thread::spawn(move || Conn::open(address).get("/"));
    let visitors: Vec<_> = (0..100).map(visit).collect();
    eventually("all are connected", || {
        edge.metric("dhal_connections_accepted_total") == Some(101.0) && shop.count("/") == 2
    });
    let began = Instant::now();
    gate.open();
    for visitor in visitors {
        let answer = visitor.join().expect("answered");
        assert_eq!((answer.status, answer.cache()), (200, STALE));
    }
    // Beside those who asked at once, one a second.
    let most = 3 + began.elapsed().as_secs() as usize;
    assert!(shop.count("/") <= most, "{}", shop.count("/"));
}

/// A page of so many seconds, of which so many have passed, and its second version behind a gate.
fn ageing(lifetime: u32, age: u32, gate: &Gate) -> Origin {
    let closed = gate.clone();
    Origin::start(move |r| match r.nth {
        1 => page("1").fresh(lifetime).field("Age", age),
        _ => page(format!("{}", r.nth)).fresh(lifetime).when(&closed),
    })
}

#[test]
fn what_is_popular_is_refreshed_before_it_expires() {
    // In the last ten seconds of a hundred.
    let gate = Gate::default();
    let shop = ageing(100, 92, &gate);
    let edge = Edge::start(&smallest(&shop));
    edge.get("/");
    for _ in 0..7 {
        assert!(edge.get("/").is_hit());
    }
    assert_eq!(shop.count("/"), 1, "seven visitors do not make it popular");
    for _ in 0..50 {
        let answer = edge.get("/");
        assert!(answer.is_hit() && answer.text() == "1", "nobody waits");
    }
    eventually("it is being refreshed", || shop.count("/") == 2);
    assert_eq!(edge.metric("dhal_cache_refreshes_total"), Some(1.0));
    assert!(edge.get("/").is_hit());
    gate.open();
    eventually("the new one is there", || edge.get("/").text() == "2");
    for _ in 0..50 {
        assert!(edge.get("/").is_hit());
    }
    assert_eq!(shop.count("/"), 2, "one request, and the new one is young");
}

#[test]
fn what_is_young_unpopular_or_short_lived_is_not() {
    let gate = Gate::default();
    gate.open();
    for (what, lifetime, age, visits) in [
        ("young", 600, 10, 50),
        ("unpopular", 600, 595, 6),
        ("short-lived", 9, 4, 50),
    ] {
        let shop = ageing(lifetime, age, &gate);
        let edge = Edge::start(&smallest(&shop));
        edge.get("/");
        for _ in 0..visits {
            assert!(edge.get("/").is_hit(), "{what}");
        }
        assert_eq!(
            edge.metric("dhal_cache_refreshes_total"),
            Some(0.0),
            "{what}"
        );
        assert_eq!(shop.count("/"), 1, "{what}");
    }
}

#[test]
fn ten_seconds_is_long_enough_to_be_refreshed_early() {
    // The last second of ten begins a second from now.
    let gate = Gate::default();
    gate.open();
    let shop = ageing(10, 8, &gate);
    let edge = Edge::start(&smallest(&shop));
    // Where the machine stands still for that second the page expires, and another one is tried.
    let is_early = |page: String| {
        let mut answer = edge.get(&page);
        eventually("the new one is there", || {
            answer = edge.get(&page);
            answer.text() != "1"
        });
        // Whoever has it from the store did not wait, and nobody has before.
        answer.is_hit()
    };
    let mut pages = (0..5).map(|n| format!("/{n}"));
    assert!(pages.any(is_early), "nobody waits");
    assert!(edge.metric("dhal_cache_refreshes_total") >= Some(1.0));
}

#[test]
fn an_early_refresh_that_fails_harms_nobody() {
    let shop = Origin::start(|r| match r.nth {
        1 => page("1").fresh(100).field("Age", "92"),
        2 => page("broken").status(503),
        3 => raw(""),
        _ => page("4").fresh(600),
    });
    let edge = Edge::start(&without_retries(&smallest(&shop)));
    edge.get("/");
    let mut visits = 0;
    eventually("it succeeds at last", || {
        visits += 1;
        let answer = edge.get("/");
        assert!(answer.is_hit(), "{}: {answer:?}", visits);
        answer.text() == "4"
    });
    assert_eq!(shop.count("/"), 4);
}
