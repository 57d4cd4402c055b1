//! Reloads: to order one, to take one back, and what became of the last of them.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
};

use super::routes::Trusted;
use crate::server::{Control, Entry, Trigger};

/// Where the texts of configurations are.
pub(super) const TEXTS: &str = "/reloads/text/";

pub(super) async fn reload(State(control): State<Arc<Control>>) -> (StatusCode, String) {
    // Who asked may leave meanwhile; a reload is finished all the same.
    let reloaded = tokio::spawn(async move { control.reload(Trigger::Admin).await });
    told(reloaded.await.unwrap_or_else(|why| Err(why.to_string())))
}

pub(super) async fn roll_back(State(control): State<Arc<Control>>) -> (StatusCode, String) {
    let back = tokio::spawn(async move { control.roll_back().await });
    told(back.await.unwrap_or_else(|why| Err(why.to_string())))
}

fn told(outcome: Result<String, String>) -> (StatusCode, String) {
    match outcome {
        Ok(message) => (StatusCode::OK, format!("{message}\n")),
        Err(why) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{why}\n")),
    }
}

pub(super) async fn entries(
    State(control): State<Arc<Control>>,
    Extension(Trusted(is_trusted)): Extension<Trusted>,
) -> Json<Vec<Entry>> {
    let mut entries = control.history.entries();
    if !is_trusted {
        entries.iter_mut().for_each(withhold);
    }
    Json(entries)
}

/// Stands in the place of what those who may only read are not told.
pub(super) const WITHHELD: &str = "told over the Unix socket, or with the token";

/// Leaves out what was wrong: it repeats lines of the configuration.
pub(super) fn withhold(entry: &mut Entry) {
    if let Some(error) = &mut entry.error {
        WITHHELD.clone_into(error);
    }
}

pub(super) async fn text(
    State(control): State<Arc<Control>>,
    Path(number): Path<u64>,
) -> (StatusCode, String) {
    match control.history.text(number) {
        Some(text) => (StatusCode::OK, text.to_string()),
        None => (
            StatusCode::NOT_FOUND,
            format!("the text of reload {number} is not known any more\n"),
        ),
    }
}
