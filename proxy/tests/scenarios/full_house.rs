//! Who goes when there is no room: per client, in a full house, and where descriptors run out.

use std::{
    net::Ipv4Addr,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::Conn,
    edge::{Edge, Site},
    h2::{Frames, H2, https},
    origin::{Origin, page},
    serving::plain,
    tools::{Gate, eventually},
};

fn shop(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |r| match r.target.as_str() {
        "/held" => page("held").when(&gate),
        _ => page("ok").fresh(600),
    })
}

fn shed(edge: &Edge, why: &str) -> f64 {
    let series = format!("dhal_connections_shed_total{{why=\"{why}\"}}");
    edge.metric(&series).expect("it is there from the start")
}

fn refused(edge: &Edge, why: &str) -> f64 {
    let series = format!("dhal_connections_refused_total{{why=\"{why}\"}}");
    edge.metric(&series).expect("it is there from the start")
}

fn is_open(conn: &mut Conn) -> bool {
    conn.is_quiet(Duration::from_millis(20))
}

#[test]
fn a_client_has_so_many_connections_and_others_have_theirs() {
    let shop = shop(&Gate::default());
    let bound = "[server]\nmax_connections_per_client = 2\n\
                 client_network = { ipv4 = 31, ipv6 = 64 }\n";
    let edge = Edge::start(&(plain(&shop) + bound));
    let from = |last| Conn::open_from(Ipv4Addr::new(127, 9, 8, last), edge.site.http);
    // The same network of two addresses.
    let (mut one, mut two) = (from(2), from(3));
    assert_eq!((one.get("/").status, two.get("/").status), (200, 200));
    let mut third = from(2);
    third.request("GET", "/", &[]);
    third.ends();
    eventually("it is counted", || refused(&edge, "per_client") == 1.0);
    let mut other = from(4);
    assert_eq!(other.get("/").status, 200, "another network");
    assert_eq!(one.get("/").status, 200, "those that are open stay");
    drop(two);
    eventually("the place is free again", || {
        let mut again = from(2);
        again.request("GET", "/", &[]);
        again.try_response("GET").is_ok()
    });
    // A reload changes what newcomers meet.
    let free = plain(&shop) + "[server]\nmax_connections_per_client = 0\n";
    assert!(edge.reload(&free).status.success());
    let mut many: Vec<_> = (0..5).map(|_| from(2)).collect();
    assert!(many.iter_mut().all(|conn| conn.get("/").status == 200));
}

#[test]
fn in_a_full_house_the_oldest_idle_connection_goes() {
    let shop = shop(&Gate::default());
    // On one thread nobody asks before the answer to another is noted.
    let bound = "[server]\nmax_connections = 4\nthreads = 1\n";
    let edge = Edge::start(&(plain(&shop) + bound));
    let mut all: Vec<_> = (0..4).map(|_| edge.connect()).collect();
    for conn in &mut all {
        assert_eq!(conn.get("/").status, 200);
    }
    // Not the oldest any more.
    assert_eq!(all[0].get("/").status, 200);
    let mut next = edge.connect();
    assert_eq!(next.get("/").status, 200, "a newcomer gets in");
    all[1].ends();
    assert!(is_open(&mut all[0]) && is_open(&mut all[2]) && is_open(&mut all[3]));
    eventually("it is counted", || shed(&edge, "idle") == 1.0);
    let mut last = edge.connect();
    assert_eq!(last.get("/").status, 200);
    all[2].ends();
    assert!(is_open(&mut all[0]) && is_open(&mut all[3]) && is_open(&mut next));
    edge.says("no room for new connections");
}

#[test]
fn over_tls_idle_connections_say_goodbye_and_go() {
    let shop = shop(&Gate::default());
    let edge = Edge::start_tls(&(plain(&shop) + "[server]\nmax_connections = 2\nthreads = 1\n"));
    let mut first = Frames::connect(edge.site.https);
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", "/"),
    ];
    first.headers(1, &fields, true);
    assert_eq!(first.answer(1).statuses, [200]);
    let mut second = https(edge.site.https, "shop.example");
    assert_eq!(second.get("/").status, 200);
    let mut third = H2::connect(edge.site.https);
    assert_eq!(third.get("/").status, 200);
    assert_eq!(first.error(), Some(0), "GOAWAY, no error");
    let mut fourth = H2::connect(edge.site.https);
    assert_eq!(fourth.get("/").status, 200);
    second.ends();
    eventually("both are counted", || shed(&edge, "idle") == 2.0);
}

#[test]
fn without_idle_ones_the_oldest_that_has_not_asked_goes_and_none_at_work() {
    let gate = Gate::default();
    let shop = shop(&gate);
    let edge = Edge::start_tls(&(plain(&shop) + "[server]\nmax_connections = 4\nthreads = 1\n"));
    let mut working = edge.connect();
    working.request("GET", "/held", &[]);
    eventually("the shop has it", || shop.count("/held") == 1);
    let mut over_h2 = Frames::connect(edge.site.https);
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", "/held"),
    ];
    over_h2.headers(1, &fields, true);
    // Joins the flight of the first, which it has done when what it sent behind it is answered.
    over_h2.frame(6, 0, 0, b"a sign o");
    while over_h2
        .next()
        .is_some_and(|(kind, flags, _, _)| (kind, flags) != (6, 1))
    {}
    edge.counts("dhal_connections", 2.0);
    let mut silent = Conn::open(edge.site.https);
    silent.send(b"\x16\x03");
    eventually("it is in", || edge.metric("dhal_connections") == Some(3.0));
    let mut dripping = edge.connect();
    dripping.send("GET / HT");
    eventually("it is in", || edge.metric("dhal_connections") == Some(4.0));
    assert_eq!(edge.get("/").status, 200);
    silent.ends();
    let mut fifth = edge.connect();
    assert_eq!(fifth.get("/").status, 200);
    eventually("it is counted", || shed(&edge, "opening") >= 1.0);
    gate.open();
    assert_eq!(working.response("GET").status, 200);
    assert_eq!(over_h2.answer(1).statuses, [200]);
}

/// How long somebody goes on who should be gone.
const DRIPS: Duration = Duration::from_secs(10);

#[test]
fn who_is_answered_and_sends_on_goes_for_a_newcomer() {
    let shop = shop(&Gate::default());
    for (asked, status) in [
        ("GET / HTTP/9.9\r\n\r\n", 505),
        (
            "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 99999999999\r\n\r\n",
            413,
        ),
    ] {
        let edge = Edge::start(&(plain(&shop) + "[server]\nmax_connections = 1\nthreads = 1\n"));
        let mut staying = edge.connect();
        staying.send(asked);
        assert_eq!(staying.response("GET").status, status);
        let dripping = thread::spawn(move || {
            // Longer than it may, in all.
            for _ in 0..100 {
                staying.send("x");
                thread::sleep(Duration::from_millis(100));
            }
        });
        let began = Instant::now();
        let mut newcomer = edge.connect();
        assert_eq!(newcomer.get("/").status, 200);
        assert!(began.elapsed() < DRIPS, "{status}");
        eventually("it is counted", || shed(&edge, "opening") == 1.0);
        dripping.join().expect("no failure");
    }
}

#[test]
fn a_stream_that_is_answered_and_sends_on_keeps_nobody_out() {
    let shop = shop(&Gate::default());
    let bound = "[server]\nmax_connections = 1\nthreads = 1\n";
    let edge = Edge::start_tls(&(plain(&shop) + bound));
    let mut frames = Frames::connect(edge.site.https);
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", "/"),
        ("content-length", "99999999999"),
    ];
    frames.headers(1, &fields, false);
    assert_eq!(frames.answer(1).statuses, [413]);
    let dripping = thread::spawn(move || {
        for _ in 0..100 {
            frames.frame(0, 0, 1, b"x");
            thread::sleep(Duration::from_millis(100));
        }
    });
    let began = Instant::now();
    assert_eq!(edge.get("/").status, 200);
    assert!(began.elapsed() < DRIPS);
    eventually("it is counted", || shed(&edge, "idle") == 1.0);
    dripping.join().expect("no failure");
}

#[test]
fn a_newcomer_waits_where_all_are_at_work() {
    let gate = Gate::default();
    let shop = shop(&gate);
    let config = plain(&shop).replace("cache = \"default\"", "");
    let edge = Edge::start(&(config + "[server]\nmax_connections = 2\nthreads = 1\n"));
    let working: Vec<_> = (0..2)
        .map(|_| {
            let mut conn = edge.connect();
            thread::spawn(move || conn.get("/held").status)
        })
        .collect();
    eventually("the shop has both", || shop.count("/held") == 2);
    let mut third = edge.connect();
    third.request("GET", "/", &[]);
    assert!(is_open(&mut third));
    assert_eq!(shop.count("/"), 0);
    gate.open();
    assert_eq!(third.response("GET").status, 200);
    for conn in working {
        assert_eq!(conn.join().expect("an answer"), 200, "nobody was cut off");
    }
}

#[test]
fn open_files_bound_the_house_and_everything_else_still_works() {
    let shop = shop(&Gate::default());
    let site = Site::new_tls(&(plain(&shop) + "[server]\nthreads = 1\n")).with_files(256);
    let edge = Edge::start_at(site);
    let most = edge.metric("dhal_connections_max").expect("a bound") as usize;
    assert!((40..100).contains(&most), "{most}");
    assert!(edge.stderr().contains("open files bound the connections"));
    let status = edge.site.dhal(&["status"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        text.contains(&format!("{most} connections at most, not 20000")),
        "{text}"
    );
    let idle: Vec<_> = (0..most + 60)
        .map(|nth| {
            let mut conn = edge.connect();
            assert_eq!(conn.get("/").status, 200, "{nth}");
            conn
        })
        .collect();
    assert_eq!(idle.len(), most + 60);
    // Each has an answer, a shop is reached, and the log is written.
    assert_eq!(edge.get("/another").status, 200);
    eventually("all are written down", || edge.log().len() == most + 61);
    eventually("all are counted", || shed(&edge, "idle") >= 61.0);
    assert!(!edge.stderr().contains("cannot accept"));
}

#[test]
fn where_descriptors_run_out_idle_connections_give_up_theirs() {
    let shop = shop(&Gate::default());
    let edge = Edge::start(&(plain(&shop) + "[server]\nthreads = 1\n"));
    let mut idle: Vec<_> = (0..20).map(|_| edge.connect()).collect();
    for conn in &mut idle {
        assert_eq!(conn.get("/").status, 200);
    }
    // Fewer than are open already: from now on there is none to be had.
    let open = std::fs::read_dir(format!("/proc/{}/fd", edge.id())).expect("Linux");
    let limit = open.count() - 2;
    let set = Command::new("prlimit")
        .arg(format!("--pid={}", edge.id()))
        .arg(format!("--nofile={limit}:{limit}"))
        .status();
    assert!(set.expect("prlimit of util-linux").success());
    assert_eq!(edge.get("/").status, 200);
    idle[0].ends();
    assert!(is_open(&mut idle[19]));
    eventually("it is counted", || shed(&edge, "idle") >= 1.0);
}
