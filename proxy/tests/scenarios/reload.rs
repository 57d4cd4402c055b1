//! Another configuration while visitors are served.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use nix::sys::signal::Signal;

use crate::{
    client::Conn,
    edge::{Edge, Site},
    h2::H2,
    origin::{Origin, page},
    serving::smallest,
    tools::{Gate, eventually},
};

const SUCCESSFUL: &str = "dhal_config_last_reload_successful";

#[test]
fn routes_change_under_load_and_nobody_notices() {
    let (one, two) = (
        Origin::start(|_| page("one")),
        Origin::start(|_| page("two")),
    );
    let config = |shop: &Origin| {
        format!("[upstreams.shop]\nservers = [\"{shop}\"]\n[[routes]]\nupstream = \"shop\"\n")
    };
    let tls = "[[listeners]]\naddress = \"@http\"\n[[listeners]]\naddress = \"@https\"\ntls = true\n[[certificates]]\ncert = \"@dir/certs/dev.pem\"\nkey = \"@dir/certs/dev.key\"\n";
    let edge = Edge::start_tls(&config(&one));
    let running = Arc::new(AtomicBool::new(true));
    let (http, https) = (edge.site.http, edge.site.https);
    let more = Arc::clone(&running);
    let lines = thread::spawn(move || {
        let (mut conn, mut served) = (Conn::open(http), 0);
        while more.load(Ordering::SeqCst) {
            assert_eq!(conn.get("/").status, 200);
            assert_eq!(Conn::open(http).get("/").status, 200);
            served += 2;
        }
        served
    });
    let more = Arc::clone(&running);
    let streams = thread::spawn(move || {
        let (mut h2, mut served) = (H2::connect(https), 0);
        while more.load(Ordering::SeqCst) {
            assert_eq!(h2.get("/").status, 200);
            served += 1;
        }
        served
    });
    for (n, shop) in [&two, &one, &two, &one, &two].into_iter().enumerate() {
        let output = edge.reload(&(config(shop) + tls));
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            said.contains(&format!("configuration {} is in force", n + 2)),
            "{said}"
        );
        let before = shop.seen().len();
        assert_eq!(edge.get("/").text(), if n % 2 == 0 { "two" } else { "one" });
        eventually("the load follows", || shop.seen().len() > before + 20);
    }
    running.store(false, Ordering::SeqCst);
    assert!(lines.join().expect("no failed request") > 50);
    assert!(streams.join().expect("no failed request") > 25);
    assert_eq!(
        edge.metric("dhal_config_reloads_total{outcome=\"success\"}"),
        Some(5.0)
    );
}

#[test]
fn a_request_keeps_the_configuration_it_began_with() {
    let gate = Gate::default();
    let closed = gate.clone();
    let one = Origin::start(move |_| page("one").when(&closed));
    let two = Origin::start(|_| page("two"));
    let edge = Edge::start(&smallest(&one));
    let mut conn = edge.connect();
    conn.request("GET", "/", &[]);
    eventually("it is under way", || one.seen().len() == 1);
    assert!(edge.reload(&smallest(&two)).status.success());
    assert_eq!(edge.get("/").text(), "two");
    gate.open();
    assert_eq!(conn.response("GET").text(), "one");
    assert_eq!(conn.get("/").text(), "two");
}

#[test]
fn what_is_stored_survives() {
    let shop = Origin::start(|_| page("kept").fresh(60));
    let edge = Edge::start(&smallest(&shop));
    edge.get("/");
    assert!(
        edge.reload(&(smallest(&shop) + "name = \"renamed\"\n"))
            .status
            .success()
    );
    assert!(edge.get("/").is_hit());
}

#[test]
fn sighup_reloads() {
    let (one, two) = (
        Origin::start(|_| page("one")),
        Origin::start(|_| page("two")),
    );
    let edge = Edge::start(&smallest(&one));
    assert_eq!(edge.get("/").text(), "one");
    edge.site.configure(&smallest(&two));
    edge.signal(Signal::SIGHUP);
    eventually("the other shop answers", || edge.get("/").text() == "two");
}

/// Log rotation and certificate hooks do not know that the process has only begun.
#[test]
fn signals_while_it_starts_end_nothing() {
    // It does not answer, so that the start takes the two seconds that first answers may take.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a resolver");
    let resolver = silent.local_addr().expect("its address");
    let site = Site::new(&format!(
        "[server]\nresolvers = [\"{resolver}\"]\n[upstreams.shop]\nservers = [\"shop.test:3000\"]\n[[routes]]\nupstream = \"shop\"\n"
    ));
    let http = site.http;
    let mut edge = site.spawn();
    eventually("it has its address", || {
        std::net::TcpStream::connect(http).is_ok()
    });
    assert!(!edge.stderr().contains("ready"), "too late to try it");
    edge.signal(Signal::SIGHUP);
    edge.signal(Signal::SIGUSR1);
    eventually("it is ready", || {
        assert!(!edge.has_ended(), "{}", edge.stderr());
        edge.stderr().contains("ready")
    });
    eventually("it has reloaded", || {
        edge.metric("dhal_config_reloads_total{outcome=\"success\"}") == Some(1.0)
    });
}

#[test]
fn a_pid_file_is_enough() {
    let (one, two) = (
        Origin::start(|_| page("one")),
        Origin::start(|_| page("two")),
    );
    let config = |shop: &Origin| smallest(shop) + "[server]\npid_file = \"@dir/dhal.pid\"\n";
    let mut edge = Edge::start(&config(&one));
    // The running edge has an admin socket; the file that is checked has none, so a signal it is.
    edge.site.configure(&(config(&two) + "#[admin]\n"));
    let output = edge.site.dhal(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    eventually("the other shop answers", || edge.get("/").text() == "two");
    eventually("the admin socket is gone", || {
        !edge.site.path("admin.sock").exists()
    });
    edge.signal(Signal::SIGTERM);
    assert!(edge.wait().success());
    assert!(!edge.site.path("dhal.pid").exists());
}

#[test]
fn a_broken_file_changes_nothing() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start(&smallest(&shop));
    assert_eq!(edge.metric(SUCCESSFUL), Some(1.0));
    for broken in [
        smallest(&shop) + "unknown_key = 1\n",
        smallest(&shop).replace("upstream = \"shop\"", "upstream = \"shpo\""),
        smallest(&shop) + "[",
    ] {
        let output = edge.reload(&broken);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let place = format!("{}:", edge.site.path("dhal.toml").display());
        let at = said
            .find(&place)
            .unwrap_or_else(|| panic!("no place in {said}"));
        let mut numbers = said[at + place.len()..].split(':');
        for what in ["line", "column"] {
            let number = numbers.next().and_then(|n| n.trim().parse::<u32>().ok());
            assert!(number.is_some(), "no {what} in {said}");
        }
        assert_eq!(edge.get("/").text(), "ok");
        assert_eq!(edge.metric(SUCCESSFUL), Some(0.0), "the edge knows of it");
    }
    edge.signal(Signal::SIGHUP);
    eventually(
        "three by the command and one by the signal are counted",
        || edge.metric("dhal_config_reloads_total{outcome=\"failure\"}") == Some(4.0),
    );
    assert_eq!(edge.metric(SUCCESSFUL), Some(0.0));
    assert!(edge.stderr().contains("reload refused"));
    let status = edge.site.dhal(&["status"]);
    assert!(status.status.success(), "what runs is asked all the same");
    assert!(String::from_utf8_lossy(&status.stderr).contains("is broken, and not what runs"));
    assert_eq!(edge.get("/").text(), "ok");
    assert!(edge.reload(&smallest(&shop)).status.success());
    assert_eq!(edge.metric(SUCCESSFUL), Some(1.0));
}

#[test]
fn what_needs_a_restart_is_refused() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start(&smallest(&shop));
    for (change, key) in [
        ("[server]\nthreads = 7\n", "server.threads"),
        (
            "[cache]\ndisk = { path = \"@dir/disk\", size = \"64MiB\" }\n",
            "cache.disk.path",
        ),
    ] {
        let output = edge.reload(&(smallest(&shop) + change));
        assert_eq!(output.status.code(), Some(1), "{key}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(key) && said.contains("restart"), "{said}");
        assert_eq!(edge.metric(SUCCESSFUL), Some(0.0));
    }
    assert_eq!(edge.get("/").text(), "ok");
}
