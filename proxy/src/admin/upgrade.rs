//! `POST /upgrade`: another process takes over.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Extension,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};

use super::routes::{Access, Refusal};
use crate::{handover::Failure, server::Control};

/// What is asked for.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpgradeOrder {
    /// The program to be started, in the place of the one that this process was started from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary: Option<PathBuf>,
}

impl UpgradeOrder {
    /// Reads it from JSON; nothing at all asks for nothing in particular. An error is a sentence.
    fn read(json: &[u8]) -> Result<Self, String> {
        if json.is_empty() {
            return Ok(Self::default());
        }
        let order: Self =
            serde_json::from_slice(json).map_err(|why| format!("this is no upgrade: {why}"))?;
        match &order.binary {
            Some(path) if !path.is_absolute() => Err("`binary` is no absolute path".to_owned()),
            _ => Ok(order),
        }
    }
}

pub(super) async fn upgrade(
    State(control): State<Arc<Control>>,
    Extension(access): Extension<Access>,
    sent: Result<Bytes, BytesRejection>,
) -> Result<String, Refusal> {
    let order = UpgradeOrder::read(&sent?).map_err(Refusal::unprocessable)?;
    if order.binary.is_some() && !matches!(access, Access::Granted) {
        // Whoever has the token may change what the edge does, but not run what they like on its host.
        let status = StatusCode::FORBIDDEN;
        let why = "another binary can only be named over the Unix socket".to_owned();
        return Err(Refusal { status, why });
    }
    // Who asked may leave meanwhile; an upgrade is finished all the same.
    let upgraded = tokio::spawn(async move { control.upgrade(order.binary).await });
    match upgraded.await {
        Ok(Ok(message)) => Ok(format!("{message}\n")),
        Ok(Err(why)) => Err(Refusal {
            status: match why {
                Failure::Busy | Failure::Ending => StatusCode::CONFLICT,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            },
            why: why.to_string(),
        }),
        Err(why) => Err(Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            why: why.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read() {
        for (json, binary) in [
            ("", Some(None)),
            ("{}", Some(None)),
            (r#"{"binary": "/opt/dhal"}"#, Some(Some("/opt/dhal"))),
            (r#"{"binary": "dhal"}"#, None),
            (r#"{"program": "/opt/dhal"}"#, None),
            ("/opt/dhal", None),
        ] {
            let read = UpgradeOrder::read(json.as_bytes()).ok();
            let read = read.map(|order| order.binary);
            assert_eq!(read, binary.map(|path| path.map(PathBuf::from)), "{json}");
        }
    }
}
