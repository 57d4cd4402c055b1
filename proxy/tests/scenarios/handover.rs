//! Another process takes over, and nobody notices: no request fails, what is hot stays hot, what is purged is gone.

use std::{
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    process::Output,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    client::Conn,
    edge::{Edge, Site},
    h2::{H2, exchange, request},
    origin::{Origin, page},
    serving::{plain, smallest},
    tools::{Gate, eventually},
    upgrade::{ASK, echoing},
};

/// The edge, through all of its processes.
pub(crate) struct Service {
    pub(crate) edge: Edge,
}

/// Whether there is such a process, and it is more than an entry in a table.
pub(crate) fn is_alive(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.trim().chars().next());
    state.is_some_and(|state| state != 'Z')
}

pub(crate) fn signal(process: u32, signal: Signal) {
    let pid = i32::try_from(process).expect("a process id");
    let _ = kill(Pid::from_raw(pid), signal);
}

impl Service {
    pub(crate) fn of(edge: Edge) -> Self {
        Self { edge }
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let (code, text) = self.edge.admin("GET", "/status");
        assert_eq!(code, 200);
        serde_json::from_str(&text).expect("JSON")
    }

    /// The process that serves.
    pub(crate) fn pid(&self) -> u32 {
        let pid = self.status()["pid"].as_u64().expect("a number");
        u32::try_from(pid).expect("a process id")
    }

    /// Runs `dhal upgrade`.
    pub(crate) fn try_upgrade(&mut self, arguments: &[&str]) -> Output {
        let arguments = [&["upgrade"], arguments].concat();
        self.edge.site.dhal(&arguments)
    }

    /// The same, which is to succeed; returns the process before and the one that serves now.
    pub(crate) fn upgrade(&mut self) -> (u32, u32) {
        let before = self.pid();
        let output = self.try_upgrade(&[]);
        assert!(output.status.success(), "{output:?}");
        let now = self.pid();
        assert_ne!(before, now);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(&format!("process {now} ")), "{said}");
        assert!(said.contains(&format!("process {before} leaves")), "{said}");
        (before, now)
    }
}

/// A program of some lines of shell in the folder of a site.
pub(crate) fn script(site: &Site, name: &str, lines: &str) -> String {
    let path = site.path(name);
    std::fs::write(&path, format!("#!/bin/sh\n{lines}\n")).expect("written");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, executable).expect("set");
    path.display().to_string()
}

/// Visitors of many kinds, who ask until they are told to stop.
pub(crate) struct Load {
    running: Arc<AtomicBool>,
    pub(crate) served: Arc<AtomicUsize>,
    faults: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn begin(http: SocketAddr, https: SocketAddr) -> Self {
        let mut load = Self {
            running: Arc::new(AtomicBool::new(true)),
            served: Arc::default(),
            faults: Arc::default(),
            threads: Vec::new(),
        };
        let answered = |answer: Result<crate::client::Response, String>, what: &str| match answer {
            Ok(answer) if answer.status == 200 => Ok(answer),
            Ok(answer) => Err(format!("{what}: {}", answer.status)),
            Err(why) => Err(format!("{what}: {why}")),
        };
        for path in ["/hot", "/personal"] {
            load.visitor(move |_| {
                let conn = TcpStream::connect(http).map_err(|why| format!("connect: {why}"))?;
                let mut conn = Conn::plain(conn);
                conn.request("GET", path, &[("Connection", "close")]);
                answered(conn.try_response("GET"), "a connection of its own").map(drop)
            });
            let mut kept: Option<Conn> = None;
            load.visitor(move |_| {
                let conn = kept.get_or_insert_with(|| Conn::open(http));
                conn.request("GET", path, &[]);
                let answer = answered(conn.try_response("GET"), "a connection that is kept")?;
                if answer.field("connection") == Some("close") {
                    kept = None;
                }
                Ok(())
            });
        }
        let mut kept: Option<Conn> = None;
        load.visitor(move |_| {
            let conn = kept.get_or_insert_with(|| crate::h2::https(https, "shop.example"));
            conn.request("GET", "/hot", &[]);
            let answer = answered(conn.try_response("GET"), "over TLS")?;
            if answer.field("connection") == Some("close") {
                kept = None;
            }
            Ok(())
        });
        let mut kept: Option<H2> = None;
        load.visitor(move |_| {
            let h2 = kept.get_or_insert_with(|| H2::connect(https));
            let asked = ["/hot", "/personal", "/hot"].map(|path| {
                let ask = exchange(h2.sender.clone(), request("GET", path, &[]), None);
                h2.runtime.spawn(ask)
            });
            let mut is_over = false;
            for task in asked {
                match h2.runtime.block_on(task).expect("a task") {
                    // It was told that the connection takes nothing more, and has not sent it.
                    Err(why) if why.is_go_away() && why.reason() == Some(h2::Reason::NO_ERROR) => {
                        is_over = true;
                    }
                    answer => {
                        answered(answer.map_err(|why| why.to_string()), "over HTTP/2")?;
                    }
                }
            }
            if is_over {
                kept = None;
            }
            Ok(())
        });
        load
    }

    fn visitor(&mut self, mut visit: impl FnMut(usize) -> Result<(), String> + Send + 'static) {
        let (running, served, faults) = (
            Arc::clone(&self.running),
            Arc::clone(&self.served),
            Arc::clone(&self.faults),
        );
        self.threads.push(thread::spawn(move || {
            let mut visits = 0;
            while running.load(SeqCst) {
                match visit(visits) {
                    Ok(()) => _ = served.fetch_add(1, SeqCst),
                    Err(why) => return faults.lock().expect("lock").push(why),
                }
                visits += 1;
            }
        }));
    }

    /// Waits until so many more are served.
    pub(crate) fn goes_on(&self, more: usize) {
        let until = self.served.load(SeqCst) + more;
        eventually("visitors are served", || {
            self.served.load(SeqCst) >= until || !self.faults.lock().expect("lock").is_empty()
        });
    }

    /// Ends it: nobody met a fault.
    pub(crate) fn end(self) -> usize {
        self.running.store(false, SeqCst);
        for thread in self.threads {
            thread.join().expect("no fault of its own");
        }
        let faults = self.faults.lock().expect("lock");
        assert!(faults.is_empty(), "{faults:#?}");
        self.served.load(SeqCst)
    }
}

pub(crate) fn shop() -> Origin {
    Origin::start(|r| match r.target.as_str() {
        "/personal" => page("for you").field("Cache-Control", "no-store"),
        _ => page("hot").fresh(600),
    })
}

#[test]
fn several_upgrades_under_load_and_nobody_notices() {
    let (shop, chat) = (shop(), echoing());
    let config = plain(&shop).replace(
        "[upstreams.shop]",
        "[server]\nkeepalive_timeout = \"2s\"\n[upstreams.shop]",
    ) + &format!(
        "[upstreams.chat]\nservers = [\"{chat}\"]\n[[routes]]\npath = \"/chat\"\nupstream = \"chat\"\n"
    );
    let edge = Edge::start_tls(&config);
    let (http, https) = (edge.site.http, edge.site.https);
    let mut service = Service::of(edge);
    let load = Load::begin(http, https);
    load.goes_on(50);
    let mut tunnel = service.edge.connect();
    tunnel.send(ASK);
    assert_eq!(tunnel.head().expect("an answer").0, 101);
    assert_eq!(tunnel.take(8).expect("a welcome"), b"welcome ");
    let first = service.edge.id();
    for round in 0..3 {
        let (before, _) = service.upgrade();
        load.goes_on(100);
        let word = format!("round {round}");
        tunnel.send(&word);
        assert_eq!(tunnel.take(word.len()).expect("an echo"), word.as_bytes());
        if round == 0 {
            assert_eq!(before, first);
            // It is still there for the tunnel, and the one that serves knows.
            eventually("only the tunnel is left", || {
                let status = service.status();
                status["before"]["pid"] == first && status["before"]["connections"] == 1
            });
            let shown = service.edge.site.dhal(&["status"]);
            let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
            assert!(
                shown.contains(&format!("before    process {first} (dhal ")),
                "{shown}"
            );
            assert!(shown.contains("finishes 1 connections"), "{shown}");
        } else {
            eventually("the one before is gone", || !is_alive(before));
        }
    }
    assert!(!service.edge.has_ended());
    tunnel.finish();
    tunnel.ends();
    assert!(service.edge.wait().success());
    assert!(load.end() > 300);
    let said = service.edge.stderr();
    assert!(
        !said.contains("grace is over") && !said.contains("panicked"),
        "{said}"
    );
}

#[test]
fn what_is_hot_is_a_hit_in_the_new_process() {
    let shop = Origin::start(|r| {
        page(format!("page {}", r.target))
            .fresh(600)
            .field("Vary", "Accept-Language")
    });
    let mut service = Service::of(Edge::start(&smallest(&shop)));
    for n in 0..50 {
        assert_eq!(service.edge.get(&format!("/{n}")).status, 200);
    }
    let asked = shop.seen().len();
    service.upgrade();
    for n in 0..50 {
        let answer = service.edge.get(&format!("/{n}"));
        assert_eq!(answer.cache(), "dhal; hit", "{n}");
        assert_eq!(answer.text(), format!("page /{n}"));
    }
    assert_eq!(shop.seen().len(), asked);
    assert_eq!(
        service
            .edge
            .metric("dhal_upgrades_total{outcome=\"success\"}"),
        Some(1.0)
    );
    assert!(service.edge.wait().success());
}

#[test]
fn none_of_it_where_that_is_not_wanted() {
    let shop = Origin::start(|_| page("hot").fresh(600));
    let config = smallest(&shop) + "[server]\nupgrade_handover = \"0B\"\n";
    let mut service = Service::of(Edge::start(&config));
    service.edge.get("/");
    service.upgrade();
    assert_eq!(service.edge.get("/").cache(), "dhal; fwd=uri-miss; stored");
}

#[test]
fn sigquit_upgrades_and_the_pid_file_follows() {
    let shop = shop();
    let config = smallest(&shop) + "[server]\npid_file = \"@dir/dhal.pid\"\n";
    let mut service = Service::of(Edge::start(&config));
    let first = service.edge.id();
    assert_eq!(service.edge.site.read("dhal.pid"), format!("{first}\n"));
    service.edge.signal(Signal::SIGQUIT);
    eventually("another process serves", || service.pid() != first);
    let now = service.pid();
    assert!(service.edge.wait().success());
    assert_eq!(service.edge.site.read("dhal.pid"), format!("{now}\n"));
    assert!(service.edge.site.path("admin.sock").exists());
    assert_eq!(service.edge.get("/").status, 200);
    // The one that took over ends like any other.
    signal(now, Signal::SIGTERM);
    eventually("it ends", || !is_alive(now));
    assert!(!service.edge.site.path("dhal.pid").exists());
    assert!(!service.edge.site.path("admin.sock").exists());
    assert!(TcpStream::connect(service.edge.site.http).is_err());
}

#[test]
fn connections_that_wait_to_be_accepted_are_served() {
    let gate = Gate::default();
    let held = gate.clone();
    let shop = Origin::start(move |r| match r.target.as_str() {
        "/held" => page("held").when(&held),
        _ => page("hot"),
    });
    // One that works holds the only place, so that others wait with the system.
    let config = smallest(&shop) + "[server]\nmax_connections = 1\nkeepalive_timeout = \"1s\"\n";
    let mut service = Service::of(Edge::start(&config));
    let http = service.edge.site.http;
    let mut first = service.edge.connect();
    first.request("GET", "/held", &[("Connection", "close")]);
    eventually("the shop is asked", || shop.count("/held") == 1);
    let sent = Arc::new(AtomicUsize::new(0));
    let visitors: Vec<_> = (0..20)
        .map(|_| {
            let sent = Arc::clone(&sent);
            thread::spawn(move || {
                let mut conn = Conn::open(http);
                conn.request("GET", "/hot", &[("Connection", "close")]);
                sent.fetch_add(1, SeqCst);
                conn.try_response("GET").map(|answer| answer.status)
            })
        })
        .collect();
    // In a full house who has not asked yet makes room for others.
    eventually("all have asked", || sent.load(SeqCst) == 20);
    service.upgrade();
    gate.open();
    assert_eq!(first.response("GET").status, 200);
    for visitor in visitors {
        assert_eq!(visitor.join().expect("no panic"), Ok(200));
    }
}

#[test]
fn a_request_that_arrives_while_the_old_one_leaves_is_answered() {
    let shop = shop();
    let config = smallest(&shop) + "[server]\nkeepalive_timeout = \"5s\"\n";
    let mut service = Service::of(Edge::start(&config));
    let mut idle = service.edge.connect();
    assert_eq!(idle.get("/hot").status, 200);
    let mut slow = service.edge.connect();
    slow.send("GET /hot HTTP/1.1\r\nHost: shop.ex");
    service.upgrade();
    assert!(
        idle.is_quiet(Duration::from_millis(300)),
        "it is left to itself"
    );
    let last = idle.get("/hot");
    assert_eq!(
        (last.status, last.field("connection")),
        (200, Some("close"))
    );
    idle.ends();
    slow.send("ample\r\n\r\n");
    let last = slow.response("GET");
    assert_eq!(
        (last.status, last.field("connection")),
        (200, Some("close"))
    );
    slow.ends();
    assert!(service.edge.wait().success());
}

#[test]
fn the_grace_for_tunnels_has_an_end() {
    let shop = echoing();
    let config = smallest(&shop) + "[server]\nupgrade_grace = \"1s\"\n";
    let mut service = Service::of(Edge::start(&config));
    let mut tunnel = service.edge.connect();
    tunnel.send(ASK);
    assert_eq!(tunnel.head().expect("an answer").0, 101);
    service.upgrade();
    tunnel.send("word");
    assert_eq!(tunnel.take(12).expect("an echo"), b"welcome word");
    assert!(service.edge.wait().success());
    assert!(tunnel.rest().is_ok_and(|rest| rest.is_empty()));
    assert_eq!(service.edge.get("/").status, 200);
}

#[test]
fn told_to_end_while_it_leaves_it_hurries() {
    let shop = echoing();
    let config = smallest(&shop) + "[server]\nshutdown_grace = \"300ms\"\n";
    let mut service = Service::of(Edge::start(&config));
    let mut tunnel = service.edge.connect();
    tunnel.send(ASK);
    assert_eq!(tunnel.head().expect("an answer").0, 101);
    let (before, now) = service.upgrade();
    signal(before, Signal::SIGTERM);
    assert!(service.edge.wait().success());
    assert_eq!(service.pid(), now);
    assert!(service.edge.site.path("admin.sock").exists());
}

#[test]
fn another_configuration_takes_effect_with_the_new_process() {
    let shop = shop();
    let threads = |n: usize| smallest(&shop) + &format!("[server]\nthreads = {n}\n");
    let mut service = Service::of(Edge::start(&threads(3)));
    // More threads than sockets, fewer, and another address beside the one that stays.
    for config in [
        threads(5),
        threads(1),
        threads(1).replace(
            "[[listeners]]",
            "[[listeners]]\naddress = \"@https\"\n[[listeners]]",
        ),
        threads(2),
    ] {
        service.edge.site.configure(&config);
        service.upgrade();
        for _ in 0..30 {
            assert_eq!(service.edge.get("/hot").status, 200);
        }
        let other = TcpStream::connect(service.edge.site.https).is_ok();
        assert_eq!(other, config.contains("@https"));
    }
}

#[test]
fn orders_of_operators_outlast_the_process() {
    let (one, two) = (
        Origin::start(|_| page("one")),
        Origin::start(|_| page("two")),
    );
    let config = format!(
        "[upstreams.shop]\nservers = [\"{one}\", \"{two}\"]\n[[routes]]\nupstream = \"shop\"\n"
    );
    let mut service = Service::of(Edge::start(&config));
    let drained = service.edge.site.dhal(&["drain", "shop", &one.to_string()]);
    assert!(drained.status.success(), "{drained:?}");
    service.upgrade();
    for _ in 0..6 {
        assert_eq!(service.edge.get("/").text(), "two");
    }
}

#[test]
fn signals_in_a_row_upgrade_once_at_a_time_and_the_pid_file_is_right() {
    let shop = shop();
    let config = smallest(&shop) + "[server]\npid_file = \"@dir/dhal.pid\"\n";
    let mut service = Service::of(Edge::start(&config));
    let first = service.edge.id();
    for _ in 0..20 {
        service.edge.signal(Signal::SIGQUIT);
        thread::sleep(Duration::from_millis(2));
    }
    assert!(service.edge.wait().success());
    let now = service.pid();
    assert_ne!(now, first);
    assert_eq!(service.edge.site.read("dhal.pid"), format!("{now}\n"));
    assert!(
        service
            .edge
            .stderr()
            .contains("an upgrade is under way already")
    );
    assert_eq!(service.edge.get("/hot").status, 200);
}
