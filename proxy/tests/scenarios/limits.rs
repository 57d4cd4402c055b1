//! Rate limits: who is over them, who is not, and what a reload changes.

use std::net::Ipv4Addr;

use crate::{
    client::{Conn, Response},
    edge::Edge,
    origin::{Origin, page},
    tools::eventually,
};

fn config(shop: &Origin, burst: u32) -> String {
    format!(
        r#"
        [upstreams.shop]
        servers = ["{shop}"]

        [limits.browse]
        rate = "1/m"
        burst = {burst}

        [[routes]]
        upstream = "shop"
        cache = "default"
        limits = ["browse"]

        [[routes]]
        path = "/free"
        upstream = "shop"
        "#
    )
}

fn get_from(edge: &Edge, last: u8, path: &str) -> Response {
    let mut conn = Conn::open_from(Ipv4Addr::new(127, 0, 0, last), edge.site.http);
    conn.get(path)
}

#[test]
fn who_is_over_the_limit_waits_and_nobody_else() {
    let shop = Origin::start(|_| page("ok").fresh(60));
    let edge = Edge::start(&config(&shop, 3));
    for left in [2, 1, 0] {
        let answer = get_from(&edge, 2, "/");
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.field("ratelimit-policy"),
            Some("\"browse\";q=3;w=180")
        );
        let limit = answer.field("ratelimit").expect("how much is left");
        assert!(
            limit.starts_with(&format!("\"browse\";r={left};t=")),
            "{limit}"
        );
    }
    let mut conn = Conn::open_from(Ipv4Addr::new(127, 0, 0, 2), edge.site.http);
    for _ in 0..3 {
        let refused = conn.get("/");
        assert_eq!(refused.status, 429);
        let after: u64 = refused
            .field("retry-after")
            .and_then(|s| s.parse().ok())
            .expect("when");
        assert!((50..=60).contains(&after), "{after}");
        assert!(refused.field("ratelimit").expect("a state").contains("r=0"));
        assert_eq!(
            refused.field("ratelimit-policy"),
            Some("\"browse\";q=3;w=180")
        );
        assert_eq!(refused.field("cache-control"), Some("no-store"));
    }
    assert_eq!(conn.get("/free").status, 200, "another route has no limit");
    assert_eq!(get_from(&edge, 3, "/").status, 200);
    // What becomes of a request is counted when its answer has left.
    let rejected = "dhal_ratelimit_rejected_total{limit=\"browse\"}";
    eventually("refusals are counted", || {
        edge.metric(rejected) == Some(3.0)
    });
    assert_eq!(
        edge.metric("dhal_ratelimit_tracked_clients{limit=\"browse\"}"),
        Some(2.0)
    );
    eventually("refusals are logged", || {
        let rejected = edge.log().into_iter().filter(|l| l["limit"] == "rejected");
        rejected
            .filter(|l| l["limit_rule"] == "browse" && l["status"] == 429)
            .count()
            == 3
    });
    // A forged field changes nothing.
    let mut conn = Conn::open_from(Ipv4Addr::new(127, 0, 0, 2), edge.site.http);
    conn.request("GET", "/", &[("X-Forwarded-For", "198.51.100.1")]);
    assert_eq!(conn.response("GET").status, 429);
}

#[test]
fn a_reload_does_not_forgive() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start(&config(&shop, 2));
    assert_eq!(get_from(&edge, 2, "/").status, 200);
    assert_eq!(get_from(&edge, 2, "/").status, 200);
    let unchanged = config(&shop, 2) + "[[routes]]\npath = \"/new\"\nupstream = \"shop\"\n";
    assert!(edge.reload(&unchanged).status.success());
    assert_eq!(get_from(&edge, 2, "/").status, 429);
    assert_eq!(get_from(&edge, 2, "/new").status, 200);
}

/// A changed rate or burst is no amnesty for those who are at their limit, nor for anybody else.
#[test]
fn what_was_used_up_stays_so_when_rate_and_burst_change() {
    let shop = Origin::start(|_| page("ok"));
    let rule = |rate: &str, burst: u32| {
        format!(
            "[upstreams.shop]\nservers = [\"{shop}\"]\n[limits.few]\nrate = \"{rate}\"\nburst = {burst}\n\
             [[routes]]\nupstream = \"shop\"\nlimits = [\"few\"]\n"
        )
    };
    let edge = Edge::start(&rule("5/h", 5));
    // How many of ten requests are admitted.
    let admitted = |last| {
        let answers = (0..10).map(|_| get_from(&edge, last, "/").status);
        answers.filter(|status| *status == 200).count()
    };
    let reload = |text: &str| {
        let output = edge.reload(text);
        assert!(output.status.success(), "{output:?}");
    };
    assert_eq!((get_from(&edge, 3, "/").status, admitted(2)), (200, 5));
    reload(&rule("5/h", 6));
    assert_eq!(admitted(2), 1, "one more than before");
    reload(&rule("6/h", 6));
    assert_eq!(admitted(2), 0);
    assert_eq!(admitted(4), 6, "somebody new");
    let (status, said) = edge.admin("POST", "/rollback");
    assert_eq!(status, 200, "{said}");
    assert_eq!((admitted(2), admitted(4)), (0, 0));
    // One of five of them is gone at each rate; the others are there still.
    assert!((3..=5).contains(&admitted(3)));
    reload(&rule("7200/h", 2));
    eventually("the next is admitted when one is replenished", || {
        get_from(&edge, 2, "/").status == 200
    });
}
