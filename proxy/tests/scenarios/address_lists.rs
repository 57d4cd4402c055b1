//! Address lists: who is kept out, who alone may come, and files that change.

use std::{fs, net::Ipv4Addr, os::unix::fs::symlink};

use crate::{
    client::Conn,
    edge::{Edge, Site},
    origin::{Origin, page},
    tools::eventually,
};

fn config(shop: &Origin) -> String {
    format!(
        r#"
        [server]
        deny = ["bad"]

        [address_lists.bad]
        entries = ["127.0.0.2", "2001:db8::/32"]
        file = "@dir/bad.txt"

        [address_lists.office]
        entries = ["127.0.0.8/30"]

        [upstreams.shop]
        servers = ["{shop}"]

        [limits.few]
        rate = "1/m"
        burst = 1
        exempt = ["office"]

        [[routes]]
        upstream = "shop"

        [[routes]]
        path = "/office"
        upstream = "shop"
        allow = ["office"]

        [[routes]]
        path = "/not-office"
        upstream = "shop"
        deny = ["office"]

        [[routes]]
        path = "/limited"
        upstream = "shop"
        limits = ["few"]
        "#
    )
}

fn start(shop: &Origin, file: &str) -> Edge {
    let site = Site::new(&config(shop));
    fs::write(site.path("bad.txt"), file).expect("a list");
    Edge::start_at(site)
}

fn status(edge: &Edge, last: u8, path: &str) -> u16 {
    let mut conn = Conn::open_from(Ipv4Addr::new(127, 0, 0, last), edge.site.http);
    conn.get(path).status
}

fn valid(edge: &Edge) -> Option<f64> {
    edge.metric("dhal_address_list_valid{list=\"bad\"}")
}

/// Puts a list into the place of another at once, as careful scripts do.
fn replace(edge: &Edge, text: &str) {
    let new = edge.site.path("bad.new");
    fs::write(&new, text).expect("a list");
    fs::rename(new, edge.site.path("bad.txt")).expect("in its place");
}

#[test]
fn who_is_kept_out_and_who_may_come() {
    let shop = Origin::start(|_| page("ok"));
    let edge = start(&shop, "# known scrapers\n127.0.0.3 # one\n\n127.0.0.4/31\n");
    for (last, path, wanted) in [
        (1, "/", 200),
        (2, "/", 403),
        (3, "/", 403),
        (3, "/office", 403),
        (4, "/", 403),
        (5, "/", 403),
        (6, "/", 200),
        (6, "/office", 403),
        (8, "/office", 200),
        (11, "/office", 200),
        (12, "/office", 403),
        (8, "/not-office", 403),
        (6, "/not-office", 200),
        // Whom the limit does not count.
        (8, "/limited", 200),
        (8, "/limited", 200),
        (6, "/limited", 200),
        (6, "/limited", 429),
    ] {
        assert_eq!(status(&edge, last, path), wanted, "127.0.0.{last} {path}");
    }
    for (list, why, count) in [
        ("bad", "denied", 5.0),
        ("office", "not_allowed", 2.0),
        ("office", "denied", 1.0),
    ] {
        let labels = format!("{{list=\"{list}\",why=\"{why}\"}}");
        edge.counts(&format!("dhal_address_list_refused_total{labels}"), count);
    }
    assert_eq!(
        edge.metric("dhal_address_list_entries{list=\"bad\"}"),
        Some(4.0)
    );
    assert_eq!(valid(&edge), Some(1.0));
    eventually("the reasons are in the log", || {
        let lines = edge.log();
        let of = |reason: &str| lines.iter().filter(|l| l["reason"] == reason).count();
        of("address denied") == 6 && of("address not allowed") == 2
    });
    let (_, text) = edge.admin("GET", "/status");
    let state: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(state["address_lists"][0]["entries"], 4);
    assert_eq!(state["limits"][0]["rejected"], 1);
    let shown = edge.site.dhal(&["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("list      bad          4 entries\n"),
        "{shown}"
    );
    assert!(
        shown.contains("limit     few          reject: 1 admitted, 1 refused"),
        "{shown}"
    );
}

#[test]
fn a_file_that_changes_takes_effect() {
    let shop = Origin::start(|_| page("ok"));
    let edge = start(&shop, "127.0.0.3\n");
    let mut kept = Conn::open_from(Ipv4Addr::new(127, 0, 0, 6), edge.site.http);
    assert_eq!(kept.get("/").status, 200);
    replace(&edge, "127.0.0.6\n");
    eventually("another is kept out", || status(&edge, 6, "/") == 403);
    assert_eq!(status(&edge, 3, "/"), 200);
    assert_eq!(
        kept.get("/").status,
        403,
        "on a connection that was open, too"
    );
    assert_eq!(status(&edge, 2, "/"), 403, "the entries stay");
    // Written in place.
    fs::write(edge.site.path("bad.txt"), "127.0.0.7\n127.0.0.9\n").expect("a list");
    eventually("both lines count", || {
        status(&edge, 7, "/") == 403 && status(&edge, 9, "/") == 403
    });
    // A link that leads elsewhere.
    for (name, text) in [("one.txt", "127.0.0.20\n"), ("two.txt", "127.0.0.21\n")] {
        fs::write(edge.site.path(name), text).expect("a list");
    }
    let swap = |name: &str| {
        let link = edge.site.path("link");
        symlink(edge.site.path(name), &link).expect("a link");
        fs::rename(link, edge.site.path("bad.txt")).expect("in its place");
    };
    swap("one.txt");
    eventually("the first", || status(&edge, 20, "/") == 403);
    swap("two.txt");
    eventually("the second", || status(&edge, 21, "/") == 403);
    assert_eq!(status(&edge, 20, "/"), 200);
    replace(&edge, "");
    eventually("nobody", || status(&edge, 21, "/") == 200);
    assert_eq!(valid(&edge), Some(1.0));
}

#[test]
fn a_bad_line_keeps_the_old_list() {
    let shop = Origin::start(|_| page("ok"));
    let edge = start(&shop, "127.0.0.3\n");
    replace(&edge, "127.0.0.6\nscraper.example\n127.0.0.7\n");
    eventually("it is told", || valid(&edge) == Some(0.0));
    assert_eq!((status(&edge, 3, "/"), status(&edge, 6, "/")), (403, 200));
    let why = "bad.txt:2: `scraper.example` is no address or network";
    eventually("with its place", || edge.stderr().contains(why));
    let shown = edge.site.dhal(&["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains(", of an older version: ") && shown.contains(why),
        "{shown}"
    );
    // A reload is about the configuration, and does not fail for it.
    assert!(
        edge.reload(&(config(&shop) + "timeouts = {}\n"))
            .status
            .success()
    );
    assert_eq!((status(&edge, 3, "/"), status(&edge, 6, "/")), (403, 200));
    fs::remove_file(edge.site.path("bad.txt")).expect("removed");
    eventually("that is told as well", || {
        edge.stderr().contains("cannot read")
    });
    assert_eq!(status(&edge, 3, "/"), 403);
    replace(&edge, "127.0.0.6\n");
    eventually("all is well", || {
        valid(&edge) == Some(1.0) && status(&edge, 6, "/") == 403
    });
    assert_eq!(status(&edge, 3, "/"), 200);
}

#[test]
fn a_bad_file_is_a_bad_configuration() {
    let shop = Origin::start(|_| page("ok"));
    let site = Site::new(&config(&shop));
    let check = || {
        let output = site.dhal(&["check"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    let (is_valid, said) = check();
    assert!(
        !is_valid && said.contains("cannot read") && said.contains("bad.txt"),
        "{said}"
    );
    fs::write(site.path("bad.txt"), "127.0.0.3\n127.0.0.300\n").expect("a list");
    let (is_valid, said) = check();
    let why = "bad.txt:2: `127.0.0.300` is no address or network";
    assert!(!is_valid && said.contains(why), "{said}");
    fs::write(site.path("bad.txt"), "127.0.0.3\n").expect("a list");
    assert!(check().0);
    // A reload that brings a bad list along changes nothing.
    let edge = Edge::start_at(site);
    fs::write(edge.site.path("more.txt"), "ten\n").expect("a list");
    let more = config(&shop).replace("bad.txt", "more.txt");
    let output = edge.reload(&more);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("more.txt:1: `ten` is no address or network"),
        "{said}"
    );
    assert_eq!((status(&edge, 3, "/"), status(&edge, 6, "/")), (403, 200));
}
