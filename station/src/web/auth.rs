//! Authentication by bearer tokens.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{header, Extensions, HeaderMap, StatusCode};

use super::connections::{Connection, Network};
use super::error::Problem;
use super::Station;

/// Retry-After, in seconds, if there are too many connections.
const NO_ROOM_RETRY: u64 = 10;

/// The holder of a REST request's token.
#[derive(Debug, Clone)]
pub struct Operator(pub String);

impl FromRequestParts<Arc<Station>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        station: &Arc<Station>,
    ) -> Result<Self, Problem> {
        let caller = Caller::of(&parts.extensions);
        let token = bearer(&parts.headers);
        match token.and_then(|token| station.holder(token)) {
            Some(name) => {
                caller.authenticate()?;
                Ok(Operator(name))
            }
            None => Err(station.refusals.refuse(caller.network(), token, "REST")),
        }
    }
}

/// The connection of a request.
#[derive(Debug, Clone)]
pub struct Caller(Option<Arc<Connection>>);

impl Caller {
    /// Returns the caller of a request with these extensions.
    pub fn of(extensions: &Extensions) -> Self {
        Caller(extensions.get::<Arc<Connection>>().cloned())
    }

    /// Returns its network.
    pub fn network(&self) -> Network {
        self.0
            .as_ref()
            .map_or_else(Network::none, |connection| connection.network())
    }

    /// Marks the connection as authenticated, so that it does not give way to others. 503 if there
    /// are too many.
    pub fn authenticate(&self) -> Result<(), Problem> {
        match &self.0 {
            Some(connection) if !connection.authenticate() => {
                let message =
                    "the station has as many connections as it can serve: try again later";
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
                Err(problem.retry_after(NO_ROOM_RETRY))
            }
            _ => Ok(()),
        }
    }

    /// Closes the connection.
    pub fn close(&self) {
        if let Some(connection) = &self.0 {
            connection.close();
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Caller::of(&parts.extensions))
    }
}

/// Returns the token of the header `Authorization: Bearer <token>`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// Returns a 401.
pub fn unauthorized() -> Problem {
    let message = "give a valid token: 'Authorization: Bearer <token>'";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}
