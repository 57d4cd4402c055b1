//! A real authority for certificates, Pebble, with a front of ours that can be told to be unwell; and what its
//! certificates look like.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use base64::Engine;
use rustls::{ClientConfig, ServerConfig};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{
    client::Response,
    dns::Dns,
    edge::{Edge, Site},
    h2::{client_config, https, tls},
    origin::{Answer, Origin, Seen, page},
    secure::{Authority, Front},
    tls_client::unverified,
    tools::{Folder, eventually, free_address},
};

/// How the front answers in the authority's place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It does not.
    Well,
    /// `503`, with a page.
    Broken,
    /// `429`, to new orders.
    Busy,
}

/// What is done to those who ask.
pub(crate) struct State {
    mood: Mood,
    /// Whether it says when to renew: first certificates at once, others in a year.
    pub(crate) suggests: bool,
    /// All of them at once.
    pub(crate) insists: bool,
    /// Orders that were taken. Those whose nonce is refused come again.
    orders: usize,
    /// What orders said they stand in for.
    pub(crate) replaced: Vec<String>,
}

/// Pebble, and what stands before it.
pub(crate) struct Ca {
    pub(crate) pebble: Child,
    pub(crate) front: Front,
    pub(crate) requests: Arc<Origin>,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) dns: Dns,
    pub(crate) folder: Folder,
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
    pub(crate) fn start(site: &Site, eab: bool) -> Option<Self> {
        Self::start_with(site, json!({ "externalAccountBindingRequired": eab }))
    }

    /// The same with some of Pebble's own keys.
    pub(crate) fn start_with(site: &Site, keys: Value) -> Option<Self> {
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
            // Challenges are looked at every time. Nonces are refused now and then, one in a hundred: an order fails where
            // that happens three times in a row, which of one in twenty it did once in some forty runs of all tests.
            .env("PEBBLE_WFE_NONCEREJECT", "1")
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
            insists: false,
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

    pub(crate) fn be(&self, mood: Mood) {
        self.state.lock().expect("lock").mood = mood;
    }

    pub(crate) fn orders(&self) -> usize {
        self.state.lock().expect("lock").orders
    }

    /// The section that names it.
    pub(crate) fn section(&self, names: &str, more: &str) -> String {
        format!(
            "[acme]\ndirectory = \"https://{}/dir\"\nca_file = \"{}\"\nagree_tos = true\nstorage = \"@dir/acme\"\n\
             contact = \"mailto:ops@shop.example\"\nretry = \"1s\"\nnames = {names}\n{more}\n",
            self.front,
            self.folder.path().join("ca.pem").display(),
        )
    }

    /// Names lead to an address.
    pub(crate) fn lead(&self, names: &[&str], to: std::net::SocketAddr) {
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
        let is_due = {
            let state = state.lock().expect("lock");
            state.insists || state.replaced.is_empty()
        };
        let window = match is_due {
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

pub(crate) fn shop() -> Origin {
    Origin::start(|r| page(format!("shop {}", r.target)))
}

pub(crate) const LISTENERS: &str = "
    [[listeners]]
    address = \"@http\"
    redirect_to_https = true
    [[listeners]]
    address = \"@https\"
    tls = true
";

/// A client as an authority's is.
pub(crate) fn authoritative(alpn: &[&str]) -> Arc<ClientConfig> {
    authoritative_with(rustls::ALL_VERSIONS, alpn)
}

pub(crate) fn authoritative_with(
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &[&str],
) -> Arc<ClientConfig> {
    unverified(versions, alpn)
}

/// The leaf that a name gets.
pub(crate) fn leaf(edge: &Edge, name: &str) -> Option<Vec<u8>> {
    let config = client_config(rustls::ALL_VERSIONS, &["http/1.1"]);
    let stream = tls(edge.site.https, name, &config).ok()?;
    let chain = stream.conn.peer_certificates()?;
    Some(chain.first()?.to_vec())
}

pub(crate) fn names_of(leaf: &[u8]) -> Vec<String> {
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

pub(crate) fn has(edge: &Edge, name: &str) {
    eventually(&format!("a certificate for {name}"), || {
        leaf(edge, name).is_some()
    });
}

pub(crate) fn orders(edge: &Edge, outcome: &str) -> f64 {
    let series = format!("dhal_acme_orders_total{{outcome=\"{outcome}\"}}");
    edge.metric(&series).expect("counted from the start")
}

pub(crate) fn mode(path: &Path) -> u32 {
    let metadata = std::fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o777
}

/// The stored certificates.
pub(crate) fn stored(edge: &Edge, ending: &str) -> Vec<PathBuf> {
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
