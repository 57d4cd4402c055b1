//! What of routes that do more than pass on is wrong, and where.

use std::path::Path;

use crate::config::{Errors, Surroundings, model::Config, parse};

const BEFORE: &str = "[[listeners]]\naddress = '127.0.0.1:0'\n\
                      [upstreams.u]\nservers = ['10.0.0.1:3000', '10.0.0.2:3000']\n\
                      [upstreams.one]\nservers = ['Shop.internal:80']\n\
                      [cache]\n[[routes]]\n";

fn read(text: &str) -> Result<Config, Vec<String>> {
    let surroundings = Surroundings {
        folder: Path::new("/etc/dhal"),
        env: &|_| None,
    };
    match parse("test", text, &surroundings) {
        Ok(loaded) => Ok(loaded.config),
        Err(Errors::Invalid(found)) => Err(found
            .iter()
            .map(|diagnostic| {
                let line = text.lines().nth(diagnostic.line - 1).unwrap_or_default();
                format!("{diagnostic} | {}", &line[diagnostic.column - 1..])
            })
            .collect()),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn what_is_right() {
    for route in [
        "redirect = { to = 'https://www.shop.example{path}{?query}', status = 301 }",
        "redirect = { to = 'https://{host}{path}' }",
        "redirect = { to = 'https://www.{host}:8443{rest}' }",
        "redirect = { to = '{scheme}://shop.example' }",
        "redirect = { to = 'https://shop.example?{query}' }",
        "path = '/old/*'\nredirect = { to = '/new{rest}' }",
        "path = '/p/:id'\nredirect = { to = '/q?id={id}' }",
        "path_regex = '^/p/([0-9]+)$'\nredirect = { to = '/q/{1}' }",
        "respond = { }",
        "respond = { status = 403 }",
        "respond = { status = 204 }",
        "respond = { body = 'ok', content_type = 'text/plain' }",
        "respond = { body_file = 'x.html' }",
        "upstream = 'u'\nrewrite = '/internal{path}'",
        "upstream = 'u'\nrewrite = '{path}?x=1{&query}'",
        "upstream = 'u'\nrewrite = { pattern = '^/(?<a>.)', to = '/x/{a}/{1}' }",
        "upstream = 'u'\npath = '/api/*'\nstrip_prefix = '/api'",
        "upstream = 'u'\npath = '/api/v1/:x/*'\nstrip_prefix = '/api'",
        "upstream = 'u'\npath = '/api'\nstrip_prefix = '/api'",
        "upstream = 'u'\npath = '/api/*'\nbefore_regex = true",
        "upstream = 'u'\nhost = ['a.example', '*.b.example']\nmethods = ['GET', 'HEAD', 'PURGE']",
        "upstream = 'one'\nupstream_host = 'upstream'",
        "upstream = 'u'\nupstream_host = 'shop.example:8080'",
        "upstream = 'u'\nrequest_headers = { set = { x-real-ip = '{client_ip}', x-a = '{{}}' }, add = { x-b = ['1', '2'] }, remove = ['cookie', 'accept-encoding'] }",
        "upstream = 'u'\nresponse_headers = [{ set = { x-frame-options = 'DENY' } }, { on = 'success', add = { link = 'a' }, remove = ['server'] }]",
    ] {
        let text = format!("{BEFORE}{route}\n");
        if let Err(found) = read(&text) {
            panic!("{route}: {found:?}");
        }
    }
}

#[test]
fn what_is_wrong() {
    for (route, wanted) in [
        ("", "`upstream` is missing"),
        (
            "upstream = 'u'\nredirect = { to = '/' }",
            "`redirect` would be another",
        ),
        (
            "redirect = { to = '/' }\nrespond = {}",
            "`respond` would be another",
        ),
        (
            "redirect = { to = '/' }\ncache = 'default'",
            "`cache` does nothing",
        ),
        (
            "redirect = { to = '/' }\nclass = 'cart'",
            "`class` does nothing",
        ),
        (
            "redirect = { to = '/' }\nstrip_prefix = '/a'",
            "`strip_prefix` does nothing",
        ),
        (
            "respond = {}\nrequest_headers = {}",
            "`request_headers` does nothing",
        ),
        ("redirect = {}", "`to` is missing"),
        (
            "redirect = { to = '/', status = 300 }",
            "300 is no status of a redirect",
        ),
        (
            "redirect = { to = '/', status = 200 }",
            "between 300 and 399",
        ),
        (
            "redirect = { to = '//evil.example' }",
            "would lead to another host",
        ),
        (
            "redirect = { to = 'ftp://a' }",
            "neither with `/` nor with a scheme",
        ),
        (
            "redirect = { to = 'javascript:alert(1)' }",
            "neither with `/` nor with a scheme",
        ),
        (
            "redirect = { to = '{host}' }",
            "neither with `/` nor with a scheme",
        ),
        (
            "path_regex = '^/(.*)$'\nredirect = { to = 'https://{1}' }",
            "a visitor could choose the host",
        ),
        (
            "path_regex = '^/(.*)$'\nredirect = { to = 'https://a.example{1}' }",
            "a visitor could choose the host",
        ),
        (
            "path = '/:a/*'\nredirect = { to = 'https://{a}.example/' }",
            "a visitor could choose the host",
        ),
        (
            "redirect = { to = 'https://user@a.example/' }",
            "the host is malformed",
        ),
        ("redirect = { to = 'https:///a' }", "the host is malformed"),
        (
            "redirect = { to = \"/a\\r\\nSet-Cookie: b\" }",
            "characters that no URL has",
        ),
        (
            "redirect = { to = '/{rest}{nothing}' }",
            "no placeholder `{nothing}`",
        ),
        (
            "redirect = { to = '/{client_ip}' }",
            "no placeholder `{client_ip}`",
        ),
        (
            "path = '/a'\nredirect = { to = '{rest}' }",
            "this path has none",
        ),
        ("redirect = { to = '/a{query}' }", "stands in a path"),
        (
            "respond = { status = 301 }",
            "cannot be the answer to everything",
        ),
        (
            "respond = { status = 304 }",
            "cannot be the answer to everything",
        ),
        ("respond = { status = 204, body = 'x' }", "has no content"),
        ("respond = { body = 'x', body_file = 'y' }", "both given"),
        ("respond = { status = 100 }", "between 200 and 599"),
        (
            "respond = { body = 'x', content_type = 'text' }",
            "no type of content",
        ),
        (
            "respond = { body = 'x', content_type = \"a/b\\r\\nc: d\" }",
            "no type of content",
        ),
        ("respond = { content_type = 'a/b' }", "there is no content"),
        (
            "upstream = 'u'\nrewrite = 'internal'",
            "no target to ask for",
        ),
        ("upstream = 'u'\nrewrite = '/a#b'", "no target to ask for"),
        (
            "upstream = 'u'\nrewrite = '/{client_ip}'",
            "no placeholder `{client_ip}`",
        ),
        (
            "upstream = 'u'\nrewrite = { to = '/' }",
            "`pattern` is missing",
        ),
        (
            "upstream = 'u'\nrewrite = { pattern = '(', to = '/' }",
            "no regular expression",
        ),
        (
            "upstream = 'u'\nrewrite = { pattern = 'a', to = '/{1}' }",
            "there are 0",
        ),
        (
            "upstream = 'u'\nrewrite = '/a'\nstrip_prefix = '/b'",
            "both given",
        ),
        ("upstream = 'u'\nstrip_prefix = '/api'", "need not begin so"),
        (
            "upstream = 'u'\npath = '/apix/*'\nstrip_prefix = '/api'",
            "need not begin so",
        ),
        (
            "upstream = 'u'\npath = '/:a/api/*'\nstrip_prefix = '/api'",
            "need not begin so",
        ),
        (
            "upstream = 'u'\npath_regex = '^/api/'\nstrip_prefix = '/api'",
            "need not begin so",
        ),
        (
            "upstream = 'u'\npath = '/api/*'\nstrip_prefix = '/api/'",
            "the `/` behind it stays",
        ),
        (
            "upstream = 'u'\npath = '/a'\npath_regex = 'b'",
            "both given",
        ),
        ("upstream = 'u'\npath_regex = '(?=a)'", "look-around"),
        (
            "upstream = 'u'\npath = '/a'\nbefore_regex = true",
            "`before_regex` does nothing",
        ),
        ("upstream = 'u'\nmethods = []", "takes no method at all"),
        ("upstream = 'u'\nmethods = ['get']", "told apart by case"),
        (
            "upstream = 'u'\nmethods = ['TRACE']",
            "never reaches a route",
        ),
        (
            "upstream = 'u'\nmethods = ['HEAD']",
            "HEAD goes where GET goes",
        ),
        ("upstream = 'u'\nmethods = ['GET', 'GET']", "listed twice"),
        ("upstream = 'u'\nhost = []", "it never matches"),
        (
            "upstream = 'u'\nhost = ['a.example', 'a.example']",
            "listed twice",
        ),
        ("upstream = 'u'\nhost = ['a.example', 'B']", "upper-case"),
        (
            "upstream = 'u'\n[[routes]]\nupstream = 'u'",
            "has the same host and path",
        ),
        (
            "upstream = 'u'\nhost = ['a.b', 'c.d']\n[[routes]]\nupstream = 'u'\nhost = 'c.d'",
            "has the same host and path",
        ),
        (
            "upstream = 'u'\nmethods = ['GET']\n[[routes]]\nupstream = 'u'\nmethods = ['GET', 'PUT']",
            "takes one of its methods",
        ),
        (
            "upstream = 'u'\nupstream_host = 'upstream'",
            "several names",
        ),
        ("upstream = 'u'\nupstream_host = 'a/b'", "is no host"),
        (
            "upstream = 'u'\nrequest_headers = { set = { Host = 'a' } }",
            "it has a key of its own",
        ),
        (
            "upstream = 'u'\nrequest_headers = { set = { content-length = '0' } }",
            "about the connection",
        ),
        (
            "upstream = 'u'\nrequest_headers = { add = { Transfer-Encoding = 'chunked' } }",
            "about the connection",
        ),
        (
            "upstream = 'u'\nrequest_headers = { remove = ['Connection'] }",
            "about the connection",
        ),
        (
            "upstream = 'u'\nrequest_headers = { set = { X-Forwarded-For = 'a' } }",
            "Dhal writes it",
        ),
        (
            "upstream = 'u'\nrequest_headers = { set = { x_real_ip = 'a' } }",
            "CGI",
        ),
        (
            "upstream = 'u'\nrequest_headers = { set = { if-none-match = 'a' } }",
            "the store asks",
        ),
        (
            "upstream = 'u'\nrequest_headers = { set = { accept-encoding = 'gzip' } }",
            "plain content",
        ),
        (
            "upstream = 'u'\nrequest_headers = { set = { x-a = \"b\\r\\nc: d\" } }",
            "visible ASCII",
        ),
        (
            "upstream = 'u'\nrequest_headers = { set = { x-a = ' b' } }",
            "neither begins nor ends",
        ),
        (
            "upstream = 'u'\nrequest_headers = { set = { x-a = '' } }",
            "an empty string",
        ),
        (
            "upstream = 'u'\nrequest_headers = { set = { x-a = '{' } }",
            "a brace is open",
        ),
        (
            "upstream = 'u'\nrequest_headers = { set = { 'x a' = 'b' } }",
            "no name of a field",
        ),
        (
            "upstream = 'u'\nrequest_headers = { set = { x-a = 'b', X-A = 'c' } }",
            "case makes no difference",
        ),
        (
            "upstream = 'u'\nrequest_headers = { set = { x-a = 'b' }, remove = ['X-A'] }",
            "removed and said",
        ),
        (
            "upstream = 'u'\nresponse_headers = { set = { Content-Length = '0' } }",
            "about the connection",
        ),
        (
            "upstream = 'u'\nresponse_headers = { set = { content-encoding = 'gzip' } }",
            "what the content is",
        ),
        (
            "upstream = 'u'\nresponse_headers = { remove = ['Age'] }",
            "Dhal writes it",
        ),
        (
            "upstream = 'u'\nresponse_headers = { on = 'ok' }",
            "no choice here",
        ),
    ] {
        let text = format!("{BEFORE}{route}\n");
        match read(&text) {
            Err(found) => assert!(
                found.iter().any(|why| why.contains(wanted)),
                "{route}: {found:#?}"
            ),
            Ok(_) => panic!("{route} is taken"),
        }
    }
}

#[test]
fn what_the_server_says_of_all_answers() {
    let text = |server: &str| {
        format!("[server]\n{server}\n{BEFORE}upstream = 'one'\nupstream_host = 'upstream'\n")
    };
    let config = read(&text(
        "response_headers = { set = { x-a = 'b' } }\nerror_pages = { 404 = 'a.html', 503 = '/b.html' }",
    ));
    let config = config.expect("a configuration");
    let pages: Vec<_> = config.server.error_pages.iter().collect();
    assert_eq!(
        pages,
        [&(404, "/etc/dhal/a.html".into()), &(503, "/b.html".into())]
    );
    assert_eq!(config.server.response_headers.len(), 1);
    // As a request has it: without the port that goes without saying.
    let host = config.routes[0].upstream_host.as_deref();
    assert_eq!(host, Some("shop.internal"));
    for (server, wanted) in [
        ("error_pages = { 200 = 'a' }", "no status of a failure"),
        ("error_pages = { x = 'a' }", "no status of a failure"),
        ("error_pages = { 404 = '' }", "the path of a file"),
        (
            "response_headers = { set = { via = 'a' } }",
            "Dhal writes it",
        ),
    ] {
        let found = read(&text(server)).expect_err(server);
        assert!(found.iter().any(|why| why.contains(wanted)), "{found:?}");
    }
}
