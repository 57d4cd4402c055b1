//! Answers that a cache may share: validators, lifetimes and tags, and `304 Not Modified` (RFC 9110, section 13).

use axum::body::Body;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::catalog::{Product, SHOP_TAG};

/// Pages follow the stock, so a cache asks again after a minute; while it asks, or while the shop is away, the old
/// page is better than none, because the checkout decides about stock anyway.
pub const PAGE: &str = "public, max-age=60, stale-while-revalidate=30, stale-if-error=3600";

/// Searches are many and rarely repeated.
pub const SEARCH: &str = "public, max-age=30, stale-while-revalidate=30, stale-if-error=3600";

/// A picture is drawn from the product's name and changes only with the program.
pub const IMAGE: &str =
    "public, max-age=604800, stale-while-revalidate=86400, stale-if-error=604800";

/// The address contains a hash of the content.
pub const FOREVER: &str = "public, max-age=31536000, immutable";

/// Something every visitor may see.
pub struct Public {
    /// Media type.
    pub content_type: &'static str,
    /// Value of `Cache-Control`.
    pub cache_control: &'static str,
    /// When the content last changed, in Unix seconds, where that is known.
    pub updated_at: Option<i64>,
    /// Tags under which a cache may drop it.
    pub tags: Vec<String>,
}

impl Public {
    /// The answer to a request with these fields: the content, or the news that it is unchanged.
    pub fn answer(self, request: &HeaderMap, content: impl Into<Body> + AsRef<[u8]>) -> Response {
        let etag = entity_tag(content.as_ref());
        self.answer_tagged(request, &etag, content)
    }

    /// The same for content whose entity tag is known.
    pub fn answer_tagged(
        self,
        request: &HeaderMap,
        etag: &str,
        content: impl Into<Body>,
    ) -> Response {
        let mut response = if unchanged(request, etag, self.updated_at) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = Response::new(content.into());
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static(self.content_type),
            );
            response
        };
        let headers = response.headers_mut();
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static(self.cache_control),
        );
        let mut field = |name, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        field(header::ETAG, etag.to_owned());
        if let Some(time) = self.updated_at.and_then(http_time) {
            field(header::LAST_MODIFIED, httpdate::fmt_http_date(time));
        }
        if !self.tags.is_empty() {
            field(
                HeaderName::from_static("surrogate-key"),
                self.tags.join(" "),
            );
        }
        response
    }
}

/// The tags of what shows products: one that all such answers carry, the answer's own, and one for each product whose
/// price or stock stands on it. At most a hundred products are on one page; the edge reads 256 tags.
pub fn tags<'a>(own: String, products: impl IntoIterator<Item = &'a Product>) -> Vec<String> {
    let mut tags: Vec<String> = products.into_iter().map(Product::tag).collect();
    tags.sort_unstable();
    tags.dedup();
    tags.splice(0..0, [SHOP_TAG.to_owned(), own]);
    tags
}

/// A strong entity tag: equal content, equal tag, on every instance.
pub fn entity_tag(content: &[u8]) -> String {
    format!("\"{}\"", &blake3::hash(content).to_hex()[..32])
}

/// RFC 9110, section 13.2.2: `If-None-Match` decides, and only in its absence `If-Modified-Since`.
fn unchanged(request: &HeaderMap, etag: &str, updated_at: Option<i64>) -> bool {
    let mut listed = request.get_all(header::IF_NONE_MATCH).iter().peekable();
    if listed.peek().is_some() {
        return listed
            .filter_map(|value| value.to_str().ok())
            .any(|value| matches(value, etag));
    }
    let since = request
        .get(header::IF_MODIFIED_SINCE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| httpdate::parse_http_date(value).ok());
    match (since, updated_at.and_then(http_time)) {
        (Some(since), Some(updated)) => updated <= since,
        _ => false,
    }
}

/// Weak comparison (section 8.8.3.2). Our tags contain no commas, so splitting at commas cannot cut a match.
fn matches(list: &str, etag: &str) -> bool {
    list.split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

fn http_time(unix_seconds: i64) -> Option<std::time::SystemTime> {
    let seconds = u64::try_from(unix_seconds).ok()?;
    std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditional_requests() {
        const TIME: i64 = 784_111_777;
        const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
        let rows: [(&[(&str, &str)], bool); 11] = [
            (&[], false),
            (&[("if-none-match", "\"a\"")], true),
            (&[("if-none-match", "W/\"a\"")], true),
            (&[("if-none-match", "\"b\", \"a\"")], true),
            (&[("if-none-match", "*")], true),
            (&[("if-none-match", "\"b\"")], false),
            (
                &[("if-none-match", "\"b\""), ("if-modified-since", SAME)],
                false,
            ),
            (&[("if-none-match", "a")], false),
            (&[("if-modified-since", SAME)], true),
            (&[("if-modified-since", EARLIER)], false),
            (&[("if-modified-since", "yesterday")], false),
        ];
        for (fields, expected) in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().expect("a field value"));
            }
            assert_eq!(
                unchanged(&headers, "\"a\"", Some(TIME)),
                expected,
                "{fields:?}"
            );
        }
    }
}
