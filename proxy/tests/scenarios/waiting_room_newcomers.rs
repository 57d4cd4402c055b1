//! Waiting rooms: visitors who keep no cookies keep nobody out.

use crate::{
    browser::Chromium,
    edge::Edge,
    origin::{Origin, page},
    tools::eventually,
    waiting_room::{Browser, HTML, config, room_cookies, shop, told},
};

/// Browsers that keep no cookies: how many went on, and how many were told to wait.
fn bots(edge: &Edge, count: usize) -> [usize; 2] {
    let mut conn = edge.connect();
    let mut seen = [0, 0];
    for _ in 0..count {
        conn.request("GET", "/p", &[HTML]);
        let answer = conn.response("GET");
        assert_eq!(room_cookies(&answer).len(), 1);
        seen[usize::from(answer.status == 503)] += 1;
    }
    seen
}

fn figures(edge: &Edge) -> [Option<f64>; 3] {
    ["inside", "waiting", "tickets_kept_total"]
        .map(|name| edge.metric(&format!("dhal_room_{name}{{room=\"sale\"}}")))
}

#[test]
fn browsers_without_cookies_keep_no_real_one_out() {
    let shop = shop();
    let edge = Edge::start(&config(&shop, "capacity = 2"));
    let [guests, told_to_wait] = bots(&edge, 300);
    // A few more where the three hundred take more than a second.
    assert!((16..100).contains(&guests), "{guests}");
    assert_eq!(guests + told_to_wait, 300);
    assert_eq!(figures(&edge), [Some(0.0); 3], "none of them is counted");
    assert_eq!(edge.get("/p").status, 200, "so there is no crowd");
    // A real one comes in by its first reload, whatever it was told first.
    let (mut first, mut second, mut third) = <(Browser, Browser, Browser)>::default();
    let answer = first.get(&edge, "/p");
    if answer.status == 503 {
        assert_eq!(answer.field("refresh"), Some("1"), "there is a place");
    }
    bots(&edge, 100);
    assert_eq!(first.get(&edge, "/own").status, 200);
    assert_eq!(second.comes(&edge, "/own").status, 200);
    assert_eq!(figures(&edge), [Some(2.0), Some(0.0), Some(2.0)]);
    // Now it is full, and the queue is one of visitors who keep cookies, too.
    assert_eq!(bots(&edge, 300), [0, 300]);
    assert_eq!(
        told(&third.comes(&edge, "/p"), "place").map(|p| p > 0),
        Some(true)
    );
    assert_eq!(bots(&edge, 300), [0, 300]);
    assert_eq!(figures(&edge), [Some(2.0), Some(1.0), Some(3.0)]);
    assert_eq!(first.get(&edge, "/own").status, 200);
}

#[test]
fn a_real_browser_comes_in_beside_hundreds_without_cookies() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let shop = Origin::start(|_| page("<p>a product</p>").field("content-type", "text/html"));
    let edge = Edge::start(&config(&shop, "capacity = 1"));
    bots(&edge, 300);
    browser.go(&format!("http://{}/p", edge.site.http));
    browser.shows("a product", 2, || {
        bots(&edge, 20);
    });
    browser.go(&format!("http://{}/own", edge.site.http));
    eventually("it is the only one inside", || {
        figures(&edge) == [Some(1.0), Some(0.0), Some(1.0)]
    });
}
