//! What can go wrong with a request, and the one place that says which status it gets.

use axum::extract::rejection::{FormRejection, JsonRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::customer::FieldErrors;

/// A failed request. The message of all variants but [`Error::Internal`] may be shown to the client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing here by that name, or nothing this visitor may see.
    #[error("There is no such {0}.")]
    NotFound(&'static str),
    /// The request cannot be understood.
    #[error("{0}")]
    Malformed(String),
    /// The request is understood and its values are not acceptable.
    #[error("{message}")]
    Invalid {
        /// Machine-readable reason.
        code: &'static str,
        /// What to say to a person.
        message: String,
    },
    /// The customer's data is not acceptable.
    #[error("Please check the name, phone and address.")]
    Customer(FieldErrors),
    /// The request is fine and the state of the shop is against it.
    #[error("{message}")]
    Conflict {
        /// Why the state is against it.
        reason: Conflict,
        /// What to say to a person.
        message: String,
    },
    /// The request came from another site or without its token.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The resource exists and does not know the method.
    #[error("This method is not allowed here.")]
    Method,
    /// The body is larger than we read.
    #[error("The request is too large.")]
    TooLarge,
    /// The body is of a kind we do not read.
    #[error("{0}")]
    MediaType(String),
    /// The answer took too long.
    #[error("The shop took too long to answer. Please try again.")]
    TooSlow,
    /// The database is occupied or away; trying again may help.
    #[error("The shop is very busy. Please try again in a moment.")]
    Busy(String),
    /// A fault of ours; the text goes to the log only.
    #[error("{0}")]
    Internal(String),
}

/// Why the state of the shop is against a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// Fewer pieces are left than wanted.
    Stock,
    /// The cart holds as many different products as it may.
    CartFull,
    /// There is nothing to order.
    CartEmpty,
    /// The cart is no longer what the customer agreed to.
    CartChanged,
    /// The idempotency key was used for a different order.
    KeyReused,
}

impl Error {
    /// The status that tells the client.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Invalid { .. } | Self::Customer(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooSlow | Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The machine-readable reason in JSON answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Malformed(_) => "malformed",
            Self::Invalid { code, .. } => code,
            Self::Customer(_) => "invalid_customer",
            Self::Conflict { reason, .. } => match reason {
                Conflict::Stock => "insufficient_stock",
                Conflict::CartFull => "cart_full",
                Conflict::CartEmpty => "cart_empty",
                Conflict::CartChanged => "cart_changed",
                Conflict::KeyReused => "idempotency_key_reused",
            },
            Self::Forbidden(_) => "forbidden",
            Self::Method => "method_not_allowed",
            Self::TooLarge => "too_large",
            Self::MediaType(_) => "unsupported_media_type",
            Self::TooSlow => "too_slow",
            Self::Busy(_) => "busy",
            Self::Internal(_) => "internal",
        }
    }

    /// What the client may read. The causes of our own faults stay in the log.
    pub fn public_message(&self) -> String {
        match self {
            Self::Internal(_) => "Something went wrong on our side.".to_owned(),
            other => other.to_string(),
        }
    }

    /// Writes our own faults to the log; the client's are not worth a line.
    pub fn log(&self) {
        match self {
            Self::Internal(cause) => tracing::error!(cause, "request failed"),
            Self::Busy(cause) => tracing::warn!(cause, "too busy"),
            _ => {}
        }
    }

    /// Shorthand for a [`Error::Conflict`].
    pub fn conflict(reason: Conflict, message: impl Into<String>) -> Self {
        Self::Conflict {
            reason,
            message: message.into(),
        }
    }
}

/// What the client is told, carried by a failed response until [`crate::app`] gives it the form the client reads.
#[derive(Debug, Clone)]
pub struct Report {
    /// Machine-readable reason.
    pub code: &'static str,
    /// What to say to a person.
    pub message: String,
    /// What is wrong with single fields.
    pub fields: Option<FieldErrors>,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.log();
        let report = Report {
            code: self.code(),
            message: self.public_message(),
            fields: if let Self::Customer(fields) = &self {
                Some(fields.clone())
            } else {
                None
            },
        };
        let mut response = self.status().into_response();
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(report);
        response
    }
}

/// What a rejected body or query means in our words.
fn rejection(status: StatusCode, text: String) -> Error {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Error::MediaType(text),
        StatusCode::UNPROCESSABLE_ENTITY => Error::Invalid {
            code: "invalid",
            message: text,
        },
        _ => Error::Malformed(text),
    }
}

impl From<FormRejection> for Error {
    fn from(error: FormRejection) -> Self {
        rejection(error.status(), error.body_text())
    }
}

impl From<JsonRejection> for Error {
    fn from(error: JsonRejection) -> Self {
        rejection(error.status(), error.body_text())
    }
}

impl From<QueryRejection> for Error {
    fn from(error: QueryRejection) -> Self {
        rejection(error.status(), error.body_text())
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        match error.sqlite_error_code() {
            Some(DatabaseBusy | DatabaseLocked) => Self::Busy(error.to_string()),
            _ => Self::Internal(format!("database: {error}")),
        }
    }
}

impl From<askama::Error> for Error {
    fn from(error: askama::Error) -> Self {
        Self::Internal(format!("template: {error}"))
    }
}

impl From<getrandom::Error> for Error {
    fn from(error: getrandom::Error) -> Self {
        Self::Internal(format!("randomness: {error}"))
    }
}
