//! In which order locations become routes.

use super::{check, server};

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
