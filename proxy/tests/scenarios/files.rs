//! Routes that answer with the files of a folder.

use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    thread,
    time::{Duration, SystemTime},
};

use crate::{
    client::{Conn, Response},
    edge::{Edge, Site},
    h2::H2,
    origin::{Origin, page},
    tools::eventually,
};

/// Asks over HTTP/1.1 and over HTTP/2, each on a connection of its own.
fn both(edge: &Edge, method: &str, path: &str, fields: &[(&str, &str)]) -> [Response; 2] {
    let plain = edge.ask(method, path, fields);
    let mut h2 = H2::connect(edge.site.https);
    let second = h2.ask(method, path, fields, None);
    [plain, second.expect("an answer over HTTP/2")]
}

fn put(site: &Site, name: &str, content: impl AsRef<[u8]>) {
    let path = site.path(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, content).expect("written");
}

fn date(path: &Path, seconds: u64) {
    let file = fs::File::options().write(true).open(path).expect("opened");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    file.set_modified(time).expect("dated");
}

/// A shop with a folder, started.
fn start(routes: &str, lay_out: impl FnOnce(&Site)) -> Edge {
    let site = Site::new_tls(routes);
    fs::create_dir_all(site.path("www")).expect("made");
    lay_out(&site);
    Edge::start_at(site)
}

#[test]
fn files_answer() {
    let edge = start(
        r#"
        [[routes]]
        files = { root = "@dir/www", expires = "30d" }
        [[routes]]
        path = "/media/*"
        files = { alias = "@dir/uploads", index = [] }
        [[routes]]
        path = "/favicon.ico"
        files = { alias = "@dir/uploads/icon.ico" }
        "#,
        |site| {
            put(site, "www/index.html", "home");
            put(site, "www/a.css", "a { }");
            put(site, "www/sub/index.html", "below");
            put(site, "www/sub/with space.txt", "spaced");
            put(site, "www/bare/x.txt", "x");
            put(site, "www/empty.txt", "");
            put(site, "uploads/p/1.jpg", "picture");
            put(site, "uploads/icon.ico", "icon");
            date(&site.path("www/a.css"), 1_000_000_000);
        },
    );
    for (path, status, kind, content) in [
        ("/", 200, Some("text/html; charset=utf-8"), "home"),
        ("/?a=b", 200, Some("text/html; charset=utf-8"), "home"),
        ("/index.html", 200, Some("text/html; charset=utf-8"), "home"),
        ("/a.css", 200, Some("text/css; charset=utf-8"), "a { }"),
        ("/sub/", 200, Some("text/html; charset=utf-8"), "below"),
        (
            "/sub/with%20space.txt",
            200,
            Some("text/plain; charset=utf-8"),
            "spaced",
        ),
        ("/empty.txt", 200, Some("text/plain; charset=utf-8"), ""),
        ("/media/p/1.jpg", 200, Some("image/jpeg"), "picture"),
        ("/favicon.ico", 200, Some("image/x-icon"), "icon"),
        ("/sub", 301, None, ""),
    ] {
        for answer in both(&edge, "GET", path, &[]) {
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(answer.field("content-type"), kind, "{path}");
            assert_eq!(answer.text(), content, "{path}");
            assert!(answer.field("date").is_some(), "{path}");
            assert_eq!(answer.field("dhal-cache-control"), None, "{path}");
        }
        let head = edge.ask("HEAD", path, &[]);
        assert_eq!((head.status, head.body.len()), (status, 0), "{path}");
        let length = content.len().to_string();
        assert_eq!(head.field("content-length"), Some(&*length), "{path}");
    }
    for (path, status) in [
        ("/none", 404),
        ("/a.css/", 404),
        ("/a.css/x", 404),
        ("/bare/", 403),
        ("/media/", 404),
        ("/media/p", 404),
        ("/media/p/", 404),
        ("/media/p/2.jpg", 404),
    ] {
        for answer in both(&edge, "GET", path, &[]) {
            assert_eq!(answer.status, status, "{path}");
        }
    }
    for answer in both(&edge, "GET", "/a.css", &[]) {
        assert_eq!(answer.field("etag"), Some("\"3b9aca00-5\""));
        let modified = "Sun, 09 Sep 2001 01:46:40 GMT";
        assert_eq!(answer.field("last-modified"), Some(modified));
        assert_eq!(answer.field("cache-control"), Some("max-age=2592000"));
        assert_eq!(answer.field("accept-ranges"), Some("bytes"));
    }
    for answer in both(&edge, "GET", "/sub?a=b", &[]) {
        assert_eq!(answer.field("location"), Some("/sub/?a=b"));
    }
    for method in ["POST", "DELETE", "OPTIONS"] {
        for answer in both(&edge, method, "/a.css", &[]) {
            assert_eq!(answer.status, 405, "{method}");
            assert_eq!(answer.field("allow"), Some("GET, HEAD"), "{method}");
        }
    }
    eventually("the log has them", || {
        let log = edge.log();
        let is = |line: &&serde_json::Value| line["path"] == "/a.css" || line["target"] == "/a.css";
        log.iter()
            .filter(is)
            .any(|line| line["upstream"] == "(files)")
    });
}

#[test]
fn conditions_and_ranges() {
    let content: String = (0..1_000)
        .map(|i| char::from(b'a' + (i % 26) as u8))
        .collect();
    let text = content.clone();
    let edge = start("[[routes]]\nfiles = { root = '@dir/www' }", move |site| {
        put(site, "www/a.txt", text);
        date(&site.path("www/a.txt"), 1_000_000_000);
    });
    let tag = "\"3b9aca00-3e8\"";
    let modified = "Sun, 09 Sep 2001 01:46:40 GMT";
    for (fields, status, body) in [
        (&[("If-None-Match", tag)][..], 304, ""),
        (&[("If-None-Match", "*")], 304, ""),
        (&[("If-None-Match", "W/\"3b9aca00-3e8\"")], 304, ""),
        (&[("If-None-Match", "\"other\"")], 200, &*content),
        (&[("If-Modified-Since", modified)], 304, ""),
        (
            &[("If-Modified-Since", "Sun, 09 Sep 2001 01:46:39 GMT")],
            200,
            &content,
        ),
        (
            &[
                ("If-None-Match", "\"other\""),
                ("If-Modified-Since", modified),
            ],
            200,
            &content,
        ),
        (&[("If-Match", tag)], 200, &content),
        (&[("If-Match", "\"other\"")], 412, ""),
        (
            &[("If-Unmodified-Since", "Sun, 09 Sep 2001 01:46:39 GMT")],
            412,
            "",
        ),
        (&[("Range", "bytes=0-3")], 206, "abcd"),
        (&[("Range", "bytes=996-")], 206, &content[996..]),
        (&[("Range", "bytes=-2")], 206, &content[998..]),
        (&[("Range", "bytes=990-2000")], 206, &content[990..]),
        (&[("Range", "bytes=1000-")], 416, ""),
        (&[("Range", "apples=0-3")], 200, &content),
        (&[("Range", "bytes=0-3"), ("If-Range", tag)], 206, "abcd"),
        (
            &[("Range", "bytes=0-3"), ("If-Range", modified)],
            206,
            "abcd",
        ),
        (
            &[("Range", "bytes=0-3"), ("If-Range", "\"other\"")],
            200,
            &content,
        ),
        (&[("Range", "bytes=0-3"), ("If-None-Match", tag)], 304, ""),
    ] {
        for answer in both(&edge, "GET", "/a.txt", fields) {
            assert_eq!(answer.status, status, "{fields:?}");
            assert_eq!(answer.text(), body, "{fields:?}");
            if matches!(status, 200 | 206 | 304) {
                assert_eq!(answer.field("etag"), Some(tag), "{fields:?}");
            }
        }
    }
    for answer in both(&edge, "GET", "/a.txt", &[("Range", "bytes=2-4")]) {
        assert_eq!(answer.field("content-range"), Some("bytes 2-4/1000"));
    }
    for answer in both(&edge, "GET", "/a.txt", &[("Range", "bytes=1000-")]) {
        assert_eq!(answer.field("content-range"), Some("bytes */1000"));
    }
    for answer in both(&edge, "GET", "/a.txt", &[("Range", "bytes=0-1,10-11")]) {
        assert_eq!(answer.status, 206);
        let kind = answer.field("content-type").expect("a type").to_owned();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=");
        let boundary = boundary.expect("a boundary");
        let part = |range: &str, text: &str| {
            format!(
                "\r\n--{boundary}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-range: bytes {range}/1000\r\n\r\n{text}"
            )
        };
        let wanted = part("0-1", "ab") + &part("10-11", "kl") + &format!("\r\n--{boundary}--\r\n");
        assert_eq!(answer.text(), wanted);
    }
    let head = edge.ask("HEAD", "/a.txt", &[("Range", "bytes=0-3")]);
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("1000"))
    );
}

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
            put(site, "secret.txt", "secret");
            put(site, "www/a.txt", "a");
            put(site, "www/.env", "secret");
            put(site, "www/closed/x.txt", "secret");
            put(site, "www/a+b/x.txt", "secret");
            put(site, "www/.git/config", "secret");
            put(site, "www/.well-known/security.txt", "hello");
            put(site, "www/d/locked.txt", "secret");
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
            put(site, "www/index.html", "app");
            put(site, "www/a.css", "a { }");
            put(site, "www/.env", "secret");
            put(site, "www/stored/a.css", "b { }");
            put(site, "www/folder/index.html", "folder");
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
    put(&edge.site, "www/late.txt", "late");
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
            put(site, "www/a.css", "plain");
            put(site, "www/a.css.gz", "as gzip");
            put(site, "www/a.css.br", "as brotli");
            put(site, "www/b.css", "plain");
            put(site, "www/b.css.gz", "as gzip, of the version before");
            put(site, "www/c.css.gz", "alone");
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

#[test]
fn stored_files_follow_their_folder() {
    let edge = start(
        "[[routes]]\nfiles = { root = '@dir/www', expires = '30d' }\ncache = 'default'",
        |site| put(site, "www/a.txt", "one"),
    );
    assert_eq!(edge.get("/a.txt").text(), "one");
    let answer = edge.get("/a.txt");
    assert!(answer.is_hit(), "{answer:?}");
    assert_eq!(answer.field("cache-control"), Some("max-age=2592000"));
    put(&edge.site, "www/a.txt", "another");
    eventually("the new file answers", || {
        edge.get("/a.txt").text() == "another"
    });
    // What is the same is confirmed, and goes on answering.
    eventually("it is looked at again", || {
        edge.get("/a.txt").cache().contains("fwd=stale")
    });
    assert_eq!(edge.get("/a.txt").text(), "another");
    fs::remove_file(edge.site.path("www/a.txt")).expect("removed");
    eventually("it is gone", || edge.get("/a.txt").status == 404);
    assert_eq!(edge.get("/a.txt").status, 404);
}

#[test]
fn large_files_come_in_pieces() {
    const GIB: u64 = 1 << 30;
    let edge = start("[[routes]]\nfiles = { root = '@dir/www' }", |site| {
        let mut file = fs::File::create(site.path("www/film.mp4")).expect("made");
        file.set_len(GIB).expect("sparse");
        use std::io::Seek;
        file.seek(std::io::SeekFrom::Start(GIB - 4)).expect("there");
        file.write_all(b"end.").expect("written");
    });
    for (range, content_range, length) in [
        (
            "bytes=-4",
            format!("bytes {}-{}/{GIB}", GIB - 4, GIB - 1),
            4,
        ),
        (
            "bytes=536870912-536887295",
            format!("bytes 536870912-536887295/{GIB}"),
            16_384,
        ),
    ] {
        for answer in both(&edge, "GET", "/film.mp4", &[("Range", range)]) {
            assert_eq!(answer.status, 206);
            assert_eq!(answer.field("content-range"), Some(&*content_range));
            assert_eq!(answer.body.len(), length);
        }
    }
    let mut conn = edge.connect();
    conn.request("GET", "/film.mp4", &[]);
    let (status, fields) = conn.head().expect("a head");
    assert_eq!(status, 200);
    let length = fields
        .iter()
        .find(|(n, _)| n.eq_ignore_ascii_case("content-length"));
    assert_eq!(length.map(|(_, v)| v.clone()), Some(GIB.to_string()));
    let mut left = GIB;
    let mut last = Vec::new();
    while left > 0 {
        let piece = left.min(1 << 20);
        last = conn
            .take(usize::try_from(piece).expect("little"))
            .expect("content");
        left -= piece;
    }
    assert!(last.ends_with(b"end."));
}

#[test]
fn a_file_that_changes_never_looks_whole() {
    let edge = start("[[routes]]\nfiles = { root = '@dir/www' }", |site| {
        // They have no bytes on the disk.
        for name in ["www/a.bin", "www/b.bin"] {
            let file = fs::File::create(site.path(name)).expect("made");
            file.set_len(64 << 20).expect("sparse");
        }
    });
    let begun = |path: &str| {
        let mut conn = edge.connect();
        conn.request("GET", path, &[]);
        let (status, _) = conn.head().expect("a head");
        assert_eq!(status, 200);
        conn.take(1_000).expect("a beginning");
        conn
    };
    let rest = |conn: &mut Conn| conn.rest().map(|rest| rest.len()).unwrap_or_default();
    // In place.
    let mut conn = begun("/a.bin");
    let path = edge.site.path("www/a.bin");
    fs::File::options()
        .write(true)
        .open(&path)
        .expect("opened")
        .set_len(1 << 20)
        .expect("cut");
    assert!(rest(&mut conn) < (64 << 20) - 1_000, "it looks whole");
    // By another one: who has begun with the old one gets all of it.
    let mut conn = begun("/b.bin");
    put(&edge.site, "www/new.bin", "new");
    fs::rename(edge.site.path("www/new.bin"), edge.site.path("www/b.bin")).expect("renamed");
    let whole = conn.take((64 << 20) - 1_000).expect("the old file");
    assert!(whole.iter().all(|byte| *byte == 0));
    assert_eq!(edge.get("/b.bin").text(), "new");
}

#[test]
fn many_read_at_once() {
    const READERS: usize = 1_500;
    let edge = start(
        "[server]\nmax_connections_per_client = 0\n[[routes]]\nfiles = { root = '@dir/www' }",
        |site| put(site, "www/a.bin", vec![b'a'; 300_000]),
    );
    let mut conns: Vec<Conn> = (0..READERS).map(|_| edge.connect()).collect();
    for conn in &mut conns {
        conn.request("GET", "/a.bin", &[]);
    }
    let each = READERS / 4 + 1;
    thread::scope(|scope| {
        for part in conns.chunks_mut(each) {
            scope.spawn(move || {
                for conn in part {
                    let answer = conn.response("GET");
                    assert_eq!((answer.status, answer.body.len()), (200, 300_000));
                }
            });
        }
    });
}

#[test]
fn limits_lists_and_rooms_are_for_files_too() {
    let edge = start(
        r#"
        [limits.few]
        rate = "1/h"
        burst = 2
        [address_lists.me]
        entries = ["127.0.0.0/8"]
        [[routes]]
        files = { root = "@dir/www" }
        limits = ["few"]
        response_headers = { set = { x-own = "yes" } }
        [[routes]]
        path = "/closed/*"
        files = { root = "@dir/www" }
        deny = ["me"]
        "#,
        |site| put(site, "www/a.txt", "a"),
    );
    assert_eq!(edge.get("/closed/a.txt").status, 403);
    let answer = edge.get("/a.txt");
    assert_eq!((answer.status, answer.field("x-own")), (200, Some("yes")));
    assert_eq!(edge.get("/a.txt").status, 200);
    assert_eq!(edge.get("/a.txt").status, 429);
}

#[test]
fn mistakes_are_told() {
    for (routes, wanted) in [
        ("files = {}", "`root` is missing"),
        (
            "files = { root = 'a', alias = 'b' }",
            "`root` and `alias` are both given",
        ),
        ("files = { root = '@dir/none' }", "cannot open the folder"),
        (
            "files = { root = '@dir' }\nredirect = { to = '/' }",
            "this route has `files` as well",
        ),
        (
            "files = { root = '@dir', fallback = 'upstream' }",
            "no upstream to fall back to",
        ),
        (
            "files = { root = '@dir', fallback = '/../x' }",
            "is no file beneath the folder",
        ),
        (
            "files = { root = '@dir', index = ['a/b'] }",
            "is no name of a file",
        ),
        (
            "files = { root = '@dir', precompressed = ['lzma'] }",
            "is no choice here",
        ),
        (
            "files = { root = '@dir' }\ntimeouts = {}",
            "`timeouts` does nothing",
        ),
        (
            "files = { alias = '@dir' }\npath_regex = '^/a'",
            "`alias` needs a plain `path`",
        ),
        (
            "files = { root = '@dir', types = { '.css' = 'text/css' } }",
            "is no end of a name",
        ),
    ] {
        let site = Site::new(&format!("[[routes]]\n{routes}\n"));
        let check = site.dhal(&["check"]);
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert!(!check.status.success(), "{routes}");
        assert!(said.contains(wanted), "{routes}: {said}");
    }
    // What visitors should not be able to read is told.
    let site = Site::new("[[routes]]\nfiles = { root = '@dir' }\n");
    let check = site.dhal(&["check"]);
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(check.status.success(), "{said}");
    assert!(
        said.contains("visitors could read the configuration"),
        "{said}"
    );
}
