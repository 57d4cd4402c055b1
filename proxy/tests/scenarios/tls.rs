//! TLS: whose certificate, which versions, resumption, and what is not TLS at all.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Output,
    time::{Duration, Instant},
};

use rustls::{HandshakeKind, ProtocolVersion, version};

use crate::{
    client::Conn,
    edge::{Edge, Site},
    h2::{H2, client_config, https, tls},
    origin::{Origin, page},
    serving::{plain, smallest},
    tools::PATIENCE,
};

fn shop() -> Origin {
    Origin::start(|r| page(r.target.clone()).fresh(60))
}

/// A certificate for these names in a folder of the site.
fn certificate(site: &Site, folder: &str, names: &[&str]) {
    let mut arguments = vec!["dev-cert", "--force", "--out", folder];
    for name in names {
        arguments.extend(["--name", name]);
    }
    let made: Output = site.dhal(&arguments);
    assert!(made.status.success(), "{made:?}");
}

/// Three certificates: a default one, one by name and one by wildcard.
fn several(shop: &Origin) -> Site {
    let mut config = plain(shop) + "[[listeners]]\naddress = \"@https\"\ntls = true\n";
    for folder in ["default", "exact", "wild"] {
        config += &format!(
            "[[certificates]]\ncert = \"@dir/{folder}/dev.pem\"\nkey = \"@dir/{folder}/dev.key\"\n"
        );
    }
    let site = Site::new(&config);
    certificate(&site, "default", &["shop.example"]);
    certificate(&site, "exact", &["special.shop.example"]);
    certificate(&site, "wild", &["*.shop.example"]);
    site
}

/// The certificate that a name gets, by the folder it is in.
fn served(edge: &Edge, name: &str) -> String {
    let config = client_config(rustls::ALL_VERSIONS, &["http/1.1"]);
    let stream = tls(edge.site.https, name, &config).expect("a handshake");
    let leaf = &stream.conn.peer_certificates().expect("a chain")[0];
    let is = |folder: &&str| {
        let pem = std::fs::read(edge.site.path(&format!("{folder}/dev.pem"))).expect("a file");
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        CertificateDer::from_pem_slice(&pem).expect("a certificate") == *leaf
    };
    let found = ["default", "exact", "wild", "certs"]
        .iter()
        .filter(|f| edge.site.path(f).exists());
    found
        .copied()
        .find(|f| is(f))
        .unwrap_or("unknown")
        .to_owned()
}

#[test]
fn certificates_by_name() {
    let shop = shop();
    let edge = Edge::start_at(several(&shop));
    for (name, wanted) in [
        ("shop.example", "default"),
        ("special.shop.example", "exact"),
        ("SPECIAL.shop.example", "exact"),
        ("any.shop.example", "wild"),
        ("a.b.shop.example", "default"),
        ("unknown.example", "default"),
        ("127.0.0.1", "default"),
    ] {
        assert_eq!(served(&edge, name), wanted, "{name}");
    }
    let expiry = edge.site.path("wild/dev.pem");
    let series = format!(
        "dhal_certificate_expiry_timestamp_seconds{{certificate=\"{}\"}}",
        expiry.display()
    );
    assert!(edge.metric(&series) > Some(1.7e9));
}

#[test]
fn authorities_of_another_certificate_are_misdirected() {
    let shop = shop();
    let edge = Edge::start_at(several(&shop));
    let mut conn = https(edge.site.https, "special.shop.example");
    let mut ask = |host: &str| {
        conn.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        conn.response("GET").status
    };
    assert_eq!(ask("special.shop.example"), 200);
    assert_eq!(ask("any.shop.example"), 421);
    assert_eq!(ask("shop.example"), 421);
    assert_eq!(
        ask("SPECIAL.shop.example:443"),
        200,
        "the connection lives on"
    );
    let mut h2 = H2::connect_as(edge.site.https, "one.shop.example");
    assert_eq!(
        h2.get("https://two.shop.example/").status,
        200,
        "the same certificate"
    );
    assert_eq!(h2.get("https://special.shop.example/").status, 421);
    assert_eq!(h2.get("https://shop.example/").status, 421);
}

#[test]
fn versions_and_protocols() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    for (version, wanted) in [
        (&version::TLS12, ProtocolVersion::TLSv1_2),
        (&version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        for (alpn, chosen) in [
            (&["h2", "http/1.1"][..], Some("h2")),
            (&["http/1.1"], Some("http/1.1")),
            (&[], None),
        ] {
            let config = client_config(&[version], alpn);
            let stream = tls(edge.site.https, "shop.example", &config).expect("a handshake");
            assert_eq!(stream.conn.protocol_version(), Some(wanted));
            assert_eq!(stream.conn.alpn_protocol(), chosen.map(str::as_bytes));
            if chosen != Some("h2") {
                let socket = stream.sock.try_clone().expect("a second handle");
                assert_eq!(Conn::over(stream, socket).get("/").status, 200);
            }
        }
    }
    let config = client_config(&[&version::TLS13], &["spdy/3"]);
    assert!(
        tls(edge.site.https, "shop.example", &config).is_err(),
        "no common protocol"
    );
}

#[test]
fn sessions_resume_whatever_thread_they_meet() {
    let shop = shop();
    let edge = Edge::start_tls(&(plain(&shop) + "[server]\nthreads = 2\n"));
    for version in [&version::TLS12, &version::TLS13] {
        let config = client_config(&[version], &["http/1.1"]);
        for nth in 0..12 {
            let mut stream = tls(edge.site.https, "shop.example", &config).expect("a handshake");
            let request = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
            stream.write_all(request).expect("sent");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("a clean end of TLS");
            assert!(answer.starts_with(b"HTTP/1.1 200"));
            let kind = stream.conn.handshake_kind();
            let wanted = if nth == 0 {
                HandshakeKind::Full
            } else {
                HandshakeKind::Resumed
            };
            let retried = kind == Some(HandshakeKind::FullWithHelloRetryRequest) && nth == 0;
            assert!(
                kind == Some(wanted) || retried,
                "connection {nth}: {kind:?}"
            );
        }
    }
}

#[test]
fn what_is_no_tls_does_not_hang() {
    let shop = shop();
    let edge = Edge::start_tls(&(plain(&shop) + "[server]\nhandshake_timeout = \"3s\"\n"));
    let mut lost = Conn::open(edge.site.https);
    lost.request("GET", "/", &[]);
    let said = lost.rest().expect("an end");
    assert!(!said.starts_with(b"HTTP/1.1 200"));
    let began = Instant::now();
    let mut silent = TcpStream::connect(edge.site.https).expect("accepted");
    silent.set_read_timeout(Some(PATIENCE)).expect("an option");
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
    // Without the setting it would be ten seconds.
    assert!((Duration::from_secs(3)..Duration::from_secs(9)).contains(&began.elapsed()));
    // Over HTTP/2 the preface has the same bound.
    let config = client_config(rustls::ALL_VERSIONS, &["h2"]);
    let mut mute = tls(edge.site.https, "shop.example", &config).expect("a handshake");
    let began = Instant::now();
    let mut rest = Vec::new();
    let _ = mute.read_to_end(&mut rest);
    assert!(began.elapsed() < Duration::from_secs(9));
    crate::tools::eventually("it is counted", || {
        edge.metric("dhal_tls_handshake_failures_total") >= Some(2.0)
    });
    assert_eq!(https(edge.site.https, "shop.example").get("/").status, 200);
}

#[test]
fn plain_http_is_redirected() {
    let shop = shop();
    let config = plain(&shop)
        + "[[listeners]]\naddress = \"@http\"\nredirect_to_https = true\n[[listeners]]\naddress = \"@admin\"\nredirect_to_https = true\nhttps_port = 8443\n";
    let edge = Edge::start(&config);
    let answer = edge.get("/a/../b?c=d");
    assert_eq!(answer.status, 301);
    assert_eq!(answer.field("location"), Some("https://shop.example/b?c=d"));
    assert_eq!(edge.ask("HEAD", "/", &[]).status, 301);
    let mut conn = Conn::open(edge.site.admin_tcp);
    conn.send("POST /form HTTP/1.1\r\nHost: shop.example:8080\r\nContent-Length: 3\r\n\r\nabc");
    let posted = conn.response("POST");
    assert_eq!(posted.status, 308);
    assert_eq!(
        posted.field("location"),
        Some("https://shop.example:8443/form")
    );
    let mut conn = edge.connect();
    conn.send("GET / HTTP/1.1\r\nHost: evil.example/x\r\n\r\n");
    assert_eq!(conn.response("GET").status, 400);
    assert_eq!(shop.bytes(), 0);
}

#[test]
fn a_replaced_certificate_is_for_new_connections() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    assert_eq!(served(&edge, "shop.example"), "certs");
    let mut old = https(edge.site.https, "shop.example");
    let mut h2 = H2::connect(edge.site.https);
    assert_eq!((old.get("/").status, h2.get("/").status), (200, 200));

    certificate(&edge.site, "certs", &["shop.example", "new.example"]);
    assert!(edge.site.dhal(&["reload"]).status.success());
    assert_eq!(served(&edge, "shop.example"), "certs");
    assert!(
        old.get("/").is_hit() && h2.get("/").is_hit(),
        "they live on"
    );

    std::fs::write(edge.site.path("certs/dev.pem"), "broken").expect("a file");
    assert_eq!(edge.site.dhal(&["reload"]).status.code(), Some(1));
    assert_eq!(https(edge.site.https, "shop.example").get("/").status, 200);
}

#[test]
fn requests_of_all_kinds_over_tls() {
    let shop = Origin::start(|r| page(format!("{} {}", r.target, r.body.len())));
    let edge = Edge::start_tls(&plain(&shop));
    let mut conn = https(edge.site.https, "shop.example");
    for round in 0..5 {
        assert_eq!(conn.get("/a").text(), "/a 0");
        let body = "x".repeat(round * 30_000);
        conn.request("POST", "/b", &[("Content-Length", &body.len().to_string())]);
        conn.send(&body);
        assert_eq!(conn.response("POST").text(), format!("/b {}", body.len()));
    }
    conn.request("GET", "/last", &[("Connection", "close")]);
    assert_eq!(conn.response("GET").text(), "/last 0");
    conn.ends();
}

#[test]
fn the_smallest_configuration_needs_no_certificate() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    assert_eq!(edge.get("/").status, 200);
    let broken = Site::new(&(plain(&shop) + "[[listeners]]\naddress = \"@https\"\ntls = true\n"));
    assert_eq!(broken.dhal(&["check"]).status.code(), Some(1));
}
