//! Reloads that come by themselves, and configurations that are taken back.

use std::os::unix::fs::symlink;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    client::Conn,
    edge::{Edge, Site},
    origin::{Origin, page},
    serving::smallest,
    tools::eventually,
};

const SUCCESSES: &str = "dhal_config_reloads_total{outcome=\"success\"}";
const FAILURES: &str = "dhal_config_reloads_total{outcome=\"failure\"}";
const WATCHED: &str = "[server]\nwatch_config = true\n";

fn shops() -> (Origin, Origin) {
    (
        Origin::start(|_| page("one")),
        Origin::start(|_| page("two")),
    )
}

fn history(edge: &Edge) -> Vec<Value> {
    let (status, text) = edge.admin("GET", "/reloads");
    assert_eq!(status, 200);
    serde_json::from_str(&text).expect("JSON")
}

/// The last reloads, the latest first: what brought them about, and whether they took effect.
fn told(edge: &Edge) -> Vec<(String, bool)> {
    let entry = |entry: &Value| {
        let trigger = entry["trigger"].as_str().expect("a word").to_owned();
        (trigger, entry["applied"].as_bool().expect("yes or no"))
    };
    history(edge).iter().map(entry).collect()
}

fn same(told: &[(String, bool)], wanted: &[(&str, bool)]) -> bool {
    let told = told
        .iter()
        .map(|(trigger, applied)| (trigger.as_str(), *applied));
    told.eq(wanted.iter().copied())
}

#[test]
fn files_that_change_are_taken_up() {
    let (one, two) = shops();
    let edge = Edge::start(&(smallest(&one) + WATCHED));
    assert_eq!(edge.get("/").text(), "one");
    edge.site.configure(&(smallest(&two) + WATCHED));
    eventually("the other shop answers", || edge.get("/").text() == "two");
    // What is wrong is told once, and changes nothing.
    edge.site
        .configure(&(smallest(&one) + WATCHED + "wrong = 1\n"));
    eventually("it is refused", || edge.metric(FAILURES) == Some(1.0));
    std::thread::sleep(std::time::Duration::from_millis(3_500));
    assert_eq!(edge.metric(FAILURES), Some(1.0), "once");
    assert_eq!(edge.get("/").text(), "two");
    // The last configuration that is watched may say that it is not.
    edge.site.configure(&smallest(&one));
    eventually("the first shop answers", || edge.get("/").text() == "one");
    assert!(same(
        &told(&edge),
        &[
            ("watch", true),
            ("watch", false),
            ("watch", true),
            ("start", true)
        ]
    ));
    edge.site.configure(&smallest(&two));
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    assert_eq!(edge.get("/").text(), "one", "nobody watches");
}

#[test]
fn folders_that_are_swapped_are_taken_up() {
    let (one, two) = shops();
    let site = Site::new(&(smallest(&one) + WATCHED));
    for (folder, shop) in [("..first", &one), ("..second", &two)] {
        std::fs::create_dir(site.path(folder)).expect("a folder");
        site.configure(&(smallest(shop) + WATCHED));
        let to = site.path(folder).join("dhal.toml");
        std::fs::rename(site.path("dhal.toml"), to).expect("moved");
    }
    symlink("..first", site.path("..data")).expect("a link");
    symlink("..data/dhal.toml", site.path("dhal.toml")).expect("a link");
    let edge = Edge::start_at(site);
    assert_eq!(edge.get("/").text(), "one");
    symlink("..second", edge.site.path("..data_tmp")).expect("a link");
    std::fs::rename(edge.site.path("..data_tmp"), edge.site.path("..data")).expect("swapped");
    eventually("the other shop answers", || edge.get("/").text() == "two");
}

#[test]
fn a_configuration_is_taken_back_and_stays_so() {
    let (one, two) = shops();
    let edge = Edge::start(&(smallest(&one) + WATCHED));
    let nothing = edge.site.dhal(&["reload", "--rollback"]);
    assert_eq!(nothing.status.code(), Some(1), "{nothing:?}");
    edge.site.configure(&(smallest(&two) + WATCHED));
    eventually("the other shop answers", || edge.get("/").text() == "two");
    let back = edge.site.dhal(&["reload", "--rollback"]);
    assert!(back.status.success(), "{back:?}");
    let said = String::from_utf8_lossy(&back.stdout).into_owned();
    assert!(
        said.contains("which is 1 again") && said.contains("dhal.toml still holds"),
        "{said}"
    );
    assert_eq!(edge.get("/").text(), "one");
    assert_eq!(
        edge.metric("dhal_config_rollbacks_total{by=\"order\"}"),
        Some(1.0)
    );
    assert_eq!(edge.metric("dhal_config_last_reload_successful"), Some(0.0));
    let status = edge.site.dhal(&["status"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        status.contains("files     hold another configuration"),
        "{status}"
    );
    // The file is watched, and has not changed.
    std::thread::sleep(std::time::Duration::from_millis(3_500));
    assert_eq!(edge.get("/").text(), "one");
    // Whoever says so gets it all the same.
    assert!(edge.site.dhal(&["reload"]).status.success());
    assert_eq!(edge.get("/").text(), "two");
    assert!(same(
        &told(&edge),
        &[
            ("admin", true),
            ("rollback", true),
            ("watch", true),
            ("start", true)
        ]
    ));
    // A file that is broken meanwhile is in nobody's way.
    edge.site.configure(&(smallest(&two) + "["));
    let back = edge.site.dhal(&["reload", "--rollback"]);
    assert!(back.status.success(), "{back:?}");
    assert_eq!(edge.get("/").text(), "one");
}

#[test]
fn the_history_tells_what_was_and_why() {
    let (one, two) = shops();
    let edge = Edge::start(&smallest(&one));
    assert!(edge.reload(&smallest(&two)).status.success());
    edge.site.configure(&(smallest(&one) + "wrong = 1\n"));
    edge.signal(Signal::SIGHUP);
    eventually("it is refused", || edge.metric(FAILURES) == Some(1.0));
    let entries = history(&edge);
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[0]["generation"], 2);
    assert!(
        entries[0]["error"]
            .as_str()
            .expect("a reason")
            .contains("wrong")
    );
    edge.site.configure(&smallest(&two));
    let output = edge.site.dhal(&["history"]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [
        "signal",
        "admin",
        "start",
        "unknown key",
        "configuration 2 in force",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let text = edge.site.dhal(&["history", "--text", "2"]);
    assert_eq!(
        String::from_utf8_lossy(&text.stdout),
        edge.site.read("dhal.toml")
    );
    assert_eq!(
        edge.site.dhal(&["history", "--text", "99"]).status.code(),
        Some(1)
    );
    for _ in 0..12 {
        let before = edge.metric(SUCCESSES).unwrap_or(0.0);
        edge.signal(Signal::SIGHUP);
        eventually("it is reloaded", || {
            edge.metric(SUCCESSES) > Some(before) || before > 12.0
        });
    }
    assert_eq!(history(&edge).len(), 10);
}

#[test]
fn the_text_of_a_configuration_is_not_for_everyone_who_may_read() {
    let (one, _) = shops();
    let edge = Edge::start(
        &(smallest(&one) + "[admin]\naddress = [\"@admin\", \"unix:@dir/admin.sock\"]\n"),
    );
    let ask = |path: &str| {
        let mut conn = Conn::open(edge.site.admin_tcp);
        conn.request("GET", path, &[]);
        conn.response("GET").status
    };
    assert_eq!([ask("/reloads"), ask("/reloads/text/1")], [200, 403]);
    let (status, text) = edge.admin("GET", "/reloads/text/1");
    assert_eq!((status, text), (200, edge.site.read("dhal.toml")));
}

fn on_probation(shop: &Origin, bounds: &str) -> String {
    format!(
        "{}[reload]\nprobation = \"20s\"\nmin_requests = 50\n{bounds}",
        smallest(shop)
    )
    .replace("cache = \"default\"", "")
}

#[test]
fn a_configuration_under_which_visitors_fare_worse_is_taken_back() {
    let sound = Origin::start(|_| page("sound"));
    let broken = Origin::start(|_| page("broken").status(500));
    let edge = Edge::start(&on_probation(&sound, ""));
    let mut conn = edge.connect();
    for _ in 0..100 {
        assert_eq!(conn.get("/").status, 200);
    }
    let output = edge.reload(&on_probation(&broken, ""));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("on probation for 20s"),
        "{output:?}"
    );
    assert_eq!(conn.get("/").status, 500);
    let status = edge.site.dhal(&["status"]);
    assert!(
        String::from_utf8_lossy(&status.stdout).contains("probation "),
        "{status:?}"
    );
    eventually("it is taken back", || conn.get("/").text() == "sound");
    assert_eq!(
        edge.metric("dhal_config_rollbacks_total{by=\"probation\"}"),
        Some(1.0)
    );
    let entries = history(&edge);
    assert_eq!(
        (&entries[0]["trigger"], &entries[0]["restored"]),
        (&"probation".into(), &1.into())
    );
    assert!(
        entries[0]["error"]
            .as_str()
            .expect("a reason")
            .contains("5xx"),
        "{entries:?}"
    );
    assert!(edge.stderr().contains("did not pass its probation"));
    let status = edge.site.dhal(&["status"]);
    assert!(
        String::from_utf8_lossy(&status.stdout).contains("files     hold another"),
        "{status:?}"
    );
}

#[test]
fn the_same_text_again_is_as_much_on_probation() {
    let sound = Origin::start(|_| page("sound"));
    let broken = Origin::start(|_| page("broken").status(500));
    let edge = Edge::start(&on_probation(&sound, ""));
    let mut conn = edge.connect();
    for _ in 0..60 {
        assert_eq!(conn.get("/").status, 200);
    }
    assert!(edge.reload(&on_probation(&broken, "")).status.success());
    let again = edge.site.dhal(&["reload"]);
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(said.contains("on probation for another"), "{said}");
    eventually("it is taken back", || conn.get("/").text() == "sound");
    assert_eq!(history(&edge)[0]["restored"], 1);
}

#[test]
fn a_configuration_that_is_no_worse_passes() {
    let (one, two) = shops();
    // A busy machine makes answers slower by itself, and fewer.
    let bounds = "max_p99_factor = 1000\n";
    let short = |shop| on_probation(shop, bounds).replace("20s", "5s");
    let edge = Edge::start(&short(&one));
    let mut conn = edge.connect();
    for _ in 0..100 {
        conn.get("/");
    }
    assert!(edge.reload(&short(&two)).status.success());
    eventually("it has passed", || {
        assert_eq!(conn.get("/").text(), "two");
        edge.stderr()
            .contains("configuration 2 has passed its probation")
    });
    assert_eq!(
        edge.metric("dhal_config_rollbacks_total{by=\"probation\"}"),
        None
    );
}
