//! Which file answers, and which never does.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use crate::{
    files::{date, start},
    h2::both,
    origin::{Origin, page},
};

#[test]
fn nothing_leads_out_of_the_folder() {
    let edge = start(
        r#"
        [[routes]]
        files = { root = "@dir/www" }
        [[routes]]
        path = "/s/*"
        files = { alias = "@dir/www" }
        [[routes]]
        path = "/all/*"
        files = { alias = "@dir/www", symlinks = "all", hidden = true }
        [address_lists.everybody]
        entries = ["0.0.0.0/0", "::/0"]
        [[routes]]
        path = "/closed/*"
        files = { root = "@dir/www" }
        deny = ["everybody"]
        [[routes]]
        path_regex = '^/a[+]b/'
        files = { root = "@dir/www" }
        deny = ["everybody"]
        "#,
        |site| {
            site.write("secret.txt", "secret");
            site.write("www/a.txt", "a");
            site.write("www/.env", "secret");
            site.write("www/closed/x.txt", "secret");
            site.write("www/a+b/x.txt", "secret");
            site.write("www/.git/config", "secret");
            site.write("www/.well-known/security.txt", "hello");
            site.write("www/d/locked.txt", "secret");
            let locked = fs::Permissions::from_mode(0o000);
            fs::set_permissions(site.path("www/d/locked.txt"), locked).expect("locked");
            symlink("../secret.txt", site.path("www/out.txt")).expect("linked");
            symlink("a.txt", site.path("www/in.txt")).expect("linked");
            symlink(site.path(""), site.path("www/away")).expect("linked");
            nix::unistd::mkfifo(&site.path("www/pipe"), nix::sys::stat::Mode::S_IRWXU)
                .expect("a pipe");
            std::os::unix::net::UnixListener::bind(site.path("www/socket")).expect("a socket");
        },
    );
    for path in [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/s/../../secret.txt",
        "/s/..%2f..%2fsecret.txt",
        "/s/%2E%2E/%2E%2E/secret.txt",
        "/..%5csecret.txt",
        "//../secret.txt",
        "/a.txt%00.html",
        "/a%2f..%2f..%2fsecret.txt",
        "/out.txt",
        "/away/secret.txt",
        "/s/out.txt",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/s/.git/config",
        "/closed/x.txt",
        "//closed/x.txt",
        "/closed//x.txt",
        "/%63losed/x.txt",
        "/a+b/x.txt",
        "/a%2Bb/x.txt",
        "/a%2bb//x.txt",
        "/pipe",
        "/socket",
        "/.",
        "/..",
        "/s/..",
        "/all/..%2fsecret.txt",
    ] {
        for answer in both(&edge, "GET", path, &[]) {
            assert!(
                (300..500).contains(&answer.status),
                "{path} {}",
                answer.status
            );
            assert!(!answer.text().contains("secret"), "{path}");
        }
    }
    for (path, content) in [
        ("/in.txt", "a"),
        ("/s/in.txt", "a"),
        ("//a.txt", "a"),
        ("/.well-known/security.txt", "hello"),
        ("/all/out.txt", "secret"),
        ("/all/away/secret.txt", "secret"),
        ("/all/.env", "secret"),
    ] {
        for answer in both(&edge, "GET", path, &[]) {
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, content),
                "{path}"
            );
        }
    }
    // Root may read everything.
    if fs::File::open(edge.site.path("www/d/locked.txt")).is_err() {
        assert_eq!(edge.get("/d/locked.txt").status, 403);
    }
}

#[test]
fn what_is_no_file_goes_on() {
    let origin = Origin::start(|seen| page(format!("{} {}", seen.method, seen.target)).fresh(60));
    let edge = start(
        &format!(
            r#"
            [upstreams.shop]
            servers = ["{origin}"]
            [[routes]]
            host = "app.example"
            files = {{ root = "@dir/www", fallback = "/index.html" }}
            [[routes]]
            path = "/stored/*"
            files = {{ root = "@dir/www", fallback = "upstream" }}
            upstream = "shop"
            cache = "default"
            [[routes]]
            files = {{ root = "@dir/www", index = [], fallback = "upstream" }}
            upstream = "shop"
            rewrite = "/index.php{{?query}}"
            "#
        ),
        |site| {
            site.write("www/index.html", "app");
            site.write("www/a.css", "a { }");
            site.write("www/.env", "secret");
            site.write("www/stored/a.css", "b { }");
            site.write("www/folder/index.html", "folder");
        },
    );
    for (method, path, status, content) in [
        ("GET", "/a.css", 200, "a { }"),
        ("GET", "/a.css?v=1", 200, "a { }"),
        ("GET", "/women/tops?p=2", 200, "GET /index.php?p=2"),
        ("POST", "/women/tops?p=2", 200, "POST /index.php?p=2"),
        ("GET", "/", 200, "GET /index.php"),
        ("GET", "/folder", 200, "GET /index.php"),
        ("GET", "/folder/", 200, "GET /index.php"),
        ("GET", "/.env", 200, "GET /index.php"),
        ("GET", "/a%2Fcss", 200, "GET /index.php"),
        ("POST", "/a.css", 405, ""),
        ("GET", "/stored/a.css", 200, "b { }"),
        ("GET", "/stored/other", 200, "GET /stored/other"),
        ("POST", "/stored/other", 200, "POST /stored/other"),
    ] {
        for _ in 0..2 {
            for answer in both(&edge, method, path, &[]) {
                assert_eq!(answer.status, status, "{method} {path}");
                assert_eq!(answer.text(), content, "{method} {path}");
            }
        }
    }
    // The last one has made it untrue.
    assert!(!edge.get("/stored/other").is_hit());
    assert!(edge.get("/stored/other").is_hit());
    assert!(edge.get("/stored/a.css").cache().starts_with("dhal; "));
    // A file that comes later is the answer, and one that goes is not.
    edge.site.write("www/late.txt", "late");
    assert_eq!(edge.get("/late.txt").text(), "late");
    fs::remove_file(edge.site.path("www/late.txt")).expect("removed");
    assert_eq!(edge.get("/late.txt").text(), "GET /index.php");
    for (path, status, content) in [
        ("/a.css", 200, "a { }"),
        ("/any/where", 200, "app"),
        ("/.env", 404, ""),
    ] {
        let mut conn = edge.connect();
        conn.send(format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n\r\n"));
        let answer = conn.response("GET");
        assert_eq!(answer.status, status, "{path}");
        if status == 200 {
            assert_eq!(answer.text(), content, "{path}");
        }
    }
}

#[test]
fn forms_that_lie_beside_files() {
    let edge = start(
        "[[routes]]\nfiles = { root = '@dir/www', precompressed = ['br', 'gzip'] }",
        |site| {
            site.write("www/a.css", "plain");
            site.write("www/a.css.gz", "as gzip");
            site.write("www/a.css.br", "as brotli");
            site.write("www/b.css", "plain");
            site.write("www/b.css.gz", "as gzip, of the version before");
            site.write("www/c.css.gz", "alone");
            for name in ["a.css", "a.css.gz", "a.css.br", "b.css"] {
                date(&site.path("www").join(name), 1_000_000_000);
            }
            date(&site.path("www/b.css.gz"), 999_999_999);
        },
    );
    for (path, accepts, status, content, coding) in [
        ("/a.css", "", 200, "plain", None),
        ("/a.css", "gzip", 200, "as gzip", Some("gzip")),
        ("/a.css", "gzip, br", 200, "as brotli", Some("br")),
        ("/a.css", "gzip, br;q=0.1", 200, "as gzip", Some("gzip")),
        ("/a.css", "gzip;q=0, identity", 200, "plain", None),
        ("/a.css", "zstd", 200, "plain", None),
        ("/b.css", "gzip, br", 200, "plain", None),
        ("/c.css", "gzip", 404, "", None),
    ] {
        for answer in both(&edge, "GET", path, &[("Accept-Encoding", accepts)]) {
            assert_eq!(answer.status, status, "{path} {accepts}");
            if status != 200 {
                continue;
            }
            assert_eq!(answer.text(), content, "{path} {accepts}");
            assert_eq!(answer.field("content-encoding"), coding, "{path} {accepts}");
            assert_eq!(
                answer.field("content-type"),
                Some("text/css; charset=utf-8")
            );
            let vary = answer.field("vary").unwrap_or_default();
            assert!(vary.eq_ignore_ascii_case("accept-encoding"), "{vary}");
        }
    }
}
