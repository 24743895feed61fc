//! REST resources of terminals.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::Json;
use dau_protocol::topic::is_device_id;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Operator;
use super::error::Problem;
use super::extract::{Content, OptionalContent, Params, PathText};
use super::integer::optional_integer;
use super::Station;
use crate::clock;
use crate::store::filter::{Field, Filter, FilterError};
use crate::store::jobs;
use crate::store::labels::{self, Change};
use crate::store::orders::{self, Cancelled};
use crate::store::terminals::life::{self, Life};
use crate::store::terminals::{self, Terminal};
use crate::store::{locks, Read, Write};

/// Most terminals or jobs in one answer.
const MAX_LIMIT: u32 = 1000;

/// Validates a requested page size; `otherwise` is the default.
pub fn page_size(wanted: Option<u32>, otherwise: u32) -> Result<u32, Problem> {
    let size = wanted.unwrap_or(otherwise);
    match (1..=MAX_LIMIT).contains(&size) {
        true => Ok(size),
        false => Err(Problem::bad_request(format!(
            "limit is {size}: give 1 to {MAX_LIMIT}"
        ))),
    }
}

/// A page of terminals.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Terminals {
    /// In the order of their ids.
    pub terminals: Vec<Terminal>,
    /// If there may be more: the value of `after` for the next page.
    pub next: Option<String>,
}

/// Query parameters of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only those that it fits: `product=dtu-4 and feeder in (F1, F2) and not tag:hold`
    #[param(max_length = 4096)]
    filter: Option<String>,
    /// Short for `product=` in the filter
    product: Option<String>,
    /// Short for `version=` in the filter
    version: Option<String>,
    /// Only with ids after this one
    after: Option<String>,
    /// Most terminals to return
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Lists terminals and their versions.
#[utoipa::path(
    get, path = "/terminals", tag = "terminals", security(("bearer" = [])), params(ListQuery),
    responses(
        (status = 200, body = Terminals),
        (status = 400, description = "`filter`: the text says in which column it is wrong, and what \
            is expected there", body = Problem),
    )
)]
pub async fn list(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    Params(which): Params<ListQuery>,
) -> Result<Json<Terminals>, Problem> {
    let mut filter = Filter::parse(&which.filter.unwrap_or_default())?;
    for (field, value) in [
        (Field::Product, which.product),
        (Field::Version, which.version),
    ] {
        if let Some(value) = value {
            filter = filter.and(field, &value);
        }
    }
    let limit = page_size(which.limit, MAX_LIMIT)?;
    let (since, after) = (station.online_since(), which.after.unwrap_or_default());
    let terminals = station.store.read(move |r| {
        let found = terminals::select(r, &filter, since, &after, limit)?;
        Ok::<_, Problem>(found)
    });
    let terminals = terminals.await?;
    let more = terminals.len() == limit as usize;
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
    params(("id" = String, Path, description = "The terminal's id",
        pattern = r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$")),
    responses((status = 200, body = Terminal), (status = 404, body = Problem))
)]
pub async fn show(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    PathText(id): PathText,
) -> Result<Json<Terminal>, Problem> {
    let since = station.online_since();
    station
        .store
        .read(move |r| find(r, &id, since))
        .await
        .map(Json)
}

fn find(r: &Read<'_>, id: &str, since: i64) -> Result<Terminal, Problem> {
    terminals::get(r, id, since)?
        .ok_or_else(|| Problem::not_found(format!("there is no terminal '{id}'")))
}

impl From<FilterError> for Problem {
    fn from(error: FilterError) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, "filter", error.to_string())
    }
}

/// Changes a terminal's attributes and tags; what the request does not name stays.
#[utoipa::path(
    patch, path = "/terminals/{id}", tag = "terminals", security(("bearer" = [])),
    params(("id" = String, Path, description = "The terminal's id",
        pattern = r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$")), request_body = Change,
    responses(
        (status = 200, body = Terminal),
        (status = 400, description = "`label`: the text says which attribute or tag is refused, and \
            why", body = Problem),
        (status = 404, body = Problem),
        (status = 415, description = "Not application/json", body = Problem),
    )
)]
pub async fn change(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
    PathText(id): PathText,
    Content(change): Content<Change>,
) -> Result<Json<Terminal>, Problem> {
    let since = station.online_since();
    let done = station.store.write(move |w| {
        locks::terminals(w, [id.as_str()])?;
        find(w, &id, since)?;
        let before = labels::of(w, &id)?;
        let refused = |reason| Problem::new(StatusCode::BAD_REQUEST, "label", reason);
        let after = change.applied(&before).map_err(refused)?;
        labels::replace(w, clock::now(), &id, &before, &after, &by)?;
        find(w, &id, since)
    });
    done.await.map(Json)
}

/// Registers a terminal before it links up, so that upgrades can be ordered for it. A known
/// terminal stays unchanged.
#[utoipa::path(
    put, path = "/terminals/{id}", tag = "terminals", security(("bearer" = [])),
    params(("id" = String, Path, description = "The terminal's id",
        pattern = r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$")),
    responses(
        (status = 201, description = "It is known now"),
        (status = 204, description = "It was known already"),
        (status = 400, body = Problem),
    )
)]
pub async fn register(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    PathText(id): PathText,
) -> Result<StatusCode, Problem> {
    if !is_device_id(&id) {
        return Err(no_terminal_id(&id));
    }
    let added = station
        .store
        .write(move |w| Ok::<_, Problem>(terminals::register(w, clock::now(), &id)?));
    Ok(match added.await? {
        true => StatusCode::CREATED,
        false => StatusCode::NO_CONTENT,
    })
}

/// Longest reason of a change of a terminal's life, characters.
const MAX_REASON: usize = 256;

/// The life to give a terminal.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLife {
    /// What it is from now on.
    pub life: Life,
    /// Why, for the record.
    #[serde(default)]
    #[schema(max_length = 256)]
    pub reason: String,
}

/// Blocks or decommissions a terminal, or admits it again (`linked`). A terminal that is not admitted
/// gets no orders and no packages, and what it sends is refused.
#[utoipa::path(
    put, path = "/terminals/{id}/life", tag = "terminals", security(("bearer" = [])),
    params(("id" = String, Path, description = "The terminal's id",
        pattern = r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$")), request_body = NewLife,
    responses(
        (status = 200, body = Terminal),
        (status = 400, description = "`reason` is too long, for one", body = Problem),
        (status = 404, body = Problem),
        (status = 415, description = "Not application/json", body = Problem),
    )
)]
pub async fn live(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
    PathText(id): PathText,
    Content(new): Content<NewLife>,
) -> Result<Json<Terminal>, Problem> {
    let since = station.online_since();
    if new.reason.chars().count() > MAX_REASON {
        let message = format!("'reason' is too long: give at most {MAX_REASON} characters");
        return Err(Problem::bad_request(message));
    }
    let done = station.store.write(move |w| {
        find(w, &id, since)?;
        life::set(w, clock::now(), &id, new.life, &by, &new.reason)?;
        find(w, &id, since)
    });
    let terminal = done.await?;
    station.wake.notify_one();
    Ok(Json(terminal))
}

/// Returns a 400 for an invalid terminal id.
pub fn no_terminal_id(id: &str) -> Problem {
    Problem::bad_request(format!(
        "'{}' is no terminal id: 1 to 64 letters, digits, '-', '_' or '.'",
        dau_protocol::shortened(id, 64)
    ))
}

/// The job to cancel.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelAt {
    /// The job's id at the terminal. By default the job that the terminal named when it refused an
    /// order as busy (`busyWith`), or its unfinished job.
    #[serde(default, deserialize_with = "optional_integer")]
    pub job: Option<i64>,
}

/// A cancellation at a terminal.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CancelledAt {
    /// The terminal.
    pub terminal: String,
    /// The job's id.
    pub job: i64,
    /// Whether this station ordered it; if so, its result will tell the rest.
    pub own: bool,
}

/// Cancels the job that keeps a terminal busy, even one that this station did not order: another
/// station did, or this one before its database was lost. The terminal is asked, and can stop until
/// the upgrade flag is set.
#[utoipa::path(
    post, path = "/terminals/{id}/cancel", tag = "terminals", security(("bearer" = [])),
    params(("id" = String, Path, description = "The terminal's id",
        pattern = r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$")), request_body = Option<CancelAt>,
    responses(
        (status = 200, description = "The job is over: the terminal had not been told of it",
            body = CancelledAt),
        (status = 202, description = "The terminal is asked", body = CancelledAt),
        (status = 400, body = Problem),
        (status = 404, description = "No such terminal", body = Problem),
        (status = 409, description = "`not-busy`: the terminal is not known to have a job; give \
            the job's id", body = Problem),
    )
)]
pub async fn cancel(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
    PathText(id): PathText,
    OptionalContent(wanted): OptionalContent<CancelAt>,
) -> Result<(StatusCode, Json<CancelledAt>), Problem> {
    if !is_device_id(&id) {
        return Err(no_terminal_id(&id));
    }
    let done = station
        .store
        .write(move |w| cancel_at(w, &id, wanted.job, &by));
    let done = done.await?;
    station.wake.notify_one();
    Ok(done)
}

fn cancel_at(
    w: &Write<'_>,
    id: &str,
    job: Option<i64>,
    by: &str,
) -> Result<(StatusCode, Json<CancelledAt>), Problem> {
    let now = clock::now();
    let terminal = find(w, id, now)?;
    let job = job.or(terminal.busy_with).or(terminal.job).ok_or_else(|| {
        Problem::conflict(
            "not-busy",
            format!("'{id}' is not known to have a job: give the job's id"),
        )
    })?;
    // A job that has ended here may still run at the terminal: it is treated as another station's.
    let own = jobs::known(w, job)?
        .is_some_and(|known| known.terminal == id && known.state != dau_model::State::Finished);
    let status = match orders::cancel_at(w, now, id, job, by)? {
        Cancelled::Ended => StatusCode::OK,
        Cancelled::Asked | Cancelled::Over | Cancelled::Unknown => StatusCode::ACCEPTED,
    };
    let cancelled = CancelledAt {
        terminal: id.to_owned(),
        job,
        own,
    };
    Ok((status, Json(cancelled)))
}
