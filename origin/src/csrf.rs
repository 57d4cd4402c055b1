//! Protection against requests that another site makes in a customer's name.
//!
//! Two layers, because two kinds of pages carry forms:
//!
//! 1. *Every* request that may change something passes [`refuse_cross_site`]: browsers say in `Sec-Fetch-Site` and
//!    `Origin` where it comes from. This needs nothing in the page, so the add-to-cart form can stand on product pages
//!    that a cache shares between all visitors. The session cookie is `SameSite=Lax` besides, so a form on another
//!    site would add to no cart but a new one.
//! 2. The cart and the checkout are private pages, so their forms also carry a [`token`] bound to the session.
//!
//! The JSON interface has the first layer, and reads only `application/json`, which another site cannot send without
//! asking first.

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::error::Error;
use crate::session::SessionId;

/// The form token of a session: a keyed hash, so nothing has to be stored.
pub fn token(key: &[u8; 32], session: &SessionId) -> String {
    blake3::keyed_hash(key, session.as_str().as_bytes())
        .to_hex()
        .to_string()
}

/// Accepts the token of this session and no other.
pub fn verify(key: &[u8; 32], session: &SessionId, given: &str) -> Result<(), Error> {
    let expected = blake3::keyed_hash(key, session.as_str().as_bytes());
    // Comparing blake3 hashes takes constant time.
    match blake3::Hash::from_hex(given) {
        Ok(given) if given == expected => Ok(()),
        _ => Err(Error::Forbidden(
            "This form has expired. Please go back, reload the page and try again.",
        )),
    }
}

/// Middleware: refuses unsafe requests that a browser sends from another site.
pub async fn refuse_cross_site(request: Request, next: Next) -> Result<Response, Error> {
    if !request.method().is_safe() && !same_origin(request.headers()) {
        return Err(Error::Forbidden("This request came from another site."));
    }
    Ok(next.run(request).await)
}

/// Whether the fields say that the request comes from our own pages, or from no page at all.
fn same_origin(headers: &HeaderMap) -> bool {
    let field = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    // Sent by all current browsers to https and localhost, and out of reach for scripts. `none` is the address bar.
    if let Some(site) = field("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    // Without either field the client is no browser of this decade, or a program, which has no cookies to abuse.
    let Some(origin) = field(header::ORIGIN.as_str()) else {
        return true;
    };
    let Some((_, authority)) = origin.split_once("://") else {
        return false;
    };
    // The proxy passes Host on and repeats it in X-Forwarded-Host. A page of another site can set neither: a form
    // sends no fields of its own, and a script would have to ask first.
    [field(header::HOST.as_str()), field("x-forwarded-host")]
        .into_iter()
        .flatten()
        .any(|host| host.eq_ignore_ascii_case(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_of_unsafe_requests() {
        let rows: [(&[(&str, &str)], bool); 12] = [
            (&[("host", "shop.example")], true),
            (
                &[("host", "shop.example"), ("origin", "https://shop.example")],
                true,
            ),
            (
                &[
                    ("host", "Shop.Example:8443"),
                    ("origin", "https://shop.example:8443"),
                ],
                true,
            ),
            (
                &[
                    ("host", "127.0.0.1:3000"),
                    ("x-forwarded-host", "a.example"),
                    ("origin", "https://a.example"),
                ],
                true,
            ),
            (
                &[
                    ("host", "shop.example"),
                    ("origin", "https://shop.example:8443"),
                ],
                false,
            ),
            (
                &[("host", "shop.example"), ("origin", "https://evil.example")],
                false,
            ),
            (
                &[
                    ("host", "shop.example"),
                    ("origin", "https://shop.example.evil.example"),
                ],
                false,
            ),
            (&[("host", "shop.example"), ("origin", "null")], false),
            (
                &[("host", "shop.example"), ("sec-fetch-site", "same-origin")],
                true,
            ),
            (
                &[("host", "shop.example"), ("sec-fetch-site", "none")],
                true,
            ),
            (
                &[("host", "shop.example"), ("sec-fetch-site", "same-site")],
                false,
            ),
            (
                &[
                    ("host", "shop.example"),
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "https://shop.example"),
                ],
                false,
            ),
        ];
        for (fields, accepted) in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(*name, value.parse().expect("a field value"));
            }
            assert_eq!(same_origin(&headers), accepted, "{fields:?}");
        }
    }

    #[test]
    fn tokens_belong_to_one_session_and_one_key() {
        let (one, other) = (
            SessionId::generate().expect("id"),
            SessionId::generate().expect("id"),
        );
        let key = [7; 32];
        assert!(verify(&key, &one, &token(&key, &one)).is_ok());
        assert!(verify(&key, &other, &token(&key, &one)).is_err());
        assert!(verify(&[8; 32], &one, &token(&key, &one)).is_err());
        assert!(verify(&key, &one, "").is_err());
    }
}
