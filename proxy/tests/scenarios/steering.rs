//! Taking pages out of the store, and fetching them into it before anybody asks.

use std::process::Output;

use crate::{
    client::{Conn, Response},
    edge::{Edge, Site},
    origin::{Origin, page},
    serving::smallest,
    tools::{Gate, eventually},
};

const TOKEN: &str = "a-token-of-sufficient-length";

/// Paths with their tags.
const PAGES: [(&str, &str); 5] = [
    ("/products/1", "product-1 list"),
    ("/products/1?size=l", "product-1 list"),
    ("/products/2", "product-2 list"),
    ("/images/1", "image-1"),
    ("/about", ""),
];

/// Every page is fresh for long, carries its tags, and tells how often its path was asked for.
fn shop() -> Origin {
    Origin::start(|r| {
        let tags = PAGES.iter().find(|(path, _)| *path == r.target);
        let answer = page(format!("{} {}", r.target, r.nth)).fresh(600);
        match tags {
            Some((_, tags)) if !tags.is_empty() => answer.field("Surrogate-Key", tags),
            _ => answer,
        }
    })
}

fn fill(edge: &Edge) {
    for (path, _) in PAGES {
        eventually(path, || edge.get(path).is_hit());
    }
}

/// The paths that are not answered from the store any more. Asking fills them again.
fn gone(edge: &Edge) -> Vec<&'static str> {
    let paths = PAGES.iter().map(|(path, _)| *path);
    paths.filter(|path| !edge.get(path).is_hit()).collect()
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn what_an_order_names_is_gone_and_nothing_else() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    let mut last = None;
    for (order, wanted) in [
        (
            r#"{"urls": ["http://shop.example/products/1"]}"#,
            &["/products/1"][..],
        ),
        (
            r#"{"urls": ["HTTP://Shop.Example:80/a/../%70roducts/1?size=l#top"]}"#,
            &["/products/1?size=l"],
        ),
        (
            r#"{"urls": ["https://shop.example/about", "http://other.example/about", "http://shop.example/none"]}"#,
            &[],
        ),
        (
            r#"{"prefixes": ["http://shop.example/products/"]}"#,
            &["/products/1", "/products/1?size=l", "/products/2"],
        ),
        (
            r#"{"prefixes": ["http://shop.example/products/1"]}"#,
            &["/products/1", "/products/1?size=l"],
        ),
        (r#"{"tags": ["product-2", "none"]}"#, &["/products/2"]),
        (
            r#"{"tags": ["list"]}"#,
            &["/products/1", "/products/1?size=l", "/products/2"],
        ),
        (
            r#"{"urls": ["http://shop.example/about"], "tags": ["image-1"]}"#,
            &["/images/1", "/about"],
        ),
        (
            r#"{"all": true}"#,
            &[
                "/products/1",
                "/products/1?size=l",
                "/products/2",
                "/images/1",
                "/about",
            ],
        ),
    ] {
        fill(&edge);
        let (status, answer) = edge.admin_json("/purge", order);
        assert_eq!(status, 200, "{order}: {answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["soft"], false, "{order}");
        let generation = answer["generation"].as_u64();
        assert!(generation > last, "{order}: {generation:?} after {last:?}");
        last = generation;
        assert_eq!(gone(&edge), wanted, "{order}");
    }
}

#[test]
fn a_purge_in_the_midst_of_a_fetch_counts() {
    let gate = Gate::default();
    let opened = gate.clone();
    let shop = Origin::start(move |r| match r.nth {
        1 => page("before").fresh(600).when(&opened),
        _ => page("after").fresh(600),
    });
    let edge = Edge::start(&smallest(&shop));
    let mut early = edge.connect();
    early.request("GET", "/", &[]);
    eventually("the shop is asked", || shop.count("/") == 1);
    assert_eq!(edge.admin_json("/purge", r#"{"all": true}"#).0, 200);
    gate.open();
    assert_eq!(early.response("GET").text(), "before");
    assert_eq!(
        edge.get("/").text(),
        "after",
        "what was fetched before the purge is not given to others"
    );
}

#[test]
fn what_is_made_stale_answers_until_it_is_refreshed() {
    let gate = Gate::default();
    let opened = gate.clone();
    let shop = Origin::start(move |r| {
        let answer = page(format!("{}", r.nth)).fresh(600);
        match r.nth {
            1 => answer.field("Surrogate-Key", "home"),
            _ => answer.when(&opened),
        }
    });
    let edge = Edge::start(&smallest(&shop));
    eventually("it is stored", || edge.get("/").is_hit());
    let (status, answer) = edge.admin_json("/purge", r#"{"tags": ["home"], "soft": true}"#);
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("\"soft\":true"), "{answer}");
    for _ in 0..10 {
        let answer = edge.get("/");
        assert_eq!(answer.text(), "1", "nobody waits for the refresh");
        assert!(
            answer.cache().starts_with("dhal; hit"),
            "{}",
            answer.cache()
        );
    }
    eventually("the refresh has begun", || shop.count("/") == 2);
    gate.open();
    eventually("the refresh is stored", || edge.get("/").text() == "2");
    assert!(edge.get("/").is_hit());
    assert_eq!(shop.count("/"), 2, "one request refreshed it");
}

#[test]
fn the_verb_names_what_it_purged() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    fill(&edge);
    let output = edge.site.dhal(&[
        "purge",
        "http://shop.example/about",
        "--prefix",
        "http://shop.example/images/",
        "--tag",
        "product-2",
        "--tag",
        "none",
    ]);
    let (stdout, stderr) = said(&output);
    assert!(output.status.success(), "{stderr}");
    for line in [
        "purged http://shop.example/about",
        "purged prefix http://shop.example/images/",
        "purged tag product-2",
        "purged tag none",
    ] {
        assert!(stdout.lines().any(|l| l == line), "{line} in {stdout}");
    }
    assert!(stdout.contains("generation "), "{stdout}");
    assert_eq!(gone(&edge), ["/products/2", "/images/1", "/about"]);

    let output = edge.site.dhal(&["purge", "--all", "--soft"]);
    let (stdout, stderr) = said(&output);
    assert!(output.status.success(), "{stderr}");
    assert!(stdout.starts_with("made stale everything\n"), "{stdout}");
}

#[test]
fn a_sitemap_is_warmed() {
    let shop = Origin::start(|r| {
        let entry = |kind: &str, path: &str| {
            format!("<{kind}><loc>http://shop.example{path}</loc></{kind}>")
        };
        match r.target.as_str() {
            "/sitemap.xml" => page(format!(
                "<?xml version=\"1.0\"?><sitemapindex>{}{}</sitemapindex>",
                entry("sitemap", "/products.xml"),
                entry("sitemap", "/rest.xml"),
            )),
            "/products.xml" => page(format!(
                "<urlset>{}{}</urlset>",
                entry("url", "/a?b=1&amp;c=2"),
                entry("url", "/b")
            )),
            "/rest.xml" => page(format!(
                "<urlset>{}{}</urlset>",
                entry("url", "/b"),
                entry("url", "/cart")
            )),
            "/cart" => page("yours").field("Cache-Control", "private"),
            _ => page("everyone's").fresh(600),
        }
    });
    let edge = Edge::start(&(smallest(&shop) + "host = \"shop.example\"\n"));
    let sitemap = ["warm", "--sitemap", "http://shop.example/sitemap.xml"];
    let first = edge.site.dhal(&sitemap);
    let (stdout, stderr) = said(&first);
    assert!(first.status.success(), "{stdout}{stderr}");
    assert_eq!(
        stdout,
        "2 stored, 0 already there, 1 not storable, 0 failed\n"
    );
    assert!(
        stderr.contains("http://shop.example/b: stored, status 200, 10 bytes"),
        "{stderr}"
    );
    for path in ["/a?b=1&c=2", "/b"] {
        assert!(edge.get(path).is_hit(), "{path}");
    }
    assert_eq!((shop.count("/a"), shop.count("/b")), (1, 1));

    let second = edge.site.dhal(&[
        "warm",
        "http://shop.example/a?b=1&c=2",
        "http://shop.example/b",
        "http://other.example/",
        "--concurrency",
        "1",
    ]);
    let (stdout, stderr) = said(&second);
    assert_eq!(second.status.code(), Some(1), "{stderr}");
    assert_eq!(
        stdout,
        "0 stored, 2 already there, 0 not storable, 1 failed\n"
    );
    assert!(stderr.contains("http://other.example/: "), "{stderr}");
    assert_eq!((shop.count("/a"), shop.count("/b")), (1, 1));

    let broken = edge
        .site
        .dhal(&["warm", "--sitemap", "http://shop.example/b"]);
    let (_, stderr) = said(&broken);
    assert_eq!(broken.status.code(), Some(1));
    assert!(stderr.contains("no usable sitemap"), "{stderr}");
}

fn ask_over_tcp(site: &Site, path: &str, json: &str, token: Option<&str>) -> Response {
    let mut conn = Conn::open(site.admin_tcp);
    let length = json.len().to_string();
    let bearer = format!("Bearer {}", token.unwrap_or_default());
    let mut fields = vec![("Content-Length", length.as_str()), ("Connection", "close")];
    if token.is_some() {
        fields.push(("Authorization", &bearer));
    }
    conn.request("POST", path, &fields);
    conn.send(json);
    conn.response("POST")
}

#[test]
fn changes_over_tcp_need_the_token() {
    let shop = shop();
    let without = Edge::start(&(smallest(&shop) + "[admin]\naddress = \"@admin\"\n"));
    let site =
        Site::new(&(smallest(&shop) + "[admin]\naddress = \"@admin\"\ntoken_file = \"token\"\n"));
    std::fs::write(site.path("token"), TOKEN).expect("a file");
    let with = Edge::start_at(site);
    // Refused for what it is only once it may be made.
    let nothing = "{}";
    for path in ["/purge", "/warm"] {
        for token in [None, Some(TOKEN)] {
            let answer = ask_over_tcp(&without.site, path, nothing, token);
            assert_eq!(answer.status, 403, "{path}");
        }
        for wrong in [None, Some(""), Some(&TOKEN[1..])] {
            let answer = ask_over_tcp(&with.site, path, nothing, wrong);
            assert_eq!(answer.status, 401, "{path} {wrong:?}");
        }
        let answer = ask_over_tcp(&with.site, path, nothing, Some(TOKEN));
        assert_eq!(answer.status, 422, "{path}");
    }
    let refused = without.site.dhal(&["purge", "--all"]);
    assert_eq!(refused.status.code(), Some(1));
    let (_, stderr) = said(&refused);
    assert!(stderr.contains("token_file"), "{stderr}");
}

#[test]
fn the_verb_finds_the_token() {
    let shop = shop();
    let site =
        Site::new(&(smallest(&shop) + "[admin]\naddress = \"@admin\"\ntoken_file = \"token\"\n"));
    std::fs::write(site.path("token"), TOKEN).expect("a file");
    let edge = Edge::start_at(site);
    fill(&edge);
    let output = edge.site.dhal(&["purge", "--all"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(gone(&edge).len(), PAGES.len());
}

#[test]
fn wrong_orders_change_nothing_and_are_explained() {
    let shop = shop();
    let edge = Edge::start(&smallest(&shop));
    fill(&edge);
    let many = format!("{{\"tags\": [{}\"a\"]}}", "\"a\",".repeat(10_000));
    let large = format!("{{\"tags\": [\"{}\"]}}", "a".repeat(1 << 20));
    for (path, order, status, part) in [
        ("/purge", "", 422, "no purge"),
        ("/purge", "{}", 422, "nothing to purge"),
        ("/purge", r#"{"al": true}"#, 422, "unknown field `al`"),
        (
            "/purge",
            r#"{"all": true, "urls": ["http://shop.example/", "/about"]}"#,
            422,
            "urls[1] \"/about\" is no absolute",
        ),
        (
            "/purge",
            r#"{"prefixes": ["http://shop.example/%"]}"#,
            422,
            "prefixes[0]",
        ),
        ("/purge", r#"{"tags": ["a b"]}"#, 422, "tags[0]"),
        ("/purge", &many, 422, "10001 entries"),
        ("/purge", &large, 413, "1 MiB"),
        ("/warm", "{}", 422, "expected one page"),
        ("/warm", r#"{"url": "/about"}"#, 422, "is no absolute"),
    ] {
        let (code, answer) = edge.admin_json(path, order);
        assert_eq!(code, status, "{path} {answer}");
        assert!(answer.contains(part), "{part} in {answer}");
        assert!(answer.len() < 400 && answer.ends_with('\n'), "{answer}");
    }
    assert_eq!(edge.admin("GET", "/purge").0, 405);
    assert_eq!(edge.admin("GET", "/warm").0, 405);

    let output = edge.site.dhal(&["purge", "shop.example/about"]);
    assert_eq!(output.status.code(), Some(1));
    let (_, stderr) = said(&output);
    assert!(stderr.contains("nothing was purged: urls[0]"), "{stderr}");
    assert_eq!(gone(&edge), Vec::<&str>::new());
}

#[test]
fn verbs_that_are_told_too_little() {
    let site = Site::new("");
    for (arguments, part) in [
        (&["purge"][..], "say what to purge"),
        (&["purge", "--soft"], "say what to purge"),
        (&["purge", "--tag"], "--tag"),
        (&["warm"], "say what to warm"),
        (&["warm", "--concurrency", "2"], "say what to warm"),
        (
            &["warm", "http://shop.example/", "--concurrency", "0"],
            "--concurrency",
        ),
    ] {
        let output = site.dhal(arguments);
        let (_, stderr) = said(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
    }
}
