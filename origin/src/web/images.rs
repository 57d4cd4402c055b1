//! Product pictures, drawn when first asked for and kept in memory: five hundred of them are a few megabytes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use tokio::sync::Semaphore;

use super::caching::{IMAGE, Public, entity_tag};
use crate::app::Shop;
use crate::catalog;
use crate::error::Error;
use crate::seed::{SEEDED_AT, art};

/// Pictures drawn at the same time; drawing keeps a core busy.
const DRAWN_AT_ONCE: usize = 2;

/// Pictures drawn so far. Only products have pictures, so their number is bounded.
pub struct Images {
    drawn: RwLock<HashMap<String, Arc<Image>>>,
    turns: Semaphore,
}

struct Image {
    product: i64,
    png: Bytes,
    etag: String,
}

impl Default for Images {
    fn default() -> Self {
        Self {
            drawn: RwLock::default(),
            turns: Semaphore::new(DRAWN_AT_ONCE),
        }
    }
}

impl Images {
    fn find(&self, slug: &str) -> Option<Arc<Image>> {
        // The map is whole at all times, whatever happened to a holder of the lock.
        self.drawn
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(slug)
            .cloned()
    }

    fn keep(&self, slug: String, image: Image) -> Arc<Image> {
        let mut drawn = self.drawn.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(drawn.entry(slug).or_insert_with(|| Arc::new(image)))
    }
}

/// `GET /images/{slug}.png`
pub async fn show(
    State(shop): State<Shop>,
    headers: HeaderMap,
    Path(file): Path<String>,
) -> Result<Response, Error> {
    let slug = file
        .strip_suffix(".png")
        .ok_or(Error::NotFound("picture"))?;
    let image = match shop.images().find(slug) {
        Some(image) => image,
        None => draw(&shop, slug.to_owned()).await?,
    };
    let public = Public {
        content_type: "image/png",
        cache_control: IMAGE,
        updated_at: Some(SEEDED_AT),
        tags: vec!["images".to_owned(), format!("image-{}", image.product)],
    };
    Ok(public.answer_tagged(&headers, &image.etag, image.png.clone()))
}

async fn draw(shop: &Shop, slug: String) -> Result<Arc<Image>, Error> {
    let wanted = slug.clone();
    let product = shop
        .database()
        .read(move |connection| catalog::by_slug(connection, &wanted))
        .await?;
    let _turn = shop
        .images()
        .turns
        .acquire()
        .await
        .map_err(|error| Error::Internal(error.to_string()))?;
    if let Some(image) = shop.images().find(&slug) {
        // Somebody drew it while we waited.
        return Ok(image);
    }
    let svg = art::svg(&product.category, &product.slug);
    let png = tokio::task::spawn_blocking(move || art::png(&svg))
        .await
        .map_err(|error| Error::Internal(format!("drawing: {error}")))?
        .map_err(|error| Error::Internal(format!("drawing: {error}")))?;
    let image = Image {
        product: product.id,
        etag: entity_tag(&png),
        png: png.into(),
    };
    Ok(shop.images().keep(slug, image))
}
