//! More visitors than the shop can take: a limit that learns, who waits, and who is turned away.

use std::{
    net::TcpStream,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::{
    client::{Conn, Response},
    edge::Edge,
    h2::{Frames, H2},
    origin::{Origin, page, raw},
    tools::{Gate, eventually},
    upgrade::{ASK, echoing},
};

pub(crate) const BROWSER: (&str, &str) = (
    "User-Agent",
    "Mozilla/5.0 (X11; Linux x86_64) Firefox/133.0",
);

pub(crate) fn config(shop: &impl std::fmt::Display, concurrency: &str) -> String {
    let route = |path: &str, more: &str| {
        format!("[[routes]]\npath = \"{path}\"\nupstream = \"shop\"\n{more}\n")
    };
    [
        format!("[server]\nthreads = 2\n[upstreams.shop]\nservers = [\"{shop}\"]\nconcurrency = {concurrency}\n"),
        route("/*", ""),
        route("/checkout/*", "class = \"checkout\""),
        route("/cart/*", "class = \"cart\""),
        route("/cached/*", "cache = \"default\""),
        "[access_log]\npath = \"@dir/access.log\"\n".to_owned(),
    ]
    .concat()
}

/// One at work, so that whoever comes next has to wait.
pub(crate) fn one(queue: usize) -> String {
    format!("{{ min = 1, max = 1, queue = {queue}, queue_timeout = \"20s\" }}")
}

pub(crate) fn of(name: &str) -> String {
    format!("dhal_concurrency_{name}{{upstream=\"shop\"}}")
}

pub(crate) fn shed(class: &str, why: &str) -> String {
    format!("dhal_shed_total{{class=\"{class}\",upstream=\"shop\",why=\"{why}\"}}")
}

/// A shop whose answers to `/held` wait for a gate.
pub(crate) fn held(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |r| match r.target.as_str() {
        "/held" => page("held").when(&gate),
        path if path.starts_with("/cached/") => page("cached").fresh(60),
        _ => page("ok"),
    })
}

type Asked = thread::JoinHandle<Response>;

pub(crate) fn ask(
    edge: &Edge,
    path: &'static str,
    fields: &'static [(&'static str, &'static str)],
) -> Asked {
    let http = edge.site.http;
    thread::spawn(move || {
        let mut conn = Conn::open(http);
        conn.request("GET", path, fields);
        conn.response("GET")
    })
}

pub(crate) fn status(asked: Asked) -> u16 {
    asked.join().expect("an answer").status
}

/// Plays a scenario in which somebody at work keeps others out. One who takes two seconds for it may lose its place, and
/// the others are let in; so where the machine has stood still for as long it is played again.
pub(crate) fn undisturbed(scenario: impl Fn()) {
    for _ in 0..2 {
        let began = Instant::now();
        match catch_unwind(AssertUnwindSafe(&scenario)) {
            Ok(()) => return,
            Err(why) if began.elapsed() < Duration::from_secs(2) => resume_unwind(why),
            Err(_) => {}
        }
    }
    scenario();
}

/// Places are given back when an answer has left.
pub(crate) fn nobody_is_at_work(edge: &Edge) {
    eventually("nobody is at work", || {
        edge.metric(&of("at_work")) == Some(0.0)
    });
}

pub(crate) fn waits(edge: &Edge, n: usize) {
    eventually("so many wait", || {
        edge.metric(&of("waiting")) == Some(n as f64)
    });
}

/// Somebody is at work until the gate opens.
pub(crate) fn occupy(edge: &Edge, shop: &Origin) -> Asked {
    let asked = ask(edge, "/held", &[BROWSER]);
    eventually("the shop has it", || shop.count("/held") == 1);
    assert_eq!(edge.metric(&of("at_work")), Some(1.0));
    asked
}

#[test]
fn what_matters_least_is_shed_first() {
    undisturbed(|| {
        let gate = Gate::default();
        let shop = held(&gate);
        let edge = Edge::start(&config(&shop, &one(3)));
        let first = occupy(&edge, &shop);
        let bot = ask(&edge, "/bot", &[]);
        waits(&edge, 1);
        let browse = ask(&edge, "/browse", &[BROWSER]);
        waits(&edge, 2);
        let cart = ask(&edge, "/cart/", &[]);
        waits(&edge, 3);
        // The queue is full: who matters most gets in all the same.
        let one = ask(&edge, "/checkout/1", &[]);
        assert_eq!(status(bot), 503);
        assert_eq!(edge.metric(&shed("bot", "displaced")), Some(1.0));
        let two = ask(&edge, "/checkout/2", &[]);
        assert_eq!(status(browse), 503);
        assert_eq!(edge.metric(&shed("browse", "displaced")), Some(1.0));
        let late = edge.ask("GET", "/late", &[BROWSER]);
        assert_eq!(late.status, 503);
        assert_eq!(edge.metric(&shed("browse", "queue-full")), Some(1.0));
        waits(&edge, 3);
        gate.open();
        for asked in [first, cart, one, two] {
            assert_eq!(status(asked), 200);
        }
        let order: Vec<_> = shop.seen().into_iter().map(|seen| seen.target).collect();
        assert_eq!(order, ["/held", "/checkout/1", "/checkout/2", "/cart/"]);
        eventually("they are written down", || {
            let log = edge.log();
            let mut classes: Vec<_> = log
                .iter()
                .filter(|line| line["reason"] == "shed")
                .map(|line| line["class"].as_str().unwrap_or_default().to_owned())
                .collect();
            classes.sort();
            classes == ["bot", "browse", "browse"]
        });
        nobody_is_at_work(&edge);
        let status = edge.site.dhal(&["status"]);
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        let line = "0 of 1 requests at work, 0 uploads, 0 wait";
        assert!(text.contains(line), "{text}");
        assert!(
            text.contains("shed 0 checkout, 0 cart, 2 browse, 1 bot"),
            "{text}"
        );
    });
}

#[test]
fn who_is_shed_reads_when_to_come_again() {
    undisturbed(|| {
        let gate = Gate::default();
        let shop = held(&gate);
        let patience = "{ min = 1, max = 1, queue_timeout = \"100ms\" }";
        let edge = Edge::start(&config(&shop, patience));
        let first = occupy(&edge, &shop);
        let since = Instant::now();
        let late = edge.get("/late");
        assert!(since.elapsed() >= Duration::from_millis(100));
        assert_eq!(late.status, 503);
        assert_eq!(late.field("cache-control"), Some("no-store"));
        let again = late.field("retry-after").and_then(|s| s.parse().ok());
        assert!((1..=45).contains(&again.unwrap_or(0)), "{again:?}");
        assert_eq!(late.field("refresh"), late.field("retry-after"));
        assert!(late.text().contains("অনেক ভিড়"), "{}", late.text());
        let fields = [("Accept", "application/json"), ("Content-Length", "0")];
        let json = edge.ask("POST", "/checkout/", &fields);
        assert_eq!((json.status, json.field("refresh")), (503, None));
        assert!(json.text().contains("\"retry_after\":"), "{}", json.text());
        assert_eq!(edge.metric(&shed("bot", "timeout")), Some(1.0));
        assert_eq!(edge.metric(&shed("checkout", "timeout")), Some(1.0));
        gate.open();
        assert_eq!(status(first), 200);
        assert_eq!(edge.get("/").status, 200);
        assert_eq!((shop.count("/late"), shop.count("/checkout/")), (0, 0));
        assert!(!edge.stderr().contains("request failed"), "no news");
    });
}

#[test]
fn hits_flow_while_everything_else_is_shed() {
    undisturbed(|| {
        let gate = Gate::default();
        let shop = held(&gate);
        let edge = Edge::start_tls(&config(&shop, &one(0)));
        assert_eq!(edge.get("/cached/page").status, 200);
        let mut h2 = H2::connect(edge.site.https);
        assert_eq!(h2.get("/cached/page").status, 200);
        let first = occupy(&edge, &shop);
        for _ in 0..5 {
            assert_eq!(edge.get("/own").status, 503);
            assert_eq!(edge.get("/cached/other").status, 503);
            assert!(edge.get("/cached/page").is_hit());
        }
        for path in ["/own", "/cached/other"] {
            let answer = h2.get(path);
            assert_eq!(answer.status, 503, "{path}");
            assert!(answer.field("retry-after").is_some(), "{path}");
        }
        assert!(h2.get("/cached/page").is_hit());
        eventually("they are written down", || {
            let is_shed =
                |line: &&serde_json::Value| line["reason"] == "shed" && line["class"] == "bot";
            edge.log().iter().filter(is_shed).count() == 12
        });
        gate.open();
        assert_eq!(status(first), 200);
        assert_eq!(edge.get("/cached/other").status, 200);
    });
}

#[test]
fn a_stale_page_answers_where_its_fetch_is_shed() {
    let gate = Gate::default();
    let closed = gate.clone();
    let shop = Origin::start(move |r| match r.target.as_str() {
        "/held" => page("held").when(&closed),
        _ => page("kept").field("Cache-Control", "max-age=1, stale-if-error=600"),
    });
    let edge = Edge::start(&config(&shop, &one(0)));
    let mut held = Vec::new();
    // A request that is at work for long holds its place no more, so on a slow machine it takes another try.
    eventually("it is stale, and answers", || {
        assert_eq!(edge.get("/cached/kept").status, 200);
        let stored = Instant::now();
        eventually("it is stale", || {
            stored.elapsed() > Duration::from_millis(1100)
        });
        held.push(ask(&edge, "/held", &[BROWSER]));
        eventually("the shop has it", || shop.count("/held") == held.len());
        let answer = edge.get("/cached/kept");
        assert_eq!((answer.status, answer.text().as_str()), (200, "kept"));
        answer.cache() == "dhal; hit; detail=stale-if-error"
    });
    gate.open();
    held.into_iter()
        .for_each(|asked| assert_eq!(status(asked), 200));
}

#[test]
fn who_leaves_does_not_wait_any_longer() {
    undisturbed(|| {
        let gate = Gate::default();
        let shop = held(&gate);
        let edge = Edge::start_tls(&config(&shop, &one(1)));
        let first = occupy(&edge, &shop);
        let stream = TcpStream::connect(edge.site.http).expect("the edge accepts");
        // So that its end is a reset: who ends only its own side may still be reading.
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .expect("an option");
        let mut leaves = Conn::plain(stream);
        leaves.request("GET", "/left", &[]);
        waits(&edge, 1);
        drop(leaves);
        waits(&edge, 0);
        let mut frames = Frames::connect(edge.site.https);
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "shop.example"),
            (":path", "/left"),
        ];
        frames.headers(1, &fields, true);
        waits(&edge, 1);
        frames.frame(3, 0, 1, &8u32.to_be_bytes());
        waits(&edge, 0);
        let third = ask(&edge, "/third", &[]);
        waits(&edge, 1);
        gate.open();
        assert_eq!((status(first), status(third)), (200, 200));
        assert_eq!((shop.count("/left"), shop.count("/third")), (0, 1));
        // They went by themselves.
        assert_eq!(edge.metric(&shed("bot", "displaced")), Some(0.0));
    });
}

#[test]
fn who_leaves_while_at_work_gives_the_place_back() {
    let gate = Gate::default();
    let shop = held(&gate);
    let edge = Edge::start(&config(&shop, &one(1)));
    let mut leaves = edge.connect();
    leaves.request("GET", "/held", &[]);
    eventually("the shop has it", || shop.count("/held") == 1);
    let next = ask(&edge, "/next", &[]);
    waits(&edge, 1);
    drop(leaves);
    assert_eq!(status(next), 200);
    gate.open();
}

#[test]
fn who_resets_does_not_get_past_the_limit() {
    undisturbed(|| {
        let gate = Gate::default();
        let shop = held(&gate);
        let edge = Edge::start(&config(&shop, &one(1)));
        let mut leaves = edge.connect();
        leaves.request("GET", "/held", &[]);
        eventually("the shop has it", || shop.count("/held") == 1);
        let next = ask(&edge, "/next", &[]);
        waits(&edge, 1);
        let left = Instant::now();
        drop(leaves);
        assert_eq!(status(next), 200);
        // The shop works on: its place is held, two seconds where no latency is known.
        assert!(left.elapsed() >= Duration::from_millis(1_500));
        gate.open();
    });
}

#[test]
fn a_page_that_hangs_is_no_outage() {
    let gate = Gate::default();
    let shop = held(&gate);
    // Less than the time limit on an answer, after which places would come back in any case.
    let edge = Edge::start(&config(
        &shop,
        "{ min = 2, max = 2, queue = 8, queue_timeout = \"8s\" }",
    ));
    let hang: Vec<_> = (0..2).map(|_| ask(&edge, "/held", &[BROWSER])).collect();
    eventually("the shop has them", || shop.count("/held") == 2);
    for _ in 0..20 {
        assert_eq!(edge.get("/page").status, 200);
    }
    nobody_is_at_work(&edge);
    gate.open();
    for asked in hang {
        assert_eq!(status(asked), 200, "it went on");
    }
}

#[test]
fn the_attempt_after_silence_waits_its_turn() {
    let gate = Gate::default();
    let attempts = Arc::new(AtomicUsize::new(0));
    let before = Arc::new(AtomicUsize::new(0));
    let origin = || {
        let (gate, attempts, before) = (gate.clone(), attempts.clone(), before.clone());
        Origin::start(move |r| {
            if r.target == "/held" {
                attempts.fetch_add(1, Ordering::SeqCst);
                return page("late").when(&gate);
            }
            before.store(attempts.load(Ordering::SeqCst), Ordering::SeqCst);
            page("ok")
        })
    };
    let (shop, other) = (origin(), origin());
    let servers = format!(
        "servers = [\"{shop}\", \"{other}\"]\ntimeouts = {{ response = \"1500ms\" }}\nretry = {{ attempts = 1 }}"
    );
    let config = config(&shop, &one(8)).replace(&format!("servers = [\"{shop}\"]"), &servers);
    let edge = Edge::start(&config);
    let first = ask(&edge, "/held", &[BROWSER]);
    eventually("a shop has it", || attempts.load(Ordering::SeqCst) == 1);
    assert_eq!(edge.get("/next").status, 200);
    assert_eq!(before.load(Ordering::SeqCst), 1, "between the attempts");
    assert_eq!(status(first), 504);
    assert_eq!(attempts.load(Ordering::SeqCst), 2);
    nobody_is_at_work(&edge);
    gate.open();
}

#[test]
fn all_attempts_are_made_in_one_place() {
    let gone = Origin::start(|_| raw(""));
    let shop = Origin::start(|_| page("ok"));
    let servers = format!("\"{gone}\", \"{shop}\"");
    let config = config(&shop, &one(0)).replace(&format!("\"{shop}\""), &servers);
    let edge = Edge::start(&config);
    for _ in 0..8 {
        assert_eq!(edge.get("/").status, 200);
    }
    assert_eq!(shop.count("/"), 8);
    assert!(gone.count("/") > 0, "some were tried again");
    nobody_is_at_work(&edge);
}

#[test]
fn a_tunnel_holds_no_place() {
    let shop = echoing();
    let edge = Edge::start(&config(&shop, &one(0)));
    let tunnel = || {
        let mut conn = edge.connect();
        conn.send(ASK);
        assert_eq!(conn.head().expect("an answer").0, 101);
        conn
    };
    let _open = [tunnel(), tunnel(), tunnel()];
    nobody_is_at_work(&edge);
}

#[test]
fn a_fetch_matters_as_much_as_whoever_joins_it() {
    undisturbed(|| {
        let gate = Gate::default();
        let shop = held(&gate);
        let edge = Edge::start(&config(&shop, &one(2)));
        let first = occupy(&edge, &shop);
        let bot = ask(&edge, "/cached/page", &[]);
        waits(&edge, 1);
        let other = ask(&edge, "/bot", &[]);
        waits(&edge, 2);
        // It would be the first to go, until a person wants the same.
        let person = ask(&edge, "/cached/page", &[BROWSER]);
        eventually("it matters more", || {
            let (_, text) = edge.admin("GET", "/status");
            text.contains("\"waiting_by_class\":[0,0,1,1]")
        });
        let buyer = ask(&edge, "/checkout/", &[]);
        assert_eq!(status(other), 503);
        gate.open();
        for asked in [first, bot, person, buyer] {
            assert_eq!(status(asked), 200);
        }
        assert_eq!(shop.count("/cached/page"), 1);
    });
}
