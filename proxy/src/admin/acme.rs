//! `POST /acme/renew`: a certificate is ordered anew, at once.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
};
use serde::Deserialize;

use super::routes::Refusal;
use crate::server::Control;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    name: String,
}

pub(super) async fn renew(
    State(control): State<Arc<Control>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<String, Refusal> {
    let order: Order = serde_json::from_slice(&body?).map_err(|why| {
        Refusal::unprocessable(format!("expected a name as {{\"name\": …}}: {why}"))
    })?;
    let renewed = control.shared.acme.renew(&order.name);
    match renewed {
        Ok(names) => Ok(format!("{}: a certificate is ordered\n", names.join(", "))),
        Err(why) => Err(Refusal {
            status: StatusCode::NOT_FOUND,
            why,
        }),
    }
}
