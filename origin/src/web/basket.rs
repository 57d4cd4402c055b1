//! The cart of one visitor.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::{Form, Shell, page};
use crate::app::Shop;
use crate::cart::{self, Added, Cart};
use crate::csrf;
use crate::error::{Conflict, Error};
use crate::format::now;
use crate::session::{SessionId, Visitor};

#[derive(Template)]
#[template(path = "cart.html")]
struct CartPage {
    shell: Shell,
    cart: Cart,
    csrf: String,
    /// What just happened: whether it is good, and how to say it.
    notice: Option<(bool, &'static str)>,
}

/// What a redirect wants the cart to say.
#[derive(Debug, Deserialize)]
pub struct Notice {
    notice: Option<String>,
}

/// `GET /cart`
pub async fn show(
    State(shop): State<Shop>,
    visitor: Visitor,
    Query(Notice { notice }): Query<Notice>,
) -> Result<Response, Error> {
    let (cart, csrf) = match visitor.session().cloned() {
        Some(session) => {
            let csrf = csrf::token(&shop.keys().csrf, &session);
            (
                shop.database()
                    .read(move |connection| cart::load(connection, &session))
                    .await?,
                csrf,
            )
        }
        None => (Cart::default(), String::new()),
    };
    let notice = match notice.as_deref() {
        Some("added") => Some((true, "Added to your cart.")),
        Some("updated") => Some((true, "Your cart is up to date.")),
        Some("removed") => Some((true, "Removed from your cart.")),
        Some("limited") => Some((
            false,
            "Your cart holds as many of these as we can sell you.",
        )),
        Some("stock") => Some((
            false,
            "We no longer have that many. Please check the quantities below.",
        )),
        Some("changed") => Some((
            false,
            "Your cart has changed since you opened the checkout. Please check it again.",
        )),
        _ => None,
    };
    page(
        StatusCode::OK,
        &CartPage {
            shell: Shell::titled("Your cart"),
            cart,
            csrf,
            notice,
        },
    )
}

/// A product and how many, from the form of a product page.
#[derive(Debug, Deserialize)]
pub struct AddForm {
    product: String,
    quantity: Option<i64>,
}

/// `POST /cart/add`, guarded by [`csrf::refuse_cross_site`] alone, because its form stands on shared pages.
pub async fn add(
    State(shop): State<Shop>,
    visitor: Visitor,
    Form(form): Form<AddForm>,
) -> Result<Response, Error> {
    let (session, cookies) = visitor.begin()?;
    let added = shop
        .database()
        .write(move |tx| {
            cart::add(
                tx,
                &session,
                &form.product,
                form.quantity.unwrap_or(1),
                now(),
            )
        })
        .await?;
    let notice = match added {
        Added::All => "/cart?notice=added",
        Added::Limited => "/cart?notice=limited",
    };
    Ok((cookies, Redirect::to(notice)).into_response())
}

/// A changed line of the cart.
#[derive(Debug, Deserialize)]
pub struct LineForm {
    csrf: String,
    product: String,
    #[serde(default)]
    quantity: i64,
}

/// `POST /cart/update`
pub async fn update(
    State(shop): State<Shop>,
    visitor: Visitor,
    Form(form): Form<LineForm>,
) -> Result<Redirect, Error> {
    let session = authentic(&shop, &visitor, &form.csrf)?;
    let set = shop
        .database()
        .write(move |tx| cart::set(tx, &session, &form.product, form.quantity, now()))
        .await;
    match set {
        Ok(()) => Ok(Redirect::to("/cart?notice=updated")),
        Err(Error::Conflict {
            reason: Conflict::Stock,
            ..
        }) => Ok(Redirect::to("/cart?notice=stock")),
        Err(error) => Err(error),
    }
}

/// `POST /cart/remove`
pub async fn remove(
    State(shop): State<Shop>,
    visitor: Visitor,
    Form(form): Form<LineForm>,
) -> Result<Redirect, Error> {
    let session = authentic(&shop, &visitor, &form.csrf)?;
    shop.database()
        .write(move |tx| cart::remove(tx, &session, &form.product))
        .await?;
    Ok(Redirect::to("/cart?notice=removed"))
}

/// The session of a visitor who sent its form token.
pub(super) fn authentic(shop: &Shop, visitor: &Visitor, token: &str) -> Result<SessionId, Error> {
    let session = visitor.session().ok_or(Error::Forbidden(
        "Your session has expired, or your browser does not accept cookies. Please add the product again.",
    ))?;
    csrf::verify(&shop.keys().csrf, session, token)?;
    Ok(session.clone())
}
