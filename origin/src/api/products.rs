//! Products as JSON, for all to share.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::Shop;
use crate::catalog::{self, PAGE_SIZE, Product, Sort, Spec};
use crate::error::Error;
use crate::web::caching::{PAGE, Public, tags};

/// Products on one page at most.
const PER_PAGE_MAX: i64 = 100;

/// A product in a list.
#[derive(Serialize)]
struct Brief<'a> {
    id: i64,
    slug: &'a str,
    name: &'a str,
    brand: &'a str,
    category: &'a str,
    price: i64,
    list_price: Option<i64>,
    currency: &'static str,
    stock: i64,
    url: String,
    image: String,
}

/// A product by itself.
#[derive(Serialize)]
struct Full<'a> {
    #[serde(flatten)]
    brief: Brief<'a>,
    description: &'a str,
    specs: &'a [Spec],
}

impl<'a> From<&'a Product> for Brief<'a> {
    fn from(product: &'a Product) -> Self {
        Self {
            id: product.id,
            slug: &product.slug,
            name: &product.name,
            brand: &product.brand,
            category: &product.category,
            price: product.price,
            list_price: product.list_price,
            currency: "BDT",
            stock: product.stock,
            url: product.path(),
            image: product.image(),
        }
    }
}

/// What may stand in the query.
#[derive(Debug, Deserialize)]
pub struct Params {
    q: Option<String>,
    category: Option<String>,
    sort: Option<String>,
    page: Option<i64>,
    per_page: Option<i64>,
}

/// `GET /api/products`
pub async fn list(
    State(shop): State<Shop>,
    headers: HeaderMap,
    params: Result<Query<Params>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(params) = params?;
    let query = query(&params)?;
    let (page, per_page) = (query.page, query.per_page);
    let tag = query.category.map_or_else(
        || "products".to_owned(),
        |category| format!("category-{}", category.slug),
    );
    let listing = shop
        .database()
        .read(move |connection| catalog::list(connection, &query))
        .await?;
    let products: Vec<Brief<'_>> = listing.products.iter().map(Brief::from).collect();
    let body = json!({
        "products": products,
        "page": page,
        "pages": listing.pages,
        "per_page": per_page,
        "total": listing.total,
    });
    let tags = tags(tag, &listing.products);
    Ok(shared(
        &headers,
        &body.to_string(),
        listing.updated_at,
        tags,
    ))
}

/// `GET /api/products/{slug}`
pub async fn show(
    State(shop): State<Shop>,
    headers: HeaderMap,
    Path(slug): Path<String>,
) -> Result<Response, Error> {
    let product = shop
        .database()
        .read(move |connection| catalog::by_slug(connection, &slug))
        .await?;
    let full = Full {
        brief: (&product).into(),
        description: &product.description,
        specs: &product.specs,
    };
    let body = serde_json::to_string(&full).map_err(|error| Error::Internal(error.to_string()))?;
    let tags = tags(format!("category-{}", product.category), [&product]);
    Ok(shared(&headers, &body, product.updated_at, tags))
}

fn query(params: &Params) -> Result<catalog::Query, Error> {
    let invalid = |message: String| Error::Malformed(message);
    let category = match params.category.as_deref() {
        None => None,
        Some(slug) => Some(
            catalog::category(slug)
                .ok_or_else(|| invalid("There is no such category.".to_owned()))?,
        ),
    };
    let sort = match params.sort.as_deref() {
        None => Sort::Featured,
        Some(name) => Sort::parse(name).ok_or_else(|| {
            let names: Vec<&str> = Sort::ALL.iter().map(|(_, slug, _)| *slug).collect();
            invalid(format!("sort is one of {}.", names.join(", ")))
        })?,
    };
    let page = params.page.unwrap_or(1);
    if !(1..=10_000).contains(&page) {
        return Err(invalid("page is a number from 1 to 10000.".to_owned()));
    }
    let per_page = params.per_page.unwrap_or(PAGE_SIZE);
    if !(1..=PER_PAGE_MAX).contains(&per_page) {
        return Err(invalid(format!(
            "per_page is a number from 1 to {PER_PAGE_MAX}."
        )));
    }
    let words = catalog::words(params.q.as_deref().unwrap_or_default());
    Ok(catalog::Query {
        category,
        words,
        sort,
        page,
        per_page,
    })
}

fn shared(headers: &HeaderMap, body: &str, updated_at: i64, tags: Vec<String>) -> Response {
    let public = Public {
        content_type: "application/json",
        cache_control: PAGE,
        updated_at: Some(updated_at),
        tags,
    };
    public.answer(headers, body.to_owned())
}
