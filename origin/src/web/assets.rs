//! Files that are part of the program.

use std::sync::OnceLock;

use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::Response;

use super::caching::{FOREVER, IMAGE, Public};
use crate::error::Error;

const STYLE_SHEET: &str = include_str!("../../assets/shop.css");
const FAVICON: &str = include_str!("../../assets/favicon.svg");

/// The address of the style sheet. It contains a hash of the content, so a new one is a new address.
pub fn style_sheet_path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        format!(
            "/static/shop-{}.css",
            &blake3::hash(STYLE_SHEET.as_bytes()).to_hex()[..12]
        )
    })
}

/// `GET /static/{file}`
pub async fn show(headers: HeaderMap, Path(file): Path<String>) -> Result<Response, Error> {
    if style_sheet_path().strip_prefix("/static/") != Some(&file) {
        return Err(Error::NotFound("file"));
    }
    Ok(answer(
        &headers,
        "text/css; charset=utf-8",
        FOREVER,
        STYLE_SHEET,
    ))
}

/// `GET /favicon.svg`
pub async fn favicon(headers: HeaderMap) -> Response {
    answer(&headers, "image/svg+xml", IMAGE, FAVICON)
}

/// `GET /robots.txt`
pub async fn robots(headers: HeaderMap) -> Response {
    let rules = "User-agent: *\nDisallow: /cart\nDisallow: /checkout\nDisallow: /orders\nDisallow: /search\n";
    answer(&headers, "text/plain; charset=utf-8", IMAGE, rules)
}

fn answer(
    headers: &HeaderMap,
    content_type: &'static str,
    cache_control: &'static str,
    content: &'static str,
) -> Response {
    let public = Public {
        content_type,
        cache_control,
        updated_at: None,
        tags: vec!["static".to_owned()],
    };
    public.answer(headers, content)
}
