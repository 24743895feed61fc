//! Lists of orders, and of terminals that got no job.

use std::sync::Arc;

use axum::extract::State;
use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::find;
use crate::store::orders::{self, Failure, Order, Skipped};
use crate::web::auth::Operator;
use crate::web::error::Problem;
use crate::web::extract::{Params, PathId};
use crate::web::terminals::page_size;
use crate::web::Station;

/// A page of orders.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Orders {
    /// Newest first.
    pub orders: Vec<Order>,
    /// If there may be more: the value of `before` for the next page.
    pub next: Option<i64>,
}

/// Query parameters of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only with smaller ids
    before: Option<i64>,
    /// Most orders to return
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Lists orders.
#[utoipa::path(
    get, path = "/orders", tag = "orders", security(("bearer" = [])), params(ListQuery),
    responses((status = 200, body = Orders))
)]
pub async fn list(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    Params(which): Params<ListQuery>,
) -> Result<Json<Orders>, Problem> {
    let limit = page_size(which.limit, 100)?;
    let orders = station
        .store
        .read(move |r| Ok::<_, Problem>(orders::list(r, which.before, limit)?));
    let orders = orders.await?;
    let full = orders.len() == limit as usize;
    let next = orders.last().filter(|_| full).map(|order| order.id);
    Ok(Json(Orders { orders, next }))
}

/// A page of terminals that got no job.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SkippedPage {
    /// In the order of their ids.
    pub skipped: Vec<Skipped>,
    /// If there may be more: the value of `after` for the next page.
    pub next: Option<String>,
}

/// Query parameters of that list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SkippedQuery {
    /// Only terminals after this one
    after: Option<String>,
    /// Most terminals to return
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Lists the terminals that got no job of an order, and why.
#[utoipa::path(
    get, path = "/orders/{id}/skipped", tag = "orders", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The order's id"), SkippedQuery),
    responses((status = 200, body = SkippedPage), (status = 404, body = Problem))
)]
pub async fn skipped(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    PathId(id): PathId,
    Params(which): Params<SkippedQuery>,
) -> Result<Json<SkippedPage>, Problem> {
    let limit = page_size(which.limit, 1000)?;
    let skipped = station.store.read(move |r| {
        find(r, id)?;
        let after = which.after.unwrap_or_default();
        Ok::<_, Problem>(orders::skipped(r, id, &after, limit)?)
    });
    let skipped = skipped.await?;
    let full = skipped.len() == limit as usize;
    let last = skipped.last().filter(|_| full);
    let next = last.map(|skipped| skipped.terminal.clone());
    Ok(Json(SkippedPage { skipped, next }))
}

/// The failures of an order.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Failures {
    /// The most frequent first.
    pub failures: Vec<Failure>,
}

/// Shows why jobs of an order did not succeed: how many, by outcome and word.
#[utoipa::path(
    get, path = "/orders/{id}/failures", tag = "orders", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The order's id")),
    responses((status = 200, body = Failures), (status = 404, body = Problem))
)]
pub async fn failures(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    PathId(id): PathId,
) -> Result<Json<Failures>, Problem> {
    let failures = station.store.read(move |r| {
        find(r, id)?;
        Ok::<_, Problem>(orders::failures(r, id)?)
    });
    let failures = failures.await?;
    Ok(Json(Failures { failures }))
}
