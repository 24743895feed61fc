//! The page for operators: static files that use the REST interface, with no build step and nothing from
//! elsewhere. The browser keeps a session's cookie; docs/station.md has its parts.

use std::sync::Arc;

use axum::http::{header, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::Router;
use dau_model::hex;
use openssl::sha::sha256;

use super::Station;

mod words;

/// No foreign or inline content, and no other place to send anything to.
const POLICY: &str =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

macro_rules! files {
    ($($name:literal,)+) => { [$(($name, include_str!(concat!("page/", $name))),)+] };
}

/// The files below `/page/`.
const FILES: [(&str, &str); 24] = files![
    "api.js",
    "dom.js",
    "en.js",
    "favicon.svg",
    "format.js",
    "job.js",
    "labels.js",
    "list.js",
    "login.js",
    "main.js",
    "order.js",
    "orders.js",
    "overview.js",
    "packages.js",
    "page.css",
    "place.js",
    "plan.js",
    "rollout.js",
    "rollouts.js",
    "terminal.js",
    "terminals.js",
    "text.js",
    "words.js",
    "zh.js",
];
const HTML: &str = include_str!("page/index.html");

/// Returns the page's routes.
pub fn router() -> Router<Arc<Station>> {
    let files = FILES.iter().map(|(name, content)| {
        let path = format!("/page/{name}");
        (path, content_type(name), (*content).to_owned())
    });
    let words = words::ALL.iter().map(|(language, guide)| {
        let path = format!("/page/words.{language}.json");
        (path, "application/json", words::json(guide))
    });
    let html = ("/".to_owned(), "text/html; charset=utf-8", HTML.to_owned());
    let all = files.chain(words).chain([html]);
    all.fold(Router::new(), |router, (path, content_type, content)| {
        let tag = format!("\"{}\"", hex::encode(sha256(content.as_bytes())));
        let file = Arc::new((content_type, content, tag));
        let served = get(move |headers: HeaderMap| {
            let file = Arc::clone(&file);
            async move { answer(&headers, &file) }
        });
        router.route(&path, served)
    })
}

/// Answers with a file, or that the browser has it already.
fn answer(headers: &HeaderMap, file: &(&'static str, String, String)) -> Response {
    let (content_type, content, tag) = file;
    let fields = [
        (header::CONTENT_TYPE, *content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::ETAG, tag),
    ];
    let is_known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    match is_known {
        true => (StatusCode::NOT_MODIFIED, fields).into_response(),
        false => (fields, content.clone()).into_response(),
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    }
}

#[cfg(test)]
mod tests;
