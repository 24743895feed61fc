//! A page to look at terminals and jobs: static files that use the REST interface with the token typed in.

use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::Router;

use super::Station;

/// Nothing from elsewhere, nothing inline, nowhere else to send a token.
const POLICY: &str =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page's routes.
pub fn router() -> Router<Station> {
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
