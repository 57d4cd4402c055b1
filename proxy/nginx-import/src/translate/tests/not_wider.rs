//! What must not come out wider than nginx has it: files, stored pages, and rules that nginx does not come to.

use super::check;

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
