//! What is printed of a configuration means the same when it is read again.

use std::path::Path;

use super::{
    super::{Effective, Surroundings, difference, parse, render},
    BROKEN, DEMO, MINIMAL, PRODUCTION,
};

/// With every kind of key in it.
const FULL: &str = include_str!("full.toml");

fn env(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8080".to_owned()),
        "THREADS" => Some("3".to_owned()),
        "SWITCH" => Some("true".to_owned()),
        "STRIPE_TOKEN" => Some("swordfish".to_owned()),
        _ => None,
    }
}

fn surroundings(folder: &str) -> Surroundings<'_> {
    Surroundings {
        folder: Path::new(folder),
        env: &env,
    }
}

/// The configuration in words, and how it is printed.
fn of(text: &str, folder: &str) -> (String, Effective, String) {
    match parse("dhal.toml", text, &surroundings(folder)) {
        Ok(loaded) => (
            format!("{:?}", loaded.config),
            loaded.config.effective,
            render(&loaded.warnings),
        ),
        Err(errors) => panic!("{errors}\n{text}"),
    }
}

fn goes_round(text: &str) {
    let (meaning, effective, _) = of(text, "/etc/dhal");
    for with_origins in [false, true] {
        let printed = effective.toml(with_origins);
        // Its paths no longer depend on a folder.
        let (again, effective, _) = of(&printed, "/elsewhere");
        assert_eq!(meaning, again, "{printed}");
        let once_more = effective.toml(false);
        assert_eq!(difference(&printed, &once_more), Ok(Vec::new()));
    }
}

#[test]
fn examples_go_round() {
    for text in [MINIMAL, DEMO, PRODUCTION, FULL] {
        goes_round(text);
    }
}

/// Also with keys that do nothing beside others, as there are among the cases of warnings.
#[test]
fn cases_go_round() {
    let mut printed = 0;
    for case in BROKEN.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').unwrap();
        let (text, _) = rest.split_once("--- reported\n").unwrap();
        let text = match title.ends_with("+minimal") {
            true => format!("{text}{MINIMAL}"),
            false => text.to_owned(),
        };
        if parse("dhal.toml", &text, &surroundings("/etc/dhal")).is_ok() {
            goes_round(&text);
            printed += 1;
        }
    }
    assert!(printed >= 5, "{printed}");
}

#[test]
fn every_value_has_its_origin() {
    let (_, effective, _) = of(FULL, "/etc/dhal");
    let text = effective.toml(true);
    for line in [
        "threads = 3  # dhal.toml:2, ${THREADS} of the environment",
        "shutdown_grace = \"10s\"  # default",
        "max_target_bytes = \"8KiB\"  # default",
        "address = \"127.0.0.1:8080\"  # dhal.toml:7, ${PORT} of the environment",
        "[[listeners]]  # dhal.toml:6",
        "tls = true  # dhal.toml:11, ${SWITCH} of the environment",
        "rate = \"5/s\"  # dhal.toml:48, ${UNSET} is not set",
        "key = [\"client-ip\"]  # default",
        "cert = \"/etc/dhal/certs/shop.pem\"  # dhal.toml:14",
        "burst = 5  # default",
        "max_object = \"4MiB\"  # default",
        "max_object = \"16MiB\"  # default",
        "read = \"3s\"  # default",
        "protocol = \"https\"  # default",
        "balance = \"least-requests\"  # default",
        "503 = \"/etc/dhal/busy.html\"  # dhal.toml:117",
        "body_file = \"/etc/dhal/gone.html\"  # dhal.toml:96",
        "x-token = \"${STRIPE_TOKEN}\"  # dhal.toml:76, ${STRIPE_TOKEN} of the environment",
        "upstream_host = \"visitor\"  # default",
        "on = \"always\"  # default",
        "status = 301  # dhal.toml:92, ${UNSET} is not set",
        r#"body = "User-agent: *\n"  # dhal.toml:105"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    for line in text.lines() {
        assert!(line.is_empty() || line.contains("  # "), "{line}");
    }
    // What may not stand there does not.
    assert!(!text.contains("https_port = "), "{text}");
    assert_eq!(text.matches("max_delay = ").count(), 1, "{text}");
}

#[test]
fn secrets_stay_references() {
    let (_, effective, _) = of(FULL, "/etc/dhal");
    let json = effective.json(true);
    assert_eq!(
        json["cache"]["policies"]["pages"]["bypass_cookies"]["value"],
        serde_json::json!(["session", "x-${STRIPE_TOKEN:-(hidden)}"])
    );
    let text = effective.toml(true);
    assert!(text.contains("${STRIPE_TOKEN:-(hidden)}"), "{text}");
    for text in [text, json.to_string(), format!("{effective:?}")] {
        assert!(!text.contains("sword"), "{text}");
    }
}

/// What stands beside a reference, or takes its place, is a secret like one without.
#[test]
fn nothing_is_told_beside_references() {
    let (_, effective, _) = of(
        &format!(
            "{MINIMAL}[routes.request_headers.set]\n\
             Authorization = 'Bearer ${{STRIPE_TOKEN}}'\nX-Api-Key = 'BESIDE${{STRIPE_TOKEN}}'\n\
             X-Pass = '${{STRIPE_TOKEN:-BESIDE}}'\napikey = 'BESIDE'\n\
             [routes.request_headers.add]\nX-Token = ['BESIDE', '${{STRIPE_TOKEN}}']\nX-Jwt = ['${{STRIPE_TOKEN}}']\n"
        ),
        "/etc/dhal",
    );
    let text = effective.toml(false);
    for line in [
        "X-Token = \"(hidden)\"",
        "Authorization = \"Bearer ${STRIPE_TOKEN}\"",
        "X-Api-Key = \"(hidden)\"",
        "X-Pass = \"${STRIPE_TOKEN:-(hidden)}\"",
        "apikey = \"(hidden)\"",
        "X-Jwt = [\"${STRIPE_TOKEN}\"]",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(!text.contains("BESIDE"), "{text}");
    assert!(!effective.json(true).to_string().contains("BESIDE"));
    // Read again where the variable is not set, it is no value.
    let unset = text.replace("STRIPE_TOKEN", "OTHER_TOKEN");
    let unset = unset
        .lines()
        .filter(|line| line.contains(":-") || !line.contains("hidden"));
    let unset: Vec<&str> = unset.filter(|l| !l.contains("OTHER_TOKEN}")).collect();
    let refused = parse("dhal.toml", &unset.join("\n"), &surroundings("/etc/dhal"));
    let why = refused.expect_err("refused").to_string();
    assert!(why.contains("stands in the place of a secret"), "{why}");
}

#[test]
fn as_json() {
    let (_, effective, _) = of(MINIMAL, "/etc/dhal");
    let json = effective.json(false);
    assert_eq!(json["listeners"][0]["address"], "127.0.0.1:8080");
    assert_eq!(json["upstreams"]["shop"]["retry"]["attempts"], 2);
    assert_eq!(json["server"]["threads"], 0);
    let json = effective.json(true);
    assert_eq!(
        json["server"]["threads"],
        serde_json::json!({ "value": 0, "origin": "default" })
    );
}
