//! `POST /explain`: what would become of a request.

use std::{sync::Arc, time::SystemTime};

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
};
use tokio::sync::Semaphore;

use super::routes::Refusal;
use crate::{
    edge::decide::Now,
    explain::{self, Explanation, Question, Scene},
    server::Control,
};

/// Explanations at once: each may copy the list of who is inside a waiting room, and read a file.
static PLACES: Semaphore = Semaphore::const_new(2);

pub(super) async fn explain(
    State(control): State<Arc<Control>>,
    sent: Result<Bytes, BytesRejection>,
) -> Result<Json<Explanation>, Refusal> {
    let question: Question = serde_json::from_slice(&sent?)
        .map_err(|why| Refusal::unprocessable(format!("this is no question: {why}")))?;
    let _place = PLACES.acquire().await;
    let told = tokio::task::spawn_blocking(move || {
        let scene = Scene {
            snapshot: &control.current.load_full(),
            shared: &control.shared,
            now: Now {
                wall: SystemTime::now(),
                tick: control.started.elapsed(),
            },
            is_running: true,
        };
        explain::explain(&scene, &question)
    });
    match told.await {
        Ok(Ok(explanation)) => Ok(Json(explanation)),
        Ok(Err(why)) => Err(Refusal::unprocessable(why.to_string())),
        Err(why) => Err(Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            why: why.to_string(),
        }),
    }
}
