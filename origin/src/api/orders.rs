//! Orders as JSON.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Body;
use crate::app::Shop;
use crate::cart::LINES_MAX;
use crate::customer::CustomerForm;
use crate::error::{Conflict, Error};
use crate::format::now;
use crate::orders::{self, Items, Order, Placed, Wish};
use crate::secret::random_hex;
use crate::session::Visitor;

/// What is ordered. Without items it is the cart.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    customer: CustomerForm,
    items: Option<Vec<Item>>,
    idempotency_key: Option<String>,
}

/// A product and how many.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    slug: String,
    quantity: i64,
}

/// `POST /api/orders`: 201 for a new order, 200 for the repeat of one.
///
/// A repeat is recognised by its key, in the body or in the `Idempotency-Key` field, within one session: a client that
/// repeats sends the same cookie.
pub async fn place(
    State(shop): State<Shop>,
    visitor: Visitor,
    headers: HeaderMap,
    Body(request): Body<OrderRequest>,
) -> Result<Response, Error> {
    let field = headers
        .get("idempotency-key")
        .map(|key| key.to_str().unwrap_or_default().to_owned());
    let idempotency_key = match request.idempotency_key.or(field) {
        Some(key) => {
            orders::check_key(&key)?;
            key
        }
        None => random_hex::<16>()?,
    };
    let items = match request.items {
        None => Items::Cart { agreed_total: None },
        Some(items) if i64::try_from(items.len()).is_ok_and(|count| count <= LINES_MAX) => {
            Items::Explicit(
                items
                    .into_iter()
                    .map(|item| (item.slug, item.quantity))
                    .collect(),
            )
        }
        Some(_) => {
            let message = format!("An order holds at most {LINES_MAX} different products.");
            return Err(Error::Invalid {
                code: "too_many_items",
                message,
            });
        }
    };
    let customer = request.customer.validate().map_err(Error::Customer)?;
    let (session, cookies) = visitor.begin()?;
    let wish = Wish {
        session,
        idempotency_key,
        items,
        customer,
    };
    let (order, repeated) = shop
        .database()
        .write(move |tx| {
            let (id, repeated) = match orders::place(tx, &wish, now())? {
                Placed::New(id) => (id, false),
                Placed::Repeat(id) => (id, true),
                Placed::Other(_) => {
                    let message = "This idempotency key was used for a different order.";
                    return Err(Error::conflict(Conflict::KeyReused, message));
                }
            };
            Ok((orders::find(tx, &wish.session, &id)?, repeated))
        })
        .await?;
    let status = if repeated {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let location = [(header::LOCATION, format!("/api/orders/{}", order.id))];
    Ok((status, location, cookies, Json(order)).into_response())
}

/// `GET /api/orders/{id}`, for the session that placed it.
pub async fn show(
    State(shop): State<Shop>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Json<Order>, Error> {
    let session = visitor.session().cloned().ok_or(Error::NotFound("order"))?;
    let order = shop
        .database()
        .read(move |connection| orders::find(connection, &session, &id))
        .await?;
    Ok(Json(order))
}
