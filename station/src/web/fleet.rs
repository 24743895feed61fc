//! REST resource of the fleet in numbers.

use std::sync::Arc;

use axum::extract::State;
use axum::Json;

use super::auth::Operator;
use super::error::Problem;
use super::Station;
use crate::store::fleet::{self, Fleet};

/// Shows how many terminals run which version, and how many are connected.
#[utoipa::path(
    get, path = "/fleet", tag = "terminals", security(("bearer" = [])),
    responses((status = 200, body = Fleet))
)]
pub async fn show(
    State(station): State<Arc<Station>>,
    _operator: Operator,
) -> Result<Json<Fleet>, Problem> {
    let since = station.online_since();
    let fleet = station
        .store
        .read(move |r| Ok::<_, Problem>(fleet::count(r, since)?));
    fleet.await.map(Json)
}
