//! Extractors whose errors are this API's own.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::StatusCode;
use axum::Json;
use serde::de::DeserializeOwned;

use super::error::Problem;

/// The id in the path.
#[derive(Debug)]
pub struct PathId(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<i64>::from_request_parts(parts, state).await;
        path.map(|Path(id)| PathId(id))
            .map_err(|error| Problem::bad_request(error.body_text()))
    }
}

/// The text in the path.
#[derive(Debug)]
pub struct PathText(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(text)| PathText(text))
            .map_err(|error| Problem::bad_request(error.body_text()))
    }
}

/// The query parameters.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(params)| Params(params))
            .map_err(|error| Problem::bad_request(error.body_text()))
    }
}

/// A JSON body.
#[derive(Debug)]
pub struct Content<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Content<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = Json::<T>::from_request(request, state).await;
        json.map(|Json(content)| Content(content)).map_err(|error| {
            // 422 means valid JSON that is refused; JSON of another shape is invalid.
            match error.status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    Problem::new(error.status(), "too-large", error.body_text())
                }
                StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                    Problem::new(error.status(), "media-type", error.body_text())
                }
                _ => Problem::bad_request(error.body_text()),
            }
        })
    }
}

/// A JSON body; an empty one is the default.
#[derive(Debug)]
pub struct OptionalContent<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalContent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes =
            Bytes::from_request(request, state)
                .await
                .map_err(|error| match error.status() {
                    StatusCode::PAYLOAD_TOO_LARGE => {
                        Problem::new(error.status(), "too-large", error.body_text())
                    }
                    _ => Problem::bad_request(error.body_text()),
                })?;
        if bytes.is_empty() {
            return Ok(OptionalContent(T::default()));
        }
        // `null` counts as empty, too.
        serde_json::from_slice::<Option<T>>(&bytes)
            .map(|content| OptionalContent(content.unwrap_or_default()))
            .map_err(|error| Problem::bad_request(error.to_string()))
    }
}
