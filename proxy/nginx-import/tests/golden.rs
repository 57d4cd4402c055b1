//! Configurations as people run them, and what becomes of them: `dhal.toml` and `report.txt` beside each.
//!
//! `UPDATE_GOLDEN=1 cargo test -p nginx-import --test golden` writes them anew; read the difference then.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use nginx_import::Files;

/// A site whose placeholders are filled in, as the scenarios do it.
struct Site(String);

impl Files for Site {
    fn read(&self, path: &str) -> Result<String, String> {
        match path {
            "nginx.conf" => Ok(self.0.clone()),
            _ => Err("there is none".to_owned()),
        }
    }

    fn matching(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

fn check(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/sites")
        .join(name);
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
    let mut text = read("nginx.conf");
    for (placeholder, value) in [
        ("@dir", "/srv"),
        ("@listen", "127.0.0.1:8080"),
        ("@plain", "127.0.0.1:8081"),
        ("@backend2", "127.0.0.1:3001"),
        ("@backend", "127.0.0.1:3000"),
    ] {
        text = text.replace(placeholder, value);
    }
    let import = nginx_import::import(&Site(text), "nginx.conf").expect(name);
    let report = format!("{}\n", import.report);
    for (file, content) in [("dhal.toml", &import.toml), ("report.txt", &report)] {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(folder.join(file), content).expect(file);
        }
        let expected = read(file);
        let differs = content.lines().zip(expected.lines()).find(|(a, b)| a != b);
        assert!(
            *content == expected,
            "{name}/{file} is another one now, first here: {differs:?}\n{content}"
        );
    }
}

#[test]
fn static_and_proxy() {
    check("static-and-proxy");
}

#[test]
fn shop_with_cache() {
    check("shop-with-cache");
}

#[test]
fn limited_api() {
    check("limited-api");
}

#[test]
fn hosts_with_tls() {
    check("hosts-with-tls");
}

#[test]
fn magento_like() {
    check("magento-like");
}

#[test]
fn plain_proxy() {
    check("plain-proxy");
}
