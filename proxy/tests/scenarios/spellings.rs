//! Paths that are spelt in another way: what one spelling keeps closed no other opens.

use std::io::Write;

use crate::{
    client::Conn,
    edge::{Edge, Site},
    h2::{H2, both},
    origin::{Origin, page, raw},
    tools::eventually,
};

/// A shop that says what it was asked for, and an edge before it with doors that are closed.
fn shop(server: &str) -> (Origin, Edge) {
    let shop = Origin::start(|r| page(r.target.clone()));
    let edge = Edge::start_tls(&format!(
        r#"
        [server]
        {server}
        [address_lists.everybody]
        entries = ["0.0.0.0/0", "::/0"]
        [limits.once]
        rate = "1/h"
        burst = 1
        key = "param:id"
        [upstreams.shop]
        servers = ["{shop}"]
        [[routes]]
        path = "/locked/*"
        upstream = "shop"
        deny = ["everybody"]
        [[routes]]
        path = "/one"
        upstream = "shop"
        deny = ["everybody"]
        [[routes]]
        path_regex = "^/re/"
        upstream = "shop"
        deny = ["everybody"]
        [[routes]]
        path = "/a+b/*"
        upstream = "shop"
        deny = ["everybody"]
        [[routes]]
        path = "/user/:id"
        upstream = "shop"
        limits = ["once"]
        [[routes]]
        path = "/api/*"
        upstream = "shop"
        strip_prefix = "/api"
        [[routes]]
        path = "/in/*"
        upstream = "shop"
        rewrite = "/internal{{rest}}?p={{path}}"
        [[routes]]
        path = "/go/*"
        redirect = {{ to = "{{rest}}" }}
        [[routes]]
        upstream = "shop"
        "#
    ));
    (shop, edge)
}

#[test]
fn a_closed_door_has_one_spelling() {
    let (shop, edge) = shop("");
    for path in [
        "/locked/x",
        "//locked/x",
        "///locked//x",
        "/locked%2Fx",
        "/locked%2fx",
        "/locked%5Cx",
        "/%2Flocked/x",
        "/%2F%2flocked/x",
        "/a%2F..%2Flocked/x",
        "/a%2F%2e%2e%2Flocked%2Fx",
        "/a/..%2Flocked/x",
        "/a%5C..%5Clocked/x",
        "/a%2F%2F..%2Flocked/x",
        "/./%2flocked/x",
        "/%6Cocked//x?q",
        "//one",
        "/%2Fone?a=/",
        "//re/x",
        "/re%2Fx",
        "/a%2Bb/x",
        "//a%2bb//x",
    ] {
        for answer in both(&edge, "GET", path, &[]) {
            assert_eq!(answer.status, 403, "{path}");
        }
    }
    assert!(shop.seen().is_empty());
    // What no door is closed for goes on as it came.
    for (path, wanted) in [
        ("//open//x?a=//b", "//open//x?a=//b"),
        ("/open%2fx", "/open%2Fx"),
        ("/a%5cb%2Bc", "/a%5Cb%2Bc"),
        // Nobody who reads it shall find the locked one.
        ("/locked/x%2F..%2F..%2Fopen", "/open"),
        ("/locked/x%5C..%5C..%5Copen?q", "/open?q"),
    ] {
        for answer in both(&edge, "GET", path, &[]) {
            assert_eq!((answer.status, answer.text().as_str()), (200, wanted));
        }
    }
    for path in ["/a%2F..%2F..%2Flocked/x", "/%2F..%2Flocked/x"] {
        for answer in both(&edge, "GET", path, &[]) {
            assert_eq!(answer.status, 400, "{path}");
        }
    }
}

#[test]
fn limits_and_placeholders_read_what_routes_read() {
    let (_shop, edge) = shop("");
    for (path, status) in [
        ("/user/a%40b", 200),
        ("//user//a@b", 429),
        ("/user%2Fa@b", 429),
        ("/user/other", 200),
    ] {
        assert_eq!(edge.get(path).status, status, "{path}");
    }
    for (path, wanted) in [
        ("//api//x//y?q", "/x/y?q"),
        ("/api%2Fx%2Fy", "/x/y"),
        ("//api/", "/"),
        ("/api//", "/"),
        ("//in//x?q", "/internal/x?p=//in//x"),
        ("/in%2Fx%2By", "/internal/x+y?p=/in%2Fx%2By"),
    ] {
        for answer in both(&edge, "GET", path, &[]) {
            assert_eq!((answer.status, answer.text().as_str()), (200, wanted));
        }
    }
    for (path, wanted) in [
        ("/go//evil.example", "/evil.example"),
        ("/go/%2F%2Fevil.example", "/evil.example"),
        ("/go%5C%5Cevil.example", "/evil.example"),
        ("//go/x", "/x"),
    ] {
        for answer in both(&edge, "GET", path, &[]) {
            assert_eq!(answer.field("location"), Some(wanted), "{path}");
        }
    }
}

#[test]
fn encoded_slashes_may_be_letters_or_refused() {
    let (_shop, edge) = shop("encoded_slashes = \"keep\"");
    for (path, status, text) in [
        ("//locked/x", 403, None),
        ("/a%2Bb/x", 403, None),
        ("/locked%2fx", 200, Some("/locked%2Fx")),
        ("/user/group%2Fproject", 200, Some("/user/group%2Fproject")),
        ("/user/group%2fproject", 429, None),
        ("/api//group%2Fproject", 200, Some("/group%2Fproject")),
        ("/a%2F..%2Fb", 200, Some("/a%2F..%2Fb")),
    ] {
        let answer = edge.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert!(text.is_none_or(|text| answer.text() == text), "{path}");
    }
    let (shop, edge) = shop("encoded_slashes = \"refuse\"");
    for path in ["/locked%2fx", "/x%5Cy", "/a%2F..%2Fb", "//a/%2F"] {
        for answer in both(&edge, "GET", path, &[]) {
            assert_eq!(answer.status, 400, "{path}");
        }
    }
    assert_eq!(edge.get("//locked/x").status, 403);
    assert!(shop.seen().is_empty());
    assert_eq!(edge.get("/x//y?a=%2F").text(), "/x//y?a=%2F");
}

#[test]
fn files_and_stored_pages_have_spellings_too() {
    let shop = Origin::start(|r| page(r.target.clone()).fresh(600));
    let site = Site::new_tls(&format!(
        r#"
        [address_lists.everybody]
        entries = ["0.0.0.0/0", "::/0"]
        [upstreams.shop]
        servers = ["{shop}"]
        [[routes]]
        path = "/media/*"
        files = {{ alias = "@dir/www" }}
        [[routes]]
        path = "/media/closed/*"
        files = {{ alias = "@dir/www/closed" }}
        deny = ["everybody"]
        [[routes]]
        path = "/both/*"
        files = {{ alias = "@dir/www", fallback = "upstream" }}
        upstream = "shop"
        [[routes]]
        path = "/both/closed/*"
        upstream = "shop"
        deny = ["everybody"]
        [[routes]]
        upstream = "shop"
        cache = "default"
        "#
    ));
    for (name, text) in [("www/a/b.txt", "file"), ("www/closed/x.txt", "secret")] {
        let path = site.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        let mut file = std::fs::File::create(path).expect("a file");
        file.write_all(text.as_bytes()).expect("written");
    }
    let edge = Edge::start_at(site);
    for (path, status, text) in [
        ("/media/a/b.txt", 200, Some("file")),
        ("//media//a//b.txt", 200, Some("file")),
        ("/////////media/a/b.txt", 200, Some("file")),
        ("/media%2Fa%2Fb.txt", 200, Some("file")),
        ("//both/a%2Fb.txt", 200, Some("file")),
        ("//both/none%2Fx", 200, Some("//both/none%2Fx")),
        ("/media/closed/x.txt", 403, None),
        ("//media/closed/x.txt", 403, None),
        ("/media/closed%2Fx.txt", 403, None),
        ("/media//closed//x.txt", 403, None),
        ("/media/a%2F..%2Fclosed%2Fx.txt", 403, None),
        ("/both//closed/x.txt", 403, None),
        ("/both/closed%2Fx.txt", 403, None),
    ] {
        for answer in both(&edge, "GET", path, &[]) {
            assert_eq!(answer.status, status, "{path}");
            assert!(text.is_none_or(|text| answer.text() == text), "{path}");
            assert!(!answer.text().contains("secret"), "{path}");
        }
    }
    // Stored under the spelling that was asked for, and purged by it.
    for path in ["/page", "//page", "/page%2Fx"] {
        assert!(!edge.get(path).is_hit(), "{path}");
        eventually(path, || edge.get(path).is_hit());
        assert_eq!(edge.get(path).text(), path);
    }
    let order = r#"{"urls": ["http://shop.example//page", "http://shop.example/page%2fx"]}"#;
    assert_eq!(edge.admin_json("/purge", order).0, 200);
    assert!(!edge.get("//page").is_hit() && !edge.get("/page%2Fx").is_hit());
    assert!(edge.get("/page").is_hit());
    // A target that is put together anew is stored under what it became.
    assert!(edge.get("/x%2F..%2Fpage").is_hit());
}

#[test]
fn a_question_mark_at_the_end_says_that_there_is_no_query() {
    let shop = Origin::start(|r| page(r.target.clone()));
    let edge = Edge::start_tls(&format!(
        r#"
        [upstreams.shop]
        servers = ["{shop}"]
        [[routes]]
        path = "/none/*"
        upstream = "shop"
        rewrite = "/product?"
        [[routes]]
        path = "/own/:id"
        upstream = "shop"
        rewrite = "/product?id={{id}}?"
        [[routes]]
        path = "/all/*"
        upstream = "shop"
        rewrite = "/product"
        [[routes]]
        path_regex = "^/m/"
        upstream = "shop"
        rewrite = {{ pattern = "^/m/(.*)$", to = "/{{1}}?" }}
        [[routes]]
        path = "/go/*"
        redirect = {{ to = "/new{{rest}}?" }}
        "#
    ));
    for (path, wanted) in [
        ("/none/x?z=1", "/product"),
        ("/none/x", "/product"),
        ("/own/7?z=1", "/product?id=7"),
        ("/all/x?z=1", "/product?z=1"),
        ("/m/x?z=1", "/x"),
    ] {
        for answer in both(&edge, "GET", path, &[]) {
            assert_eq!((answer.status, answer.text().as_str()), (200, wanted));
        }
    }
    for answer in both(&edge, "GET", "/go/x?z=1", &[]) {
        assert_eq!(answer.field("location"), Some("/new/x"));
    }
}

#[test]
fn answers_on_the_way_and_changes_of_protocol_are_changed_as_well() {
    const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: \
         websocket\r\nServer: evil\r\nX-Powered-By: php\r\n\r\n";
    const EARLY: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nServer: evil\r\nX-Powered-By: \
         php\r\n\r\nHTTP/1.1 200 OK\r\nServer: evil\r\nContent-Length: 1\r\n\r\nx";
    let shop = Origin::start(|r| match r.target.as_str() {
        "/switch" => raw(SWITCH),
        _ => raw(EARLY),
    });
    let edge = Edge::start_tls(&format!(
        r#"
        [server.response_headers]
        remove = ["server", "x-powered-by"]
        set = {{ x-frame-options = "DENY" }}
        [upstreams.shop]
        servers = ["{shop}"]
        [[routes]]
        upstream = "shop"
        "#
    ));
    let looks_right = |conn: &mut Conn, status: u16| {
        let (told, fields) = conn.head().expect("a head");
        assert_eq!(told, status);
        let has = |name: &str| fields.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        assert!(!has("server") && !has("x-powered-by"), "{fields:?}");
        assert!(has("x-frame-options"), "{fields:?}");
        (has("link"), has("upgrade"), has("date"))
    };
    let mut conn = edge.connect();
    conn.request(
        "GET",
        "/switch",
        &[("Connection", "Upgrade"), ("Upgrade", "websocket")],
    );
    assert_eq!(looks_right(&mut conn, 101), (false, true, false));
    let mut conn = edge.connect();
    conn.request("GET", "/early", &[]);
    assert_eq!(looks_right(&mut conn, 103), (true, false, false));
    // The shop says nothing of the time, so that we do.
    assert_eq!(looks_right(&mut conn, 200), (false, false, true));
    let answer = H2::connect(edge.site.https).get("/early");
    assert_eq!((answer.status, answer.count("date")), (200, 1));
    assert_eq!(answer.field("server"), None);
}

#[test]
fn our_own_failures_are_never_stored() {
    let shop = Origin::start(|r| match r.target.as_str() {
        "/dead" => raw("nonsense\r\n\r\n"),
        _ => page("x"),
    });
    let cached = "public, max-age=31536000, immutable";
    let edge = Edge::start_tls(&format!(
        r#"
        [server.response_headers]
        set = {{ cache-control = "{cached}", cdn-cache-control = "max-age=9" }}
        [limits.few]
        rate = "1/h"
        burst = 2
        [upstreams.shop]
        servers = ["{shop}"]
        [[routes]]
        path = "/few"
        upstream = "shop"
        limits = ["few"]
        [[routes]]
        path = "/fixed"
        respond = {{ status = 410, body = "gone" }}
        [[routes]]
        path = "/dead"
        upstream = "shop"
        response_headers = {{ remove = ["cache-control"] }}
        [[routes]]
        path = "/page"
        upstream = "shop"
        "#
    ));
    for (path, status, wanted) in [
        ("/few", 200, Some(cached)),
        ("/few", 429, Some("no-store")),
        ("/dead", 502, Some("no-store")),
        ("/nowhere", 404, Some("no-store")),
        ("/page", 200, Some(cached)),
        ("/fixed", 410, Some(cached)),
    ] {
        for answer in both(&edge, "GET", path, &[]) {
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(answer.field("cache-control"), wanted, "{path}");
            assert_eq!(answer.count("cache-control"), 1, "{path}");
            let cdn = (wanted == Some(cached)).then_some("max-age=9");
            assert_eq!(answer.field("cdn-cache-control"), cdn, "{path}");
        }
    }
}
