//! What is told of a wrong configuration that holds secrets.

use std::path::Path;

use crate::config::{Surroundings, parse};

const TOKEN: &str = "Abcd-1234-efgh";
const BASE: &str = "[[listeners]]\naddress = \"127.0.0.1:80\"\n[upstreams.s]\nservers = [\"127.0.0.1:1\"]\n[[routes]]\nupstream = \"s\"\n";

fn env(name: &str) -> Option<String> {
    (name == "API_TOKEN").then(|| TOKEN.to_owned())
}

/// What is said of the smallest configuration with a change.
fn said(from: &str, to: &str) -> String {
    let outside = Surroundings {
        folder: Path::new(""),
        env: &env,
    };
    assert!(BASE.contains(from), "{from}");
    match parse("f", &BASE.replacen(from, to, 1), &outside) {
        Ok(loaded) => crate::config::render(&loaded.warnings),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn values_of_the_environment_are_not_told() {
    let route = "upstream = \"s\"";
    for (from, to, expected) in [
        (
            route,
            "upstream = \"${API_TOKEN}\"",
            "there is no upstream `${API_TOKEN}`",
        ),
        (
            route,
            "upstream = \"s\"\ncache = \"x-${API_TOKEN}\"",
            "there is no cache policy `x-${API_TOKEN}`",
        ),
        (
            route,
            "upstream = \"s\"\nlimits = [\"${API_TOKEN}\"]",
            "there is no limit `${API_TOKEN}`",
        ),
        (
            route,
            "upstream = \"s\"\nhost = [\"${API_TOKEN}.a\", \"${API_TOKEN}.a\"]",
            "${API_TOKEN}",
        ),
        (
            "[[listeners]]",
            "include = [\"${API_TOKEN}/a.toml\"]\n[[listeners]]",
            "there is no file ${API_TOKEN}/a.toml",
        ),
    ] {
        let said = said(from, to);
        assert!(said.contains(expected), "{to}: {said}");
        let small = said.to_ascii_lowercase();
        assert!(
            !small.contains(&TOKEN[..8].to_ascii_lowercase()),
            "{to}: {said}"
        );
    }
}

#[test]
fn values_in_the_clear_are_not_told() {
    let route = "upstream = \"s\"";
    for (to, expected) in [
        (
            "request_headers = { set = { x-api-key = \"S3CRET-value\" }, sett = 1 }",
            "{ x-api-key = \"************\" }, sett = * }\n",
        ),
        // No TOML: the word is not repeated as what could be written.
        ("password = S3CRET-value", "help: write \"(hidden)\""),
        ("token = [\"S3CRET-value\"", "error"),
        ("request_headers.set.x-a = \"S3CRET-value{hots}\"", "hots"),
        (
            "request_headers.set.x-a = \"a ${API_TOKEN} S3CRET-value{hots}\"",
            "\"**${API_TOKEN}*************{hots}\"",
        ),
    ] {
        let said = said(route, &format!("{route}\n{to}"));
        assert!(said.contains(expected), "{to}: {said}");
        assert!(!said.contains("S3CRET"), "{to}: {said}");
    }
}

#[test]
fn what_was_printed_without_its_secrets_is_not_taken() {
    for to in [
        "upstream = \"s\"\nrequest_headers.set.x-api-key = \"(hidden)\"",
        "upstream = \"s\"\nrequest_headers = { add = { a = [\"b\", '(hidden)'] } }",
        "upstream = \"(hidden)\"",
    ] {
        let said = said("upstream = \"s\"", to);
        assert!(said.contains("stands in the place of a secret"), "{said}");
        assert!(said.ends_with("1 error"), "{said}");
    }
    // What is printed cannot be taken for the whole again.
    let outside = Surroundings {
        folder: Path::new("/"),
        env: &env,
    };
    let literal = "upstream = \"s\"\nrequest_headers.set.x-api-key = \"S3CRET-value\"\nrequest_headers.add.x = \"plain\"";
    let text = BASE.replace("upstream = \"s\"", literal);
    let loaded = parse("f", &text, &outside).unwrap();
    let effective = loaded.config.effective;
    let printed = effective.toml(false);
    assert!(printed.contains("x = \"plain\""), "{printed}");
    let refused = parse("f", &printed, &outside).unwrap_err().to_string();
    assert!(refused.contains("`(hidden)` stands"), "{refused}");
    let strangers = effective.for_strangers().toml(true);
    assert!(strangers.contains("x = \"(hidden)\""), "{strangers}");
    for text in [printed, refused, strangers] {
        assert!(!text.contains("S3CRET"), "{text}");
    }
}
