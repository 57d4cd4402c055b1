//! The cart of one visitor as JSON.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Body;
use crate::app::Shop;
use crate::cart::{self, Added, Cart};
use crate::error::{Conflict, Error};
use crate::format::now;
use crate::session::Visitor;

/// `GET /api/cart`
pub async fn show(State(shop): State<Shop>, visitor: Visitor) -> Result<Json<Value>, Error> {
    let cart = match visitor.session().cloned() {
        Some(session) => {
            shop.database()
                .read(move |connection| cart::load(connection, &session))
                .await?
        }
        None => Cart::default(),
    };
    Ok(Json(view(&cart)))
}

/// A product and how many.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addition {
    slug: String,
    #[serde(default = "one")]
    quantity: i64,
}

fn one() -> i64 {
    1
}

/// `POST /api/cart`: adds, and refuses what would exceed the stock or the limit of a line.
pub async fn add(
    State(shop): State<Shop>,
    visitor: Visitor,
    Body(addition): Body<Addition>,
) -> Result<Response, Error> {
    let (session, cookies) = visitor.begin()?;
    let cart = shop
        .database()
        .write(
            move |tx| match cart::add(tx, &session, &addition.slug, addition.quantity, now())? {
                Added::All => cart::load(tx, &session),
                Added::Limited => Err(Error::conflict(
                    Conflict::Stock,
                    "The cart would hold more of this product than we can sell.",
                )),
            },
        )
        .await?;
    Ok((cookies, Json(view(&cart))).into_response())
}

/// How many of a product.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantity {
    quantity: i64,
}

/// `PUT` or `PATCH /api/cart/{slug}`
pub async fn set(
    State(shop): State<Shop>,
    visitor: Visitor,
    Path(slug): Path<String>,
    Body(Quantity { quantity }): Body<Quantity>,
) -> Result<Json<Value>, Error> {
    let session = visitor
        .session()
        .cloned()
        .ok_or(Error::NotFound("product in the cart"))?;
    let cart = shop
        .database()
        .write(move |tx| {
            cart::set(tx, &session, &slug, quantity, now())?;
            cart::load(tx, &session)
        })
        .await?;
    Ok(Json(view(&cart)))
}

/// `DELETE /api/cart/{slug}`
pub async fn remove(
    State(shop): State<Shop>,
    visitor: Visitor,
    Path(slug): Path<String>,
) -> Result<Json<Value>, Error> {
    let Some(session) = visitor.session().cloned() else {
        return Ok(Json(view(&Cart::default())));
    };
    let cart = shop
        .database()
        .write(move |tx| {
            cart::remove(tx, &session, &slug)?;
            cart::load(tx, &session)
        })
        .await?;
    Ok(Json(view(&cart)))
}

/// `DELETE /api/cart`
pub async fn clear(State(shop): State<Shop>, visitor: Visitor) -> Result<Json<Value>, Error> {
    if let Some(session) = visitor.session().cloned() {
        shop.database()
            .write(move |tx| cart::clear(tx, &session))
            .await?;
    }
    Ok(Json(view(&Cart::default())))
}

fn view(cart: &Cart) -> Value {
    let lines: Vec<Value> = cart
        .lines
        .iter()
        .map(|line| {
            json!({
                "slug": line.product.slug,
                "name": line.product.name,
                "unit_price": line.product.price,
                "quantity": line.quantity,
                "total": line.total(),
                "available": line.available(),
            })
        })
        .collect();
    let delivery = if lines.is_empty() { 0 } else { cart.delivery() };
    json!({
        "lines": lines,
        "count": cart.count(),
        "subtotal": cart.subtotal(),
        "delivery": delivery,
        "total": cart.subtotal() + delivery,
        "currency": "BDT",
    })
}
