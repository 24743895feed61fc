//! Reading requests with our own words where they are wrong.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::Json;
use serde::de::DeserializeOwned;

use super::error::Problem;

/// The number in the path.
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

/// The query's parameters.
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

/// A body of JSON.
#[derive(Debug)]
pub struct Content<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Content<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = Json::<T>::from_request(request, state).await;
        json.map(|Json(content)| Content(content))
            .map_err(|error| Problem::bad_request(error.body_text()))
    }
}
