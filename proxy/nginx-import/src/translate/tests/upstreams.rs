//! What upstreams are asked, and with which fields.

use super::check;

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
