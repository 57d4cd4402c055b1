//! Which of several servers is asked: keys, shares that grow, and servers that refuse or are silent.

use std::{net::Ipv4Addr, time::Instant};

use crate::{
    client::Conn,
    edge::Edge,
    health::{becomes, named, shop, status},
    origin::{Origin, page},
    tools::{Gate, eventually},
};

const HASH: &str = "balance = \"consistent-hash\"\n";

#[test]
fn a_visitor_stays_with_a_server_by_field_cookie_or_address() {
    let servers = [named("one"), named("two"), named("three")];
    let servers: Vec<_> = servers.iter().collect();
    let ask = |edge: &Edge, path: &str, by: &str, n: u8| {
        let value = match by {
            "cookie:session" => format!("theme=dark; session=s{n}"),
            _ => format!("u{n}"),
        };
        let mut conn = match by {
            "client-ip" => Conn::open_from(Ipv4Addr::new(127, 9, 9, n + 1), edge.site.http),
            _ => edge.connect(),
        };
        let field = match by {
            "cookie:session" => "Cookie",
            _ => "X-User",
        };
        conn.request("GET", path, &[(field, &value)]);
        conn.response("GET").text()
    };
    for by in ["header:x-user", "cookie:session", "client-ip"] {
        let config = shop(&servers, &format!("{HASH}hash_key = \"{by}\""));
        let edge = Edge::start(&(config + "[server]\nthreads = 1\n"));
        let mut homes = Vec::new();
        for n in 0..20 {
            let home = ask(&edge, "/0", by, n);
            for path in 1..6 {
                assert_eq!(ask(&edge, &format!("/{path}"), by, n), home, "{by} {n}");
            }
            homes.push(home);
        }
        homes.sort();
        homes.dedup();
        assert_eq!(homes.len(), 3, "{by}");
        if by != "client-ip" {
            // What a request does not have, its target stands for.
            let target = |n: u32| edge.get(&format!("/{n}")).text();
            let first: Vec<_> = (0..20).map(target).collect();
            assert_eq!(first, (0..20).map(target).collect::<Vec<_>>());
            assert!(first.iter().any(|name| *name != first[0]));
        }
    }
}

#[test]
fn what_is_fetched_for_the_store_goes_by_its_target() {
    let named = |name: &'static str| Origin::start(move |_| page(name).fresh(60));
    let servers = [named("one"), named("two")];
    let servers: Vec<_> = servers.iter().collect();
    let by = |key: &str| {
        let config = shop(&servers, &format!("{HASH}hash_key = \"{key}\""));
        let edge = Edge::start(&(config + "cache = \"default\"\n[server]\nthreads = 1\n"));
        let ask = |n: u32| edge.ask("GET", &format!("/{n}"), &[("X-User", "one and the same")]);
        (0..20).map(|n| ask(n).text()).collect::<Vec<_>>()
    };
    let homes = by("target");
    assert_eq!(by("header:x-user"), homes);
    assert!(homes.iter().any(|name| *name != homes[0]));
}

#[test]
fn a_hot_key_does_not_weigh_on_one_server() {
    let gate = Gate::default();
    let slow = |name: &'static str| {
        let gate = gate.clone();
        Origin::start(move |_| page(name).when(&gate))
    };
    let (one, two) = (slow("one"), slow("two"));
    let edge = Edge::start(&shop(&[&one, &two], HASH));
    let mut visitors = Vec::new();
    for n in 1..=16 {
        let mut conn = edge.connect();
        conn.request("GET", "/hot", &[]);
        visitors.push(conn);
        eventually("it arrives", || one.count("/hot") + two.count("/hot") == n);
    }
    let counts = [one.count("/hot"), two.count("/hot")];
    assert_eq!(
        counts.iter().max(),
        Some(&10),
        "1.25 times 16 / 2: {counts:?}"
    );
    gate.open();
    for mut visitor in visitors {
        assert_eq!(visitor.response("GET").status, 200);
    }
}

#[test]
fn the_share_of_a_server_that_is_back_grows() {
    let (mut one, two) = (named("one"), named("two"));
    let more = |slow_start: &str| {
        format!(
            "balance = \"round-robin\"\nslow_start = \"{slow_start}\"\nhealth_check = {{ protocol = \"tcp\", interval = \"100ms\", healthy = 1, unhealthy = 1 }}"
        )
    };
    let config =
        |slow_start: &str| shop(&[&one, &two], &more(slow_start)) + "[server]\nthreads = 1\n";
    let (slow, fast) = (config("1h"), config("0s"));
    let edge = Edge::start(&slow);
    let share = |edge: &Edge| (0..110).filter(|_| edge.get("/").text() == "one").count();
    assert_eq!(share(&edge), 55, "from the start of the process");
    one.stop();
    eventually("it is down", || status(&edge, &one)["state"] == "down");
    one.restart();
    eventually("it is up", || status(&edge, &one)["state"] == "up");
    let slowly = share(&edge);
    assert!(
        (5..=25).contains(&slowly),
        "a tenth of the weight: {slowly} of 110"
    );
    assert!(edge.reload(&slow).status.success());
    let slowly = share(&edge);
    assert!(
        (5..=25).contains(&slowly),
        "across a reload: {slowly} of 110"
    );
    assert!(edge.reload(&fast).status.success());
    assert_eq!(share(&edge), 55);
}

#[test]
fn a_dead_server_costs_few_attempts() {
    let (mut one, two) = (named("one"), named("two"));
    let config = shop(&[&one, &two], "").replace("attempts = 0", "attempts = 2");
    let edge = Edge::start(&config);
    one.stop();
    let began = Instant::now();
    for _ in 0..500 {
        assert_eq!(edge.get("/").text(), "two");
    }
    let retries = edge.metric("dhal_upstream_retries_total{upstream=\"shop\"}");
    // 50, 100, 200, 400 and 800 ms, then one a second; and one that was under way for each thread.
    let most = 6.0 + 4.0 + began.elapsed().as_secs_f64();
    assert!(retries <= Some(most), "{retries:?} of at most {most}");
    assert!(retries >= Some(1.0));
    assert_eq!(status(&edge, &one)["state"], "refusing");
    one.restart();
    eventually("it is tried", || edge.get("/").text() == "one");
    becomes(&edge, &one, "up");
}

#[test]
fn a_silent_server_is_asked_only_where_nobody_else_is_well() {
    let gate = Gate::default();
    let silent = gate.clone();
    let one = Origin::start(move |r| match r.target.as_str() {
        "/slow" => page("slow").when(&silent),
        _ => page("one"),
    });
    let mut two = Origin::start(|_| page("two"));
    let edge = Edge::start(&shop(&[&one, &two], "balance = \"round-robin\""));
    let (mut conn, mut answered) = (edge.connect(), 0);
    // The other one answers at once.
    while one.count("/slow") == 0 {
        conn.request("GET", "/slow", &[]);
        eventually("somebody is asked", || {
            one.count("/slow") == 1 || two.count("/slow") > answered
        });
        if one.count("/slow") == 0 {
            assert_eq!(conn.response("GET").text(), "two");
            answered += 1;
        }
    }
    eventually("it is stalled", || {
        status(&edge, &one)["state"] == "stalled"
    });
    let before = one.seen().len();
    assert!((0..20).all(|_| edge.get("/").text() == "two"));
    assert_eq!(one.seen().len(), before);
    two.stop();
    eventually("better than one that refuses", || {
        edge.get("/").text() == "one"
    });
    two.restart();
    gate.open();
    assert_eq!(conn.response("GET").text(), "slow");
    eventually("it answers again", || edge.get("/").text() == "one");
    becomes(&edge, &one, "up");
}
