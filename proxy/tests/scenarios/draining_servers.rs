//! Servers that take nothing new, so that operators can end them without a failed request.

use std::{
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{
    client::Conn,
    edge::Edge,
    health::{becomes, changes, named, shop, status},
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
    assert_eq!(changes(&edge, &one, "draining", "order"), 3.0);
    assert_eq!(changes(&edge, &one, "ready", "order"), 3.0);
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
    assert_eq!(
        status(&edge, &one)["reason"],
        "by order, and down: connection refused"
    );
    one.restart();
    eventually("it is up", || gauge("up") == Some(1.0));
    let back = edge.site.dhal(&["undrain", "shop", &server]);
    assert_eq!(
        said(&back).0,
        format!("{server} takes requests again, it is up\n")
    );
    eventually("it is asked", || edge.get("/").text() == "one");
    assert_eq!(gauge("draining"), Some(0.0));
    assert_eq!(changes(&edge, &one, "draining", "order"), 1.0);
    assert!(
        edge.stderr().contains("server is draining") && edge.stderr().contains("server is ready")
    );
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
