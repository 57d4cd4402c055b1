//! Configurations of several files: checked, printed, and compared with the one that runs.

use std::process::Output;

use crate::{
    edge::{Edge, Site},
    origin::{Origin, page},
    serving::smallest,
};

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn ended(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    text(&output.stdout)
}

fn shop() -> Origin {
    Origin::start(|_| page("ok"))
}

/// The smallest configuration, which includes others.
fn including(shop: &Origin) -> String {
    format!("include = [\"conf.d/*.toml\"]\n{}", smallest(shop))
}

#[test]
fn included_routes_are_served_and_reloaded() {
    let (one, two) = (shop(), Origin::start(|_| page("two")));
    let site = Site::new(&including(&one));
    site.write(
        "conf.d/two.toml",
        format!(
            "[upstreams.two]\nservers = [\"{two}\"]\n[[routes]]\npath = \"/two\"\nupstream = \"two\"\n"
        ),
    );
    let edge = Edge::start_at(site);
    assert_eq!(
        (edge.get("/").text(), edge.get("/two").text()),
        ("ok".into(), "two".into())
    );
    edge.site.write(
        "conf.d/three.toml",
        "[[routes]]\npath = \"/three\"\nupstream = \"two\"\n",
    );
    assert_eq!(edge.get("/three").text(), "ok");
    ended(&edge.site.dhal(&["reload"]), 0);
    assert_eq!(edge.get("/three").text(), "two");
    // Nothing of a file that is wrong takes effect, nor of the others.
    edge.site.write(
        "conf.d/three.toml",
        "[[routes]]\npath = \"/three\"\nupstream = \"three\"\n",
    );
    let refused = edge.site.dhal(&["reload"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(
        said.contains("conf.d/three.toml:3:12: error: there is no upstream `three`"),
        "{said}"
    );
    assert_eq!(edge.get("/three").text(), "two");
}

#[test]
fn check_tells_every_mistake_of_all_files_at_once() {
    let shop = shop();
    let site = Site::new(&format!(
        "{}[[listeners]]\naddress = \"@https\"\ntls = true\n[[certificates]]\ncert = \"absent.pem\"\nkey = \"absent.key\"\n\
         [address_lists.bad]\nfile = \"bad.txt\"\n[server]\nthreads = 9999\n",
        including(&shop)
    ));
    site.write("bad.txt", "10.0.0.1\nnonsense\n");
    site.write(
        "conf.d/a.toml",
        "[[routes]]\npath = \"/a\"\nupstream = \"shpo\"\nmax_body = \"1 MB\"\n",
    );
    site.write("conf.d/b.toml", "[limits.few]\nrate = \"5\"\nburts = 7\n");
    let checked = site.dhal(&["check"]);
    assert_eq!(checked.status.code(), Some(1));
    let said = text(&checked.stderr);
    for part in [
        "there is no file ",
        "absent.pem",
        "absent.key",
        "bad.txt:2: `nonsense` is no address or network",
        "`threads` must lie between 0 and 1024",
        "conf.d/a.toml:3:12: error: there is no upstream `shpo`\n    upstream = \"shpo\"\n               ^^^^^^\nhelp: did you mean `shop`?",
        "conf.d/a.toml:4:12: error: `1 MB` is no size",
        "conf.d/b.toml:2:8: error: `5` is no rate",
        "conf.d/b.toml:3:1: error: unknown key `burts` in [limits.NAME]",
        "8 errors",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}

/// A start says the same, with the reason in one sentence at the end.
#[test]
fn a_start_says_where_a_file_is_named() {
    let site =
        Site::new_tls(&smallest(&shop()).replace("[[listeners]]\naddress = \"@http\"\n", ""));
    std::fs::remove_file(site.path("certs/dev.key")).expect("a file");
    let mut edge = site.spawn();
    assert_eq!(edge.wait().code(), Some(1));
    let said = edge.stderr();
    assert!(said.contains(": error: there is no file "), "{said}");
    assert!(said.contains("key = "), "{said}");
}

#[test]
fn print_means_the_same_when_it_is_read_again() {
    let shop = shop();
    let site = Site::new(&including(&shop));
    site.write("conf.d/a.toml", "[server]\nthreads = \"${THREADS:-2}\"\n");
    let printed = ended(&site.dhal(&["config", "print", "--origin"]), 0);
    for part in [
        "threads = 2  # ",
        "conf.d/a.toml:2, ${THREADS} is not set\n",
        "keepalive_timeout = \"75s\"  # default\n",
        "dhal.toml:",
    ] {
        assert!(printed.contains(part), "{part}\n{printed}");
    }
    let plain = ended(&site.dhal(&["config", "print"]), 0);
    assert!(!plain.contains('#'), "{plain}");
    site.write("elsewhere/again.toml", &printed);
    let again = site.dhal(&["config", "print", "-c", "elsewhere/again.toml"]);
    assert_eq!(ended(&again, 0), plain);
    let json = ended(&site.dhal(&["config", "print", "--json"]), 0);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["server"]["threads"], 2);
    site.configure("nonsense = 1\n");
    ended(&site.dhal(&["config", "print"]), 1);
}

#[test]
fn diff_tells_what_a_reload_would_change() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    assert_eq!(ended(&edge.site.dhal(&["config", "diff"]), 0), "");
    edge.site.configure(&format!(
        "{}\nmax_body = \"2MiB\"\n[limits.few]\nrate = \"5/s\"\n",
        smallest(&shop).trim_end()
    ));
    let said = ended(&edge.site.dhal(&["config", "diff"]), 1);
    let lines: Vec<&str> = said.lines().collect();
    for line in [
        "- routes[/*].max_body = \"1MiB\"",
        "+ routes[/*].max_body = \"2MiB\"",
        "+ limits.few.rate = \"5/s\"",
    ] {
        assert!(lines.contains(&line), "{line}\n{said}");
    }
    ended(&edge.site.dhal(&["reload"]), 0);
    assert_eq!(ended(&edge.site.dhal(&["config", "diff"]), 0), "");
    edge.site.configure("nonsense = 1\n");
    ended(&edge.site.dhal(&["config", "diff"]), 2);
    let (status, running) = edge.admin("GET", "/config");
    assert_eq!(status, 200);
    assert!(running.contains("max_body = \"2MiB\"  # "), "{running}");
    let nobody = Site::new(&smallest(&shop));
    ended(&nobody.dhal(&["config", "diff"]), 2);
}

/// A configuration with a secret in the clear, one of the environment, and one in a file.
fn with_secrets(shop: &Origin, admin: &str, literal: &str) -> String {
    smallest(shop)
        + &format!(
            "request_headers.set = {{ X-Api-Key = \"{literal}\", X-Db = \"${{DB_PASSWORD:-FIRST-OF-ALL}}\" }}\n\
             [admin]\naddress = [\"{admin}\"]\ntoken_file = \"@dir/token\"\n"
        )
}

#[test]
fn diff_tells_which_secrets_differ_and_not_what_they_are() {
    let shop = shop();
    let here = "unix:@dir/admin.sock";
    let site = Site::new(&with_secrets(&shop, here, "LITERAL-ONE"));
    site.write("token", "0123456789abcdef");
    let edge = Edge::start_at(site);
    let diff = |variable: Option<&str>| {
        let mut command = edge.site.command(&["config", "diff"]);
        command.envs(variable.map(|value| ("DB_PASSWORD", value)));
        command.output().expect("dhal runs")
    };
    assert_eq!(ended(&diff(None), 0), "");
    let key = "~ routes[/*].request_headers.set.X-Api-Key: another secret\n";
    let variable = "~ routes[/*].request_headers.set.X-Db: another secret\n";
    let token = edge.site.path("token");
    let file = format!("~ {}: another content\n", token.display());
    assert_eq!(ended(&diff(Some("SECOND-OF-ALL")), 1), variable);
    edge.site
        .configure(&with_secrets(&shop, here, "LITERAL-TWO"));
    assert_eq!(ended(&diff(None), 1), key);
    edge.site.write("token", "fedcba9876543210");
    assert_eq!(ended(&diff(None), 1), format!("{key}{file}"));
    let all = format!("{key}{variable}{file}");
    assert_eq!(ended(&diff(Some("SECOND-OF-ALL")), 1), all);
    // Tried in vain, it is still not in force.
    edge.site.configure("nonsense = 1\n");
    ended(&edge.site.dhal(&["reload"]), 1);
    edge.site
        .configure(&with_secrets(&shop, here, "LITERAL-TWO"));
    assert_eq!(ended(&diff(None), 1), format!("{key}{file}"));
    ended(&edge.site.dhal(&["reload"]), 0);
    assert_eq!(ended(&diff(None), 0), "");
    // Nothing is told to those who have neither secrets nor digests of them.
    let (status, answer) = edge.admin_json("/config/compare", "{}");
    assert_eq!(status, 422, "{answer}");
    let (_, shown) = edge.admin("GET", "/config");
    assert!(shown.contains("\"(hidden)\""), "{shown}");
}

#[test]
fn over_tcp_secrets_are_compared_with_the_token_only() {
    let shop = shop();
    let site = Site::new(&with_secrets(&shop, "@admin", "LITERAL-ONE"));
    site.write("token", "0123456789abcdef");
    let mut edge = site.spawn();
    crate::tools::eventually("it is ready", || {
        edge.site.dhal(&["status"]).status.success()
    });
    assert_eq!(ended(&edge.site.dhal(&["config", "diff"]), 0), "");
    edge.site
        .configure(&with_secrets(&shop, "@admin", "LITERAL-TWO"));
    let said = ended(&edge.site.dhal(&["config", "diff"]), 1);
    assert!(said.contains("X-Api-Key: another secret"), "{said}");
    // The same with a token that is none.
    edge.site.write("token", "0000000000000000");
    let refused = edge.site.dhal(&["config", "diff"]);
    assert_eq!(ended(&refused, 2), "");
    let why = text(&refused.stderr);
    assert!(why.contains("is not compared"), "{why}");
    edge.signal(nix::sys::signal::Signal::SIGTERM);
    edge.wait();
    // Who has no secrets needs none.
    let without = smallest(&shop) + "[admin]\naddress = [\"@admin\"]\n";
    let site = Site::new(&without);
    let mut edge = site.spawn();
    crate::tools::eventually("it is ready", || {
        edge.site.dhal(&["status"]).status.success()
    });
    let same = edge.site.dhal(&["config", "diff"]);
    assert_eq!(ended(&same, 0), "");
    assert_eq!(text(&same.stderr), "");
    edge.signal(nix::sys::signal::Signal::SIGTERM);
    edge.wait();
}
