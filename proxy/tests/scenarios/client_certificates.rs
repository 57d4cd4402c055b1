//! Visitors that are asked for certificates: by listener and by host, over HTTP/1.1 and HTTP/2.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, HandshakeKind, version};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{
    client::{Conn, Response},
    edge::{Edge, Site},
    h2::{H2, client_config, https, showing, tls},
    origin::{Origin, page},
    secure::{Authority, Identity},
    serving::plain,
    tools::eventually,
};

const HOUR: Duration = Duration::from_secs(3_600);

fn shop() -> Origin {
    Origin::start(|r| page(r.target.clone()))
}

/// A listener that asks for certificates, and one without TLS.
fn asking(shop: &Origin, client_auth: &str, clients: &Authority) -> Site {
    let site = Site::new(&format!(
        "{}[[listeners]]\naddress = \"@http\"\n\
         [[listeners]]\naddress = \"@https\"\ntls = true\nclient_auth = {client_auth}\n\
         [[certificates]]\ncert = \"@dir/pair.pem\"\nkey = \"@dir/pair.key\"\n",
        plain(shop)
    ));
    clients.write(&site.path("clients.pem"));
    let own = Authority::new("server").server(&["shop.example"]);
    own.write(&site.path("pair.pem"), &site.path("pair.key"));
    site
}

fn h1(identity: Option<&Identity>) -> Arc<ClientConfig> {
    showing(rustls::ALL_VERSIONS, &["http/1.1"], identity)
}

fn conn(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Conn {
    let stream = tls(address, name, config).expect("a handshake");
    let socket = stream.sock.try_clone().expect("a second handle");
    Conn::over(stream, socket)
}

fn ask(conn: &mut Conn, host: &str) -> Response {
    conn.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    conn.response("GET")
}

/// What a client that is not let in hears.
fn refusal(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> String {
    let mut stream = match tls(address, name, config) {
        Ok(stream) => stream,
        Err(why) => return why.to_string(),
    };
    // With TLS 1.3 a client is done before its certificate is looked at.
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => format!("an answer: {}", String::from_utf8_lossy(&answer)),
        Err(why) => why.to_string(),
    }
}

#[test]
fn who_must_show_a_certificate() {
    let shop = shop();
    let clients = Authority::new("clients");
    let edge = Edge::start_at(asking(&shop, "{ ca = \"@dir/clients.pem\" }", &clients));
    let address = edge.site.https;
    let good = clients.identity(&["client.example"], Ok(HOUR));
    let answer = conn(address, "shop.example", &h1(Some(&good))).get("/");
    assert_eq!(answer.status, 200);
    let seen = shop.last();
    let (_, parsed) = X509Certificate::from_der(good.cert.der()).expect("a certificate");
    let digits = |octets: &[u8]| {
        octets
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>()
    };
    let serial = digits(parsed.tbs_certificate.raw_serial());
    for (name, value) in [
        ("x-client-verify", "SUCCESS"),
        ("x-client-subject", "CN=rcgen self signed cert"),
        ("x-client-issuer", "CN=clients"),
        ("x-client-san", "DNS:client.example"),
        ("x-client-serial", &serial),
    ] {
        assert_eq!(seen.fields(name), [value], "{name}");
    }
    assert_eq!(seen.field("x-client-fingerprint").map(str::len), Some(64));
    let whole = seen.field("client-cert").expect("RFC 9440");
    assert!(whole.starts_with(":MII") && whole.ends_with(':'), "{whole}");
    let mut h2 = H2::connect_with(
        address,
        "shop.example",
        showing(rustls::ALL_VERSIONS, &["h2"], Some(&good)),
    );
    assert_eq!(h2.get("/h2").status, 200);
    assert_eq!(shop.last().field("client-cert"), Some(whole));
    eventually("the log names the subject", || {
        let lines = edge.log();
        let with = |line: &&serde_json::Value| line["client_cert"] == "CN=rcgen self signed cert";
        lines.iter().filter(with).count() == 2
    });

    let expired = clients.identity(&["client.example"], Err(HOUR));
    let strange = Authority::new("others").identity(&["client.example"], Ok(HOUR));
    for (identity, reason, alert) in [
        (None, "none", "CertificateRequired"),
        (Some(&expired), "expired", "CertificateExpired"),
        (Some(&strange), "unknown_issuer", "UnknownCA"),
    ] {
        for version in [&version::TLS12, &version::TLS13] {
            for alpn in ["http/1.1", "h2"] {
                let config = showing(&[version], &[alpn], identity);
                let said = refusal(address, "shop.example", &config);
                // TLS 1.2 has no alert for having shown none.
                assert!(said.contains("alert"), "{reason}: {said}");
                if version.version == rustls::ProtocolVersion::TLSv1_3 {
                    assert!(said.contains(alert), "{reason}: {said}");
                }
            }
        }
        let series = format!("dhal_client_certificates_refused_total{{reason=\"{reason}\"}}");
        eventually("it is counted", || edge.metric(&series) == Some(4.0));
    }
    assert_eq!(shop.seen().len(), 2, "nobody else has reached the shop");
}

#[test]
fn who_may_show_a_certificate() {
    let shop = shop();
    let clients = Authority::new("clients");
    let auth = "{ ca = \"@dir/clients.pem\", mode = \"optional\" }";
    let edge = Edge::start_at(asking(&shop, auth, &clients));
    let good = clients.identity(&["client.example"], Ok(HOUR));
    let forged = [
        ("Client-Cert", ":AAAA:"),
        ("client-cert-chain", ":AAAA:"),
        ("X-Client-Verify", "SUCCESS"),
        ("x-client-subject", "CN=admin"),
        ("X-CLIENT-ISSUER", "CN=clients"),
        ("X-Client-Serial", "01"),
        ("X-Client-Fingerprint", "00"),
        ("X-Client-SAN", "DNS:admin"),
        ("X_Client_Verify", "SUCCESS"),
    ];
    let given = |seen: &crate::origin::Seen| {
        let all = forged.iter().flat_map(|(name, _)| seen.fields(name));
        all.map(str::to_owned).collect::<Vec<_>>()
    };
    for (identity, verdict) in [(None, "NONE"), (Some(&good), "SUCCESS")] {
        let mut conn = conn(edge.site.https, "shop.example", &h1(identity));
        conn.request("GET", "/h1", &forged);
        assert_eq!(conn.response("GET").status, 200);
        let h1_seen = shop.last();
        let config = showing(rustls::ALL_VERSIONS, &["h2"], identity);
        let mut h2 = H2::connect_with(edge.site.https, "shop.example", config);
        assert_eq!(
            h2.ask("GET", "/h2", &forged, None)
                .expect("an answer")
                .status,
            200
        );
        for seen in [h1_seen, shop.last()] {
            assert_eq!(seen.fields("x-client-verify"), [verdict]);
            let others = given(&seen).into_iter().filter(|value| value != verdict);
            let others: Vec<_> = others.collect();
            assert_eq!(
                others.len(),
                if identity.is_some() { 6 } else { 0 },
                "{others:?}"
            );
            assert!(!others.contains(&"CN=admin".to_owned()));
        }
    }
    // On a connection where nobody is asked, nobody says anything of it.
    edge.ask("GET", "/plain", &forged);
    assert_eq!(given(&shop.last()), Vec::<String>::new());
    // A wrong one is refused all the same.
    let strange = Authority::new("others").identity(&["client.example"], Ok(HOUR));
    let said = refusal(edge.site.https, "shop.example", &h1(Some(&strange)));
    assert!(said.contains("alert"), "{said}");
}

/// `*.shop.example` and `other.example` are for all, `admin.shop.example` is for those with a certificate.
fn by_host(shop: &Origin, mode: &str, clients: &Authority) -> Site {
    let mut config = plain(shop)
        + "[[listeners]]\naddress = \"@http\"\n[[listeners]]\naddress = \"@https\"\ntls = true\n";
    for (name, auth) in [
        ("wild", String::new()),
        ("other", String::new()),
        (
            "admin",
            format!("client_auth = {{ ca = \"@dir/clients.pem\", mode = \"{mode}\" }}\n"),
        ),
    ] {
        config += &format!(
            "[[certificates]]\ncert = \"@dir/{name}.pem\"\nkey = \"@dir/{name}.key\"\n{auth}"
        );
    }
    let site = Site::new(&config);
    clients.write(&site.path("clients.pem"));
    let authority = Authority::new("server");
    for (name, host) in [
        ("wild", "*.shop.example"),
        ("other", "other.example"),
        ("admin", "admin.shop.example"),
    ] {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        let identity = authority.server(&[host]);
        identity.write(&site.path(&cert), &site.path(&key));
    }
    site
}

#[test]
fn a_host_that_asks_is_not_reached_by_another_name() {
    let shop = shop();
    let clients = Authority::new("clients");
    let edge = Edge::start_at(by_host(&shop, "require", &clients));
    let address = edge.site.https;
    let good = clients.identity(&["client.example"], Ok(HOUR));
    let (with, without) = (h1(Some(&good)), h1(None));
    // Of one's own name.
    let mut admin = conn(address, "admin.shop.example", &with);
    assert_eq!(ask(&mut admin, "admin.shop.example").status, 200);
    assert_eq!(shop.last().field("x-client-verify"), Some("SUCCESS"));
    assert_eq!(ask(&mut admin, "ADMIN.shop.example:443").status, 200);
    assert_eq!(ask(&mut admin, "www.shop.example").status, 421);
    let said = refusal(address, "admin.shop.example", &without);
    assert!(said.contains("CertificateRequired"), "{said}");
    let before = shop.seen().len();
    // Of others' names, and of none; whether a certificate could be shown or not.
    for config in [&with, &without] {
        for name in [
            "www.shop.example",
            "other.example",
            "unknown.example",
            "127.0.0.1",
        ] {
            let mut conn = conn(address, name, config);
            for host in [
                "admin.shop.example",
                "admin.shop.example.",
                "Admin.Shop.Example:443",
            ] {
                assert_eq!(ask(&mut conn, host).status, 421, "{host} by {name}");
            }
            // HTTP/1.1 in absolute form means the same host.
            conn.send(
                "GET https://admin.shop.example/ HTTP/1.1\r\nHost: admin.shop.example\r\n\r\n",
            );
            assert_ne!(conn.response("GET").status, 200, "absolute form by {name}");
        }
        for name in ["www.shop.example", "other.example"] {
            let alpn = showing(rustls::ALL_VERSIONS, &["h2"], Some(&good));
            let mut h2 = H2::connect_with(address, name, alpn);
            assert_eq!(h2.get("https://admin.shop.example/").status, 421);
            assert_eq!(
                h2.get(&format!("https://{name}/")).status,
                200,
                "it lives on"
            );
        }
    }
    // Nor without TLS.
    let mut plain = edge.connect();
    assert_eq!(ask(&mut plain, "admin.shop.example").status, 421);
    assert_eq!(ask(&mut plain, "www.shop.example").status, 200);
    let hosts: Vec<_> = shop.seen()[before..]
        .iter()
        .filter_map(|seen| seen.field("host").map(str::to_owned))
        .collect();
    assert!(
        hosts.iter().all(|host| !host.contains("admin")),
        "{hosts:?}"
    );
    // Over HTTP/2, of one's own name.
    let config = showing(rustls::ALL_VERSIONS, &["h2"], Some(&good));
    let mut h2 = H2::connect_with(address, "admin.shop.example", config);
    assert_eq!(h2.get("https://admin.shop.example/").status, 200);
    assert_eq!(h2.get("https://www.shop.example/").status, 421);
}

#[test]
fn who_is_asked_gets_no_tickets() {
    let shop = shop();
    let clients = Authority::new("clients");
    let edge = Edge::start_at(by_host(&shop, "optional", &clients));
    let good = clients.identity(&["client.example"], Ok(HOUR));
    for (name, resumes) in [("admin.shop.example", false), ("www.shop.example", true)] {
        for version in [&version::TLS12, &version::TLS13] {
            let config = showing(&[version], &["http/1.1"], Some(&good));
            for nth in 0..3 {
                let mut stream = tls(edge.site.https, name, &config).expect("a handshake");
                let request =
                    format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
                stream.write_all(request.as_bytes()).expect("sent");
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).expect("an end");
                let resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
                assert_eq!(resumed, resumes && nth > 0, "{name} {nth}");
            }
        }
    }
    // Optional: without TLS, nobody can have shown anything.
    let mut plain = edge.connect();
    assert_eq!(ask(&mut plain, "admin.shop.example").status, 200);
    assert_eq!(shop.last().field("x-client-verify"), None);
}

#[test]
fn revoked_ones_are_refused_as_soon_as_the_list_says_so() {
    let shop = shop();
    let clients = Authority::new("clients");
    let auth = "{ ca = \"@dir/clients.pem\", crl = \"@dir/clients.crl\" }";
    let site = asking(&shop, auth, &clients);
    let list = |serials: &[&[u8]]| {
        let text = clients.revocations(serials, 2 * HOUR);
        std::fs::write(site.path("new.crl"), text).expect("written");
        std::fs::rename(site.path("new.crl"), site.path("clients.crl")).expect("renamed");
    };
    list(&[]);
    let path = site.path("clients.crl");
    let new = site.path("new.crl");
    let (good, bad) = (
        clients.identity(&["good.example"], Ok(HOUR)),
        clients.identity(&["bad.example"], Ok(HOUR)),
    );
    let (_, parsed) = X509Certificate::from_der(bad.cert.der()).expect("a certificate");
    let serial = parsed.tbs_certificate.raw_serial();
    let edge = Edge::start_at(site);
    let mut old = conn(edge.site.https, "shop.example", &h1(Some(&bad)));
    assert_eq!(old.get("/").status, 200);
    std::fs::write(&new, clients.revocations(&[serial], 2 * HOUR)).expect("written");
    std::fs::rename(&new, &path).expect("renamed");
    eventually("it is refused", || {
        refusal(edge.site.https, "shop.example", &h1(Some(&bad))).contains("CertificateRevoked")
    });
    assert_eq!(
        conn(edge.site.https, "shop.example", &h1(Some(&good)))
            .get("/")
            .status,
        200
    );
    // A list that cannot be read changes nothing.
    std::fs::write(&path, "nothing").expect("written");
    eventually("it is told", || {
        let clients = edge.site.path("clients.pem");
        let series = format!("dhal_certificate_errors{{path=\"{}\"}}", clients.display());
        edge.metric(&series) == Some(1.0)
    });
    let said = refusal(edge.site.https, "shop.example", &h1(Some(&bad)));
    assert!(said.contains("CertificateRevoked"), "{said}");
    // One that is out of date lets nobody in.
    std::fs::write(&path, clients.revocations(&[], Duration::ZERO)).expect("written");
    eventually("it counts", || {
        let said = refusal(edge.site.https, "shop.example", &h1(Some(&good)));
        said.contains("alert")
    });
}

#[test]
fn what_one_is_told_with_a_certificate_is_for_that_one() {
    let shop = Origin::start(|r| {
        let who = r.field("x-client-subject").unwrap_or("nobody").to_owned();
        match r.target.as_str() {
            "/public" => page(who).field("Cache-Control", "public, max-age=60"),
            _ => page(who).fresh(60),
        }
    });
    let clients = Authority::new("clients");
    let auth = "{ ca = \"@dir/clients.pem\", mode = \"optional\" }";
    let edge = Edge::start_at(asking(&shop, auth, &clients));
    let good = clients.identity(&["client.example"], Ok(HOUR));
    let (with, without) = (h1(Some(&good)), h1(None));
    let mut known = conn(edge.site.https, "shop.example", &with);
    let mut unknown = conn(edge.site.https, "shop.example", &without);
    assert_eq!(known.get("/page").text(), "CN=rcgen self signed cert");
    assert_eq!(unknown.get("/page").text(), "nobody");
    assert!(unknown.get("/page").is_hit());
    assert_eq!(known.get("/page").text(), "CN=rcgen self signed cert");
    // What the shop lets everyone share, everyone gets.
    assert_eq!(unknown.get("/public").text(), "nobody");
    let shared = known.get("/public");
    assert!(shared.is_hit() && shared.text() == "nobody");
}

#[test]
fn a_reload_that_asks_holds_for_connections_that_are_open() {
    let shop = shop();
    let clients = Authority::new("clients");
    let edge = Edge::start_at(by_host(&shop, "optional", &clients));
    let mut admin = conn(edge.site.https, "admin.shop.example", &h1(None));
    assert_eq!(ask(&mut admin, "admin.shop.example").status, 200);
    let mut www = https(edge.site.https, "www.shop.example");
    assert_eq!(ask(&mut www, "www.shop.example").status, 200);
    let text = edge.site.read("dhal.toml").replace("optional", "require");
    std::fs::write(edge.site.path("dhal.toml"), text).expect("written");
    assert!(edge.site.dhal(&["reload"]).status.success());
    assert_eq!(ask(&mut admin, "admin.shop.example").status, 421);
    assert_eq!(ask(&mut www, "www.shop.example").status, 200);
    let config = client_config(rustls::ALL_VERSIONS, &["http/1.1"]);
    let said = refusal(edge.site.https, "admin.shop.example", &config);
    assert!(said.contains("CertificateRequired"), "{said}");
}
