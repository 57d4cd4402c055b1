//! The waiting room in a real browser: it waits, moves up, keeps its place over a restart, and comes in, all by the
//! page alone.

use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    browser::Chromium,
    edge::{Edge, Site},
    origin::{Origin, page},
    waiting_room::{Browser, config},
    waiting_room_order::date,
};

#[test]
fn a_browser_waits_moves_up_and_comes_in() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let shop = Origin::start(|_| page("<p>a product</p>").field("content-type", "text/html"));
    let room = "capacity = 1\nstay = \"5s\"\nkeys = [{ id = \"a\", file = \"a.key\" }]";
    let site = Site::new(&config(&shop, room));
    std::fs::write(site.path("a.key"), "0123456789abcdef0123456789abcdef").expect("written");
    let mut edge = Edge::start_at(site);
    let (mut first, mut second) = <(Browser, Browser)>::default();
    assert_eq!(first.comes(&edge, "/own").status, 200);
    assert_eq!(second.comes(&edge, "/own").status, 503);

    browser.go(&format!("http://{}/p", edge.site.http));
    let own = || {
        // The first stays inside by asking again.
        let _ = first.clone().get(&edge, "/own");
    };
    browser.shows("1 ahead of you", 1, own);
    look(&mut browser, "room");
    // The first leaves, the second comes in: there is nobody ahead any more.
    let mut is_in = false;
    browser.shows("0 ahead of you", 2, || {
        is_in |= second.get(&edge, "/own").status == 200;
    });
    assert!(is_in || second.get(&edge, "/own").status == 200);
    let cookie = "document.cookie";
    assert_eq!(
        browser.value(cookie),
        "",
        "the ticket is none of a script's business"
    );

    edge.restart(Signal::SIGKILL);
    // Its connection is gone, and its place is not.
    browser.go(&format!("http://{}/p", edge.site.http));
    browser.shows("0 ahead of you", 1, || {
        let _ = second.get(&edge, "/own");
    });
    // The second does not come any more: it is the browser's turn, by its own reload.
    browser.shows("a product", 4, || {});
    assert_eq!(
        edge.metric("dhal_room_tickets_returned_total{room=\"sale\"}"),
        Some(1.0)
    );
    assert_eq!(edge.metric("dhal_room_inside{room=\"sale\"}"), Some(1.0));
}

#[test]
fn a_browser_sees_when_it_begins_and_comes_in_by_itself() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let shop = Origin::start(|_| page("<p>a product</p>").field("content-type", "text/html"));
    let soon = date(SystemTime::now() + Duration::from_secs(12));
    let edge = Edge::start(&config(
        &shop,
        &format!("capacity = 1\nopens = {soon}\nearly = \"1h\""),
    ));
    browser.go(&format!("http://{}/p", edge.site.http));
    browser.shows("It begins in less than a minute", 1, || {});
    look(&mut browser, "early");
    browser.shows("a product", 2, || {});
}

/// On a phone and on a desk nothing is wider than the window. Pictures are kept where
/// `DHAL_SCREENSHOTS` names a folder.
fn look(browser: &mut Chromium, name: &str) {
    for (width, dark) in [(360, false), (360, true), (1280, false), (1280, true)] {
        let size = json!({
            "width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 500
        });
        browser.tell("Emulation.setDeviceMetricsOverride", size);
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.tell("Emulation.setEmulatedMedia", media);
        let wide = browser.value("document.documentElement.scrollWidth");
        assert!(wide.as_u64() <= Some(width), "{wide} of {width}");
        let high = browser.value("document.documentElement.scrollHeight");
        assert!(
            high.as_u64() <= Some(740),
            "all of it is seen at once: {high}"
        );
        let ink = "getComputedStyle(document.body).color + getComputedStyle(document.body).backgroundColor";
        let (ink, dark_ink) = (browser.value(ink), "rgb(228, 233, 238)rgb(18, 23, 29)");
        assert_eq!(ink == dark_ink, dark, "{ink}");
        if let Ok(folder) = std::env::var("DHAL_SCREENSHOTS") {
            let shot = browser.tell("Page.captureScreenshot", json!({ "format": "png" }));
            let path = format!("{folder}/{name}-{width}-{scheme}.png.base64");
            std::fs::write(path, shot["data"].as_str().unwrap_or_default()).expect("written");
        }
    }
}
