//! Listeners, admin addresses and bounds that change while visitors are served.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    client::Conn,
    edge::{Edge, Site},
    h2::{H2, https},
    origin::{Origin, page},
    serving::{plain, smallest},
    tools::{PATIENCE, eventually, free_address},
    upgrade::{ASK, echoing},
};

const FAILURES: &str = "dhal_config_reloads_total{outcome=\"failure\"}";
const SUCCESSFUL: &str = "dhal_config_last_reload_successful";

fn listener(address: impl std::fmt::Display) -> String {
    format!("[[listeners]]\naddress = \"{address}\"\n")
}

const CERTIFICATE: &str =
    "[[certificates]]\ncert = \"@dir/certs/dev.pem\"\nkey = \"@dir/certs/dev.key\"\n";

fn reloads(edge: &Edge, config: &str) -> String {
    let output = edge.reload(config);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The reload is refused; returns what was said.
fn refuses(edge: &Edge, config: &str) -> String {
    let output = edge.reload(config);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, PATIENCE).is_err()
}

#[test]
fn listeners_come_and_go() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start(&smallest(&shop));
    let other = free_address();
    let mut kept = edge.connect();
    assert_eq!(kept.get("/").status, 200);
    reloads(&edge, &(smallest(&shop) + &listener(other)));
    let (mut asks, mut idle) = (Conn::open(other), Conn::open(other));
    for conn in [&mut asks, &mut idle] {
        let answer = conn.get("/");
        assert_eq!((answer.status, answer.field("connection")), (200, None));
    }
    reloads(&edge, &smallest(&shop));
    eventually("nobody is let in there any more", || is_refused(other));
    // Those who are in are told to go with their next answer, and nobody is cut off before.
    let answer = asks.get("/");
    assert_eq!(
        (answer.status, answer.field("connection")),
        (200, Some("close"))
    );
    asks.ends();
    assert!(idle.is_quiet(Duration::from_millis(100)));
    assert_eq!(idle.get("/").status, 200);
    idle.ends();
    assert_eq!(
        kept.get("/").field("connection"),
        None,
        "another listener's"
    );
    // And back again.
    reloads(&edge, &(smallest(&shop) + &listener(other)));
    assert_eq!(Conn::open(other).get("/").status, 200);
}

#[test]
fn one_address_gives_way_to_all_addresses() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start(&smallest(&shop));
    let address = free_address();
    let any = SocketAddr::from(([0, 0, 0, 0], address.port()));
    for listened in [address, any, address] {
        reloads(&edge, &(smallest(&shop) + &listener(listened)));
        assert_eq!(Conn::open(address).get("/").status, 200, "{listened}");
    }
}

#[test]
fn whoever_is_connected_to_a_listener_that_goes_is_answered() {
    let shop = Origin::start(|_| page("ok").fresh(60));
    let edge = Edge::start(&smallest(&shop));
    let other = free_address();
    let running = Arc::new(AtomicBool::new(true));
    let answered = Arc::new(AtomicUsize::new(0));
    let visitors: Vec<_> = (0..3)
        .map(|_| {
            let (more, answered) = (Arc::clone(&running), Arc::clone(&answered));
            thread::spawn(move || {
                while more.load(Ordering::SeqCst) {
                    let Ok(stream) = TcpStream::connect_timeout(&other, PATIENCE) else {
                        thread::yield_now();
                        continue;
                    };
                    let mut conn = Conn::plain(stream);
                    assert_eq!(conn.get("/").status, 200);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for _ in 0..4 {
        reloads(&edge, &(smallest(&shop) + &listener(other)));
        let before = answered.load(Ordering::SeqCst);
        eventually("visitors come", || {
            answered.load(Ordering::SeqCst) > before + 50
        });
        reloads(&edge, &smallest(&shop));
        eventually("it is closed", || is_refused(other));
    }
    running.store(false, Ordering::SeqCst);
    for visitor in visitors {
        visitor
            .join()
            .expect("an answer for everyone who was let in");
    }
}

#[test]
fn one_address_changes_its_settings() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start_tls(&plain(&shop));
    let site = &edge.site;
    let other = free_address();
    let config = |more: &str| {
        format!(
            "{}{}{}tls = true\n{CERTIFICATE}{}{more}\n",
            plain(&shop),
            listener(site.http),
            listener(site.https),
            listener(other),
        )
    };
    reloads(&edge, &config(""));
    let mut before = Conn::open(other);
    assert_eq!(before.get("/").status, 200);

    reloads(&edge, &config("tls = true"));
    let mut over_tls = https(other, "shop.example");
    assert_eq!(over_tls.get("/").status, 200);
    let mut h2 = H2::connect(other);
    assert_eq!(h2.get("/").status, 200);
    // Who came before is served as it came, once.
    assert_eq!(before.get("/").status, 200);
    before.ends();

    reloads(
        &edge,
        &config("redirect_to_https = true\nhttps_port = 8443"),
    );
    let mut plain = Conn::open(other);
    let answer = plain.get("/");
    assert_eq!(answer.field("location"), Some("https://shop.example:8443/"));
    assert_eq!(over_tls.get("/").status, 200);
    over_tls.ends();
    // A stream that has begun is answered, and then the connection is over.
    let _ = h2.get("/");
    eventually("the connection ends", || h2.connection.is_finished());

    let trusted = "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    reloads(&edge, &(config("proxy_protocol = true") + trusted));
    let mut told = Conn::open(other);
    told.send("PROXY TCP4 192.0.2.7 192.0.2.1 1000 80\r\n");
    assert_eq!(told.get("/proxied").status, 200);
    eventually("it is logged", || {
        let log = edge.log();
        log.iter()
            .any(|line| line["path"] == "/proxied" && line["client"] == "192.0.2.7")
    });
    assert_eq!(https(site.https, "shop.example").get("/").status, 200);
}

/// Whoever is accepted a moment before a reload makes his handshake after it, under the settings of before.
#[test]
fn handshakes_outlive_a_change_of_profile() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start(&smallest(&shop));
    let made = edge.site.dhal(&["dev-cert", "--name", "shop.example"]);
    assert!(made.status.success());
    let with = |profile: &str| {
        format!(
            "{}{}tls = true\ntls_profile = \"{profile}\"\n{CERTIFICATE}",
            smallest(&shop),
            listener("@https")
        )
    };
    reloads(&edge, &with("modern"));
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    // Should a reload fail.
    let until = Instant::now() + 6 * PATIENCE;
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) && Instant::now() < until {
                    let answer = https(edge.site.https, "shop.example").get("/");
                    assert_eq!(answer.status, 200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for profile in ["intermediate", "modern"].repeat(40) {
            reloads(&edge, &with(profile));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(served.load(Ordering::Relaxed) > 80);
}

#[test]
fn tls_comes_with_a_reload_and_goes() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start(&smallest(&shop));
    let made = edge.site.dhal(&["dev-cert", "--name", "shop.example"]);
    assert!(made.status.success());
    let with = format!(
        "{}{}tls = true\n{CERTIFICATE}",
        smallest(&shop),
        listener("@https")
    );
    reloads(&edge, &with);
    let mut kept = https(edge.site.https, "shop.example");
    assert_eq!(kept.get("/").status, 200);
    reloads(&edge, &smallest(&shop));
    eventually("nobody is let in there any more", || {
        is_refused(edge.site.https)
    });
    assert_eq!(kept.get("/").status, 200);
    kept.ends();
}

#[test]
fn a_failing_reload_changes_nothing_at_whatever_stage() {
    let (shop, wrong) = (
        Origin::start(|_| page("right")),
        Origin::start(|_| page("wrong")),
    );
    let edge = Edge::start(&smallest(&shop));
    let taken = free_address();
    let _taken = TcpListener::bind(taken).expect("nobody else's");
    let (new, admin) = (free_address(), free_address());
    // Each would change the route, and listen on one address more.
    let other = smallest(&wrong) + &listener(new);
    // Of the address in the listener after that.
    let line = other.lines().count() + 2;
    // Of the line below the first that follows.
    let admin_line = line;
    let own = "[admin]\naddress = [\"unix:@dir/admin.sock\"";
    for (stage, config, says) in [
        ("syntax", other.clone() + "[", "dhal.toml:".to_owned()),
        ("meaning", other.clone() + "tsl = true\n", "tsl".to_owned()),
        (
            "certificates",
            format!("{other}tls = true\n{CERTIFICATE}"),
            "certs/dev.pem".to_owned(),
        ),
        (
            "access log",
            format!("{other}[access_log]\npath = \"@dir/none/access.log\"\n"),
            "none/access.log".to_owned(),
        ),
        (
            "admin address",
            format!("{other}{own}, \"{admin}\", \"{taken}\"]\n"),
            format!(": error: cannot listen on the admin address {taken}"),
        ),
        (
            "admin token",
            format!("{other}{own}]\ntoken_file = \"@dir/none\"\n"),
            format!(
                "dhal.toml:{}:14: error: cannot read the admin token",
                admin_line + 1
            ),
        ),
        (
            "pid file",
            format!("{other}[server]\npid_file = \"@dir/none/dhal.pid\"\n"),
            format!("dhal.toml:{admin_line}:12: error: cannot write the pid file"),
        ),
        (
            "address",
            format!(
                "{other}{}[server]\npid_file = \"@dir/dhal.pid\"\n",
                listener(taken)
            ),
            format!("dhal.toml:{line}:11: error: cannot listen on {taken}: "),
        ),
        (
            "restart",
            format!(
                "{other}[server]\nthreads = 7\n[cache]\ndisk = {{ path = \"@dir/disk\", size = \"64MiB\" }}\n"
            ),
            format!("dhal.toml:{admin_line}:11: error: server.threads cannot change while running"),
        ),
        (
            "restart, and the second of two",
            format!(
                "{other}[server]\nthreads = 7\n[cache]\ndisk = {{ path = \"@dir/disk\", size = \"64MiB\" }}\n"
            ),
            format!(
                "dhal.toml:{}:17: error: cache.disk.path cannot change while running",
                admin_line + 2
            ),
        ),
    ] {
        let before = edge.metric(FAILURES).unwrap_or(0.0);
        let said = refuses(&edge, &config);
        assert!(said.contains(&says), "{stage}: {said}");
        assert_eq!(edge.get("/").text(), "right", "{stage}");
        assert!(is_refused(new) && is_refused(admin), "{stage}");
        assert!(!edge.site.path("dhal.pid").exists(), "{stage}");
        assert_eq!(edge.metric(FAILURES), Some(before + 1.0), "{stage}");
        assert_eq!(edge.metric(SUCCESSFUL), Some(0.0), "{stage}");
        edge.site.configure(&smallest(&shop));
        let status = edge.site.dhal(&["status"]);
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        let line = says.lines().next().unwrap_or_default();
        assert!(
            status.contains("refused ") && status.contains(line),
            "{stage}: {status}"
        );
    }
    reloads(&edge, &other);
    assert_eq!(Conn::open(new).get("/").text(), "wrong");
    assert_eq!(edge.metric(SUCCESSFUL), Some(1.0));
}

#[test]
fn the_admin_endpoint_moves() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start(&smallest(&shop));
    let here = format!("unix:{}", edge.site.path("admin.sock").display());
    let there = format!("unix:{}", edge.site.path("there.sock").display());
    let moved = |token: &str| {
        smallest(&shop)
            + &format!(
                "[admin]\naddress = [\"unix:@dir/there.sock\", \"@admin\"]\ntoken_file = \"@dir/{token}\"\n"
            )
    };
    std::fs::write(edge.site.path("one"), "the-first-token-of-two").expect("a file");
    std::fs::write(edge.site.path("two"), "the-second-token-of-two").expect("a file");
    edge.site.configure(&moved("one"));
    // The file names an address where nobody answers yet.
    let output = edge.site.dhal(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("--admin"),
        "{output:?}"
    );
    let output = edge.site.dhal(&["reload", "--admin", &here]);
    assert!(output.status.success(), "{output:?}");
    eventually("the old address is gone", || {
        !edge.site.path("admin.sock").exists()
    });
    for verb in ["status", "history", "reload"] {
        let output = edge.site.dhal(&[verb]);
        assert!(output.status.success(), "{output:?}");
    }
    let ask = |token: &str| {
        let mut conn = Conn::open(edge.site.admin_tcp);
        let bearer = format!("Bearer {token}");
        let fields = [("Authorization", bearer.as_str()), ("Content-Length", "0")];
        conn.request("POST", "/reload", &fields);
        conn.response("POST").status
    };
    assert_eq!(ask("the-first-token-of-two"), 200);
    edge.site.configure(&moved("two"));
    assert_eq!(ask("the-first-token-of-two"), 200);
    assert_eq!(
        [
            ask("the-first-token-of-two"),
            ask("the-second-token-of-two")
        ],
        [401, 200]
    );
    edge.site.configure(&smallest(&shop));
    let output = edge.site.dhal(&["reload", "--admin", &there]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(edge.admin("GET", "/healthz").0, 200);
    eventually("it is gone", || is_refused(edge.site.admin_tcp));
}

#[test]
fn the_pid_file_moves() {
    let shop = Origin::start(|_| page("ok"));
    let config = |name: &str| format!("{}[server]\npid_file = \"@dir/{name}\"\n", smallest(&shop));
    let mut edge = Edge::start(&config("one.pid"));
    let number = format!("{}\n", edge.id());
    assert_eq!(edge.site.read("one.pid"), number);
    reloads(&edge, &config("two.pid"));
    assert_eq!(edge.site.read("two.pid"), number);
    assert!(!edge.site.path("one.pid").exists());
    // What another process wrote there is its own.
    std::fs::write(edge.site.path("two.pid"), "1\n").expect("a file");
    reloads(&edge, &config("three.pid"));
    assert_eq!(edge.site.read("two.pid"), "1\n");
    edge.signal(Signal::SIGTERM);
    assert!(edge.wait().success());
    assert!(!edge.site.path("three.pid").exists());
}

#[test]
fn bounds_change_while_they_are_full() {
    let shop = Origin::start(|r| {
        page(vec![b'x'; 64 * 1024])
            .fresh(600)
            .field("X-Target", &r.target)
    });
    let config = |max: usize, memory: &str, disk: &str| {
        format!(
            "{}[server]\nmax_connections = {max}\n[cache]\nmemory = \"{memory}\"\ndisk = {{ path = \"@dir/disk\", size = \"{disk}\" }}\n",
            smallest(&shop)
        )
    };
    let edge = Edge::start(&config(100, "32MiB", "64MiB"));
    let mut conn = edge.connect();
    for n in 0..300 {
        assert_eq!(conn.get(&format!("/{n}")).status, 200);
    }
    let status = || {
        let (_, text) = edge.admin("GET", "/status");
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")
    };
    let number = |path: &[&str]| {
        let status = status();
        let value = path.iter().fold(&status, |value, key| &value[*key]);
        value.as_u64().expect("a number")
    };
    eventually("all is stored", || {
        number(&["cache", "disk", "objects"]) == 300
    });
    assert!(number(&["cache", "bytes"]) > 18 << 20);

    let many: Vec<_> = (0..20).map(|_| edge.connect()).collect();
    eventually("all are in", || number(&["connections"]) > 20);
    reloads(&edge, &config(10, "8MiB", "16MiB"));
    eventually("the memory is less", || {
        number(&["cache", "bytes"]) <= 8 << 20
    });
    eventually("the disk is less", || {
        number(&["cache", "disk", "bytes"]) <= 16 << 20
    });
    eventually("those who do nothing have gone", || {
        number(&["connections"]) <= 10
    });
    assert_eq!(number(&["max_connections"]), 10);
    assert_eq!(edge.metric("dhal_connections_max"), Some(10.0));
    drop(many);
    assert!(number(&["cache", "responses"]) > 50, "the rest is kept");

    reloads(&edge, &config(200, "32MiB", "64MiB"));
    let more: Vec<_> = (0..50).map(|_| edge.connect()).collect();
    eventually("more are let in", || number(&["connections"]) >= 50);
    drop(more);
    let mut conn = edge.connect();
    for n in 0..300 {
        assert_eq!(conn.get(&format!("/{n}")).status, 200);
    }
    eventually("it is all stored again", || {
        number(&["cache", "bytes"]) > 18 << 20
    });
}

#[test]
fn dozens_of_reloads_under_load() {
    let shop = echoing();
    let edge = Edge::start_tls(&plain(&shop));
    let other = free_address();
    let tls = format!(
        "{}{}tls = true\n{CERTIFICATE}",
        listener(edge.site.http),
        listener(edge.site.https)
    );
    let (http, https) = (edge.site.http, edge.site.https);
    let running = Arc::new(AtomicBool::new(true));
    let served = Arc::new(AtomicUsize::new(0));
    let mut visitors = Vec::new();
    for _ in 0..2 {
        let (more, served) = (Arc::clone(&running), Arc::clone(&served));
        visitors.push(thread::spawn(move || {
            let mut conn = Conn::open(http);
            while more.load(Ordering::SeqCst) {
                let answer = conn.get("/page");
                assert_eq!(answer.status, 200);
                if answer.field("connection") == Some("close") {
                    conn = Conn::open(http);
                }
                assert_eq!(Conn::open(http).get("/page").status, 200);
                served.fetch_add(2, Ordering::SeqCst);
            }
        }));
    }
    let (more, count) = (Arc::clone(&running), Arc::clone(&served));
    visitors.push(thread::spawn(move || {
        let mut h2 = H2::connect(https);
        while more.load(Ordering::SeqCst) {
            assert_eq!(h2.get("/page").status, 200);
            count.fetch_add(1, Ordering::SeqCst);
        }
    }));
    let mut chat = edge.connect();
    chat.send(ASK);
    assert_eq!(chat.head().expect("an answer").0, 101);
    assert_eq!(chat.take(8).expect("a welcome"), b"welcome ");
    let began = Instant::now();
    for n in 0..36 {
        let more = match n % 6 {
            0 => listener(other),
            1 => format!("{}tls = true\n", listener(other)),
            2 => "[limits.many]\nrate = \"1000000/s\"\nburst = 1000000\n".to_owned(),
            3 => format!("[server]\nmax_connections = {}\n", 500 + n),
            4 => format!("[cache]\nmemory = \"{}MiB\"\n", 32 + n),
            _ => "tsl = true\n".to_owned(),
        };
        let route = format!("[[routes]]\npath = \"/only/{n}\"\nupstream = \"shop\"\n");
        let config = format!("{}{tls}{more}{route}", plain(&shop));
        let output = edge.reload(&config);
        assert_eq!(output.status.success(), n % 6 != 5, "{output:?}");
        let word = format!("word {n}");
        chat.send(&word);
        assert_eq!(chat.take(word.len()).expect("an echo"), word.as_bytes());
        let before = served.load(Ordering::SeqCst);
        eventually("visitors are served", || {
            served.load(Ordering::SeqCst) > before
        });
    }
    running.store(false, Ordering::SeqCst);
    for visitor in visitors {
        visitor.join().expect("no failed request");
    }
    assert!(began.elapsed() > Duration::ZERO && served.load(Ordering::SeqCst) > 100);
    assert_eq!(edge.metric(FAILURES), Some(6.0));
    chat.finish();
    chat.ends();
}

#[test]
fn a_site_without_admin_can_be_given_one() {
    let shop = Origin::start(|_| page("ok"));
    let edge = Edge::start_at(Site::new(&(smallest(&shop) + "#[admin]\n")));
    edge.site.configure(&smallest(&shop));
    edge.signal(Signal::SIGHUP);
    eventually("it can be asked", || edge.site.path("admin.sock").exists());
    assert_eq!(edge.admin("GET", "/healthz").0, 200);
}
