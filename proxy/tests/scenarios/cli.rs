//! The command line: what it says and how it ends.

use std::{net::TcpListener, os::unix::fs::PermissionsExt, process::Output};

use nix::sys::signal::Signal;

use crate::{
    edge::{Edge, Site},
    origin::{Origin, page},
    serving::{plain, smallest},
};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Starts a site that must refuse to, and returns its one sentence.
fn refuses(site: Site) -> String {
    let mut edge = site.spawn();
    assert_eq!(edge.wait().code(), Some(1), "{}", edge.stderr());
    let said = edge.stderr();
    // The line of the file may follow.
    let last = said
        .trim_end()
        .lines()
        .rfind(|line| !line.starts_with(' '))
        .unwrap_or_default()
        .to_owned();
    assert!(!said.contains("panicked"), "{said}");
    assert!(!last.is_empty(), "it says why");
    last
}

fn shop() -> Origin {
    Origin::start(|_| page("ok"))
}

#[test]
fn check_tells_good_from_broken() {
    let shop = shop();
    let site = Site::new(&smallest(&shop));
    for arguments in [&["check"][..], &["-t"], &["check", "-c", "dhal.toml"]] {
        let output = site.dhal(arguments);
        assert!(output.status.success(), "{output:?}");
        assert!(stdout(&output).contains("valid"), "{output:?}");
    }
    site.configure("[[routes]]\nupstream = \"shop\"\ncahce = \"default\"\n[upstreams.shop]\nservers = [\"127.0.0.1\"]\n");
    for arguments in [&["check"][..], &["-t"], &["run"]] {
        let output = site.dhal(arguments);
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(said.contains("dhal.toml:3:1"), "{said}");
        assert!(said.contains("dhal.toml:5:"), "all errors at once: {said}");
        assert!(
            said.contains("cahce") && said.contains("`cache`"),
            "a suggestion: {said}"
        );
    }
    let missing = site.dhal(&["check", "-c", "missing.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("missing.toml"));
}

#[test]
fn wrong_usage() {
    let site = Site::new("");
    for arguments in [&[][..], &["fly"], &["run", "--fast"], &["check", "a", "b"]] {
        let output = site.dhal(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!stderr(&output).is_empty());
    }
    let version = site.dhal(&["version"]);
    assert!(version.status.success());
    assert_eq!(
        stdout(&version),
        format!("dhal {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert!(site.dhal(&["--help"]).status.success());
}

#[test]
fn status_of_a_running_edge() {
    let shop = Origin::start(|_| page("ok").fresh(60));
    let edge = Edge::start(&smallest(&shop));
    edge.get("/");
    edge.get("/");
    let output = edge.site.dhal(&["status"]);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    for part in [
        "ready",
        "1 of 2 requests",
        "generation 1",
        &shop.to_string(),
        "up",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let json = edge.site.dhal(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(
        (&status["ready"], &status["cache"]["hits"]),
        (&true.into(), &1.into())
    );
}

#[test]
fn nothing_runs() {
    let shop = shop();
    let site = Site::new(&smallest(&shop));
    for arguments in [
        &["status"][..],
        &["reload"],
        &["purge", "--all"],
        &["warm", "http://shop.example/"],
    ] {
        let output = site.dhal(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("is it running?"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn dev_cert_keeps_its_key_to_itself() {
    let site = Site::new("");
    let made = site.dhal(&["dev-cert", "--name", "a.example"]);
    assert!(made.status.success(), "{made:?}");
    let mode = |name| {
        let metadata = std::fs::metadata(site.path(name)).expect("a file");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(
        (mode("certs/dev.key"), mode("certs/dev.pem")),
        (0o600, 0o644)
    );
    let first = site.read("certs/dev.pem");
    assert!(first.starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(site.dhal(&["dev-cert"]).status.success());
    assert_eq!(site.read("certs/dev.pem"), first, "what is there stays");
    assert!(site.dhal(&["dev-cert", "--force"]).status.success());
    assert_ne!(site.read("certs/dev.pem"), first);
    assert_eq!(mode("certs/dev.key"), 0o600);
}

#[test]
fn a_port_is_served_by_one_edge() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    let address = edge.site.http.to_string();
    let second = Site::new(&smallest(&shop).replace("@http", &address));
    let said = refuses(second);
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
    assert_eq!(edge.get("/").status, 200);
}

#[test]
fn an_address_of_another_program() {
    let shop = shop();
    let site = Site::new(&smallest(&shop));
    let other = TcpListener::bind(site.http).expect("free");
    let said = refuses(site);
    assert!(
        said.contains("cannot listen on") && said.contains("in use"),
        "{said}"
    );
    drop(other);
}

#[test]
fn an_address_of_another_host() {
    let shop = shop();
    let said = refuses(Site::new(
        &smallest(&shop).replace("@http", "192.0.2.1:8080"),
    ));
    assert!(said.contains("cannot listen on 192.0.2.1:8080"), "{said}");
}

#[test]
fn an_admin_socket_of_a_running_edge() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    let socket = edge.site.path("admin.sock");
    let admin = format!("[admin]\naddress = \"unix:{}\"\n", socket.display());
    let said = refuses(Site::new(&(smallest(&shop) + &admin)));
    assert!(
        said.contains("admin socket") && said.contains("another process"),
        "{said}"
    );
    assert_eq!(edge.admin("GET", "/healthz").0, 200);
}

#[test]
fn files_that_cannot_be_used() {
    let shop = shop();
    let mut site = Site::new_tls(&plain(&shop));
    assert!(site.dhal(&["dev-cert", "--out", "other"]).status.success());
    std::fs::copy(site.path("other/dev.key"), site.path("certs/dev.key")).expect("a copy");
    let check = site.dhal(&["check"]);
    assert_eq!(check.status.code(), Some(1));
    assert!(
        stderr(&check).contains("does not belong to"),
        "{}",
        stderr(&check)
    );
    let said = refuses(site);
    assert!(said.contains("does not belong to"), "{said}");

    site = Site::new_tls(&plain(&shop));
    std::fs::write(site.path("certs/dev.pem"), "nothing").expect("a file");
    let said = refuses(site);
    assert!(said.contains("certs/dev.pem"), "{said}");

    site = Site::new_tls(&plain(&shop));
    std::fs::remove_file(site.path("certs/dev.key")).expect("a file");
    let said = refuses(site);
    assert!(said.contains("certs/dev.key"), "{said}");

    let said = refuses(Site::new(
        &(smallest(&shop) + "[access_log]\npath = \"@dir/none/access.log\"\n"),
    ));
    assert!(said.contains("none/access.log"), "{said}");
    let said = refuses(Site::new(
        &(smallest(&shop) + "[server]\npid_file = \"@dir/none/dhal.pid\"\n"),
    ));
    assert!(said.contains("none/dhal.pid"), "{said}");
    let token = "[admin]\naddress = \"@admin\"\ntoken_file = \"@dir/token\"\n";
    let said = refuses(Site::new(&(smallest(&shop) + token)));
    assert!(said.contains("token"), "{said}");
    let short = Site::new(&(smallest(&shop) + token));
    std::fs::write(short.path("token"), "short").expect("a file");
    assert!(refuses(short).contains("shorter than 16"));
}

#[test]
fn limits_are_proposed_from_the_log() {
    let shop = Origin::start(|_| page("ok").fresh(60));
    let mut edge = Edge::start(&smallest(&shop));
    for _ in 0..7 {
        edge.get("/");
    }
    edge.signal(Signal::SIGTERM);
    assert!(edge.wait().success());
    let output = edge.site.dhal(&["limits", "suggest"]);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    for part in [
        "7 requests of 1 client",
        "127.0.0.1",
        "200 (7)",
        "rate = \"11/m\"",
        "burst = 11",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let output = edge
        .site
        .dhal(&["limits", "suggest", "--log", "access.log", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["routes"][0]["requests"], 7);
    let missing = edge.site.dhal(&["limits", "suggest", "--log", "missing"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("missing"), "{missing:?}");
    for arguments in [&["limits"][..], &["limits", "suggest", "--percentile", "0"]] {
        assert_eq!(edge.site.dhal(arguments).status.code(), Some(2));
    }
}
