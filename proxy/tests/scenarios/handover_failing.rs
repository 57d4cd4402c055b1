//! Upgrades that fail leave everything as it was, and say why; and what systemd hears of those that do not.

use std::{
    os::unix::net::UnixDatagram,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    edge::{Edge, Site},
    handover::{Load, Service, is_alive, script, signal},
    origin::{Origin, page},
    serving::{plain, smallest},
    tools::{PATIENCE, eventually},
    upgrade::{ASK, echoing},
};

const FAILURES: &str = "dhal_upgrades_total{outcome=\"failure\"}";
const REFUSED: &str = "dhal_upgrades_total{outcome=\"refused\"}";

/// Processes whose parent is this one.
fn children(of: u32) -> usize {
    let is_child = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(1));
        parent == Some(of.to_string().as_str())
    };
    let entries = std::fs::read_dir("/proc").expect("processes");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| is_child(name)).count()
}

/// The line of the status about the last one that failed.
fn failed_upgrade(edge: &Edge) -> String {
    let status = edge.site.dhal(&["status"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    let line = status.lines().find(|line| line.starts_with("upgrade "));
    line.unwrap_or_default().to_owned()
}

#[test]
fn failing_upgrades_of_every_kind_change_nothing() {
    let shop = Origin::start(|_| page("hot").fresh(600));
    let config = plain(&shop)
        + "[server]\nupgrade_timeout = \"2s\"\npid_file = \"@dir/dhal.pid\"\nkeepalive_timeout = \"2s\"\n"
        + "[admin]\naddress = [\"unix:@dir/admin.sock\", \"@admin\"]\n";
    let edge = Edge::start_tls(&config);
    let good = edge.site.read("dhal.toml");
    let load = Load::begin(edge.site.http, edge.site.https);
    let mut service = Service::of(edge);
    let pid = service.edge.id();
    let site = &service.edge.site;
    let says = |name: &str, lines: &str| script(site, name, lines);
    let crashes = says("crashes", "echo 'no luck today' >&2\nexit 3");
    let hangs = says("hangs", "exec sleep 600");
    let hello = "{\"protocol\":9,\"version\":\"9.1\",\"pid\":1}";
    let stranger = says(
        "stranger",
        &format!(
            "printf 'H\\000\\000\\000\\{:o}%s' '{hello}' >&0\nexec sleep 600",
            hello.len()
        ),
    );
    let babbles = says("babbles", "echo 'nonsense' >&0\nexec sleep 600");
    let killed = says("killed", "kill -9 $$");
    std::fs::write(site.path("plain"), "no program").expect("written");
    let plain = site.path("plain").display().to_string();
    let missing = site.path("missing").display().to_string();
    let folder = site.path("").display().to_string();
    let mut failures = 0.0;
    for (binary, reason) in [
        (&crashes, "no luck today"),
        (&crashes, "exit status: 3"),
        (&killed, "signal: 9"),
        (&hangs, "it did not serve within 2s"),
        (
            &stranger,
            "dhal 9.1 takes over by version 9 of the protocol",
        ),
        (&babbles, "another language"),
        (&plain, "it is not executable"),
        (&missing, "No such file"),
        (&folder, "it is no file"),
    ] {
        let output = service.try_upgrade(&["--binary", binary]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(reason), "{reason}: {said}");
        assert!(said.contains("the running process goes on"), "{said}");
        failures += 1.0;
        assert_eq!(service.edge.metric(FAILURES), Some(failures));
        assert_eq!((service.pid(), children(pid)), (pid, 0));
        let told = failed_upgrade(&service.edge);
        assert!(told.contains(reason), "{reason}: {told}");
    }
    // Mistakes that only the new process finds, of a program that is right.
    for (config, reason) in [
        ("nonsense = true\n".to_owned() + &good, "nonsense"),
        (good.replace("certs/dev.pem", "certs/none.pem"), "none.pem"),
    ] {
        std::fs::write(service.edge.site.path("dhal.toml"), config).expect("written");
        let output = service.try_upgrade(&[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(reason), "{reason}: {said}");
        failures += 1.0;
        assert_eq!(service.edge.metric(FAILURES), Some(failures));
        assert_eq!((service.pid(), children(pid)), (pid, 0));
    }
    // What others need not know.
    let (_, everything) = service.edge.admin("GET", "/status");
    assert!(everything.contains("none.pem"), "{everything}");
    let status = crate::client::Conn::open(service.edge.site.admin_tcp).get("/status");
    let text = status.text();
    assert!(text.contains("last_failed_upgrade\":{\"at\":"), "{text}");
    assert!(!text.contains("none.pem"), "{text}");
    std::fs::write(service.edge.site.path("dhal.toml"), good).expect("written");
    assert_eq!(service.edge.site.read("dhal.pid"), format!("{pid}\n"));
    load.goes_on(50);
    // What was wrong was the new program every time.
    let (before, _) = service.upgrade();
    assert_eq!(before, pid);
    assert_eq!(failed_upgrade(&service.edge), "");
    load.goes_on(50);
    load.end();
    assert!(service.edge.wait().success());
}

#[test]
fn the_second_upgrade_at_once_is_refused_and_a_stop_ends_the_first() {
    let shop = Origin::start(|_| page("hot"));
    let mut service = Service::of(Edge::start(&smallest(&shop)));
    let hangs = script(&service.edge.site, "hangs", "exec sleep 600");
    let pid = service.edge.id();
    thread::scope(|scope| {
        let site = &service.edge.site;
        let first = scope.spawn(|| site.dhal(&["upgrade", "--binary", &hangs]));
        eventually("it is under way", || children(pid) == 1);
        let second = site.dhal(&["upgrade"]);
        assert_eq!(second.status.code(), Some(1));
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(said.contains("an upgrade is under way already"), "{said}");
        assert_eq!(service.edge.metric(REFUSED), Some(1.0));
        service.edge.signal(Signal::SIGTERM);
        // Answered, or cut off with the process: it has not succeeded.
        assert_eq!(first.join().expect("no panic").status.code(), Some(1));
    });
    assert!(service.edge.wait().success());
    assert!(
        service
            .edge
            .stderr()
            .contains("this process was told to stop")
    );
    assert!(!service.edge.site.path("admin.sock").exists());
}

#[test]
fn another_program_is_named_over_the_socket_only() {
    let shop = Origin::start(|_| page("hot"));
    let config = smallest(&shop)
        + "[admin]\naddress = [\"unix:@dir/admin.sock\", \"@admin\"]\ntoken_file = \"@dir/token\"\n";
    let site = Site::new(&config);
    std::fs::write(site.path("token"), "0123456789abcdef").expect("written");
    let mut service = Service::of(Edge::start_at(site));
    let ask = |json: &str, token: &str| {
        let mut conn = crate::client::Conn::open(service.edge.site.admin_tcp);
        conn.send(format!(
            "POST /upgrade HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{json}",
            json.len()
        ));
        conn.response("POST").status
    };
    assert_eq!(ask("", "fedcba9876543210"), 401);
    assert_eq!(ask("{\"binary\": \"/bin/true\"}", "0123456789abcdef"), 403);
    assert_eq!(ask("{\"binary\": 7}", "0123456789abcdef"), 422);
    let first = service.pid();
    assert_eq!(ask("", "0123456789abcdef"), 200);
    let second = service.pid();
    assert_ne!(first, second);
    // Both sockets have come along.
    service.upgrade();
    signal(second, Signal::SIGKILL);
    assert_eq!(
        crate::client::Conn::open(service.edge.site.admin_tcp)
            .get("/healthz")
            .status,
        200
    );
}

#[test]
fn another_program_takes_over() {
    let shop = Origin::start(|_| page("hot").fresh(60));
    let mut service = Service::of(Edge::start(&smallest(&shop)));
    let real = env!("CARGO_BIN_EXE_dhal");
    let other = script(
        &service.edge.site,
        "other",
        &format!("export OTHER=1\nexec {real} \"$@\""),
    );
    let first = service.pid();
    let output = service.try_upgrade(&["--binary", &other]);
    assert!(output.status.success(), "{output:?}");
    let now = service.pid();
    assert_ne!(now, first);
    let environment = std::fs::read(format!("/proc/{now}/environ")).expect("readable");
    assert!(
        environment
            .split(|b| *b == 0)
            .any(|variable| variable == b"OTHER=1")
    );
    assert!(service.edge.wait().success());
    assert_eq!(service.edge.get("/").status, 200);
}

/// What systemd was told, in the order of its coming.
struct Notified {
    socket: UnixDatagram,
    words: Vec<String>,
}

impl Notified {
    fn at(site: &Site) -> Self {
        let socket = UnixDatagram::bind(site.path("notify.sock")).expect("bound");
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("an option");
        Self {
            socket,
            words: Vec::new(),
        }
    }

    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            self.words.push(text);
        }
    }

    /// Waits for a word with all of these lines, and forgets what came up to it.
    fn hears(&mut self, lines: &[&str]) {
        let until = Instant::now() + PATIENCE;
        loop {
            let is_it = |word: &String| lines.iter().all(|line| word.lines().any(|l| l == *line));
            if let Some(at) = self.words.iter().position(is_it) {
                self.words.drain(..=at);
                return;
            }
            assert!(
                Instant::now() < until,
                "{lines:?} is not heard: {:?}",
                self.words
            );
            self.listen();
        }
    }
}

#[test]
fn systemd_hears_who_serves_and_that_it_lives() {
    let shop = Origin::start(|_| page("hot"));
    let site = Site::new(&smallest(&shop))
        .with_variable("NOTIFY_SOCKET", "@dir/notify.sock")
        .with_variable("WATCHDOG_USEC", "400000");
    let mut systemd = Notified::at(&site);
    let mut service = Service::of(Edge::start_at(site));
    let first = service.pid();
    systemd.hears(&["READY=1", &format!("MAINPID={first}"), "STATUS=ready"]);
    systemd.hears(&["WATCHDOG=1"]);
    systemd.hears(&["WATCHDOG=1"]);
    service.edge.signal(Signal::SIGHUP);
    systemd.hears(&["RELOADING=1"]);
    systemd.hears(&["READY=1"]);
    let (_, now) = service.upgrade();
    systemd.hears(&["READY=1", &format!("MAINPID={now}")]);
    assert!(service.edge.wait().success());
    // The end of the old one is not the end of the service.
    systemd.listen();
    assert!(!systemd.words.join("\n").contains("STOPPING=1"));
    systemd.words.clear();
    systemd.hears(&["WATCHDOG=1"]);
    signal(now, Signal::SIGTERM);
    systemd.hears(&["STOPPING=1", "STATUS=draining"]);
    eventually("it ends", || !is_alive(now));
}

/// A stop while the new process is watched ends both, and systemd hears nothing of the one that never was the service.
#[test]
fn who_is_given_up_never_says_that_it_is_the_service() {
    let shop = Origin::start(|_| page("hot"));
    let site = Site::new(&smallest(&shop)).with_variable("NOTIFY_SOCKET", "@dir/notify.sock");
    let mut systemd = Notified::at(&site);
    let mut service = Service::of(Edge::start_at(site));
    let first = service.pid();
    thread::scope(|scope| {
        let site = &service.edge.site;
        let upgrade = scope.spawn(|| site.dhal(&["upgrade"]));
        eventually("another process serves", || service.pid() != first);
        let second = service.pid();
        service.edge.signal(Signal::SIGTERM);
        assert_eq!(upgrade.join().expect("no panic").status.code(), Some(1));
        eventually("it is ended", || !is_alive(second));
        systemd.listen();
        let said = systemd.words.join("\n");
        assert!(!said.contains(&format!("MAINPID={second}")), "{said}");
    });
    assert!(service.edge.wait().success());
}

/// Systemd starts another process when it learns that the one that serves has crashed, and it inherits that one only
/// when its parent is gone. Without systemd nobody would start one, and visitors of the old process are finished.
#[test]
fn where_the_new_process_crashes_the_old_one_makes_way_for_systemd() {
    let shop = echoing();
    for with_systemd in [true, false] {
        let mut site = Site::new(&smallest(&shop));
        if with_systemd {
            site = site.with_variable("NOTIFY_SOCKET", "@dir/notify.sock");
        }
        let _systemd = Notified::at(&site);
        let mut service = Service::of(Edge::start_at(site));
        let mut tunnel = service.edge.connect();
        tunnel.send(ASK);
        assert_eq!(tunnel.head().expect("an answer").0, 101);
        let (_, now) = service.upgrade();
        signal(now, Signal::SIGKILL);
        let crashed = || service.edge.stderr().contains("has crashed");
        eventually("the old process sees it", crashed);
        if with_systemd {
            assert!(service.edge.wait().success());
            assert!(service.edge.stderr().contains("leaving at once"));
        } else {
            tunnel.send("word");
            assert_eq!(tunnel.take(12).expect("an echo"), b"welcome word");
            assert!(!service.edge.has_ended());
        }
    }
}
