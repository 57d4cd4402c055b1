//! What all requests share: the state, the routes, and the frame around every answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_extra::extract::cookie::Key;
use tower_http::catch_panic::CatchPanicLayer;

use crate::db::Database;
use crate::error::{Error, Report};
use crate::secret::Keys;
use crate::web::images::Images;
use crate::workers::Workers;
use crate::{api, csrf, web};

/// The largest body we read; the longest order of thirty lines is a tenth of it.
const BODY_BYTES_MAX: usize = 32 * 1024;

/// How long an answer may take, reading the body and waiting for a worker included.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// Everything comes from ourselves, and there are no scripts.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; img-src 'self'; style-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'";

/// The state of one instance; cheap to clone.
#[derive(Clone)]
pub struct Shop(Arc<Inner>);

struct Inner {
    database: Database,
    keys: Keys,
    name: HeaderValue,
    workers: Workers,
    images: Images,
}

impl Shop {
    /// A shop on this database.
    pub fn new(database: Database, keys: Keys, name: HeaderValue, workers: Workers) -> Self {
        Self(Arc::new(Inner {
            database,
            keys,
            name,
            workers,
            images: Images::default(),
        }))
    }

    /// Where products, carts and orders are.
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// What cookies and tokens are made with.
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Pictures drawn so far.
    pub fn images(&self) -> &Images {
        &self.0.images
    }
}

impl FromRef<Shop> for Key {
    fn from_ref(shop: &Shop) -> Self {
        shop.keys().cookie.clone()
    }
}

/// The whole shop.
pub fn router(shop: Shop) -> Router {
    Router::new()
        .merge(web::router())
        .nest("/api", api::router())
        .route("/healthz", get(api::health))
        .fallback(|| async { Error::NotFound("page") })
        .method_not_allowed_fallback(|| async { Error::Method })
        .layer(middleware::from_fn(csrf::refuse_cross_site))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(|_| {
            Error::Internal("a handler panicked".to_owned()).into_response()
        }))
        // Outermost, so that every answer passes it.
        .layer(middleware::from_fn_with_state(shop.clone(), frame))
        .with_state(shop)
}

/// Middleware: limits the time, gives failures their form, and adds the fields that every answer carries.
async fn frame(State(shop): State<Shop>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = shop.0.workers.answer(request, next, BODY_BYTES_MAX);
    let mut response = match tokio::time::timeout(ANSWER_TIME, answer).await {
        Ok(response) => response,
        Err(_) => Error::TooSlow.into_response(),
    };
    if response.status().is_client_error() || response.status().is_server_error() {
        response = explain(response, &path);
    }
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-served-by"), shop.0.name.clone());
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    // Only pages that say so themselves may be kept; all others could belong to somebody.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private, no-store"));
    tracing::info!(
        %method,
        path,
        status = response.status().as_u16(),
        micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    response
}

/// Writes the body of a failure: JSON for programs, a page for people.
fn explain(mut response: Response, path: &str) -> Response {
    let status = response.status();
    let report = response.extensions_mut().remove::<Report>();
    if report.is_none()
        && response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind == web::HTML)
    {
        // A page that explains itself, such as a form with its errors.
        return response;
    }
    let report = report.unwrap_or_else(|| unexplained(status));
    let (mut parts, _) = response.into_parts();
    let program = path == "/api" || path.starts_with("/api/") || path == "/healthz";
    let explained = if program {
        api::failure(&report)
    } else {
        web::failure(status, &report)
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    let (explained, body) = explained.into_parts();
    parts.headers.extend(explained.headers);
    Response::from_parts(parts, body)
}

/// A failure of the framework's, such as a path that is not UTF-8.
fn unexplained(status: StatusCode) -> Report {
    let message = status
        .canonical_reason()
        .unwrap_or("The request failed")
        .to_owned();
    Report {
        code: "refused",
        message,
        fields: None,
    }
}
