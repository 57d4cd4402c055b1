//! Servers that take nothing new, so that operators can end them without a failed request.

use std::{
    net::SocketAddr,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{
    client::Conn,
    dns::Dns,
    edge::Edge,
    health::{becomes, changes, named, shop, status, told},
    names::shops,
    origin::{Origin, page},
    tools::{Gate, eventually},
};

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_server_is_drained_and_ended_without_a_failed_request() {
    let (mut one, two) = (named("one"), named("two"));
    let config = shop(&[&one, &two], "") + "cache = \"default\"\n";
    let edge = Edge::start(&config);
    let running = Arc::new(AtomicBool::new(true));
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let (http, running) = (edge.site.http, Arc::clone(&running));
            thread::spawn(move || {
                let mut conn = Conn::open(http);
                let (mut count, mut failed) = (0, 0);
                while running.load(Ordering::SeqCst) {
                    count += 1;
                    // In person, and for the store.
                    for (method, fields) in [("POST", &[("Content-Length", "0")][..]), ("GET", &[])]
                    {
                        conn.request(method, "/", fields);
                        failed += usize::from(conn.response(method).status != 200);
                    }
                }
                (count, failed)
            })
        })
        .collect();
    eventually("both are asked", || {
        one.seen().len() > 50 && two.seen().len() > 50
    });
    for _ in 0..3 {
        let server = one.to_string();
        let drained = edge.site.dhal(&["drain", "shop", &server, "--wait", "20s"]);
        let (out, err) = said(&drained);
        assert!(drained.status.success(), "{out}{err}");
        assert!(
            out.contains("takes nothing new") && out.contains("nothing is in flight"),
            "{out}"
        );
        let (before, others) = (one.seen().len(), two.seen().len());
        eventually("the other one goes on", || two.seen().len() > others + 100);
        assert_eq!(one.seen().len(), before);
        // An attempt at it would fail the request: there are no retries.
        one.stop();
        eventually("the other one goes on", || two.seen().len() > others + 200);
        one.restart();
        assert!(
            edge.site
                .dhal(&["undrain", "shop", &server])
                .status
                .success()
        );
        eventually("it is asked again", || one.seen().len() > before + 20);
    }
    running.store(false, Ordering::SeqCst);
    for visitor in visitors {
        let (count, failed) = visitor.join().expect("answers");
        assert!(count > 50 && failed == 0, "{failed} of {count}");
    }
    told(&edge, &one, "draining", "order", 3.0);
    told(&edge, &one, "ready", "order", 3.0);
}

#[test]
fn running_requests_finish_and_whoever_waits_for_them_is_told() {
    let gate = Gate::default();
    let slow = gate.clone();
    let one = Origin::start(move |_| page("whole").when(&slow));
    let edge = Edge::start(&shop(&[&one], ""));
    let mut conn = edge.connect();
    conn.request("GET", "/", &[]);
    eventually("it is asked", || one.count("/") == 1);
    let server = one.to_string();
    let waited = edge
        .site
        .dhal(&["drain", "shop", &server, "--wait", "300ms"]);
    let (out, err) = said(&waited);
    assert_eq!(waited.status.code(), Some(1));
    assert!(
        out.contains("takes nothing new, 1 request is in flight"),
        "{out}"
    );
    assert!(err.contains("1 request is in flight after 300ms"), "{err}");
    let known = status(&edge, &one);
    assert_eq!(
        (&known["state"], &known["in_flight"]),
        (&"draining".into(), &1.into())
    );
    assert_eq!(known["reason"], "by order");
    assert_eq!(edge.get("/").status, 503, "not even the last");
    gate.open();
    assert_eq!(conn.response("GET").text(), "whole");
    let done = edge.site.dhal(&["drain", "shop", &server, "--wait", "20s"]);
    assert!(done.status.success(), "{:?}", said(&done));
    assert_eq!(one.count("/"), 1);
}

#[test]
fn who_waits_for_a_server_that_is_taken_away_is_told() {
    let gate = Gate::default();
    let slow = gate.clone();
    let one = Origin::start(move |_| page("whole").when(&slow));
    let two = named("two");
    let edge = Edge::start(&shop(&[&one], ""));
    let mut conn = edge.connect();
    conn.request("GET", "/", &[]);
    eventually("it is asked", || one.count("/") == 1);
    let server = one.to_string();
    let waited = thread::scope(|scope| {
        let waiting = scope.spawn(|| edge.site.dhal(&["drain", "shop", &server, "--wait", "20s"]));
        becomes(&edge, &one, "draining");
        assert!(edge.reload(&shop(&[&two], "")).status.success());
        waiting.join().expect("an end")
    });
    let (out, err) = said(&waited);
    assert_eq!(waited.status.code(), Some(1), "{out}");
    let wanted = format!("{server} is no server of `shop` any more");
    assert!(err.contains(&wanted), "{err}");
    gate.open();
    assert_eq!(conn.response("GET").text(), "whole");
}

#[test]
fn a_drain_survives_a_reload_and_checks_go_on() {
    let (mut one, two) = (named("one"), named("two"));
    let check =
        "health_check = { protocol = \"tcp\", interval = \"100ms\", healthy = 1, unhealthy = 1 }";
    let config = shop(&[&one, &two], check);
    let edge = Edge::start(&config);
    let server = one.to_string();
    assert!(edge.site.dhal(&["drain", "shop", &server]).status.success());
    let is_drained = || (0..10).all(|_| edge.get("/").text() == "two");
    assert!(is_drained());
    assert!(edge.reload(&(config + "limits = []\n")).status.success());
    assert!(is_drained());
    assert_eq!(status(&edge, &one)["state"], "draining");
    let gauge = |name: &str| {
        edge.metric(&format!(
            "dhal_upstream_{name}{{server=\"{server}\",upstream=\"shop\"}}"
        ))
    };
    assert_eq!((gauge("draining"), gauge("up")), (Some(1.0), Some(1.0)));
    one.stop();
    eventually("it is found to be down", || gauge("up") == Some(0.0));
    eventually("its reason is told", || {
        status(&edge, &one)["reason"] == "by order, and down: connection refused"
    });
    one.restart();
    eventually("it is up", || gauge("up") == Some(1.0));
    let back = edge.site.dhal(&["undrain", "shop", &server]);
    assert_eq!(
        said(&back).0,
        format!("{server} takes requests again, it is up\n")
    );
    eventually("it is asked", || edge.get("/").text() == "one");
    assert_eq!(gauge("draining"), Some(0.0));
    told(&edge, &one, "draining", "order", 1.0);
    edge.says("server is draining");
    edge.says("server is ready");
}

#[test]
fn the_file_drains_a_server_too() {
    let (one, two) = (named("one"), named("two"));
    let plain = shop(&[&one, &two], "");
    let drained = plain.replace(
        &format!("\"{one}\""),
        &format!("{{ address = \"{one}\", drain = true, weight = 3, backup = true }}"),
    );
    let edge = Edge::start(&plain);
    eventually("it is asked", || edge.get("/").text() == "one");
    assert!(edge.reload(&drained).status.success());
    assert!((0..20).all(|_| edge.get("/").text() == "two"));
    eventually("it is told", || {
        changes(&edge, &one, "draining", "file") == 1.0
    });
    assert_eq!(status(&edge, &one)["reason"], "by the file");
    let text = said(&edge.site.dhal(&["status"])).0;
    let line = text.lines().find(|line| line.contains(&one.to_string()));
    let line = line.expect("a line");
    assert!(
        line.contains(" draining 0s: by the file ") || line.contains("s: by the file "),
        "{text}"
    );
    assert!(line.ends_with(", weight 3, backup"), "{text}");
    let refused = edge.site.dhal(&["undrain", "shop", &one.to_string()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused)
            .1
            .contains("drains by the file: take `drain = true` out")
    );
    assert!(edge.reload(&plain).status.success());
    eventually("it is told", || {
        changes(&edge, &one, "ready", "file") == 1.0
    });
    eventually("it is asked", || edge.get("/").text() == "one");
}

#[test]
fn orders_that_cannot_be_meant() {
    let one = named("one");
    let config = shop(&[&one], "") + "[admin]\naddress = [\"unix:@dir/admin.sock\", \"@admin\"]\n";
    let edge = Edge::start(&config);
    let server = one.to_string();
    let nearly = format!("{}0", &server[..server.len() - 1]);
    for (upstream, name, wanted) in [
        (
            "shpo",
            server.as_str(),
            "there is no upstream `shpo`; did you mean `shop`?",
        ),
        (
            "elsewhere",
            &server,
            "there is no upstream `elsewhere`; known here: `shop`",
        ),
        (
            "shop",
            "a server",
            "upstream `shop` has no server `a server`; known here: `127.",
        ),
    ] {
        for verb in ["drain", "undrain"] {
            let refused = edge.site.dhal(&[verb, upstream, name]);
            assert_eq!(refused.status.code(), Some(1));
            assert!(said(&refused).1.contains(wanted), "{:?}", said(&refused));
        }
    }
    if nearly != server {
        let refused = edge.site.dhal(&["drain", "shop", &nearly]);
        let wanted = format!("did you mean `{server}`?");
        assert!(said(&refused).1.contains(&wanted), "{:?}", said(&refused));
    }
    let wrong = edge
        .site
        .dhal(&["drain", "shop", &server, "--wait", "soon"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        said(&wrong).1.contains("`soon` is no duration"),
        "{:?}",
        said(&wrong)
    );
    assert_eq!(edge.admin("POST", "/drain?upstream=shop").0, 422);
    assert_eq!(edge.admin("GET", "/drain?upstream=shop&server=a").0, 405);
    let mut tcp = Conn::open(edge.site.admin_tcp);
    tcp.request(
        "POST",
        &format!("/drain?upstream=shop&server={server}"),
        &[("Content-Length", "0")],
    );
    assert_eq!(tcp.response("POST").status, 403, "changes need a token");
    assert_eq!(edge.get("/").text(), "one");
}

/// A name, whose addresses share a port with nobody, and one server that is always there.
fn by_name(dns: &Dns, port: u16, always: &Origin) -> String {
    format!(
        "[server]\nresolvers = [\"{}\"]\n{}",
        dns.address,
        shop(&[always], "").replace(
            "servers = [",
            &format!("servers = [\"shop.internal:{port}\", ")
        )
    )
}

const ADDRESSES: &str = "dhal_upstream_addresses{upstream=\"shop\"}";

#[test]
fn an_order_for_a_name_is_one_for_addresses_that_come_later() {
    let dns = Dns::start();
    let ([one, two], port) = shops(["one", "two"]);
    let always = named("always");
    let edge = Edge::start(&by_name(&dns, port, &always));
    let name = format!("shop.internal:{port}");
    // Even before it leads anywhere.
    let drained = edge.site.dhal(&["drain", "shop", &name, "--wait", "1s"]);
    assert!(drained.status.success(), "{:?}", said(&drained));
    assert!(said(&drained).0.contains("leads to no server"));
    for (addresses, servers) in [
        (&[one.address][..], 2.0),
        (&[one.address, two.address], 3.0),
    ] {
        dns.lead("shop.internal", addresses);
        eventually("it leads there", || edge.metric(ADDRESSES) == Some(servers));
        assert!((0..10).all(|_| edge.get("/").text() == "always"));
    }
    for server in [&one, &two] {
        becomes(&edge, server, "draining");
        eventually("it is told", || {
            changes(&edge, server, "draining", "order") == 1.0
        });
        assert_eq!(status(&edge, server)["reason"], "by order");
    }
    let refused = edge.site.dhal(&["undrain", "shop", &two.to_string()]);
    assert_eq!(refused.status.code(), Some(1));
    let wanted = format!("{two} drains by an order for {name}: undrain that");
    assert!(said(&refused).1.contains(&wanted), "{:?}", said(&refused));
    // Either of them, whatever was ordered for it alone.
    let drain = edge.site.dhal(&["drain", "shop", &one.to_string()]);
    assert!(drain.status.success(), "{:?}", said(&drain));
    let back = edge.site.dhal(&["undrain", "shop", &name]);
    assert_eq!(said(&back).0.matches("takes requests again").count(), 2);
    for wanted in ["one", "two"] {
        eventually("it is asked", || edge.get("/").text() == wanted);
    }
}

#[test]
fn an_address_that_comes_back_drains_still() {
    let dns = Dns::start();
    let ([one, two], port) = shops(["one", "two"]);
    let always = named("always");
    dns.lead("shop.internal", &[one.address, two.address]);
    let edge = Edge::start(&by_name(&dns, port, &always));
    let server = one.to_string();
    assert!(edge.site.dhal(&["drain", "shop", &server]).status.success());
    let lead = |addresses: &[SocketAddr]| {
        dns.lead("shop.internal", addresses);
        let count = addresses.len() as f64 + 1.0;
        eventually("it leads there", || edge.metric(ADDRESSES) == Some(count));
    };
    let stays_away = || {
        lead(&[two.address]);
        // A question a second, in which what is not used is forgotten.
        let asked = dns.asked();
        eventually("it is gone for a while", || dns.asked() >= asked + 6);
    };
    stays_away();
    lead(&[one.address, two.address]);
    assert!((0..20).all(|_| edge.get("/").text() != "one"));
    assert_eq!(status(&edge, &one)["state"], "draining");
    eventually("it is told anew", || {
        changes(&edge, &one, "draining", "order") == 2.0
    });
    stays_away();
    let back = edge.site.dhal(&["undrain", "shop", &server]);
    assert!(back.status.success(), "{:?}", said(&back));
    assert!(said(&back).0.contains("leads to no server"));
    lead(&[one.address, two.address]);
    eventually("it is asked", || edge.get("/").text() == "one");
    assert_eq!(one.count("/"), 1);
}

#[test]
fn an_order_goes_for_every_way_to_speak_to_a_server() {
    let (one, two) = (named("one"), named("two"));
    let config = shop(&[&one, &two], "");
    let edge = Edge::start(&config);
    let server = one.to_string();
    assert!(edge.site.dhal(&["drain", "shop", &server]).status.success());
    for other in ["protocol = \"h2\"", "tls = true", ""] {
        assert!(edge.reload(&shop(&[&one, &two], other)).status.success());
        assert_eq!(status(&edge, &one)["state"], "draining", "{other}");
        assert_eq!(status(&edge, &two)["state"], "up", "{other}");
    }
    assert!((0..10).all(|_| edge.get("/").text() == "two"));
    // A reload that is refused changes nothing of it.
    let log = "[access_log]\npath = \"@dir/no/such/folder/log\"\n";
    assert!(!edge.reload(&(config + log)).status.success());
    assert!((0..10).all(|_| edge.get("/").text() == "two"));
    assert!(
        edge.site
            .dhal(&["undrain", "shop", &server])
            .status
            .success()
    );
    eventually("it is asked", || edge.get("/").text() == "one");
}
