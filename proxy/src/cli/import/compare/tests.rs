use super::*;

fn answer(status: u16, fields: &[(&str, &str)], content: &str) -> Answer {
    let mut answer = Answer {
        status,
        bytes: content.len() as u64,
        hash: content.to_owned(),
        head: content.as_bytes().to_vec(),
        ..Answer::default()
    };
    for (name, value) in fields {
        let values = answer.fields.entry((*name).to_owned()).or_default();
        values.push((*value).to_owned());
    }
    answer
}

fn names(nginx: &Answer, dhal: &Answer) -> Vec<String> {
    let ignored = IGNORED.iter().map(|n| (*n).to_owned()).collect();
    let hosts = (
        Place::new("a:1", "127.0.0.1:1", "http"),
        Place::new("b", "127.0.0.1:2", "http"),
    );
    let pairs = pairs(&Method::GET, nginx, dhal, hosts, &ignored);
    pairs.into_iter().map(|pair| pair.name).collect()
}

#[test]
fn what_differs() {
    let page = answer(200, &[("etag", "\"x\""), ("server", "nginx")], "hello");
    for (fields, content, status, expected) in [
        (
            &[("etag", "W/\"x\""), ("via", "1.1 dhal")][..],
            "hello",
            200,
            &[][..],
        ),
        (&[("etag", "\"y\"")], "hello", 200, &["etag"]),
        (&[], "hello", 200, &["etag"]),
        (&[("etag", "\"x\"")], "bye", 404, &["status", "content"]),
    ] {
        assert_eq!(names(&page, &answer(status, fields, content)), expected);
    }
}

#[test]
fn what_does_not_matter() {
    let nginx = answer(
        301,
        &[("location", "http://a:1/x"), ("content-type", "text/html")],
        "<hr><center>nginx</center>",
    );
    let dhal = answer(301, &[("location", "http://b:2/x")], "");
    assert!(names(&nginx, &dhal).is_empty());
    // One leads to TLS, the other one to itself for ever.
    let elsewhere = answer(301, &[("location", "https://b:2/x")], "");
    assert_eq!(names(&nginx, &elsewhere), ["location"]);
    let nginx = answer(
        404,
        &[("content-type", "text/html")],
        "<hr><center>nginx</center>",
    );
    let dhal = answer(
        404,
        &[
            ("content-type", "text/plain"),
            ("cache-control", "no-store"),
        ],
        "not found",
    );
    assert!(names(&nginx, &dhal).is_empty());
    let nginx = answer(
        200,
        &[
            ("vary", "Accept, Cookie"),
            ("content-type", "text/html; charset=UTF-8"),
        ],
        "",
    );
    let dhal = answer(
        200,
        &[
            ("vary", "cookie"),
            ("vary", "accept"),
            ("content-type", "text/html;charset=utf-8"),
        ],
        "",
    );
    assert!(names(&nginx, &dhal).is_empty());
}

#[test]
fn what_stands_on_pages_of_nginx() {
    let own = "<hr><center>nginx</center>";
    for (status, name, value) in [
        (404, "strict-transport-security", "max-age=1"),
        (403, "x-frame-options", "DENY"),
        (302, "set-cookie", "a=1"),
    ] {
        let fields = [
            ("location", "/x"),
            ("content-type", "text/html"),
            (name, value),
        ];
        let nginx = answer(status, &fields, own);
        let lost = answer(status, &fields[..1], "");
        assert_eq!(names(&nginx, &lost), [name]);
        assert_eq!(names(&nginx, &answer(status, &fields, "")), [""; 0]);
    }
    // A cookie that nginx does not set.
    let nginx = answer(302, &[("location", "/x")], own);
    let dhal = answer(302, &[("location", "/x"), ("set-cookie", "a=1")], "");
    assert_eq!(names(&nginx, &dhal), ["set-cookie"]);
    let nginx = answer(200, &[("set-cookie", "a=1"), ("set-cookie", "b=2")], "");
    let dhal = answer(200, &[("set-cookie", "a=1, b=2")], "");
    assert_eq!(names(&nginx, &dhal), ["set-cookie"]);
}

#[test]
fn ports_and_heads() {
    let nginx = answer(
        301,
        &[
            ("location", "http://shop.example:8080/x/"),
            ("content-type", "text/html"),
        ],
        "",
    );
    let dhal = answer(301, &[("location", "/x/")], "");
    let at = |port| Place::new("shop.example", port, "http");
    let hosts = (at("h:8080"), at("h:8081"));
    let ignored = BTreeSet::new();
    let differ = |method| pairs(&method, &nginx, &dhal, hosts, &ignored);
    assert_eq!(differ(Method::HEAD), []);
    assert_eq!(differ(Method::GET).len(), 1, "its type");
    let other = (at("h:80"), at("h:8081"));
    assert_eq!(
        pairs(&Method::HEAD, &nginx, &dhal, other, &ignored).len(),
        1
    );
}

#[test]
fn it_is_told() {
    let comparison = Comparison {
        compared: 2,
        equal: 1,
        differ: 1,
        differences: vec![Difference {
            request: "GET http://shop.example/x".to_owned(),
            failure: None,
            what: vec![Pair {
                name: "status".to_owned(),
                nginx: "200".to_owned(),
                dhal: String::new(),
            }],
        }],
        ..Comparison::default()
    };
    let text = text(&comparison);
    assert!(
        text.contains("nginx: 200") && text.contains("dhal:  (none)"),
        "{text}"
    );
    assert!(
        text.ends_with("2 compared: 1 equal, 1 differ, 0 failed\n"),
        "{text}"
    );
}
