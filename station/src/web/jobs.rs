//! REST resources of jobs.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Operator;
use super::error::Problem;
use super::extract::{OptionalContent, Params, PathId};
use super::terminals::page_size;
use super::Station;
use crate::clock;
use crate::store::events::{self, Event};
use crate::store::jobs::{self, Filter, Job};
use crate::store::orders::{self, Cancelled};

/// A page of jobs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Jobs {
    /// Newest first.
    pub jobs: Vec<Job>,
    /// If there may be more: the value of `before` for the next page.
    pub next: Option<i64>,
}

/// Query parameters of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only of this terminal
    terminal: Option<String>,
    /// Only of this package
    package: Option<i64>,
    /// Only of this order
    order: Option<i64>,
    /// Only in this state
    state: Option<String>,
    /// Only with this outcome
    outcome: Option<String>,
    /// Only with smaller ids
    before: Option<i64>,
    /// Most jobs to return
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Lists jobs.
#[utoipa::path(
    get, path = "/jobs", tag = "jobs", security(("bearer" = [])), params(ListQuery),
    responses((status = 200, body = Jobs))
)]
pub async fn list(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    Params(which): Params<ListQuery>,
) -> Result<Json<Jobs>, Problem> {
    let filter = Filter {
        terminal: which.terminal,
        package: which.package,
        order: which.order,
        state: which.state,
        outcome: which.outcome,
        before: which.before,
        limit: page_size(which.limit, 100)?,
    };
    let limit = filter.limit as usize;
    let jobs = station
        .store
        .read(move |c| Ok::<_, Problem>(jobs::list(c, &filter)?));
    let jobs = jobs.await?;
    Ok(Json(Jobs {
        next: jobs
            .last()
            .filter(|_| jobs.len() == limit)
            .map(|job| job.id),
        jobs,
    }))
}

/// A job with its record.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct JobRecord {
    #[serde(flatten)]
    pub job: Job,
    /// Events, oldest first; never changed.
    pub events: Vec<Event>,
}

/// Shows a job with its record.
#[utoipa::path(
    get, path = "/jobs/{id}", tag = "jobs", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The job's id")),
    responses((status = 200, body = JobRecord), (status = 404, body = Problem))
)]
pub async fn show(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    PathId(id): PathId,
) -> Result<Json<JobRecord>, Problem> {
    let found = station.store.read(move |c| {
        let job = jobs::get(c, id)?;
        let job = job.ok_or_else(|| Problem::not_found(format!("there is no job {id}")))?;
        let events = events::of_job(c, id)?;
        Ok::<_, Problem>(JobRecord { job, events })
    });
    Ok(Json(found.await?))
}

/// Options of a cancellation.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelOrder {
    /// Ends the job at the station as failed, whatever the terminal does: for terminals that are
    /// gone.
    #[serde(default)]
    pub abandon: bool,
}

/// Cancels a job. It ends at once if the terminal was not told of it; else the terminal is asked,
/// and can stop until the upgrade flag is set.
#[utoipa::path(
    post, path = "/jobs/{id}/cancel", tag = "jobs", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The job's id")), request_body = Option<CancelOrder>,
    responses(
        (status = 200, description = "The job is over", body = Job),
        (status = 202, description = "The terminal is asked; the job's result will tell", body = Job),
        (status = 404, body = Problem),
        (status = 409, description = "`finished`: the job was over already", body = Problem),
    )
)]
pub async fn cancel(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
    PathId(id): PathId,
    OptionalContent(wanted): OptionalContent<CancelOrder>,
) -> Result<(StatusCode, Json<Job>), Problem> {
    let done = station.store.write(move |w| {
        let status = match orders::cancel(w, clock::now(), id, &by, wanted.abandon)? {
            Cancelled::Unknown => {
                return Err(Problem::not_found(format!("there is no job {id}")));
            }
            Cancelled::Over => {
                let message = format!("job {id} is over; its result stays");
                return Err(Problem::conflict("finished", message));
            }
            Cancelled::Ended => StatusCode::OK,
            Cancelled::Asked => StatusCode::ACCEPTED,
        };
        let job = jobs::get(w, id)?.ok_or_else(|| Problem::internal("the job is gone"))?;
        Ok((status, Json(job)))
    });
    let done = done.await?;
    station.wake.notify_one();
    Ok(done)
}
