//! The shop for programs, in JSON. Failures are `{ "error": { "code", "message" } }`.

pub mod cart;
pub mod orders;
pub mod products;

use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::app::Shop;
use crate::error::{Error, Report};

/// Routes below `/api`.
pub fn router() -> Router<Shop> {
    Router::new()
        .route("/health", get(health))
        .route("/products", get(products::list))
        .route("/products/{slug}", get(products::show))
        .route("/cart", get(cart::show).post(cart::add).delete(cart::clear))
        .route(
            "/cart/{slug}",
            put(cart::set).patch(cart::set).delete(cart::remove),
        )
        .route("/orders", post(orders::place))
        .route("/orders/{id}", get(orders::show))
        .fallback(|| async { Error::NotFound("resource") })
}

/// `GET /healthz` and `GET /api/health`: 200 when the database can be read and written, 503 otherwise.
pub async fn health(State(shop): State<Shop>) -> Result<Json<serde_json::Value>, Error> {
    shop.database().check().await.map_err(|error| match error {
        Error::Busy(cause) | Error::Internal(cause) => Error::Busy(cause),
        other => Error::Busy(other.to_string()),
    })?;
    Ok(Json(json!({ "status": "ok" })))
}

/// The JSON form of a failure.
pub fn failure(report: &Report) -> Response {
    let mut error = json!({ "code": report.code, "message": report.message });
    if let Some(fields) = &report.fields {
        error["fields"] = json!(fields);
    }
    Json(json!({ "error": error })).into_response()
}

/// A JSON body. Nothing but `application/json` is read, which other sites cannot send unasked.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let Json(body) = Json::from_request(request, state).await?;
        Ok(Self(body))
    }
}
