//! Who is kept out.

use super::{check, server, translated};

#[test]
fn who_may_come_is_never_lost() {
    let closed = "deny = [\"everybody\"]";
    check(&[
        (
            "location / { allow 10.0.0.0/8; deny all; proxy_pass http://shop; }",
            &[
                "allow = [\"allowed\"]",
                "entries = [\"10.0.0.0/8\"]",
                "!deny =",
            ],
        ),
        (
            "location / { deny 10.0.0.1; allow 10.0.0.0/8; deny all; proxy_pass http://shop; }",
            &["allow = [\"allowed\"]", "deny = [\"denied\"]"],
        ),
        (
            "location / { deny 10.0.0.1; proxy_pass http://shop; }",
            &["deny = [\"denied\"]", "!allow ="],
        ),
        (
            "deny all; location / { proxy_pass http://shop; }",
            &[closed],
        ),
        (
            "location / { allow 10.0.0.1; deny 10.0.0.0/8; proxy_pass http://shop; }",
            &[closed, "goes before `allow`"],
        ),
        (
            "location / { auth_basic x; auth_basic_user_file u; proxy_pass http://shop; }",
            &[closed, "asks for no passwords"],
        ),
        (
            "auth_basic x; location / { auth_basic off; proxy_pass http://shop; }",
            &["!everybody"],
        ),
        ("location / { auth_request /check; root /srv; }", &[closed]),
    ]);
    let import = server("location / { auth_request /check; proxy_pass http://shop; }");
    assert_eq!(import.report.closed.len(), 1, "{}", import.report);
}

#[test]
fn gates_that_cannot_be_carried_over_close() {
    let closed = "deny = [\"everybody\"]   # closed";
    check(&[
        (
            "location / { proxy_pass http://shop; } location /.git { deny all; }",
            &["path_regex = '^/\\.git'\nrespond = { status = 404 }"],
        ),
        (
            "location /admin { deny all; proxy_pass http://shop; }",
            &["path_regex = \"^/admin\"", "!path = \"/admin"],
        ),
        (
            "location / { satisfy any; allow 10.0.0.0/8; auth_basic x; proxy_pass http://shop; }",
            &["allow = [\"allowed\"]", "!deny ="],
        ),
        (
            "location / { if ($http_x_token != a) { return 403; } proxy_pass http://shop; }",
            &[closed],
        ),
        (
            "if ($bot) { return 444; } location / { proxy_pass http://shop; }",
            &["deny = [\"everybody\"]   # closed: see the condition"],
        ),
        (
            "if ($request_method !~ ^(GET|HEAD)$) { return 405; } location / { proxy_pass http://shop; }",
            &["methods = [\"GET\", \"HEAD\"]", "!deny ="],
        ),
        (
            "location / { auth_ldap x; proxy_pass http://shop; }",
            &[closed],
        ),
        (
            "location /open/ { rewrite ^/open/(.*)$ /locked/$1 last; proxy_pass http://shop; } location /locked/ { deny all; }",
            &["deny = [\"everybody\"]   # closed"],
        ),
        (
            "location ~ ^/(?!pub)secret { auth_basic x; proxy_pass http://shop; }",
            &["path_regex = \"^/secret\"", closed],
        ),
        (
            "location / { proxy_pass http://shop; proxy_set_header X-Remote-User $remote_user; }",
            &["remove = [\"x-remote-user\"]"],
        ),
        (
            "set_real_ip_from 10.0.0.0/8; location / { allow 10.0.0.0/8; deny all; proxy_pass http://shop; }",
            &[closed, "!trusted_proxies ="],
        ),
    ]);
}

/// What a model of nginx has found: each let somebody in whom nginx keeps out.

#[test]
fn nobody_comes_as_far_as_the_locations_of_a_host_that_is_led_away() {
    let import = translated(
        "http { server { listen 8080; } server { listen 8080; server_name b.example; \
         if ($host = b.example) { return 403; } location ^~ /a/ { proxy_pass http://10.0.0.1; } } }",
    );
    let route = "host = \"b.example\"\nrespond = { status = 403 }";
    let is_so = import.toml.contains(route) && !import.toml.contains("/a/");
    assert!(is_so, "{}", import.toml);
}

#[test]
fn a_server_within_lets_in_who_comes_from_there_alone() {
    let import = |rule: &str| {
        translated(&format!(
            "http {{ server {{ listen 80; location / {{ proxy_pass http://10.0.0.1; }} }}
            server {{ listen 127.0.0.1:8081; server_name a.example; {rule} location / {{ proxy_pass http://10.0.0.2; }} }} }}"
        ))
    };
    let apart = import("allow 10.0.0.0/8; deny all;").toml;
    let (_, own) = apart.split_once("host = \"a.example\"").expect("its route");
    assert!(
        own.contains("# closed: nginx listens within alone"),
        "{apart}"
    );
    let some = import("allow 127.0.0.1; allow 10.0.0.0/8; deny all;").toml;
    assert!(some.contains("entries = [\"127.0.0.1\"]"), "{some}");
    let (_, own) = some.split_once("host = \"a.example\"").expect("its route");
    assert!(own.contains("allow = [\"inside\"]"), "{some}");
}
