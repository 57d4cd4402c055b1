//! How long what is waited for: servers that are started anew, answers, pauses, whole exchanges.

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

use crate::{
    edge::Edge,
    h2::H2,
    origin::{Answer, Origin, page, raw},
    tools::{Gate, PATIENCE, eventually},
};

fn config(servers: &[&Origin], more: &str) -> String {
    let servers: Vec<_> = servers.iter().map(|s| format!("\"{s}\"")).collect();
    format!(
        r#"
        [upstreams.shop]
        servers = [{}]
        {more}

        [[routes]]
        upstream = "shop"

        [[routes]]
        path = "/cached/*"
        upstream = "shop"
        cache = "default"

        [[routes]]
        path = "/slow/*"
        upstream = "shop"
        timeouts = {{ response = "20s", read = "20s", total = "40s" }}
        "#,
        servers.join(", ")
    )
}

#[test]
fn a_shop_that_is_started_anew_fails_nobody() {
    let mut shop = Origin::start(|r| page(format!("{} {}", r.method, r.target)));
    let edge = Edge::start_tls(&config(&[&shop], "retry = { wait = \"15s\" }"));
    assert_eq!(edge.get("/").status, 200);
    shop.stop();
    thread::scope(|scope| {
        let asked: Vec<_> = (0..8)
            .map(|n| {
                let edge = &edge;
                scope.spawn(move || match n % 4 {
                    0 => edge.get("/own").text(),
                    1 => edge.get("/cached/page").text(),
                    2 => edge.ask("POST", "/form", &[("content-length", "0")]).text(),
                    _ => H2::connect(edge.site.https).get("/own").text(),
                })
            })
            .collect();
        let refused = "dhal_upstream_retries_total{upstream=\"shop\"}";
        eventually("they are refused", || edge.metric(refused) >= Some(1.0));
        shop.restart();
        for (n, answer) in asked.into_iter().enumerate() {
            let wanted = ["GET /own", "GET /cached/page", "POST /form", "GET /own"];
            assert_eq!(answer.join().expect("an answer"), wanted[n % 4]);
        }
    });
}

#[test]
fn two_shops_that_are_started_anew_fail_nobody() {
    let shop = || Origin::start(|r| page(format!("{} {}", r.method, r.target)));
    let (mut one, mut two) = (shop(), shop());
    let edge = Edge::start(&config(&[&one, &two], "retry = { wait = \"15s\" }"));
    one.stop();
    two.stop();
    let form = [("content-length", "0")];
    thread::scope(|scope| {
        let asked = scope.spawn(|| edge.ask("POST", "/form", &form).text());
        let refused = "dhal_upstream_retries_total{upstream=\"shop\"}";
        eventually("it is refused again and again", || {
            edge.metric(refused) >= Some(5.0)
        });
        two.restart();
        assert_eq!(asked.join().expect("an answer"), "POST /form");
    });
}

#[test]
fn nobody_waits_when_an_outage_lasts() {
    let mut shop = Origin::start(|_| page("fine"));
    let edge = Edge::start(&config(&[&shop], "retry = { wait = \"1s\" }"));
    shop.stop();
    let failed = |path: &str| matches!(edge.get(path).status, 502 | 503);
    assert!(failed("/"));
    let began = Instant::now();
    assert!((0..100).all(|_| failed("/") && failed("/cached/page")));
    assert!(began.elapsed() < Duration::from_secs(60), "nobody waits");
    shop.restart();
    eventually("it is back", || edge.get("/").status == 200);
}

/// Nothing until the gate opens.
fn hangs(gate: &Gate) -> Answer {
    page("late").when(gate)
}

#[test]
fn who_says_nothing_in_time_is_left_for_another() {
    let gate = Gate::default();
    let closed = gate.clone();
    let slow = Origin::start(move |_| hangs(&closed));
    let well = Origin::start(|_| page("well"));
    let edge = Edge::start(&config(
        &[&slow, &well],
        "balance = \"round-robin\"\ntimeouts = { response = \"900ms\" }",
    ));
    for path in ["/", "/cached/page"] {
        assert_eq!(edge.get(path).text(), "well");
        assert_eq!(edge.get(path).text(), "well");
    }
    let retried = |edge: &Edge| {
        let log = edge.log();
        let line = log.into_iter().find(|line| line["retried"].is_string())?;
        Some((line["retried"].clone(), line["attempts"].clone()))
    };
    eventually("the log tells", || retried(&edge).is_some());
    let (reason, attempts) = retried(&edge).expect("a line");
    assert_eq!(
        (reason.as_str(), attempts.as_u64()),
        (Some("http_response_timeout"), Some(2))
    );
    // A POST may have been done.
    let before = slow.count("/form");
    let statuses: Vec<_> = (0..2)
        .map(|_| edge.ask("POST", "/form", &[("content-length", "0")]).status)
        .collect();
    assert!(
        statuses.contains(&504) && statuses.contains(&200),
        "{statuses:?}"
    );
    assert_eq!(slow.count("/form") - before, 1);
    gate.open();
}

#[test]
fn a_route_may_wait_longer() {
    let shop = Origin::start(|r| match r.target.as_str() {
        "/" | "/slow/report" => page("late").after(Duration::from_secs(4)),
        _ => page("fine"),
    });
    let limits = "retry = { attempts = 0 }\ntimeouts = { response = \"1s\" }";
    let edge = Edge::start(&config(&[&shop], limits));
    assert_eq!(edge.get("/").status, 504);
    assert_eq!(edge.get("/slow/report").text(), "late");
}

#[test]
fn pauses_within_an_answer_have_a_limit_of_their_own() {
    const HALF: &str =
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 8\r\n\r\nhalf";
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |_| raw(HALF).then(&closed, "half"));
    let edge = Edge::start_tls(&config(&[&shop], "timeouts = { read = \"300ms\" }"));
    for path in ["/", "/cached/page"] {
        let mut conn = edge.connect();
        conn.request("GET", path, &[]);
        assert!(conn.try_response("GET").is_err(), "cut, and not whole");
        let answer = H2::connect(edge.site.https).ask("GET", path, &[], None);
        assert!(answer.is_err(), "{answer:?}");
    }
    gate.open();
    assert_eq!(edge.get("/slow/page").text(), "halfhalf");
}

#[test]
fn the_whole_exchange_has_a_limit() {
    // It never pauses, and never ends.
    let drip = |_: &_| {
        raw("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").take(|mut stream| {
            let until = Instant::now() + PATIENCE;
            while Instant::now() < until && stream.write_all(b".").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        })
    };
    let shop = Origin::start(drip);
    let limits = "timeouts = { total = \"2s\" }\nretry = { attempts = 2 }";
    let edge = Edge::start(&config(&[&shop], limits));
    for path in ["/", "/cached/page"] {
        let mut conn = edge.connect();
        conn.request("GET", path, &[]);
        assert!(conn.try_response("GET").is_err(), "{path} is cut");
    }
    assert_eq!(shop.count("/"), 1);
    let hung = Gate::default();
    let closed = hung.clone();
    let shop = Origin::start(move |_| hangs(&closed));
    let edge = Edge::start(&config(&[&shop], limits));
    let answer = edge.get("/");
    assert_eq!(answer.status, 504);
    assert_eq!(shop.count("/"), 1, "no time for another attempt");
    hung.open();
}
