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
