//! A process that took over and ends soon after: the one before goes on as if there had been no upgrade.

use std::thread;

use nix::sys::signal::Signal;

use crate::{
    client::Conn,
    edge::Edge,
    handover::{Service, is_alive, signal},
    origin::{Origin, page},
    serving::{plain, smallest},
    tools::{eventually, free_address},
};

const FAILURES: &str = "dhal_upgrades_total{outcome=\"failure\"}";
const RELOADS: &str = "dhal_config_reloads_total{outcome=\"success\"}";
const SERVES: &str = "the new process serves pid=";

/// The process that the log says serves, of the so many-th upgrade.
fn successor(edge: &Edge, nth: usize) -> u32 {
    let mut found = None;
    eventually("another process serves", || {
        let log = edge.stderr();
        let told = log.split(SERVES).nth(nth).map(str::to_owned);
        let number: Option<String> =
            told.map(|told| told.chars().take_while(char::is_ascii_digit).collect());
        found = number.and_then(|number| number.parse().ok());
        found.is_some()
    });
    found.expect("it was found")
}

#[test]
fn a_new_process_that_ends_after_it_has_begun_to_serve_is_no_upgrade() {
    let shop = Origin::start(|_| page("hot").fresh(600));
    let config = plain(&shop) + "[server]\npid_file = \"@dir/dhal.pid\"\n";
    let mut service = Service::of(Edge::start_tls(&config));
    let first = service.edge.id();
    for (nth, (by, says)) in [
        (Signal::SIGKILL, "signal: 9"),
        (Signal::SIGTERM, "exit status: 0"),
    ]
    .into_iter()
    .enumerate()
    {
        let output = thread::scope(|scope| {
            let site = &service.edge.site;
            let upgrade = scope.spawn(|| site.dhal(&["upgrade"]));
            let second = successor(&service.edge, nth + 1);
            // It is the one that orders go to.
            eventually("its number is in the pid file", || {
                site.read("dhal.pid") == format!("{second}\n")
            });
            assert_eq!(service.pid(), second);
            signal(second, by);
            upgrade.join().expect("no panic")
        });
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("it was gone when it had served for"),
            "{said}"
        );
        assert!(said.contains(says), "{said}");
        assert!(said.contains("the running process goes on"), "{said}");
        assert_eq!(service.pid(), first);
        assert_eq!(service.edge.site.read("dhal.pid"), format!("{first}\n"));
        assert_eq!(service.edge.metric(FAILURES), Some(nth as f64 + 1.0));
        for _ in 0..20 {
            assert_eq!(service.edge.get("/").status, 200);
        }
        assert!(service.edge.site.dhal(&["status"]).status.success());
    }
    // What was wrong was what came, not who waits for it.
    let (before, now) = service.upgrade();
    assert_eq!(before, first);
    assert!(service.edge.wait().success());
    assert!(is_alive(now));
    assert_eq!(service.edge.get("/").status, 200);
}

/// A reload would make a listener that goes deaf in both processes, and a third process would serve beside the first.
#[test]
fn orders_wait_until_the_new_process_is_alone() {
    const WAITS: &str = "waits until the process before has let go";
    let shop = Origin::start(|_| page("hot"));
    let other = free_address();
    let one = smallest(&shop);
    let both = format!("{one}[[listeners]]\naddress = \"{other}\"\n");
    let service = Service::of(Edge::start(&both));
    let first = service.edge.id();
    let site = &service.edge.site;
    thread::scope(|scope| {
        let upgrade = scope.spawn(|| site.dhal(&["upgrade"]));
        let second = successor(&service.edge, 1);
        eventually("orders go to it", || service.pid() == second);
        site.configure(&one);
        let orders = ["reload", "upgrade"].map(|verb| scope.spawn(move || site.dhal(&[verb])));
        eventually("they wait", || {
            service.edge.stderr().matches(WAITS).count() == 2
        });
        signal(second, Signal::SIGKILL);
        for order in orders {
            assert!(!order.join().expect("no panic").status.success());
        }
        assert_eq!(upgrade.join().expect("no panic").status.code(), Some(1));
    });
    assert_eq!(service.pid(), first);
    assert_eq!(site.processes(), [first]);
    for _ in 0..20 {
        assert_eq!(Conn::open(other).get("/").status, 200);
    }
}

#[test]
fn orders_that_have_waited_are_carried_out() {
    let shop = Origin::start(|_| page("hot"));
    let service = Service::of(Edge::start(&smallest(&shop)));
    let site = &service.edge.site;
    thread::scope(|scope| {
        let upgrade = scope.spawn(|| site.dhal(&["upgrade"]));
        let second = successor(&service.edge, 1);
        eventually("orders go to it", || service.pid() == second);
        let reload = site.dhal(&["reload"]);
        assert!(reload.status.success(), "{reload:?}");
        assert!(upgrade.join().expect("no panic").status.success());
    });
    assert_eq!(service.edge.metric(RELOADS), Some(1.0));
}

#[test]
fn a_stop_in_between_stops_both() {
    let shop = Origin::start(|_| page("hot"));
    let mut service = Service::of(Edge::start(&smallest(&shop)));
    let second = thread::scope(|scope| {
        let site = &service.edge.site;
        let upgrade = scope.spawn(|| site.dhal(&["upgrade"]));
        let second = successor(&service.edge, 1);
        service.edge.signal(Signal::SIGTERM);
        assert_eq!(upgrade.join().expect("no panic").status.code(), Some(1));
        second
    });
    assert!(service.edge.wait().success());
    eventually("both are gone", || !is_alive(second));
}

/// A test that fails must not leave behind what took over meanwhile.
#[test]
fn nobody_outlives_the_test_that_started_it() {
    let shop = Origin::start(|_| page("hot"));
    let edge = Edge::start(&smallest(&shop));
    let output = edge.site.dhal(&["upgrade"]);
    assert!(output.status.success(), "{output:?}");
    let all = edge.site.processes();
    assert!(all.iter().any(|process| *process != edge.id()), "{all:?}");
    drop(edge);
    eventually("all are gone", || {
        !all.iter().any(|process| is_alive(*process))
    });
}
