//! REST resources of rollouts.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Operator;
use super::error::Problem;
use super::extract::{Content, Params, PathId};
use super::integer::{integer, optional_integer};
use super::orders::{check_whole, kind_of, named, terminal_ids};
use super::terminals::page_size;
use super::Station;
use crate::clock;
use crate::config::check_budget;
use crate::rollout::plan::Plan;
use crate::store::filter::{Field, Filter};
use crate::store::packages::{self, Package};
use crate::store::rollouts::{self, Estimate, Rollout, Target};
use crate::store::{terminals, Read};

pub mod acts;

/// Longest name of a rollout, bytes.
const MAX_NAME: usize = 200;

/// A rollout.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewRollout {
    /// Its name; the package's version by default.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// The terminals' ids.
    #[serde(default)]
    #[schema(schema_with = terminal_ids)]
    pub terminals: Vec<String>,
    /// The terminals that this filter finds, instead of a list; see docs/station.md.
    #[serde(default)]
    pub filter: Option<String>,
    /// All known terminals of the package's product, instead of a list.
    #[serde(default)]
    pub all: bool,
    /// The package's id.
    #[serde(deserialize_with = "integer")]
    pub package: i64,
    /// `kernel`, `rootfs`, `full` or `recovery`; the package's kind by default.
    #[serde(default, rename = "type")]
    #[schema(pattern = "^(kernel|rootfs|full|recovery)$")]
    pub upgrade_type: Option<String>,
    /// Bytes that each terminal may spend on it; the configuration's `jobs.budget` by default.
    #[serde(default, deserialize_with = "optional_integer")]
    #[schema(minimum = 131_072, maximum = 1_099_511_627_776_u64)]
    pub budget: Option<u64>,
    /// How it goes through its terminals.
    pub plan: Plan,
}

/// Plans a rollout: finds out, after the answer, who is in which wave and who is left out. Nothing
/// starts before it is started.
#[utoipa::path(
    post, path = "/rollouts", tag = "rollouts", security(("bearer" = [])), request_body = NewRollout,
    responses(
        (status = 202, description = "It is being prepared", body = Rollout),
        (status = 400, description = "Malformed, or a plan that cannot work", body = Problem),
        (status = 404, description = "No such package, or no terminal at all", body = Problem),
        (status = 409, description = "`type-mismatch`, `unexpected-delta`, or why the package's signer \
            is not trusted any more", body = Problem),
        (status = 413, description = "Larger than 16 MiB", body = Problem),
        (status = 415, description = "Not application/json", body = Problem),
    )
)]
pub async fn create(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
    Content(new): Content<NewRollout>,
) -> Result<(StatusCode, Json<Rollout>), Problem> {
    let filter = check(&new)?;
    let id = new.package;
    let found = station
        .store
        .read(move |r| Ok::<_, Problem>(packages::get(r, id)?));
    let no_package = move || Problem::not_found(format!("there is no package {id}"));
    let package = found.await?.ok_or_else(no_package)?;
    check_whole(&package)?;
    super::packages::judge_again(&station, &package).await?;
    let since = station.online_since();
    let budget = Some(station.config.jobs.budget).filter(|bytes| *bytes > 0);
    let planned = station.store.write(move |w| {
        let package = packages::keep(w, id)?.ok_or_else(no_package)?;
        let terminals = chosen(w, &new, filter.as_ref(), &package, since)?;
        let planned = rollouts::NewRollout {
            by,
            name: new.name.unwrap_or_else(|| package.version.clone()),
            package: id,
            upgrade_type: kind_of(new.upgrade_type.as_deref(), &package)?,
            budget: new.budget.or(budget),
            plan: new.plan,
        };
        let id = rollouts::add(w, clock::now(), &planned, &terminals)?;
        find(w, id)
    });
    let rollout = planned.await?;
    station.rollouts.notify_one();
    Ok((StatusCode::ACCEPTED, Json(rollout)))
}

/// Checks a rollout as far as possible without the database; returns its filter.
fn check(new: &NewRollout) -> Result<Option<Filter>, Problem> {
    let ways = [!new.terminals.is_empty(), new.filter.is_some(), new.all];
    if ways.iter().filter(|way| **way).count() != 1 {
        let message = "give one of 'terminals' with at least one id, 'filter', and 'all': true";
        return Err(Problem::bad_request(message));
    }
    let name = new.name.as_deref().unwrap_or("-");
    if name.is_empty() || name.len() > MAX_NAME {
        let message = format!("'name': give 1 to {MAX_NAME} bytes");
        return Err(Problem::bad_request(message));
    }
    new.plan.check().map_err(Problem::bad_request)?;
    check_budget(new.budget)
        .map_err(|reason| Problem::bad_request(format!("'budget': {reason}")))?;
    let filter = new.filter.as_deref().map(Filter::parse).transpose();
    filter.map_err(|error| Problem::bad_request(error.to_string()))
}

/// Returns the terminals that a rollout is for, each once.
fn chosen(
    r: &Read<'_>,
    new: &NewRollout,
    filter: Option<&Filter>,
    package: &Package,
    since: i64,
) -> Result<Vec<String>, Problem> {
    let terminals = match filter {
        Some(filter) => terminals::ids(r, filter, since)?,
        None if new.all => terminals::ids(
            r,
            &Filter::default().and(Field::Product, &package.product),
            since,
        )?,
        None => named(&new.terminals)?,
    };
    match terminals.is_empty() {
        true => Err(Problem::not_found("no known terminal is meant by this")),
        false => Ok(terminals),
    }
}

fn find(r: &Read<'_>, id: i64) -> Result<Rollout, Problem> {
    rollouts::get(r, id)?.ok_or_else(|| no_rollout(id))
}

fn no_rollout(id: i64) -> Problem {
    Problem::not_found(format!("there is no rollout {id}"))
}

/// Shows a rollout.
#[utoipa::path(
    get, path = "/rollouts/{id}", tag = "rollouts", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The rollout's id")),
    responses((status = 200, body = Rollout), (status = 404, body = Problem))
)]
pub async fn show(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    PathId(id): PathId,
) -> Result<Json<Rollout>, Problem> {
    station.store.read(move |r| find(r, id)).await.map(Json)
}

/// What a rollout will do.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// The rollout: its waves with terminals, bytes and risks, and who is left out.
    pub rollout: Rollout,
    /// What it will take.
    pub estimate: Estimate,
    /// Terminals at risk, the first 100.
    pub risks: Vec<Target>,
    /// Terminals that are left out, the first 100.
    #[serde(rename = "leftOut")]
    pub left_out: Vec<Target>,
}

/// Shows who gets what, who is left out and why, and what it will take. The list of its terminals has
/// all of them.
#[utoipa::path(
    get, path = "/rollouts/{id}/preview", tag = "rollouts", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The rollout's id")),
    responses((status = 200, body = Preview), (status = 404, body = Problem))
)]
pub async fn preview(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    PathId(id): PathId,
) -> Result<Json<Preview>, Problem> {
    let found = station.store.read(move |r| {
        let rollout = find(r, id)?;
        let some = |risk: Option<&str>, state: Option<&str>| {
            let filter = rollouts::Filter {
                risk: risk.map(str::to_owned),
                state: state.map(str::to_owned),
                limit: 100,
                ..rollouts::Filter::default()
            };
            rollouts::targets(r, id, &filter)
        };
        let mut risks = Vec::new();
        for risk in ["silent", "failed-before", "no-space"] {
            risks.extend(some(Some(risk), None)?);
        }
        risks.truncate(100);
        Ok::<_, Problem>(Preview {
            estimate: rollouts::estimate(r, &rollout)?,
            risks,
            left_out: some(None, Some("left-out"))?,
            rollout,
        })
    });
    found.await.map(Json)
}

/// A page of rollouts.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Rollouts {
    /// Newest first.
    pub rollouts: Vec<Rollout>,
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
    /// Most rollouts to return
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Lists rollouts.
#[utoipa::path(
    get, path = "/rollouts", tag = "rollouts", security(("bearer" = [])), params(ListQuery),
    responses((status = 200, body = Rollouts))
)]
pub async fn list(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    Params(which): Params<ListQuery>,
) -> Result<Json<Rollouts>, Problem> {
    let limit = page_size(which.limit, 20)?;
    let found = station
        .store
        .read(move |r| Ok::<_, Problem>(rollouts::list(r, which.before, limit)?));
    let rollouts = found.await?;
    let full = rollouts.len() == limit as usize;
    let next = rollouts.last().filter(|_| full).map(|rollout| rollout.id);
    Ok(Json(Rollouts { rollouts, next }))
}

/// A page of a rollout's terminals.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Targets {
    /// In the order of their ids.
    pub targets: Vec<Target>,
    /// If there may be more: the value of `after` for the next page.
    pub next: Option<String>,
}

/// Query parameters of that list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TargetsQuery {
    /// Only those of this wave
    wave: Option<u32>,
    /// Only those in this state
    state: Option<String>,
    /// Only those with this word
    word: Option<String>,
    /// Only those at this risk
    risk: Option<String>,
    /// Only terminals after this one
    after: Option<String>,
    /// Most terminals to return
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Lists the terminals of a rollout: how far each is, and why it waits.
#[utoipa::path(
    get, path = "/rollouts/{id}/targets", tag = "rollouts", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The rollout's id"), TargetsQuery),
    responses((status = 200, body = Targets), (status = 404, body = Problem))
)]
pub async fn targets(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    PathId(id): PathId,
    Params(which): Params<TargetsQuery>,
) -> Result<Json<Targets>, Problem> {
    let filter = rollouts::Filter {
        wave: which.wave,
        state: which.state,
        word: which.word,
        risk: which.risk,
        after: which.after.unwrap_or_default(),
        limit: page_size(which.limit, 100)?,
    };
    let limit = filter.limit as usize;
    let found = station.store.read(move |r| {
        find(r, id)?;
        Ok::<_, Problem>(rollouts::targets(r, id, &filter)?)
    });
    let targets = found.await?;
    let last = targets.last().filter(|_| targets.len() == limit);
    let next = last.map(|target| target.terminal.clone());
    Ok(Json(Targets { targets, next }))
}
