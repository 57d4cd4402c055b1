//! Cookies as RFC 6265 writes them, in both directions.

use http::header::COOKIE;
use http_caching::Fields;

/// Calls `f` with each value of the cookies of a name.
pub(super) fn each(fields: &dyn Fields, name: &[u8], f: &mut dyn FnMut(&[u8])) {
    fields.for_each(&COOKIE, &mut |line| {
        for pair in line.split(|b| *b == b';') {
            if let Some((key, value)) = split(pair)
                && key == name
            {
                f(value);
            }
        }
    });
}

/// Whether a `Set-Cookie` sets one of these cookies: to something, and not to be forgotten at once.
pub(super) fn sets_one_of(line: &[u8], names: &[String]) -> bool {
    let mut parts = line.split(|b| *b == b';');
    let Some((name, value)) = parts.next().and_then(split) else {
        return false;
    };
    if value.is_empty() || !names.iter().any(|known| known.as_bytes() == name) {
        return false;
    }
    // `Max-Age` goes before `Expires` (RFC 6265 §5.3).
    let (mut age, mut until) = (None, None);
    for (key, value) in parts.filter_map(split) {
        let text = std::str::from_utf8(value).unwrap_or_default();
        if key.eq_ignore_ascii_case(b"max-age") {
            age = text.parse::<i64>().ok().or(age);
        } else if key.eq_ignore_ascii_case(b"expires") {
            until = httpdate::parse_http_date(text).ok().or(until);
        }
    }
    match (age, until) {
        (Some(seconds), _) => seconds > 0,
        (None, Some(until)) => until > std::time::SystemTime::now(),
        (None, None) => true,
    }
}

fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = pair.iter().position(|b| *b == b'=')?;
    Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn cookies_of_a_name() {
        let mut fields = HeaderMap::new();
        for line in [
            "a=1; room=x;b=2",
            "room = y ; rooms=z; room",
            "ROOM=n; room=; room=a=b",
        ] {
            fields.append(COOKIE, HeaderValue::from_static(line));
        }
        let mut seen = Vec::new();
        each(&fields, b"room", &mut |value| {
            seen.push(String::from_utf8_lossy(value).into_owned())
        });
        assert_eq!(seen, ["x", "y", "", "a=b"]);
    }

    #[test]
    fn a_cart_is_set() {
        let names = ["cart".to_owned(), "basket".to_owned()];
        for (line, sets) in [
            ("cart=7", true),
            ("basket=7; Path=/; HttpOnly", true),
            ("cart=7; Max-Age=3600", true),
            ("cart=7; Expires=Wed, 01 Jan 2200 00:00:00 GMT", true),
            (
                "cart=7; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=10",
                true,
            ),
            ("cart=7; Max-Age=0", false),
            (
                "cart=7; max-age=-1; Expires=Wed, 01 Jan 2200 00:00:00 GMT",
                false,
            ),
            ("cart=7; expires=Thu, 01 Jan 1970 00:00:00 GMT", false),
            ("cart=", false),
            ("cart", false),
            ("carts=7", false),
            ("CART=7", false),
            ("other=cart=7", false),
        ] {
            assert_eq!(sets_one_of(line.as_bytes(), &names), sets, "{line}");
        }
    }
}
