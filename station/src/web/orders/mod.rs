//! REST resources of orders; an order makes a job for each terminal.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::Json;
use dau_model::Kind;
use openssl::sha::sha256;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::ToSchema;

use super::auth::Operator;
use super::error::Problem;
use super::extract::{Content, PathId};
use super::integer::{integer, optional_integer};
use super::Station;
use crate::clock;
use crate::config::check_budget;
use crate::store::orders::{self, Order, Ordered, Summary};
use crate::store::packages::{self, Package};
use crate::store::requests::{self, Answered};
use crate::store::Write;

mod idempotency;
mod select;

use idempotency::{respond, Request};
pub use select::Skipped;

/// Longest wait in an order, seconds.
const MAX_SECONDS: u64 = dau_protocol::MAX_POLICY;

/// An order for one or many terminals.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewOrder {
    /// The terminals' ids.
    #[serde(default)]
    #[schema(schema_with = terminal_ids)]
    pub terminals: Vec<String>,
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
    /// Seconds that a terminal waits after it received the order; with `spread` at most a year.
    #[serde(default, deserialize_with = "integer")]
    #[schema(maximum = 31_536_000)]
    pub policy: u32,
    /// Seconds over which the starts of the terminals are spread, on top of `policy`.
    #[serde(default, deserialize_with = "integer")]
    #[schema(maximum = 31_536_000)]
    pub spread: u32,
    /// Seconds after which the order expires for a terminal that has not accepted it; never by
    /// default.
    #[serde(default, deserialize_with = "optional_integer")]
    #[schema(maximum = 31_536_000)]
    pub expire: Option<u32>,
    /// Bytes that each terminal may spend on it, everything counted; the configuration's `jobs.budget`
    /// by default.
    #[serde(default, deserialize_with = "optional_integer")]
    #[schema(minimum = 131_072, maximum = 1_099_511_627_776_u64)]
    pub budget: Option<u64>,
    /// Orders even if the station would refuse (unknown terminal, other product or kind, older
    /// rollback index). The terminal still decides for itself.
    #[serde(default)]
    pub force: bool,
}

fn terminal_ids() -> ArrayBuilder {
    let id = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$"));
    ArrayBuilder::new().items(id)
}

/// The answer to an order.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewJobs {
    /// The id shared by the new jobs. If all jobs existed already, the newest order of any of them;
    /// null if there is no job.
    pub order: Option<i64>,
    /// One job for each terminal.
    pub jobs: Vec<Ordered>,
    /// Terminals skipped by an order with `all`.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
}

/// Orders an upgrade. If the same upgrade is in progress already, the answer has that job. With an
/// `Idempotency-Key`, a repetition of the request within a day gets the same answer and has no
/// effect.
#[utoipa::path(
    post, path = "/jobs", tag = "jobs", security(("bearer" = [])), request_body = NewOrder,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII \
        characters, new for each new order", min_length = 1, max_length = 255)),
    responses(
        (status = 201, description = "There are new jobs", body = NewJobs),
        (status = 200, description = "Every job was there already, or no terminal needs one", body = NewJobs),
        (status = 400, body = Problem),
        (status = 404, description = "No such package or terminal", body = Problem),
        (status = 409, description = "Does not fit; `error` is type-mismatch, product-mismatch, \
            rollback or unexpected-delta, or why the signer of the package, or of a delta to it, is \
            not trusted any more, such as signer-revoked", body = Problem),
        (status = 413, description = "Larger than 16 MiB", body = Problem),
        (status = 415, description = "Not application/json", body = Problem),
        (status = 422, description = "`idempotency-key-reused`: the key came with another order",
            body = Problem),
    )
)]
pub async fn create(
    State(station): State<Arc<Station>>,
    Operator(by): Operator,
    headers: HeaderMap,
    Content(new): Content<NewOrder>,
) -> Result<Response, Problem> {
    check(&new)?;
    let request = match idempotency::key(&headers)? {
        None => None,
        Some(key) => Some(Request {
            key,
            by: by.clone(),
            digest: sha256(&serde_json::to_vec(&new).map_err(Problem::internal)?).to_vec(),
        }),
    };
    let (id, again) = (new.package, request.clone());
    let found = station.store.read(move |c| {
        let answered = again.map_or(Ok(None), |request| request.answered(c))?;
        let package = packages::get(c, id)?;
        let deltas = package.as_ref().map(|package| packages::deltas(c, package));
        Ok::<_, Problem>((answered, package, deltas.transpose()?.unwrap_or_default()))
    });
    let (package, deltas) = match found.await? {
        (Some(answered), ..) => return Ok(respond(answered)),
        (None, None, _) => return Err(Problem::not_found(format!("there is no package {id}"))),
        (None, Some(package), deltas) => (package, deltas),
    };
    check_whole(&package)?;
    // A terminal gets whichever file is smaller.
    for file in deltas.iter().chain([&package]) {
        super::packages::judge_again(&station, file).await?;
    }
    let budget = Some(station.config.jobs.budget).filter(|bytes| *bytes > 0);
    let answered = station.store.write(move |w| {
        if let Some(answered) = request.as_ref().map_or(Ok(None), |one| one.answered(w))? {
            return Ok(answered);
        }
        let created = ordered(w, by, &new, budget)?;
        let is_new = created.jobs.iter().any(|job| !job.existing);
        let answered = Answered {
            digest: request
                .as_ref()
                .map_or_else(Vec::new, |one| one.digest.clone()),
            status: match is_new {
                true => StatusCode::CREATED.as_u16(),
                false => StatusCode::OK.as_u16(),
            },
            answer: serde_json::to_string(&created).map_err(Problem::internal)?,
        };
        if let Some(request) = &request {
            requests::keep(w, clock::now(), &request.by, &request.key, &answered)?;
        }
        Ok::<_, Problem>(answered)
    });
    let answered = answered.await?;
    station.wake.notify_one();
    Ok(respond(answered))
}

/// Checks an order as far as possible without the database.
fn check(new: &NewOrder) -> Result<(), Problem> {
    if new.all != new.terminals.is_empty() {
        let message = "give either 'terminals' with at least one id, or 'all': true";
        return Err(Problem::bad_request(message));
    }
    let start = u64::from(new.policy).saturating_add(new.spread.into());
    if start > MAX_SECONDS {
        return Err(Problem::bad_request(format!(
            "'policy' and 'spread' together are {start} s: the last terminal shall start within a \
             year ({MAX_SECONDS} s)"
        )));
    }
    if new
        .expire
        .is_some_and(|expire| u64::from(expire) > MAX_SECONDS)
    {
        return Err(Problem::bad_request(format!(
            "'expire' is more than a year ({MAX_SECONDS} s): leave it out for an order that does not expire"
        )));
    }
    check_budget(new.budget).map_err(|reason| Problem::bad_request(format!("'budget': {reason}")))
}

/// Refuses to order a delta, which fits some terminals only.
fn check_whole(package: &Package) -> Result<(), Problem> {
    match package.target {
        None => Ok(()),
        Some(_) => Err(Problem::conflict(
            "unexpected-delta",
            format!(
                "package {} is a delta: order the package of version {} that it makes; terminals that keep \
                 the delta's base get the delta",
                package.id, package.version
            ),
        )),
    }
}

/// Makes the jobs of an order; `budget` is the one of an order that names none.
fn ordered(
    w: &Write<'_>,
    by: String,
    new: &NewOrder,
    budget: Option<u64>,
) -> Result<NewJobs, Problem> {
    let now = clock::now();
    let package = packages::get(w, new.package)?
        .ok_or_else(|| Problem::not_found(format!("there is no package {}", new.package)))?;
    let upgrade_type = check_type(new, &package)?;
    let (terminals, skipped) = match new.all {
        true => select::all(w, &package, new.force)?,
        false => (
            select::named(w, now, &new.terminals, &package, new.force)?,
            Vec::new(),
        ),
    };
    let order = Order {
        id: w.next_id(),
        by,
        upgrade_type,
        policy: new.policy.into(),
        spread: new.spread.into(),
        budget: new.budget.or(budget),
        expires_at: new.expire.map(|seconds| now.saturating_add(seconds.into())),
    };
    let jobs = orders::create(w, now, &order, &package, &terminals)?;
    Ok(NewJobs {
        order: jobs.iter().map(|job| job.order).max(),
        jobs,
        skipped,
    })
}

/// Shows the state of an order's jobs.
#[utoipa::path(
    get, path = "/orders/{id}", tag = "jobs", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The order's id")),
    responses((status = 200, body = Summary), (status = 404, body = Problem))
)]
pub async fn summary(
    State(station): State<Arc<Station>>,
    _operator: Operator,
    PathId(id): PathId,
) -> Result<Json<Summary>, Problem> {
    let summary = station
        .store
        .read(move |c| Ok::<_, Problem>(orders::summary(c, id)?));
    let summary = summary.await?;
    summary
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("there is no order {id}")))
}

fn check_type(new: &NewOrder, package: &Package) -> Result<String, Problem> {
    let Some(wanted) = &new.upgrade_type else {
        return Ok(package.kind.clone());
    };
    if let Err(error) = wanted.parse::<Kind>() {
        return Err(Problem::bad_request(format!("type {error}")));
    }
    if *wanted != package.kind && !new.force {
        return Err(Problem::conflict(
            "type-mismatch",
            format!(
                "package {} is of kind {}, not {wanted}: order that, or choose another package",
                package.id, package.kind
            ),
        ));
    }
    Ok(wanted.clone())
}
