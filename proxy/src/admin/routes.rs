//! What the admin endpoint answers.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, Request, State, rejection::BytesRejection},
    http::{
        Method, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use super::{acme, compare, drain, explain, purge, reloads, status::Status, upgrade, warm};
use crate::server::Control;

/// Content of a request: ten thousand URLs of a hundred bytes.
const BODY_MAX: usize = 1 << 20;

/// What an address allows.
#[derive(Clone)]
pub(super) enum Access {
    /// Whoever gets there may change things.
    Granted,
    /// Changes need this bearer token; without one there are none.
    Token(Token),
}

/// Whether who asks may read everything: over a Unix socket, or with the token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trusted(pub(super) bool);

/// The token in force; a reload replaces it.
pub(super) type Token = Arc<ArcSwapOption<String>>;

pub(super) fn router(control: Arc<Control>, access: Access) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/config", get(config))
        .route(
            "/config/compare",
            post(compare::compare).layer(DefaultBodyLimit::max(compare::BODY_MAX)),
        )
        .route("/reload", post(reloads::reload))
        .route("/rollback", post(reloads::roll_back))
        .route("/reloads", get(reloads::entries))
        .route(
            "/reloads/text/{number}",
            get(reloads::text).post(reloads::text),
        )
        .route("/upgrade", post(upgrade::upgrade))
        .route("/explain", post(explain::explain))
        .route("/purge", post(purge::purge))
        .route("/warm", post(warm::warm))
        .route("/acme/renew", post(acme::renew))
        .route("/drain", post(drain::drain))
        .route("/undrain", post(drain::undrain))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(access, guard))
        .with_state(control)
}

/// Lets reading through, and changes only with the token.
async fn guard(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(access.clone());
    // The text of a configuration is for those who may change it.
    let reading = (request.method() == Method::GET || request.method() == Method::HEAD)
        && !request.uri().path().starts_with(reloads::TEXTS);
    let token = match access {
        Access::Granted => {
            request.extensions_mut().insert(Trusted(true));
            return next.run(request).await;
        }
        Access::Token(token) => token.load_full(),
    };
    let is_trusted = token.as_ref().is_some_and(|token| shows(&request, token));
    request.extensions_mut().insert(Trusted(is_trusted));
    if reading || is_trusted {
        return next.run(request).await;
    }
    if token.is_none() {
        return (
            StatusCode::FORBIDDEN,
            "changes over TCP need admin.token_file\n",
        )
            .into_response();
    };
    (StatusCode::UNAUTHORIZED, "wrong or missing bearer token\n").into_response()
}

/// Whether a request shows the token.
fn shows(request: &Request, token: &str) -> bool {
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .map(|value| value.as_bytes());
    let given = given.and_then(|value| value.strip_prefix(b"Bearer "));
    given.is_some_and(|given| {
        aws_lc_rs::constant_time::verify_slices_are_equal(given, token.as_bytes()).is_ok()
    })
}

/// Why a change is not made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// A sentence.
    pub(super) why: String,
}

impl Refusal {
    /// What was sent cannot be meant.
    pub(super) fn unprocessable(why: String) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self { status, why }
    }
}

impl From<BytesRejection> for Refusal {
    fn from(why: BytesRejection) -> Self {
        let status = why.status();
        let why = match status {
            StatusCode::PAYLOAD_TOO_LARGE => {
                "the content is too large: orders take 1 MiB, `/config/compare` 16 MiB".to_owned()
            }
            _ => why.body_text(),
        };
        Self { status, why }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, format!("{}\n", self.why)).into_response()
    }
}

async fn ready(State(control): State<Arc<Control>>) -> (StatusCode, &'static str) {
    if control.shared.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

/// Gauges that are not kept up with are read now.
async fn metrics(State(control): State<Arc<Control>>) -> Response {
    control.shared.forget_names();
    let metrics = &control.shared.metrics;
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let snapshot = control.current.load_full();
    let tick = control.started.elapsed();
    metrics.upstream_up.reset();
    metrics.upstream_draining.reset();
    metrics.shop_window.reset();
    for upstream in &snapshot.upstreams {
        if upstream.config.shop_window.is_some() {
            metrics
                .shop_window
                .with_label_values(&[upstream.name()])
                .set(i64::from(upstream.window_is_open(tick)));
        }
        for server in upstream.servers().iter() {
            let up = i64::from(server.state.is_up() && !server.state.is_ejected(tick));
            let labels = [upstream.name(), &server.name];
            metrics.upstream_up.with_label_values(&labels).set(up);
            let draining = i64::from(server.is_draining());
            let gauge = metrics.upstream_draining.with_label_values(&labels);
            gauge.set(draining);
        }
    }
    metrics.upstreams.refresh(&snapshot.upstreams, tick);
    metrics.tracked_clients.reset();
    for limit in &snapshot.limits {
        let tracked = limit.tracked();
        metrics
            .tracked_clients
            .with_label_values(&[limit.name])
            .set(whole(tracked as u64));
    }
    metrics.limits.refresh(&snapshot);
    metrics.rooms.refresh(&snapshot.waiting_rooms);
    metrics
        .acme
        .refresh(&control.shared.acme, &metrics.certificates);
    metrics.cache.refresh(&control.shared);
    metrics
        .connections
        .set(whole(control.shared.open_connections() as u64));
    if let Some(log) = &*control.shared.access_log.load() {
        metrics.log_dropped.set(whole(log.dropped()));
    }
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4")],
        metrics.render(),
    )
        .into_response()
}

async fn status(
    State(control): State<Arc<Control>>,
    Extension(Trusted(is_trusted)): Extension<Trusted>,
) -> Json<Status> {
    let mut status = Status::of(&control);
    if !is_trusted {
        let told = [&mut status.last_reload, &mut status.last_failure];
        told.into_iter().flatten().for_each(reloads::withhold);
        if let Some(failed) = &mut status.last_failed_upgrade {
            // The new process may have repeated lines of the configuration.
            reloads::WITHHELD.clone_into(&mut failed.why);
        }
    }
    Json(status)
}

/// The configuration in force, every key with where it comes from; secrets are hidden.
async fn config(
    State(control): State<Arc<Control>>,
    Extension(Trusted(is_trusted)): Extension<Trusted>,
) -> Response {
    let mut effective = control.current.load().config.effective.clone();
    if !is_trusted {
        effective = effective.for_strangers();
    }
    // It is compiled once more to leave out what does nothing.
    let printed = tokio::task::spawn_blocking(move || effective.toml(true)).await;
    match printed {
        Ok(text) => ([(CONTENT_TYPE, "application/toml")], text).into_response(),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response(),
    }
}
