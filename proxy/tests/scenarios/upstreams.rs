//! Several servers: the loss of one, its return, and who is asked when.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{
    client::Conn,
    edge::Edge,
    h2::H2,
    origin::{Origin, page, raw},
    tools::eventually,
};

fn config(servers: &str, more: &str) -> String {
    format!(
        r#"
        [upstreams.shop]
        servers = [{servers}]
        {more}

        [[routes]]
        upstream = "shop"
        "#
    )
}

fn named(name: &'static str) -> Origin {
    Origin::start(move |_| page(name))
}

#[test]
fn a_server_that_is_down_fails_nobody() {
    let (mut one, two) = (named("one"), named("two"));
    let edge = Edge::start(&config(
        &format!("\"{one}\", \"{two}\""),
        "balance = \"round-robin\"",
    ));
    let mut names: Vec<_> = (0..10).map(|_| edge.get("/").text()).collect();
    names.sort();
    assert_eq!(
        (names[0].as_str(), names[4].as_str(), names[5].as_str()),
        ("one", "one", "two")
    );
    one.stop();
    for _ in 0..50 {
        let answer = edge.get("/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "two"));
    }
    let posted = edge.ask("POST", "/", &[("Content-Length", "0")]);
    assert_eq!(posted.status, 200, "what was not sent may go elsewhere");
    assert!(edge.metric("dhal_upstream_retries_total{upstream=\"shop\"}") >= Some(1.0));
    one.restart();
    eventually("it is asked again", || edge.get("/").text() == "one");
}

#[test]
fn a_request_that_may_have_been_done_is_not_repeated() {
    let one = Origin::start(|r| match r.method.as_str() {
        "POST" => raw(""),
        _ if r.nth == 1 => raw(""),
        _ => page("ok"),
    });
    let edge = Edge::start(&config(&format!("\"{one}\""), ""));
    assert_eq!(edge.get("/").text(), "ok", "GET is tried again");
    assert_eq!(
        edge.ask("POST", "/form", &[("Content-Length", "0")]).status,
        502
    );
    assert_eq!(one.count("/form"), 1);
}

#[test]
fn checks_take_a_server_out_and_bring_it_back() {
    let well = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&well);
    let one = Origin::start(move |r| match r.target.as_str() {
        "/healthz" if !state.load(Ordering::SeqCst) => page("ill").status(500),
        _ => page("one"),
    });
    let two = named("two");
    let check = "health_check = { path = \"/healthz\", interval = \"100ms\", timeout = \"5s\", healthy = 2, unhealthy = 2, host = \"check.example\" }";
    let edge = Edge::start(&config(&format!("\"{one}\", \"{two}\""), check));
    let up = |server: &Origin| {
        edge.metric(&format!(
            "dhal_upstream_up{{server=\"{server}\",upstream=\"shop\"}}"
        ))
    };
    assert_eq!((up(&one), up(&two)), (Some(1.0), Some(1.0)));
    well.store(false, Ordering::SeqCst);
    eventually("it is out", || up(&one) == Some(0.0));
    assert!((0..20).all(|_| edge.get("/").text() == "two"));
    edge.says("server is down");
    well.store(true, Ordering::SeqCst);
    eventually("it is back", || up(&one) == Some(1.0));
    eventually("it is asked", || edge.get("/").text() == "one");
    let mut checks = one.seen();
    checks.retain(|r| r.target == "/healthz");
    assert!(
        checks
            .iter()
            .all(|r| r.field("host") == Some("check.example"))
    );
}

#[test]
fn failures_eject_a_server_for_a_while() {
    let one = Origin::start(|_| page("bad").status(503));
    let two = named("two");
    let eject =
        "balance = \"round-robin\"\neject = { consecutive_failures = 3, base_time = \"6s\" }";
    let edge = Edge::start(&config(&format!("\"{one}\", \"{two}\""), eject));
    eventually("it is ejected", || {
        edge.get("/");
        edge.stderr().contains("server ejected")
    });
    assert!(one.seen().len() <= 4, "{} were enough", one.seen().len());
    assert!((0..10).all(|_| edge.get("/").text() == "two"));
    eventually("it gets another chance", || edge.get("/").text() == "bad");
}

#[test]
fn all_down() {
    let (mut one, mut two) = (named("one"), named("two"));
    let check = "health_check = { path = \"/\", interval = \"100ms\", timeout = \"5s\", unhealthy = 1, healthy = 1 }";
    let edge = Edge::start(&config(&format!("\"{one}\", \"{two}\""), check));
    one.stop();
    two.stop();
    eventually("nobody is asked", || edge.get("/").status == 503);
    assert!(edge.get("/").field("retry-after").is_some());
    // Visitors may have found it before the checks did.
    eventually("both are known to be down", || {
        let status = edge.site.dhal(&["status"]);
        String::from_utf8_lossy(&status.stdout)
            .matches("down")
            .count()
            == 2
    });
    two.restart();
    eventually("one is enough", || edge.get("/").text() == "two");
}

#[test]
fn a_backup_is_asked_only_when_nobody_else_is_left() {
    let (mut one, spare) = (named("one"), named("spare"));
    let servers = format!("\"{one}\", {{ address = \"{spare}\", backup = true }}");
    let check = "health_check = { path = \"/\", interval = \"100ms\", timeout = \"5s\", unhealthy = 1, healthy = 1 }";
    let edge = Edge::start(&config(&servers, check));
    assert!((0..30).all(|_| edge.get("/").text() == "one"));
    one.stop();
    assert!((0..30).all(|_| edge.get("/").text() == "spare"));
    one.restart();
    eventually("the first is back", || edge.get("/").text() == "one");
    assert!((0..30).all(|_| edge.get("/").text() == "one"));
}

#[test]
fn weights_count() {
    let (one, two) = (named("one"), named("two"));
    let servers = format!("\"{one}\", {{ address = \"{two}\", weight = 3 }}");
    let edge =
        Edge::start(&(config(&servers, "balance = \"round-robin\"") + "[server]\nthreads = 1\n"));
    (0..40).for_each(|_| drop(edge.get("/")));
    assert_eq!((one.seen().len(), two.seen().len()), (10, 30));
}

#[test]
fn a_hash_keeps_a_page_with_its_server() {
    let (one, two) = (named("one"), named("two"));
    let edge = Edge::start(&config(
        &format!("\"{one}\", \"{two}\""),
        "balance = \"consistent-hash\"",
    ));
    let name = |n: u32| edge.get(&format!("/{n}")).text();
    let first: Vec<_> = (0..20).map(name).collect();
    assert_eq!(first, (0..20).map(name).collect::<Vec<_>>());
    assert!(first.contains(&"one".to_owned()) && first.contains(&"two".to_owned()));
}

#[test]
fn the_death_of_a_server_under_load_fails_nobody() {
    let (mut one, two) = (named("shop"), named("shop"));
    let edge = Edge::start_tls(&config(&format!("\"{one}\", \"{two}\""), ""));
    let running = Arc::new(AtomicBool::new(true));
    let (http, https) = (edge.site.http, edge.site.https);
    let mut visitors: Vec<thread::JoinHandle<Vec<u16>>> = Vec::new();
    for _ in 0..2 {
        let more = Arc::clone(&running);
        visitors.push(thread::spawn(move || {
            let mut statuses = Vec::new();
            let mut conn = Conn::open(http);
            while more.load(Ordering::SeqCst) {
                statuses.push(conn.get("/").status);
            }
            statuses
        }));
        let more = Arc::clone(&running);
        visitors.push(thread::spawn(move || {
            let mut statuses = Vec::new();
            let mut h2 = H2::connect(https);
            while more.load(Ordering::SeqCst) {
                statuses.push(h2.get("/").status);
            }
            statuses
        }));
    }
    let served = |n| eventually("they are served", || two.seen().len() > n);
    for _ in 0..3 {
        served(two.seen().len() + 100);
        one.stop();
        served(two.seen().len() + 300);
        one.restart();
    }
    served(two.seen().len() + 100);
    running.store(false, Ordering::SeqCst);
    for visitor in visitors {
        let statuses = visitor.join().expect("no failed request");
        let failed = statuses.iter().filter(|s| **s != 200).count();
        assert_eq!(
            (failed, statuses.len() > 50),
            (0, true),
            "of {}",
            statuses.len()
        );
    }
}
