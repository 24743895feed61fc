//! A status page of terminals and jobs: static files that use the REST interface with the token the
//! user enters.

use std::sync::Arc;

use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::Router;

use super::Station;

/// No foreign or inline content, and no other place to send a token to.
const POLICY: &str =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Returns the page's routes.
pub fn router() -> Router<Arc<Station>> {
    let file = |content_type: &'static str, content: &'static str| {
        get(move || async move {
            let headers = [
                (header::CONTENT_TYPE, content_type),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::REFERRER_POLICY, "no-referrer"),
            ];
            (headers, content).into_response()
        })
    };
    let html = include_str!("page/index.html");
    let script = include_str!("page/page.js");
    let style = include_str!("page/page.css");
    Router::new()
        .route("/", file("text/html; charset=utf-8", html))
        .route("/page.js", file("text/javascript; charset=utf-8", script))
        .route("/page.css", file("text/css; charset=utf-8", style))
}
