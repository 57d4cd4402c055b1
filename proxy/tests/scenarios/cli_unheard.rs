//! Verbs whose readers are gone, as those of `dhal history | head -3` are.

use std::process::Child;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    edge::{Edge, Site},
    origin::{Origin, page},
    serving::smallest,
    tools::eventually,
};

/// Each verb ends as it does when somebody reads, and says nothing of it.
fn unheard(site: &Site, lines: &[&str]) {
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let heard = site.dhal(&words);
        assert!(
            !heard.stdout.is_empty() || !heard.stderr.is_empty(),
            "`dhal {line}` has something to say"
        );
        let unheard = site.dhal_unheard(&words, true);
        let errors = String::from_utf8_lossy(&unheard.stderr);
        assert_eq!(
            unheard.status.code(),
            heard.status.code(),
            "dhal {line}: {errors}"
        );
        assert!(!errors.contains("panicked"), "dhal {line}: {errors}");
        assert!(!errors.contains("roken pipe"), "dhal {line}: {errors}");
        let alone = site.dhal_unheard(&words, false);
        assert_eq!(alone.status.code(), heard.status.code(), "dhal {line}");
    }
}

#[test]
fn verbs_on_a_running_edge() {
    let shop = Origin::start(|_| page("ok").fresh(60));
    let edge = Edge::start(&smallest(&shop));
    edge.get("/");
    // What is said of the log is said of this request.
    eventually("it is logged", || edge.log().len() == 1);
    let server = shop.to_string();
    let url = format!("http://{}/", edge.site.http);
    unheard(
        &edge.site,
        &[
            "status",
            "status --json",
            "history",
            "history --json",
            "history --text 1",
            "history --text 99",
            "reload",
            "reload --rollback",
            "explain http://shop.example/",
            "explain --json http://shop.example/",
            "acme status",
            "acme renew shop.example",
            &format!("warm {url}"),
            "purge http://shop.example/ --tag a --prefix http://shop.example/a",
            "purge --all",
            &format!("drain shop {server}"),
            &format!("drain shop {server} --wait 1s"),
            &format!("undrain shop {server}"),
            "limits suggest",
            "limits suggest --json",
        ],
    );
    // What is different is said as well.
    edge.site
        .configure(&(smallest(&shop) + "[server]\nmax_connections = 77\n"));
    unheard(&edge.site, &["config diff"]);
    unheard(&edge.site, &["upgrade --binary /nowhere/dhal"]);
}

#[test]
fn verbs_on_files() {
    let shop = Origin::start(|_| page("ok"));
    let site = Site::new(&smallest(&shop));
    std::fs::write(
        site.path("nginx.conf"),
        "events {}\nhttp { server { listen 127.0.0.1:8080; location / { proxy_pass http://127.0.0.1:3000; } } }\n",
    )
    .expect("a file");
    std::fs::write(site.path("urls"), "/\n/a\n").expect("a file");
    let url = format!("http://{shop}/");
    unheard(
        &site,
        &[
            "check",
            "-t",
            "check -c missing.toml",
            "config print",
            "config print --origin",
            "config print --json",
            "config schema",
            "config reference",
            "explain --file http://shop.example/",
            "explain --file --json http://shop.example/",
            "status",
            "history",
            "reload",
            "limits suggest --log missing",
            "import nginx.conf",
            "import nginx.conf --json",
            &format!("import --compare --nginx {url} --dhal {url} --urls urls"),
            &format!("import --compare --json --nginx {url} --dhal {url} --urls urls"),
            "dev-cert",
            "dev-cert --force",
            "completions bash",
            "completions zsh",
            "completions fish",
            "demo --stop",
            "version",
            "--version",
            "--help",
            "help config",
            "fly",
            "purge",
        ],
    );
    // It has nothing to say.
    let unheard = site.dhal_unheard(&["man", "man"], false);
    assert_eq!(unheard.status.code(), Some(0));
}

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_edge_whose_log_nobody_reads() {
    let shop = Origin::start(|_| page("ok"));
    let site = Site::new(&smallest(&shop));
    let closed = || std::io::pipe().expect("a pipe").1;
    let child = site
        .command(&["run"])
        .stdout(closed())
        .stderr(closed())
        .spawn()
        .expect("dhal starts");
    let mut running = Running(child);
    eventually("it is ready", || site.dhal(&["status"]).status.success());
    for _ in 0..3 {
        let reload = site.dhal(&["reload"]);
        assert!(reload.status.success(), "{reload:?}");
    }
    let pid = Pid::from_raw(i32::try_from(running.0.id()).expect("a process id"));
    kill(pid, Signal::SIGTERM).expect("it runs");
    let mut end = None;
    eventually("it ends", || {
        end = running.0.try_wait().expect("its state");
        end.is_some()
    });
    assert_eq!(end.and_then(|end| end.code()), Some(0));
}
