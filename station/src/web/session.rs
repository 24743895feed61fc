//! Sessions of the page: a cookie that scripts cannot read instead of the token, and a second secret
//! that every changing request must carry, so that no other site's page can make one.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{header, HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::Json;
use dau_model::hex;
use openssl::memcmp;
use openssl::sha::sha256;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{unauthorized, Login};
use super::error::Problem;
use super::Station;
use crate::api_tokens::role::{Act, Role};
use crate::api_tokens::{self, Holder};
use crate::clock;
use crate::store::sessions;

/// Name of the cookie; browsers take this prefix only with `Secure`, `Path=/` and no domain.
const COOKIE: &str = "__Host-dau-session";
/// Attributes of the cookie.
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";
/// Header of the second secret.
const CSRF: &str = "x-csrf-token";

/// A session, or the holder of the request's token.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Name of the token's holder, as in the record.
    pub name: String,
    /// Role of the token.
    pub role: Role,
    /// What the holder may do.
    pub acts: Vec<Act>,
    /// Time when session or token ends, RFC 3339; null: never.
    pub until: Option<String>,
    /// The value that changing requests by the cookie must have in `X-CSRF-Token`; null without a
    /// session.
    pub csrf: Option<String>,
}

impl Session {
    fn of(holder: Holder, secret: Option<&str>, until: Option<i64>) -> Json<Self> {
        Json(Session {
            name: holder.name,
            role: holder.role,
            acts: holder.role.acts().to_vec(),
            until: until.map(clock::text),
            csrf: secret.map(csrf),
        })
    }
}

/// Begins a session of at most 8 hours. Its cookie can be used in place of the token; requests other than
/// GET then need `X-CSRF-Token` with the answer's `csrf`.
#[utoipa::path(
    post, path = "/session", tag = "session", security(("bearer" = [])),
    responses((status = 201, description = "With the cookie", body = Session))
)]
pub async fn begin(State(station): State<Arc<Station>>, login: Login) -> Result<Response, Problem> {
    if login.secret.is_some() {
        return Err(unauthorized());
    }
    let secret = api_tokens::generate().map_err(Problem::internal)?;
    let latest = clock::now().saturating_add(sessions::LONGEST);
    let ends_at = login.holder.until.map_or(latest, |until| until.min(latest));
    let (kept, digest) = (secret.clone(), login.holder.digest);
    let begun = station
        .store
        .write(move |w| Ok::<_, Problem>(sessions::begin(w, &kept, &digest, ends_at)?));
    begun.await?;
    let longest = sessions::LONGEST;
    let cookie = format!("{COOKIE}={secret}; {ATTRIBUTES}; Max-Age={longest}");
    let answer = Session::of(login.holder, Some(&secret), Some(ends_at));
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie)], answer).into_response())
}

/// Shows who the token or the session's cookie belongs to.
#[utoipa::path(
    get, path = "/session", tag = "session", security(("bearer" = [])),
    responses((status = 200, body = Session))
)]
pub async fn show(login: Login) -> Json<Session> {
    Session::of(login.holder, login.secret.as_deref(), login.until)
}

/// Ends the session.
#[utoipa::path(
    delete, path = "/session", tag = "session", security(("bearer" = [])),
    responses((status = 204, description = "It has ended, or there was none"))
)]
pub async fn end(State(station): State<Arc<Station>>, login: Login) -> Result<Response, Problem> {
    if let Some(secret) = login.secret {
        let ended = station
            .store
            .write(move |w| Ok::<_, Problem>(sessions::end(w, &secret)?));
        ended.await?;
    }
    let cookie = format!("{COOKIE}=; {ATTRIBUTES}; Max-Age=0");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Returns the secret of the session's cookie.
pub fn secret(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let mut cookies = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|all| all.split(';'));
    cookies.find_map(|cookie| {
        let (name, value) = cookie.split_once('=')?;
        (name.trim() == COOKIE).then_some(value.trim())
    })
}

/// Refuses a changing request that another site's page can have made.
pub fn check_csrf(method: &Method, headers: &HeaderMap, secret: &str) -> Result<(), Problem> {
    if method.is_safe() {
        return Ok(());
    }
    let given = headers.get(CSRF).map_or(&b""[..], |value| value.as_bytes());
    let wanted = csrf(secret);
    if given.len() == wanted.len() && memcmp::eq(given, wanted.as_bytes()) {
        return Ok(());
    }
    let message = "with a session's cookie, give the session's 'csrf' in the header 'X-CSRF-Token'";
    Err(Problem::new(StatusCode::FORBIDDEN, "csrf", message))
}

/// Returns the second secret of a session, which does not give away the first.
fn csrf(secret: &str) -> String {
    hex::encode(sha256(format!("csrf {secret}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = |cookie: &str| {
            let headers = HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())]);
            secret(&headers).map(str::to_owned)
        };
        assert_eq!(
            found("a=b; __Host-dau-session=12ab; c=d").as_deref(),
            Some("12ab")
        );
        assert_eq!(found("__Host-dau-session=12ab").as_deref(), Some("12ab"));
        assert_eq!(found("dau-session=12ab; x"), None);
        assert_eq!(secret(&HeaderMap::new()), None);
    }

    #[test]
    fn a_changing_request_by_cookie_needs_the_second_secret() {
        let with =
            |value: &str| HeaderMap::from_iter([(CSRF.parse().unwrap(), value.parse().unwrap())]);
        let good = csrf("s");
        assert!(check_csrf(&Method::POST, &with(&good), "s").is_ok());
        assert!(check_csrf(&Method::GET, &HeaderMap::new(), "s").is_ok());
        for bad in [HeaderMap::new(), with(""), with("s"), with(&csrf("other"))] {
            for method in [Method::POST, Method::DELETE, Method::PUT, Method::PATCH] {
                assert!(check_csrf(&method, &bad, "s").is_err(), "{method} {bad:?}");
            }
        }
    }
}
