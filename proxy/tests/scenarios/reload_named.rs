//! Watching: each file that a configuration names is seen to change, but for those that are kept up with by themselves.

use std::{fs, thread, time::Duration};

use nix::sys::signal::Signal;

use crate::{
    edge::{Edge, Site},
    origin::{Origin, page},
    secure::Authority,
    serving::smallest,
    tools::eventually,
};

const SUCCESSES: &str = "dhal_config_reloads_total{outcome=\"success\"}";
const FAILURES: &str = "dhal_config_reloads_total{outcome=\"failure\"}";

const CONFIG: &str = r#"
    [server]
    watch_config = true
    error_pages = { 404 = "@dir/404.html" }

    [admin]
    address = "unix:@dir/admin.sock"
    token_file = "@dir/token"

    [upstreams.shop]
    servers = ["@shop"]

    [upstreams.inner]
    servers = ["@https"]
    tls = { ca = "@dir/ca.pem", cert = "@dir/own.pem", key = "@dir/own.key" }

    [address_lists.bad]
    file = "@dir/bad.txt"

    [waiting_rooms.sale]
    capacity = 1
    keys = [{ id = "a", file = "@dir/room.key" }]
    template = "@dir/room.html"

    [[routes]]
    path = "/notice"
    respond = { status = 200, body_file = "@dir/notice.txt" }

    [[routes]]
    path = "/inner/*"
    upstream = "inner"

    [[routes]]
    path = "/sale/*"
    upstream = "shop"
    waiting_room = "sale"

    [[routes]]
    path = "/shop"
    upstream = "shop"
    deny = ["bad"]
"#;

/// Writes each of the files with another content than that of the other turns.
fn write(site: &Site, name: &str, turn: usize) {
    let put = |name: &str, text: String| fs::write(site.path(name), text).expect("written");
    match name {
        "ca.pem" => Authority::new("inner").write(&site.path(name)),
        "own.pem" => {
            let own = Authority::new("own").server(&["edge.example"]);
            own.write(&site.path("own.pem"), &site.path("own.key"));
        }
        "bad.txt" => put(name, format!("192.0.2.{turn}\n127.0.0.{turn}\n")),
        "token" | "room.key" => put(name, format!("{turn:032}")),
        "room.html" => put(name, format!("{turn} {{refresh}}")),
        _ => put(name, format!("{name} {turn}")),
    }
}

const TAKEN_BY_RELOADS: [&str; 7] = [
    "404.html",
    "token",
    "ca.pem",
    "own.pem",
    "room.key",
    "room.html",
    "notice.txt",
];

#[test]
fn each_file_that_is_named_is_watched() {
    let shop = Origin::start(|_| page("ok"));
    let site = Site::new(&CONFIG.replace("@shop", &shop.to_string()));
    for name in TAKEN_BY_RELOADS.iter().chain(&["bad.txt"]) {
        write(&site, name, 0);
    }
    let edge = Edge::start_at(site);
    let counted = || edge.metric(SUCCESSES).unwrap_or_default();
    for name in TAKEN_BY_RELOADS {
        let before = counted();
        write(&edge.site, name, 1);
        eventually(name, || counted() > before);
    }
    assert_eq!(edge.get("/notice").text(), "notice.txt 1");
    assert_eq!(edge.get("/nothing").text(), "404.html 1");
    let before = counted();
    assert_eq!(edge.get("/shop").status, 200);
    write(&edge.site, "bad.txt", 1);
    eventually("the list is followed", || edge.get("/shop").status == 403);
    // Two looks, and what they take.
    thread::sleep(Duration::from_millis(2_500));
    assert_eq!(counted(), before, "without a reload");
    assert_eq!(edge.metric(FAILURES).unwrap_or_default(), 0.0);
}

#[test]
fn what_was_deleted_is_made_anew() {
    let shop = Origin::start(|_| page("ok"));
    let pid = "[server]\npid_file = \"@dir/dhal.pid\"\n";
    let mut edge = Edge::start(&(smallest(&shop) + pid));
    let number = edge.site.read("dhal.pid");
    assert_eq!(number.trim(), edge.id().to_string());
    for name in ["admin.sock", "dhal.pid"] {
        fs::remove_file(edge.site.path(name)).expect("removed");
    }
    edge.signal(Signal::SIGHUP);
    eventually("both are there", || {
        edge.site.path("admin.sock").exists() && edge.site.read("dhal.pid") == number
    });
    eventually("it is answered there", || {
        edge.metric(SUCCESSES) == Some(1.0)
    });
    let output = edge.site.dhal(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    edge.signal(Signal::SIGTERM);
    edge.wait();
    for name in ["admin.sock", "dhal.pid"] {
        assert!(!edge.site.path(name).exists(), "{name} goes with the edge");
    }
}
