//! Routes that answer with the files of a folder.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use crate::{
    edge::{Edge, Site},
    h2::both,
    tools::eventually,
};

pub(crate) fn date(path: &Path, seconds: u64) {
    let file = fs::File::options().write(true).open(path).expect("opened");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    file.set_modified(time).expect("dated");
}

/// A shop with a folder, started.
pub(crate) fn start(routes: &str, lay_out: impl FnOnce(&Site)) -> Edge {
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
            site.write("www/index.html", "home");
            site.write("www/a.css", "a { }");
            site.write("www/sub/index.html", "below");
            site.write("www/sub/with space.txt", "spaced");
            site.write("www/bare/x.txt", "x");
            site.write("www/empty.txt", "");
            site.write("uploads/p/1.jpg", "picture");
            site.write("uploads/icon.ico", "icon");
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
        site.write("www/a.txt", text);
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
fn stored_files_follow_their_folder() {
    let edge = start(
        "[[routes]]\nfiles = { root = '@dir/www', expires = '30d' }\ncache = 'default'",
        |site| site.write("www/a.txt", "one"),
    );
    assert_eq!(edge.get("/a.txt").text(), "one");
    let answer = edge.get("/a.txt");
    assert!(answer.is_hit(), "{answer:?}");
    assert_eq!(answer.field("cache-control"), Some("max-age=2592000"));
    edge.site.write("www/a.txt", "another");
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
        |site| site.write("www/a.txt", "a"),
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
