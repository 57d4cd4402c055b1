//! `POST /config/compare`: whether what is not shown is the same here as where a file was read.
//!
//! Who asks sends digests of its secrets, keyed with a number made for this one question, and is told which differ. So no
//! secret is on the way, and neither is a digest of one that the edge has: it could be guessed from at leisure. What is
//! given away is whether one guess is right, to whoever may change things; each takes a question.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::routes::Refusal;
use crate::{config::DigestKey, server::Control};

/// Content of a question: a hundred bytes for each of what the largest file may have of secrets.
pub(super) const BODY_MAX: usize = 16 << 20;

/// Comparisons at once: each compiles the configuration.
static PLACES: Semaphore = Semaphore::const_new(1);

/// What is to be compared.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// What the digests are keyed with.
    pub key: DigestKey,
    /// By full path.
    pub digests: BTreeMap<String, String>,
}

/// What came of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Compared {
    /// Paths of what stands in both, and is not the same.
    pub differ: Vec<String>,
    /// Files that a reload would read, and that hold something else than when they were read.
    pub files: Vec<PathBuf>,
}

pub(super) async fn compare(
    State(control): State<Arc<Control>>,
    sent: Result<Bytes, BytesRejection>,
) -> Result<Json<Compared>, Refusal> {
    let broken = |why: String| Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        why,
    };
    let sent = sent?;
    let _place = PLACES.acquire().await;
    let asked: Secrets = serde_json::from_slice(&sent)
        .map_err(|why| Refusal::unprocessable(format!("these are no digests: {why}")))?;
    drop(sent);
    let effective = control.current.load().config.effective.clone();
    let differ = tokio::task::spawn_blocking(move || {
        let own = effective.digests(&asked.key);
        let given = asked.digests.into_iter();
        let other = given.filter(|(path, digest)| own.get(path).is_some_and(|own| own != digest));
        other.map(|(path, _)| path).collect()
    });
    Ok(Json(Compared {
        differ: differ.await.map_err(|why| broken(why.to_string()))?,
        files: control.changed_files().await.map_err(broken)?,
    }))
}
