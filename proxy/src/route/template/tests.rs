//! What templates become.

use super::*;

fn values<'a>(target: &'a str) -> Values<'a> {
    Values {
        client: IpAddr::from([192, 0, 2, 7]),
        request_id: "abc",
        ..Values::new("https", "shop.example:8443", target, EncodedSlashes::Decode)
    }
}

fn template(text: &str, path: &PathPattern) -> Result<Template, (String, Option<String>)> {
    let known = Known {
        path,
        regex: None,
        visitor: true,
    };
    Template::parse(text, &known)
}

#[test]
fn placeholders_become_parts_of_the_request() {
    for (path, text, target, wanted) in [
        (
            "/*",
            "https://www.{host}{path}{?query}",
            "/a?b=c",
            "https://www.shop.example/a?b=c",
        ),
        (
            "/*",
            "https://{host}{path}{?query}",
            "/a",
            "https://shop.example/a",
        ),
        ("/*", "/x{?query}", "/a?", "/x?"),
        ("/*", "{scheme}://{host}/", "/a", "https://shop.example/"),
        ("/*", "/all{rest}", "/a/b", "/all/a/b"),
        ("/old/*", "/new{rest}", "/old/a/b", "/new/a/b"),
        ("/old/*", "/new{rest}", "/old/", "/new/"),
        ("/old/*", "/new{rest}", "/old//evil", "/new/evil"),
        ("/:shop/x/*", "/y/{shop}{rest}", "/a/x/b/c", "/y/a/b/c"),
        ("/p/:id", "/q?id={id}&{query}", "/p/7?a=b", "/q?id=7&a=b"),
        ("/p/:id", "/q?id={id}{&query}", "/p/7?a=b", "/q?id=7&a=b"),
        ("/p/:id", "/q?id={id}{&query}#x", "/p/7", "/q?id=7#x"),
        // What is a value in a query does not end it.
        (
            "/p/:id",
            "/q?id={id}",
            "/p/7&x=1;y+z",
            "/q?id=7%26x=1%3By%2Bz",
        ),
        ("~^/p/([0-9]+)(-.*)?$", "/q/{1}/{2}", "/p/17", "/q/17/"),
        ("~^/p/(?<id>[0-9]+)", "/q/{id}{1}", "/p/17/x", "/q/1717"),
        ("/*", "{{{client_ip}}} {request_id}", "/", "{192.0.2.7} abc"),
        ("/*", "plain", "/", "plain"),
    ] {
        let path = PathPattern::parse_for_tests(path);
        let template = template(text, &path).expect("a template");
        let expanded = template.url(&values(target));
        assert_eq!(expanded.as_deref(), Ok(wanted), "{text} {target}");
    }
}

#[test]
fn parts_are_those_of_the_path_that_was_matched() {
    use EncodedSlashes::{Decode, Keep};
    for (path, text, target, decode, keep) in [
        ("/*", "{path}", "//a%2Fb%2Bc", "//a%2Fb%2Bc", "//a%2Fb%2Bc"),
        ("/p/*", "{rest}", "//p//a%2Fb", "/a/b", "/a%2Fb"),
        ("/p/*", "{rest}", "/p/a%5Cb%40c", "/a/b@c", "/a%5Cb@c"),
        ("/:a/x/*", "{a}{rest}", "//k//x//y", "k/y", "k/y"),
        ("/p/:id", "{id}", "//p/a%40b", "a@b", "a@b"),
        ("/p/:id", "{id}", "/p/a%2Fb", "a", "a%2Fb"),
        (
            "/p/:id",
            "/q?id={id}",
            "/p/a%26b",
            "/q?id=a%26b",
            "/q?id=a%26b",
        ),
        ("~^/p/(.*)$", "{1}", "/p//a%2Fb%20c", "a/b%20c", "a%2Fb%20c"),
    ] {
        let path = PathPattern::parse_for_tests(path);
        let template = template(text, &path).expect("a template");
        for (slashes, wanted) in [(Decode, decode), (Keep, keep)] {
            let values = Values::new("https", "shop.example", target, slashes);
            let expanded = template.url(&values);
            assert_eq!(expanded.as_deref(), Ok(wanted), "{text} {target}");
        }
    }
}

#[test]
fn what_is_no_template() {
    for (path, text, wanted) in [
        ("/*", "{nothing}", "no placeholder `{nothing}`"),
        ("/*", "{id", "a brace is open"),
        ("/*", "id}", "a brace is open"),
        ("/*", "{1}", "there are 0"),
        ("~^/([a-z])$", "{2}", "there are 1"),
        ("~^/([a-z])$", "{0}", "no placeholder"),
        ("/x", "{rest}", "this path has none"),
        ("/:a", "{b}", "no placeholder"),
        ("/*", &"{path}".repeat(17), "more than 16"),
        ("/*", &"x".repeat(9_000), "longer than"),
    ] {
        let path = PathPattern::parse_for_tests(path);
        let why = template(text, &path).expect_err(text).0;
        assert!(why.contains(wanted), "{text}: {why}");
    }
}

#[test]
fn queries_stand_in_their_place() {
    let path = PathPattern::parse_for_tests("/*");
    for (text, wanted) in [
        ("/a{?query}", None),
        ("/a?x={path}&{query}", None),
        ("/a{?query}#top", None),
        ("/a?x{&query}&y=z", None),
        ("/a{&query}", Some("stands in a path")),
        ("/a{query}", Some("stands in a path")),
        ("/a?{?query}", Some("behind a `?`")),
        ("/a{?query}&b=c", Some("may be nothing")),
        ("/a{?query}{path}", Some("may be nothing")),
        ("/a b", Some("no URL")),
        ("/a\r\nb", Some("no URL")),
        ("/a\\b", Some("no URL")),
        ("/\u{e4}", Some("no URL")),
    ] {
        let template = template(text, &path).expect("a template");
        let objection = template.objection_to_url().map(|(why, _)| why);
        match (objection, wanted) {
            (None, None) => {}
            (Some(why), Some(part)) => assert!(why.contains(part), "{text}: {why}"),
            _ => panic!("{text}: {objection:?}"),
        }
    }
}

#[test]
fn results_are_bounded() {
    let path = PathPattern::parse_for_tests("/*");
    let template = template("{path}{path}{path}", &path).expect("a template");
    let long = format!("/{}", "a".repeat(8_000));
    assert_eq!(template.url(&values(&long)), Err(TooLong));
    let shorter = &long[..4_000];
    assert_eq!(
        template.url(&values(shorter)).map(|url| url.len()),
        Ok(12_000)
    );
}
