//! Servers that are given by name: where they lead, when that changes, and when nobody says.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use crate::{
    dns::{Dns, Says},
    edge::{Edge, Site},
    health::CHECKED,
    origin::{Origin, page},
    tools::{eventually, free_address},
};

fn config(dns: &Dns, servers: &str) -> String {
    format!(
        r#"
        [server]
        resolvers = ["{}"]

        [upstreams.shop]
        servers = [{servers}]

        [[routes]]
        upstream = "shop"
        "#,
        dns.address
    )
}

/// Shops at addresses of their own, all at one port.
pub(crate) fn shops<const N: usize>(names: [&'static str; N]) -> ([Origin; N], u16) {
    let port = free_address().port();
    let shops = names.map(|name| {
        let address = SocketAddr::new(free_address().ip(), port);
        Origin::start_at(address, move |_| page(name))
    });
    (shops, port)
}

const FAILURES: &str = "dhal_dns_failures_total{name=\"shop.internal\"}";
const ADDRESSES: &str = "dhal_upstream_addresses{upstream=\"shop\"}";

#[test]
fn the_addresses_of_a_name_share_its_requests() {
    let dns = Dns::start();
    let ([one, two], port) = shops(["one", "two"]);
    dns.lead("shop.internal", &[two.address, one.address]);
    let servers = format!("\"Shop.Internal.:{port}\"");
    let edge = Edge::start(
        &(config(&dns, &servers).replace("[[routes]]", "balance = \"round-robin\"\n[[routes]]")),
    );
    for _ in 0..10 {
        assert_eq!(edge.get("/").status, 200, "from the first request on");
    }
    assert_eq!((one.seen().len(), two.seen().len()), (5, 5));
    assert_eq!(edge.metric(ADDRESSES), Some(2.0));
    assert!(edge.metric(FAILURES).is_none());
    assert_eq!(one.last().field("host"), Some("shop.example"));
    eventually("the log names an address", || {
        let lines = edge.log();
        lines.first().is_some_and(|line| {
            let server = line["upstream"].as_str();
            server == Some(&one.to_string()) || server == Some(&two.to_string())
        })
    });
}

#[test]
fn traffic_follows_a_name() {
    let dns = Dns::start();
    let ([mut one, two], port) = shops(["one", "two"]);
    dns.lead("shop.internal", &[one.address]);
    let edge = Edge::start(&config(&dns, &format!("\"shop.internal:{port}\"")));
    assert!((0..5).all(|_| edge.get("/").text() == "one"));
    dns.lead("shop.internal", &[two.address]);
    let since = Instant::now();
    eventually("traffic moves", || {
        let answer = edge.get("/");
        assert_eq!(answer.status, 200, "and nobody fails");
        answer.text() == "two"
    });
    // A TTL of a second, and what a busy machine adds.
    assert!(since.elapsed() < Duration::from_secs(10));
    assert!((0..5).all(|_| edge.get("/").text() == "two"));
    one.stop();
    assert!((0..5).all(|_| edge.get("/").text() == "two"));
    assert_eq!(edge.metric(ADDRESSES), Some(1.0));
    assert_eq!(edge.stderr().matches("the name leads elsewhere").count(), 2);
}

#[test]
fn a_name_that_stops_resolving_keeps_its_last_addresses() {
    let dns = Dns::start();
    let ([one], port) = shops(["one"]);
    dns.lead("shop.internal", &[one.address]);
    let edge = Edge::start(&config(&dns, &format!("\"shop.internal:{port}\"")));
    assert_eq!(edge.get("/").text(), "one");
    let mut failures = 0.0;
    for says in [Says::NoSuchName, Says::NoAddress, Says::Nothing] {
        dns.say("shop.internal", says);
        eventually("it fails", || edge.metric(FAILURES) > Some(failures));
        failures = edge.metric(FAILURES).expect("failures");
        assert_eq!(edge.get("/").text(), "one");
    }
    assert_eq!(edge.metric(ADDRESSES), Some(1.0));
    assert_eq!(
        edge.stderr().matches("cannot be resolved").count(),
        1,
        "one warning"
    );
    assert!(!edge.stderr().contains("resolved again"));
    dns.lead("shop.internal", &[one.address]);
    eventually("it ends", || edge.stderr().contains("resolved again"));
    assert_eq!(edge.stderr().matches("the name leads elsewhere").count(), 1);
}

#[test]
fn a_name_may_resolve_later() {
    for says in [Says::NoSuchName, Says::Nothing] {
        let dns = Dns::start();
        let ([one], port) = shops(["one"]);
        dns.say("shop.internal", says);
        let edge = Edge::start(&config(&dns, &format!("\"shop.internal:{port}\"")));
        let answer = edge.get("/");
        assert_eq!(answer.status, 503);
        assert!(answer.field("retry-after").is_some());
        assert_eq!(edge.metric(ADDRESSES), Some(0.0));
        dns.lead("shop.internal", &[one.address]);
        eventually("it is there", || edge.get("/").status == 200);
        assert_eq!(edge.get("/").text(), "one");
    }
}

#[test]
fn a_reload_while_names_do_not_resolve_loses_nothing() {
    let dns = Dns::start();
    let ([one, two], port) = shops(["one", "two"]);
    dns.lead("shop.internal", &[one.address]);
    let server = format!("\"shop.internal:{port}\"");
    let edge = Edge::start(&config(&dns, &server));
    assert_eq!(edge.get("/").text(), "one");
    for says in [Says::Nothing, Says::NoSuchName] {
        dns.say("shop.internal", says);
        assert!(edge.reload(&config(&dns, &server)).status.success());
        assert_eq!(edge.get("/").text(), "one");
        let asked = dns.asked();
        eventually("it asks in vain", || dns.asked() > asked);
        assert_eq!(edge.get("/").text(), "one");
    }
    let warnings = || edge.stderr().matches("cannot be resolved").count();
    eventually("it is told", || warnings() > 0);
    assert_eq!(warnings(), 1, "still one warning");

    // A name that is new gets its time, and the first request finds it.
    dns.lead("new.internal", &[two.address]);
    let server = format!("\"new.internal:{port}\"");
    assert!(edge.reload(&config(&dns, &server)).status.success());
    assert_eq!(edge.get("/").text(), "two");
    assert_eq!(edge.metric(ADDRESSES), Some(1.0));
}

#[test]
fn what_is_learnt_during_a_reload_is_not_lost() {
    let dns = Dns::start();
    let ([one, two], port) = shops(["one", "two"]);
    dns.lead("shop.internal", &[one.address]);
    let server = format!("\"shop.internal:{port}\"");
    let edge = Edge::start(&config(&dns, &server));
    assert_eq!(edge.get("/").text(), "one");
    // The reload waits for a name that nobody answers for, while the old configuration is in force and
    // asks for the other one first.
    dns.say("slow.internal", Says::Nothing);
    let spare = format!("{server}, {{ address = \"slow.internal:{port}\", backup = true }}");
    thread::scope(|scope| {
        let asked = dns.asked();
        let reload = scope.spawn(|| edge.reload(&config(&dns, &spare)));
        eventually("both names are asked for", || dns.asked() >= asked + 4);
        dns.lead("shop.internal", &[two.address]);
        assert!(reload.join().expect("an end").status.success());
    });
    // Where it was lost it would stay so: whoever asks from here on hears nothing new. A slow machine may not have
    // asked yet.
    eventually("it leads there", || edge.get("/").text() == "two");
}

/// Of a configuration that is refused at last the names are asked for first.
#[test]
fn a_refused_reload_leaves_bounds_as_they_are() {
    let dns = Dns::start();
    let ([one, two], port) = shops(["one", "two"]);
    dns.lead("shop.internal", &[one.address]);
    dns.lead("new.internal", &[two.address]);
    let bounded = |name: &str, most: u32, more: &str| {
        let bounds = format!("concurrency = {{ min = {most}, max = {most} }}\n[[routes]]");
        let text = config(&dns, &format!("\"{name}:{port}\"")).replace("[[routes]]", &bounds);
        format!("{text}\n{more}")
    };
    let edge = Edge::start(&bounded("shop.internal", 3, ""));
    let limit = || edge.metric("dhal_concurrency_limit{upstream=\"shop\"}");
    assert_eq!(limit(), Some(3.0));
    let taken = free_address();
    let _taken = TcpListener::bind(taken).expect("nobody else's");
    let listeners =
        format!("[[listeners]]\naddress = \"@http\"\n[[listeners]]\naddress = \"{taken}\"\n");
    let refused = edge.reload(&bounded("new.internal", 7, &listeners));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains(&taken.to_string()),
        "{said}"
    );
    assert!(
        edge.stderr().contains("new.internal"),
        "its name was asked for"
    );
    assert_eq!(limit(), Some(3.0));
    assert_eq!(edge.get("/").text(), "one");
}

#[test]
fn what_an_entry_says_goes_for_each_of_its_addresses() {
    let dns = Dns::start();
    let ([mut one, two, three], port) = shops(["one", "spare", "spare"]);
    dns.lead("spare.internal", &[two.address, three.address]);
    let servers = format!("\"{one}\", {{ address = \"spare.internal:{port}\", backup = true }}");
    let edge = Edge::start(&config(&dns, &servers));
    assert!((0..20).all(|_| edge.get("/").text() == "one"));
    assert_eq!(edge.metric(ADDRESSES), Some(3.0));
    one.stop();
    assert!((0..20).all(|_| edge.get("/").text() == "spare"));
    assert!(!two.seen().is_empty() && !three.seen().is_empty());
}

/// A name that leads to new addresses all the time, as behind a balancer in a cloud. Nobody listens at any of them.
#[test]
fn what_is_told_of_addresses_that_left_is_bounded() {
    const ADDRESSES: u8 = 60;
    let dns = Dns::start();
    let port = free_address().port();
    let lead = |turn: u8| {
        let addresses = (1..=ADDRESSES).map(|n| Ipv4Addr::new(127, 200, turn, n));
        dns.say("shop.internal", Says::Addresses(addresses.collect(), 1));
    };
    lead(0);
    let check = format!("health_check = {{ protocol = \"tcp\", {CHECKED} }}\n[[routes]]");
    let config = config(&dns, &format!("\"shop.internal:{port}\"")).replace("[[routes]]", &check);
    let edge = Edge::start(&config);
    let told = |turn: u8| {
        let (_, text) = edge.admin("GET", "/metrics");
        let changes = text
            .lines()
            .filter(|line| line.starts_with("dhal_upstream_changes_total"));
        let of_turn = format!("server=\"127.200.{turn}.");
        changes.filter(|line| line.contains(&of_turn)).count()
    };
    let all = usize::from(ADDRESSES);
    for turn in 0..4 {
        lead(turn);
        eventually("all are down", || told(turn) == all);
        if turn == 1 {
            // What left before stays so across a reload.
            assert!(edge.reload(&format!("{config}\n")).status.success());
        }
        if turn > 0 {
            assert_eq!(told(turn - 1), all, "it may come back");
        }
    }
    eventually("the first are forgotten", || told(0) + told(1) <= 4);
}

#[test]
fn localhost_needs_nobody() {
    let address = SocketAddr::from(([127, 0, 0, 1], free_address().port()));
    let shop = Origin::start_at(address, |_| page("here"));
    let plain = |more: &str| {
        format!(
            "{more}\n[upstreams.shop]\nservers = [\"localhost:{}\"]\n[[routes]]\nupstream = \"shop\"\n",
            shop.address.port()
        )
    };
    // Nobody answers at this one.
    let resolvers = format!("[server]\nresolvers = [\"{}\"]", free_address());
    for config in [plain(""), plain(&resolvers)] {
        let edge = Edge::start_at(Site::new(&config));
        for _ in 0..4 {
            assert_eq!(edge.get("/").text(), "here");
        }
    }
}
