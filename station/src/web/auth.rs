//! Authentication by bearer tokens and by the page's sessions.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use axum::http::{header, Extensions, HeaderMap, StatusCode};

use log::warn;
use serde_json::json;

use super::connections::{Connection, Network};
use super::error::Problem;
use super::{acts, session, Station};
use crate::api_tokens::Holder;
use crate::clock;
use crate::store::events::{self, kind, Subject};
use crate::store::sessions;

/// Retry-After, in seconds, if there are too many connections.
const NO_ROOM_RETRY: u64 = 10;

/// Most bytes of a refused request's path (below /api/v1) in the record.
const MAX_PATH: usize = 200;

/// Name of the holder of a REST request's token, who may do what the request does.
#[derive(Debug, Clone)]
pub struct Operator(pub String);

impl FromRequestParts<Arc<Station>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        station: &Arc<Station>,
    ) -> Result<Self, Problem> {
        let login = Login::from_request_parts(parts, station).await?;
        Ok(Operator(login.holder.name))
    }
}

/// The holder of a REST request's token or session, who may do what the request does.
#[derive(Debug, Clone)]
pub struct Login {
    /// Who it is.
    pub holder: Holder,
    /// The secret of the session, if it is one.
    pub secret: Option<String>,
    /// Time when session or token ends.
    pub until: Option<i64>,
}

impl FromRequestParts<Arc<Station>> for Login {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        station: &Arc<Station>,
    ) -> Result<Self, Problem> {
        let caller = Caller::of(&parts.extensions);
        let login = match bearer(&parts.headers) {
            Some(token) => Login::by_token(station, token).ok_or_else(|| {
                station
                    .refusals
                    .refuse(caller.network(), Some(token), "REST")
            })?,
            None => {
                let secret = session::secret(&parts.headers);
                let login = Login::by_session(station, secret).await?;
                login.ok_or_else(|| station.refusals.refuse(caller.network(), secret, "REST"))?
            }
        };
        if login
            .holder
            .until
            .is_some_and(|until| until <= clock::now())
        {
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "token-ended",
                "the token has ended: ask the station's administrator for another",
            ));
        }
        caller.authenticate()?;
        if let Some(secret) = &login.secret {
            session::check_csrf(&parts.method, &parts.headers, secret)?;
        }
        let path = parts.extensions.get::<MatchedPath>();
        let act = acts::of(&parts.method, path.map_or("", MatchedPath::as_str));
        if let Err(problem) = acts::authorize(&login.holder, act) {
            record_refusal(station, &login.holder, parts).await;
            return Err(problem);
        }
        Ok(login)
    }
}

impl Login {
    fn by_token(station: &Station, token: &str) -> Option<Self> {
        let holder = station.api_tokens().holder(token).cloned()?;
        Some(Login {
            until: holder.until,
            holder,
            secret: None,
        })
    }

    /// A session ends with its token, too.
    async fn by_session(station: &Station, secret: Option<&str>) -> Result<Option<Self>, Problem> {
        let Some(secret) = secret.filter(|secret| !secret.is_empty()) else {
            return Ok(None);
        };
        let (wanted, now) = (secret.to_owned(), clock::now());
        let found = station
            .store
            .read(move |r| Ok::<_, Problem>(sessions::find(r, &wanted, now)?));
        let Some(session) = found.await? else {
            return Ok(None);
        };
        let holder = station.api_tokens().by_digest(&session.token).cloned();
        Ok(holder.map(|holder| Login {
            holder,
            secret: Some(secret.to_owned()),
            until: Some(session.ends_at),
        }))
    }
}

/// Adds an act that was refused to the record, unless there were many.
async fn record_refusal(station: &Station, holder: &Holder, parts: &Parts) {
    if !station
        .refused_acts
        .is_recorded(&holder.name, Instant::now())
    {
        return;
    }
    let path = dau_protocol::shortened(parts.uri.path(), MAX_PATH);
    warn!(
        "refused: {} {path} by '{}' ({})",
        parts.method, holder.name, holder.role
    );
    let detail = json!({
        "by": holder.name,
        "role": holder.role,
        "method": parts.method.as_str(),
        "path": path,
    });
    let recorded = station.store.write(move |w| {
        let subject = Subject::default();
        Ok::<_, Problem>(events::add(
            w,
            clock::now(),
            subject,
            kind::FORBIDDEN,
            &detail,
        )?)
    });
    // The answer is the same without.
    let _ = recorded.await;
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
