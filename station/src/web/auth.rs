//! Bearer tokens.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{header, HeaderMap, StatusCode};

use super::error::Problem;
use super::Station;

/// Who sent a REST request.
#[derive(Debug, Clone)]
pub struct Operator(pub String);

impl FromRequestParts<Station> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, station: &Station) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).unwrap_or_default();
        station.holder(token).map(Operator).ok_or_else(unauthorized)
    }
}

/// The token of the header `Authorization: Bearer <token>`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// 401
pub fn unauthorized() -> Problem {
    let message = "give a token that is good: 'Authorization: Bearer <token>'";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}
