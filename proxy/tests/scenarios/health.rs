//! Checks of servers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::{
    edge::{Edge, Site},
    h2_shop::{Asked, H2Shop},
    origin::{Origin, page},
    secure::Authority,
    tools::{Gate, eventually},
};

/// Upstream `shop` of these servers, which nobody asks twice.
pub(crate) fn shop(servers: &[&Origin], more: &str) -> String {
    let servers: Vec<_> = servers.iter().map(|s| format!("\"{s}\"")).collect();
    format!(
        "[upstreams.shop]\nservers = [{}]\nretry = {{ attempts = 0, wait = \"0s\" }}\n{more}\n[[routes]]\nupstream = \"shop\"\n",
        servers.join(", ")
    )
}

pub(crate) fn named(name: &'static str) -> Origin {
    Origin::start(move |_| page(name))
}

/// What `/status` says of a server.
pub(crate) fn status(edge: &Edge, server: &Origin) -> serde_json::Value {
    let (code, text) = edge.admin("GET", "/status");
    assert_eq!(code, 200);
    let status: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let servers = status["upstreams"][0]["servers"].as_array();
    let is_meant = |known: &&serde_json::Value| known["name"] == server.to_string();
    let found = servers.expect("a list").iter().find(is_meant);
    found.expect("a server").clone()
}

pub(crate) fn changes(edge: &Edge, server: &Origin, to: &str, reason: &str) -> f64 {
    let series = format!(
        "dhal_upstream_changes_total{{reason=\"{reason}\",server=\"{server}\",to=\"{to}\",upstream=\"shop\"}}"
    );
    edge.metric(&series).unwrap_or(0.0)
}

/// Waits until so many changes are told: a server's state is seen before its change is counted.
pub(crate) fn told(edge: &Edge, server: &Origin, to: &str, reason: &str, count: f64) {
    eventually(&format!("{to} for {reason} is told"), || {
        changes(edge, server, to, reason) == count
    });
}

pub(crate) fn becomes(edge: &Edge, server: &Origin, state: &str) {
    eventually(state, || status(edge, server)["state"] == state);
}

pub(crate) const CHECKED: &str =
    "interval = \"100ms\", timeout = \"5s\", healthy = 2, unhealthy = 2";

#[test]
fn a_check_that_connects() {
    let mut one = named("one");
    let two = named("two");
    let check = format!("health_check = {{ protocol = \"tcp\", {CHECKED} }}");
    let edge = Edge::start(&shop(&[&one, &two], &check));
    one.stop();
    becomes(&edge, &one, "down");
    assert_eq!(status(&edge, &one)["reason"], "connection refused");
    assert!(status(&edge, &one)["since_seconds"].as_u64() < Some(20));
    told(&edge, &one, "down", "connection_refused", 1.0);
    let text = edge.site.dhal(&["status"]).stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find(|line| line.contains(&one.to_string()));
    let line = line.expect("a line of the server");
    assert!(
        line.contains("down ") && line.contains("s: connection refused "),
        "{text}"
    );
    assert!(line.ends_with("0 in flight, weight 1"), "{text}");
    one.restart();
    becomes(&edge, &one, "up");
    told(&edge, &one, "up", "checks_passed", 1.0);
    edge.says("2 checks passed in a row");
    assert_eq!(changes(&edge, &two, "down", "connection_refused"), 0.0);
}

#[test]
fn a_check_over_tls() {
    let page = named("behind TLS");
    let server = Edge::start_tls(&shop(&[&page], ""));
    let ca = server.site.path("certs/dev.pem");
    let edge = |name: &str, ca: &str| {
        let config = format!(
            "[upstreams.shop]\nservers = [\"{}\"]\ntls = {{ name = \"{name}\" {ca} }}\nhealth_check = {{ path = \"/healthz\", host = \"shop.example\", {CHECKED} }}\n[[routes]]\nupstream = \"shop\"\n",
            server.site.https
        );
        Edge::start(&config)
    };
    let trusted = format!(", ca = \"{}\"", ca.display());
    let well = edge("shop.example", &trusted);
    let count = page.count("/healthz");
    eventually("it is checked", || page.count("/healthz") >= count + 4);
    let up = |edge: &Edge| {
        let server = server.site.https;
        edge.metric(&format!(
            "dhal_upstream_up{{server=\"{server}\",upstream=\"shop\"}}"
        ))
    };
    assert_eq!(up(&well), Some(1.0));
    for (name, ca) in [("other.example", trusted.as_str()), ("shop.example", "")] {
        let ill = edge(name, ca);
        eventually("it is down", || up(&ill) == Some(0.0));
        ill.says("TLS: ");
    }
}

#[test]
fn servers_that_speak_http_2_are_asked_so() {
    let asked = Arc::new(AtomicUsize::new(0));
    let address = prior_knowledge(&asked);
    let page = named("behind TLS");
    let server = Edge::start_tls(&shop(&[&page], ""));
    let ca = server.site.path("certs/dev.pem");
    for (address, tls) in [
        (address, String::new()),
        (
            server.site.https,
            format!(
                "tls = {{ name = \"shop.example\", ca = \"{}\" }}",
                ca.display()
            ),
        ),
    ] {
        let config = format!(
            "[upstreams.shop]\nservers = [\"{address}\"]\nprotocol = \"h2\"\n{tls}\nhealth_check = {{ path = \"/healthz\", host = \"shop.example\", {CHECKED} }}\n[[routes]]\nupstream = \"shop\"\n",
        );
        let edge = Edge::start(&config);
        eventually("it is checked", || match tls.is_empty() {
            true => asked.load(Ordering::SeqCst) >= 4,
            false => page.count("/healthz") >= 4,
        });
        let up = format!("dhal_upstream_up{{server=\"{address}\",upstream=\"shop\"}}");
        assert_eq!(edge.metric(&up), Some(1.0));
    }
    let mut check = None;
    eventually("a check is written down", || {
        let is = |l: &serde_json::Value| l["target"] == "/healthz" || l["path"] == "/healthz";
        check = server.log().into_iter().find(is);
        check.is_some()
    });
    let check = check.expect("a line of a check").to_string();
    assert!(check.contains("HTTP/2"), "{check}");
}

#[test]
fn checks_over_http_2_say_their_scheme() {
    let authority = Authority::new("ours");
    let tls = authority.server(&["inner.example"]).config(&["h2"], None);
    let well = |mut asked: Asked| async move { asked.page("well").await };
    let plain = H2Shop::start(well);
    let secure = H2Shop::start_with(Some(tls), ::h2::server::Builder::new(), well);
    for (server, tls, scheme) in [
        (&plain, "", "http"),
        (
            &secure,
            "tls = { ca = \"@dir/ca.pem\", name = \"inner.example\" }",
            "https",
        ),
    ] {
        let site = Site::new(&format!(
            "[upstreams.shop]\nservers = [\"{server}\"]\nprotocol = \"h2\"\n{tls}\nhealth_check = {{ path = \"/healthz\", {CHECKED} }}\n[[routes]]\nupstream = \"shop\"\n",
        ));
        authority.write(&site.path("ca.pem"));
        let _edge = Edge::start_at(site);
        eventually("it is checked", || server.count("/healthz") >= 1);
        assert_eq!(server.last().uri.scheme_str(), Some(scheme));
    }
}

/// A server that speaks HTTP/2 to whoever connects, and knows only its health.
fn prior_knowledge(asked: &Arc<AtomicUsize>) -> std::net::SocketAddr {
    let address = crate::tools::free_address();
    let listener = std::net::TcpListener::bind(address).expect("a free address");
    let asked = Arc::clone(asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let asked = Arc::clone(&asked);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let stream = stream.expect("a connection");
                stream.set_nonblocking(true).expect("an option");
                let stream = tokio::net::TcpStream::from_std(stream).expect("a stream");
                let mut connection = ::h2::server::handshake(stream).await.expect("HTTP/2");
                while let Some(Ok((request, mut answer))) = connection.accept().await {
                    assert_eq!(request.uri().path(), "/healthz");
                    assert_eq!(request.uri().host(), Some("shop.example"));
                    asked.fetch_add(1, Ordering::SeqCst);
                    answer
                        .send_response(http::Response::new(()), true)
                        .expect("sent");
                }
            });
        }
    });
    address
}

#[test]
fn a_check_that_flaps_changes_nothing() {
    let one = Origin::start(|r| match r.nth % 3 {
        0 => page("well"),
        _ => page("ill").status(500),
    });
    let check = "health_check = { path = \"/healthz\", interval = \"100ms\", timeout = \"5s\", healthy = 2, unhealthy = 3 }";
    let edge = Edge::start(&shop(&[&one], check));
    eventually("it was checked", || one.count("/healthz") >= 10);
    assert_eq!(status(&edge, &one)["state"], "up");
    assert_eq!(changes(&edge, &one, "down", "status"), 0.0);
}

#[test]
fn what_a_healthy_answer_is() {
    let large = |end: &str| "x".repeat(64 * 1024 - 2) + end;
    for (status_code, body, rule, wanted) in [
        (200, "all is ok".to_owned(), "body = \"is ok\"", None),
        (200, large("ok"), "body = \"ok\"", None),
        (
            200,
            large("-ok"),
            "body = \"ok\"",
            Some(("body", "the expected text is not in the answer")),
        ),
        (
            200,
            "all is lost".to_owned(),
            "body = \"is ok\"",
            Some(("body", "the expected text is not in the answer")),
        ),
        (
            418,
            "tea".to_owned(),
            "status = [\"200\", \"410-420\"]",
            None,
        ),
        (
            204,
            String::new(),
            "status = [\"200\", \"410-420\"]",
            Some(("status", "status 204")),
        ),
        (404, String::new(), "", Some(("status", "status 404"))),
        (302, String::new(), "", None),
    ] {
        let rule = match rule {
            "" => String::new(),
            rule => format!(", {rule}"),
        };
        let what = format!("{status_code} {rule}");
        let one = Origin::start(move |_| page(body.clone()).status(status_code));
        let check = format!("health_check = {{ path = \"/healthz\", {CHECKED} {rule} }}");
        let edge = Edge::start(&shop(&[&one], &check));
        match wanted {
            None => {
                eventually("it was checked", || one.count("/healthz") >= 4);
                assert_eq!(status(&edge, &one)["state"], "up", "{what}");
            }
            Some((word, reason)) => {
                becomes(&edge, &one, "down");
                assert_eq!(status(&edge, &one)["reason"], reason, "{what}");
                told(&edge, &one, "down", word, 1.0);
            }
        }
    }
}

#[test]
fn a_check_at_a_port_of_its_own() {
    let (one, well) = (named("one"), Arc::new(AtomicBool::new(true)));
    let state = Arc::clone(&well);
    // A server's own port has the same address, and another number.
    let doctor = Origin::start_near(&one, move |_| {
        page("").status(if state.load(Ordering::SeqCst) {
            200
        } else {
            500
        })
    });
    let port = doctor.address.port();
    let check = format!("health_check = {{ path = \"/healthz\", port = {port}, {CHECKED} }}");
    let edge = Edge::start(&shop(&[&one], &check));
    eventually("it is checked", || doctor.count("/healthz") >= 3);
    assert_eq!(edge.get("/").text(), "one");
    assert_eq!(
        doctor.last().field("host"),
        Some(doctor.to_string().as_str())
    );
    well.store(false, Ordering::SeqCst);
    becomes(&edge, &one, "down");
    assert_eq!(edge.get("/").status, 503);
    well.store(true, Ordering::SeqCst);
    eventually("it is back", || edge.get("/").status == 200);
    assert_eq!(one.count("/healthz"), 0);
}

#[test]
fn a_silent_server_is_down_and_stays_so_across_a_reload() {
    let gate = Gate::default();
    let silent = gate.clone();
    let one = Origin::start(move |_| page("late").when(&silent));
    let two = named("two");
    let check = "health_check = { path = \"/healthz\", interval = \"100ms\", timeout = \"2s\", healthy = 100, unhealthy = 2 }";
    let config = shop(&[&one, &two], check);
    let edge = Edge::start(&config);
    becomes(&edge, &one, "down");
    assert_eq!(status(&edge, &one)["reason"], "no answer within 2s");
    told(&edge, &one, "down", "timeout", 1.0);
    gate.open();
    assert!(
        edge.reload(&(config.clone() + "limits = []\n"))
            .status
            .success()
    );
    // A hundred checks are to pass before it is up.
    assert_eq!(status(&edge, &one)["state"], "down");
    assert_eq!(status(&edge, &one)["reason"], "no answer within 2s");
    assert!((0..10).all(|_| edge.get("/").text() == "two"));
    assert!(edge.reload(&shop(&[&one, &two], "")).status.success());
    assert_eq!(
        status(&edge, &one)["state"],
        "up",
        "nobody would find it well"
    );
    told(&edge, &one, "up", "unchecked", 1.0);
}

/// The one mistake that `dhal check` cannot find is a check that nobody answers.
#[test]
fn a_server_that_was_never_there_is_down_from_the_first_checks() {
    let mut one = named("one");
    one.stop();
    let site = Site::new(&shop(
        &[&one],
        "health_check = { path = \"/\", interval = \"100ms\", unhealthy = 1 }",
    ));
    let edge = Edge::start_at(site);
    becomes(&edge, &one, "down");
    assert_eq!(edge.get("/").status, 503);
}
