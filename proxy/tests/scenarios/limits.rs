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
    assert_eq!(
        edge.metric("dhal_ratelimit_rejected_total{limit=\"browse\"}"),
        Some(3.0)
    );
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
    assert!(edge.reload(&config(&shop, 5)).status.success());
    assert_eq!(get_from(&edge, 2, "/").status, 200, "another rule");
}
