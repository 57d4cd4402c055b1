//! Which paths a location is for, and what answers there.

use super::check;

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
