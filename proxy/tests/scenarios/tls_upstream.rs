//! TLS towards servers: whose certificate is believed, what is told of one that is not, and what is shown.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

use crate::{
    edge::{Edge, Site},
    origin::{Origin, page, raw},
    secure::{Authority, Front, Identity},
    tools::{eventually, free_address},
};

const CA: &str = r#"{ ca = "@dir/ca.pem" }"#;

fn shop() -> Origin {
    Origin::start(|r| match r.target.as_str() {
        "/stored" => page("stored").fresh(60),
        "/large" => page(vec![b'x'; 3_000_000]),
        "/cut" => raw("HTTP/1.1 200 OK\r\n\r\nthe beginning"),
        target => page(format!("{target} {}", r.body.len())),
    })
}

/// One upstream with these settings of `tls`, a route without a cache and one with.
fn config(server: &impl std::fmt::Display, tls: &str) -> String {
    format!(
        r#"
        [upstreams.shop]
        servers = ["{server}"]
        tls = {tls}

        [[routes]]
        path = "/stored"
        upstream = "shop"
        cache = "default"

        [[routes]]
        upstream = "shop"
        "#
    )
}

/// An edge with the authority's certificate in `ca.pem`.
fn edge(authority: &Authority, config: &str) -> Edge {
    let site = Site::new(config);
    authority.write(&site.path("ca.pem"));
    Edge::start_at(site)
}

/// TLS in front of a shop, with the certificate of `inner.example`.
fn inner(authority: &Authority, shop: &Origin) -> Front {
    let identity = authority.server(&["inner.example"]);
    Front::start(identity.config(&["h2", "http/1.1"], None), shop.address)
}

const INNER: &str = r#"{ ca = "@dir/ca.pem", name = "inner.example" }"#;

#[test]
fn a_server_of_a_known_authority_answers() {
    let (shop, authority) = (shop(), Authority::new("ours"));
    let front = inner(&authority, &shop);
    let edge = edge(&authority, &config(&front, INNER));
    let mut conn = edge.connect();
    for _ in 0..3 {
        assert_eq!(conn.get("/page").text(), "/page 0");
    }
    assert_eq!(edge.get("/stored").text(), "stored");
    assert!(edge.get("/stored").is_hit());
    assert_eq!(conn.get("/large").body.len(), 3_000_000);
    let upload = vec![b'u'; 1_000_000];
    conn.send(format!(
        "POST /upload HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {}\r\n\r\n",
        upload.len()
    ));
    conn.send(&upload);
    assert_eq!(conn.response("POST").text(), "/upload 1000000");
    assert!(shop.last().body == upload);
    let names = front.names();
    let asked = Some("inner.example".to_owned());
    assert!(names.iter().all(|name| *name == asked), "SNI: {names:?}");
    // Seven requests, from two threads at most, each of which keeps what it has.
    assert!(names.len() <= 3, "connections are used again: {names:?}");
    let http1 = Some(b"http/1.1".to_vec());
    assert!(front.alpn().iter().all(|agreed| *agreed == http1));
}

#[test]
fn a_server_by_its_address() {
    let (shop, authority) = (shop(), Authority::new("ours"));
    let address = free_address();
    let identity = authority.server(&[&address.ip().to_string()]);
    let front = Front::start_at(address, identity.config(&[], None), shop.address);
    let edge = edge(&authority, &config(&front, CA));
    assert_eq!(edge.get("/page").text(), "/page 0");
    assert_eq!(front.names(), [None], "an address is not told by SNI");
}

#[test]
fn sessions_resume() {
    let (shop, authority) = (shop(), Authority::new("ours"));
    let front = inner(&authority, &shop);
    let edge = edge(
        &authority,
        &(config(&front, INNER) + "[server]\nthreads = 1\n"),
    );
    // It ends with the connection, so that each request needs another.
    for _ in 0..3 {
        let cut = edge.get("/cut");
        assert_eq!((cut.status, cut.text().as_str()), (200, "the beginning"));
    }
    let (_, resumed) = front.clients_and_resumed();
    assert!(resumed >= 1, "{resumed} of {} resumed", front.names().len());
}

/// A server whose certificate is wrong, the settings it is reached by, and what the log says.
fn refused(identity: &Identity, tls: &str, authority: &Authority, reason: &str, words: &str) {
    let shop = shop();
    let front = Front::start(identity.config(&[], None), shop.address);
    let edge = edge(authority, &config(&front, tls));
    assert_eq!(edge.get("/own").status, 502, "{words}");
    // The next may be refused for what is known by then.
    let status = edge.get("/stored").status;
    assert!(matches!(status, 502 | 503), "{words}: {status}");
    edge.says(reason);
    edge.says(words);
    // Threads write their lines down when it is their turn.
    eventually("the request is in the log", || {
        let mut lines = edge.log().into_iter();
        let own = lines.find(|line| line["path"] == "/own");
        own.is_some_and(|line| line["reason"] == reason)
    });
    assert!(shop.seen().is_empty());
}

#[test]
fn certificates_that_are_not_believed() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    const WRONG: &str = "tls_certificate_error";
    let day = Duration::from_secs(86_400);
    for (identity, words) in [
        (theirs.server(&["inner.example"]), "unknown authority"),
        (ours.server(&["other.example"]), "for another name"),
        (
            ours.identity(&["inner.example"], Err(day / 2)),
            "has expired",
        ),
    ] {
        refused(&identity, INNER, &ours, WRONG, words);
    }
    let shop = shop();
    let identity = theirs.identity(&["other.example"], Err(day / 2));
    let front = Front::start(identity.config(&[], None), shop.address);
    let any = edge(&ours, &config(&front, "{ verify = false }"));
    assert_eq!(any.get("/own").status, 200, "nothing is verified");
}

#[test]
fn a_server_without_tls() {
    let listener = TcpListener::bind(free_address()).expect("free");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let authority = Authority::new("ours");
    let edge = edge(&authority, &config(&address, INNER));
    assert_eq!(edge.get("/own").status, 502);
    edge.says("tls_protocol_error");
    edge.says("is not TLS");
}

#[test]
fn a_server_that_never_answers_the_handshake() {
    let listener = TcpListener::bind(free_address()).expect("free");
    let address = listener.local_addr().expect("its address");
    let authority = Authority::new("ours");
    let limits = "timeouts = { connect = \"200ms\" }\nretry = { attempts = 0 }\ntls =";
    let edge = edge(
        &authority,
        &config(&address, INNER).replace("tls =", limits),
    );
    assert_eq!(edge.get("/own").status, 504);
    edge.says("connection_timeout");
}

#[test]
fn a_client_certificate_that_is_demanded() {
    let (shop, authority) = (shop(), Authority::new("ours"));
    let identity = authority.server(&["inner.example"]);
    let front = Front::start(identity.config(&[], Some(&authority)), shop.address);
    let without = edge(&authority, &config(&front, INNER));
    assert_eq!(without.get("/own").status, 502);
    without.says("demands a client certificate");
    without.says("tls_alert_received");

    let shown = r#"{ ca = "@dir/ca.pem", name = "inner.example", cert = "@dir/c.pem", key = "@dir/c.key" }"#;
    let site = |identity: &Identity| {
        let site = Site::new(&config(&front, shown));
        authority.write(&site.path("ca.pem"));
        identity.write(&site.path("c.pem"), &site.path("c.key"));
        site
    };
    let with = Edge::start_at(site(&authority.server(&["dhal"])));
    assert_eq!(with.get("/own").status, 200);
    assert_eq!(with.get("/stored").status, 200);
    assert!(front.clients_and_resumed().0 >= 1);

    let of_another = Edge::start_at(site(&Authority::new("theirs").server(&["dhal"])));
    assert_eq!(of_another.get("/own").status, 502);
    of_another.says("does not accept our client certificate");
}

#[test]
fn content_that_is_cut_never_looks_whole() {
    // The end of TCP without the word that ends TLS: anyone could have sent it.
    let (shop, authority) = (shop(), Authority::new("ours"));
    let identity = authority.server(&["inner.example"]);
    let settings = identity.config(&[], None);
    let listener = TcpListener::bind(free_address()).expect("free");
    let address = listener.local_addr().expect("its address");
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        let mut session = rustls::ServerConnection::new(settings).expect("a session");
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        let read = stream.read(&mut [0; 4096]).expect("a request");
        assert!(read > 0);
        let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthe beginning";
        stream.write_all(answer).expect("sent");
        stream.flush().expect("sent");
    });
    let edge = edge(&authority, &config(&address, INNER));
    let mut conn = edge.connect();
    conn.request("GET", "/own", &[]);
    assert!(conn.try_response("GET").is_err());
    server.join().expect("it has answered");
    drop(shop);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new("ours");
    let identity = authority.server(&["dhal"]);
    let good = |site: &Site| {
        authority.write(&site.path("ca.pem"));
        identity.write(&site.path("c.pem"), &site.path("c.key"));
    };
    let shown = r#"{ ca = "@dir/ca.pem", cert = "@dir/c.pem", key = "@dir/c.key" }"#;
    let text = config(&"127.0.0.1:9", shown);
    for (file, content) in [
        ("ca.pem", None),
        ("ca.pem", Some("no certificate")),
        ("c.pem", Some("")),
        ("c.key", None),
        (
            "c.key",
            Some("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        ),
    ] {
        let site = Site::new(&text);
        good(&site);
        match content {
            None => std::fs::remove_file(site.path(file)).expect("it was there"),
            Some(content) => std::fs::write(site.path(file), content).expect("written"),
        }
        let checked = site.dhal(&["check"]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(1), "{file}: {said}");
        assert!(said.contains(file), "{file}: {said}");
    }
    let site = Site::new(&text);
    good(&site);
    assert!(site.dhal(&["check"]).status.success());
    let edge = Edge::start_at(site);
    std::fs::remove_file(edge.site.path("ca.pem")).expect("it was there");
    let reloaded = edge.reload(&text);
    assert!(!reloaded.status.success());
    let said = String::from_utf8_lossy(&reloaded.stderr).into_owned();
    assert!(said.contains("ca.pem"), "{said}");
    eventually("the old one is in force", || {
        edge.admin("GET", "/healthz").0 == 200
    });
}

#[test]
fn protocols_change_through_tls_as_well() {
    let shop = crate::upgrade::echoing();
    let authority = Authority::new("ours");
    let front = inner(&authority, &shop);
    let edge = edge(&authority, &config(&front, INNER));
    let mut conn = edge.connect();
    conn.send(crate::upgrade::ASK);
    assert_eq!(conn.head().expect("an answer").0, 101);
    assert_eq!(conn.take(8).expect("a welcome"), b"welcome ");
    for size in [1, 1000, 300_000] {
        let message = vec![b'm'; size];
        conn.send(&message);
        assert!(conn.take(size).expect("an echo") == message);
    }
}
