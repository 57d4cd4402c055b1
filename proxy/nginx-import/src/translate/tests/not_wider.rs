//! What must not come out wider than nginx has it: files, stored pages, and rules that nginx does not come to.

use super::{check, server, translated};

#[test]
fn files_in_the_place_of_others_are_those_that_everybody_may_have() {
    check(&[
        // The script runs in nginx; here its source would be shown.
        (
            r"root /www; location / { try_files $uri $uri/ /index.php; } location ~ \.php$ { fastcgi_pass unix:/run/php.sock; }",
            &[
                "files = {",
                "the file, or 404: /index.php is answered by a location that keeps visitors out, or runs it",
                "!fallback = ",
            ],
        ),
        (
            "root /www; location / { try_files $uri /private/a.html; } location /private/ { deny all; }",
            &["!fallback = "],
        ),
        (
            "root /www; location / { try_files $uri /index.html; } location /private/ { deny all; }",
            &["fallback = \"/index.html\""],
        ),
        // nginx asks for `/index.html` on behalf of who asks for `/`.
        (
            "root /www; location / { index index.html; } location = /index.html { deny all; }",
            &["index = []", "what another location keeps to itself"],
        ),
        (
            r"root /www; location / { } location ~ \.html$ { allow 10.0.0.0/8; deny all; }",
            &["index = []"],
        ),
        (
            "root /www; location / { index a.html index.html; } location /index { auth_basic x; auth_basic_user_file u; }",
            &["index = [\"a.html\"]"],
        ),
        (
            "root /www; location / { allow 10.0.0.0/8; deny all; }",
            &["!index = []"],
        ),
    ]);
}

#[test]
fn what_nginx_would_not_store_is_not_stored() {
    let with = |rules: &str| {
        let text = format!(
            "location / {{ proxy_pass http://shop; proxy_cache c; proxy_cache_valid 200 10m; {rules} }}"
        );
        server(&text).toml
    };
    for (rules, is_stored) in [
        ("", true),
        ("proxy_no_cache $cookie_session;", true),
        ("proxy_no_cache $cookie_a$cookie_b;", true),
        ("proxy_no_cache $http_pragma $http_authorization;", true),
        (
            "proxy_no_cache $cookie_nocache $arg_nocache$arg_comment;",
            true,
        ),
        ("proxy_no_cache 0;", true),
        ("proxy_no_cache $upstream_http_set_cookie;", true),
        (
            "proxy_no_cache $upstream_http_set_cookie; proxy_ignore_headers Set-Cookie;",
            false,
        ),
        ("proxy_no_cache 1;", false),
        ("proxy_no_cache $skip_cache;", false),
        ("proxy_cache_bypass $skip_cache;", false),
        ("proxy_cache_bypass $http_cookie;", false),
        (
            "proxy_cache_key $scheme$host$request_uri$http_cookie;",
            false,
        ),
        ("proxy_cache_key $host$request_uri$remote_user;", false),
        (
            "proxy_cache_key $scheme$host$server_port$request_uri;",
            true,
        ),
        (
            "proxy_cache_key $scheme$host$request_uri$http_x_forwarded_proto;",
            true,
        ),
        ("proxy_cache_key $host$uri$arg_page;", true),
    ] {
        let text = with(rules);
        assert_eq!(
            text.contains("\ncache = \"c\""),
            is_stored,
            "{rules}: {text}"
        );
        let is_told = text.contains("until that is settled nothing is stored here");
        assert_eq!(is_told, !is_stored, "{rules}: {text}");
    }
    let cookies = with("proxy_no_cache $cookie_a$cookie_b;");
    assert!(
        cookies.contains("bypass_cookies = [\"a\", \"b\"]"),
        "{cookies}"
    );
    // Two pages must not be one.
    let by_page = with("proxy_cache_key $host$uri$arg_page;");
    assert!(!by_page.contains("ignore_query"), "{by_page}");
    // `ttl` is for missing pages, too.
    assert!(with("").contains("404, 405, 410"));
}

#[test]
fn what_stands_behind_a_return_is_not_come_to() {
    let import = server(
        "return 403; if ($host = shop.example) { return 200 x; } rewrite ^/a /b last; location /b { proxy_pass http://shop; }",
    );
    assert!(!import.toml.contains("path_regex ="), "{}", import.toml);
    assert!(!import.toml.contains("status = 200"), "{}", import.toml);
    let other = translated(
        "http { server { listen 80; server_name a.example; return 403; if ($host = a.example) { return 200 x; } } server { listen 80 default_server; return 200 y; } }",
    );
    let closed = "host = \"a.example\"\nrespond = { status = 403 }";
    assert!(other.toml.contains(closed), "{}", other.toml);
    assert!(
        import.toml.contains("respond = { status = 403"),
        "{}",
        import.toml
    );
}

#[test]
fn the_last_of_several_settings_counts() {
    check(&[
        (
            "set $to a:1; set $to b:2; location / { proxy_pass http://$to; }",
            &["b:2", "!\"a:1\""],
        ),
        (
            "set $to a:1; set $to $host; location / { proxy_pass http://$to; }",
            &["respond = { status = 502 }", "!\"a:1\""],
        ),
    ]);
}

#[test]
fn redirects_of_a_location_are_for_its_paths() {
    check(&[
        (
            "location /blog { rewrite ^(.*)$ https://blog.example$1 permanent; }",
            &[
                "path = \"/blog/*\"\nredirect = { to = \"https://blog.example{path}{?query}\", status = 301 }",
                "!path_regex =",
            ],
        ),
        (
            "location /b/ { rewrite ^/(.*)$ https://blog.example/$1 redirect; }",
            &[
                "path = \"/b/*\"\nredirect = { to = \"https://blog.example{path}{?query}\"",
                "!path_regex =",
            ],
        ),
        (
            "location = /one { rewrite ^/o /two permanent; }",
            &["path = \"/one\"\nredirect", "!path_regex ="],
        ),
        (
            "location /old/ { rewrite ^/old/(.*)$ /new/$1 permanent; proxy_pass http://shop; }",
            &["path_regex = \"^/old/(.*)$\""],
        ),
        (
            r"location /old/ { rewrite \.x$ /new permanent; proxy_pass http://shop; }",
            &[r"path_regex = '^/old/.*\.x$'"],
        ),
        (
            "location /old/ { rewrite ^/(.*)/x$ /$1 permanent; proxy_pass http://shop; }",
            &[
                "!path_regex =",
                "it is asked of paths that begin with /old/ alone",
            ],
        ),
    ]);
}

#[test]
fn where_a_server_is_asked_besides_is_told() {
    let two = |listens: [&str; 2], inner: &str| {
        let [one, other] = listens;
        let text = format!(
            "http {{ server {{ listen {one}; server_name a.example; return 200 x; }}\nserver {{ listen {other}; server_name b.example; {inner} }} }}"
        );
        translated(&text).toml
    };
    for (listens, inner, port) in [
        (
            ["80", "8080"],
            "return 200 y;",
            Some("it answers at port 80 too"),
        ),
        (["80", "80"], "return 200 y;", None),
        (["80", "[::]:80"], "return 200 y;", None),
        // Who comes there is led to where both are.
        (
            ["443 ssl", "80"],
            "return 301 https://$host$request_uri;",
            None,
        ),
        // It has networks of its own.
        (
            ["80", "127.0.0.1:8081"],
            "return 200 y;",
            Some("it answers at port 8081 too"),
        ),
    ] {
        let text = two(listens, inner);
        match port {
            Some(told) => assert!(text.contains(told), "{listens:?}: {text}"),
            None => assert!(!text.contains("it answers at port"), "{listens:?}: {text}"),
        }
    }
}
