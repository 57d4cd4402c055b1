//! What single sections come to.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{MINIMAL, parse, valid};
use crate::config::{
    model::{
        AccessLog, BackendAddress, Disk, Limit, LimitAction, LimitCount, LimitKey, LogFormat,
        LogTarget, Reload, SetCookie,
    },
    units::secs,
};

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
    let faster = Limit {
        period: secs(60),
        burst: std::num::NonZeroU32::MIN,
        ..plain.clone()
    };
    assert!(plain.counts_as(&faster), "and so is what it allows");
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
            prefix: limit.prefix,
            ..plain.clone()
        },
    ] {
        assert!(!plain.counts_as(&changed));
    }
    let route = &config.routes[0];
    assert_eq!((&route.allow[..], &route.deny[..]), (&[1][..], &[0][..]));
}
