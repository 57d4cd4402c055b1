//! Reloads of what would bring a lesser process to a stand: pipes that nobody writes to, files and sockets that are gone.

use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};

use crate::{
    edge::Edge,
    origin::{Origin, page},
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

#[test]
fn pipes_are_refused_and_not_waited_for() {
    let shop = shop();
    let mut edge = Edge::start(&smallest(&shop));
    let pipe = edge.site.path("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
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
        .open(&pipe)
        .expect("a reader");
    let log = smallest(&shop) + "[access_log]\npath = \"@dir/pipe\"\n";
    assert!(edge.reload(&log).status.success());
    drop(reader);
    edge.signal(Signal::SIGTERM);
    edge.wait();
}

#[test]
fn a_pipe_in_the_place_of_a_file_that_is_watched_is_in_nobodys_way() {
    let shop = shop();
    let text = smallest(&shop)
        + "[server]\nwatch_config = true\nerror_pages = { 404 = \"@dir/page.html\" }\n";
    let site = crate::edge::Site::new(&text);
    let page = site.path("page.html");
    std::fs::write(&page, "nothing").expect("a page");
    let mut edge = Edge::start_at(site);
    std::fs::remove_file(&page).expect("removed");
    mkfifo(&page, Mode::S_IRWXU).expect("a pipe");
    eventually("it is refused", || edge.metric(FAILURES) == Some(1.0));
    refuses(&edge, "it is no regular file");
    std::fs::remove_file(&page).expect("removed");
    std::fs::write(&page, "something").expect("a page");
    eventually("it is taken up", || edge.metric(SUCCESSES) == Some(1.0));
    edge.signal(Signal::SIGTERM);
    edge.wait();
}

#[test]
fn what_came_by_a_pipe_cannot_be_read_again() {
    let shop = shop();
    let site = crate::edge::Site::new(&smallest(&shop));
    let text = site.read("dhal.toml");
    std::fs::remove_file(site.path("dhal.toml")).expect("removed");
    let pipe = site.path("dhal.toml");
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    let writer = std::thread::spawn(move || std::fs::write(pipe, text));
    let mut edge = Edge::start_at(site);
    writer.join().expect("a thread").expect("written");
    refuses(&edge, "it is no regular file");
    edge.signal(Signal::SIGTERM);
    edge.wait();
}
