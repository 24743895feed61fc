//! Error answers of the REST interface.

use std::io;

use axum::http::{header, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::Json;
use log::error;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::{self, Cause};

/// Retry-After, in seconds, for a cause that may pass by itself.
const SOON: u64 = 5;
/// Retry-After, in seconds, for a cause that somebody must remove.
const LATER: u64 = 60;

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
    /// Returns a refusal with this status.
    pub fn new(status: StatusCode, error: &str, message: impl Into<String>) -> Self {
        Problem {
            status: status.as_u16(),
            retry_after: None,
            error: error.to_owned(),
            message: message.into(),
        }
    }

    /// Adds a Retry-After in seconds.
    pub fn retry_after(self, seconds: u64) -> Self {
        Problem {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// 400: the request is invalid.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", message)
    }

    /// 404
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }

    /// 409: the request conflicts with the current state.
    pub fn conflict(error: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, error, message)
    }

    /// 500: the log has the details.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        error!("request failed: {cause}");
        let message = "the station failed; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// 503: the station lacks something that it needs.
    pub fn unavailable(error: &str, message: String, seconds: u64) -> Self {
        error!("request failed: {message}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error, message).retry_after(seconds)
    }

    /// 507: the disk is full.
    fn disk_full(what: &str) -> Self {
        let message = format!("the station's disk is full: {what}; make room in its data_dir");
        error!("request failed: {message}");
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk-full", message).retry_after(LATER)
    }

    /// A file of the station could not be read or written; `what` is the failed action.
    pub fn io(what: &str, error: &io::Error) -> Self {
        let text = format!("{what}: {error}");
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::disk_full(&text),
            _ => Self::unavailable("disk", text, LATER),
        }
    }

    /// 503: the keyring cannot be read.
    pub fn keyring(error: &dau_package::KeyringError) -> Self {
        let text = format!("the station's keyring cannot be used: {error}");
        Self::unavailable("keyring", text, LATER)
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        let text = format!("the station's database: {error}");
        match error.cause() {
            Cause::DiskFull => Self::disk_full(&text),
            Cause::Busy => Self::unavailable("database", text, SOON),
            Cause::Away => Self::unavailable("database", text, LATER),
            Cause::Data | Cause::Other => Self::internal(text),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_outside_the_station_is_named_with_when_to_come_back() {
        let database = |cause| Problem::from(store::Error::new(cause, "no"));
        let full = io::Error::from_raw_os_error(nix::libc::ENOSPC);
        let quota = io::Error::from_raw_os_error(nix::libc::EDQUOT);
        let read_only = io::Error::from_raw_os_error(nix::libc::EROFS);
        let cases = [
            (database(Cause::DiskFull), 507, "disk-full"),
            (database(Cause::Busy), 503, "database"),
            (database(Cause::Away), 503, "database"),
            (Problem::io("upload", &full), 507, "disk-full"),
            (Problem::io("upload", &quota), 507, "disk-full"),
            (Problem::io("upload", &read_only), 503, "disk"),
        ];
        for (problem, status, word) in cases {
            assert_eq!(
                (problem.status, problem.error.as_str()),
                (status, word),
                "{problem:?}"
            );
            assert!(problem.retry_after.is_some(), "{problem:?}");
        }
    }
}
