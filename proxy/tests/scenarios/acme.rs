//! Certificates from a real authority: Pebble, with a front of ours that can be told to be unwell.

use nix::sys::signal::Signal;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{
    acme_authority::{
        Ca, LISTENERS, Mood, authoritative, authoritative_with, has, leaf, mode, names_of, orders,
        shop, stored,
    },
    dns::Says,
    edge::{Edge, Site},
    h2::{https, tls},
    secure::Authority,
    serving::plain,
    tools::eventually,
};

#[test]
fn http_01_with_several_names_and_a_restart() {
    let shop = shop();
    let site = Site::new("");
    let Some(ca) = Ca::start(&site, false) else {
        return;
    };
    let all = ["shop.example", "www.shop.example", "api.example"];
    ca.lead(&all, site.http);
    let names = r#"[["shop.example", "www.shop.example"], ["api.example"]]"#;
    site.configure(&(plain(&shop) + LISTENERS + &ca.section(names, "")));

    let check = site.dhal(&["check"]);
    let said = String::from_utf8_lossy(&check.stdout);
    let directory = format!("would be ordered from https://{}/dir by http-01", ca.front);
    assert!(check.status.success(), "{check:?}");
    assert!(
        said.contains(&format!("acme: api.example: {directory}")),
        "{said}"
    );
    assert_eq!(ca.requests.connections(), 0, "a check asks nobody");
    assert!(!site.path("acme").exists());

    let mut edge = Edge::start_at(site);
    all.iter().for_each(|name| has(&edge, name));
    let shop_leaf = leaf(&edge, "shop.example").expect("served");
    assert_eq!(names_of(&shop_leaf), ["shop.example", "www.shop.example"]);
    assert_eq!(leaf(&edge, "WWW.shop.example"), Some(shop_leaf.clone()));
    let api = leaf(&edge, "api.example").expect("served");
    assert_eq!(names_of(&api), ["api.example"]);
    assert!(leaf(&edge, "unknown.example").is_none(), "not for anybody");
    assert!(
        leaf(&edge, "127.0.0.1").is_some(),
        "who names nobody gets the first"
    );

    let mut conn = https(edge.site.https, "shop.example");
    let mut ask = |host: &str| {
        conn.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        conn.response("GET").status
    };
    assert_eq!(ask("shop.example"), 200);
    assert_eq!(ask("www.shop.example"), 200);
    assert_eq!(ask("api.example"), 421, "it has a certificate of its own");

    // Tokens that are not ours are anybody's.
    let unknown = edge.get("/.well-known/acme-challenge/somebody-elses");
    assert_eq!(unknown.status, 301);

    eventually("both are counted", || orders(&edge, "issued") == 2.0);
    assert_eq!(orders(&edge, "refused"), 0.0);
    let told = edge.site.dhal(&["acme", "status"]);
    assert!(told.status.success(), "{told:?}");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.contains("shop.example, www.shop.example: valid until"),
        "{told}"
    );
    let status = edge.site.dhal(&["status"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("acme      api.example: valid"));
    eventually("both are stored", || stored(&edge, ".pem").len() == 2);
    let files = stored(&edge, ".pem");
    for file in &files {
        assert_eq!(mode(file), 0o600, "{}", file.display());
        for gauge in ["certificate_expiry", "acme_next_renewal"] {
            let series = format!(
                "dhal_{gauge}_timestamp_seconds{{certificate=\"{}\"}}",
                file.display()
            );
            assert!(edge.metric(&series) > Some(1.7e9), "{series}");
        }
    }
    for (folder, wanted) in [
        ("acme", 0o700),
        ("acme/accounts", 0o700),
        ("acme/lock", 0o600),
    ] {
        assert_eq!(mode(&edge.site.path(folder)), wanted, "{folder}");
    }

    // With the authority gone, a restart shows what is stored, at once.
    let before = ca.orders();
    ca.be(Mood::Broken);
    edge.restart(Signal::SIGTERM);
    assert_eq!(leaf(&edge, "shop.example"), Some(shop_leaf.clone()));
    assert_eq!(leaf(&edge, "api.example"), Some(api.clone()));
    let check = edge.site.dhal(&["check"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("api.example: stored, valid until"), "{said}");

    // A reload orders what is new, and only that.
    ca.be(Mood::Well);
    ca.lead(&["new.example"], edge.site.http);
    let names = r#"[["new.example"], ["www.shop.example", "shop.example"]]"#;
    let reloaded = edge.reload(&(plain(&shop) + LISTENERS + &ca.section(names, "")));
    assert!(reloaded.status.success(), "{reloaded:?}");
    has(&edge, "new.example");
    assert_eq!(ca.orders(), before + 1);
    assert_eq!(leaf(&edge, "shop.example"), Some(shop_leaf));
    assert!(
        leaf(&edge, "api.example").is_none(),
        "it is not wanted any more"
    );
}

#[test]
fn tls_alpn_01_with_an_external_account() {
    let shop = shop();
    let site = Site::new("");
    let Some(ca) = Ca::start(&site, true) else {
        return;
    };
    // As long as nobody says where it is, the authority looks, and the challenge is there to be seen.
    ca.dns.say("shop.example", Says::Nothing);
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W\n";
    std::fs::write(site.path("hmac"), key).expect("written");
    let more =
        "challenge = \"tls-alpn-01\"\neab = { key_id = \"kid-1\", hmac_file = \"@dir/hmac\" }";
    site.configure(
        &(plain(&shop) + LISTENERS + &ca.section(r#"[["shop.example"], ["late.example"]]"#, more)),
    );
    let edge = Edge::start_at(site);
    let alone = authoritative(&["acme-tls/1"]);
    let among = authoritative(&["acme-tls/1", "spdy/3"]);
    let mut stream = None;
    eventually("a challenge is shown", || {
        stream = tls(edge.site.https, "shop.example", &alone).ok();
        stream.is_some()
    });
    let mut stream = stream.expect("a handshake");
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    let shown = stream.conn.peer_certificates().expect("a chain")[0].to_vec();
    assert_eq!(names_of(&shown), ["shop.example"]);
    let (_, parsed) = X509Certificate::from_der(&shown).expect("a certificate");
    let proof = parsed.extensions().iter();
    let mut proof = proof.filter(|e| e.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
    assert!(proof.next().is_some_and(|e| e.critical));
    let mut rest = Vec::new();
    let end = std::io::Read::read_to_end(&mut stream, &mut rest);
    assert_eq!(
        (end.ok(), rest.len()),
        (Some(0), 0),
        "the connection is closed"
    );
    assert!(tls(edge.site.https, "shop.example", &among).is_err());
    assert!(tls(edge.site.https, "other.example", &alone).is_err());
    assert!(
        leaf(&edge, "shop.example").is_none(),
        "visitors see none of it"
    );

    ca.lead(&["shop.example", "late.example"], edge.site.https);
    let renewed = edge.site.dhal(&["acme", "renew", "shop.example"]);
    assert!(renewed.status.success(), "{renewed:?}");
    has(&edge, "shop.example");
    has(&edge, "late.example");
    assert!(
        tls(edge.site.https, "shop.example", &alone).is_err(),
        "it is over"
    );
    let both = authoritative(&["acme-tls/1", "h2"]);
    let stream = tls(edge.site.https, "shop.example", &both).expect("a handshake");
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
}

/// Behind one balancer: a host that orders, and another one that the authority comes to.
#[test]
fn another_host_passes_challenges_on() {
    let shop = shop();
    let (ordering, other) = (Site::new(""), Site::new(""));
    let Some(ca) = Ca::start(&other, false) else {
        return;
    };
    ca.lead(&["shop.example"], other.http);
    let section = ca.section(r#"[["shop.example"]]"#, "");
    ordering.configure(&(plain(&shop) + LISTENERS + &section));
    let orders_at = ordering.http;
    let config = |more: &str| {
        format!(
            "{}[upstreams.orders]\nservers = [\"{orders_at}\"]\n\
             [[routes]]\npath = \"/.well-known/acme-challenge/*\"\nupstream = \"orders\"\n{more}",
            plain(&shop)
        )
    };
    other.configure(&config(""));
    let other = Edge::start_at(other);
    let ordering = Edge::start_at(ordering);
    has(&ordering, "shop.example");
    eventually("it is written down", || {
        !stored(&ordering, ".pem").is_empty()
    });
    // What was issued is a file for the other one, with all that it needs.
    eventually("it is written down", || {
        stored(&ordering, ".pem").len() == 1
    });
    let issued = stored(&ordering, ".pem").remove(0);
    std::fs::copy(issued, other.site.path("shop.pem")).expect("copied");
    let tls = "[[certificates]]\ncert = \"@dir/shop.pem\"\nkey = \"@dir/shop.pem\"\n";
    let output = other.reload(&config(&(LISTENERS.to_owned() + tls)));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        leaf(&other, "shop.example"),
        leaf(&ordering, "shop.example")
    );
}

/// An authority has no certificate to show to who asks visitors for one.
#[test]
fn tls_alpn_01_where_visitors_must_show_certificates() {
    let shop = shop();
    let site = Site::new("");
    let Some(ca) = Ca::start(&site, false) else {
        return;
    };
    Authority::new("clients").write(&site.path("clients.pem"));
    // As long as nobody says where it is, the authority looks, and the challenge is there to be seen.
    ca.dns.say("shop.example", Says::Nothing);
    let listeners = LISTENERS.to_owned() + "client_auth = { ca = \"@dir/clients.pem\" }\n";
    let section = ca.section(r#"[["shop.example"]]"#, "challenge = \"tls-alpn-01\"");
    site.configure(&(plain(&shop) + &listeners + &section));
    let edge = Edge::start_at(site);
    // With TLS 1.2 a client knows at the end of the handshake whether it was let in.
    let alone = authoritative_with(&[&rustls::version::TLS12], &["acme-tls/1"]);
    eventually("a challenge is shown", || {
        tls(edge.site.https, "shop.example", &alone).is_ok()
    });
    ca.lead(&["shop.example"], edge.site.https);
    eventually("it is issued", || orders(&edge, "issued") == 1.0);
    // Everybody else must show one, also who says to be an authority and offers more.
    for alpn in [&["http/1.1"][..], &["acme-tls/1", "http/1.1"]] {
        let stream = tls(edge.site.https, "shop.example", &authoritative(alpn));
        let answered = stream.and_then(|mut stream| {
            use std::io::{Read, Write};
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")?;
            stream.read_to_end(&mut Vec::new())
        });
        assert!(answered.is_err(), "{alpn:?}");
    }
    assert!(shop.seen().is_empty());
}
