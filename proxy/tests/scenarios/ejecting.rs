//! Servers that fail visitors' requests are left alone for a while.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::{
    edge::Edge,
    health::{CHECKED, becomes, changes, named, shop, status, told},
    origin::{Origin, page},
    tools::eventually,
};

/// A shop that fails every second request while it is ill.
fn fails_half(ill: &Arc<AtomicBool>) -> Origin {
    let (ill, count) = (Arc::clone(ill), AtomicUsize::new(0));
    Origin::start(move |_| match count.fetch_add(1, Ordering::SeqCst) % 2 {
        0 if ill.load(Ordering::SeqCst) => page("bad").status(503),
        _ => page("one"),
    })
}

#[test]
fn a_share_of_failures_ejects_and_it_stays_out_across_a_reload() {
    let ill = Arc::new(AtomicBool::new(true));
    let (one, two) = (fails_half(&ill), named("two"));
    let config = |base: &str| {
        let eject = format!(
            "balance = \"round-robin\"\neject = {{ consecutive_failures = 1000, failure_percent = 50, min_requests = 10, window = \"1h\", base_time = \"{base}\", max_time = \"1h\" }}"
        );
        shop(&[&one, &two], &eject) + "[server]\nthreads = 1\n"
    };
    let edge = Edge::start(&config("1h"));
    for _ in 0..18 {
        edge.get("/");
    }
    assert_eq!(status(&edge, &one)["state"], "up", "9 of 10 requests");
    for _ in 0..4 {
        edge.get("/");
    }
    becomes(&edge, &one, "ejected");
    let reason = status(&edge, &one)["reason"].clone();
    assert_eq!(
        reason, "54 % of 11 requests failed",
        "a success ejects nobody"
    );
    told(&edge, &one, "ejected", "failure_rate", 1.0);
    assert!((0..10).all(|_| edge.get("/").text() == "two"));
    assert!(edge.reload(&config("30m")).status.success());
    assert_eq!(status(&edge, &one)["state"], "ejected");
    assert!((0..10).all(|_| edge.get("/").text() == "two"));
    assert_eq!(changes(&edge, &one, "returned", "time_over"), 0.0);
}

#[test]
fn who_keeps_content_back_ejects_nobody() {
    // Like many, it reads content and says nothing of it before.
    let one = Origin::start(|seen| page(format!("{} bytes", seen.body.len())));
    let eject = "eject = { consecutive_failures = 2, base_time = \"1h\", max_time = \"1h\" }\n\
                 timeouts = { response = \"2s\" }";
    let config = shop(&[&one], eject) + "[server]\nbody_timeout = \"3s\"\n";
    let edge = Edge::start(&config);
    let expects = [("Content-Length", "5"), ("Expect", "100-continue")];
    let mut all: Vec<_> = (0..4).map(|_| edge.connect()).collect();
    for conn in &mut all {
        conn.request("POST", "/", &expects);
    }
    for conn in &mut all {
        assert_eq!(conn.head().expect("an interim answer").0, 100);
        assert_eq!(conn.response("POST").status, 408);
    }
    assert_eq!(status(&edge, &one)["state"], "up");
    let mut conn = edge.connect();
    conn.request("POST", "/", &expects);
    assert_eq!(conn.head().expect("an interim answer").0, 100);
    conn.send("12345");
    assert_eq!(conn.response("POST").text(), "5 bytes");
}

#[test]
fn ejections_grow_and_their_ends_are_told() {
    let (one, two) = (Origin::start(|_| page("bad").status(503)), named("two"));
    let eject = "eject = { consecutive_failures = 1, base_time = \"300ms\", max_time = \"600ms\" }";
    let edge = Edge::start(&shop(&[&one, &two], eject));
    for (times, length) in [(1.0, "300ms"), (2.0, "600ms"), (3.0, "600ms")] {
        eventually("it is ejected", || {
            edge.get("/");
            changes(&edge, &one, "ejected", "failures_in_a_row") == times
        });
        eventually("its return is told", || {
            changes(&edge, &one, "returned", "time_over") == times
        });
        // It is counted before it is written down.
        let mut lines = Vec::new();
        eventually("its return is written down", || {
            let said = edge.stderr();
            let returns = said.lines().filter(|line| line.contains("server returned"));
            lines = returns.map(str::to_owned).collect();
            lines.len() as f64 == times
        });
        let last = lines.last().expect("a line");
        assert!(last.contains(&format!("it was out for {length}")), "{last}");
    }
}

#[test]
fn the_last_one_is_never_ejected() {
    let ill = || Origin::start(|_| page("bad").status(503));
    let servers = [ill(), ill(), ill()];
    let servers: Vec<_> = servers.iter().collect();
    let eject = "balance = \"round-robin\"\neject = { consecutive_failures = 1, base_time = \"1h\", max_time = \"1h\", max_percent = 100 }";
    let edge = Edge::start(&shop(&servers, eject));
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let http = edge.site.http;
            std::thread::spawn(move || {
                let mut conn = crate::client::Conn::open(http);
                (0..25).all(|_| conn.get("/").text() == "bad")
            })
        })
        .collect();
    for visitor in visitors {
        assert!(visitor.join().expect("answers"), "somebody is always asked");
    }
    let is_ejected = |server: &&&Origin| status(&edge, server)["state"] == "ejected";
    eventually("two are out", || {
        servers.iter().filter(is_ejected).count() == 2
    });
}

#[test]
fn a_cap_on_ejections() {
    let ill = || Origin::start(|_| page("bad").status(503));
    let servers = [ill(), ill(), ill(), ill()];
    let servers: Vec<_> = servers.iter().collect();
    let eject = "balance = \"round-robin\"\neject = { consecutive_failures = 1, base_time = \"1h\", max_time = \"1h\", max_percent = 25 }";
    let edge = Edge::start(&shop(&servers, eject));
    (0..40).for_each(|_| drop(edge.get("/")));
    let is_ejected = |server: &&&Origin| status(&edge, server)["state"] == "ejected";
    eventually("one is out", || {
        servers.iter().filter(is_ejected).count() == 1
    });
}

#[test]
fn an_ejected_server_is_better_than_none() {
    let (one, mut two) = (Origin::start(|_| page("bad").status(503)), named("two"));
    let more = format!(
        "eject = {{ consecutive_failures = 1, base_time = \"1h\", max_time = \"1h\" }}\nhealth_check = {{ protocol = \"tcp\", {CHECKED} }}"
    );
    let edge = Edge::start(&shop(&[&one, &two], &more));
    eventually("it is ejected", || {
        edge.get("/");
        status(&edge, &one)["state"] == "ejected"
    });
    assert!((0..10).all(|_| edge.get("/").text() == "two"));
    two.stop();
    becomes(&edge, &two, "down");
    assert_eq!(edge.get("/").text(), "bad", "it may be well by now");
}
