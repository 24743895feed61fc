//! What REST says when it refuses.

use axum::http::{header, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::Json;
use log::error;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A refusal: a word for machines, a text for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    #[serde(skip)]
    status: u16,
    #[serde(skip)]
    retry_after: Option<u64>,
    /// Stable word, such as `not-found` or `signer-unknown`.
    pub error: String,
    /// What was refused, why, and what to do.
    pub message: String,
}

impl Problem {
    /// A refusal with this status.
    pub fn new(status: StatusCode, error: &str, message: impl Into<String>) -> Self {
        Problem {
            status: status.as_u16(),
            retry_after: None,
            error: error.to_owned(),
            message: message.into(),
        }
    }

    /// The same, to be tried again after so many seconds.
    pub fn retry_after(self, seconds: u64) -> Self {
        Problem {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", message)
    }

    /// 404
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }

    /// 409: it does not fit how things stand.
    pub fn conflict(error: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, error, message)
    }

    /// 500: the log says more.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        error!("request failed: {cause}");
        let message = "the station failed; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::internal(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let value = header::HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, value);
        }
        if let Some(seconds) = self.retry_after {
            let fields = response.headers_mut();
            fields.insert(header::RETRY_AFTER, header::HeaderValue::from(seconds));
        }
        response
    }
}
