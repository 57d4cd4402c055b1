//! Servers, the report, and how long all of it takes.

use super::{server, translated};
use crate::Outcome;

#[test]
fn servers_and_listeners() {
    let redirect = "http { server { listen 80; server_name a.example b.example; return 301 https://$host$request_uri; }
        server { listen 443 ssl; server_name a.example; ssl_certificate a.pem; ssl_certificate_key a.key; location / { proxy_pass http://10.0.0.1; } }
        server { listen 443 ssl; server_name b.example; ssl_certificate b.pem; ssl_certificate_key b.key; ssl_client_certificate ca.pem; ssl_verify_client on; location / { proxy_pass http://10.0.0.2; } } }";
    let import = translated(redirect);
    for line in [
        "address = \"0.0.0.0:80\"\nredirect_to_https = true",
        "address = \"0.0.0.0:443\"\ntls = true",
        "cert = \"a.pem\"",
        "client_auth = { ca = \"ca.pem\", mode = \"require\" }",
        "host = \"b.example\"",
    ] {
        assert!(import.toml.contains(line), "{line}: {}", import.toml);
    }
    assert!(
        !import.toml.contains("host = \"a.example\""),
        "{}",
        import.toml
    );
    assert_eq!(import.report.missing, 0, "{}", import.report);

    let twice = "http { server { listen 80; server_name a.example; location / { proxy_pass http://10.0.0.1; } }
        server { listen 81; server_name a.example; location / { proxy_pass http://10.0.0.2; } } }";
    let import = translated(twice);
    assert!(
        import.toml.contains("another server has its names"),
        "{}",
        import.toml
    );
    assert!(!import.toml.contains("10.0.0.2:80"), "{}", import.toml);

    let closed = "http { server { listen 80 default_server; return 444; }
        server { listen 80; server_name a.example; location / { proxy_pass http://10.0.0.1; } } }";
    let import = translated(closed);
    assert!(
        import.toml.contains("host = \"a.example\""),
        "{}",
        import.toml
    );
    assert_eq!(
        import.toml.matches("[[routes]]").count(),
        1,
        "{}",
        import.toml
    );
}

#[test]
fn everything_is_accounted_for() {
    let import =
        server("location / { proxy_pass http://shop; frobnicate yes; } more_set_headers 'A: b';");
    let missing: Vec<_> = import
        .report
        .rows
        .iter()
        .filter(|row| row.outcome == Outcome::Missing)
        .map(|row| (row.name.as_str(), row.places[0].as_str()))
        .collect();
    assert_eq!(
        missing,
        [
            ("frobnicate", "nginx.conf:3"),
            ("more_set_headers", "nginx.conf:3")
        ]
    );
    let report = &import.report;
    let sum = report.translated + report.idle + report.differs + report.missing;
    assert_eq!(sum, report.directives);
    assert!(
        import.toml.contains("# nginx.conf:3: frobnicate yes;"),
        "{}",
        import.toml
    );
}

#[test]
fn no_line_of_nginx_becomes_a_line_of_ours() {
    let import =
        server("location / { proxy_pass http://shop; frobnicate \"a\n[server]\nthreads = 9\"; }");
    assert!(
        !import.toml.lines().any(|line| line.starts_with("threads")),
        "{}",
        import.toml
    );
}

#[test]
fn many_lists_take_no_long_time() {
    let mut text = String::from("http {");
    for n in 0..1_500 {
        text += &format!(
            "server {{ listen 80; server_name s{n}.example; deny 10.{}.{}.1; location / {{ proxy_pass http://10.0.0.1; }} }}",
            n / 200,
            n % 200
        );
    }
    let began = std::time::Instant::now();
    translated(&(text + "}"));
    assert!(began.elapsed() < std::time::Duration::from_secs(30));
}

#[test]
fn many_rewrites_and_gates_take_no_long_time() {
    let mut text = String::new();
    for n in 0..400 {
        text += &format!(
            "location ~ ^/s{n}/ {{ rewrite ^/s{n}/v\\d*/(.*)$ /s{n}/$1 last; proxy_pass http://shop; }}
            location ~ \\.p{n}$ {{ deny all; }}"
        );
    }
    let began = std::time::Instant::now();
    let import = server(&text);
    assert!(began.elapsed() < std::time::Duration::from_secs(30));
    assert_eq!(import.toml.matches("rewrite = {").count(), 400);
}
