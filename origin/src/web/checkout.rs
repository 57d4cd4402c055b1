//! From the cart to an order.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::basket::authentic;
use super::{Form, Shell, page};
use crate::app::Shop;
use crate::cart::{self, Cart};
use crate::csrf;
use crate::customer::{CustomerForm, FieldErrors};
use crate::error::{Conflict, Error};
use crate::format::{dhaka_time, now};
use crate::orders::{self, Items, Order, Placed, Wish};
use crate::secret::random_hex;
use crate::session::{SessionId, Visitor};

#[derive(Template)]
#[template(path = "checkout.html")]
struct CheckoutPage {
    shell: Shell,
    cart: Cart,
    csrf: String,
    key: String,
    form: CustomerForm,
    errors: FieldErrors,
}

/// `GET /checkout`
pub async fn show(State(shop): State<Shop>, visitor: Visitor) -> Result<Response, Error> {
    let Some(session) = visitor.session().cloned() else {
        return Ok(Redirect::to("/cart").into_response());
    };
    // Made with the form, so that every submission of this form is the same order.
    let key = random_hex::<16>()?;
    form(
        &shop,
        session,
        key,
        CustomerForm::default(),
        FieldErrors::default(),
    )
    .await
}

async fn form(
    shop: &Shop,
    session: SessionId,
    key: String,
    form: CustomerForm,
    errors: FieldErrors,
) -> Result<Response, Error> {
    let csrf = csrf::token(&shop.keys().csrf, &session);
    let cart = shop
        .database()
        .read(move |connection| cart::load(connection, &session))
        .await?;
    if cart.lines.is_empty() {
        return Ok(Redirect::to("/cart").into_response());
    }
    if !cart.available() {
        return Ok(Redirect::to("/cart?notice=stock").into_response());
    }
    let status = if errors == FieldErrors::default() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    page(
        status,
        &CheckoutPage {
            shell: Shell::titled("Checkout"),
            cart,
            csrf,
            key,
            form,
            errors,
        },
    )
}

/// What the checkout form sends.
#[derive(Debug, Deserialize)]
pub struct CheckoutForm {
    csrf: String,
    /// Idempotency key.
    key: String,
    /// What the customer saw as the total.
    total: i64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    phone: String,
    #[serde(default)]
    address: String,
}

/// `POST /checkout`
pub async fn submit(
    State(shop): State<Shop>,
    visitor: Visitor,
    Form(sent): Form<CheckoutForm>,
) -> Result<Response, Error> {
    let session = authentic(&shop, &visitor, &sent.csrf)?;
    orders::check_key(&sent.key)?;
    let typed = CustomerForm {
        name: sent.name,
        phone: sent.phone,
        address: sent.address,
    };
    let customer = match typed.validate() {
        Ok(customer) => customer,
        Err(errors) => return form(&shop, session, sent.key, typed, errors).await,
    };
    let wish = Wish {
        session,
        idempotency_key: sent.key,
        items: Items::Cart {
            agreed_total: Some(sent.total),
        },
        customer,
    };
    let target = match shop
        .database()
        .write(move |tx| orders::place(tx, &wish, now()))
        .await
    {
        // Whoever goes back after ordering, changes something and orders again sees the order that exists.
        Ok(Placed::New(id) | Placed::Repeat(id) | Placed::Other(id)) => format!("/orders/{id}"),
        Err(Error::Conflict { reason, message }) => match reason {
            Conflict::Stock => "/cart?notice=stock".to_owned(),
            Conflict::CartChanged => "/cart?notice=changed".to_owned(),
            Conflict::CartEmpty => "/cart".to_owned(),
            Conflict::CartFull | Conflict::KeyReused => {
                return Err(Error::Conflict { reason, message });
            }
        },
        Err(error) => return Err(error),
    };
    Ok(Redirect::to(&target).into_response())
}

#[derive(Template)]
#[template(path = "order.html")]
struct OrderPage {
    shell: Shell,
    order: Order,
    placed_at: String,
}

/// `GET /orders/{id}`
pub async fn confirmation(
    State(shop): State<Shop>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let session = visitor.session().cloned().ok_or(Error::NotFound("order"))?;
    let order = shop
        .database()
        .read(move |connection| orders::find(connection, &session, &id))
        .await?;
    let placed_at = dhaka_time(order.created_at);
    page(
        StatusCode::OK,
        &OrderPage {
            shell: Shell::titled("Thank you"),
            order,
            placed_at,
        },
    )
}
