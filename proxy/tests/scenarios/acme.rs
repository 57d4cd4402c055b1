//! Certificates from a real authority: Pebble, with a front of ours that can be told to be unwell.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use base64::Engine;
use nix::sys::signal::Signal;
use rustls::{
    ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{
    client::Response,
    dns::{Dns, Says},
    edge::{Edge, Site},
    h2::{client_config, https, tls},
    origin::{Answer, Origin, Seen, page},
    secure::{Authority, Front},
    serving::plain,
    tools::{Folder, eventually, free_address},
};

/// How the front answers in the authority's place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// It does not.
    Well,
    /// `503`, with a page.
    Broken,
    /// `429`, to new orders.
    Busy,
}

/// What is done to those who ask.
struct State {
    mood: Mood,
    /// Whether it says when to renew: first certificates at once, others in a year.
    suggests: bool,
    /// Orders that were taken. Those whose nonce is refused come again.
    orders: usize,
    /// What orders said they stand in for.
    replaced: Vec<String>,
}

/// Pebble, and what stands before it.
struct Ca {
    pebble: Child,
    front: Front,
    requests: Arc<Origin>,
    state: Arc<Mutex<State>>,
    dns: Dns,
    folder: Folder,
}

impl Drop for Ca {
    fn drop(&mut self) {
        let _ = self.pebble.kill();
        let _ = self.pebble.wait();
    }
}

/// Where it is installed; says so loudly where it is not.
fn pebble() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders)
        .map(|folder| folder.join("pebble"))
        .find(|path| path.exists());
    if found.is_none() {
        eprintln!("SKIPPED: there is no pebble on this machine; tools/deps.sh test installs it");
    }
    found
}

impl Ca {
    /// Comes to the site's ports for challenges. `eab` asks for an external account.
    fn start(site: &Site, eab: bool) -> Option<Self> {
        Self::start_with(site, json!({ "externalAccountBindingRequired": eab }))
    }

    /// The same with some of Pebble's own keys.
    fn start_with(site: &Site, keys: Value) -> Option<Self> {
        let program = pebble()?;
        let folder = Folder::new();
        let dns = Dns::start();
        let address = free_address();
        let authority = Authority::new("An internal authority");
        authority.write(&folder.path().join("ca.pem"));
        let identity = authority.server(&["localhost"]);
        identity.write(
            &folder.path().join("cert.pem"),
            &folder.path().join("key.pem"),
        );
        let mut config = json!({ "pebble": {
            "listenAddress": address.to_string(),
            "managementListenAddress": "",
            "certificate": folder.path().join("cert.pem"),
            "privateKey": folder.path().join("key.pem"),
            "httpPort": site.http.port(),
            "tlsPort": site.https.port(),
            "externalAccountMACKeys": { "kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W" },
        }});
        for (key, value) in keys.as_object().expect("keys") {
            config["pebble"][key] = value.clone();
        }
        let file = folder.path().join("pebble.json");
        std::fs::write(&file, config.to_string()).expect("written");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let pebble = Command::new(program)
            .arg("-config")
            .arg(file)
            .args(["-dnsserver", &dns.address.to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            // Challenges are looked at every time. Nonces are refused now and then, and rarely three times in a row,
            // after which an order fails.
            .env("PEBBLE_WFE_NONCEREJECT", "5")
            .env("PEBBLE_AUTHZREUSE", "0")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("pebble starts");
        let config = client_config(rustls::ALL_VERSIONS, &["http/1.1"]);
        eventually("pebble answers", || {
            tls(address, "localhost", &config).is_ok()
        });
        let state = Arc::new(Mutex::new(State {
            mood: Mood::Well,
            suggests: false,
            orders: 0,
            replaced: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let requests = Origin::start(move |seen| answer(seen, address, &shared));
        let at = free_address();
        let own = authority.server(&[&at.ip().to_string()]);
        let own: Arc<ServerConfig> = own.config(&["http/1.1"], None);
        let front = Front::start_at(at, own, requests.address);
        Some(Self {
            pebble,
            front,
            requests: Arc::new(requests),
            state,
            dns,
            folder,
        })
    }

    fn be(&self, mood: Mood) {
        self.state.lock().expect("lock").mood = mood;
    }

    fn orders(&self) -> usize {
        self.state.lock().expect("lock").orders
    }

    /// The section that names it.
    fn section(&self, names: &str, more: &str) -> String {
        format!(
            "[acme]\ndirectory = \"https://{}/dir\"\nca_file = \"{}\"\nagree_tos = true\nstorage = \"@dir/acme\"\n\
             contact = \"mailto:ops@shop.example\"\nretry = \"1s\"\nnames = {names}\n{more}\n",
            self.front,
            self.folder.path().join("ca.pem").display(),
        )
    }

    /// Names lead to an address.
    fn lead(&self, names: &[&str], to: std::net::SocketAddr) {
        for name in names {
            self.dns.lead(name, &[to]);
        }
    }
}

/// Passes on to Pebble what it is asked, unless it is unwell.
fn answer(seen: &Seen, pebble: std::net::SocketAddr, state: &Mutex<State>) -> Answer {
    let (mood, suggests) = {
        let state = state.lock().expect("lock");
        (state.mood, state.suggests)
    };
    let is_order = seen.target == "/order-plz";
    match mood {
        Mood::Broken => return page("<html>maintenance</html>").status(503),
        Mood::Busy if is_order => {
            let problem = json!({
                "type": "urn:ietf:params:acme:error:rateLimited",
                "detail": "too many certificates already issued",
            });
            return page(problem.to_string())
                .status(429)
                .instead("Content-Type", "application/problem+json")
                .field("Retry-After", 3_600);
        }
        Mood::Well | Mood::Busy => {}
    }
    if let Some(_certificate) = seen.target.strip_prefix("/renewal/") {
        let first = seen.nth == 1 && state.lock().expect("lock").replaced.is_empty();
        let window = match first {
            true => ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"),
            false => ("2035-01-01T00:00:00Z", "2035-01-02T00:00:00Z"),
        };
        let info = json!({ "suggestedWindow": { "start": window.0, "end": window.1 } });
        return page(info.to_string())
            .instead("Content-Type", "application/json")
            .field("Retry-After", 21_600);
    }
    let host = seen.field("host").expect("a host").to_owned();
    let mut conn = https(pebble, "localhost");
    let mut request = format!(
        "{} {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: front\r\n",
        seen.method, seen.target
    );
    if let Some(kind) = seen.field("content-type") {
        request += &format!("Content-Type: {kind}\r\n");
    }
    request += &format!("Content-Length: {}\r\n\r\n", seen.body.len());
    let mut bytes = request.into_bytes();
    bytes.extend(&seen.body);
    conn.send(bytes);
    let mut response = conn.response(&seen.method);
    if suggests && seen.target == "/dir" {
        let mut directory: Value = serde_json::from_slice(&response.body).expect("JSON");
        directory["renewalInfo"] = json!(format!("https://{host}/renewal"));
        response.body = directory.to_string().into_bytes();
    }
    let is_taken = is_order && response.status == 201;
    if is_taken {
        state.lock().expect("lock").orders += 1;
    }
    if suggests && is_taken {
        let outer: Value = serde_json::from_slice(&seen.body).expect("JSON");
        let payload = outer["payload"].as_str().expect("a payload");
        let decode = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload);
        let inner: Value = serde_json::from_slice(&decode.expect("base64url")).expect("JSON");
        if let Some(replaces) = inner["replaces"].as_str() {
            let mut order: Value = serde_json::from_slice(&response.body).expect("JSON");
            order["replaces"] = json!(replaces);
            response.body = order.to_string().into_bytes();
            let mut state = state.lock().expect("lock");
            state.replaced.push(replaces.to_owned());
        }
    }
    passed_on(response)
}

fn passed_on(response: Response) -> Answer {
    let mut answer = page(response.body)
        .status(response.status)
        .without("Date")
        .without("Content-Type");
    for (name, value) in response.fields {
        let framing = ["content-length", "transfer-encoding", "connection"];
        if !framing.contains(&name.to_ascii_lowercase().as_str()) {
            answer = answer.field(&name, value);
        }
    }
    answer
}

fn shop() -> Origin {
    Origin::start(|r| page(format!("shop {}", r.target)))
}

const LISTENERS: &str = "
    [[listeners]]
    address = \"@http\"
    redirect_to_https = true
    [[listeners]]
    address = \"@https\"
    tls = true
";

/// Takes a certificate with the critical extension of a challenge, which verifiers refuse as one they do not know.
#[derive(Debug)]
struct Authoritative;

impl ServerCertVerifier for Authoritative {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = aws_lc_rs::default_provider();
        let algorithms = provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// A client as an authority's is.
fn authoritative(alpn: &[&str]) -> Arc<ClientConfig> {
    authoritative_with(rustls::ALL_VERSIONS, alpn)
}

fn authoritative_with(
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Authoritative))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// The leaf that a name gets.
fn leaf(edge: &Edge, name: &str) -> Option<Vec<u8>> {
    let config = client_config(rustls::ALL_VERSIONS, &["http/1.1"]);
    let stream = tls(edge.site.https, name, &config).ok()?;
    let chain = stream.conn.peer_certificates()?;
    Some(chain.first()?.to_vec())
}

fn names_of(leaf: &[u8]) -> Vec<String> {
    let (_, parsed) = X509Certificate::from_der(leaf).expect("a certificate");
    let alternative = parsed.subject_alternative_name().expect("names");
    let names = alternative.expect("names").value.general_names.iter();
    let mut names: Vec<String> = names
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            other => format!("{other:?}"),
        })
        .collect();
    names.sort();
    names
}

fn has(edge: &Edge, name: &str) {
    eventually(&format!("a certificate for {name}"), || {
        leaf(edge, name).is_some()
    });
}

fn orders(edge: &Edge, outcome: &str) -> f64 {
    let series = format!("dhal_acme_orders_total{{outcome=\"{outcome}\"}}");
    edge.metric(&series).expect("counted from the start")
}

fn mode(path: &Path) -> u32 {
    let metadata = std::fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o777
}

/// The stored certificates.
fn stored(edge: &Edge, ending: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(edge.site.path("acme/certificates")).expect("a folder");
    let paths = files.map(|file| file.expect("a file").path());
    let mut paths: Vec<_> = paths
        .filter(|path| {
            let name = path.to_string_lossy();
            name.contains(ending) && !name.ends_with(".tmp")
        })
        .collect();
    paths.sort();
    paths
}

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

#[test]
fn challenges_that_fail_and_then_do_not() {
    let shop = shop();
    let site = Site::new("");
    let Some(ca) = Ca::start(&site, false) else {
        return;
    };
    // Nobody listens there.
    ca.lead(&["shop.example"], free_address());
    let section = ca.section(r#"[["shop.example"]]"#, "");
    site.configure(&(plain(&shop) + LISTENERS + &section));
    let edge = Edge::start_at(site);
    eventually("failures are counted", || {
        orders(&edge, "challenge_failed") >= 2.0
    });
    let told = edge.site.dhal(&["acme", "status"]);
    assert!(!told.status.success());
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.contains("shop.example: no certificate yet; "),
        "{told}"
    );
    assert!(told.contains("the last because: "), "{told}");
    assert!(leaf(&edge, "shop.example").is_none());

    ca.lead(&["shop.example"], edge.site.http);
    has(&edge, "shop.example");
    let first = leaf(&edge, "shop.example").expect("served");

    // A renewal that fails leaves the old one in use.
    ca.lead(&["shop.example"], free_address());
    let failed = orders(&edge, "challenge_failed");
    let renewed = edge.site.dhal(&["acme", "renew", "SHOP.example"]);
    assert!(renewed.status.success(), "{renewed:?}");
    eventually("it fails", || orders(&edge, "challenge_failed") > failed);
    assert_eq!(leaf(&edge, "shop.example"), Some(first.clone()));
    eventually("it is noted", || stored(&edge, ".failed").len() == 1);

    // It is tried again by itself, although the certificate is not due.
    ca.lead(&["shop.example"], edge.site.http);
    eventually("another one", || {
        leaf(&edge, "shop.example").is_some_and(|leaf| leaf != first)
    });
    eventually("nothing is left of it", || {
        stored(&edge, ".failed").is_empty()
    });
    let nobody = edge.site.dhal(&["acme", "renew", "sho.example"]);
    assert!(!nobody.status.success());
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("did you mean `shop.example`?"));
}

#[test]
fn an_authority_that_is_busy_or_broken() {
    let shop = shop();
    let site = Site::new("");
    let Some(ca) = Ca::start(&site, false) else {
        return;
    };
    ca.lead(&["shop.example"], site.http);
    ca.be(Mood::Broken);
    site.configure(&(plain(&shop) + LISTENERS + &ca.section(r#"[["shop.example"]]"#, "")));
    let mut edge = Edge::start_at(site);
    eventually("it is down", || orders(&edge, "unavailable") >= 2.0);
    let (_, status) = edge.admin("GET", "/status");
    assert!(status.contains("503 Service Unavailable"), "{status}");
    assert_eq!(edge.get("/").status, 301, "and the edge serves");

    ca.be(Mood::Busy);
    eventually("it has had too many", || {
        orders(&edge, "rate_limited") >= 1.0
    });
    let (_, status) = edge.admin("GET", "/status");
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let next = status["acme"][0]["next_order"].as_u64().expect("a time");
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    assert!(next > now + 3_500, "it waits as long as it is asked to");
    assert!(
        status["acme"][0]["last_failure"]
            .as_str()
            .is_some_and(|why| { why.contains("429") && why.contains("too many certificates") })
    );

    // A restart does not forget that.
    ca.be(Mood::Well);
    let before = ca.orders();
    edge.restart(Signal::SIGTERM);
    let (_, status) = edge.admin("GET", "/status");
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["acme"][0]["next_order"].as_u64(), Some(next));
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(ca.orders(), before);
    assert!(
        edge.site
            .dhal(&["acme", "renew", "shop.example"])
            .status
            .success()
    );
    has(&edge, "shop.example");
}

#[test]
fn what_lies_in_the_folder() {
    let shop = shop();
    let site = Site::new("");
    let Some(ca) = Ca::start(&site, false) else {
        return;
    };
    ca.lead(&["shop.example"], site.http);
    site.configure(&(plain(&shop) + LISTENERS + &ca.section(r#"[["shop.example"]]"#, "")));
    let mut edge = Edge::start_at(site);
    has(&edge, "shop.example");
    eventually("it is stored", || stored(&edge, ".pem").len() == 1);
    let file = stored(&edge, ".pem").remove(0);
    let authority = Authority::new("Whoever");
    let write = |valid: Result<Duration, Duration>| {
        let identity = authority.identity(&["shop.example"], valid);
        let pem = identity.cert.pem() + &identity.key.serialize_pem();
        std::fs::write(&file, pem).expect("written");
        identity.cert.der().to_vec()
    };

    // It is shown before it is written down, and would be written over what a test puts there.
    let settle = |edge: &Edge| {
        eventually("what is shown is written down", || {
            let pem = std::fs::read(&file).unwrap_or_default();
            let first = CertificateDer::from_pem_slice(&pem).ok();
            first.is_some_and(|first| leaf(edge, "shop.example") == Some(first.to_vec()))
        });
    };

    // An expired one is better than none.
    ca.be(Mood::Broken);
    let old = write(Err(Duration::from_secs(60)));
    edge.restart(Signal::SIGTERM);
    assert_eq!(leaf(&edge, "shop.example"), Some(old.clone()));
    eventually("a new one is ordered", || {
        orders(&edge, "unavailable") >= 1.0
    });
    assert_eq!(leaf(&edge, "shop.example"), Some(old.clone()));
    let told = edge.site.dhal(&["acme", "status"]);
    assert!(!told.status.success());
    assert!(String::from_utf8_lossy(&told.stdout).contains("EXPIRED since"));
    ca.be(Mood::Well);
    eventually("it is renewed", || {
        leaf(&edge, "shop.example").is_some_and(|leaf| leaf != old)
    });

    // One with an hour left of a day is due; one with most of its life left is not, unless the file says so.
    settle(&edge);
    let short = write(Ok(Duration::from_secs(3_600)));
    edge.restart(Signal::SIGTERM);
    eventually("it is renewed in time", || {
        leaf(&edge, "shop.example").is_some_and(|leaf| leaf != short)
    });
    settle(&edge);
    let long = write(Ok(Duration::from_secs(86_400)));
    let before = ca.orders();
    edge.restart(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(
        (leaf(&edge, "shop.example"), ca.orders()),
        (Some(long.clone()), before)
    );
    let section = ca.section(r#"[["shop.example"]]"#, "renew_before = \"30h\"");
    let reloaded = edge.reload(&(plain(&shop) + LISTENERS + &section));
    assert!(reloaded.status.success(), "{reloaded:?}");
    eventually("it is due by now", || {
        leaf(&edge, "shop.example").is_some_and(|leaf| leaf != long)
    });

    // Garbage is set aside, of the account as well.
    settle(&edge);
    std::fs::write(&file, "garbage").expect("written");
    let accounts = std::fs::read_dir(edge.site.path("acme/accounts")).expect("a folder");
    for account in accounts {
        std::fs::write(account.expect("a file").path(), "{]").expect("written");
    }
    edge.restart(Signal::SIGTERM);
    assert_eq!(stored(&edge, ".bad-").len(), 1);
    has(&edge, "shop.example");
    settle(&edge);
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn the_authority_says_when_to_renew() {
    let shop = shop();
    let site = Site::new("");
    let Some(ca) = Ca::start(&site, false) else {
        return;
    };
    ca.lead(&["shop.example"], site.http);
    ca.state.lock().expect("lock").suggests = true;
    site.configure(&(plain(&shop) + LISTENERS + &ca.section(r#"[["shop.example"]]"#, "")));
    let edge = Edge::start_at(site);
    eventually("it is issued, and then renewed", || {
        orders(&edge, "issued") == 2.0
    });
    let replaced = ca.state.lock().expect("lock").replaced.clone();
    assert_eq!(replaced.len(), 1, "{replaced:?}");
    let file = stored(&edge, ".pem").remove(0);
    let series = format!(
        "dhal_acme_next_renewal_timestamp_seconds{{certificate=\"{}\"}}",
        file.display()
    );
    // Pebble's certificates live for five years, and the window is in 2035, which is too late.
    eventually("the second is not renewed at once", || {
        edge.metric(&series) > Some(1.8e9)
    });
    assert_eq!(orders(&edge, "issued"), 2.0);
}

/// A clock that runs ahead takes what was issued for old, and an authority issues few duplicates.
#[test]
fn what_is_due_at_once_is_not_ordered_without_end() {
    let shop = shop();
    let site = Site::new("");
    let Some(ca) = Ca::start_with(&site, json!({ "certificateValidityPeriod": 1 })) else {
        return;
    };
    ca.lead(&["shop.example"], site.http);
    let section = ca.section(r#"[["shop.example"]]"#, "");
    site.configure(&(plain(&shop) + LISTENERS + &section));
    let edge = Edge::start_at(site);
    eventually("it is told", || {
        edge.stderr()
            .contains("is to be renewed at once by this host's clock")
    });
    assert_eq!(ca.orders(), 1);
    let status = edge.site.dhal(&["acme", "status"]);
    let status = String::from_utf8_lossy(&status.stdout);
    assert!(status.contains("is the clock right?"), "{status}");
    // It looks twice a second.
    let looks = std::time::Instant::now() + Duration::from_secs(3);
    eventually("it had time for more", || {
        assert_eq!(ca.orders(), 1);
        std::time::Instant::now() > looks
    });
}
