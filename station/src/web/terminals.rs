//! REST: terminals.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::Json;
use dau_protocol::topic::is_device_id;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Operator;
use super::error::Problem;
use super::extract::Params;
use super::Station;
use crate::clock;
use crate::store::terminals::{self, Filter, Terminal};

/// Most terminals or jobs in one answer.
pub const MAX_LIMIT: u32 = 1000;

/// Some terminals.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Terminals {
    /// In the order of their ids.
    pub terminals: Vec<Terminal>,
    /// Where there may be more: ask again with `after` set to this.
    pub next: Option<String>,
}

/// Which terminals.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Of this product.
    product: Option<String>,
    /// With this version.
    version: Option<String>,
    /// With ids after this one.
    after: Option<String>,
    /// At most so many, up to 1000.
    limit: Option<u32>,
}

/// Lists terminals and what runs on them.
#[utoipa::path(
    get, path = "/terminals", tag = "terminals", security(("bearer" = [])), params(Which),
    responses((status = 200, body = Terminals))
)]
pub async fn list(
    State(station): State<Station>,
    _operator: Operator,
    Params(which): Params<Which>,
) -> Result<Json<Terminals>, Problem> {
    let filter = Filter {
        product: which.product,
        version: which.version,
        after: which.after.unwrap_or_default(),
        limit: which.limit.unwrap_or(MAX_LIMIT).clamp(1, MAX_LIMIT),
    };
    let limit = filter.limit as usize;
    let since = station.online_since();
    let terminals = station
        .store
        .read(move |c| Ok::<_, Problem>(terminals::list(c, &filter, since)?));
    let terminals = terminals.await?;
    let more = terminals.len() == limit;
    Ok(Json(Terminals {
        next: terminals
            .last()
            .filter(|_| more)
            .map(|last| last.id.clone()),
        terminals,
    }))
}

/// Shows a terminal with its last EVENT_LINKUP.
#[utoipa::path(
    get, path = "/terminals/{id}", tag = "terminals", security(("bearer" = [])),
    params(("id" = String, Path, description = "The terminal's id")),
    responses((status = 200, body = Terminal), (status = 404, body = Problem))
)]
pub async fn show(
    State(station): State<Station>,
    _operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<Terminal>, Problem> {
    let since = station.online_since();
    let wanted = id.clone();
    let terminal = station
        .store
        .read(move |c| Ok::<_, Problem>(terminals::get(c, &wanted, since)?));
    let terminal = terminal.await?;
    terminal
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("there is no terminal '{id}'")))
}

/// Makes a terminal known before it links up, so that upgrades can be ordered for it. One that is known stays as it is.
#[utoipa::path(
    put, path = "/terminals/{id}", tag = "terminals", security(("bearer" = [])),
    params(("id" = String, Path, description = "The terminal's id")),
    responses(
        (status = 201, description = "It is known now"),
        (status = 204, description = "It was known already"),
        (status = 400, body = Problem),
    )
)]
pub async fn register(
    State(station): State<Station>,
    _operator: Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    if !is_device_id(&id) {
        return Err(Problem::bad_request(format!(
            "'{id}' is no terminal id: 1 to 64 letters, digits, '-', '_' or '.'"
        )));
    }
    let added = station
        .store
        .write(move |w| Ok::<_, Problem>(terminals::register(w, clock::now(), &id)?));
    Ok(match added.await? {
        true => StatusCode::CREATED,
        false => StatusCode::NO_CONTENT,
    })
}
