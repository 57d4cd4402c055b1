//! Reloads of what would bring a lesser process to a stand: pipes that nobody writes to, files and sockets that are gone.

use std::path::Path;

use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::{geteuid, mkfifo},
};

use crate::{
    edge::{Edge, Site},
    origin::{Origin, page},
    privilege::{give, is_root},
    serving::smallest,
    tools::eventually,
};

const SUCCESSES: &str = "dhal_config_reloads_total{outcome=\"success\"}";
const FAILURES: &str = "dhal_config_reloads_total{outcome=\"failure\"}";

fn shop() -> Origin {
    Origin::start(|_| page("shop"))
}

/// The edge refuses what its file holds, and says this.
fn refuses(edge: &Edge, wanted: &str) {
    let before = edge.metric(FAILURES).unwrap_or(0.0);
    edge.signal(Signal::SIGHUP);
    eventually("it is refused", || edge.metric(FAILURES) > Some(before));
    let stderr = edge.stderr();
    assert!(stderr.contains(wanted), "{wanted} in {stderr}");
    assert_eq!(edge.get("/").status, 200);
}

/// A pipe that nobody writes to, of whoever runs the edge.
fn pipe(path: &Path) {
    mkfifo(path, Mode::S_IRWXU).expect("a pipe");
    if geteuid().is_root() {
        give(path);
    }
}

#[test]
fn pipes_are_refused_and_not_waited_for() {
    pipes_are_refused(|site| site);
}

/// Who is not root is told what cannot be read as well, and that is asked without waiting, too.
#[test]
fn pipes_are_refused_by_another_user_and_not_waited_for() {
    if is_root() {
        pipes_are_refused(Site::run_by_user);
    }
}

fn pipes_are_refused(run_by: fn(Site) -> Site) {
    let shop = shop();
    let mut edge = Edge::start_at(run_by(Site::new(&smallest(&shop))));
    let path = edge.site.path("pipe");
    pipe(&path);
    for (section, wanted) in [
        (
            "[access_log]\npath = \"@dir/pipe\"\n",
            "a pipe or a socket that nobody reads",
        ),
        (
            "[admin]\naddress = \"unix:@dir/admin.sock\"\ntoken_file = \"@dir/pipe\"\n",
            "it is no regular file",
        ),
        (
            "[server]\nerror_pages = { 404 = \"@dir/pipe\" }\n",
            "it is no regular file",
        ),
    ] {
        edge.site.configure(&(smallest(&shop) + section));
        let checked = edge.site.dhal(&["check"]);
        assert_eq!(checked.status.code(), Some(1), "{section}: {checked:?}");
        refuses(&edge, wanted);
    }
    // A pipe that somebody reads is a log like any other.
    let reader = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .expect("a reader");
    let log = smallest(&shop) + "[access_log]\npath = \"@dir/pipe\"\n";
    assert!(edge.reload(&log).status.success());
    drop(reader);
    edge.signal(Signal::SIGTERM);
    edge.wait();
}

#[test]
fn a_pipe_in_the_place_of_a_file_that_is_watched_is_in_nobodys_way() {
    a_pipe_is_in_nobodys_way(|site| site);
}

#[test]
fn a_pipe_in_the_place_of_a_file_that_is_watched_is_in_no_other_users_way() {
    if is_root() {
        a_pipe_is_in_nobodys_way(Site::run_by_user);
    }
}

fn a_pipe_is_in_nobodys_way(run_by: fn(Site) -> Site) {
    let shop = shop();
    let text = smallest(&shop)
        + "[server]\nwatch_config = true\nerror_pages = { 404 = \"@dir/page.html\" }\n";
    let site = Site::new(&text);
    let page = site.path("page.html");
    std::fs::write(&page, "nothing").expect("a page");
    let mut edge = Edge::start_at(run_by(site));
    std::fs::remove_file(&page).expect("removed");
    pipe(&page);
    eventually("it is refused", || edge.metric(FAILURES) == Some(1.0));
    refuses(&edge, "it is no regular file");
    std::fs::remove_file(&page).expect("removed");
    std::fs::write(&page, "something").expect("a page");
    eventually("it is taken up", || edge.metric(SUCCESSES) == Some(1.0));
    edge.signal(Signal::SIGTERM);
    edge.wait();
}

/// A start that fails says what cannot be read, and ends.
#[test]
fn a_start_by_another_user_does_not_wait_for_a_pipe() {
    if !is_root() {
        return;
    }
    let shop = shop();
    let text = smallest(&shop) + "[server]\nerror_pages = { 404 = \"@dir/page.html\" }\n";
    let site = Site::new(&text).run_by_user();
    pipe(&site.path("page.html"));
    let mut edge = site.spawn();
    eventually("it ends", || edge.has_ended());
    assert!(!edge.wait().success());
    let stderr = edge.stderr();
    assert!(stderr.contains("it is no regular file"), "{stderr}");
}

#[test]
fn what_came_by_a_pipe_cannot_be_read_again() {
    let shop = shop();
    let site = Site::new(&smallest(&shop));
    let text = site.read("dhal.toml");
    std::fs::remove_file(site.path("dhal.toml")).expect("removed");
    let pipe = site.path("dhal.toml");
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    let written = text.clone();
    let writer = std::thread::spawn(move || std::fs::write(pipe, written));
    let mut edge = Edge::start_at(site);
    writer.join().expect("a thread").expect("written");
    // What is kept is what was compiled, and nothing that is read again.
    assert_eq!(edge.admin("GET", "/reloads/text/1"), (200, text));
    refuses(&edge, "it is no regular file");
    edge.signal(Signal::SIGTERM);
    edge.wait();
}
