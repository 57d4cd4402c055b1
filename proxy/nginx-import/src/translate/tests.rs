mod not_wider;

use crate::{Import, Outcome, import, testing::Memory};

fn translated(text: &str) -> Import {
    import(&Memory::of(&[("nginx.conf", text)]), "nginx.conf").expect("right")
}

/// A server with these directives, in front of an upstream.
fn server(text: &str) -> Import {
    translated(&format!(
        "http {{ upstream shop {{ server 10.0.0.1:3000; }}\nserver {{ listen 8080; server_name shop.example;\n{text}\n}} }}"
    ))
}

/// Each text in a location brings these lines, of which one that begins with `!` must not be there.
fn check(rows: &[(&str, &[&str])]) {
    for (text, expected) in rows {
        let import = server(text);
        for line in *expected {
            match line.strip_prefix('!') {
                Some(absent) => assert!(
                    !import.toml.contains(absent),
                    "{text}: {absent} in\n{}",
                    import.toml
                ),
                None => assert!(
                    import.toml.contains(line),
                    "{text}: no {line} in\n{}",
                    import.toml
                ),
            }
        }
    }
}

#[test]
fn locations() {
    check(&[
        (
            "location / { proxy_pass http://shop; }",
            &["[[routes]]\nupstream = \"shop\"", "!path"],
        ),
        (
            "location = /a { proxy_pass http://shop; }",
            &["path = \"/a\"\n"],
        ),
        (
            "location /a/ { proxy_pass http://shop; }",
            &["path = \"/a/*\"", "path = \"/a\"\nredirect"],
        ),
        (
            "location /a { proxy_pass http://shop; }",
            &[
                "path = \"/a\"\nupstream",
                "path = \"/a/*\"",
                "nginx takes `/ax` too",
            ],
        ),
        (
            "location ^~ /a/ { proxy_pass http://shop; }",
            &["path = \"/a/*\"\nbefore_regex = true"],
        ),
        (
            r"location ~ \.php$ { proxy_pass http://shop; }",
            &[r"path_regex = '\.php$'"],
        ),
        (
            "location ~* ^/p/([0-9]+)$ { proxy_pass http://shop; }",
            &["path_regex = \"(?i)^/p/([0-9]+)$\""],
        ),
        (
            "location ~ ^/(?!x) { proxy_pass http://shop; }",
            &["not translated: the expression looks ahead"],
        ),
        (
            "location /favicon.ico { proxy_pass http://shop; }",
            &["path = \"/favicon.ico\""],
        ),
        (
            "location /a- { proxy_pass http://shop; }",
            &[r"path_regex = '^/a\-'"],
        ),
        (
            "location =/a { proxy_pass http://shop; }",
            &["path = \"/a\"\n"],
        ),
        (
            "location /a/ { internal; proxy_pass http://shop; }",
            &["path = \"/a/*\"\nrespond = { status = 404 }"],
        ),
        (
            r"location /a/ { location ~ \.png$ { proxy_pass http://shop; } proxy_pass http://shop; }",
            &[r"path_regex = '^/a/.*\.png$'", "path = \"/a/*\""],
        ),
        (
            "location \"/a b/\" { proxy_pass http://shop; }",
            &["path_regex = \"^/a%20b/\""],
        ),
    ]);
}

#[test]
fn what_the_upstream_is_asked_for() {
    check(&[
        (
            "location /a/ { proxy_pass http://shop/; }",
            &["rewrite = \"{rest}\""],
        ),
        (
            "location /a/ { proxy_pass http://shop/v1/; }",
            &["rewrite = \"/v1{rest}\""],
        ),
        (
            "location /a/ { proxy_pass http://shop/v1; }",
            &["rewrite = { pattern = \"^/a/(.*)$\", to = \"/v1{1}\" }"],
        ),
        (
            "location /a { proxy_pass http://shop/v1; }",
            &["rewrite = \"/v1\"\n", "rewrite = \"/v1{rest}\""],
        ),
        (
            "location = /a { proxy_pass http://shop/b; }",
            &["rewrite = \"/b\""],
        ),
        ("location / { proxy_pass http://shop/; }", &["!rewrite ="]),
        (
            "location / { proxy_pass http://shop/v1/; }",
            &["rewrite = \"/v1{path}\""],
        ),
        (
            "location /a/ { proxy_pass http://shop$request_uri; }",
            &["!rewrite ="],
        ),
        (
            "location ~ ^/a/(.*)$ { proxy_pass http://shop/$1; }",
            &["rewrite = \"/{1}?\""],
        ),
        (
            "location /a/ { rewrite ^/a/(.*)$ /b/$1 break; proxy_pass http://shop; }",
            &["rewrite = { pattern = \"^/a/(.*)$\", to = \"/b/{1}\" }"],
        ),
        (
            "location /a/ { proxy_pass http://$who; }",
            &["respond = { status = 502 }", "!upstream ="],
        ),
        (
            "location /a/ { set $who shop; proxy_pass http://$who; }",
            &["upstream = \"shop\""],
        ),
        (
            "location /a/ { proxy_pass http://unix:/run/x.sock; }",
            &["respond = { status = 502 }"],
        ),
        (
            "location / { proxy_pass https://10.0.0.9; }",
            &["servers = [\"10.0.0.9:443\"]", "tls = { verify = false }"],
        ),
        (
            "location / { proxy_pass http://shop; }",
            &["upstream_host = \"shop\""],
        ),
        (
            "location / { proxy_pass http://shop; proxy_set_header Host $host; }",
            &["!upstream_host"],
        ),
        (
            "proxy_set_header Host $host; location / { proxy_pass http://shop; proxy_set_header X-A b; }",
            &["upstream_host = \"shop\"", "set = { x-a = \"b\" }"],
        ),
        (
            "location / { proxy_pass http://shop; proxy_set_header Accept-Encoding \"\"; proxy_set_header X-B $cookie_b; }",
            &[
                "request_headers = { remove = [\"accept-encoding\", \"x-b\"] }",
                "Dhal has no placeholder for $cookie_b",
            ],
        ),
    ]);
}

#[test]
fn answers() {
    check(&[
        ("return 404;", &["[[routes]]\nrespond = { status = 404 }"]),
        (
            "location = /a { return 301 /b; }",
            &["redirect = { to = \"/b\", status = 301 }"],
        ),
        (
            "location = /a { return https://x.example$request_uri; }",
            &["to = \"https://x.example{path}{?query}\", status = 302"],
        ),
        (
            "location = /a { return 200 'say \"hi\"'; }",
            &["body = 'say \"hi\"', content_type = \"text/plain\""],
        ),
        (
            "location = /a { return 204; }",
            &["respond = { status = 204 }"],
        ),
        (
            "location = /a { return 200 $host; }",
            &["respond = { status = 502 }"],
        ),
        (
            "rewrite ^/old$ /new permanent;",
            &["path = \"/old\"\nredirect = { to = \"/new{?query}\", status = 301 }"],
        ),
        (
            "rewrite ^/b/(.*)$ /n/$1? redirect;",
            &["to = \"/n/{1}\", status = 302"],
        ),
        (
            "rewrite ^/b/(.*)$ /n/$1 last; location / { proxy_pass http://shop; }",
            &[
                "path_regex = \"^/b/(.*)$\"\nupstream = \"shop\"",
                "rewrite = \"/n/{1}\"",
            ],
        ),
        (
            "if ($host = www.shop.example) { return 301 https://shop.example$request_uri; }",
            &["host = \"www.shop.example\"\nredirect"],
        ),
        (
            "location / { if ($request_method !~ ^(GET|HEAD)$) { return 405; } proxy_pass http://shop; }",
            &["methods = [\"GET\", \"HEAD\"]"],
        ),
        (
            "location / { if ($http_user_agent ~ bot) { return 403; } proxy_pass http://shop; }",
            &[
                "not translated: Dhal has no conditions",
                "deny = [\"everybody\"]",
            ],
        ),
        (
            "location / { root /srv; try_files $uri /app.html; }",
            &[
                "files = { root = \"/srv\", index = [], fallback = \"/app.html\", symlinks = \"all\", charset = \"none\", default_type = \"text/plain\" }",
            ],
        ),
        (
            "root /srv; location / { try_files $uri @shop; } location @shop { proxy_pass http://shop; }",
            &[
                "upstream = \"shop\"",
                "files = { root = \"/srv\", index = [], fallback = \"upstream\"",
            ],
        ),
        (
            "root /srv; location / { try_files $uri /index.php?$args; } location ~ \\.php$ { proxy_pass http://shop; }",
            &[
                "rewrite = \"/index.php{?query}\"",
                "fallback = \"upstream\"",
            ],
        ),
        (
            "location /i/ { alias /srv/i/; }",
            &["files = { alias = \"/srv/i\", symlinks", "!rewrite"],
        ),
        (
            "location = /f { alias /srv/i.ico; }",
            &["files = { alias = \"/srv/i.ico\", "],
        ),
        (
            "location /i/ { alias /srv/i/; try_files $uri /i/none.png; }",
            &["alias = \"/srv/i\", index = [], fallback = \"/none.png\""],
        ),
        (
            "location /i/ { alias /srv/i/; try_files $uri /other/none.png; }",
            &["alias = \"/srv/i\"", "lies in another folder", "!fallback"],
        ),
        (
            "location ~ ^/i/(.*)$ { alias /srv/$1; }",
            &["respond = { status = 502 }", "!files ="],
        ),
        (
            "location / { root /srv; index index.php index.html; expires 7d; gzip_static on; disable_symlinks on; charset utf-8; default_type application/octet-stream; types { text/css css; text/x-foo foo; } }",
            &[
                "files = { root = \"/srv\", expires = \"7d\", precompressed = [\"gzip\"], types = { foo = \"text/x-foo\" } }",
                "scripts are asked for by the `fallback`",
            ],
        ),
        (
            "root /srv; location / { try_files $uri /index.html; } location = /index.html { expires -1; }",
            &[
                "fallback = \"/index.html\"",
                "nginx answers by the location of /index.html",
            ],
        ),
        (
            "location / { root /srv; expires epoch; }",
            &["expires = \"0s\""],
        ),
        (
            "location / { root /srv; expires 0; }",
            &["cache-control = \"max-age=0\"", "!expires ="],
        ),
        (
            "root /srv; location / { try_files $uri $uri/ @shop; } location @shop { proxy_pass http://shop; expires 1h; }",
            &["fallback = \"upstream\"", "max-age=3600", "!expires ="],
        ),
        (
            "location / { fastcgi_pass 127.0.0.1:9000; }",
            &["respond = { status = 502 }"],
        ),
    ]);
}

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
fn what_is_chosen_behind_a_gate_stays_behind_it() {
    let closed = "deny = [\"everybody\"]   # closed";
    check(&[
        (
            r"location ~ /b { limit_except GET HEAD { deny all; } proxy_pass http://shop; location ~* \.b$ { return 403; } }",
            &["path_regex = \"/b\"", closed],
        ),
        (
            r"deny 10.0.0.5; location ~ ^/b { proxy_pass http://shop; location ~ \.p$ { allow 10.0.0.5; deny 10.0.0.0/8; } }",
            &[closed],
        ),
        // What holds for both is no reason.
        (
            r"deny 10.0.0.5; location ~ ^/b { proxy_pass http://shop; location ~ \.p$ { proxy_pass http://shop; } }",
            &["deny = [\"denied\"]", "!closed"],
        ),
        (
            "location ~ ^/b { proxy_pass http://shop; location ~ b$ { limit_except GET { deny all; } return 301 /x; } }",
            &[closed],
        ),
        (
            "location /a/ { internal; location ~ b$ { proxy_pass http://shop; } }",
            &["path_regex = \"^/a/.*b$\"\nrespond = { status = 404 }"],
        ),
        (
            "location /a { proxy_pass http://shop; location = /a/ { internal; proxy_pass http://shop; } }",
            &[
                "path = \"/a/\"\nrespond = { status = 404 }",
                "path = \"/a\"\nrespond = { status = 404 }",
            ],
        ),
        (
            "rewrite ^ /a/x break; location / { return 403; } location = / { proxy_pass http://shop; }",
            &[
                "path = \"/\"\nupstream = \"shop\"\nupstream_host = \"shop\"\ndeny = [\"everybody\"]   # closed: see nginx.conf",
            ],
        ),
        (
            "rewrite ^ /b/x break; location ~ a$ { proxy_pass http://shop; } location ~ ^/b/ { deny all; proxy_pass http://shop; }",
            &[
                "path_regex = \"a$\"\nupstream = \"shop\"\nupstream_host = \"shop\"\ndeny = [\"everybody\"]   # closed: see nginx.conf",
            ],
        ),
        (
            r"rewrite \.p$ /a last; location ~ a$ { proxy_pass http://shop; location ~ ^/ab? { deny all; } }",
            &[
                "path_regex = '\\.p$'\nrespond = { status = 403 }\ndeny = [\"everybody\"]   # closed",
            ],
        ),
        (
            "deny 10.0.0.5; location ~ /a/b { allow 10.0.0.0/8; rewrite ^ /b/x; proxy_pass http://shop; }",
            &[closed],
        ),
        (
            "location /a/ { if ($args) { rewrite ^ /b last; } proxy_pass http://shop; } location ~ b { return 403; }",
            &[closed],
        ),
        (
            "location /a/ { rewrite ^ /ab/x? last; proxy_pass http://shop; } location ~ ^/ab(?=/) { return 403; }",
            &[
                "path = \"/a/*\"\nupstream = \"shop\"\nupstream_host = \"shop\"\ndeny = [\"everybody\"]   # closed",
            ],
        ),
        // What a narrower prefix leaves is not the `^~` one's.
        (
            r"location /b { } location ^~ / { proxy_pass http://shop; } location ~ \.p$ { return 403; }",
            &["!before_regex", "path_regex = \"^/b\""],
        ),
        // A whole path goes before an expression, in whatever prefix it stands.
        (
            r"rewrite ^/(.*)b$ /a; location /b/ { deny all; location = /b/b { allow 10.0.0.0/8; deny all; proxy_pass http://shop; } } deny all;",
            &["allow = [\"allowed\"]\ndeny = [\"everybody\"]   # closed"],
        ),
        // A file that stands there twice is what `=` says of it.
        (
            "location ^~ /.g { proxy_pass http://shop; } location = /.g { return 404; }",
            &["path = \"/.g\"\nrespond = { status = 404 }"],
        ),
        // What both paths end in is refused before, for these paths alone.
        (
            r"location /s/ { proxy_pass http://shop; location ~ ^/s/v { rewrite ^/s/v\d*/(.*)$ /s/$1 last; proxy_pass http://shop; } } location = /x.p { proxy_pass http://shop; } location ~ \.p$ { return 403; }",
            &[
                "path_regex = '\\.p$'\nrespond = { status = 403 }\n\n# nginx.conf:3: rewrite ",
                "!closed",
            ],
        ),
        (
            r"location ~ ^/s/v { deny 10.1.2.3; rewrite ^/s/v\d*/(.*)$ /s/$1 last; proxy_pass http://shop; } location ~ \.p$ { return 403; }",
            &[
                "path_regex = '^/s/v\\d*/.*(?:\\.p$)'\nrespond = { status = 403 }\n\n# nginx.conf:3: rewrite ",
                "!closed",
            ],
        ),
        // It may be about the version, or about more than a name.
        (
            r"location ~ ^/s/v { rewrite ^/(s/v\d*)/(.*)$ /s/$1 last; proxy_pass http://shop; } location ~ \.p$ { return 403; }",
            &[closed],
        ),
        (
            r"location ~ ^/s/v { rewrite ^/s/v\d*/(.*)$ /s.p/$1 last; proxy_pass http://shop; } location ~ \.p { return 403; }",
            &[closed],
        ),
        (
            r"location ~ ^/s/vx { rewrite ^/s/v\d*/(.*)$ /s/$1 last; proxy_pass http://shop; } location ~ \.p$ { return 403; }",
            &[closed],
        ),
        (
            r"location ~ ^/s/v { rewrite ^/s/v\d*/(.*)$ /s/$1 last; proxy_pass http://shop; } location ~ s/p { return 403; }",
            &[closed],
        ),
        (
            r"rewrite ^/a/(.*)$ /b/$1 last; location / { proxy_pass http://shop; } location ~ \.p$ { deny all; }",
            &["path_regex = \"^/a/(.*)$\"\nrespond = { status = 403 }"],
        ),
        (
            "location ~ a { deny all; proxy_pass http://shop; } location ~ a { if ($request_method != GET) { return 405; } proxy_pass http://shop; }",
            &["!methods"],
        ),
        (
            "location ^~ / { return 404; } location /ab/ { proxy_pass http://shop; location ~* ^/(?!b)a { rewrite ^ /b/x; } }",
            &[closed],
        ),
        (
            "location ^~ / { proxy_pass http://shop; } location = /é/ { return 404; }",
            &[
                "path_regex = \"^/%C3%A9/$\"\nrespond = { status = 404 }",
                "path_regex = \"^/\"",
                "!before_regex",
            ],
        ),
        (
            "location /é/ { internal; proxy_pass http://shop; } location ~ ^/[^/]*$ { proxy_pass http://shop; }",
            &[
                "path_regex = \"^/[^/]*$\"\nupstream = \"shop\"\nupstream_host = \"shop\"\ndeny = [\"everybody\"]   # closed",
            ],
        ),
        (
            "location ^~ / { proxy_pass http://shop; }",
            &["path = \"/*\"", "!status = 404"],
        ),
    ]);
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

#[test]
fn expressions_within_a_prefix_go_before_the_prefixes_beside_them() {
    for (text, order) in [
        (
            "location ^~ /a/ { location /a/x.p { proxy_pass http://shop; } location ~ ^/a/(?!b) { deny all; } }",
            ["\"^/a/\"\nrespond", "'^/a/x\\.p'"],
        ),
        (
            "location /a- { location ^~ /a-.p { return 404; } location ~ b$ { proxy_pass http://shop; } }",
            ["'^/a\\-\\.p'", "'^/a\\-.*b$'"],
        ),
    ] {
        let toml = server(text).toml;
        let at = |text: &str| {
            toml.find(text)
                .unwrap_or_else(|| panic!("{text} in {toml}"))
        };
        assert!(at(order[0]) < at(order[1]), "{toml}");
    }
}

#[test]
fn expressions_stand_where_nginx_looks_for_them() {
    let import = server(
        r"location /static- { proxy_pass http://shop; }
        location /static-private/ { deny all; proxy_pass http://shop; }
        location ~ \.css$ { proxy_pass http://shop; }
        location ^~ /st- { deny all; }",
    );
    let at = |text: &str| import.toml.find(text).expect(text);
    let order = [
        "'^/st\\-'",
        "'\\.css$'",
        "'^/static\\-private/'",
        "'^/static\\-'",
    ];
    assert!(
        order.windows(2).all(|two| at(two[0]) < at(two[1])),
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

#[test]
fn fields() {
    check(&[
        (
            "location / { proxy_pass http://shop; add_header X-A b; }",
            &["response_headers = { add = { x-a = \"b\" }, on = \"success\" }"],
        ),
        (
            "location / { proxy_pass http://shop; add_header X-A b always; proxy_hide_header X-A; proxy_hide_header X-B; }",
            &["response_headers = { set = { x-a = \"b\" }, remove = [\"x-b\"] }"],
        ),
        (
            "add_header X-A b; location / { proxy_pass http://shop; add_header X-C d; }",
            &["x-c", "!x-a"],
        ),
        (
            "location / { proxy_pass http://shop; expires -1; }",
            &["set = { cache-control = \"no-cache\" }"],
        ),
        (
            "location / { proxy_pass http://shop; client_max_body_size 0; }",
            &["max_body = \"1TiB\""],
        ),
    ]);
}

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

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn word() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("/a/".to_owned()),
            Just("$1".to_owned()),
            Just("http://shop/x".to_owned()),
            Just("301".to_owned()),
            Just("zone=a".to_owned()),
            Just("all".to_owned()),
            Just("~".to_owned()),
            "[a-z$:/.=0-9^(*é]{0,8}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_500))]

        /// Whatever stands behind the directives that are known, nothing panics, and all is accounted for.
        #[test]
        fn nothing_panics(
            rows in prop::collection::vec(
                (
                    prop::sample::select(&[
                        "listen", "server_name", "return", "rewrite", "proxy_pass", "proxy_cache",
                        "proxy_cache_valid", "limit_req", "allow", "deny", "add_header", "expires",
                        "root", "alias", "try_files", "if", "location", "proxy_set_header", "set",
                        "client_max_body_size", "auth_basic", "ssl_certificate", "limit_conn",
                        "proxy_read_timeout", "resolver", "limit_except", "grpc_pass", "internal",
                    ][..]),
                    prop::collection::vec(word(), 0..4),
                ),
                0..8,
            ),
            nested in any::<bool>(),
        ) {
            let mut text = String::new();
            for (name, words) in &rows {
                let words: Vec<_> = words.iter().map(|w| format!("\"{w}\"")).collect();
                let end = match *name {
                    "location" | "if" | "limit_except" => "{ return 404; }",
                    _ => ";",
                };
                text += &format!("{name} {} {end}\n", words.join(" "));
            }
            if nested {
                text = format!("location /n/ {{ {text} }}");
            }
            let import = server(&text);
            let report = &import.report;
            prop_assert_eq!(report.translated + report.idle + report.differs + report.missing, report.directives);
        }
    }
}
