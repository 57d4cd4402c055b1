//! How often visitors may come.

use super::translated;

#[test]
fn limits() {
    for (line, extra, expected) in [
        (
            "burst=20 nodelay",
            "",
            "rate = \"10/s\"\nburst = 21\nstatus = 503",
        ),
        (
            "burst=20",
            "",
            "burst = 1\naction = \"delay\"\nmax_delay = \"2s\"\nstatus = 503",
        ),
        (
            "burst=20 delay=5",
            "",
            "burst = 6\naction = \"delay\"\nmax_delay = \"1500ms\"",
        ),
        ("", "limit_req_status 429;", "burst = 1\n"),
        ("", "limit_req_dry_run on;", "action = \"log\""),
    ] {
        let text = format!(
            "http {{ limit_req_zone $binary_remote_addr zone=a:1m rate=10r/s; {extra} server {{ listen 80; location / {{ limit_req zone=a {line}; proxy_pass http://10.0.0.1; }} }} }}"
        );
        let import = translated(&text);
        assert!(import.toml.contains(expected), "{line}: {}", import.toml);
        assert!(import.toml.contains("limits = [\"a\"]"), "{}", import.toml);
    }
}

#[test]
fn the_strictest_of_several_connection_limits_counts() {
    let import = |locations: &str| {
        translated(&format!(
            "http {{ limit_conn_zone $binary_remote_addr zone=a:1m; limit_conn_zone $remote_addr zone=b:1m;
            limit_conn_zone $server_name zone=s:1m; server {{ listen 80; {locations} }} }}"
        ))
    };
    let bound = |number: u64| format!("max_connections_per_client = {number}\n");
    let both =
        import("location / { limit_conn a 20; limit_conn b 5; proxy_pass http://10.0.0.1; }");
    assert!(both.toml.contains(&bound(5)), "{}", both.toml);
    let odd = import("location / { limit_conn s 5; limit_conn a 20; proxy_pass http://10.0.0.1; }");
    assert!(odd.toml.contains(&bound(20)), "{}", odd.toml);
    assert!(odd.toml.contains("limit_conn s 5;"), "{}", odd.toml);
    // What holds for one location alone is told.
    let apart = import(
        "location / { limit_conn a 20; proxy_pass http://10.0.0.1; } location /d/ { limit_conn a 2; proxy_pass http://10.0.0.1; }",
    );
    assert!(apart.toml.contains(&bound(20)), "{}", apart.toml);
    assert!(
        apart.toml.contains("make it 2 if that is enough"),
        "{}",
        apart.toml
    );
}
