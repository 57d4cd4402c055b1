//! Certificates that are replaced on disk while the edge runs, folders of them, profiles, and what a check finds.

use std::{
    io::{Read, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{ClientConfig, HandshakeKind, pki_types::CertificateDer, version};

use crate::{
    client::Conn,
    edge::{Edge, Site},
    h2::{H2, client_config, https, tls},
    origin::{Origin, page},
    secure::{Authority, Identity},
    serving::plain,
    tools::eventually,
};

const DAY: Duration = Duration::from_secs(86_400);

/// A configuration with a pair in `pair.pem` and `pair.key`.
fn with_pair(shop: &Origin) -> Site {
    Site::new(
        &(plain(shop)
            + "[[listeners]]\naddress = \"@http\"\n[[listeners]]\naddress = \"@https\"\ntls = true\n\
               [[certificates]]\ncert = \"@dir/pair.pem\"\nkey = \"@dir/pair.key\"\n"),
    )
}

fn shop() -> Origin {
    Origin::start(|r| page(r.target.clone()).fresh(60))
}

fn write(site: &Site, identity: &Identity, name: &str) {
    let file = |ending: &str| site.path(&format!("{name}.{ending}"));
    identity.write(&file("pem"), &file("key"));
}

/// The certificate that a new connection gets.
fn served(site: &Site, name: &str, config: &Arc<ClientConfig>) -> CertificateDer<'static> {
    let stream = tls(site.https, name, config).expect("a handshake");
    let chain = stream.conn.peer_certificates().expect("a chain");
    chain[0].clone().into_owned()
}

fn fresh() -> Arc<ClientConfig> {
    client_config(rustls::ALL_VERSIONS, &["http/1.1"])
}

fn eventually_served(site: &Site, name: &str, identity: &Identity) {
    eventually("the new certificate is served", || {
        served(site, name, &fresh()) == *identity.cert.der()
    });
}

#[test]
fn replaced_under_load_without_a_failure() {
    let shop = shop();
    let authority = Authority::new("test");
    let site = with_pair(&shop);
    write(&site, &authority.server(&["shop.example"]), "pair");
    let edge = Edge::start_at(site);
    let address = edge.site.https;
    let over = Arc::new(AtomicBool::new(false));
    let answers = Arc::new(AtomicUsize::new(0));
    let worker = |work: fn(std::net::SocketAddr, &dyn Fn() -> bool)| {
        let (over, answers) = (Arc::clone(&over), Arc::clone(&answers));
        thread::spawn(move || {
            work(address, &|| {
                answers.fetch_add(1, Ordering::SeqCst);
                !over.load(Ordering::SeqCst)
            });
        })
    };
    let workers = [
        // One connection for all requests.
        worker(|address, go_on| {
            let mut conn = https(address, "shop.example");
            while go_on() {
                assert_eq!(conn.get("/a").status, 200);
            }
        }),
        worker(|address, go_on| {
            let mut conn = H2::connect(address);
            while go_on() {
                assert_eq!(conn.get("/a").status, 200);
            }
        }),
        // A connection for each.
        worker(|address, go_on| {
            while go_on() {
                assert_eq!(https(address, "shop.example").get("/a").status, 200);
            }
        }),
        worker(|address, go_on| {
            let config = client_config(rustls::ALL_VERSIONS, &["http/1.1"]);
            let mut full = 0;
            while go_on() {
                let mut stream = tls(address, "shop.example", &config).expect("a handshake");
                let request = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
                stream.write_all(request).expect("sent");
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).expect("a clean end of TLS");
                assert!(answer.starts_with(b"HTTP/1.1 200"));
                full += usize::from(stream.conn.handshake_kind() != Some(HandshakeKind::Resumed));
            }
            assert_eq!(full, 1, "sessions outlive certificates");
        }),
    ];
    for round in 0..3 {
        let next = authority.server(&["shop.example", &format!("round{round}.example")]);
        if round == 1 {
            // One after the other, with a pause in which they do not fit.
            std::fs::write(edge.site.path("pair.pem"), next.cert.pem()).expect("written");
            eventually("the half pair is noticed", || {
                let path = edge.site.path("pair.pem");
                let series = format!("dhal_certificate_errors{{path=\"{}\"}}", path.display());
                edge.metric(&series) == Some(1.0)
            });
            std::fs::write(edge.site.path("pair.key"), next.key.serialize_pem()).expect("written");
        } else {
            write(&edge.site, &next, "new");
            for ending in ["key", "pem"] {
                let (from, to) = (format!("new.{ending}"), format!("pair.{ending}"));
                std::fs::rename(edge.site.path(&from), edge.site.path(&to)).expect("renamed");
            }
        }
        eventually_served(&edge.site, "shop.example", &next);
    }
    over.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.join().expect("no failure");
    }
    assert!(answers.load(Ordering::SeqCst) > 100);
    assert_eq!(edge.metric("dhal_tls_handshake_failures_total"), Some(0.0));
}

#[test]
fn a_pair_that_does_not_fit_keeps_the_old_one() {
    let shop = shop();
    let authority = Authority::new("test");
    let site = with_pair(&shop);
    let old = authority.server(&["shop.example"]);
    write(&site, &old, "pair");
    let edge = Edge::start_at(site);
    let path = edge.site.path("pair.pem");
    let series = format!("dhal_certificate_errors{{path=\"{}\"}}", path.display());
    let next = authority.server(&["shop.example", "next.example"]);
    let broken = |text: &str| {
        std::fs::write(&path, text).expect("written");
        eventually("it is told", || edge.metric(&series) == Some(1.0));
        assert_eq!(
            served(&edge.site, "shop.example", &fresh()),
            *old.cert.der()
        );
        let status = String::from_utf8(edge.site.dhal(&["status"]).stdout).expect("text");
        assert!(status.contains("NOT REPLACED: "), "{status}");
        status
    };
    let status = broken("no certificate");
    assert!(status.contains("holds no certificate"), "{status}");
    // Another content, and the next of the same one is not told again.
    std::fs::write(&path, next.cert.pem()).expect("written");
    let told = || edge.stderr().matches("cannot be used").count();
    eventually("it is told once more", || told() == 2);
    let status = String::from_utf8(edge.site.dhal(&["status"]).stdout).expect("text");
    assert!(status.contains("does not belong to"), "{status}");
    assert_eq!(
        served(&edge.site, "shop.example", &fresh()),
        *old.cert.der()
    );
    std::fs::write(edge.site.path("pair.key"), next.key.serialize_pem()).expect("written");
    eventually_served(&edge.site, "shop.example", &next);
    eventually("the error is over", || edge.metric(&series).is_none());
    assert_eq!(told(), 2, "{}", edge.stderr());
    let status = String::from_utf8(edge.site.dhal(&["status"]).stdout).expect("text");
    assert!(!status.contains("NOT REPLACED"), "{status}");
    assert!(
        status.contains("shop.example, next.example: until "),
        "{status}"
    );
    assert!(status.contains("issued by CN=test"), "{status}");
    // Gone altogether.
    std::fs::remove_file(&path).expect("removed");
    eventually("it is told", || edge.metric(&series) == Some(1.0));
    assert_eq!(
        served(&edge.site, "shop.example", &fresh()),
        *next.cert.der()
    );
}

/// `live/NAME/` with links into `archive/NAME/`, as certbot keeps them.
fn certbot(site: &Site, name: &str, round: usize, identity: &Identity) {
    let (live, archive) = (site.path(&format!("live/{name}")), site.path("archive"));
    std::fs::create_dir_all(&live).expect("a folder");
    std::fs::create_dir_all(&archive).expect("a folder");
    let file = |what: &str| archive.join(format!("{name}-{what}{round}.pem"));
    identity.write(&file("fullchain"), &file("privkey"));
    for what in ["privkey", "fullchain"] {
        let link = live.join(format!("{what}.pem"));
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(file(what), link).expect("a link");
    }
}

#[test]
fn folders_of_pairs() {
    let shop = shop();
    let authority = Authority::new("test");
    let site = Site::new(
        &(plain(&shop)
            + "[[listeners]]\naddress = \"@https\"\ntls = true\n\
               [[certificates]]\nfolder = \"@dir/live\"\n[[certificates]]\nfolder = \"@dir/more\"\n"),
    );
    std::fs::create_dir_all(site.path("more")).expect("a folder");
    let a = authority.server(&["a.example", "*.a.example"]);
    let b = authority.server(&["b.example"]);
    certbot(&site, "a.example", 1, &a);
    b.write(&site.path("more/b.pem"), &site.path("more/b.key"));
    std::fs::write(site.path("live/README"), "about certbot").expect("written");
    std::fs::write(site.path("more/bad.pem"), "bad").expect("written");
    std::fs::write(site.path("more/bad.key"), "bad").expect("written");
    let edge = Edge::start_at(site);
    let is = |name: &str, identity: &Identity| {
        served(&edge.site, name, &fresh()) == *identity.cert.der()
    };
    assert!(is("a.example", &a) && is("www.a.example", &a) && is("b.example", &b));
    assert!(is("unknown.example", &a), "the first is the default");
    let status = String::from_utf8(edge.site.dhal(&["status"]).stdout).expect("text");
    assert!(status.contains("NOT SERVED: "), "{status}");
    // Links that lead elsewhere, a new pair, and one that is mended.
    let renewed = authority.server(&["a.example", "*.a.example"]);
    certbot(&edge.site, "a.example", 2, &renewed);
    let c = authority.server(&["c.example"]);
    c.write(&edge.site.path("more/c.pem"), &edge.site.path("more/c.key"));
    let bad = authority.server(&["mended.example"]);
    bad.write(
        &edge.site.path("more/bad.pem"),
        &edge.site.path("more/bad.key"),
    );
    eventually_served(&edge.site, "a.example", &renewed);
    eventually_served(&edge.site, "c.example", &c);
    eventually_served(&edge.site, "mended.example", &bad);
    // A pair that goes is served for a while, and then not any more.
    std::fs::remove_file(edge.site.path("more/c.pem")).expect("removed");
    std::fs::remove_file(edge.site.path("more/c.key")).expect("removed");
    assert!(is("c.example", &c));
    eventually_served(&edge.site, "c.example", &renewed);
    // A folder that goes altogether changes nothing.
    std::fs::rename(edge.site.path("live"), edge.site.path("away")).expect("renamed");
    eventually("it is told", || {
        edge.admin("GET", "/status").1.contains("No such file")
    });
    assert!(is("a.example", &renewed));
}

#[test]
fn modern_refuses_what_is_old() {
    let shop = shop();
    let config = plain(&shop)
        + "[tls]\nprofile = \"modern\"\n\
           [[listeners]]\naddress = \"@http\"\ntls = true\ntls_profile = \"intermediate\"\n";
    let edge = Edge::start_tls(&config.replace("address = \"@http\"", "address = \"@admin\""));
    let old = client_config(&[&version::TLS12], &["http/1.1"]);
    let new = client_config(&[&version::TLS13], &["http/1.1"]);
    let ask = |address, config| {
        let stream = tls(address, "shop.example", config).map_err(|why| why.to_string())?;
        let socket = stream.sock.try_clone().expect("a second handle");
        Ok::<_, String>(Conn::over(stream, socket).get("/").status)
    };
    assert_eq!(ask(edge.site.https, &new), Ok(200));
    let refused = ask(edge.site.https, &old).expect_err("refused");
    assert!(refused.contains("ProtocolVersion"), "{refused}");
    assert_eq!(ask(edge.site.admin_tcp, &old), Ok(200));
    assert_eq!(ask(edge.site.admin_tcp, &new), Ok(200));
}

#[test]
fn a_check_finds_everything_at_once() {
    let shop = shop();
    let authority = Authority::new("test");
    let config = r#"
        [[listeners]]
        address = "@https"
        tls = true
        client_auth = { ca = "@dir/ca.pem", crl = "@dir/ca.crl" }
        [[certificates]]
        cert = "@dir/expired.pem"
        key = "@dir/expired.key"
        [[certificates]]
        cert = "@dir/soon.pem"
        key = "@dir/soon.key"
        [[certificates]]
        cert = "@dir/soon.pem"
        key = "@dir/expired.key"
        [[certificates]]
        cert = "@dir/none.pem"
        key = "@dir/none.key"
        [[certificates]]
        folder = "@dir/folder"
        [[routes]]
        host = "uncovered.example"
        upstream = "shop"
        [[routes]]
        host = "soon.example"
        upstream = "shop"
    "#;
    let site = Site::new(&(plain(&shop) + config));
    write(
        &site,
        &authority.identity(&["expired.example"], Err(3 * DAY)),
        "expired",
    );
    write(
        &site,
        &authority.identity(&["soon.example"], Ok(DAY * 13 / 2)),
        "soon",
    );
    std::fs::create_dir_all(site.path("folder")).expect("a folder");
    std::fs::write(site.path("folder/alone.pem"), "").expect("written");
    authority.write(&site.path("ca.pem"));
    let old = authority.revocations(&[], Duration::ZERO);
    std::fs::write(site.path("ca.crl"), old).expect("written");
    let checked = site.dhal(&["check"]);
    assert_eq!(checked.status.code(), Some(1));
    let said = String::from_utf8(checked.stderr).expect("text");
    let file = Path::new(&site.path("dhal.toml")).display().to_string();
    for part in [
        "expired.pem expired 3 days ago",
        "soon.pem expires in 6 days",
        "expired.key: the private key does not belong to the certificate",
        "there is no file",
        "none.key",
        "alone.pem has no key beside it",
        "there is no pair in this folder",
        "no certificate is for uncovered.example",
        "is out of date since 1 hour",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    assert!(
        !said.contains("no certificate is for soon.example"),
        "{said}"
    );
    let line = site.read("dhal.toml");
    let number = line
        .lines()
        .position(|l| l.contains("expired.pem"))
        .expect("a line")
        + 1;
    let place = format!("{file}:{number}:");
    assert!(said.contains(&place), "{place} in\n{said}");
    // What is only about to go wrong is no error.
    let fine = Site::new(
        &(plain(&shop)
            + "[[listeners]]\naddress = \"@https\"\ntls = true\n\
               [[certificates]]\ncert = \"@dir/soon.pem\"\nkey = \"@dir/soon.key\"\n"),
    );
    write(
        &fine,
        &authority.identity(&["soon.example"], Ok(DAY * 13 / 2)),
        "soon",
    );
    let checked = fine.dhal(&["check"]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stderr).contains("warning: "));
}
