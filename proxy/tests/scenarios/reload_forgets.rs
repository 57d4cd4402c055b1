//! What no configuration names any more is told no more, and what never came into force leaves nothing.

use std::{collections::BTreeSet, net::TcpListener};

use crate::{
    edge::Edge,
    origin::{Origin, page},
    tools::{Gate, eventually, free_address},
};

/// Everything with a name of its own. One of the servers is not there, so that requests are sent twice.
fn named(shop: &Origin, name: &str) -> String {
    format!(
        r#"
        [upstreams.shop-{name}]
        servers = ["{away}", "{shop}"]
        concurrency = {{}}

        [limits.limit-{name}]
        rate = "1/h"
        burst = 1

        [address_lists.list-{name}]
        entries = ["127.0.0.1"]

        [waiting_rooms.room-{name}]
        capacity = 10

        [[routes]]
        name = "route-{name}"
        upstream = "shop-{name}"
        waiting_room = "room-{name}"

        [[routes]]
        name = "limited-{name}"
        path = "/limited"
        upstream = "shop-{name}"
        limits = ["limit-{name}"]

        [[routes]]
        name = "denied-{name}"
        path = "/denied"
        upstream = "shop-{name}"
        deny = ["list-{name}"]
        "#,
        away = free_address()
    )
}

/// Names and labels of all series.
fn series(edge: &Edge) -> BTreeSet<String> {
    let (_, text) = edge.admin("GET", "/metrics");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
    names.collect()
}

/// One request of each kind to routes that nobody has asked yet. They are counted when the answers have left: what is
/// told after this has them all.
fn visit(edge: &Edge, name: &str) {
    assert_eq!(edge.get("/").status, 200);
    assert_eq!(edge.get("/limited").status, 200);
    assert_eq!(edge.get("/limited").status, 429);
    assert_eq!(edge.get("/denied").status, 403);
    for (code, route) in [
        (200, "route"),
        (200, "limited"),
        (429, "limited"),
        (403, "denied"),
    ] {
        let count = format!(
            "dhal_http_requests_total{{code=\"{code}\",method=\"GET\",route=\"{route}-{name}\"}}"
        );
        eventually("it is counted", || edge.metric(&count) == Some(1.0));
    }
}

fn reloads(edge: &Edge, config: &str) {
    edge.site.configure(config);
    let (status, said) = edge.admin("POST", "/reload");
    assert_eq!(status, 200, "{said}");
}

#[test]
fn a_hundred_reloads_with_new_names_leave_the_metrics_as_large_as_they_were() {
    let shop = Origin::start(|_| page("ok"));
    let first = named(&shop, "first");
    let edge = Edge::start(&first);
    visit(&edge, "first");
    let others = |of: &BTreeSet<String>| {
        let others = of.iter().filter(|series| !series.contains("-first"));
        others.cloned().collect::<BTreeSet<_>>()
    };
    let before = series(&edge);
    assert!(before.len() > others(&before).len() + 30, "{before:#?}");
    for turn in 0..100 {
        let name = format!("turn-{turn}");
        reloads(&edge, &named(&shop, &name));
        if turn % 10 == 0 {
            visit(&edge, &name);
        }
    }
    eventually("the last is told alone", || {
        let now = series(&edge);
        let is_last = |series: &String| series.contains("-turn-99");
        let named = now.iter().filter(|series| series.contains("-turn-"));
        named.clone().count() > 30 && named.clone().all(is_last)
    });
    reloads(&edge, &first);
    eventually("all others are gone", || {
        let now = series(&edge);
        !now.iter().any(|series| series.contains("-turn-")) && now.len() <= before.len() + 4
    });
    let again = "dhal_http_requests_total{code=\"200\",method=\"GET\",route=\"route-first\"}";
    assert_eq!(edge.metric(again), None, "a name that comes back");
    // It begins at zero.
    visit(&edge, "first");
    assert!(others(&before).is_subset(&others(&series(&edge))));
}

/// The sum over all routes, by which a probation judges, does not fall with the routes that go: see the tests of what is
/// counted. Here what a request that is left behind counts is told until it is answered.
#[test]
fn who_is_still_answered_is_counted_where_it_began() {
    let gate = Gate::default();
    let closed = gate.clone();
    let old = Origin::start(move |_| page("old").when(&closed));
    let new = Origin::start(|_| page("new"));
    let edge = Edge::start(&named(&old, "old"));
    let mut conn = edge.connect();
    conn.request("GET", "/", &[]);
    eventually("it is under way", || old.seen().len() == 1);
    reloads(&edge, &named(&new, "new"));
    visit(&edge, "new");
    let of_old = |edge: &Edge| {
        let all = series(edge);
        all.iter().filter(|s| s.contains("-old")).count()
    };
    let time = "dhal_http_request_duration_seconds_count{route=\"route-old\"}";
    assert_eq!(edge.metric(time), Some(0.0));
    let opened = "dhal_upstream_connections_opened_total{upstream=\"shop-old\"}";
    assert!(edge.metric(opened) >= Some(1.0));
    gate.open();
    assert_eq!(conn.response("GET").text(), "old");
    eventually("nothing is left of it", || of_old(&edge) == 0);
}

#[test]
fn what_is_refused_leaves_nothing() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start(&named(&shop, "good"));
    visit(&edge, "good");
    let taken = free_address();
    let _taken = TcpListener::bind(taken).expect("nobody else's");
    let before = series(&edge);
    let wrong = format!(
        r#"{}
        [[listeners]]
        address = "@http"
        [[listeners]]
        address = "{taken}"
        [access_log]
        path = "@dir/other.log"
        [admin]
        address = ["unix:@dir/admin.sock", "unix:@dir/other.sock"]
        [server]
        pid_file = "@dir/other.pid"
        "#,
        named(&shop, "wrong")
    );
    for _ in 0..3 {
        edge.site.configure(&wrong);
        let (status, said) = edge.admin("POST", "/reload");
        assert_eq!(status, 422, "{said}");
        for file in ["other.log", "other.sock", "other.pid"] {
            assert!(!edge.site.path(file).exists(), "{file}");
        }
    }
    let mut now = series(&edge);
    now.remove("dhal_config_reloads_total{outcome=\"failure\"}");
    assert_eq!(now, before);
    assert!(!edge.stderr().contains("other.sock"), "{}", edge.stderr());
    // A log that was there stays what it was.
    std::fs::write(edge.site.path("other.log"), "").expect("a file");
    let (status, said) = edge.admin("POST", "/reload");
    assert_eq!(status, 422, "{said}");
    assert!(edge.site.path("other.log").exists());
}
