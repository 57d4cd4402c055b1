//! Where somebody goes back to whose form was not sent.

use http::header::REFERER;

use crate::edge::{RequestView, Scheme, authority};

/// Longer ones are not worth a page that everybody gets who waits.
const LENGTH_MOST: usize = 2_048;

/// Path and query of the page that a request came from, if that is of the same host (RFC 9110 §10.1.3), or else `/`.
pub(super) fn path(request: &RequestView<'_>) -> String {
    let mut found = None;
    request.fields.for_each(&REFERER, &mut |value| {
        found = std::str::from_utf8(value)
            .ok()
            .and_then(|referer| of(referer, request.authority))
            .map(str::to_owned);
    });
    found.unwrap_or_else(|| "/".to_owned())
}

fn of<'r>(referer: &'r str, host: &str) -> Option<&'r str> {
    // Behind a balancer that speaks TLS the scheme of the connection is not that of the page.
    let (scheme, rest) = match referer.split_once("://")? {
        ("http", rest) => (Scheme::Http, rest),
        ("https", rest) => (Scheme::Https, rest),
        _ => return None,
    };
    let (theirs, path) = rest.split_at(rest.find('/')?);
    let theirs = authority::normalise(theirs, scheme)?;
    let ours = authority::normalise(host, scheme)?;
    // Two slashes would name another host.
    let is_path = !path[1..].starts_with(['/', '\\'])
        && path.len() <= LENGTH_MOST
        && path.bytes().all(|octet| octet.is_ascii_graphic());
    (theirs.whole == ours.whole && is_path).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_the_same_host() {
        for (referer, path) in [
            ("https://shop.example/cart?a=1&b=2", Some("/cart?a=1&b=2")),
            ("http://SHOP.example:80/", Some("/")),
            ("https://shop.example", None),
            ("https://shop.example:8443/cart", None),
            ("https://other.example/cart", None),
            ("https://shop.example.other.example/cart", None),
            ("https://shop.example@other.example/cart", None),
            ("https://shop.example//other.example", None),
            ("https://shop.example/\\other.example", None),
            ("https://shop.example/a b", None),
            ("javascript://shop.example/alert(1)", None),
            ("/cart", None),
            ("", None),
        ] {
            assert_eq!(of(referer, "shop.example"), path, "{referer}");
        }
        let long = format!("https://shop.example/{}", "a".repeat(LENGTH_MOST));
        assert_eq!(of(&long, "shop.example"), None);
    }
}
