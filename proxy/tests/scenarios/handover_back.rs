//! The process that took over crashes later, where no systemd starts another: the one before serves again, as long as it
//! has visitors.

use nix::sys::signal::Signal;

use crate::{
    client::Conn,
    edge::Edge,
    handover::{Service, is_alive, signal},
    origin::{Origin, page},
    serving::smallest,
    tools::{Gate, eventually},
    upgrade::{ASK, echoing},
};

const FAILURES: &str = "dhal_upgrades_total{outcome=\"failure\"}";
const AGAIN: &str = "this process serves again";

/// A shop whose pages are stored, and with a chat that keeps a process alive.
fn service() -> (Origin, Origin, Service) {
    let (shop, chat) = (Origin::start(|_| page("hot").fresh(600)), echoing());
    let config = smallest(&shop)
        + &format!(
            "[server]\npid_file = \"@dir/dhal.pid\"\n[upstreams.chat]\nservers = [\"{chat}\"]\n[[routes]]\n\
             path = \"/chat\"\nupstream = \"chat\"\n"
        );
    let service = Service::of(Edge::start(&config));
    (shop, chat, service)
}

fn visitor(service: &Service) -> Conn {
    let mut tunnel = service.edge.connect();
    tunnel.send(ASK);
    assert_eq!(tunnel.head().expect("an answer").0, 101);
    assert_eq!(tunnel.take(8).expect("a welcome"), b"welcome ");
    tunnel
}

#[test]
fn the_process_before_serves_again() {
    let (shop, _chat, mut service) = service();
    let first = service.edge.id();
    let mut tunnel = visitor(&service);
    for path in ["/kept", "/purged"] {
        assert_eq!(service.edge.get(path).status, 200);
    }
    for round in 1..=2_u32 {
        let (before, now) = service.upgrade();
        assert_eq!(before, first);
        // What the new process is told to forget is forgotten by both.
        let purged = service
            .edge
            .site
            .dhal(&["purge", "http://shop.example/purged"]);
        assert!(purged.status.success(), "{purged:?}");
        signal(now, Signal::SIGKILL);
        eventually("the process before serves again", || {
            service.edge.stderr().matches(AGAIN).count() == round as usize
        });
        assert_eq!(service.pid(), first);
        assert_eq!(service.edge.site.read("dhal.pid"), format!("{first}\n"));
        assert_eq!(service.edge.metric(FAILURES), Some(f64::from(round)));
        assert!(!std::path::Path::new(&format!("/proc/{now}")).exists());
        let asked = shop.seen().len();
        assert_eq!(service.edge.get("/kept").cache(), "dhal; hit");
        assert_eq!(shop.seen().len(), asked);
        assert_eq!(
            service.edge.get("/purged").cache(),
            "dhal; fwd=uri-miss; stored"
        );
        let mut conn = service.edge.connect();
        for _ in 0..3 {
            // Connections are not ended any more.
            let answer = conn.get("/kept");
            assert_eq!((answer.status, answer.field("connection")), (200, None));
        }
        let status = service.edge.site.dhal(&["status"]);
        let told = format!("failed: process {now} took over, and has crashed since");
        assert!(String::from_utf8_lossy(&status.stdout).contains(&told));
        let reload = service.edge.site.dhal(&["reload"]);
        assert!(reload.status.success(), "{reload:?}");
    }
    tunnel.send("word");
    assert_eq!(tunnel.take(4).expect("an echo"), b"word");
    // It lives on without those whom it stayed for.
    tunnel.finish();
    tunnel.ends();
    assert_eq!(service.edge.get("/kept").status, 200);
    service.edge.signal(Signal::SIGTERM);
    assert!(service.edge.wait().success());
    assert!(!service.edge.site.path("dhal.pid").exists());
}

/// Who waits for a place in the process before does not keep its addresses from being bound anew.
#[test]
fn the_process_before_serves_again_although_it_is_full() {
    let gate = Gate::default();
    let held = gate.clone();
    let shop = Origin::start(move |r| match r.target.as_str() {
        "/held" => page("held").when(&held),
        _ => page("hot"),
    });
    let config = smallest(&shop) + "[server]\nmax_connections = 1\nkeepalive_timeout = \"1s\"\n";
    let mut service = Service::of(Edge::start(&config));
    let mut first = service.edge.connect();
    first.request("GET", "/held", &[("Connection", "close")]);
    eventually("the shop is asked", || shop.count("/held") == 1);
    let mut waits = service.edge.connect();
    waits.request("GET", "/", &[("Connection", "close")]);
    eventually("it is accepted", || {
        service.edge.metric("dhal_connections_accepted_total") == Some(2.0)
    });
    let (_, now) = service.upgrade();
    signal(now, Signal::SIGKILL);
    eventually("the process before serves again", || {
        service.edge.stderr().contains(AGAIN)
    });
    gate.open();
    assert_eq!(first.response("GET").status, 200);
    assert_eq!(waits.response("GET").status, 200);
    assert_eq!(service.edge.get("/").status, 200);
}

#[test]
fn nobody_is_displaced_who_serves() {
    let (_shop, _chat, mut service) = service();
    let mut tunnel = visitor(&service);
    let (first, second) = service.upgrade();
    let mut other = visitor(&service);
    let (_, third) = service.upgrade();
    assert!(is_alive(first) && is_alive(second));
    // One that leaves crashes: the third one serves, and that is nobody's business.
    signal(second, Signal::SIGKILL);
    eventually("the first one looks", || {
        service
            .edge
            .stderr()
            .contains("this process cannot serve again")
    });
    assert_eq!(service.pid(), third);
    assert!(other.take(1).is_err());
    tunnel.send("word");
    assert_eq!(tunnel.take(4).expect("an echo"), b"word");
    tunnel.finish();
    assert!(service.edge.wait().success());
    assert_eq!(service.pid(), third);
    assert_eq!(service.edge.get("/kept").status, 200);
}

#[test]
fn one_that_was_told_to_stop_has_not_crashed() {
    let (_shop, _chat, mut service) = service();
    let mut tunnel = visitor(&service);
    let (_, now) = service.upgrade();
    signal(now, Signal::SIGTERM);
    eventually("it ends", || !is_alive(now));
    eventually("nobody accepts", || {
        std::net::TcpStream::connect(service.edge.site.http).is_err()
    });
    tunnel.finish();
    assert!(service.edge.wait().success());
    assert!(!service.edge.stderr().contains(AGAIN));
}
