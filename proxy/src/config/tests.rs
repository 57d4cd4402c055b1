//! Whole files: what is reported, what the examples mean, and that no text makes a panic.

mod files;
mod printing;
mod secrets;

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

#[test]
fn what_a_reload_has_to_prove() {
    let config = valid(MINIMAL);
    assert!(!config.server.watch_config && config.reload.probation.is_zero());
    let config = valid(&format!(
        "[server]\nwatch_config = true\n[reload]\nprobation = '30s'\n{MINIMAL}"
    ));
    assert!(config.server.watch_config);
    let reload = Reload {
        probation: Duration::from_secs(30),
        max_5xx_percent: 5,
        max_p99_factor: 3,
        min_requests: 200,
    };
    assert_eq!(config.reload, reload);
}

#[test]
fn sections_have_defaults_of_their_own() {
    let config = valid(&format!(
        "[upstreams.other]\n\
         servers = [{{ address = 'shop.internal:${{UNSET:-3000}}', weight = 7 }}]\n\
         health_check = {{ path = '/up' }}\n\
         eject = {{}}\n\
         [cache]\nmemory = '4MiB'\n\
         [limits.few]\nrate = '600/m'\n\
         [[routes]]\nhost = '*.shop.example'\npath = '/a/:b/*'\nupstream = 'other'\nlimits = ['few']\n\
         [access_log]\n\
         {MINIMAL}"
    ));
    // In the order of the file, so `other` is before `shop`.
    let other = &config.upstreams[0];
    assert_eq!(other.servers[0].name, "shop.internal:3000");
    let place = BackendAddress::Name {
        host: "shop.internal".to_owned(),
        port: 3000,
    };
    assert_eq!(other.servers[0].address, place);
    assert_eq!(other.servers[0].weight.get(), 7);
    let check = other.health_check.as_ref().unwrap();
    assert_eq!((check.interval, check.timeout), (secs(2), secs(1)));
    assert_eq!((check.healthy, check.unhealthy), (2, 3));
    assert_eq!(check.host, None);
    let eject = other.eject.as_ref().unwrap();
    assert_eq!((eject.consecutive_failures, eject.max_percent), (5, 50));
    assert_eq!(eject.base_time, secs(10));
    // The default of 8 MiB would not fit.
    assert_eq!(config.cache.max_object, 4 << 20);
    let limit = &config.limits[0];
    assert_eq!((limit.rate.get(), limit.burst.get()), (600, 600));
    assert_eq!(limit.period, secs(60));
    assert_eq!(limit.max_keys, 100_000);
    let routes: Vec<_> = config
        .routes
        .iter()
        .map(|r| (r.name.as_str(), r.upstream()))
        .collect();
    assert_eq!(
        routes,
        [("*.shop.example/a/:b/*", Some(0)), ("/*", Some(1))]
    );
    let log = AccessLog {
        target: LogTarget::Stdout,
        format: LogFormat::Json,
    };
    assert_eq!(config.access_log, Some(log));
}

#[test]
fn disks_are_resolved_and_bounded() {
    let disk = |text: &str| {
        valid(&format!("[cache]\ndisk = {{ {text} }}\n{MINIMAL}"))
            .cache
            .disk
    };
    for (text, path, size, object) in [
        (
            "path = '/var/cache/dhal', size = '10GiB'",
            "/var/cache/dhal",
            10 << 30,
            1 << 30,
        ),
        (
            "path = 'store', size = '1GiB'",
            "/etc/dhal/store",
            1 << 30,
            256 << 20,
        ),
        (
            "path = '../store', size = '8GiB', max_object = '2GiB'",
            "/etc/dhal/../store",
            8 << 30,
            2 << 30,
        ),
    ] {
        let wanted = Disk {
            path: PathBuf::from(path),
            size,
            max_object: object,
        };
        assert_eq!(disk(text), Some(wanted), "{text}");
    }
}

#[test]
fn policies_say_what_is_keyed_and_what_counts() {
    let loaded = parse(&format!(
        "[cache.policies.pages]\n\
         key_headers = ['Accept-Language', 'x-currency']\n\
         key_cookies = ['currency']\n\
         bypass_cookies = ['session']\n\
         sort_query = true\n\
         set_cookie = 'strip'\n\
         client_cache_control = 'honour'\n\
         accept_x_accel_expires = true\n\
         accept_surrogate_control = true\n\
         compress = false\n\
         {MINIMAL}"
    ))
    .unwrap();
    let policy = &loaded.config.policies[1];
    assert_eq!(policy.key_headers, ["accept-language", "x-currency"]);
    assert_eq!(policy.key_cookies, ["currency"]);
    assert_eq!(policy.set_cookie, SetCookie::Strip);
    assert!(policy.sort_query && policy.honour_client);
    assert!(policy.x_accel_expires && policy.surrogate_control);
    assert!(!policy.compress);
    let plain = format!(
        "[cache.policies.pages]\nset_cookie = 'refuse'\nclient_cache_control = 'ignore'\n\
         accept_x_accel_expires = false\nsort_query = false\ncompress = true\n\
         [[routes]]\npath = '/a'\nupstream = 'shop'\ncache = 'pages'\n{MINIMAL}"
    );
    let policy = &valid(&plain).policies[1];
    assert!(policy.compress && !policy.honour_client && !policy.sort_query);
    assert_eq!(policy.set_cookie, SetCookie::Refuse);
}

#[test]
fn only_redirects_need_no_route() {
    let text =
        "[[listeners]]\naddress = '0.0.0.0:80'\nredirect_to_https = true\nhttps_port = 8443\n";
    let loaded = parse(text).unwrap();
    assert!(loaded.config.routes.is_empty());
    assert_eq!(loaded.config.listeners[0].https_port, 8443);
}

#[test]
fn port_zero_may_repeat() {
    let config = valid(&format!(
        "[[listeners]]\naddress = '127.0.0.1:0'\n[[listeners]]\naddress = '127.0.0.1:0'\n{MINIMAL}"
    ));
    assert_eq!(config.listeners.len(), 3);
}

/// The first pair of certificate and key.
fn pair(config: &Config) -> &Certificate {
    match &config.certificates[0].files {
        CertificateFiles::Pair(pair) => pair,
        CertificateFiles::Folder(folder) => panic!("a folder: {}", folder.display()),
    }
}

#[test]
fn tls_and_its_certificates() {
    let config = valid(
        r#"
        [server]
        hsts = "1y"
        [tls]
        profile = "modern"
        [[listeners]]
        address = "0.0.0.0:443"
        tls = true
        [[listeners]]
        address = "0.0.0.0:8443"
        tls = true
        tls_profile = "intermediate"
        client_auth = { ca = "partners.pem", crl = "partners.crl", mode = "optional" }
        [[certificates]]
        folder = "live"
        client_auth = { ca = "staff.pem" }
        [upstreams.shop]
        servers = ["127.0.0.1:3000"]
        [[routes]]
        host = "a.example"
        upstream = "shop"
        [[routes]]
        host = "b.example"
        upstream = "shop"
        hsts = { max_age = "730d", include_subdomains = true, preload = true }
        [[routes]]
        host = "c.example"
        upstream = "shop"
        hsts = false
        "#,
    );
    let profiles = config.listeners.iter().map(|l| l.tls_profile);
    assert!(profiles.eq([TlsProfile::Modern, TlsProfile::Intermediate]));
    let auth = config.listeners[1].client_auth.as_ref().unwrap();
    assert_eq!(auth.mode, ClientAuthMode::Optional);
    assert_eq!(auth.crl, Some(PathBuf::from("/etc/dhal/partners.crl")));
    assert_eq!(config.listeners[0].client_auth, None);
    let folder = &config.certificates[0];
    assert_eq!(
        folder.files,
        CertificateFiles::Folder("/etc/dhal/live".into())
    );
    let auth = folder.client_auth.as_ref().unwrap();
    assert_eq!((auth.mode, &auth.crl), (ClientAuthMode::Require, &None));
    let ages = config
        .routes
        .iter()
        .map(|route| route.hsts.map(|h| h.max_age));
    let days = |days: u64| Some(secs(days * 86_400));
    assert!(ages.eq([days(365), days(730), None]));
    assert_eq!(config.server.hsts.map(|h| h.preload), Some(false));
    assert_eq!(config.routes[1].hsts.map(|h| h.preload), Some(true));
}

#[test]
fn tls_that_makes_no_sense() {
    const TLS: &str = "[[listeners]]\naddress = \"127.0.0.1:443\"\ntls = true\n";
    const PAIR: &str = "[[certificates]]\ncert = \"a.pem\"\nkey = \"a.key\"\n";
    for (text, wanted) in [
        (
            format!("{TLS}[[certificates]]\ncert = \"a\"\nkey = \"b\"\nfolder = \"c\"\n"),
            "5:8: error: `folder` stands in the place of `cert` and `key`",
        ),
        (
            format!("{TLS}[[certificates]]\ncert = \"a\"\n"),
            "4:1: error: `key` is missing",
        ),
        (
            format!("{TLS}client_auth = {{ mode = \"require\" }}\n{PAIR}"),
            "4:15: error: `ca` is missing",
        ),
        (
            format!("{TLS}client_auth = {{ ca = \"a\", mode = \"requir\" }}\n{PAIR}"),
            "help: did you mean `require`?",
        ),
        (
            format!("{TLS}tls_profile = \"old\"\n{PAIR}"),
            "4:15: error: `old` is no choice here",
        ),
        (
            "[[listeners]]\naddress = \"127.0.0.1:80\"\ntls_profile = \"modern\"\n".to_owned(),
            "3:15: error: `tls_profile` does nothing without `tls`",
        ),
        (
            "[[listeners]]\naddress = \"127.0.0.1:80\"\nclient_auth = { ca = \"a\" }\n".to_owned(),
            "3:15: error: `client_auth` does nothing without `tls`",
        ),
        (
            format!("[server]\nhsts = \"11y\"\n{TLS}{PAIR}"),
            "2:8: error: `hsts` may last ten years at most",
        ),
        (
            format!("[server]\nhsts = 10\n{TLS}{PAIR}"),
            "2:8: error: expected a duration such as \"365d\", `false`, or a table",
        ),
        (
            format!("[server]\nhsts = {{ max_age = \"1d\", preload = true }}\n{TLS}{PAIR}"),
            "2:8: warning: no list of preloaded names takes this",
        ),
        (
            format!(
                "[server]\nhsts = \"1y\"\nresponse_headers = {{ remove = [\"Strict-Transport-Security\"] }}\n{TLS}{PAIR}"
            ),
            "3:32: warning: this does nothing: `hsts` says what browsers get here",
        ),
        (
            "[server]\nhsts = \"1y\"\n[[listeners]]\naddress = \"127.0.0.1:80\"\n".to_owned(),
            "2:8: warning: `hsts` does nothing: no listener has `tls`",
        ),
        (
            format!(
                "[upstreams.s]\nservers = [\"127.0.0.1:1\"]\n[[routes]]\nupstream = \"s\"\nhost = \"a\"\n\
                 [[routes]]\nupstream = \"s\"\nhost = \"a\"\npath = \"/x\"\nhsts = \"1d\"\n{TLS}{PAIR}"
            ),
            "10:8: warning: another route of this host says something else of `hsts`",
        ),
    ] {
        let said = reported(&text);
        assert!(said.contains(wanted), "{text}\n{said}");
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
fn limits_and_address_lists() {
    let config = valid(&format!(
        r#"
        [server]
        deny = ["bad"]
        [address_lists.bad]
        entries = ["203.0.113.0/24", "2001:db8::1"]
        file = "lists/bad.txt"
        [address_lists.office]
        entries = ["10.0.0.0/8"]
        [limits.checkout]
        key = ["client-ip", "cookie:session", "header:X-User", "param:slug", "host"]
        prefix = {{ ipv4 = 24, ipv6 = 56 }}
        rate = "5/s"
        burst = 10
        count = "origin"
        action = "delay"
        max_delay = "2s"
        status = 503
        exempt = ["office"]
        [limits.looks-on]
        rate = "5/s"
        action = "log"
        [[routes]]
        path = "/products/:slug"
        upstream = "shop"
        limits = ["checkout", "looks-on"]
        allow = ["office"]
        deny = ["bad"]
        {MINIMAL}
        "#
    ));
    let [bad, office] = &config.address_lists[..] else {
        panic!("{:?}", config.address_lists)
    };
    assert_eq!((bad.entries.len(), office.entries.len()), (2, 1));
    assert_eq!(
        bad.file.as_deref(),
        Some(Path::new("/etc/dhal/lists/bad.txt"))
    );
    assert_eq!(config.server.deny, [0]);
    let limit = &config.limits[0];
    assert_eq!(
        limit.key,
        [
            LimitKey::ClientIp,
            LimitKey::Cookie("session".to_owned()),
            LimitKey::Header(http::HeaderName::from_static("x-user")),
            LimitKey::Param("slug".to_owned()),
            LimitKey::Host,
        ]
    );
    assert_eq!((limit.prefix.ipv4, limit.prefix.ipv6), (24, 56));
    assert_eq!(limit.count, LimitCount::Origin);
    assert_eq!(limit.action, LimitAction::Delay { max: secs(2) });
    assert_eq!((limit.status, &limit.exempt[..]), (503, &[1][..]));
    let plain = &config.limits[1];
    assert_eq!(plain.key, [LimitKey::ClientIp]);
    assert_eq!((plain.prefix.ipv4, plain.prefix.ipv6), (32, 64));
    assert_eq!(
        (plain.count, plain.action),
        (LimitCount::All, LimitAction::Log)
    );
    assert_eq!(plain.status, 429);
    let changed = Limit {
        action: LimitAction::Reject,
        status: 503,
        count: LimitCount::Origin,
        ..plain.clone()
    };
    assert!(
        plain.counts_as(&changed),
        "what it does is another question"
    );
    for changed in [
        Limit {
            max_keys: 7,
            ..plain.clone()
        },
        Limit {
            key: vec![LimitKey::Host],
            ..plain.clone()
        },
        Limit {
            period: secs(60),
            ..plain.clone()
        },
    ] {
        assert!(!plain.counts_as(&changed));
    }
    let route = &config.routes[0];
    assert_eq!((&route.allow[..], &route.deny[..]), (&[1][..], &[0][..]));
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
