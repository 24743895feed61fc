//! Requests with an Idempotency-Key, which are executed once.

use axum::http::{header, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::clock;
use crate::store::requests::{self, Answered};
use crate::store::Read;
use crate::web::error::Problem;

/// Longest Idempotency-Key.
const MAX_KEY: usize = 255;

/// A request to be executed once.
#[derive(Debug, Clone)]
pub struct Request {
    pub by: String,
    pub key: String,
    pub digest: Vec<u8>,
}

impl Request {
    /// Returns the answer to an earlier request with the same key.
    pub fn answered(&self, r: &Read<'_>) -> Result<Option<Answered>, Problem> {
        let answered = requests::find(r, clock::now(), &self.by, &self.key)?;
        match answered {
            Some(answered) if answered.digest != self.digest => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "this Idempotency-Key came with another order: use a new key for a new order",
            )),
            answered => Ok(answered),
        }
    }
}

/// Returns the key of a request, if it has one.
pub fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    match (1..=MAX_KEY).contains(&key.len()) {
        true => Ok(Some(key.to_owned())),
        false => Err(Problem::bad_request(format!(
            "Idempotency-Key: give 1 to {MAX_KEY} printable ASCII characters"
        ))),
    }
}

/// Returns an answer as it was given the first time.
pub fn respond(answered: Answered) -> Response {
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::OK);
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (status, content_type, answered.answer).into_response()
}
