//! Pages for people. They work without scripts.

pub mod assets;
pub mod basket;
pub mod caching;
pub mod checkout;
pub mod images;
pub mod pages;

use askama::Template;
use axum::Router;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;

use crate::app::Shop;
use crate::catalog::{CATEGORIES, Category};
use crate::error::{Error, Report};

/// The media type of pages.
pub const HTML: &str = "text/html; charset=utf-8";

/// Routes of all pages and of what they consist of.
pub fn router() -> Router<Shop> {
    Router::new()
        .route("/", get(pages::home))
        .route("/products", get(pages::all_products))
        .route("/products/{slug}", get(pages::product))
        .route("/categories/{slug}", get(pages::category))
        .route("/search", get(pages::search))
        .route("/cart", get(basket::show))
        .route("/cart/add", post(basket::add))
        .route("/cart/update", post(basket::update))
        .route("/cart/remove", post(basket::remove))
        .route("/checkout", get(checkout::show).post(checkout::submit))
        .route("/orders/{id}", get(checkout::confirmation))
        .route("/images/{file}", get(images::show))
        .route("/static/{file}", get(assets::show))
        .route("/favicon.svg", get(assets::favicon))
        .route("/robots.txt", get(assets::robots))
}

/// What the frame of a page needs to know. Nothing of a session: the frame is part of shared pages.
#[derive(Debug, Default)]
pub struct Shell {
    /// Goes before the shop's name in the title.
    pub title: String,
    /// Slug of the category to mark in the navigation.
    pub active: &'static str,
    /// What stands in the search box.
    pub search: String,
}

impl Shell {
    /// A frame with a title and nothing special.
    pub fn titled(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            ..Self::default()
        }
    }

    fn categories(&self) -> &'static [Category] {
        &CATEGORIES
    }

    fn style_sheet(&self) -> &'static str {
        assets::style_sheet_path()
    }
}

/// A page that belongs to one visitor, or says that something is wrong.
fn page(status: StatusCode, template: &impl Template) -> Result<Response, Error> {
    let html = template.render()?;
    Ok((
        status,
        [(header::CONTENT_TYPE, HeaderValue::from_static(HTML))],
        html,
    )
        .into_response())
}

/// A form sent by one of our pages.
pub struct Form<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let axum::Form(form) = axum::Form::from_request(request, state).await?;
        Ok(Self(form))
    }
}

#[derive(Template)]
#[template(path = "failure.html")]
struct Failure<'a> {
    shell: Shell,
    status: u16,
    heading: &'static str,
    message: &'a str,
}

/// The page that explains a failure.
pub fn failure(status: StatusCode, report: &Report) -> Response {
    let heading = match status {
        StatusCode::NOT_FOUND => "We could not find that",
        StatusCode::CONFLICT => "That is not possible right now",
        StatusCode::FORBIDDEN => "That request was refused",
        status if status.is_server_error() => "Something is not working",
        _ => "We could not read that request",
    };
    let shell = Shell::titled(heading);
    let template = Failure {
        shell,
        status: status.as_u16(),
        heading,
        message: &report.message,
    };
    page(status, &template).unwrap_or_else(|_| (status, report.message.clone()).into_response())
}
