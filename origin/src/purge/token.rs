//! The edge's admin token.

use std::fs;
use std::path::{Path, PathBuf};

use axum::http::HeaderValue;

/// As the edge has it: a shorter one could be guessed.
const LENGTH_MIN: usize = 16;

/// What proves to an edge that we may purge, and the file it came from.
#[derive(Debug, Clone)]
pub(super) struct Token {
    file: PathBuf,
    credentials: HeaderValue,
}

impl Token {
    /// Reads the file.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        let text = fs::read_to_string(file)
            .map_err(|error| format!("cannot read the purge token from {shown}: {error}"))?;
        let token = text.trim();
        if token.len() < LENGTH_MIN {
            return Err(format!(
                "the purge token in {shown} has {} bytes, and the edge takes none of fewer than {LENGTH_MIN}: use \
                 the content of its admin.token_file",
                token.len()
            ));
        }
        let mut credentials = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| format!("the purge token in {shown} is not one line of text"))?;
        // Keeps it out of what is printed.
        credentials.set_sensitive(true);
        Ok(Self {
            file: file.to_owned(),
            credentials,
        })
    }

    /// Reads the file again: it may have been changed together with the edge's.
    pub(super) async fn read_again(&mut self) {
        let file = self.file.clone();
        if let Ok(Ok(token)) = tokio::task::spawn_blocking(move || Self::read(&file)).await {
            *self = token;
        }
    }

    /// Value of the `Authorization` field.
    pub(super) fn credentials(&self) -> HeaderValue {
        self.credentials.clone()
    }
}
