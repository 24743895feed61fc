//! What operators do with rollouts.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{find, no_rollout};
use crate::clock;
use crate::rollout::approval::Demands;
use crate::store::rollouts::{self, Act, Refused, Rollout};
use crate::web::auth::Operator;
use crate::web::error::Problem;
use crate::web::extract::{OptionalContent, PathId};
use crate::web::integer::optional_integer;
use crate::web::Station;

/// Options of an act.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// With `extend`: seconds by which the rollout expires later.
    #[serde(default, deserialize_with = "optional_integer")]
    #[schema(minimum = 1, maximum = 31_622_400)]
    pub seconds: Option<u32>,
}

/// Most seconds by which a rollout is extended at once.
const MOST_SECONDS: u32 = 366 * 86_400;

/// Does something with a rollout: `start`, `pause` (nothing more starts), `resume`, `stop` (and what is not
/// armed is cancelled; a draft is withdrawn), `retry` (those that failed or were cancelled start again),
/// `extend`, `next` (opens the next wave).
#[utoipa::path(
    post, path = "/rollouts/{id}/{act}", tag = "rollouts", security(("bearer" = [])),
    params(
        ("id" = i64, Path, description = "The rollout's id"),
        ("act" = String, Path, description = "What is done",
            pattern = "^(start|pause|resume|stop|retry|extend|next)$"),
    ),
    request_body = Option<Options>,
    responses(
        (status = 200, description = "Done; a `start` that needs a second person leaves it in the state \
            `approval`", body = Rollout),
        (status = 404, body = Problem),
        (status = 409, description = "`state`: not in this state", body = Problem),
        (status = 413, body = Problem),
    )
)]
pub async fn act(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
    path: Result<Path<(i64, String)>, axum::extract::rejection::PathRejection>,
    OptionalContent(options): OptionalContent<Options>,
) -> Result<Json<Rollout>, Problem> {
    let Path((id, word)) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
    let act = match (word.as_str(), options.seconds) {
        ("start", None) => Act::Start,
        ("pause", None) => Act::Pause,
        ("resume", None) => Act::Resume,
        ("stop", None) => Act::Stop,
        ("retry", None) => Act::Retry,
        ("next", None) => Act::Next,
        ("extend", Some(seconds)) if (1..=MOST_SECONDS).contains(&seconds) => Act::Extend(seconds),
        ("extend", _) => {
            let message = format!("give 'seconds', 1 to {MOST_SECONDS}");
            return Err(Problem::bad_request(message));
        }
        ("start" | "pause" | "resume" | "stop" | "retry" | "next", Some(_)) => {
            return Err(Problem::bad_request("'seconds' goes with 'extend' alone"));
        }
        _ => {
            let message =
                "a rollout takes start, approve, pause, resume, stop, retry, extend, next, revert";
            return Err(Problem::not_found(message));
        }
    };
    done(&station, id, by, act).await.map(Json)
}

/// Approves the start of a rollout. Nobody approves what he planned or started himself.
#[utoipa::path(
    post, path = "/rollouts/{id}/approve", tag = "rollouts", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The rollout's id")),
    responses(
        (status = 200, description = "It runs", body = Rollout),
        (status = 403, description = "`own-rollout`: not by this person", body = Problem),
        (status = 404, body = Problem),
        (status = 409, description = "`state`: it waits for no approval", body = Problem),
    )
)]
pub async fn approve(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
    PathId(id): PathId,
) -> Result<Json<Rollout>, Problem> {
    done(&station, id, by, Act::Approve).await.map(Json)
}

async fn done(station: &Station, id: i64, by: String, act: Act) -> Result<Rollout, Problem> {
    let demands = Demands {
        above: station.config.rollouts.approve_above,
        without_windows: station.config.rollouts.approve_without_windows,
    };
    // What is refused is in the record, too: the transaction is not rolled back.
    let done = station.store.write(move |w| {
        let done = rollouts::act(w, clock::now(), id, &by, act, demands)?;
        match done {
            Ok(()) => find(w, id).map(Ok),
            Err(refused) => Ok(Err(refused)),
        }
    });
    let done = done.await?.map_err(|refused| match refused {
        Refused::Unknown => no_rollout(id),
        Refused::State(text) => Problem::conflict("state", text),
        Refused::Person(text) => Problem::new(StatusCode::FORBIDDEN, "own-rollout", text),
    });
    station.orders.notify_one();
    station.rollouts.notify_one();
    done
}

/// The package that leads back.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revert {
    /// Its id; by default the station's package of the version that most of the terminals ran.
    #[serde(default, deserialize_with = "optional_integer")]
    pub package: Option<i64>,
}

/// Plans the way back: a rollout of its own, to the version before, for those that succeeded.
#[utoipa::path(
    post, path = "/rollouts/{id}/revert", tag = "rollouts", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The rollout's id")), request_body = Option<Revert>,
    responses(
        (status = 202, description = "The new rollout, which is being prepared", body = Rollout),
        (status = 404, body = Problem),
        (status = 409, description = "`no-way-back`: there is no such package", body = Problem),
        (status = 413, body = Problem),
    )
)]
pub async fn revert(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
    PathId(id): PathId,
    OptionalContent(wanted): OptionalContent<Revert>,
) -> Result<(StatusCode, Json<Rollout>), Problem> {
    let planned = station.store.write(move |w| {
        find(w, id)?;
        let back = rollouts::before(w, id, &by, wanted.package)?;
        let back = back.map_err(|text| Problem::conflict("no-way-back", text))?;
        find(
            w,
            rollouts::add(w, clock::now(), &back.new, &back.terminals)?,
        )
    });
    let rollout = planned.await?;
    station.rollouts.notify_one();
    Ok((StatusCode::ACCEPTED, Json(rollout)))
}

/// The effect of a stop of the whole station.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoppedAll {
    /// Rollouts that were stopped.
    pub rollouts: u64,
    /// Other orders that are being cancelled.
    pub orders: u64,
}

/// Stops all rollouts, and cancels everything that is not armed. `GET stop` shows who has yet to hear of it.
#[utoipa::path(
    post, path = "/stop", tag = "rollouts", security(("bearer" = [])),
    responses((status = 202, description = "It is being done", body = StoppedAll))
)]
pub async fn stop_all(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
) -> Result<(StatusCode, Json<StoppedAll>), Problem> {
    let stopped = station
        .store
        .write(move |w| Ok::<_, Problem>(rollouts::stop_all(w, clock::now(), &by)?));
    let stopped = stopped.await?;
    station.orders.notify_one();
    station.rollouts.notify_one();
    let (rollouts, orders) = (stopped.rollouts, stopped.orders);
    Ok((StatusCode::ACCEPTED, Json(StoppedAll { rollouts, orders })))
}

/// Terminals that have yet to hear that their jobs are cancelled.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToReach {
    /// All of them.
    pub to_reach: u64,
    /// Those that are linked.
    pub linked: u64,
}

/// Shows how many terminals have yet to hear that their jobs are cancelled.
#[utoipa::path(
    get, path = "/stop", tag = "rollouts", security(("bearer" = [])),
    responses((status = 200, body = ToReach))
)]
pub async fn to_reach(
    State(station): State<Arc<Station>>,
    _operator: Operator,
) -> Result<Json<ToReach>, Problem> {
    let found = station
        .store
        .read(|r| Ok::<_, Problem>(rollouts::to_reach(r)?));
    let (to_reach, linked) = found.await?;
    Ok(Json(ToReach { to_reach, linked }))
}
