//! Imports attributes and tags of many terminals.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::Json;
use encoding_rs::{Encoding, GB18030, UTF_8};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::auth::Operator;
use super::error::Problem;
use super::extract::Params;
use super::Station;
use crate::clock;
use crate::store::labels::import::{self, Imported, Table};

/// Most refused lines in the text of a refusal.
const MAX_NAMED: usize = 10;

/// Query parameters of an import.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ImportQuery {
    /// Only tells what would be done
    #[serde(default, rename = "dry-run")]
    dry_run: bool,
    /// How the text is encoded, if not in UTF-8
    #[param(inline)]
    encoding: Option<TextEncoding>,
}

/// An encoding of a text.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TextEncoding {
    #[serde(rename = "utf-8")]
    Utf8,
    /// As Excel writes it in China; GBK is a part of it.
    Gb18030,
}

/// Imports attributes and tags from a table of comma-separated values, with a header: `id`, names of
/// attributes, and `tags` (separated by blanks). Terminals that are not known are registered. An empty
/// cell leaves what the terminal has, `-` removes it. All lines are imported, or none.
#[utoipa::path(
    post, path = "/terminals", tag = "terminals", security(("bearer" = [])), params(ImportQuery),
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = 200, description = "What was done, or would be", body = Imported),
        (status = 400, description = "`encoding` or `table`: the text cannot be read as a table",
            body = Problem),
        (status = 413, description = "Larger than 16 MiB", body = Problem),
        (status = 422, description = "`refused`: some lines are refused, and nothing was done; a dry \
            run names them all", body = Problem),
    )
)]
pub async fn import(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
    Params(which): Params<ImportQuery>,
    content: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Json<Imported>, Problem> {
    let content =
        content.map_err(|error| Problem::new(error.status(), "too-large", error.body_text()))?;
    let encoding = match which.encoding {
        Some(TextEncoding::Gb18030) => GB18030,
        Some(TextEncoding::Utf8) | None => UTF_8,
    };
    let text = decoded(&content, encoding)?;
    let refused = |reason| Problem::new(StatusCode::BAD_REQUEST, "table", reason);
    let table = Table::parse(&text).map_err(refused)?;
    if which.dry_run {
        let planned = station.store.read(move |r| import::plan(r, &table));
        return Ok(Json(planned.await?));
    }
    let done = station.store.write(move |w| {
        let imported = import::import(w, clock::now(), &table, &by)?;
        match imported.refused {
            0 => Ok(imported),
            _ => Err(refusal(&imported)),
        }
    });
    done.await.map(Json)
}

/// Returns the text without a byte order mark.
fn decoded(content: &[u8], encoding: &'static Encoding) -> Result<String, Problem> {
    let (text, malformed) = encoding.decode_with_bom_removal(content);
    match malformed {
        false => Ok(text.into_owned()),
        true => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "encoding",
            format!(
                "the table is no text in {}: save it as 'CSV UTF-8', or say how it is encoded \
                 (encoding=gb18030)",
                encoding.name()
            ),
        )),
    }
}

fn refusal(imported: &Imported) -> Problem {
    let lines = imported.refusals.iter().take(MAX_NAMED);
    let mut lines: Vec<String> = lines
        .map(|refused| format!("line {}: {}", refused.line, refused.reason))
        .collect();
    let more = imported.refused.saturating_sub(lines.len() as u64);
    if more > 0 {
        lines.push(format!("{more} more"));
    }
    let message = format!("nothing was imported: {}", lines.join("; "));
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", message)
}
