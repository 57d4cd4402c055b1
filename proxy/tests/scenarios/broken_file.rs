//! Verbs that ask the running edge while its file on disk is broken, which is when operators need them most.

use crate::{
    edge::Edge,
    origin::{Origin, page},
    serving::smallest,
};

#[test]
fn the_running_edge_is_asked_whatever_the_file_says() {
    let shop = Origin::start(|_| page("ok"));
    let config = smallest(&shop) + "[admin]\naddress = \"unix:@dir/admin.sock\"\n";
    let edge = Edge::start(&config);
    let whole = edge.site.read("dhal.toml");
    let (rest, admin) = whole.split_once("[admin]").expect("a section");
    let admin = format!("[admin]{admin}");
    let path = |name: &str| edge.site.path(name);
    for (main, included, says) in [
        (
            format!("{whole}[server]\nthreads = \"many\"\n"),
            None,
            "threads",
        ),
        (format!("{whole}[server\n"), None, "dhal.toml:"),
        (format!("[server\n{whole}"), None, "dhal.toml:1:"),
        (
            format!("include = [\"more.toml\"]\nnonsense = 1\n{rest}"),
            Some(admin.clone()),
            "nonsense",
        ),
        (
            format!("include = [\"more.toml\"]\n{rest}"),
            Some(format!("{admin}[[routes]\n")),
            "more.toml:",
        ),
    ] {
        std::fs::write(path("dhal.toml"), &main).expect("written");
        if let Some(text) = included {
            std::fs::write(path("more.toml"), text).expect("written");
        }
        for verb in [&["status"][..], &["status", "--json"], &["history"]] {
            let output = edge.site.dhal(verb);
            let (out, err) = (
                String::from_utf8_lossy(&output.stdout).into_owned(),
                String::from_utf8_lossy(&output.stderr).into_owned(),
            );
            assert!(output.status.success(), "{verb:?} with {main}: {err}");
            assert!(
                err.contains("is broken, and not what runs"),
                "{verb:?}: {err}"
            );
            assert!(err.contains(says), "{says}: {err}");
            match verb {
                ["status"] => assert!(out.contains(" is ready"), "{out}"),
                ["status", ..] => {
                    let status: serde_json::Value = serde_json::from_str(&out).expect("JSON");
                    assert_eq!(status["ready"], true);
                }
                _ => assert!(!out.is_empty()),
            }
        }
        // Who wants it in force hears what is wrong, and the edge has heard that it was tried.
        assert_eq!(edge.site.dhal(&["reload"]).status.code(), Some(1));
    }
    let failures = edge.metric("dhal_config_reloads_total{outcome=\"failure\"}");
    assert_eq!(failures, Some(5.0));
    // Nobody can be asked where nothing is left to ask at.
    std::fs::write(path("dhal.toml"), format!("nonsense = 1\n{rest}")).expect("written");
    assert_eq!(edge.site.dhal(&["status"]).status.code(), Some(1));
}
