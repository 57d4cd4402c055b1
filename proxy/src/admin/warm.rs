//! `POST /warm`: fills the store with a page before visitors ask for it, and tells what a sitemap names.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use super::{
    purge::{PurgeUrl, shown},
    routes::Refusal,
    sitemap,
};
use crate::server::Control;

/// What came of fetching a page into the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warmed {
    /// Of the response that is stored, or that the shop gave.
    pub status: u16,
    /// `stored`; `fresh`, where it was there already; `not-storable`; or `failed`.
    pub outcome: String,
    /// Length of its content.
    pub bytes: u64,
}

/// The pages of a sitemap.
#[derive(Debug, Serialize, Deserialize)]
pub struct Pages {
    /// As the sitemap spells them, each once.
    pub urls: Vec<String>,
}

/// One thing at a time: the client decides how many pages are fetched at once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Order {
    Url(String),
    Sitemap(String),
}

impl Order {
    /// Reads it from JSON, with its URL; an error is a sentence.
    fn read(json: &[u8]) -> Result<(Self, PurgeUrl), String> {
        let order: Self = serde_json::from_slice(json).map_err(|why| {
            format!("expected one page as {{\"url\": …}} or a list as {{\"sitemap\": …}}: {why}")
        })?;
        let (Self::Url(text) | Self::Sitemap(text)) = &order;
        match PurgeUrl::parse(text) {
            Ok(url) => Ok((order, url)),
            Err(why) => Err(format!("{} {why}", shown(text))),
        }
    }
}

pub(super) async fn warm(
    State(control): State<Arc<Control>>,
    sent: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let (order, url) = Order::read(&sent?).map_err(Refusal::unprocessable)?;
    match order {
        Order::Url(_) => {
            let warmed = control.warm(url).await.map_err(Refusal::unprocessable)?;
            Ok(Json(warmed).into_response())
        }
        Order::Sitemap(_) => {
            let urls = sitemap::pages(url, |file| control.fetch_text(file)).await?;
            Ok(Json(Pages { urls }).into_response())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_name_one_page_or_one_sitemap() {
        for (json, wanted) in [
            (r#"{"url": "http://A.example"}"#, Ok("http://a.example/")),
            (
                r#"{"sitemap": "http://a.example/s"}"#,
                Ok("http://a.example/s"),
            ),
            ("", Err("expected one page")),
            ("{}", Err("expected one page")),
            (
                r#"{"url": "http://a.example/", "sitemap": "http://a.example/"}"#,
                Err("expected one page"),
            ),
            (
                r#"{"urls": ["http://a.example/"]}"#,
                Err("unknown variant `urls`"),
            ),
            (
                r#"{"url": ["http://a.example/"]}"#,
                Err("expected one page"),
            ),
            (r#"{"url": "/a"}"#, Err("\"/a\" is no absolute")),
        ] {
            let read = Order::read(json.as_bytes()).map(|(_, url)| url.to_string());
            match (&read, wanted) {
                (Ok(read), Ok(wanted)) => assert_eq!(read, wanted),
                (Err(why), Err(part)) => assert!(why.contains(part), "{json}: {why}"),
                _ => panic!("{json}: {read:?}"),
            }
        }
    }
}
