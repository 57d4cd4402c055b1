//! Limits by other keys, held back, only logged, and for what the store lacks.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{Conn, Response},
    edge::Edge,
    h2::{Frames, H2},
    origin::{Origin, page},
    tools::{PATIENCE, eventually},
};

/// One route with one limit, and a route without.
fn config(shop: &Origin, limit: &str) -> String {
    format!(
        r#"
        [upstreams.shop]
        servers = ["{shop}"]

        [limits.rule]
        {limit}

        [[routes]]
        path = "/things/:slug"
        upstream = "shop"
        cache = "default"
        limits = ["rule"]

        [[routes]]
        path = "/free"
        upstream = "shop"
        "#
    )
}

fn ask_from(edge: &Edge, last: u8, path: &str, fields: &[(&str, &str)]) -> Response {
    let mut conn = Conn::open_from(Ipv4Addr::new(127, 0, 0, last), edge.site.http);
    conn.request("GET", path, fields);
    conn.response("GET")
}

fn decided(edge: &Edge, decision: &str) -> Option<f64> {
    edge.metric(&format!(
        "dhal_limit_requests_total{{decision=\"{decision}\",limit=\"rule\"}}"
    ))
}

#[test]
fn each_key_tells_requests_apart() {
    const SESSION: &str = "Cookie";
    for (key, same, other) in [
        (
            r#""cookie:session""#,
            [
                ("/things/a", SESSION, "session=1"),
                ("/things/b", SESSION, "x=0; session=1"),
            ],
            ("/things/a", SESSION, "session=2"),
        ),
        (
            r#""header:x-user""#,
            [("/things/a", "X-User", "1"), ("/things/b", "x-user", "1")],
            ("/things/a", "X-User", "2"),
        ),
        (
            r#""param:slug""#,
            [("/things/a", "A", "1"), ("/things/%61?q", "A", "2")],
            ("/things/b", "A", "1"),
        ),
        (
            r#"["param:slug", "cookie:session"]"#,
            [
                ("/things/a", SESSION, "session=1"),
                ("/things/a", SESSION, "session=1"),
            ],
            ("/things/a", SESSION, "session=2"),
        ),
    ] {
        let shop = Origin::start(|_| page("ok"));
        let edge = Edge::start(&config(
            &shop,
            &format!("key = {key}\nrate = \"1/m\"\nburst = 1"),
        ));
        // Each from another address.
        let [first, second] = same;
        let mut last = 2;
        let mut ask = |(path, name, value): (&str, &str, &str)| {
            last += 1;
            ask_from(&edge, last, path, &[(name, value)]).status
        };
        assert_eq!(ask(first), 200, "{key}");
        assert_eq!(ask(second), 429, "{key}");
        assert_eq!(ask(other), 200, "{key}");
        if !key.contains("param") {
            // Who leaves it out is counted by its address.
            assert_eq!(ask_from(&edge, 99, "/things/a", &[]).status, 200, "{key}");
            assert_eq!(ask_from(&edge, 99, "/things/a", &[]).status, 429, "{key}");
            assert_eq!(ask_from(&edge, 98, "/things/a", &[]).status, 200, "{key}");
        }
        let keys = edge.metric("dhal_limit_keys{limit=\"rule\"}");
        assert_eq!(keys, Some(if key.contains("param") { 2.0 } else { 4.0 }));
        assert!(
            edge.metric("dhal_limit_bytes{limit=\"rule\"}")
                .is_some_and(|n| n > 0.0)
        );
    }
}

#[test]
fn networks_are_as_wide_as_the_rule_says() {
    let shop = Origin::start(|_| page("ok"));
    let rule = "prefix = { ipv4 = 29 }\nrate = \"1/m\"\nburst = 1\nstatus = 503";
    let edge = Edge::start(&config(&shop, rule));
    assert_eq!(ask_from(&edge, 8, "/things/a", &[]).status, 200);
    let refused = ask_from(&edge, 15, "/things/a", &[]);
    assert_eq!(refused.status, 503);
    // The reset of the one is the same point in time as the other.
    let after = refused.field("retry-after").expect("when").to_owned();
    let state = format!("\"rule\";r=0;t={after}");
    assert_eq!(refused.field("ratelimit"), Some(&*state));
    assert_eq!(ask_from(&edge, 16, "/things/a", &[]).status, 200);
}

#[test]
fn what_the_store_answers_is_not_counted() {
    let shop = Origin::start(|_| page("ok").fresh(60));
    let rule = "rate = \"1/m\"\nburst = 2\ncount = \"origin\"";
    let edge = Edge::start(&config(&shop, rule));
    let mut conn = edge.connect();
    let first = conn.get("/things/a");
    assert!(
        first
            .field("ratelimit")
            .is_some_and(|l| l.starts_with("\"rule\";r=1"))
    );
    for _ in 0..5 {
        let hit = conn.get("/things/a");
        assert!(hit.is_hit() && hit.status == 200);
        assert_eq!(hit.field("ratelimit"), None, "nothing was counted");
    }
    assert_eq!(conn.get("/things/b").status, 200);
    assert_eq!(conn.get("/things/c").status, 429);
    assert!(conn.get("/things/a").is_hit());
    assert_eq!(shop.seen().len(), 2);
    assert_eq!(
        (decided(&edge, "admitted"), decided(&edge, "rejected")),
        (Some(2.0), Some(1.0))
    );
}

#[test]
fn who_only_looks_on_refuses_nobody() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start(&config(
        &shop,
        "rate = \"1/m\"\nburst = 1\naction = \"log\"",
    ));
    let mut conn = edge.connect();
    for _ in 0..3 {
        let answer = conn.get("/things/a");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("ratelimit"), None);
        assert_eq!(answer.field("ratelimit-policy"), None);
    }
    assert_eq!(decided(&edge, "would_reject"), Some(2.0));
    assert_eq!(decided(&edge, "rejected"), Some(0.0));
    assert_eq!(
        edge.metric("dhal_ratelimit_rejected_total{limit=\"rule\"}"),
        Some(0.0)
    );
    eventually("it is in the log", || {
        let lines = edge.log();
        let would = lines.iter().filter(|l| {
            l["limit_decision"] == "would_reject"
                && l["limit_reason"] == "rate"
                && l["limit"] == "passed"
        });
        would.count() == 2 && lines.iter().any(|l| l["limit_decision"] == "admitted")
    });
}

#[test]
fn who_comes_early_waits_for_its_turn() {
    let shop = Origin::start(|_| page("ok").fresh(60));
    let rule = "rate = \"10/s\"\nburst = 1\naction = \"delay\"\nmax_delay = \"300ms\"";
    let edge = Edge::start_tls(&config(&shop, rule));
    let began = Instant::now();
    let mut conn = edge.connect();
    for n in 0..5 {
        assert_eq!(
            conn.get("/things/a").status,
            200,
            "one by one nobody is refused"
        );
        // The turn of each but the first is a tenth of a second after that of the one before.
        assert!(began.elapsed() >= n * Duration::from_millis(100), "{n}");
    }
    eventually("they are in the log", || {
        // On a slow machine the ones before may all have come late enough.
        assert_eq!(conn.get("/things/a").status, 200);
        let lines = edge.log();
        let delayed = lines.iter().filter(|l| {
            l["limit_decision"] == "delayed"
                && l["limit_delay_ms"]
                    .as_f64()
                    .is_some_and(|ms| ms > 0.0 && ms <= 300.0)
                && l["duration_ms"].as_f64() >= l["limit_delay_ms"].as_f64()
                && l["cache"] == "hit"
        });
        delayed.count() >= 1
    });
    // A stream after the other of one connection.
    let mut h2 = H2::connect(edge.site.https);
    let began = Instant::now();
    for n in 0..4 {
        let answer = h2.get("/things/b");
        assert_eq!(answer.status, 200);
        assert!(began.elapsed() >= n * Duration::from_millis(100), "{n}");
    }
}

#[test]
fn of_those_who_come_at_once_some_wait_and_others_would_for_too_long() {
    let shop = Origin::start(|_| page("ok").fresh(60));
    let rule = "rate = \"1/s\"\nburst = 1\naction = \"delay\"\nmax_delay = \"2s\"";
    let edge = Edge::start(&config(&shop, rule));
    let statuses: Vec<u16> = thread::scope(|scope| {
        let ask = || ask_from(&edge, 77, "/things/a", &[]).status;
        let all: Vec<_> = (0..30).map(|_| scope.spawn(ask)).collect();
        all.into_iter()
            .map(|t| t.join().expect("answered"))
            .collect()
    });
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(refused > 0 && refused < 30, "{statuses:?}");
    assert_eq!(decided(&edge, "rejected"), Some(refused as f64));
    assert_eq!(edge.metric("dhal_limit_waiting{limit=\"rule\"}"), Some(0.0));
    eventually("the reason is in the log", || {
        let lines = edge.log();
        lines
            .iter()
            .filter(|l| l["limit_reason"] == "max_delay")
            .count()
            == refused
    });
}

/// A rule whose second request waits for as long as any test does.
const LONG: &str = "rate = \"1/m\"\nburst = 1\naction = \"delay\"\nmax_delay = \"60s\"";

fn waiting(edge: &Edge) -> Option<f64> {
    edge.metric("dhal_limit_waiting{limit=\"rule\"}")
}

#[test]
fn others_go_on_while_somebody_waits() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start_tls(&format!("[server]\nthreads = 1\n{}", config(&shop, LONG)));
    let mut h2 = Frames::connect(edge.site.https);
    let fields = |path: &'static str| {
        [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "shop.example"),
            (":path", path),
        ]
    };
    h2.headers(1, &fields("/things/a"), true);
    assert_eq!(h2.answer(1).statuses, [200]);
    h2.headers(3, &fields("/things/a"), true);
    eventually("it waits", || waiting(&edge) == Some(1.0));
    let began = Instant::now();
    h2.headers(5, &fields("/free"), true);
    assert_eq!(h2.answer(5).statuses, [200], "another stream");
    assert_eq!(
        edge.get("/free").status,
        200,
        "another connection of the thread"
    );
    assert!(began.elapsed() < PATIENCE);
    // CANCEL.
    h2.frame(3, 0, 3, &8_u32.to_be_bytes());
    eventually("its place is free", || waiting(&edge) == Some(0.0));
    h2.headers(7, &fields("/free"), true);
    assert_eq!(h2.answer(7).statuses, [200]);
    eventually("it is told", || {
        let lines = edge.log();
        lines
            .iter()
            .any(|l| l["status"] == 499 && l["limit_decision"] == "delayed")
    });
}

#[test]
fn who_leaves_gives_its_place_up() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start(&config(&shop, LONG));
    assert_eq!(edge.get("/things/a").status, 200);
    let mut stays = edge.connect();
    // What ends in peace may wait for its answer.
    stays.resets();
    stays.request("POST", "/things/a", &[("Content-Length", "3")]);
    eventually("it waits", || waiting(&edge) == Some(1.0));
    stays.send("abc");
    let mut leaves = edge.connect();
    leaves.request("GET", "/things/a", &[]);
    // The turns after the next one would be beyond the longest wait.
    assert_eq!(leaves.response("GET").status, 429);
    drop(stays);
    eventually("its place is free", || waiting(&edge) == Some(0.0));
    eventually("it is told", || {
        edge.log().iter().any(|l| l["status"] == 499)
    });
    assert_eq!(shop.seen().len(), 1, "and the shop has heard nothing of it");
}

#[test]
fn content_that_comes_while_a_request_waits_is_kept() {
    let shop = Origin::start(|seen| page(format!("{} bytes", seen.body.len())));
    let rule = "rate = \"1/s\"\nburst = 1\naction = \"delay\"\nmax_delay = \"2s\"";
    let edge = Edge::start(&config(&shop, rule));
    let mut conn = edge.connect();
    assert_eq!(conn.get("/things/a").status, 200);
    conn.request("POST", "/things/a", &[("Content-Length", "5000")]);
    conn.send(vec![b'x'; 5000]);
    // A request that follows it is answered after it.
    conn.request("GET", "/free", &[]);
    assert_eq!(conn.response("POST").text(), "5000 bytes");
    assert_eq!(conn.response("GET").text(), "0 bytes");
}

#[test]
fn who_has_nothing_more_to_ask_is_answered_all_the_same() {
    let shop = Origin::start(|_| page("ok"));
    // Longer than one that has ended its side waits for a shop.
    let rule = "rate = \"20/m\"\nburst = 1\naction = \"delay\"\nmax_delay = \"5s\"";
    let edge = Edge::start(&config(&shop, rule));
    assert_eq!(edge.get("/things/a").status, 200);
    let mut conn = edge.connect();
    conn.request("GET", "/things/a", &[]);
    conn.finish();
    assert_eq!(conn.response("GET").status, 200);
}

#[test]
fn who_waits_and_does_not_read_is_counted() {
    let shop = Origin::start(|_| page(vec![b'x'; 100_000]).fresh(600));
    let rule = "rate = \"20/m\"\nburst = 1\naction = \"delay\"\nmax_delay = \"5s\"";
    let rates = "[server]\nmin_send_rate = \"1MiB/s\"\nrate_grace = \"100ms\"\n";
    let edge = Edge::start_tls(&(config(&shop, rule) + rates));
    let mut frames = Frames::connect(edge.site.https);
    frames.window(0);
    assert_eq!(edge.get("/things/a").status, 200);
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", "/things/a"),
    ];
    frames.headers(1, &fields, true);
    let slow = "dhal_connections_shed_total{why=\"slow_read\"}";
    eventually("it is counted", || edge.metric(slow) == Some(1.0));
    eventually("it is told", || {
        let lines = edge.log();
        let mut late = lines.iter().filter(|line| line["reason"] == "slow_read");
        late.any(|line| line["limit_decision"] == "delayed")
    });
}

#[test]
fn a_reload_keeps_what_was_counted() {
    let shop = Origin::start(|_| page("ok"));
    let rule = |more: &str| config(&shop, &format!("rate = \"1/m\"\nburst = 1\n{more}"));
    let edge = Edge::start(&rule(""));
    let ask = || ask_from(&edge, 2, "/things/a", &[]).status;
    assert_eq!((ask(), ask()), (200, 429));
    let reload = |text: &str| {
        let output = edge.reload(text);
        assert!(output.status.success(), "{output:?}");
    };
    reload(&rule("action = \"log\""));
    assert_eq!(ask(), 200);
    reload(&rule("status = 503"));
    assert_eq!(ask(), 503, "another action keeps the memory");
    reload(&rule("action = \"delay\"\nmax_delay = \"60s\""));
    let mut conn = Conn::open_from(Ipv4Addr::new(127, 0, 0, 2), edge.site.http);
    conn.resets();
    conn.request("GET", "/things/a", &[]);
    eventually("it waits", || waiting(&edge) == Some(1.0));
    reload(&rule(""));
    assert_eq!(waiting(&edge), Some(1.0), "who waits goes on waiting");
    drop(conn);
    eventually("it has left", || waiting(&edge) == Some(0.0));
    reload(&rule("prefix = { ipv4 = 24 }"));
    assert_eq!(ask(), 200, "who counts by something else begins anew");
}
