//! Whole files: what is reported, what the examples mean, and that no text makes a panic.

mod files;
mod printing;
mod secrets;
mod sections;
mod tls;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Errors, Loaded, Surroundings, load, model::*, parse as parse_text, render, units::secs,
};

const MINIMAL: &str = include_str!("../../../config/minimal.toml");
const DEMO: &str = include_str!("../../../config/demo.toml");
const PRODUCTION: &str = include_str!("../../../config/production.toml");

/// Cases of `=== title`, a file, `--- reported`, and what is said about it. Where the title ends
/// in `+minimal`, the minimal file follows the one given.
const BROKEN: &str = include_str!("tests/broken.txt");

fn env(name: &str) -> Option<String> {
    (name == "PORT").then(|| "8080".to_owned())
}

fn parse(text: &str) -> Result<Loaded, Errors> {
    let surroundings = Surroundings {
        folder: Path::new("/etc/dhal"),
        env: &env,
    };
    parse_text("dhal.toml", text, &surroundings)
}

/// What a person reads about a file.
fn reported(text: &str) -> String {
    match parse(text) {
        Ok(loaded) => render(&loaded.warnings),
        Err(errors) => errors.to_string(),
    }
}

fn valid(text: &str) -> Config {
    assert_eq!(super::schema::tests::refused(text), None, "{text}");
    match parse(text) {
        Ok(loaded) => {
            assert_eq!(render(&loaded.warnings), "");
            loaded.config
        }
        Err(errors) => panic!("{errors}"),
    }
}

#[test]
fn broken_files_are_explained() {
    let mut cases = 0;
    // Without the line for editors.
    let (_, minimal) = MINIMAL.split_once("\n\n").unwrap();
    for case in BROKEN.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').unwrap();
        let (text, expected) = rest.split_once("--- reported\n").unwrap();
        let text = match title.ends_with("+minimal") {
            true => format!("{text}{minimal}"),
            false => text.to_owned(),
        };
        assert_eq!(reported(&text), expected.trim_end(), "{title}");
        cases += 1;
    }
    assert!(cases >= 25, "only {cases} cases were found");
}

#[test]
fn minimal_means_the_defaults() {
    let config = valid(MINIMAL);
    let server = &config.server;
    assert_eq!(server.threads, 0);
    assert_eq!(server.shutdown_grace, secs(10));
    assert_eq!(server.pid_file, None);
    assert_eq!(server.header_timeout, secs(10));
    assert_eq!(server.body_timeout, secs(30));
    assert_eq!(server.keepalive_timeout, secs(75));
    assert_eq!(server.handshake_timeout, secs(10));
    assert_eq!(server.max_connections, 20_000);
    assert_eq!(server.max_target_bytes, 8 << 10);
    assert_eq!(server.max_header_bytes, 32 << 10);
    assert!(server.trusted_proxies.is_empty());
    let visitors = Visitors {
        max_per_client: 0,
        network: ClientNetwork { ipv4: 32, ipv6: 64 },
        min_receive_rate: 240,
        min_send_rate: 240,
        rate_grace: secs(5),
        forwarded_field: ForwardedField::XForwardedFor,
    };
    assert_eq!(server.visitors, visitors);
    assert!(config.admin.is_none());
    let listener = Listener {
        address: ([127, 0, 0, 1], 8080).into(),
        tls: false,
        redirect_to_https: false,
        https_port: 443,
        proxy_protocol: false,
        tls_profile: TlsProfile::Intermediate,
        client_auth: None,
        place: Anchor::nowhere(),
    };
    assert_eq!(config.listeners, [listener]);
    assert!(config.certificates.is_empty());

    let [upstream] = &config.upstreams[..] else {
        panic!("{:?}", config.upstreams)
    };
    assert_eq!(upstream.name, "shop");
    let backend = Backend {
        name: "127.0.0.1:3000".to_owned(),
        address: BackendAddress::Address(([127, 0, 0, 1], 3000).into()),
        weight: 1.try_into().unwrap(),
        backup: false,
        drain: false,
    };
    assert_eq!(upstream.servers, [backend]);
    assert_eq!(upstream.balance, Balance::LeastRequests);
    assert!(upstream.health_check.is_none());
    assert!(upstream.eject.is_none());
    assert_eq!(upstream.retry.attempts, 2);
    assert_eq!(upstream.retry.budget_percent, 20);
    assert_eq!(upstream.timeouts.connect, secs(1));
    assert_eq!(upstream.timeouts.response, secs(15));
    assert_eq!(upstream.timeouts.idle, secs(60));

    assert_eq!(config.cache.memory, 256 << 20);
    assert_eq!(config.cache.max_object, 8 << 20);
    assert_eq!(config.cache.lock_timeout, secs(5));
    assert_eq!(config.cache.disk, None);
    let [policy] = &config.policies[..] else {
        panic!("{:?}", config.policies)
    };
    assert_eq!(policy.name, "default");
    assert_eq!(policy.ttl, None);
    assert_eq!(policy.stale_while_revalidate, Duration::ZERO);
    assert_eq!(policy.stale_if_error, Duration::ZERO);
    assert!(policy.ignore_query.is_empty() && policy.bypass_cookies.is_empty());
    assert!(policy.key_headers.is_empty() && policy.key_cookies.is_empty());
    assert_eq!(policy.set_cookie, SetCookie::Refuse);
    assert!(!policy.sort_query && !policy.honour_client);
    assert!(!policy.x_accel_expires && !policy.surrogate_control);
    assert!(policy.compress);

    let [route] = &config.routes[..] else {
        panic!("{:?}", config.routes)
    };
    assert_eq!(route.name, "/*");
    assert_eq!(route.hosts, [HostPattern::Any]);
    assert_eq!(route.path, PathPattern::Prefix("/".to_owned()));
    assert_eq!((route.upstream(), route.cache), (Some(0), Some(0)));
    assert!(route.limits.is_empty());
    assert_eq!(route.max_body, 1 << 20);
    assert!(config.limits.is_empty());
    assert_eq!(config.access_log, None);
}

/// The first pair of certificate and key.
fn pair(config: &Config) -> &Certificate {
    match &config.certificates[0].files {
        CertificateFiles::Pair(pair) => pair,
        CertificateFiles::Folder(folder) => panic!("a folder: {}", folder.display()),
    }
}

#[test]
fn examples_are_valid() {
    let demo = valid(DEMO);
    assert_eq!(demo.listeners.len(), 2);
    assert_eq!(
        pair(&demo).cert,
        PathBuf::from("/etc/dhal/../var/demo/dev.pem")
    );
    assert_eq!(
        demo.admin.unwrap().addresses[1],
        AdminAddress::Unix(PathBuf::from("/etc/dhal/../var/demo/admin.sock")),
    );

    let production = valid(PRODUCTION);
    assert_eq!(
        pair(&production).key,
        PathBuf::from("/etc/dhal/certs/shop.key")
    );
    // Nothing that is installed serves as root, whoever starts it.
    let hardening = &production.server.hardening;
    assert_eq!(hardening.user.as_deref(), Some("dhal"));
    assert!(hardening.landlock && hardening.seccomp);
    let disk = production.cache.disk.as_ref().unwrap();
    assert_eq!(disk.path, PathBuf::from("/var/cache/dhal"));
    let cached = |path: PathPattern| {
        let route = production
            .routes
            .iter()
            .find(|route| route.path == path)
            .unwrap();
        route
            .cache
            .map(|index| production.policies[index].name.as_str())
    };
    for (path, expected) in [
        (PathPattern::Exact("/".to_owned()), Some("pages")),
        (PathPattern::Prefix("/products/".to_owned()), Some("pages")),
        (PathPattern::Exact("/search".to_owned()), Some("guarded")),
        (PathPattern::Prefix("/images/".to_owned()), Some("images")),
        (PathPattern::Exact("/cart".to_owned()), None),
        (PathPattern::Exact("/checkout".to_owned()), None),
        (PathPattern::Prefix("/".to_owned()), None),
    ] {
        assert_eq!(cached(path.clone()), expected, "{path:?}");
    }
}

/// The full example of the design.
#[test]
fn full_example_is_valid() {
    let full = r#"
[server]
threads = 0
shutdown_grace = "10s"

[admin]
address = ["127.0.0.1:9900", "unix:/run/dhal/admin.sock"]
token_file = "/etc/dhal/admin.token"

[[listeners]]
address = "0.0.0.0:443"
tls = true
[[listeners]]
address = "0.0.0.0:80"
redirect_to_https = true

[[certificates]]
cert = "certs/shop.pem"
key  = "certs/shop.key"

[upstreams.shop]
servers = ["127.0.0.1:3000", { address = "127.0.0.1:3001", weight = 2 }, { address = "127.0.0.1:3002", backup = true }]
balance = "least-requests"
health_check = { path = "/healthz", interval = "2s", timeout = "1s", healthy = 2, unhealthy = 3 }
eject = { consecutive_failures = 5, base_time = "10s", max_percent = 50 }
retry = { attempts = 2, budget_percent = 20 }
timeouts = { connect = "1s", response = "15s", idle = "60s" }

[cache]
memory = "512MiB"
disk = { path = "/var/cache/dhal", size = "10GiB" }

[cache.policies.pages]
ttl = "60s"
stale_while_revalidate = "30s"
stale_if_error = "1h"
ignore_query = ["utm_*", "fbclid", "gclid"]
bypass_cookies = ["session"]

[limits.browse]
key = "client-ip"
rate = "50/s"
burst = 100

[[routes]]
host = "shop.example"
path = "/products/*"
upstream = "shop"
cache = "pages"
limits = ["browse"]
"#;
    let config = valid(full);
    assert_eq!(config.cache.disk.map(|disk| disk.size), Some(10 << 30));
    assert_eq!(config.upstreams[0].servers[1].weight.get(), 2);
    assert!(config.upstreams[0].servers[2].backup);
    assert_eq!(config.limits[0].burst.get(), 100);
    assert_eq!(
        (config.routes[0].cache, &config.routes[0].limits[..]),
        (Some(1), &[0][..])
    );
    assert_eq!(config.routes[0].name, "shop.example/products/*");
}

#[test]
fn files_are_loaded_relative_to_their_folder() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let loaded = load(&folder.join("demo.toml"), &|_| None).unwrap();
    assert_eq!(
        loaded.config.access_log.unwrap().target,
        LogTarget::File(folder.join("../var/demo/access.log")),
    );
    let missing = load(&folder.join("absent.toml"), &|_| None).unwrap_err();
    assert!(matches!(missing, Errors::Unreadable { .. }), "{missing}");
}

/// Cuts, repeats and swaps pieces of a valid file: whatever comes out, it is explained.
#[test]
fn no_text_makes_a_panic() {
    const PIECES: [&str; 16] = [
        "[",
        "]]",
        "{",
        "}",
        "\"",
        "'",
        "=",
        ",",
        ".",
        "\n",
        "$",
        "${",
        "0",
        "-",
        "ঢাল",
        "\\u0000",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..3_000 {
        let mut text = PRODUCTION.to_owned();
        for _ in 0..=random(4) {
            let start = text.floor_char_boundary(random(text.len()));
            let end = text
                .floor_char_boundary((start + random(24)).min(text.len()))
                .max(start);
            let piece = match random(4) {
                0 => String::new(),
                1 => text[start..end].repeat(2),
                2 => PIECES[random(PIECES.len())].to_owned(),
                _ => {
                    let from = text.floor_char_boundary(random(text.len()));
                    text[from..].chars().take(random(24)).collect()
                }
            };
            text.replace_range(start..end, &piece);
        }
        explained(&text);
    }
    for end in (0..PRODUCTION.len()).step_by(7) {
        explained(&PRODUCTION[..PRODUCTION.floor_char_boundary(end)]);
    }
}

fn explained(text: &str) {
    match parse(text) {
        Ok(loaded) => assert!(!loaded.config.listeners.is_empty(), "{text}"),
        Err(errors) => assert!(errors.to_string().contains(": error: "), "{text}"),
    }
}
