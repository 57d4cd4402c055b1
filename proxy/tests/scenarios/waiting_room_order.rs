//! Waiting rooms: whose turn it is, before and after the opening, a reload and a restart.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::{
    edge::{Edge, Site},
    tools::eventually,
    waiting_room::{Browser, config, json, room_cookies, shop, told},
};

#[test]
fn whose_turn_it_is_gets_what_it_asked_for_with_its_pass() {
    let shop = shop();
    let edge = Edge::start(&config(&shop, "capacity = 1\nstay = \"5s\""));
    let (mut first, mut second, mut third) = <(Browser, Browser, Browser)>::default();
    assert_eq!(first.comes(&edge, "/p").status, 200);
    assert_eq!(second.get(&edge, "/own/2").status, 503);
    assert_eq!(third.get(&edge, "/own/3").status, 503);
    let mut answer = None;
    eventually("the first has left", || {
        let now = second.get(&edge, "/own/2");
        assert_eq!(told(&now, "place").unwrap_or(1), 1);
        assert_eq!(third.get(&edge, "/own/3").status, 503);
        let is_in = now.status == 200;
        answer = Some(now);
        is_in
    });
    let answer = answer.expect("an answer");
    assert_eq!(
        (answer.text().as_str(), room_cookies(&answer).len()),
        ("yours", 1)
    );
    assert_eq!(told(&third.get(&edge, "/own/3"), "place"), Some(1));
    // Whose pass is over waits again, behind the others.
    assert_eq!(told(&first.get(&edge, "/p"), "place"), Some(2));
}

#[test]
fn a_cart_is_known_by_the_shops_own_cookie() {
    let shop = shop();
    let room = "capacity = 1\nstay = \"5s\"\ncart_cookies = [\"cart\"]\ncart_stay = \"10m\"";
    let edge = Edge::start(&config(&shop, room));
    let mut first = Browser::default();
    first.comes(&edge, "/p");
    let emptied = first.get(&edge, "/empty");
    assert_eq!(room_cookies(&emptied).len(), 0);
    let before = first.cookie.clone();
    let filled = first.get(&edge, "/cart");
    assert_eq!(filled.count("set-cookie"), 2, "the shop's, and ours");
    let cookies = room_cookies(&filled);
    assert!(cookies[0].contains("Max-Age=900"), "{}", cookies[0]);
    assert_ne!(first.cookie, before);
    assert_eq!(edge.metric("dhal_room_carts{room=\"sale\"}"), Some(1.0));
    // It is kept beyond `stay`.
    let mut second = Browser::default();
    let begin = Instant::now();
    eventually("the stay of others is over", || {
        assert_eq!(second.get(&edge, "/p").status, 503);
        begin.elapsed() > Duration::from_secs(6)
    });
    assert_eq!(first.get(&edge, "/own").status, 200);
}

#[test]
fn before_the_opening_nobody_comes_in_and_places_are_not_told() {
    let shop = shop();
    let room = "capacity = 1\nopens = 2200-01-01T00:00:00Z\nearly = \"1h\"";
    let edge = Edge::start(&config(&shop, room));
    assert_eq!(
        Browser::default().comes(&edge, "/p").status,
        200,
        "long before it is open"
    );
    let soon = std::time::SystemTime::now() + Duration::from_secs(8);
    let soon = date(soon);
    let text = config(
        &shop,
        &format!("capacity = 1\nopens = {soon}\nearly = \"1h\""),
    );
    assert!(edge.reload(&text).status.success());
    let mut crowd = vec![Browser::default(); 4];
    for browser in &mut crowd {
        let answer = browser.comes(&edge, "/p");
        assert_eq!(answer.status, 503);
        assert!(
            answer
                .field("dhal-room")
                .expect("a state")
                .starts_with("sale;state=early;wait=")
        );
        assert!(answer.text().contains("class=\"early\""));
    }
    let look = |cookie: &Option<String>| {
        let cookie = cookie.clone().unwrap_or_default();
        json(&edge.ask("GET", "/.dhal/rooms/sale", &[("cookie", &cookie)]))
    };
    let status = look(&crowd[0].cookie);
    assert_eq!(
        (status["state"].as_str(), status["waiting"].as_u64()),
        (Some("early"), Some(4))
    );
    assert!(status["place"].is_null(), "{status}");
    assert_eq!(status["opens"].as_str(), Some(soon.as_str()));
    eventually("it opens", || look(&None)["state"] != "early");
    let late = Browser::default().get(&edge, "/p");
    assert_eq!(
        told(&late, "place"),
        Some(5),
        "whoever comes late stands behind"
    );
    // The one who was inside before has not left.
    let mut places: Vec<_> = crowd
        .iter_mut()
        .map(|b| told(&b.get(&edge, "/p"), "place"))
        .collect();
    places.sort();
    assert_eq!(places, [Some(1), Some(2), Some(3), Some(4)]);
}

pub(crate) fn date(time: std::time::SystemTime) -> String {
    let text = httpdate::fmt_http_date(time);
    // Thu, 26 Nov 2026 06:00:00 GMT
    let parts: Vec<_> = text.split(' ').collect();
    let months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    let month = months
        .split(' ')
        .position(|m| m == parts[2])
        .expect("a month")
        + 1;
    format!("{}-{month:02}-{}T{}Z", parts[3], parts[1], parts[4])
}

#[test]
fn a_reload_keeps_the_room_and_its_order() {
    let shop = shop();
    let edge = Edge::start(&config(&shop, "capacity = 1"));
    let (mut first, mut second, mut third) = <(Browser, Browser, Browser)>::default();
    first.comes(&edge, "/p");
    second.comes(&edge, "/p");
    third.comes(&edge, "/p");
    let reloaded = edge.reload(&config(&shop, "capacity = 1\nstay = \"10m\""));
    assert!(reloaded.status.success());
    assert_eq!(first.get(&edge, "/p").status, 200);
    assert_eq!(told(&third.get(&edge, "/p"), "place"), Some(2));
    assert_eq!(told(&second.get(&edge, "/p"), "place"), Some(1));
    // One more place: the next one comes in.
    assert!(edge.reload(&config(&shop, "capacity = 2")).status.success());
    eventually("the second comes in", || {
        second.get(&edge, "/p").status == 200
    });
    assert_eq!(told(&third.get(&edge, "/p"), "place"), Some(1));
    // A file that cannot be used leaves everything as it is.
    for (room, said) in [
        (
            "capacity = 2\nkeys = [{ id = \"a\", file = \"none.key\" }]",
            "none.key",
        ),
        (
            "capacity = 2\ntemplate = \"bad.html\"",
            "there is no placeholder {plase}",
        ),
    ] {
        std::fs::write(edge.site.path("bad.html"), "<p>{plase}</p>").expect("written");
        let refused = edge.reload(&config(&shop, room));
        let text = format!("{refused:?}");
        assert!(!refused.status.success() && text.contains(said), "{text}");
    }
    assert_eq!(told(&third.get(&edge, "/p"), "place"), Some(1));
}

#[test]
fn a_restart_keeps_passes_and_places_where_keys_are_kept() {
    let shop = shop();
    let room = "capacity = 1\nkeys = [{ id = \"a\", file = \"a.key\" }]";
    let site = Site::new(&config(&shop, room));
    std::fs::write(site.path("a.key"), "0123456789abcdef0123456789abcdef").expect("written");
    let mut edge = Edge::start_at(site);
    let mut crowd = vec![Browser::default(); 4];
    for browser in &mut crowd {
        browser.comes(&edge, "/p");
    }
    edge.restart(Signal::SIGKILL);
    // The last one comes back first, to an empty room, and does not come in.
    for place in (1..4).rev() {
        assert_eq!(
            told(&crowd[place].get(&edge, "/p"), "place"),
            Some(place as u64)
        );
    }
    assert_eq!(
        crowd[0].get(&edge, "/p").status,
        200,
        "who was inside goes on"
    );
    assert_eq!(Browser::default().get(&edge, "/p").status, 503);
    assert_eq!(
        edge.metric("dhal_room_tickets_returned_total{room=\"sale\"}"),
        Some(3.0)
    );
    // Another key signs; that of before is still good.
    let text = config(
        &shop,
        "capacity = 1\nkeys = [{ id = \"b\", file = \"b.key\" }, { id = \"a\", file = \"a.key\" }]",
    );
    std::fs::write(edge.site.path("b.key"), "fedcba9876543210fedcba9876543210").expect("written");
    assert!(edge.reload(&text).status.success());
    assert_eq!(crowd[0].get(&edge, "/p").status, 200);
    assert_eq!(told(&crowd[1].get(&edge, "/p"), "place"), Some(1));
}

/// Nobody looks at the metrics while it is away.
#[test]
fn a_room_that_was_away_is_told_from_zero() {
    let shop = shop();
    let edge = Edge::start(&config(&shop, "capacity = 10"));
    let admitted = || edge.metric("dhal_room_admitted_total{room=\"sale\"}");
    for _ in 0..3 {
        Browser::default().comes(&edge, "/p");
    }
    assert_eq!(admitted(), Some(3.0));
    let other = config(&shop, "capacity = 10").replace("sale", "other");
    for text in [other, config(&shop, "capacity = 10")] {
        assert!(edge.reload(&text).status.success());
    }
    Browser::default().comes(&edge, "/p");
    assert_eq!(admitted(), Some(1.0));
}
